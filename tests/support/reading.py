"""Programs that read JUnit XML, and how each reads it: packages that people use, and the rules of GitLab and Jenkins.

The JavaScript packages come from the npm registry, each in the version named here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path

import junitparser
import pytest
from junitparser import xunit2


@dataclass(frozen=True)
class Seen:
    """The contents of a report, as a reader sees them."""

    tests: int
    failures: int
    errors: int
    skipped: int
    ends: dict[str, str]
    """How a check ended, by its name: passed, failed (which an error is too) or skipped."""

    @property
    def of_one_kind(self) -> Seen:
        """The same contents for a reader that treats errors as failures."""
        return replace(self, failures=self.failures + self.errors, errors=0)


# The readers that know only one kind of failure.
_OF_ONE_KIND = {"jenkins", "junit-to-ctrf"}


def agreed(readings: dict[str, Seen], seen: Seen) -> dict[str, Seen]:
    """Return what the readers see, if all of them see the same."""
    return {name: seen.of_one_kind if name in _OF_ONE_KIND else seen for name in readings}


# In Python.


def in_python(path: Path) -> dict[str, Seen]:
    """Return what each reader in Python sees: junitparser in both its flavours, GitLab and Jenkins."""
    return {
        "junitparser": _by_junitparser(junitparser.JUnitXml.fromfile(str(path))),
        "junitparser.xunit2": _by_junitparser(xunit2.JUnitXml.fromfile(str(path))),
        "gitlab": by_gitlab(path),
        "jenkins": by_jenkins(path),
    }


def _by_junitparser(xml: junitparser.JUnitXml) -> Seen:
    (suite,) = xml
    ends = {case.name: "passed" if case.is_passed else "skipped" if case.is_skipped else "failed" for case in suite}
    return Seen(suite.tests, suite.failures, suite.errors, suite.skipped, ends)


def by_gitlab(path: Path) -> Seen:
    """Read as GitLab does: a failure before an error before a skip, and only the first of those that share a name.

    Sources: "Unit test reports" (doc/ci/testing/unit_test_reports.md) for the elements that it reads and for names that
    are not unique, lib/gitlab/ci/parsers/test/junit.rb for the order, lib/gitlab/ci/reports/test_case.rb for the key.
    """
    found: dict[tuple[str, ...], str] = {}
    for suite in ET.parse(path).getroot().iter("testsuite"):
        for case in suite.iterfind("testcase"):
            key = (suite.get("name", ""), case.get("classname", ""), case.get("name", ""))
            found.setdefault(key, next((tag for tag in ("failure", "error", "skipped") if _has(case, tag)), "passed"))
    ends = {name: "failed" if end in ("failure", "error") else end for (*_, name), end in found.items()}
    told = list(found.values())
    return Seen(len(told), told.count("failure"), told.count("error"), told.count("skipped"), ends)


def by_jenkins(path: Path) -> Seen:
    """Read as the JUnit plugin of Jenkins does: a skip before all else, and an error is a failure.

    Its CaseResult (isPassed, isSkipped, isFailed) reads only `skipped`, `error` and `failure`. Its SuiteResult counts
    an error beside the cases of a suite as a failed case, and accepts a name twice.
    """
    found: list[tuple[str, str]] = []
    for suite in ET.parse(path).getroot().iter("testsuite"):
        if _has(suite, "error"):
            found.append(("<init>", "failed"))
        for case in suite.iterfind("testcase"):
            failed = _has(case, "error") or _has(case, "failure")
            end = "skipped" if _has(case, "skipped") else "failed" if failed else "passed"
            found.append((case.get("name", ""), end))
    told = [end for _, end in found]
    return Seen(len(told), told.count("failed"), 0, told.count("skipped"), dict(found))


def _has(element: ET.Element, tag: str) -> bool:
    return element.find(tag) is not None


# In JavaScript.

_PACKAGES = {"junit2json": "4.0.0", "junit-to-ctrf": "0.0.14", "test-results-parser": "0.4.6"}
# The first version of Node.js that all of them support.
_NODE = 20
# Prints a Seen of each reader. The total of test-results-parser leaves out skipped cases.
_SCRIPT = """
import { readFileSync } from "node:fs";
import { parse } from "junit2json";
import { convertJUnitToCTRFReport } from "junit-to-ctrf";
import parser from "test-results-parser";

const file = process.argv[2];
const ends = (cases, end) => Object.fromEntries(cases.map(each => [each.name, end(each)]));

const { testsuite: [suite] } = await parse(readFileSync(file, "utf8"));
const { tests, failures, errors, skipped } = suite;
const end = each => each.failure || each.error ? "failed" : each.skipped ? "skipped" : "passed";
const { summary, tests: converted } = (await convertJUnitToCTRFReport(file)).results;
const result = parser.parse({ type: "junit", files: [file] });
const known = { PASS: "passed", FAIL: "failed", SKIP: "skipped" };

console.log(JSON.stringify({
  "junit2json": { tests, failures, errors, skipped, ends: ends(suite.testcase, end) },
  "junit-to-ctrf": {
    tests: summary.tests, failures: summary.failed, errors: 0, skipped: summary.skipped,
    ends: ends(converted, each => each.status),
  },
  "test-results-parser": {
    tests: result.total + result.skipped, failures: result.failed, errors: result.errors, skipped: result.skipped,
    ends: ends(result.suites.flatMap(each => each.cases), each => known[each.status]),
  },
}));
"""
_OUT_OF_REACH = {
    "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "EIDLETIMEOUT", "ENETUNREACH", "ENOTFOUND",
    "ERR_SOCKET_TIMEOUT", "ETIMEDOUT",
}  # fmt: skip


def install(folder: Path) -> None:
    """Install the packages into a folder, and nothing outside of it.

    Skip the test without Node.js and npm, and while the registry is unreachable; a missing version is a failure.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("there is no Node.js with npm here")
    version = _run(folder, node, "--version").stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < _NODE:
        pytest.skip(f"Node.js is {version}, older than {_NODE}")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier", "--logs-max=0"]
    options += ["--fetch-retries=1", "--fetch-retry-mintimeout=500"]
    places = ["--prefix", str(folder), "--cache", str(folder / "cache")]
    wanted = [f"{name}@{version}" for name, version in _PACKAGES.items()]
    try:
        result = _run(folder, npm, "install", *places, *options, *wanted)
    except subprocess.TimeoutExpired:
        pytest.skip("the registry of npm has not answered in time")
    code = re.search(r"^npm (?:error|ERR!) code (\w+)$", result.stderr, re.MULTILINE)
    if code and code[1] in _OUT_OF_REACH:
        pytest.skip(f"the registry of npm is out of reach: {code[1]}")
    assert result.returncode == 0, result.stderr
    (folder / "read.mjs").write_text(_SCRIPT, encoding="utf-8")


def in_javascript(folder: Path, path: Path) -> dict[str, Seen]:
    """Return what each reader in JavaScript sees, by the packages in a folder."""
    # One of them reads the name as a pattern.
    shutil.copy(path, folder / "report.xml")
    result = _run(folder, "node", "read.mjs", "report.xml")
    assert result.returncode == 0, result.stderr
    return {name: Seen(**seen) for name, seen in json.loads(result.stdout).items()}


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
    return subprocess.run(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60
    )
