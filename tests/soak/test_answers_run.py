"""A whole run against hostile servers, as a user sees it: one sentence in terminal, log and report, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trustme
from answering import Answer, Server, bomb, drip, redirect, reply, whole
from certificates import context, self_signed
from sandbox import Sandbox

Serve = Callable[..., Server]


def says(value: object) -> bytes:
    """Return an answer in JSON."""
    return whole(json.dumps(value).encode())


def checked(project: Sandbox, number: int, *, scheme: str = "http", service: str = "") -> dict[str, str]:
    """Run the shipped checks of a service that auto-heal does not run; return the logged failures."""
    url = f'url = "{scheme}://localhost:{number}"'
    project.configure(f"{url}\n{service}", top="timeout = 2\nretries = 1", command='restart = ["true"]')

    result = project.auto_heal("check", "--no-heal")

    assert "Traceback" not in result.output + project.log
    assert "Warning" not in result.output + project.log
    told = [line.partition(" [ERROR] /")[2] for line in project.log.splitlines()]
    found = dict(line.split(": ", 1) for line in told if line)
    assert result.code == (1 if found else 0), result
    for check, reason in found.items():
        assert f"/{check}: {reason}" in result.lines
        assert reason in "".join(str(failure.get("message")) for failure in project.report.iter("failure"))
    return found


@pytest.mark.parametrize(
    ("health", "girls", "reasons"),
    [
        (["ok"], {"girls": []}, ("the JSON is not an object", "the JSON is not a list")),
        ({}, [], ("there is no status", "the list is empty")),
        (None, [{"id": 1, "name": "Anna"}, "Mila"], ("the JSON is not an object", "an item is not an object")),
        ({"status": "ill"}, [{"id": 1}], ("assert 'ill' == 'ok'", "an item has no id or no name")),
    ],
    ids=["swapped", "empty", "other kinds", "other values"],
)
def test_json_of_another_shape_is_told_in_one_sentence(
    project: Sandbox, serve: Serve, *, health: object, girls: object, reasons: tuple[str, str]
) -> None:
    server = serve(says(health), says(girls))

    assert checked(project, server.port) == dict(zip(("api/health", "api/girls"), reasons, strict=True))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda: bomb("gzip"), "the answer is longer than 8 MiB, which is as much as a check takes in"),
        (lambda: drip(reply(b""), b"x"), "no whole answer within 2s (timeout)"),
        (lambda: drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"), "no whole answer within 2s (timeout)"),
        (lambda: [redirect("/")], "redirected more than 20 times"),
        (lambda: [whole(b"<html>")], "no JSON: expecting value at line 1, column 1; it begins with '<html>'"),
        (lambda: [b"SSH-2.0-x\r\n"], "no HTTP: its answer begins with 'SSH-2.0-x'"),
    ],
    ids=["bomb", "body", "head", "loop", "html", "ssh"],
)
def test_a_hostile_answer_is_told_in_one_sentence(project: Sandbox, serve: Serve, answer: Answer, reason: str) -> None:
    server = serve(answer)

    assert checked(project, server.port) == {
        check: f"api: GET /{check}: {reason}" for check in ("api/health", "api/girls")
    }


def test_a_service_over_tls_is_checked(project: Sandbox, serve: Serve) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(project.root / "ca.pem")
    good = says({"status": "ok"}), says([{"id": 1, "name": "Anna"}])
    server = serve(*good, context=context(authority.issue_cert("localhost")))

    assert checked(project, server.port, scheme="https", service='ca_file = "ca.pem"') == {}


def test_a_certificate_that_is_not_asked_for_is_no_warning(project: Sandbox, serve: Serve) -> None:
    good = says({"status": "ok"}), says([{"id": 1, "name": "Anna"}])
    server = serve(*good, context=self_signed(project.root))

    assert checked(project, server.port, scheme="https", service="verify = false") == {}
