"""A real systemd as the first process of namespaces of its own, so that units can be seen at work.

The box has its own /tmp, /run, /dev, network, PIDs and control group, and a layer of memory over the machine's files,
so what happens in it stays in it. It may neither set the clock nor load modules, and cannot write a setting of the
kernel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sandbox import DEADLINE, REPOSITORY, Result, wait_for

_SYSTEMD = Path("/lib/systemd/systemd")
_PROGRAMS = ("unshare", "nsenter", "setpriv", "systemctl", "journalctl", "mount", "pivot_root")
_KEPT_OUT = "-sys_time,-sys_module,-sys_rawio,-sys_boot,-syslog,-audit_control,-audit_read"
# Seconds that a new systemd may take: it needs less than one.
_BOOT = 20.0

# Holds the box until the tests close the pipe, and that they do in any case, also when they are killed.
_KEEPER = """
set -u
mkdir "$1" || exit 1
sh -c 'echo $$ > "$0/cgroup.procs" && exec setpriv --pdeathsig KILL "$@"' "$@" </dev/null &
box=$!
cat >/dev/null
# The tests may be gone, and their end of this pipe with them.
exec >/dev/null 2>&1
kill -KILL $box 2>/dev/null
wait $box
for _ in $(seq 200); do
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$1" ] || exit 0
    sleep 0.05
done
exit 1
"""

# Runs as the first process of the namespaces. All mounts are private, and go with them.
_BOOT_SCRIPT = """
set -eu
root=/mnt/root project=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work $root
mount -t proc proc $root/proc
mount --bind $root/proc/sys $root/proc/sys
mount -o remount,bind,ro $root/proc/sys
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs $root/tmp
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=755 tmpfs $root/dev
mkdir $root/dev/shm $root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
for device in null zero full random urandom tty; do
    touch $root/dev/$device
    mount --bind /dev/$device $root/dev/$device
done
for folder; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
done
mkdir -p "$root$project"
mount --bind "$project" "$root$project"
# Nothing is started but the journal and what the tests ask for.
rm -rf $root/etc/systemd/system/*.wants $root/usr/lib/systemd/system/*.wants $root/lib/systemd/system/*.wants
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-clean.timer systemd-sysctl.service systemd-udevd.service; do
    ln -sf /dev/null $root/etc/systemd/system/$unit
done
mkdir $root/etc/systemd/system/sysinit.target.wants
ln -s /lib/systemd/system/systemd-journald.service $root/etc/systemd/system/sysinit.target.wants/
: >$root/etc/fstab
: >$root/etc/machine-id
mkdir -p $root/etc/systemd/system.conf.d
printf '[Manager]\\nDefaultEnvironment=%s\\nShowStatus=no\\n' "$DEFAULTS" >$root/etc/systemd/system.conf.d/tests.conf
cd $root
mkdir -p former
pivot_root . former
umount -l /former
exec setpriv --bounding-set "$KEPT_OUT" --inh-caps "$KEPT_OUT" env -i container=tests \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target </dev/null >/dev/null 2>&1
"""


class SystemdBox:
    """A systemd that runs, seen from outside."""

    def __init__(self, pid: int) -> None:
        """Enter the namespaces of the process `pid`, which is PID 1 of the box."""
        self._pid = pid

    def run(self, *command: str) -> Result:
        """Run a command in the box to its end."""
        words = ["nsenter", "-t", str(self._pid), "-a", "setpriv", "--bounding-set", _KEPT_OUT, *command]
        return Result.of(
            subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                encoding="utf-8", errors="backslashreplace", env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            )
        )  # fmt: skip

    def systemctl(self, *arguments: str) -> Result:
        """Run systemctl."""
        return self.run("systemctl", "--no-pager", *arguments)

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).output.strip()

    def journal(self, unit: str, *arguments: str) -> list[str]:
        """Return the texts that a unit wrote to the journal."""
        self.run("journalctl", "--sync")
        result = self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}", *arguments)
        return [line for line in result.output.splitlines() if line != "-- No entries --"]

    def install(self, unit: str, text: str) -> None:
        """Write a unit, and let systemd read it."""
        script = f"cat >/etc/systemd/system/{unit} <<'END OF UNIT'\n{text}\nEND OF UNIT\n"
        assert self.run("sh", "-c", script).code == 0
        assert self.systemctl("daemon-reload").code == 0


@contextmanager
def systemd_box(project: Path) -> Iterator[SystemdBox]:
    """Boot a systemd that sees the folder of a project; end it with everything in it. Skip the test if none can run."""
    _skip_without_means()
    control_group = _control_groups() / f"auto-heal-tests-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folders = sorted({str(REPOSITORY), sys.prefix, sys.base_prefix, sys.exec_prefix})
    namespaces = ("--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--cgroup", "--net")
    boot = ["unshare", *namespaces, "--", "sh", "-c", _BOOT_SCRIPT, "sh", str(project), *folders]
    environ = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "KEPT_OUT": _KEPT_OUT,
        "DEFAULTS": f"PYTHONPATH={REPOSITORY} PYTHONDONTWRITEBYTECODE=1",
    }
    keeper = subprocess.Popen(
        ["sh", "-c", _KEEPER, "sh", str(control_group), *boot],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ, start_new_session=True,
    )  # fmt: skip
    try:
        yield _booted(keeper)
    finally:
        # Whoever wonders why a box did not boot finds it here.
        print(keeper.communicate(timeout=DEADLINE)[0])
        assert keeper.returncode == 0
        assert not control_group.exists()


def _booted(keeper: subprocess.Popen[bytes]) -> SystemdBox:
    """Wait until systemd has started everything."""

    def init() -> psutil.Process | None:
        assert keeper.poll() is None, keeper.stdout and keeper.stdout.read()
        for process in psutil.Process(keeper.pid).children(recursive=True):
            # Most of them end while the box is built.
            with suppress(psutil.Error):
                if process.exe() == os.path.realpath(_SYSTEMD):
                    return process
        return None

    first = wait_for(init, deadline=_BOOT)
    assert first
    box = SystemdBox(first.pid)
    wait_for(lambda: box.systemctl("is-system-running").output.strip() in ("running", "degraded"), deadline=_BOOT)
    return box


def _control_groups() -> Path:
    """Return where the control groups of version 2 are mounted."""
    for partition in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = partition.split()
        if kind == "cgroup2":
            return Path(place)
    pytest.skip("no control groups of version 2 are mounted")


def _may_unshare() -> bool:
    trial = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--net", "true"], capture_output=True, check=False)
    return trial.returncode == 0


def _skip_without_means() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can boot a systemd")
    if not _SYSTEMD.exists():
        pytest.skip("systemd is not installed")
    if missing := [name for name in _PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]:
        pytest.skip(f"{missing[0]} is not installed")
    if not _may_unshare() or not os.access(_control_groups(), os.W_OK):
        pytest.skip("this container may not make namespaces and control groups")
