"""The command line: `auto-heal check`, `start`, `stop`, `restart`, `status` and `init`."""
