"""Programs that a drill starts: each is one file, and runs in a process of its own."""
