"""A health run: its rounds, the heals between them, the merged report and the verdict."""
