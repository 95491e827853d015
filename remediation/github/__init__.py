"""What GitHub is told of a run: annotations at the checks, a summary of the step, and its outputs."""
