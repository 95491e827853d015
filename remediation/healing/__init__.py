"""Bring a service back: look, stop, free the port, start, verify. Knows nothing of pytest."""
