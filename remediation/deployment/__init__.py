"""Support for deployments: the baseline before one, the wait for the new version, and the comparison after it."""
