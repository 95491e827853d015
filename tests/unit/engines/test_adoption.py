"""Which process is the one that a service's command would start, and which must not be adopted whatever it runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sandbox import Sandbox, wait_for

from remediation.config.load import load_project
from remediation.config.model import Service
from remediation.engines import adoption
from remediation.engines.adoption import _containers, _Program, _units
from remediation.engines.errors import HealError

LISTENS = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
sys.stdin.read()
"""
Listen = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def listen(project: Sandbox) -> Iterator[Listen]:
    """Start a process in the project's folder, and wait until it listens on the service's port."""
    started: list[subprocess.Popen[bytes]] = []

    def listen(*command: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        environ = project.environment(PORT=str(project.port))
        process = subprocess.Popen(command, cwd=cwd or project.root, env=environ, stdin=subprocess.PIPE)
        started.append(process)
        wait_for(lambda: accepts(project.port))
        return process

    yield listen
    for process in started:
        process.communicate()


def accepts(port: int) -> bool:
    """Return whether a port accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def service(project: Sandbox, *command: str, more: str = "") -> Service:
    """Return a service with a command."""
    project.configure(more, command=f"command = {json.dumps(command)}")
    return load_project(project.root, {}).services["api"]


def adopted(service: Service) -> int | None:
    """Return the PID of the process that would be adopted."""
    only = adoption.search(service).only
    return only.identity.pid if only else None


def test_an_argument_may_name_the_same_file_in_another_way(project: Sandbox, listen: Listen) -> None:
    script = project.write("server.py", LISTENS)

    process = listen(sys.executable, str(script))

    assert adopted(service(project, sys.executable, "server.py")) == process.pid
    assert adopted(service(project, sys.executable, "./server.py")) == process.pid
    assert adopted(service(project, sys.executable, str(script))) == process.pid
    assert adopted(service(project, sys.executable, "./other.py")) is None


@pytest.mark.parametrize("line", [f"#!{sys.executable}", f"#!{sys.executable} -u", "#!/usr/bin/env python3"])
def test_a_script_is_known_by_its_interpreter_and_its_own_path(project: Sandbox, listen: Listen, line: str) -> None:
    script = project.write("serve", f"{line}\n{LISTENS}")
    script.chmod(0o755)

    process = listen("./serve", "--port", "1")

    assert adopted(service(project, "./serve", "--port", "1")) == process.pid
    assert adopted(service(project, str(script), "--port", "1")) == process.pid
    assert adopted(service(project, "./serve", "--port", "2")) is None
    assert adopted(service(project, "./serve")) is None


def test_the_shim_of_a_version_manager_stands_for_every_version_that_it_may_start(
    project: Sandbox, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, shims = project.root / "manager/versions/1.0/bin", project.root / "manager/shims"
    version.mkdir(parents=True)
    (version / "mypython").symlink_to(sys.executable)
    shim = project.write("manager/shims/mypython", f'#!/bin/sh\nexec "{version}/mypython" "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shims), prepend=os.pathsep)
    script = project.write("server.py", LISTENS)

    process = listen("mypython", str(script))

    assert adopted(service(project, "mypython", str(script))) == process.pid


def test_a_server_in_another_folder_is_not_it(project: Sandbox, listen: Listen) -> None:
    script = project.write("server.py", LISTENS)
    elsewhere = project.root / "elsewhere"
    elsewhere.mkdir()

    listen(sys.executable, str(script), cwd=elsewhere)

    found = adoption.search(service(project, sys.executable, str(script)))
    assert found.only is None
    (why,) = found.others.values()
    assert str(why) == f"runs in {elsewhere}, not in {project.root}"


def test_the_parent_of_a_listener_in_the_same_session_is_it_if_it_runs_the_command(
    project: Sandbox, listen: Listen
) -> None:
    script = project.write("server.py", LISTENS)
    runner = project.write("run.sh", f'"{sys.executable}" "{script}"\nexit $?\n')

    process = listen("sh", str(runner))

    assert adopted(service(project, "sh", str(runner))) == process.pid


def test_nothing_is_adopted_for_a_service_without_address_or_without_anybody_there(project: Sandbox) -> None:
    assert adoption.search(service(project, "sleep", "600")).candidates == []


@pytest.mark.parametrize(
    ("name", "arguments", "title", "matches"),
    [
        ("nginx", ("-c", "/n.conf"), "nginx: master process /usr/sbin/nginx -c /n.conf", True),
        ("nginx", ("-c", "/n.conf"), "nginx: master process nginx -c /n.conf", True),
        ("nginx", ("-c", "/n.conf"), "nginx: master process nginx -c /other.conf", False),
        ("nginx", ("-c", "/n.conf"), "nginx: worker process", False),
        ("gunicorn", ("-w", "4", "app:app"), "gunicorn: master [app:app]", True),
        ("gunicorn", ("-w", "4", "app:app"), "gunicorn: master [other:app]", False),
        ("gunicorn", ("-w", "4", "app:app"), "gunicorn: worker [app:app]", False),
        ("npm", ("start",), "npm start", True),
        ("npm", ("start",), "npm run dev", False),
        ("unicorn", ("-c", "u.rb"), "unicorn master -c u.rb", True),
        ("java", ("-jar", "a.jar"), "java -jar a.jar", False),
    ],
)
def test_a_title_is_compared_only_for_programs_that_are_known_to_write_one(
    name: str, arguments: tuple[str, ...], title: str, *, matches: bool
) -> None:
    assert _Program(name, [], None, arguments).titled(title) == matches


def test_a_unit_is_found_in_every_hierarchy_and_the_manager_of_a_session_is_none() -> None:
    assert _units(["/system.slice/shop.service"]) == {"shop.service"}
    assert _units(["/user.slice/user-1000.slice/user@1000.service/app.slice/web.service"]) == {"web.service"}
    assert _units(["/user.slice/user-1000.slice/user@1000.service/tmux-spawn-1.scope", "/", ""]) == set()
    assert _units(["/user.slice/user-1000.slice/session-3.scope"]) == set()


@pytest.mark.parametrize("form", ["/docker/{}", "/system.slice/docker-{}.scope", "/machine.slice/libpod-{}.scope/c"])
def test_a_container_is_known_by_its_id(form: str) -> None:
    assert _containers([form.format("a1" * 32)]) == {"a1" * 32}
    assert _containers([form.format("short")]) == set()


def test_only_a_service_with_a_command_is_adopted_by_hand(project: Sandbox) -> None:
    project.write("auto-heal.toml", f'[services.api]\nurl = "{project.url}"\n')
    api = load_project(project.root, {}).services["api"]

    with pytest.raises(HealError, match="has no command"):
        adoption.named(api, os.getpid())


def test_where_nobody_listens_there_is_nobody_to_adopt(project: Sandbox) -> None:
    with pytest.raises(HealError, match="nothing listens on"):
        adoption.named(service(project, "sleep", "600"), None)


def test_the_variables_that_a_restart_would_lose_are_named_without_those_of_a_shell(project: Sandbox) -> None:
    environ = project.environment(ONLY_THERE="1", SHLVL="2")
    with subprocess.Popen(["sleep", "600"], env=environ) as process:
        wait_for(lambda: "ONLY_THERE" in adoption.lost_variables(service(project, "sleep", "600"), process.pid))
        names = adoption.lost_variables(service(project, "sleep", "600"), process.pid)
        process.kill()

    assert "SHLVL" not in names
    assert "PATH" not in names
