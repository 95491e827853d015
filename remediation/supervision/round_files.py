"""What a round leaves behind, by name, and what tells a pytest that it is one."""

from __future__ import annotations

# In the environment of a later round: in which folder it leaves what it finds.
ROUND_FOLDER = "AUTO_HEAL_ROUND_FOLDER"
# In the environment of a run: where to tell of it, if not on its stdout.
TERMINAL_FD = "AUTO_HEAL_TERMINAL_FD"
XML_NAME = "round.xml"
FINDINGS_NAME = "findings.json"
SELECTED_NAME = "selected.json"
