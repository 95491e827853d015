"""auto-heal: health checks are pytest tests; what they find sick is healed, and they run again."""

__version__ = "0.1.0"
