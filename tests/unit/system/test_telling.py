"""The telling line of an output is the last that names an error, and it is shown with what surrounds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediation.system.telling import excerpt, read_excerpt

GUNICORN = """\
[2026-11-27 03:25:37 +0000] [629] [INFO] Booting worker with pid: 630
[2026-11-27 03:25:37 +0000] [630] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/srv/venv/lib/python3.11/site-packages/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
ModuleNotFoundError: No module named 'nosuch'
[2026-11-27 03:25:37 +0000] [630] [INFO] Worker exiting (pid: 630)
[2026-11-27 03:25:37 +0000] [629] [ERROR] Worker (pid:630) exited with code 3.
Traceback (most recent call last):
  File "/srv/venv/lib/python3.11/site-packages/gunicorn/arbiter.py", line 683, in reap_workers
    raise HaltServer(reason, self.WORKER_BOOT_ERROR)
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/venv/bin/gunicorn", line 8, in <module>
    sys.exit(run())
gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>
"""
OLD_GUNICORN = """\
ModuleNotFoundError: No module named 'nosuch'
[2024-05-01 10:00:00 +0000] [9] [INFO] Worker exiting (pid: 9)
[2024-05-01 10:00:00 +0000] [8] [ERROR] Shutting down: Master
[2024-05-01 10:00:00 +0000] [8] [ERROR] Reason: Worker failed to boot.
"""
DJANGO = """\
Traceback (most recent call last):
  File "/srv/manage.py", line 22, in <module>
    main()
django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.
"""
CHAINED = """\
Traceback (most recent call last):
  File "server.py", line 1, in <module>
KeyError: 'DATABASE_URL'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "server.py", line 3, in <module>
app.Unconfigured: set DATABASE_URL
"""
COMPOSE = """\
web-1  | Traceback (most recent call last):
web-1  |   File "server.py", line 1, in <module>
web-1  |     boot()
web-1  | app.Unconfigured: set DATABASE_URL
web-1 exited with code 1
"""
UVICORN = """\
INFO:     Waiting for application startup.
ERROR:    Traceback (most recent call last):
  File "/srv/app.py", line 2, in app
    raise ValueError("no database")
ValueError: no database

ERROR:    Application startup failed. Exiting.
"""
UVICORN_PORT = """\
INFO:     Application startup complete.
ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use
INFO:     Application shutdown complete.
"""
NODE = """\
node:internal/modules/cjs/loader:1210
  throw err;
  ^

Error: Cannot find module './nosuch'
Require stack:
- /srv/index.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/srv/index.js' ]
}

Node.js v20.20.2
"""
NODE_PORT = """\
node:events:502
      throw er; // Unhandled 'error' event
      ^

Error: listen EADDRINUSE: address already in use 127.0.0.1:3000
    at Server.setupListenHandle [as _listen2] (node:net:1908:16)
Emitted 'error' event on Server instance at:
    at emitErrorNT (node:net:1887:8) {
  code: 'EADDRINUSE',
  errno: -98,
}
"""
NODE_ESM = """\
Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'express' imported from /srv/mod.mjs
    at packageResolve (node:internal/modules/esm/resolve:873:9) {
  code: 'ERR_MODULE_NOT_FOUND'
}
"""
NPM = """\
npm error Missing script: "start"
npm error
npm error To see a list of scripts, run:
npm error   npm run
npm error A complete log of this run can be found in: /root/.npm/_logs/2026-11-27T03_25_44_927Z-debug-0.log
"""
GO_PANIC = """\
2026/11/27 03:25:37 listening
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a0b1c]

goroutine 1 [running]:
main.main()
\t/srv/main.go:8 +0x1d
exit status 2
"""
GO_REPANIC = """\
panic: no config [recovered]
\tpanic: cannot start: no config

goroutine 1 [running]:
"""
GO_DEADLOCK = "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.main()\n"
GO_BIND = (
    "2026/11/27 03:25:37 starting\n2026/11/27 03:25:37 listen tcp :8080: bind: address already in use\nexit status 1\n"
)
ZAP = """\
{"level":"info","ts":1732677937.1,"msg":"opening","errors":0}
{"level":"fatal","ts":1732677937.2,"caller":"main.go:9","msg":"cannot open database"}
{"level":"info","ts":1732677937.3,"msg":"closing, no error"}
"""
JAVA = """\
Exception in thread "main" java.lang.IllegalStateException: cannot start
\tat Main.main(Main.java:5)
Caused by: java.net.BindException: Cannot assign requested address
\tat java.base/sun.nio.ch.Net.bind0(Native Method)
\t... 1 more
"""
SPRING = """\
***************************
APPLICATION FAILED TO START
***************************

Description:

Web server failed to start. Port 8080 was already in use.

Action:

Identify and stop the process that's listening on port 8080 or configure this application to listen on another port.
"""
RUST = """\
thread 'main' (1234) panicked at src/main.rs:4:10:
called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFound, message: "No such file or directory" }
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
"""
OLD_RUST = "thread 'main' panicked at 'no config', src/main.rs:4:10\nnote: run with `RUST_BACKTRACE=1`\n"
RUST_ERROR = 'Error: Os { code: 13, kind: PermissionDenied, message: "Permission denied" }\n'
DOTNET = """\
Unhandled exception. System.IO.IOException: Failed to bind to address http://127.0.0.1:5000.
 ---> System.Net.Sockets.SocketException (13): Permission denied
   at System.Net.Sockets.Socket.Bind(EndPoint localEP)
   --- End of inner exception stack trace ---
"""
RUBY = "server.rb:1:in `require': cannot load such file -- sinatra (LoadError)\n\tfrom server.rb:1:in `<main>'\n"
PHP = "PHP Fatal error:  Uncaught Error: Call to undefined function f() in /srv/a.php:2\nStack trace:\n#0 {main}\n"
ELIXIR = "** (Mix) Could not start application shop: exited in: Shop.start(:normal, [])\nbye\n"
NGINX = """\
2026/11/27 03:25:51 [emerg] 769#769: unknown directive "lisen" in /etc/nginx/nginx.conf:3
nginx: configuration file /etc/nginx/nginx.conf test failed
"""
NGINX_PORT = """\
2026/11/27 03:25:51 [emerg] 771#771: bind() to 127.0.0.1:80 failed (98: Address already in use)
2026/11/27 03:25:51 [emerg] 771#771: still could not bind()
"""
HAPROXY = """\
[ALERT]    (803) : config : parsing [h.cfg:2] : unknown keyword 'bnd' in 'frontend' section
[ALERT]    (803) : config : Error(s) found in configuration file : h.cfg
[ALERT]    (803) : config : Fatal errors found in configuration.
"""
POSTGRES = """\
2026-11-27 03:25:54.349 UTC [830] LOG:  starting PostgreSQL 15.18
2026-11-27 03:25:54.349 UTC [830] LOG:  could not bind IPv4 address "127.0.0.1": Address already in use
2026-11-27 03:25:54.349 UTC [830] WARNING:  could not create listen socket for "127.0.0.1"
2026-11-27 03:25:54.349 UTC [830] FATAL:  could not create any TCP/IP sockets
2026-11-27 03:25:54.351 UTC [830] LOG:  database system is shut down
"""
POSTGRES_KEY = """\
2026-11-27 03:25:54.368 GMT [833] FATAL:  unrecognized configuration parameter "nosuch"
2026-11-27 03:25:54.368 GMT [833] LOG:  database system is shut down
"""
REDIS = """\
12:M 27 Nov 2026 # Warning: Could not create server TCP listening socket 127.0.0.1:6379: bind: Address already in use
12:M 27 Nov 2026 # Failed listening on port 6379 (tcp), aborting.
"""
SHELL = "starting\nsh: 1: nosuch: not found\n"
COLOURED = "\x1b[31mERROR\x1b[0m \x1b[1mcannot read config\x1b[0m\n\x1b[32mINFO\x1b[0m bye\n"


@pytest.mark.parametrize(
    ("output", "telling"),
    [
        pytest.param(GUNICORN, "ModuleNotFoundError: No module named 'nosuch'", id="gunicorn"),
        pytest.param(OLD_GUNICORN, "ModuleNotFoundError: No module named 'nosuch'", id="gunicorn, before 26"),
        pytest.param(
            DJANGO,
            "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
            id="django",
        ),
        pytest.param(CHAINED, "app.Unconfigured: set DATABASE_URL", id="python, chained"),
        pytest.param(COMPOSE, "web-1  | app.Unconfigured: set DATABASE_URL", id="python, behind docker compose"),
        pytest.param(UVICORN, "ValueError: no database", id="uvicorn"),
        pytest.param(UVICORN_PORT, UVICORN_PORT.splitlines()[1], id="uvicorn, port"),
        pytest.param(NODE, "Error: Cannot find module './nosuch'", id="node"),
        pytest.param(NODE_PORT, "Error: listen EADDRINUSE: address already in use 127.0.0.1:3000", id="node, port"),
        pytest.param(NODE_ESM, NODE_ESM.splitlines()[0], id="node, ES modules"),
        pytest.param(NPM, 'npm error Missing script: "start"', id="npm"),
        pytest.param(GO_PANIC, GO_PANIC.splitlines()[1], id="go"),
        pytest.param(GO_REPANIC, "panic: cannot start: no config", id="go, recovered"),
        pytest.param(GO_DEADLOCK, "fatal error: all goroutines are asleep - deadlock!", id="go, deadlock"),
        pytest.param(GO_BIND, GO_BIND.splitlines()[1], id="go, port"),
        pytest.param(ZAP, ZAP.splitlines()[1], id="go, JSON"),
        pytest.param(JAVA, "Caused by: java.net.BindException: Cannot assign requested address", id="java"),
        pytest.param(SPRING, "Web server failed to start. Port 8080 was already in use.", id="spring"),
        pytest.param(RUST, RUST.splitlines()[1], id="rust"),
        pytest.param(OLD_RUST, OLD_RUST.splitlines()[0], id="rust, before 1.73"),
        pytest.param(RUST_ERROR, RUST_ERROR.strip(), id="rust, without a panic"),
        pytest.param(DOTNET, DOTNET.splitlines()[1].strip(), id="dotnet"),
        pytest.param(RUBY, RUBY.splitlines()[0], id="ruby"),
        pytest.param(PHP, PHP.splitlines()[0], id="php"),
        pytest.param(ELIXIR, ELIXIR.splitlines()[0], id="elixir"),
        pytest.param(NGINX, NGINX.splitlines()[0], id="nginx"),
        pytest.param(NGINX_PORT, NGINX_PORT.splitlines()[0], id="nginx, port"),
        pytest.param(HAPROXY, HAPROXY.splitlines()[0], id="haproxy"),
        pytest.param(POSTGRES, POSTGRES.splitlines()[1], id="postgres, port"),
        pytest.param(POSTGRES_KEY, POSTGRES_KEY.splitlines()[0], id="postgres"),
        pytest.param(REDIS, REDIS.splitlines()[0], id="redis"),
        pytest.param(SHELL, "sh: 1: nosuch: not found", id="sh"),
    ],
)
def test_the_telling_line_is_the_last_that_names_an_error(output: str, telling: str) -> None:
    found = excerpt(output.splitlines())

    assert found.telling == telling
    assert found.names_error
    assert telling in "\n".join(found.lines)


@pytest.mark.parametrize(
    "output",
    [
        "listening on port 8080\nbye\n",
        "Loading required modules\nbye\n",
        "done: 0 errors, 0 failures\nbye\n",
        "started without errors\nbye\n",
        "INFO: 0 errors\nbye\n",
        "WARNING: cannot read the cache\nbye\n",
        "one\nbye\n\n",
    ],
)
def test_the_last_line_stands_for_an_output_that_names_no_error(output: str) -> None:
    found = excerpt(output.splitlines())

    assert (found.telling, found.names_error) == ("bye", False)


def test_an_output_without_lines_tells_nothing() -> None:
    found = excerpt([])

    assert (found.lines, found.telling, found.names_error) == ([], "", False)


def test_a_telling_line_far_above_the_end_is_shown_with_what_surrounds_it_and_the_end() -> None:
    lines = [*(f"before {number}" for number in range(30)), "ValueError: x", *(f"after {n}" for n in range(40))]

    assert excerpt(lines).lines == [
        *(f"before {number}" for number in range(22, 30)), "ValueError: x", "after 0", "after 1", "after 2", "…",
        *(f"after {number}" for number in range(32, 40)),
    ]  # fmt: skip


@pytest.mark.parametrize("after", range(16))
def test_no_line_between_the_telling_one_and_the_end_is_shown_twice_or_left_out_without_a_mark(after: int) -> None:
    lines = [*(f"before {number}" for number in range(30)), "ValueError: x", *(f"after {n}" for n in range(after))]

    shown = excerpt(lines).lines

    assert "ValueError: x" in shown
    assert len(shown) <= 21
    assert "…" in shown or shown == lines[-len(shown) :]
    assert len(set(shown)) == len(shown)


def test_only_what_was_written_since_the_start_is_read_without_its_colours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ValueError: of the last start\n" + COLOURED)

    found = read_excerpt(log, start=len("ValueError: of the last start\n"))

    assert found.lines == ["ERROR cannot read config", "INFO bye"]
    assert found.telling == "ERROR cannot read config"


def test_a_secret_is_masked_before_its_line_is_cut_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    key = "-----BEGIN PRIVATE KEY-----\n" + "ValueError: c2VjcmV0\n" * 40 + "-----END PRIVATE KEY-----\n"
    log.write_text(f"{key}OperationalError: postgres://shop:hunter2@db/shop refused\n")

    found = read_excerpt(log, start=0)

    assert found.telling == "OperationalError: postgres://***@db/shop refused"
    assert "c2VjcmV0" not in "\n".join(found.lines)


def test_a_line_that_lost_its_beginning_is_not_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"password=" + b"hunter2" * 12_000 + b"\nValueError: x\n")

    assert read_excerpt(log, start=0).lines == ["ValueError: x"]


def test_a_log_that_is_gone_or_was_not_kept_tells_nothing(tmp_path: Path) -> None:
    assert read_excerpt(tmp_path / "none", start=0).lines == []
    assert read_excerpt(tmp_path, start=None).lines == []
