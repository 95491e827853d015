"""Programs that a drill starts: each is a file of its own, run apart from us."""
