"""What a first look finds at servers that speak many dialects, and which check it makes of that."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from answering import Answer, drip, endless, reply, serving, whole
from certificates import self_signed
from dialects import Reply, talking
from sandbox import free_port

from remediation.config.model import Project, Service
from remediation.config.resolve import resolve_service
from remediation.probes.discovery import USUAL_PATHS, Remark, Sight, look

PAGE = "<!DOCTYPE html><html><body>Welcome</body></html>"
HTML = "text/html; charset=utf-8"
LOGIN = '<form><input type="password"></form>'


def service(url: str) -> Service:
    """Return a service at a url."""
    return resolve_service("api", {"url": url}, project=Project(source=Path("/auto-heal.toml")), where="")


def seen(replies: Mapping[str, Reply | str], path: str | None = None, *, below: str = "") -> Sight:
    """Return what is seen of a server with these replies."""
    with talking(replies) as talker:
        return look(service(talker.url + below), path, timeout=5.0)


@pytest.mark.parametrize(
    ("path", "reply", "expected"),
    [
        ("/health", '{"status":"ok","time":1}', {"json": {"status": "ok"}}),
        ("/healthz", Reply("ok", type="text/plain"), {"matches": "^ok$"}),
        ("/actuator/health", '{"status":"UP"}', {"json": {"status": "UP"}}),
        ("/health", Reply("Healthy", type="text/plain"), {"matches": "^Healthy$"}),
        ("/api/health", Reply('{"status":"pass"}', type="application/health+json"), {"json": {"status": "pass"}}),
        ("/health", Reply("", 204, ""), {"status": 204}),
        ("/up", Reply('<body style="background-color: green"></body>', type=HTML), {}),
        ("/status", '{"requests": 17}', {}),
        ("/health", Reply("\x00\x01", type="application/octet-stream"), {}),
    ],
)
def test_a_health_answer_makes_a_check_of_what_says_so(
    path: str, reply: Reply | str, expected: dict[str, object]
) -> None:
    sight = seen({path: reply, "/": Reply(PAGE, type=HTML)})

    assert sight.expected == {"get": path} | expected
    assert (sight.ready, sight.remark) == (path, Remark.NONE)


def test_a_service_that_says_so_at_once_is_asked_once() -> None:
    with talking({"/health": '{"status":"ok"}'}) as talker:
        look(service(talker.url), timeout=5.0)

    assert talker.asked == ["/health"]


@pytest.mark.parametrize("root", [Reply(PAGE, type=HTML), Reply("Hello", type="text/plain"), '{"name":"shop"}'])
def test_what_answers_the_same_at_every_path_is_checked_at_its_root(root: Reply | str) -> None:
    sight = seen({"*": root})

    assert sight.expected == {"get": "/"}
    assert (sight.ready, sight.remark) == ("/", Remark.NONE)


def test_an_answer_of_success_that_is_an_error_at_every_path_is_no_sickness() -> None:
    assert seen({"*": '{"status":"error","message":"no such method"}'})[-1] == {"get": "/"}


def test_paths_follow_that_of_the_url() -> None:
    sight = seen({"/shop/health": '{"status":"ok"}'}, below="/shop")

    assert sight.expected == {"get": "/health", "json": {"status": "ok"}}


def test_a_path_that_only_lacks_a_slash_is_checked_with_it() -> None:
    sight = seen({"/health": Reply(status=301, location="/health/"), "/health/": '{"status":"ok"}'})

    assert sight.expected == {"get": "/health/", "json": {"status": "ok"}}
    assert sight.ready == "/health/"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply('{"status":"error"}', 503), {}),
        (Reply("Unhealthy", 503, "text/plain"), {}),
        (Reply("no database", 503, "text/plain"), {}),
        (Reply('{"status":"ok"}', 503), {}),
        ('{"status":"DOWN"}', {"json": {"status": "UP"}}),
    ],
)
def test_of_what_is_sick_the_check_expects_that_it_is_well(reply: Reply | str, expected: dict[str, object]) -> None:
    sight = seen({"/health": reply, "/": Reply(PAGE, type=HTML)})

    assert sight.expected == {"get": "/health"} | expected
    assert (sight.ready, sight.remark) == ("/health", Remark.SICK)


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("body", ["oh", "error", '{"status":"error"}'])
def test_what_fails_at_every_path_is_sick(status: int, body: str) -> None:
    sight = seen({"*": Reply(body, status)})

    assert sight.expected == {"get": "/"}
    assert sight.remark is Remark.SICK


def test_a_server_that_fails_at_paths_that_it_does_not_know_is_not_sick() -> None:
    sight = seen({"*": Reply("oh", 500), "/": Reply(PAGE, type=HTML)})

    assert sight.expected == {"get": "/"}
    assert sight.remark is Remark.NONE


def test_concerns_are_no_ground_for_a_heal() -> None:
    sight = seen({"/health": Reply("Degraded", type="text/plain")})

    assert sight.expected == {"get": "/health"}
    assert sight.remark is Remark.DOUBTFUL


@pytest.mark.parametrize("status", [401, 403])
def test_what_asks_for_credentials_everywhere_is_up(status: int) -> None:
    sight = seen({"*": Reply("", status)})

    assert sight.expected is None
    assert (sight.ready, sight.remark) == ("tcp", Remark.GUARDED)


def test_what_has_no_path_of_health_is_checked_by_its_connection() -> None:
    with talking({"/graphql": "{}"}) as talker:
        sight = look(service(talker.url), timeout=5.0)

    assert sight.expected is None
    assert (sight.ready, sight.remark) == ("tcp", Remark.NO_PATH)
    assert talker.asked == [*USUAL_PATHS, "/"]


def test_a_start_page_behind_a_redirect_is_checked_where_it_is() -> None:
    sight = seen({"/": Reply(status=302, location="/en/"), "/en/": Reply(PAGE, type=HTML)})

    assert sight.expected == {"get": "/en/"}
    assert (sight.ready, sight.remark) == ("/en/", Remark.NONE)


@pytest.mark.parametrize(
    ("to", "page"), [("/login?next=/", PAGE), ("/users/sign_in", PAGE), ("/start", LOGIN), ("/auth/realms", PAGE)]
)
def test_a_redirect_to_a_login_page_is_told_and_is_no_readiness(to: str, page: str) -> None:
    sight = seen({"/": Reply(status=302, location=to), to: Reply(page, type=HTML)})

    assert sight.expected == {"get": "/"}
    assert (sight.ready, sight.remark) == ("tcp", Remark.LOGIN)


def test_a_login_page_at_the_root_is_told() -> None:
    sight = seen({"/": Reply(LOGIN, type=HTML)})

    assert sight.expected == {"get": "/"}
    assert sight.remark is Remark.LOGIN


@pytest.mark.parametrize("to", ["https://127.0.0.1/", "http://elsewhere.test/", "//elsewhere.test/", "http://[", ""])
def test_a_redirect_to_elsewhere_is_not_followed(to: str) -> None:
    sight = seen({"/": Reply(status=302, location=to)})

    assert sight.expected is None
    assert (sight.ready, sight.remark) == ("tcp", Remark.REDIRECT)


def test_redirects_in_a_circle_are_no_success() -> None:
    sight = seen({"/": Reply(status=302, location="/a"), "/a": Reply(status=302, location="/")})

    assert sight.expected is None
    assert sight.remark is Remark.NO_PATH


# A path that somebody has named.


def test_a_path_that_was_named_is_the_only_one_asked() -> None:
    with talking({"*": '{"status":"ok"}'}) as talker:
        sight = look(service(talker.url), "/ready", timeout=5.0)

    assert talker.asked == ["/ready"]
    assert sight.expected == {"get": "/ready", "json": {"status": "ok"}}


@pytest.mark.parametrize(("status", "ready"), [(401, "/ready"), (403, "tcp")])
def test_a_named_path_that_asks_for_credentials_stays_where_readiness_takes_it(status: int, ready: str) -> None:
    sight = seen({"*": Reply("", status)}, "/ready")

    assert (sight.expected, sight.ready, sight.remark) == (None, ready, Remark.GUARDED)


def test_a_named_path_without_an_answer_is_sick() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sight = look(service(f"http://127.0.0.1:{listener.getsockname()[1]}"), "/ready", timeout=0.1)

    assert sight == Sight(Remark.SICK, "/ready", None, "timed out", "/ready", {"get": "/ready"})


# What is no HTTP.


def test_nobody_there_is_told() -> None:
    sight = look(service(f"http://127.0.0.1:{free_port()}"), timeout=5.0)

    assert (sight.expected, sight.remark) == (None, Remark.SILENT)
    assert sight.problem == "Connection refused"


def test_a_service_of_tcp_is_not_spoken_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sight = look(service(f"tcp://127.0.0.1:{listener.getsockname()[1]}"), timeout=5.0)

    assert sight == Sight()


def test_what_speaks_something_else_is_checked_by_its_connection() -> None:
    with serving() as serve:
        sight = look(service(f"http://127.0.0.1:{serve(b'-ERR unknown command').port}"), timeout=5.0)

    assert (sight.expected, sight.ready, sight.remark) == (None, "tcp", Remark.NO_HTTP)
    assert sight.problem.startswith("no HTTP: its answer begins with '-ERR")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: drip(b"HTTP/1.1 200 OK\r\n", b"a"),
        lambda: drip(reply(b"", "Content-Length: 999"), b"a"),
        lambda: endless(reply(), bytes(2**16)),
        lambda: endless(b"HTTP/1.1 200 OK\r\n", b"a" * 2**10 + b": b\r\n"),
    ],
    ids=["header in drops", "body in drops", "endless body", "endless header"],
)
def test_no_server_holds_it_up(answer: Answer) -> None:
    began = time.monotonic()
    with serving() as serve:
        look(service(f"http://127.0.0.1:{serve(answer).port}"), timeout=0.3)

        assert time.monotonic() - began < 5


def test_a_certificate_that_is_not_believed_is_told(tmp_path: Path) -> None:
    with serving() as serve:
        server = serve(whole(b"ok"), context=self_signed(tmp_path))
        sight = look(service(f"https://localhost:{server.port}"), timeout=5.0)

    assert (sight.expected, sight.ready, sight.remark) == (None, "tcp", Remark.TLS)
    assert sight.problem == "its certificate is self-signed; to trust it, set ca_file"


def test_what_never_answers_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sight = look(service(f"http://127.0.0.1:{listener.getsockname()[1]}"), timeout=0.1)

    assert (sight.expected, sight.remark, sight.problem) == (None, Remark.NO_HTTP, "timed out")


def test_a_body_that_breaks_off_leaves_the_status() -> None:
    with serving() as serve:
        server = serve(whole(b"", "Content-Type: text/plain").replace(b"Content-Length: 0", b"Content-Length: 9"))
        sight = look(service(f"http://127.0.0.1:{server.port}"), "/health", timeout=5.0)

    assert sight.expected == {"get": "/health"}
