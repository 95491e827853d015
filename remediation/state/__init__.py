"""What is kept on disk: the state of each service, the history of runs, diagnostics, the event log."""
