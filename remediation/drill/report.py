"""A drill as the lines of a table for people, and as JUnit XML in the dialect of the health report."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from statistics import median

from remediation.drill.results import DrillResults, FaultResult, Trial
from remediation.messages.catalog import Language
from remediation.messages.formatting import aligned
from remediation.messages.message import Message, printable
from remediation.messages.words import Words

_COLUMNS = ("FAULT", "ROUNDS", "DETECTED", "HEALED", "DOWNTIME (MAX)", "HARMED", "LEFT OVER")


def table(found: DrillResults, language: Language = "en") -> list[str]:
    """Return the table: a row for each fault, of each service if there are several; downtimes are medians."""
    words = Words(language)
    groups = found.by_fault()
    several = len({service for service, _ in groups}) > 1
    titles = tuple(map(words, ("SERVICE", *_COLUMNS)))
    rows = [titles, *((service, *_row(fault, group, words)) for (service, fault), group in groups.items())]
    return aligned(rows if several else [row[1:] for row in rows])


def _row(fault: str, group: Sequence[FaultResult], words: Words) -> tuple[str, ...]:
    tried = [finding for finding in group if not finding.skipped]
    if not tried:
        return fault, words("skipped"), *["-"] * (len(_COLUMNS) - 2)
    healed = f"{sum(finding.healed for finding in tried)}/{len(tried)}"
    if any(finding.refused for finding in tried):
        healed = words("refused_first", healed=healed)
    skipped = len(group) - len(tried)
    return (
        fault,
        words("some_skipped", count=len(tried), skipped=skipped) if skipped else str(len(tried)),
        f"{sum(finding.detected for finding in tried)}/{len(tried)}",
        healed,
        downtimes(tried, words) or "-",
        str(sum(len(finding.harmed) for finding in tried)),
        str(sum(len(finding.left) for finding in tried)),
    )


def downtimes(group: Sequence[FaultResult], words: Words) -> str:
    """Return median and maximum of the downtimes, in seconds; empty if none is known."""
    known = [finding.downtime for finding in group if finding.downtime is not None]
    return words("downtimes", median=f"{median(known):.2f}", most=f"{max(known):.2f}") if known else ""


def document(found: DrillResults, *, began: float) -> bytes:
    """Return the report; `began` in epoch seconds. Trials that were not reached are skipped cases."""
    done = [_case(finding) for finding in found.all]
    missing = [_unreached(trial) for trial in found.trials[len(found.all) :]]
    suite = ET.Element(
        "testsuite",
        name="auto-heal drill",
        tests=str(len(found.trials)),
        failures=str(sum(case.find("failure") is not None for case in done)),
        errors="0",
        skipped=str(sum(case.find("skipped") is not None for case in [*done, *missing])),
        time=f"{sum(finding.seconds for finding in found.all):.3f}",
        timestamp=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(began)),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(found).items():
        ET.SubElement(properties, "property", name=f"auto-heal.drill.{name}", value=value)
    suite.extend([*done, *missing])
    root = ET.Element("testsuites", name="auto-heal drill")
    root.append(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}'.encode()


def _properties(found: DrillResults) -> dict[str, str]:
    values = {"seed": str(found.seed), "rounds": str(found.rounds)}
    if found.interrupted:
        values["interrupted"] = "true"
    for (service, fault), group in found.by_fault().items():
        if known := downtimes(group, Words("en")):
            values[f"{service}.{fault}.downtime"] = known
    for number, problem in enumerate(found.not_back, 1):
        values[f"not-put-back.{number}"] = printable(str(problem))
    return values


def _element(trial: Trial, seconds: float) -> ET.Element:
    classname, name = f"drill.{trial.service.name}", f"{trial.fault}[{trial.round}]"
    return ET.Element("testcase", classname=classname, name=name, time=f"{seconds:.3f}")


def _unreached(trial: Trial) -> ET.Element:
    case = _element(trial, 0.0)
    ET.SubElement(case, "skipped", message="the drill ended before it", type="auto-heal.drill")
    return case


def _case(finding: FaultResult) -> ET.Element:
    case = _element(finding.trial, finding.seconds)
    output = _lines(finding.output.splitlines())
    if finding.skipped:
        ET.SubElement(case, "skipped", message=_sentence([finding.skipped]), type="auto-heal.drill")
    elif problems := finding.problems:
        failure = ET.SubElement(case, "failure", message=_sentence(problems), type="auto-heal.drill")
        failure.text = output
    told = [f"downtime: {finding.downtime:.3f}s"] if finding.downtime is not None else []
    told += [str(finding.note)] if finding.note else []
    if told:
        ET.SubElement(case, "system-out").text = _lines(told)
    return case


def _sentence(phrases: Iterable[Message]) -> str:
    return printable("; ".join(map(str, phrases)))


def _lines(lines: Iterable[str]) -> str:
    # What XML cannot hold is made visible.
    return "\n".join(map(printable, lines))
