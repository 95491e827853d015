"""Every text that the log and the terminal show, in every language, by what it tells of."""
