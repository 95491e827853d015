"""What is known before anything is done: configuration, memory on disk, texts, the log."""
