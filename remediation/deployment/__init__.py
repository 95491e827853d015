"""What a deployment needs besides: what was known before it, the wait for what was deployed, and the comparison."""
