"""A project with secrets in every place, checks that print them, and a search for them in all output and files."""

from __future__ import annotations

import json
import sys

from sandbox import Result, Sandbox

# Known by their names, or by the URLs that contain them.
KNOWN = {
    "env of the service": "Env-s3cr3t-of-api",
    "URL in env of the service": "Url-s3cr3t-of-db",
    "URL of the service": "Url-s3cr3t-of-api",
    "env_file of the service": "File0s3cr3t1of2api",
    "headers of the service": "Head0s3cr3t1of2api",
    "command line": "Cmd-s3cr3t-of-api",
    "rung": "LadderStep-s3cr3t-of-api",
    "our environment": "Our-s3cr3t/+&'key",
    "notify": "Notify0s3cr3t1of2chat",
}
# Recognizable only by their form.
UNKNOWN = {
    "header asked with": "Hdr-s3cr3t-asked",
    "header answered": "Hdr-s3cr3t-answered",
    "answer": "Body-s3cr3t",
    "query": "Query-s3cr3t",
    "local": "Local-s3cr3t",
    "private key": "Pem0s3cr3t1of2a3private4key",
    "proxy": "Proxy-s3cr3t",
    "subtest": "Sub-s3cr3t",
}

SERVICE = """
import http.server, json, os, pathlib, sys

if pathlib.Path("broken").exists():
    print("-----BEGIN PRIVATE KEY-----", "PRIVATE_KEY", "-----END PRIVATE KEY-----", sep="\\n")
    print("this is", sys.argv[2], "as", os.environ["DATABASE_URL"].split(":")[2].split("@")[0])
    print("connecting to", os.environ["DATABASE_URL"], "by", os.environ["API_TOKEN"], sys.argv)
    print("at", os.environ["PLACE"], flush=True)
    sys.exit(3)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok", "password": "BODY", "by": os.environ["API_TOKEN"], "at": os.environ["PLACE"],
                           "asked": self.headers["X-Mine"]}).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "session=ANSWERED; HttpOnly")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""

CHECKS = '''
import logging, os, warnings
import pytest
import requests

pytestmark = pytest.mark.heals("api")
OURS = os.environ["OUR_PASSWORD"]
WELL = "WELL" in os.environ


@pytest.fixture
def fragile():
    yield
    assert WELL, f"cannot remove {OURS}"


def test_text(services):
    response = services["api"].get("/x", headers={"Authorization": "Bearer ASKED"})
    assert WELL or response.text == "fine"


def test_headers(services):
    response = services["api"].get("/x")
    assert WELL or dict(response.headers) == {}


def test_request(services):
    response = services["api"].get("/x", headers={"Authorization": "Bearer ASKED"})
    assert WELL or str(response.request.headers) == response.request.url


def test_exception(services):
    services["api"].require_process()
    if not WELL:
        raise RuntimeError(f"cannot reach {services['api'].url}/x?api_key=QUERY through http://joe:PROXY@proxy:3128")


def test_chain(services):
    services["api"].get("/x")
    try:
        raise ValueError(os.environ["OUR_PASSWORD"])
    except ValueError as error:
        if not WELL:
            raise RuntimeError(repr(OURS)) from error


def test_prints(services):
    services["api"].get("/x")
    print("the password is", OURS)
    logging.getLogger().warning("login with %s", OURS)
    warnings.warn(f"deprecated: {OURS}", stacklevel=1)
    assert WELL


def test_locals(services):
    password = os.environ["PLAIN"]
    services["api"].get("/x")
    assert WELL or len(password) == 0


def test_down(services):
    services["api"].get("/x?token=QUERY", timeout=0.000_001 if not WELL else 5)


def test_password_of_url(services):
    services["api"].get("/x")
    assert WELL or services["api"].url.split(":")[2].split("@")[0] == "right"


def test_teardown(services, fragile):
    services["api"].get("/x")


@pytest.mark.parametrize("key", [OURS, "http://joe:PROXY@x", "http://ann:PROXY@x"])
def test_parameters(services, key):
    """with a parameter"""
    services["api"].get("/x")
    services.show(key=key, token=key)
    assert WELL or key == "right"


def test_skipped(services):
    pytest.skip(f"nothing to do with {OURS}")


def test_shows(services, record_testsuite_property, record_property):
    record_testsuite_property("token", "PROXY-of-suite")
    record_property("environment", OURS)
    services.show(of=OURS, at=services["api"].get("/x").text)


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="since pytest 9")
def test_subtests(request):
    subtests = request.getfixturevalue("subtests")
    with subtests.test(OURS, password=os.environ["SUBTEST"], of=OURS):
        assert WELL
'''


def leak(project: Sandbox) -> None:
    """Put secrets everywhere in a project, and add checks that print them in every way."""
    project.write("service.py", fill(SERVICE))
    # Their names tell nothing.
    project.write(".env", f"PLACE={KNOWN['env_file of the service']}\nMINE={KNOWN['headers of the service']}\n")
    project.write("healthtests/test_leaks.py", fill(CHECKS))
    for shipped in ("health", "items", "process"):
        (project.root / "healthtests" / f"test_{shipped}.py").unlink()
    command = json.dumps([sys.executable, "service.py", "--token", KNOWN["command line"]])
    rung = json.dumps([sys.executable, "-c", "", f"--password={KNOWN['rung']}"])
    project.configure(
        command=f"command = {command}",
        top="retries = 2",
        service=(
            f'url = "http://joe:{KNOWN["URL of the service"]}@127.0.0.1:{project.port}"\n'
            f"ladder = [{{ run = {rung} }}]\n"
            'env_file = ".env"\nheaders = { X-Mine = "${MINE}" }\n'
            f'env = {{ API_TOKEN = "{KNOWN["env of the service"]}", '
            f'DATABASE_URL = "postgres://app:{KNOWN["URL in env of the service"]}@db/x" }}\n'
            "budget = { restarts = 100, window = 600 }"
        ),
        more=f'[notify]\nurls = ["json://127.0.0.1:{project.port + 1}/{KNOWN["notify"]}"]',
    )


def fill(text: str) -> str:
    """Insert the secrets that source code contains into a source."""
    places = {
        "ASKED": "header asked with", "ANSWERED": "header answered", "BODY": "answer", "QUERY": "query",
        "PRIVATE_KEY": "private key", "PROXY": "proxy",
    }  # fmt: skip
    for place, name in places.items():
        text = text.replace(place, UNKNOWN[name])
    return text


def environment(*, well: bool = False) -> dict[str, str]:
    """Return the environment of the commands."""
    secrets = {"OUR_PASSWORD": KNOWN["our environment"], "PLAIN": UNKNOWN["local"], "SUBTEST": UNKNOWN["subtest"]}
    return secrets | ({"WELL": "1"} if well else {})


def leaks(project: Sandbox, output: str) -> list[str]:
    """Return which secrets are in a command's output and in the files of a project, except where they may be."""
    texts = {"output": output}
    for path in project.root.rglob("*"):
        own = (
            path.name in ("auto-heal.toml", ".env", "service.py", "api-server.log", "test_leaks.py")
            or "__pycache__" in path.parts
        )
        if path.is_file() and not own:
            texts[str(path.relative_to(project.root))] = path.read_bytes().decode(errors="replace")
    return [
        f"{name} in {where}: {next(line for line in text.splitlines() if secret in line)[:300]}"
        for name, secret in {**KNOWN, **UNKNOWN}.items()
        for where, text in texts.items()
        if secret in text
    ]


def told(results: list[Result]) -> str:
    """Return all output of the commands."""
    return "\n".join(result.output for result in results)
