"""What a round leaves behind, by name."""

from __future__ import annotations

XML_NAME = "round.xml"
FINDINGS_NAME = "findings.json"
SELECTED_NAME = "selected.json"
