"""Wrappers around the operating system (processes, ports, files) that know nothing of services."""
