"""`python -m remediation` is `auto-heal`."""

from remediation.commands.cli import run

run()
