"""The memory of the past: what was checked and what was healed, kept for all who check or heal a project."""
