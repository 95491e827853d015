"""The command line: the commands, their options and their exit codes.

The module of a command is imported only when the command runs.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
import textwrap
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from remediation import __version__
from remediation.drill.fault_names import FAULTS, listed
from remediation.messages.formatting import HELP_WIDTH, duration
from remediation.messages.text import of_environment
from remediation.system import journal
from remediation.system.exit_codes import FAILED, INTERNAL_ERROR, INTERRUPTED, PASSED, USAGE_ERROR
from remediation.system.process_exit import exit_at_once

_STDERR = 2
_LAST_PORT = 65_535
_LAST_EXIT_CODE = 255
_MOST_ROUNDS = 1_000

_TO_PYTEST = "All further options go to pytest."
_HEALING = """options of the run, which go to pytest:
  --heal=auto|plan|off  heal, only tell what a heal would do, or do neither
  --no-heal             the same as --heal=off
  --heal-rounds=N       heal at most N times (default: as often as the ladders
                        of the sick services have steps)
  --fail-on-heal        exit with 10 when all is well only after a heal
  --rollback            run the rollback of a service that no heal has helped;
                        postdeploy always does
All further options go to pytest as well, such as -k or --junitxml."""
_DONE = "exit codes: 0 if it was done, 1 if it failed, 4 if the configuration is wrong"
_NO_HEAL = """exit codes: 0 if every check passes, 1 if something is sick, and those of
`auto-heal check` if there is no verdict"""
_CODES = """exit codes:
  0   every check passes at the end, healed or not
  1   a check still fails at the end
  2   interrupted
  3   no verdict: the report is missing or incomplete
  4   wrong use or configuration
  5   no check was collected
  10  only with --fail-on-heal: every check passes, but only after a heal
  11  every check passes, but only since the service was rolled back"""


class _Parser(argparse.ArgumentParser):
    """Exits with 4 on wrong use, as pytest does, where argparse would exit with 2."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the nearest command instead of all of them."""
        if action.dest == "command" and action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(None, _unknown("command", value, list(action.choices)))
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        text = f"{message}; see {self.prog} --help"
        if of_environment(os.environ) == "ru":
            from remediation.messages.translation import translated_usage

            text = translated_usage(text)
        self.exit(USAGE_ERROR, f"{self.prog}: {text}\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Return the formatter of the help of a command, in the user's language."""
    if of_environment(os.environ) == "ru":
        from remediation.cli.help import RussianFormatter

        return RussianFormatter(prog)
    return argparse.RawDescriptionHelpFormatter(prog)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = _Parser(
        prog="auto-heal",
        description="Check services, heal what is sick, check again.",
        formatter_class=_formatter,
    )
    top.add_argument("--version", action="version", version=f"auto-heal {__version__}")
    # With `prog`, argparse need not lay out a usage line to find the name.
    commands = top.add_subparsers(prog=top.prog, dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_checks(commands)
    _add_deployment(commands)
    _add_services(commands)
    _add_drill(commands)
    _add_pause(commands)
    _add_beat(commands)
    _add_validate(commands)
    _add_report(commands)
    _add_init(commands)
    _add_help(commands)
    return top


def _add_checks(commands: argparse._SubParsersAction[_Parser]) -> None:
    check = _add(
        commands, "check", "run the checks, heal on failure, run them again",
        "auto-heal check --no-heal\n  auto-heal check -k girls", _HEALING, _CODES,
    )  # fmt: skip
    check.add_argument("-v", "--verbose", action="store_true", help="show pytest's own output as well")

    plan = _add(
        commands, "plan", "run the checks, and tell what a heal would do now, touching no service",
        "auto-heal plan\n  auto-heal plan --rollback", _TO_PYTEST, _NO_HEAL,
    )  # fmt: skip
    plan.add_argument("-v", "--verbose", action="store_true", help="show pytest's own output as well")

    monitor = _add(
        commands, "monitor", "check at every interval, and at once when a process dies, until Ctrl+C",
        "auto-heal monitor\n  CHECK_INTERVAL=5 auto-heal monitor --metrics 9787", _TO_PYTEST,
        "exit codes: 0 after Ctrl+C or SIGTERM, 1 if another monitor watches the project,\n2 after a second Ctrl+C, "
        "3 after a fault of its own, pytest's if no check can\nbe collected at the start",
    )  # fmt: skip
    monitor.add_argument("--metrics", type=_port, metavar="PORT", help="serve Prometheus metrics on 127.0.0.1:PORT")


def _add_deployment(commands: argparse._SubParsersAction[_Parser]) -> None:
    before = _add(
        commands, "predeploy", "run the checks before a deployment, heal nothing, and keep the results as the baseline",
        "auto-heal predeploy\n  auto-heal predeploy --baseline baseline.json", _TO_PYTEST, _NO_HEAL,
    )  # fmt: skip
    before.add_argument("--allow-sick", action="store_true", help="exit with 0 also if something is sick")
    after = _add(
        commands, "postdeploy",
        "wait for what was deployed, run the checks, compare with the baseline, and heal or roll back",
        "auto-heal postdeploy --wait 2m --expect-version 1.4.2", _HEALING, _CODES,
    )  # fmt: skip
    after.add_argument(
        "--wait",
        type=duration,
        metavar="TIME",
        help="how long to wait until the services are ready (default: the start_timeout of each)",
    )
    after.add_argument(
        "--expect-version",
        dest="expected",
        action="append",
        default=[],
        metavar="V",
        help="wait until this version answers, and fail if it does not; api=V for one of several services",
    )
    after.add_argument(
        "--fail-on-slower", action="store_true", help="fail a check that is slower than the key latency allows"
    )
    for command in (before, after):
        command.add_argument(
            "--baseline", type=Path, metavar="FILE", help="where it is kept (default: .auto-heal/baseline.json)"
        )
        command.add_argument("-v", "--verbose", action="store_true", help="show pytest's own output as well")


def _add_services(commands: argparse._SubParsersAction[_Parser]) -> None:
    for name, what, example in (
        ("start", "start services, their dependencies first", "auto-heal start api"),
        ("stop", "stop services; nothing heals them until they are started", "auto-heal stop"),
        ("restart", "stop and start services", "auto-heal restart api"),
        ("reload", "let services read their own configuration again, by the key reload", "auto-heal reload web"),
        ("status", "show state, process and last heal of services", "auto-heal status --json"),
    ):
        codes = "exit codes: 0 if all are up, 1 if one is not, 4 if the configuration is wrong"
        command = _add(commands, name, what, example, codes if name == "status" else _DONE)
        command.add_argument("services", nargs="*", metavar="SERVICE", help="all configured services if none is named")
        if name == "status":
            command.add_argument("--json", action="store_true", help="print JSON, for programs")
        if name == "stop":
            command.add_argument(
                "--orphans", action="store_true", help="stop what still runs, but is no longer in the configuration"
            )
    adopt = _add(
        commands, "adopt", "take over a server that was started by hand, without a restart",
        "auto-heal adopt api\n  auto-heal adopt worker --pid 4711",
        "exit codes: 0 if it was adopted, 1 if it must not be, 2 if it was not agreed to,\n"
        "4 if it cannot ask (as root, without a terminal, it needs --yes) or the\nconfiguration is wrong",
    )  # fmt: skip
    adopt.add_argument("service", metavar="SERVICE", help="the service that it is from now on")
    adopt.add_argument("--pid", type=_pid, metavar="N", help="its process (default: the one that listens on the url)")
    adopt.add_argument("--yes", action="store_true", help="do not ask, as root")


def _add_drill(commands: argparse._SubParsersAction[_Parser]) -> None:
    drill = _add(
        commands, "drill", "make real faults on your own services, one after another, and see whether they are healed",
        "auto-heal drill api --fault crash --fault hang --rounds 3", f"faults:\n{listed(FAULTS, HELP_WIDTH)}",
        "exit codes: 0 if every fault was healed and nobody harmed, 1 if not, 2 if it\n"
        "was interrupted or not agreed to, 3 if there is no verdict, 4 if it cannot ask\n"
        "(without a terminal it needs --yes) or the configuration is wrong",
    )  # fmt: skip
    drill.add_argument("services", nargs="*", metavar="SERVICE", help="all that auto-heal starts if none is named")
    drill.add_argument(
        "--fault",
        dest="faults",
        action="append",
        type=_fault,
        default=[],
        metavar="NAME",
        help="only this one; may be repeated",
    )
    drill.add_argument("--rounds", type=_count, default=1, metavar="N", help="make each fault N times (default: 1)")
    drill.add_argument("--seed", type=int, metavar="S", help="repeat the order and moments of an earlier drill")
    drill.add_argument(
        "--yes", action="store_true", help="do not ask before it starts; without a terminal it is needed"
    )
    drill.add_argument(
        "--report", type=Path, metavar="FILE", help="the JUnit report (default: drill.xml beside that of the checks)"
    )


def _add_pause(commands: argparse._SubParsersAction[_Parser]) -> None:
    pause = _add(
        commands, "pause", "allow no healing, while a deployment is under way; checks still run and report",
        "auto-heal pause --for 10m\n  auto-heal pause api db --for 2h", _DONE,
    )  # fmt: skip
    pause.add_argument(
        "--for",
        dest="seconds",
        type=duration,
        metavar="TIME",
        help="end by itself, as 10m, 90s or 1h30m (default: never)",
    )
    resume = _add(commands, "resume", "end a pause", "auto-heal resume\n  auto-heal resume api", _DONE)
    for command, what in (
        (pause, "pause only these; the others are healed (default: all)"),
        (resume, "end the pause of these (default: that of all services)"),
    ):
        command.add_argument("services", nargs="*", metavar="SERVICE", help=what)


def _add_beat(commands: argparse._SubParsersAction[_Parser]) -> None:
    beat = _add(
        commands, "beat", "store the heartbeat of a cron job, for a check that fails when it is late",
        "auto-heal beat backup\n  ./backup.sh; auto-heal beat backup --exit-code $?",
        "exit codes: 0 if it was stored, 1 if it cannot be written, 4 if the name is\n"
        "wrong or there is no configuration",
    )  # fmt: skip
    beat.add_argument("name", metavar="NAME", help="what the check calls it")
    ended = beat.add_mutually_exclusive_group()
    ended.add_argument(
        "--exit-code", type=_exit_code, default=0, metavar="N",
        help="how the work ended; the check fails if that is not 0 (default: 0)",
    )  # fmt: skip
    ended.add_argument("--fail", dest="exit_code", action="store_const", const=1, help="the same as --exit-code 1")


def _add_validate(commands: argparse._SubParsersAction[_Parser]) -> None:
    validate = _add(
        commands, "validate", "say whether the configuration is valid",
        "auto-heal validate\n  auto-heal validate --checks", "exit codes: 0 if it is, 4 if not",
    )  # fmt: skip
    validate.add_argument("--checks", action="store_true", help="collect the checks as well")
    schema = _add(
        commands, "schema", "print the JSON Schema of the configuration, for editors",
        "auto-heal schema >auto-heal.schema.json",
    )  # fmt: skip
    schema.add_argument("--pyproject", action="store_true", help="that of a pyproject.toml with [tool.auto-heal]")


def _add_report(commands: argparse._SubParsersAction[_Parser]) -> None:
    report = _add(
        commands,
        "report",
        "tell of the past: uptime, failures, heals, latency",
        "auto-heal report --since 30d --json",
        _DONE,
    )
    report.add_argument(
        "--since", type=duration, default="7d", metavar="TIME", help="how far to look back (default: 7d)"
    )
    report.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_init(commands: argparse._SubParsersAction[_Parser]) -> None:
    init = _add(
        commands, "init", "look at what answers at a url, and write checks that fit it",
        "auto-heal init --url http://localhost:3000\n  auto-heal init --name db --url tcp://localhost:5432",
    )  # fmt: skip
    init.add_argument("folder", nargs="?", default=".", metavar="DIR", help="the project (default: here)")
    init.add_argument("--name", default="api", help="the service's name (default: api)")
    init.add_argument("--url", help="where it answers: http, https, tcp, or unix:PATH")
    init.add_argument("--command", dest="run", metavar="COMMAND", help="the command that starts it (default: none)")
    init.add_argument("--ready", metavar="PATH", help="the path that answers 2xx when it is up (default: a usual one)")
    init.add_argument("--gitignore", action="store_true", help="add to .gitignore what auto-heal writes")
    init.add_argument("--npm", action="store_true", help="add doctor:auto and doctor:monitor to package.json")
    printed = init.add_mutually_exclusive_group()
    printed.add_argument("--systemd", action="store_true", help="only print a systemd unit for the monitor")
    printed.add_argument("--cron", action="store_true", help="only print a line for crontab")


def _add_help(commands: argparse._SubParsersAction[_Parser]) -> None:
    topic = _add(commands, "help", "explain a command, as its --help does", "auto-heal help check").add_argument
    topic("topic", nargs="?", metavar="COMMAND", help="the command (default: all of them in a few words)")


def _fault(text: str) -> str:
    if text not in FAULTS:
        raise argparse.ArgumentTypeError(_unknown("fault", text, list(FAULTS)))
    return text


def _unknown(what: str, text: str, known: list[str]) -> str:
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known {what}s: {', '.join(known)}"
    return f"no {what} is called {text!r}; {hint}"


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_ROUNDS):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {_MOST_ROUNDS}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port, which is a number up to {_LAST_PORT}")
    return int(text)


def _exit_code(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_EXIT_CODE):
        raise argparse.ArgumentTypeError(f"{text!r} is no exit code, which is a number up to {_LAST_EXIT_CODE}")
    return int(text)


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no PID")
    return int(text)


def _add(
    commands: argparse._SubParsersAction[_Parser], name: str, what: str, example: str, *more: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=what,
        description=textwrap.fill(f"{what[0].upper()}{what[1:]}.", HELP_WIDTH),
        epilog="\n\n".join([f"example:\n  {example}", *more]),
        formatter_class=_formatter,
    )


_RUN_CHECKS = ("check", "plan", "predeploy", "postdeploy")
_GIVE_VERDICTS = ("check", "plan", "monitor", "predeploy", "postdeploy")


def run() -> NoReturn:
    """Run the command of this process, and exit at once: finalizing the interpreter would cost a healthy run 10 ms.

    If threads are still running, exit in the usual way, which waits for them.
    """
    code = main()
    if threading.active_count() > 1:
        sys.exit(code)
    exit_at_once(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    from remediation.system.signals import unignore

    _open_closed_descriptors()
    _prepare_streams()
    unignore()
    top = parser()
    options, rest = top.parse_known_args(arguments)
    if options.command in _RUN_CHECKS:
        from remediation.checks import stale_report

        # Before anything can fail, even for lack of memory.
        stale_report.remove(rest, Path())
    from remediation.config.schema import ConfigError

    if rest and options.command not in _GIVE_VERDICTS:
        top.error(f"unknown arguments: {' '.join(rest)}")
    try:
        return _run(options, [word for word in rest if word != "--"])
    except ConfigError as error:
        print(f"auto-heal: {_in_their_language(str(error))}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except OSError as error:
        # A missing working directory is the only missing file that the system reports without a name.
        where = error.filename or ("the working directory" if isinstance(error, FileNotFoundError) else "output")
        print(_in_their_language(f"auto-heal: {where}: {error.strerror or error}"), file=sys.stderr)
        return INTERNAL_ERROR if options.command in _GIVE_VERDICTS else FAILED
    except Exception:  # noqa: BLE001 - the traceback has all of it
        # Python would exit with 1, which means that a check fails.
        traceback.print_exc()
        return INTERNAL_ERROR


def _in_their_language(text: str) -> str:
    """Return an error in the language of the environment, since there may be no configuration."""
    if of_environment(os.environ) == "en":
        return text
    from remediation.messages.translation import translated

    return translated(text, "ru")


def _run(options: argparse.Namespace, rest: list[str]) -> int:
    code = _RUN[options.command](options, rest)
    # Output that cannot be written must be an error.
    sys.stdout.flush()
    return code


def _open_closed_descriptors() -> None:
    """Open the standard descriptors that cron or a shell closed, so that no file of ours gets the number of stdout."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # The new descriptor gets the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _prepare_streams() -> None:
    """Let no character stop our output, and give errors their priority in the journal."""
    # A terminal or pipe with a narrow encoding gets escapes for characters that it cannot show, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if journal.is_journal(_STDERR):
        sys.stderr = cast("TextIO", journal.Prioritized(sys.stderr, journal.ERROR))


# One function per command, which imports the modules that it needs.


def _check(options: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.check import check

    return check(rest, verbose=options.verbose)


def _plan(options: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.check import check

    return check([*rest, "--heal=plan"], verbose=options.verbose)


def _monitor(options: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.monitor import monitor

    return monitor(rest, metrics_port=options.metrics)


def _predeploy(options: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.deploy import predeploy

    return predeploy(rest, baseline=options.baseline, allow_sick=options.allow_sick, verbose=options.verbose)


def _postdeploy(options: argparse.Namespace, rest: list[str]) -> int:
    from remediation.cli.deploy import postdeploy

    return postdeploy(
        rest, wait=options.wait, expected=options.expected, baseline=options.baseline,
        fail_on_slower=options.fail_on_slower, verbose=options.verbose,
    )  # fmt: skip


def _by_hand(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.service import by_hand

    return by_hand(options.command, options.services, orphans_too=getattr(options, "orphans", False))


def _adopt(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.service import adopt

    return adopt(options.service, pid=options.pid, agreed=options.yes)


def _status(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.status import status

    return status(options.services, as_json=options.json)


def _drill(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.drill import drill

    return drill(
        options.services,
        faults=options.faults,
        rounds=options.rounds,
        seed=options.seed,
        confirmed=options.yes,
        report=options.report,
    )


def _pause(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.service import pause

    return pause(options.services, options.seconds)


def _resume(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.service import resume

    return resume(options.services)


def _beat(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.beat import beat

    return beat(options.name, options.exit_code)


def _validate(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.validate import validate

    return validate(checks=options.checks)


def _schema(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from remediation.config.json_schema import json_schema

    print(json.dumps(json_schema(in_pyproject=options.pyproject), indent=2))
    return PASSED


def _help(options: argparse.Namespace, _: list[str]) -> int:
    parser().parse_args([*([options.topic] if options.topic else []), "--help"])
    return PASSED


def _report(options: argparse.Namespace, _: list[str]) -> int:
    from remediation.cli.report import report

    return report(since=options.since, as_json=options.json)


def _init(options: argparse.Namespace, _: list[str]) -> int:
    if options.systemd or options.cron:
        from remediation.cli.units import print_unit

        return print_unit(options.folder, cron=options.cron)
    from remediation.cli.init import init

    return init(
        options.folder, name=options.name, command=options.run, url=options.url, ready=options.ready,
        gitignore=options.gitignore, npm=options.npm,
    )  # fmt: skip


_RUN = {
    "check": _check, "plan": _plan, "monitor": _monitor, "predeploy": _predeploy, "postdeploy": _postdeploy,
    "start": _by_hand, "stop": _by_hand, "restart": _by_hand, "reload": _by_hand, "adopt": _adopt, "status": _status,
    "drill": _drill, "pause": _pause, "resume": _resume, "beat": _beat, "validate": _validate, "schema": _schema,
    "report": _report, "init": _init, "help": _help,
}  # fmt: skip
