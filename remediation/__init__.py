"""auto-heal: health checks are pytest tests; what they find sick is healed, and they run again.

PYTEST_DONT_REWRITE: pytest would warn that it cannot rewrite what our commands imported before it.
"""

__version__ = "0.1.0"
