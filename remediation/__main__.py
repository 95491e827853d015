"""`python -m remediation` is `auto-heal`."""

import sys

from remediation.commands.cli import main

sys.exit(main())
