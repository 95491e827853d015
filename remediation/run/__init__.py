"""A health run: rounds, heals between them, the merged report, the verdict."""
