"""SessionPool: the checks around a deployment, and the project's own tests."""

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

# In percent. Only whole runs reach the rest, in processes that are not measured. Raise it when it is far exceeded.
COVERAGE_FLOOR = 58


# Reused, because the services that it starts keep running with the packages that are installed there.
@nox.session(reuse_venv=True)
def predeploy(session: nox.Session) -> None:
    """Check before a deployment without healing, and keep the results as the baseline."""
    session.install("-e", ".")
    session.run("auto-heal", "predeploy", *session.posargs)


@nox.session(reuse_venv=True)
def postdeploy(session: nox.Session) -> None:
    """Check after a deployment, compare with the baseline, and heal or roll back."""
    session.install("-e", ".")
    session.run("auto-heal", "postdeploy", *session.posargs)


@nox.session(reuse_venv=True)
def monitor(session: nox.Session) -> None:
    """Watch the services and heal sick ones until Ctrl+C."""
    session.install("-e", ".")
    # The terminal's Ctrl+C reaches the monitor too. Wait without a limit, because it may be in the middle of a heal.
    session.run("auto-heal", "monitor", *session.posargs, interrupt_timeout=None)


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Test the project itself on every installed Python."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests", *session.posargs)


@nox.session(python="3.10")
def floor(session: nox.Session) -> None:
    """Test the project itself with the oldest pytest that it supports."""
    session.install("-e", ".[test]", "pytest==8.3.*")
    session.run("pytest", "tests", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types and the direction of imports."""
    session.install("-e", ".[test,lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    # Separately, because each of the two folders has a conftest.
    session.run("mypy", "tests")
    session.run("lint-imports")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches of remediation/ the unit tests reach, and fail below the floor."""
    session.install("-e", ".[test]")
    floor = f"--cov-fail-under={COVERAGE_FLOOR}"
    session.run("pytest", "tests/unit", "-n", "auto", "--cov", floor, *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Cause random faults, kill healers at random moments, and verify that everything recovers after each."""
    session.install("-e", ".[test]")
    session.run("python", "tests/chaos/soak.py", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Put small faults into the modules that decide, and fail if their unit tests do not notice one.

    Takes 30 minutes at most, or `--minutes N`; names of modules choose. Those whose faults could signal processes
    are tried in a PID namespace of their own, and refused without one.
    """
    session.install("-e", ".[test]")
    session.run("python", "tests/mutation/mutate.py", *session.posargs)


@nox.session
def plugins(session: nox.Session) -> None:
    """Heal, check and monitor with each of the popular pytest plugins, and print a table."""
    session.install("-e", ".")
    session.run("python", "tests/plugins/run.py", *session.posargs)


@nox.session
def servers(session: nox.Session) -> None:
    """Make faults on real servers (nginx, PostgreSQL, gunicorn and others), and print a table of their heals."""
    session.install("-e", ".[test]")
    session.run("python", "tests/servers/table.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed side by side with plain pytest and with other watchers, and print ratios."""
    # superlance is supervisord's HTTP check. monit and runit take part if they are installed.
    session.install("-e", ".", "supervisor", "superlance")
    tools = Path(session.create_tmp()).resolve()
    if shutil.which("npm"):
        session.run(
            "npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(tools), "pm2", external=True
        )
    path = os.pathsep.join([session.bin, str(tools / "node_modules" / ".bin"), os.environ["PATH"]])
    session.run("python", "tests/bench/run.py", *session.posargs, env={"PATH": path})
