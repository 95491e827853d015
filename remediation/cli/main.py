"""Hand the command line to the module of its command, which is imported only then, and say with which code it ends."""

from __future__ import annotations

import argparse
import atexit
import io
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from remediation.cli.parser import USAGE_ERROR, parser

FAILED, INTERRUPTED, NO_VERDICT = 1, 2, 3
_RUN_CHECKS = ("check", "plan", "predeploy", "postdeploy")
_GIVE_VERDICTS = ("check", "plan", "monitor", "predeploy", "postdeploy")


def run() -> NoReturn:
    """Run the command of this process, and end it at once: taking the interpreter apart would cost a healthy run 10 ms.

    Threads that are still at work are waited for, as ever.
    """
    code = main()
    if threading.active_count() > 1:
        sys.exit(code)
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - there is no public way
        for stream in (sys.stdout, sys.stderr):
            # What could not be written is told already.
            with suppress(OSError, ValueError):
                stream.flush()
    finally:
        os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    from remediation.system.dispositions import unignore

    _open_closed_descriptors()
    unignore()
    top = parser()
    known, rest = top.parse_known_args(arguments)
    if known.command in _RUN_CHECKS:
        from remediation.checks import stale_report

        # Before anything can go wrong, if only that there is no memory for it.
        stale_report.remove(rest, Path())
    from remediation.config.schema import ConfigError

    if rest and known.command not in _GIVE_VERDICTS:
        top.error(f"unknown arguments: {' '.join(rest)}")
    # A terminal or pipe of a narrow encoding gets escapes for what it cannot show, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(known, [word for word in rest if word != "--"])
    except ConfigError as error:
        print(f"auto-heal: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except OSError as error:
        # Only of the working directory does the system say that it is not there without saying what.
        where = error.filename or ("the working directory" if isinstance(error, FileNotFoundError) else "output")
        print(f"auto-heal: {where}: {error.strerror or error}", file=sys.stderr)
        return NO_VERDICT if known.command in _GIVE_VERDICTS else FAILED
    except Exception:  # noqa: BLE001 - told in full
        # Python would exit with 1, which says that something is sick.
        traceback.print_exc()
        return NO_VERDICT


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    code = _RUN[known.command](known, rest)
    # What cannot be written has not been said.
    sys.stdout.flush()
    return code


def _open_closed_descriptors() -> None:
    """Open what cron or a shell closed, so that no file of ours is given the number of stdout."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # Gets the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


# One for each command; what it needs is imported only then.


def _check(known: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.check import check

    return check(rest, verbose=known.verbose)


def _plan(known: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.check import check

    return check([*rest, "--heal=plan"], verbose=known.verbose)


def _monitor(known: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.monitor import monitor

    return monitor(rest, metrics_port=known.metrics)


def _predeploy(known: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.deploy import predeploy

    return predeploy(rest, baseline=known.baseline, allow_sick=known.allow_sick, verbose=known.verbose)


def _postdeploy(known: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.deploy import postdeploy

    return postdeploy(
        rest, wait=known.wait, expected=known.expected, baseline=known.baseline,
        fail_on_slower=known.fail_on_slower, verbose=known.verbose,
    )  # fmt: skip


def _by_hand(known: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.service import by_hand

    return by_hand(known.command, known.services)


def _status(known: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.status import status

    return status(known.services, as_json=known.json)


def _drill(known: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.drill import drill

    return drill(
        known.services, faults=known.faults, rounds=known.rounds, seed=known.seed, sure=known.yes, report=known.report
    )


def _pause(known: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.pause import pause

    return pause(known.seconds)


def _resume(_known: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.pause import resume

    return resume()


def _report(known: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.report import report

    return report(since=known.since, as_json=known.json)


def _init(known: argparse.Namespace, _: list[str]) -> int:
    if known.systemd or known.cron:
        from remediation.cli.units import print_unit

        return print_unit(known.folder, cron=known.cron)
    from remediation.cli.init import init

    return init(known.folder, name=known.name, command=known.run, url=known.url, ready=known.ready)


_RUN = {
    "check": _check, "plan": _plan, "monitor": _monitor, "predeploy": _predeploy, "postdeploy": _postdeploy,
    "start": _by_hand, "stop": _by_hand, "restart": _by_hand, "status": _status,
    "drill": _drill, "pause": _pause, "resume": _resume, "report": _report, "init": _init,
}  # fmt: skip
