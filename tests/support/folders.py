"""Projects in folders whose names systemd, a shell or cron would misread."""

from __future__ import annotations

from pathlib import Path

from remediation.config.load import load_project
from remediation.config.model import Project

PLAIN = "shop"
# What systemd, a shell or cron takes for something else: specifiers, variables, quotes, escapes, comments.
ODD = "a \"b' %h %% $HOME ${X} $$ юни\\x41 #; \\% `id`"
FOLDERS = [PLAIN, ODD, "ends with a space ", "ends with a backslash\\"]


def project_in(parent: Path, folder: str = PLAIN, text: str = "") -> Project:
    """Write a project into a new folder with a given name, and return it."""
    root = parent / folder
    root.mkdir()
    text = text or '[services.api]\ncommand = "node index.js"\nurl = "http://localhost:8787"\n'
    (root / "auto-heal.toml").write_text(text)
    return load_project(root, {})
