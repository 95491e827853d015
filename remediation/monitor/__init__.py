"""The monitor: a cycle of checks at every interval and at every death, its metrics and its notifications."""
