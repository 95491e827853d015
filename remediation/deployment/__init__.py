"""Around a deployment: the baseline before it, the wait for the new version, the comparison after it."""
