"""The watch: a check at every interval and at every death, its manners, its numbers and its messages."""
