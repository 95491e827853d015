"""The baseline: it is read back as it was written, and no other file passes for a baseline."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from remediation.config.schema import ConfigError
from remediation.deployment import baseline, context
from remediation.deployment.baseline import Baseline, BaselineCheck
from remediation.deployment.context import Deployment
from remediation.state.records import CheckOutcome, Result

WELL = Result("check", "t.py::a", "/a", ["api"], 0.0, CheckOutcome.PASSED, None, 1.0, latency=0.25)
SICK = Result("check", "t.py::b", "/b", ["api"], 0.0, CheckOutcome.FAILED, 1.0, message="no answer")
SKIPPED = Result("check", "t.py::c", "/c", [], 0.0, CheckOutcome.SKIPPED)
SERVICE = Result("service", "api", "api", ["api"], 0.0, CheckOutcome.PASSED, None, 1.0)


def test_what_a_run_found_is_read_back(tmp_path: Path) -> None:
    written = Baseline.of([WELL, SICK, SKIPPED, SERVICE], {"api": "1.0"})

    baseline.write(tmp_path / "new" / "b.json", written)

    read = baseline.read(tmp_path / "new" / "b.json")
    assert read == written
    assert read.checks == {
        "t.py::a": BaselineCheck("/a", CheckOutcome.PASSED, 0.25),
        "t.py::b": BaselineCheck("/b", CheckOutcome.FAILED, message="no answer"),
        "t.py::c": BaselineCheck("/c", CheckOutcome.SKIPPED),
    }
    assert [read.failed(nodeid) for nodeid in ("t.py::a", "t.py::b", "t.py::c", "t.py::new")] == [0, 1, 0, 0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", read.moment)


def test_its_owner_alone_reads_it(tmp_path: Path) -> None:
    baseline.write(tmp_path / "b.json", Baseline.of([SICK], {}))

    assert stat.S_IMODE((tmp_path / "b.json").stat().st_mode) == 0o600


def test_none_is_none(tmp_path: Path) -> None:
    assert baseline.read(tmp_path / "b.json") is None
    assert baseline.read(tmp_path / "no" / "folder" / "b.json") is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", b"nonsense", b"[]", b"{}", b'{"at": "x", "checks": {}}', b'{"at": 1, "checks": {"a": {}}}',
        b"[" * 100_000, b'{"at": 1, "checks": {}, "format": 2}', b'{"at": 1e300, "checks": {}}',
        b'{"at": -1, "checks": {}}',
        b'{"at": 1, "checks": {"a": {"check": "a", "outcome": "passed", "latency": -1}}}',
        b'{"at": 1, "checks": {"a": {"check": "a", "outcome": "healed"}}}',
        b'{"at": 1, "checks": {}, "versions": {"api": "%s"}}' % (b"x" * 201),
        b"\xff\xfe", b'{"at": 1, "checks": {"\\ud800": {}}}',
    ],
    ids=lambda content: content[:30],
)  # fmt: skip
def test_anything_else_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="`auto-heal predeploy` makes") as raised:
        baseline.read(path)

    assert str(raised.value).isprintable()
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for name in ("pipe", "link", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            baseline.read(tmp_path / name)
        with pytest.raises(ConfigError, match="is something else, which is not replaced"):
            baseline.make_room(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


@pytest.mark.parametrize("content", ["precious", "[]", "{}", '{"at": 1}'])
def test_what_is_no_baseline_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)

    with pytest.raises(ConfigError, match="is something else, which is not replaced; name another file"):
        baseline.make_room(path)

    assert path.read_text() == content


@pytest.mark.parametrize("content", ["", '{"at": 1, "checks": {}, "format": 99}'])
def test_an_older_baseline_makes_room(tmp_path: Path, content: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)

    baseline.make_room(path)

    assert not path.exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_checked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for place in (tmp_path / "file" / "b.json", Path("/proc/x/b.json")):
        with pytest.raises(ConfigError, match=r"baseline .*: cannot be written"):
            baseline.make_room(place)


def test_a_round_knows_the_deployment_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Deployment("after", "/b.json", {"api": "1.0"}, fail_on_slower=True)
    assert context.told() is None

    for name, value in told.to_environment().items():
        monkeypatch.setenv(name, value)

    assert context.told() == told


@pytest.mark.parametrize("text", ["x", "{}", "[]", '{"phase": "between", "baseline": "b"}', "\ud800"])
def test_what_auto_heal_did_not_set_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTO_HEAL_DEPLOYMENT", os.fsdecode(text.encode(errors="surrogatepass")))

    with pytest.raises(ConfigError, match="AUTO_HEAL_DEPLOYMENT is set by auto-heal alone"):
        context.told()
