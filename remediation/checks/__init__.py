"""A run of the suite: rounds, attempts, the merged report, the verdict. Knows nothing of signals."""

# The folder whose tests are checks.
FOLDER = "healthtests"
# How the node IDs of our own checks begin, which are in no file.
OWN = "auto-heal::"
