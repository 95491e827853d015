"""The command line: check, monitor, start, stop, restart, status, pause, resume, report and init."""
