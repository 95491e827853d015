"""What is said to people, in the languages that there are."""
