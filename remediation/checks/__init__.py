"""The pytest side of checks: their client, attempts, results, retries and redaction."""

# The folder whose tests are checks.
FOLDER = "healthtests"
# The prefix of the node IDs of built-in checks, which are not in a file.
OWN = "auto-heal::"
# The name of what is shown of a response that came by a redirect.
REDIRECTED = "redirected to"
# That of a check that was left out of a cycle, and that of a limit that is exceeded but not yet for long enough.
CHECKED = "checked"
PENDING = "exceeded"
