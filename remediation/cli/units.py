"""`auto-heal init --systemd` and `--cron`: the texts that make systemd or cron run this project's checks.

The command prints the texts and does not install them, so that the user can read them first.
"""

from __future__ import annotations

import math
import os
import pwd
import re
import shlex
import sys
import zlib
from graphlib import TopologicalSorter
from pathlib import Path

from remediation.config.load import load_project
from remediation.config.model import Project
from remediation.config.schema import ConfigError
from remediation.healing.context import longest
from remediation.messages.message import printable

# Exit codes of the monitor that a restart would only repeat: another monitor runs; the checks cannot be collected; the
# configuration is broken; there is no check.
_FINAL_CODES = "1 2 4 5"
_WATCHDOG_SECONDS = 60
# A monitor that dies more often than this is left dead. Even one that hangs each time, until the watchdog ends it,
# reaches the limit: (60 + 5) s * 20 is less than an hour.
_STARTS, _STARTS_WITHIN = 20, "1h"
# The longest command that Debian's cron accepts, in bytes, with its backslashes.
_CRON_LIMIT = 998
_ALWAYS_SEARCHED = ("/usr/bin", "/bin")
# The folders that ProtectSystem=yes makes read-only.
_SYSTEM = tuple(map(Path, ("/usr", "/boot", "/efi")))

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Words that need no quotes for systemd or a shell.
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")

_UNIT = """\
# Watches over the services of this project: {services}.
#
# For the machine, in the project's folder:
#   auto-heal init --systemd | sudo tee /etc/systemd/system/{name}.service
#   sudo systemctl daemon-reload && sudo systemctl enable --now {name}
# Or for you alone, without root:
#   mkdir -p ~/.config/systemd/user
#   auto-heal init --systemd | {sed} |
#     tee ~/.config/systemd/user/{name}.service
#   systemctl --user daemon-reload && systemctl --user enable --now {name}
#   loginctl enable-linger
# The last one keeps it running while you are not logged in.
# The name is free to choose; each project needs its own.

[Unit]
Description=auto-heal monitor ({root})
# Before there is a network, services could seem sick that are not.
Wants=network-online.target
After=network-online.target
# A monitor that always dies becomes failed; `systemctl reset-failed {name}` lets it be started at once.
StartLimitIntervalSec={within}
StartLimitBurst={starts}

[Service]
Type=notify
NotifyAccess=main
{user}
WorkingDirectory={folder}
{strict}# The PATH of whoever wrote this, so that commands are found as they are in the terminal.
Environment={path}
ExecStart={start}
# A reload fails, and changes nothing, if the configuration or the checks are broken.
ExecReload={validate}
ExecReload=/bin/kill -HUP $MAINPID
SyslogIdentifier={name}
WatchdogSec={watchdog}
Restart=on-failure
RestartSec=5
# 1: another monitor watches this project; 2, 5: no checks can be collected; 4: the configuration is broken.
# None of them mends itself: `systemctl restart {name}` once it is mended.
RestartPreventExitStatus={final}
# The services that auto-heal started live on when the monitor ends, and the next monitor knows them again.
# `auto-heal stop` ends them.
KillMode=process
# A service that ran out of memory is to be healed; it is no reason to end the monitor.
OOMPolicy=continue
# Time to finish a heal under way, by the timeouts of the services when this was written.
TimeoutStopSec={stop}

# Hardening. It holds for all that the monitor starts as well: services, and commands such as sudo or docker.
# No service reboots, loads kernel modules, sets the clock or goes past a device's driver; `sudo systemctl` may ask to.
CapabilityBoundingSet=~CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_TIME CAP_SYS_RAWIO CAP_SYS_PACCT CAP_WAKE_ALARM
# /usr and /boot are read-only. Take it out if a ladder installs something there.
ProtectSystem=yes
{writable}\
# Take the # away from what all services and commands can do without; `systemd-analyze security {name}` rates it.
# Without sudo, setuid programs and programs with capabilities, such as a node that may listen on port 80:
#NoNewPrivileges=yes
#LockPersonality=yes
#ProtectClock=yes
#ProtectHostname=yes
#ProtectKernelLogs=yes
#ProtectKernelModules=yes
#ProtectKernelTunables=yes
#RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
#RestrictRealtime=yes
#RestrictSUIDSGID=yes
#SystemCallArchitectures=native
#SystemCallErrorNumber=EPERM
#SystemCallFilter=@system-service
# Without containers, and browsers that isolate their pages:
#ProtectControlGroups=yes
#RestrictNamespaces=yes
# Without any device but /dev/null and the like:
#PrivateDevices=yes
# Without writing to /etc, or to home folders (the project must not be in one):
#ProtectSystem=full
#ProtectHome=read-only
# Not these: PrivateTmp empties /tmp under services that live on; ProtectProc, ProcSubset and PrivateUsers hide whom to
# heal; RemoveIPC takes from services what they share; MemoryDenyWriteExecute ends node; MemoryMax is for all together.

[Install]
WantedBy=multi-user.target
"""
# A user's manager has another target and may not change the user. Its hardening breaks sudo, or fails.
_FOR_A_USER = "sed '/^User=/d; /^# Hardening/,/^$/d; s/multi-user/default/'"

_CRON = """\
# A check every five minutes, and a heal if need be. To add it to your crontab, in the project's folder:
#   (crontab -l; auto-heal init --cron) | crontab -
# cron mails what a job prints to MAILTO: put MAILTO=you@example.com above the line, or MAILTO="" for no mail. It is
# only what keeps a check from running, such as a broken configuration; {log} has the rest.
{note}\
*/5 * * * * {command}
"""
_SHORTENED = "# Not all of your PATH is in it: cron takes no longer line.\n"


def print_unit(folder: str, *, cron: bool) -> int:
    """Print the systemd unit or the crontab lines of a project; return 0. ConfigError if there is none."""
    project = load_project(Path(folder))
    print(cron_line(project) if cron else systemd_unit(project), end="")
    return 0


def unit_name(project: Project) -> str:
    """Return a name for the project's unit, without `.service`: `auto-heal-` and the name of its folder."""
    # The name of a unit may contain more characters than these, but they are harder to type (systemd.unit(5)).
    name = re.sub(r"[^A-Za-z0-9_]+", "-", project.root.name).strip("-")[:64]
    return f"auto-heal-{name or format(zlib.crc32(os.fsencode(project.root)), '08x')}"


def systemd_unit(project: Project) -> str:
    """Return a unit that runs the monitor of a project as the current user, with this Python.

    ConfigError if a path cannot be written into a unit.
    """
    root = _representable(project.root)
    return _UNIT.format(
        services=", ".join(project.services),
        name=unit_name(project),
        sed=_FOR_A_USER,
        root=_literal(root),
        user=_user(),
        # The slash keeps a space or a backslash from ending the line; systemd knows no other quoting here.
        folder=f"{_literal(root)}/",
        path=_word(f"PATH={':'.join(_search_path())}"),
        # What root runs by itself, nobody else may write.
        strict="Environment=AUTO_HEAL_STRICT=1\n" if os.geteuid() == 0 else "",
        start=_command(_representable(sys.executable), "monitor"),
        validate=_command(_representable(sys.executable), "validate --checks"),
        starts=_STARTS,
        within=_STARTS_WITHIN,
        watchdog=_WATCHDOG_SECONDS,
        final=_FINAL_CODES,
        stop=math.ceil(_longest_heal(project)),
        writable="".join(
            f"ReadWritePaths={_word(f'-{_representable(path)}')}\n" for path in _written_in_system(project)
        ),
    )


def cron_line(project: Project) -> str:
    """Return a line for a crontab that checks a project every five minutes, with this Python, and how to add it.

    ConfigError if a path cannot be written into a crontab.
    """
    root, python = _representable(project.root), _representable(sys.executable)
    searched = _search_path()
    whole = command = _cron_command(root, python, searched)
    while len(command.encode()) > _CRON_LIMIT:
        further = [folder for folder in searched if folder not in _ALWAYS_SEARCHED]
        if not further:
            raise ConfigError(f"{root}: the path is too long for a crontab; cron takes {_CRON_LIMIT} bytes a command")
        searched.remove(further[-1])
        command = _cron_command(root, python, searched)
    log = printable(project.relative(project.log_file))
    return _CRON.format(command=command, log=log, note="" if command == whole else _SHORTENED)


def _cron_command(root: str, python: str, searched: list[str]) -> str:
    path = _cron_word(":".join(searched))
    return f"cd {_cron_word(root)} && PATH={path} {_cron_word(python)} -m remediation check >/dev/null"


def _cron_word(text: str) -> str:
    r"""Quote a word for the shell of cron. An unescaped % ends the command, crontab(5), so it becomes \%.

    Some crons leave \% alone; outside of quotes, the shell reads it as %.
    """
    return r"\%".join(shlex.quote(part) if part else "" for part in text.split("%"))


def _command(python: str, command: str) -> str:
    """Return the command line of one of our commands."""
    if re.search(r"""["'\\$]""", python):
        # systemd accepts no program with such a name, so a shell executes it. Only in a command is $ special.
        words = ("/bin/sh", "-c", f'exec "$0" -m remediation {command}', python)
        return " ".join(_word(word.replace("$", "$$")) for word in words)
    return f"{_word(python)} -m remediation {command}"


def _word(text: str) -> str:
    """Quote a word by the rules of systemd.syntax(7), with % escaped as in systemd.unit(5)."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_literal(escaped)}"'


def _literal(text: str) -> str:
    """Escape a text for a place where systemd reads specifiers, but no quotes."""
    return text.replace("%", "%%")


def _representable(path: Path | str) -> str:
    """Return a path as text. ConfigError if systemd and cron cannot represent it."""
    text = str(path)
    if _CONTROL.search(text):
        raise ConfigError(f"{text!r}: neither a unit nor a crontab can name a path with such characters; rename it")
    return text


def _search_path() -> list[str]:
    """Return the folders of PATH, each once, without relative ones and those with control characters."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    usable = [folder for folder in folders if folder.startswith("/") and not _CONTROL.search(folder)]
    return list(dict.fromkeys([*usable, *_ALWAYS_SEARCHED]))


def _user() -> str:
    uid = os.geteuid()
    if uid == 0:
        return "# Better a user who may do only what the services need:\n#User=NAME"
    try:
        return f"User={_literal(pwd.getpwuid(uid).pw_name)}"
    except KeyError:
        return f"User={uid}"


def _longest_heal(project: Project) -> float:
    """Return the seconds that a heal and the checks after it may take if each step takes as long as it may."""
    needs = {name: service.depends_on for name, service in project.services.items()}
    healed: dict[str, float] = {}
    for name in TopologicalSorter(needs).static_order():
        before = max((healed[need] for need in needs[name]), default=0.0)
        healed[name] = before + longest(project.services[name])
    return max(healed.values()) + project.retries * (project.timeout + project.retry_delay)


def _written_in_system(project: Project) -> list[Path]:
    """Return the folders that the project and its services write to and that ProtectSystem would close."""
    files = [project.source, project.log_file, project.report]
    files += [file for service in project.services.values() for file in (service.log_file, service.pid_file)]
    folders = {file.parent for file in files} | {service.cwd for service in project.services.values()}
    return sorted(folder for folder in folders if any(folder.is_relative_to(system) for system in _SYSTEM))
