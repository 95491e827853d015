"""The schema by which Jenkins' xUnit plugin, and pytest's own tests, validate a JUnit report."""

from __future__ import annotations

from pathlib import Path

import xmlschema

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))
