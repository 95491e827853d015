"""Reads the summary of a step as GitHub shows it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from markdown_it import MarkdownIt


def html(markdown: str) -> ET.Element:
    """Return Markdown as HTML in GitHub's dialect."""
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(markdown)
    return ET.fromstring(f"<body>{rendered}</body>")


def cells(root: ET.Element) -> list[list[str]]:
    """Return the texts of all tables, row by row; assert that cells contain only text."""
    rows = [list(row) for row in root.iter("tr")]
    assert not [inner for row in rows for cell in row for inner in cell]
    return [[cell.text or "" for cell in row] for row in rows]
