"""A run of the suite: rounds, attempts, the merged report, the verdict. Knows nothing of signals."""

# The folder whose tests are checks.
FOLDER = "healthtests"
