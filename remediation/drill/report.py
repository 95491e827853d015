"""The results of a drill: a table for people, and JUnit XML in the dialect of the health report."""

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


def table(results: DrillResults, language: Language = "en") -> list[str]:
    """Return the table: one row per fault, and per service if there are several; downtimes are medians."""
    words = Words(language)
    groups = results.by_fault()
    several = len({service for service, _ in groups}) > 1
    titles = tuple(map(words, ("SERVICE", *_COLUMNS)))
    rows = [titles, *((service, *_row(fault, group, words)) for (service, fault), group in groups.items())]
    return aligned(rows if several else [row[1:] for row in rows])


def _row(fault: str, group: Sequence[FaultResult], words: Words) -> tuple[str, ...]:
    tried = [result for result in group if not result.skipped]
    if not tried:
        return fault, words("skipped"), *["-"] * (len(_COLUMNS) - 2)
    healed = f"{sum(result.healed for result in tried)}/{len(tried)}"
    if any(result.refused for result in tried):
        healed = words("refused_first", healed=healed)
    skipped = len(group) - len(tried)
    return (
        fault,
        words("some_skipped", count=len(tried), skipped=skipped) if skipped else str(len(tried)),
        f"{sum(result.detected for result in tried)}/{len(tried)}",
        healed,
        downtimes(tried, words) or "-",
        str(sum(len(result.harmed) for result in tried)),
        str(sum(len(result.left) for result in tried)),
    )


def downtimes(group: Sequence[FaultResult], words: Words) -> str:
    """Return median and maximum of the downtimes, in seconds; empty if none is known."""
    measured = [result.downtime for result in group if result.downtime is not None]
    return words("downtimes", median=f"{median(measured):.2f}", most=f"{max(measured):.2f}") if measured else ""


def document(results: DrillResults, *, began: float) -> bytes:
    """Return the report; `began` in epoch seconds. Trials that did not run are skipped cases."""
    done = [_case(result) for result in results.all]
    missing = [_unreached(trial) for trial in results.trials[len(results.all) :]]
    suite = ET.Element(
        "testsuite",
        name="auto-heal drill",
        tests=str(len(results.trials)),
        failures=str(sum(case.find("failure") is not None for case in done)),
        errors="0",
        skipped=str(sum(case.find("skipped") is not None for case in [*done, *missing])),
        time=f"{sum(result.seconds for result in results.all):.3f}",
        timestamp=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(began)),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(results).items():
        ET.SubElement(properties, "property", name=f"auto-heal.drill.{name}", value=value)
    suite.extend([*done, *missing])
    root = ET.Element("testsuites", name="auto-heal drill")
    root.append(suite)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}'.encode()


def _properties(results: DrillResults) -> dict[str, str]:
    values = {"seed": str(results.seed), "rounds": str(results.rounds)}
    if results.interrupted:
        values["interrupted"] = "true"
    for (service, fault), group in results.by_fault().items():
        if text := downtimes(group, Words("en")):
            values[f"{service}.{fault}.downtime"] = text
    for number, problem in enumerate(results.not_back, 1):
        values[f"not-put-back.{number}"] = printable(str(problem))
    return values


def _element(trial: Trial, seconds: float) -> ET.Element:
    classname, name = f"drill.{trial.service.name}", f"{trial.fault}[{trial.round}]"
    return ET.Element("testcase", classname=classname, name=name, time=f"{seconds:.3f}")


def _unreached(trial: Trial) -> ET.Element:
    case = _element(trial, 0.0)
    ET.SubElement(case, "skipped", message="the drill ended before it", type="auto-heal.drill")
    return case


def _case(result: FaultResult) -> ET.Element:
    case = _element(result.trial, result.seconds)
    output = _lines(result.output.splitlines())
    if result.skipped:
        ET.SubElement(case, "skipped", message=_sentence([result.skipped]), type="auto-heal.drill")
    elif problems := result.problems:
        failure = ET.SubElement(case, "failure", message=_sentence(problems), type="auto-heal.drill")
        failure.text = output
    lines = [f"downtime: {result.downtime:.3f}s"] if result.downtime is not None else []
    lines += [str(result.note)] if result.note else []
    if lines:
        ET.SubElement(case, "system-out").text = _lines(lines)
    return case


def _sentence(messages: Iterable[Message]) -> str:
    return printable("; ".join(map(str, messages)))


def _lines(lines: Iterable[str]) -> str:
    # Characters that XML cannot hold are shown as escapes.
    return "\n".join(map(printable, lines))
