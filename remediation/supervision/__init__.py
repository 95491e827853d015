"""Whoever waits for a health run watches it from a process that runs no check: its end, its hangs, its crashes."""
