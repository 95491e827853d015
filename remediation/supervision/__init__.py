"""A process that runs no check waits for each health run: it sees its end, its hangs and its crashes."""
