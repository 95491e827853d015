"""`python -m remediation` is `auto-heal`."""

from remediation.cli.main import run

run()
