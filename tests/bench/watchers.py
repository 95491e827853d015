"""Who else keeps a service up: how each is found, configured in a folder of its own, and run in the foreground.

All watch the same small server, with a check a second where they check at all, and may take ten seconds from
SIGTERM to SIGKILL, which is the default of most of them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import join, quote

from ground import MARK, REPOSITORY
from watched import Service

# What the virtual environment brings counts as found, activated or not.
_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

_SUPERVISORD = """\
[unix_http_server]
file={folder}/socket
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[supervisorctl]
serverurl=unix://{folder}/socket
[program:api]
command={command}
environment={environment}
autorestart=true
redirect_stderr=true
stdout_logfile={folder}/{log}
"""

_HTTPOK = """\
[eventlistener:httpok]
command={httpok} -p api -t 1 {url}{health}
events=TICK_5
"""

# For as long as a start may take, monit believes in no failure.
_MONIT = """\
set daemon 1
set log {folder}/monit.log
set pidfile {folder}/monit.pid
set idfile {folder}/monit.id
set statefile {folder}/monit.state
check process api with pidfile {folder}/api.pid
    start program = "/bin/sh {folder}/start" with timeout 1 seconds
    stop program = "/bin/sh {folder}/stop" with timeout 15 seconds
    if failed host {host} port {port} protocol http request "{health}" with timeout 1 seconds then restart
    if failed host {host} port {port} protocol http request "/api/girls" with timeout 1 seconds then restart
"""

# monit gives its scripts an empty environment, and waits for ever for a zombie: somebody has to be there to reap it
# at once, which not every machine's first process does.
_MONIT_START = """\
export {environment}
( {command} >>{folder}/{log} 2>&1 & echo $! >{folder}/api.pid; wait ) &
"""

# Without the last line, a process that is suspended would never go.
_MONIT_STOP = """\
pid=$(cat {folder}/api.pid)
kill -TERM "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done
kill -KILL "$pid"
"""

_RUNIT = """\
#!/bin/sh
exec env {environment} {command} 2>&1
"""

_RUNIT_LOG = """\
#!/bin/sh
exec svlogd {folder}
"""

# The loop that everybody writes first: three attempts of five seconds each, five seconds apart.
_OLD_SCRIPT = """\
start() {{ {command} & pid=$!; }}
well() {{ for n in 1 2 3; do curl -fsm 5 -o /dev/null "$1" && return; [ $n = 3 ] || sleep 5; done; return 1; }}
start
while sleep 1; do
    well {url}{health} && well {url}/api/girls && continue
    kill "$pid" && sleep 2 && kill -9 "$pid"
    lsof -ti tcp:{port} -sTCP:LISTEN | xargs -r kill -9
    start; sleep 3
done
"""

_OUR_SERVICE = """
[services.{name}]
command = {words}
env = {env}
url = "{url}"
ready = "{health}"
# Every round harms the service; the budget must not end the race.
budget = {{ restarts = 1000000 }}
{more}
"""


@dataclass(frozen=True, slots=True)
class Watcher:
    """A contestant: its name, the programs that it needs, and what lays it out and returns its command."""

    name: str
    needs: tuple[str, ...]
    lay_out: Callable[[Path, Service], list[str]]
    remark: str = ""
    """What has to be known when its numbers are read."""
    pid_file: str = ""
    """Of the service, below its folder, with `*` where a name may differ; empty if there is none."""
    gives_up: str = ""
    """What it writes when it gives a service up."""

    @property
    def missing(self) -> list[str]:
        """The programs that are not on this machine."""
        return [name for name in self.needs if shutil.which(name, path=_PATH) is None]


def ours(*, interval: float = 1, top: str = "", checks: tuple[str, ...] = ("health", "items", "process")) -> Watcher:
    """Return our own contestant: with `top` in its configuration, and these of the shipped checks."""

    def lay_out(folder: Path, service: Service) -> list[str]:
        files = (REPOSITORY / "healthtests" / f"test_{name}.py" for name in checks)
        texts = {file.name: file.read_text() for file in files}
        return lay_out_ours(folder, {"api": service}, interval=interval, top=top, checks=texts)

    return Watcher("auto-heal monitor", (), lay_out, pid_file=".api-server.pid", gives_up="giving up")


def lay_out_ours(
    folder: Path, services: Mapping[str, Service], *, interval: float, top: str, checks: Mapping[str, str]
) -> list[str]:
    """Make a project with services and the texts of checks by file name, and return the command that watches it."""
    (folder / "healthtests").mkdir()
    for file, text in checks.items():
        (folder / "healthtests" / file).write_text(text)
    # Marks the root, so that pytest does not look for one above the temporary folder.
    (folder / "pytest.ini").write_text("[pytest]\n")
    tables = [
        _OUR_SERVICE.format(
            name=name, words=json.dumps(service.words), url=service.url, health=service.health,
            env="{" + ", ".join(f'{key} = "{value}"' for key, value in service.more.items()) + "}",
            more=f'log_file = "{service.log}"' if service.log else "",
        )
        for name, service in services.items()
    ]  # fmt: skip
    (folder / "auto-heal.toml").write_text(f"interval = {interval}\n{top}\n" + "".join(tables))
    return [sys.executable, "-m", "remediation", "monitor"]


def _supervisord(folder: Path, service: Service, *, more: str = "") -> list[str]:
    environment = ",".join(f'{name}="{value}"' for name, value in service.env.items())
    text = (_SUPERVISORD + more).format(
        folder=folder, command=join(service.words), environment=environment, httpok=_find("httpok"),
        url=service.url, health=service.health, log=service.log or "api.log",
    )  # fmt: skip
    (folder / "supervisord.conf").write_text(text)
    return [_find("supervisord"), "-n", "-c", str(folder / "supervisord.conf")]


def _pm2(folder: Path, service: Service) -> list[str]:
    interpreter, *arguments = service.words
    app = {"name": "api", "script": arguments[-1], "interpreter": interpreter, "env": service.env}
    if service.log:
        app["out_file"] = app["error_file"] = str(folder / service.log)
    (folder / "pm2.json").write_text(json.dumps({"apps": [app]}))
    return ["env", f"PM2_HOME={folder / 'home'}", _find("pm2-runtime"), "start", str(folder / "pm2.json")]


def _runit(folder: Path, service: Service) -> list[str]:
    script = folder / "api" / "run"
    script.parent.mkdir()
    script.write_text(_RUNIT.format(environment=_assignments(service.env), command=join(service.words)))
    script.chmod(0o755)
    if service.log:
        logger = folder / "api" / "log" / "run"
        logger.parent.mkdir()
        logger.write_text(_RUNIT_LOG.format(folder=(folder / service.log).parent))
        logger.chmod(0o755)
    return [_find("runsv"), str(script.parent)]


def _monit(folder: Path, service: Service) -> list[str]:
    environment = _assignments(service.env | {MARK: str(folder)})
    (folder / "start").write_text(
        _MONIT_START.format(
            folder=folder, environment=environment, command=join(service.words), log=service.log or "api.log"
        )
    )
    (folder / "stop").write_text(_MONIT_STOP.format(folder=folder))
    configuration = folder / "monitrc"
    host = service.env["HOST"]
    configuration.write_text(_MONIT.format(folder=folder, host=host, port=service.port, health=service.health))
    # monit refuses a file that others may read.
    configuration.chmod(0o600)
    return [_find("monit"), "-I", "-c", str(configuration)]


def _old_script(folder: Path, service: Service) -> list[str]:
    command = f"{_assignments(service.env)} {join(service.words)}"
    text = _OLD_SCRIPT.format(command=command, url=service.url, health=service.health, port=service.port)
    (folder / "watch.sh").write_text(text)
    return ["bash", str(folder / "watch.sh")]


def _find(program: str) -> str:
    return shutil.which(program, path=_PATH) or program


def _assignments(env: dict[str, str]) -> str:
    return " ".join(f"{name}={quote(value)}" for name, value in env.items())


_FATAL = "entered FATAL state"

PM2 = Watcher(
    "pm2", ("node", "pm2-runtime"), _pm2, "no HTTP check",
    pid_file="home/pids/api-*.pid", gives_up="too many unstable restarts",
)  # fmt: skip
SUPERVISORD = Watcher(
    "supervisord, httpok", ("supervisord", "httpok"), partial(_supervisord, more=_HTTPOK), "a check in 5 s",
    gives_up=_FATAL,
)  # fmt: skip
SUPERVISORD_ALONE = Watcher("supervisord", ("supervisord",), _supervisord, "no HTTP check", gives_up=_FATAL)
RUNIT = Watcher("runit", ("runsv", "svlogd"), _runit, "no HTTP check")
MONIT = Watcher("monit", ("monit",), _monit, pid_file="api.pid")
OLD_SCRIPT = Watcher("the old script", ("bash", "curl", "lsof"), _old_script)
OTHERS = (PM2, SUPERVISORD, RUNIT, MONIT, OLD_SCRIPT)
