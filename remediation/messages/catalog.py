"""The catalogue of all texts that the log and the terminal show, by key."""

from __future__ import annotations

from remediation.messages.text import Language, Level, Text
from remediation.messages.texts.deploy import DEPLOY
from remediation.messages.texts.drill import DRILL
from remediation.messages.texts.heal import HEAL
from remediation.messages.texts.plan import PLAN
from remediation.messages.texts.probe import PROBE
from remediation.messages.texts.reason import REASON
from remediation.messages.texts.run import RUN
from remediation.messages.texts.start import START

__all__ = ["CATALOG", "Language", "Level", "Text"]

CATALOG: dict[str, Text] = RUN | HEAL | PLAN | START | REASON | PROBE | DRILL | DEPLOY
