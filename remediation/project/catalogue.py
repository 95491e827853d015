"""The catalogue: every text that the log and the terminal show, by its key."""

from __future__ import annotations

from remediation.project.texts.deploy import DEPLOY
from remediation.project.texts.drill import DRILL
from remediation.project.texts.heal import HEAL
from remediation.project.texts.plan import PLAN
from remediation.project.texts.run import RUN
from remediation.project.texts.start import START
from remediation.project.texts.text import Language, Level, Text

__all__ = ["CATALOGUE", "Language", "Level", "Text"]

CATALOGUE: dict[str, Text] = RUN | HEAL | PLAN | START | DRILL | DEPLOY
