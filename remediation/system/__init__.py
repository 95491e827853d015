"""What the operating system offers: one process, one port, one file. Knows nothing of services."""
