"""The body of an answer is JSON, or one sentence says why it is not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from answering import Server, whole
from asking import handle
from sandbox import Sandbox

from remediation.checks.errors import ServiceDown

Serve = Callable[..., Server]


def says(charset: str) -> str:
    """Return the header of JSON with a charset."""
    return f"Content-Type: application/json; charset={charset}"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ('"Älvsjö"'.encode(), []),
        ('"Älvsjö"'.encode(), [says("utf-8")]),
        ('"Älvsjö"'.encode(), [says("iso-8859-1")]),
        ('"Älvsjö"'.encode(), [says("x-klingon")]),
        ('"Älvsjö"'.encode(), ["Content-Type: text/html"]),
        ('"Älvsjö"'.encode("utf-8-sig"), []),
        ('"Älvsjö"'.encode("utf-16"), []),
        ('"Älvsjö"'.encode("utf-32-le"), []),
        ('"Älvsjö"'.encode("latin-1"), [says("iso-8859-1")]),
    ],
)
def test_json_is_read_in_the_encoding_that_it_has(
    project: Sandbox, serve: Serve, body: bytes, headers: list[str]
) -> None:
    assert handle(project, serve(whole(body, *headers)).port).get("/").json() == "Älvsjö"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (whole(b""), "status 200 with an empty body, where JSON is expected"),
        (whole(b" \n"), "status 200 with an empty body, where JSON is expected"),
        (whole(b"", status="204 No Content"), "status 204 with an empty body, where JSON is expected"),
        (whole(b"", status="302 Found"), "status 302 with an empty body, where JSON is expected"),
        (
            whole(b"<html>\n<title>502 Bad Gateway</title>", status="502 Bad Gateway"),
            r"status 502, no JSON: expecting value at line 1, column 1; it begins with '<html>\n<title>502 Bad",
        ),
        (whole(b'{"a": 1,}'), "no JSON: expecting property name enclosed in double quotes at line 1, column 9"),
        (whole(b'[{"id": 1}'), "no JSON: expecting ',' delimiter at line 1, column 11; it begins with '[{\"id\": 1}'"),
        (whole(b"[" * 10_000 + b"]" * 10_000), "its JSON has too many levels; it begins with '[[[["),
        (whole(b'{"a":' * 1_000_000), "its JSON has too many levels; it begins with '{\"a\":"),
        (whole(b"[" * 1_000_000 + b"]" * 1_000_000), "its JSON has too many levels; it begins with '[[[["),
        (whole(b"9" * 100_000), "its JSON cannot be read: Exceeds the limit (4300"),
        (whole(b"\x1b[2J\x00\xe2\x80\xae\n"), r"no JSON: expecting value at line 1, column 1; it begins with '\x1b[2J"),
        (
            whole('["Älvsjö"]'.encode("latin-1"), says("utf-8")),
            "its text is not UTF-8, as JSON has to be (byte 0xc4 at 2); it begins with ",
        ),
        (
            whole('["Älvsjö"]'.encode("latin-1"), says("x-klingon")),
            "its text is not UTF-8, as JSON has to be (byte 0xc4 at 2), nor is it 'x-klingon'; it begins with ",
        ),
        (whole(b'"\xff"', says("\x1b[2J\xff")), "its text is not UTF-8, as JSON has to be (byte 0xff at 1)"),
        (whole(b'"\xff"', says("hex")), "its text is not UTF-8, as JSON has to be (byte 0xff at 1), nor is it 'hex'"),
        (whole(bytes(range(128, 256)) * 30_000), "its text is not UTF-8"),
    ],
    ids=[
        "empty", "blank", "204", "302", "html", "comma", "cut short", "levels", "a million objects", "a million lists",
        "number", "escapes", "latin-1", "unknown charset", "unprintable charset", "no charset", "binary",
    ],
)  # fmt: skip
def test_what_is_no_json_is_told_in_one_sentence(project: Sandbox, serve: Serve, answer: bytes, reason: str) -> None:
    response = handle(project, serve(answer).port).get("/data")

    with pytest.raises(ServiceDown) as told:
        response.json()

    assert str(told.value).startswith(f"api: GET /data: {reason}")
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 250


def test_options_of_json_are_those_of_python(project: Sandbox, serve: Serve) -> None:
    answer = handle(project, serve(whole(b'{"a": 1.5}')).port).get("/")

    assert answer.json(parse_float=str) == {"a": "1.5"}


@pytest.mark.parametrize(
    "charset", ["x-klingon", "punycode", "idna", "undefined", "unicode_escape", "hex", "a\0b", "\xff"]
)
def test_the_text_of_an_answer_in_a_strange_charset_is_there_at_once(
    project: Sandbox, serve: Serve, charset: str
) -> None:
    answer = handle(project, serve(whole(b"-" + rb"zz\.9" * 200_000, says(charset))).port).get("/")

    assert answer.text.startswith("-zz")


def test_the_text_of_an_answer_in_no_encoding_is_there_at_once(project: Sandbox, serve: Serve) -> None:
    answer = handle(project, serve(whole(bytes(range(128, 256)) * 30_000)).port).get("/")

    assert answer.text
    assert answer.raw.read() == answer.content


def test_other_ways_to_read_an_answer_are_those_of_requests(project: Sandbox, serve: Serve) -> None:
    body = json.dumps(["x"] * 10).encode()
    answer = handle(project, serve(whole(body)).port).get("/", stream=True)

    assert b"".join(answer.iter_content(7)) == body
    assert list(answer.iter_lines()) == [body]
    assert answer.ok
