"""The pytest side of checks: what each one gets, its attempts and results, its retries, its redaction."""

# The folder whose tests are checks.
FOLDER = "healthtests"
# How the node IDs of our own checks begin, which are in no file.
OWN = "auto-heal::"
