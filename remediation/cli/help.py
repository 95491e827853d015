"""`--help` in Russian: the parser keeps its English texts, and the formatter translates them when it shows them."""

from __future__ import annotations

import argparse
import copy
import textwrap
from collections.abc import Callable, Iterable

from remediation.drill.fault_names import listed
from remediation.messages.formatting import HELP_WIDTH
from remediation.messages.texts.help import FAULTS, HEADINGS, HELP, METAVARS

# The texts by their English form with single spaces.
_KNOWN = {" ".join(english.split()): russian for english, russian in HELP.items()}


class RussianFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows texts in Russian, and leaves those without a translation as they are."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Begin the usage line in Russian."""
        super().add_usage(usage, actions, groups, HEADINGS["usage: "] if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        """Begin a section with a Russian heading."""
        super().start_section(HEADINGS.get(heading or "", heading))

    def add_text(self, text: str | None) -> None:
        """Add a description or an epilog, paragraph by paragraph."""
        super().add_text("\n\n".join(map(_paragraph, text.split("\n\n"))) if text else text)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return _KNOWN.get(" ".join((action.help or "").split()), action.help)

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        if isinstance(action.metavar, str):
            action = copy.copy(action)
            action.metavar = METAVARS.get(str(action.metavar), action.metavar)
        return super()._metavar_formatter(action, METAVARS.get(default_metavar, default_metavar))


def _paragraph(text: str) -> str:
    if translation := HELP.get(text):
        return translation
    heading, line_end, rest = text.partition("\n")
    if heading == "faults:":
        return f"{HEADINGS[heading]}\n{listed(FAULTS, HELP_WIDTH)}"
    if heading in HEADINGS:
        return f"{HEADINGS[heading]}{line_end}{rest}"
    words = " ".join(text.split())
    translation = _KNOWN.get(words) or _KNOWN.get(f"{words[:1].lower()}{words[1:]}".removesuffix("."))
    if translation is None:
        return text
    sentence = f"{translation[0].upper()}{translation[1:]}".removesuffix(".")
    return textwrap.fill(f"{sentence}.", HELP_WIDTH)
