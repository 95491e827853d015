"""Real servers that a test runs for a while."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import servers
from sandbox import Sandbox, free_port


@contextmanager
def running(command: list[str], *, cwd: Path, user: str | None = None, **env: str) -> Iterator[psutil.Process]:
    """Run a server until the end of the block, and kill it with all that it started."""
    server = subprocess.Popen(
        command, cwd=cwd, user=user, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    process = psutil.Process(server.pid)
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for each in process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        server.kill()
        server.wait()


@contextmanager
def mariadb(folder: Path) -> Iterator[int]:
    """Run MariaDB with a user ann whose password is sesame, and yield its port."""
    install, program = servers.program("mariadb-install-db"), servers.program("mariadbd")
    data, setup, number = folder / "data", folder / "setup.sql", free_port()
    user = "mysql" if os.geteuid() == 0 else None
    setup.write_text("CREATE USER 'ann'@'%' IDENTIFIED BY 'sesame';\n")
    data.mkdir()
    if user:
        shutil.chown(data, user)
    options = ["--no-defaults", f"--datadir={data}"]
    words = [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)
    options += [f"--port={number}", "--bind-address=127.0.0.1", f"--socket={data}/s", f"--init-file={setup}"]
    with running([program, *options], cwd=folder, user=user):
        yield number


@contextmanager
def rabbitmq(folder: Path) -> Iterator[int]:
    """Run RabbitMQ, where guest may enter as guest, and yield its port."""
    servers.program("rabbitmq-server")
    # What is in the PATH becomes the user rabbitmq, and uses the folders of the system.
    script = next(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
    number, distribution, mapper = free_port(), free_port(), free_port()
    (folder / "plugins").write_text("[].\n")
    environ = {
        "HOME": str(folder), "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"), "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"), "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"), "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_NODENAME": f"test{number}@localhost", "RABBITMQ_NODE_PORT": str(number),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(mapper),
    }  # fmt: skip
    # The node would start the port mapper as a daemon, which stays.
    epmd = [servers.program("epmd"), "-port", str(mapper), "-address", "127.0.0.1"]
    with running(epmd, cwd=folder), running([str(script)], cwd=folder, **environ):
        yield number


def enterable(project: Sandbox) -> Sandbox:
    """Let every user enter the folder of a project, below that of all temporary files."""
    top = Path(tempfile.gettempdir())
    for folder in (project.root, *project.root.parents):
        if not folder.is_relative_to(top) or folder == top:
            break
        folder.chmod(0o755)
    return project
