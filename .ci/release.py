"""Say what keeps a tag from being released: the tag, the version and the changelog have to agree.

`python .ci/release.py v1.2.3` exits with 1 and one line per problem, or prints the changes of the version.
"""

from __future__ import annotations

import re
import sys
from datetime import date
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
UNRELEASED = "Unreleased"

_HEADING = re.compile(r"^## (?:\[?([^]\s]+)\]?)(?: - (.*))?$")
_NUMBERS = re.compile(r"\d+\.\d+\.\d+")


def version() -> str:
    """Return the version of the package, without importing it or what it needs."""
    text = (REPOSITORY / "remediation" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not found:
        sys.exit("remediation/__init__.py has no __version__")
    return found[1]


def changelog() -> str:
    """Return the text of the changelog."""
    return (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def sections(text: str) -> dict[str, tuple[str, str]]:
    """Return the date and the changes of each version of a changelog, the newest first."""
    found: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            lines = []
            found[heading[1]] = (heading[2] or "", lines)
        else:
            lines.append(line)
    return {name: (day, "\n".join(changes).strip()) for name, (day, changes) in found.items()}


def faults(text: str, current: str) -> list[str]:
    """Return what is wrong with a changelog, for a package whose version is `current`."""
    names = list(sections(text))
    released = [name for name in names if name != UNRELEASED]
    problems = [] if names[:1] == [UNRELEASED] else [f"the changelog does not begin with {UNRELEASED}"]
    if text.count("\n## ") != len(names):
        problems.append("the changelog has a heading that is neither a version nor unique")
    for name in released:
        day, changes = sections(text)[name]
        if not _NUMBERS.fullmatch(name):
            problems.append(f"{name} is not a version such as 1.2.3")
        if not _is_date(day):
            problems.append(f"{name} has no date such as 2026-01-31")
        if not changes:
            problems.append(f"{name} has no changes")
    if released != sorted(released, key=_numbers, reverse=True):
        problems.append("the versions are not in order, the newest first")
    if released and _numbers(released[0]) > _numbers(current):
        problems.append(f"the changelog has {released[0]}, but the package is {current}")
    return problems


def obstacles(tag: str, text: str, current: str) -> list[str]:
    """Return what keeps a tag from being released."""
    problems = faults(text, current)
    if tag != f"v{current}":
        problems.append(f"the tag is {tag}, but the package is {current}")
    if current not in sections(text):
        problems.append(f"the changelog has no section {current}")
    if sections(text).get(UNRELEASED, ("", ""))[1]:
        problems.append(f"the changelog still has changes under {UNRELEASED}")
    return problems


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


def _is_date(day: str) -> bool:
    try:
        return date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


def main() -> None:
    """Check the tag that is the only argument."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and the tag
        sys.exit("usage: python .ci/release.py TAG")
    current, text = version(), changelog()
    if problems := obstacles(sys.argv[1], text, current):
        sys.exit("\n".join(problems))
    print(sections(text)[current][1])


if __name__ == "__main__":
    main()
