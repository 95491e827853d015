"""Bring a service back: skip reasons, restart budget, stop, free the port, start, verify. Independent of pytest."""
