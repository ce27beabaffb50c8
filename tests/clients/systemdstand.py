"""A real systemd user manager for tests, with a few units of its own; needs root and Linux.

It runs in mount and pid namespaces of its own and in a control group of its own: at its start a manager
moves every process of the control group that it is started in, which must never be the machine's."""

import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MANAGER = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")
SYSTEMCTL = shutil.which("systemctl")
ILL = {
    "gives-up.service": """
        [Unit]
        StartLimitBurst=3
        StartLimitIntervalSec=1000
        [Service]
        ExecStart=/bin/sh -c 'exit 3'
        Restart=on-failure
        RestartSec=0
        """,
    "loops.service": """
        [Service]
        ExecStart=/bin/sh -c 'exit 3'
        Restart=always
        RestartSec=1000
        """,
    "never-ready.service": """
        [Service]
        Type=notify
        ExecStart=/bin/sleep 1000
        TimeoutStartSec=infinity
        """,
}
"""Units that crash, once too often or for ever, and one that never says that it is ready."""
_BASE = {
    "default.target": "[Unit]\nDescription=Nothing\n",
    "basic.target": "[Unit]\nDescription=Nothing\n",
    "shutdown.target": "[Unit]\nDescription=Nothing\nDefaultDependencies=no\n",
}
# Fails unless every hierarchy that has a group for us holds us there: then no other process can be moved
_START = """
set -eu
for group in $GROUPS_OF_STAND; do echo 0 > "$group/cgroup.procs"; done
grep -q ":name=systemd:$OWN\\$\\|^0::$OWN\\$" /proc/self/cgroup
exec unshare --mount --pid --fork --kill-child --mount-proc sh -euc '
  for line in $(cut -d: -f1,2,3 /proc/self/cgroup | grep "name=systemd\\|^0:"); do
    [ "${line##*:}" = "$OWN" ] || { echo "not in a group of its own: $line" >&2; exit 1; }
  done
  mount -t tmpfs none /run/systemd
  mkdir /run/systemd/system
  "$MANAGER" --user --log-target=console --log-level=notice & wait
'
"""


class Systemd:
    """A manager that runs. `shim` is a program `systemctl` that speaks to it instead of to the system's.

    The shim enters the manager's namespaces: it does not listen to a process that it cannot see."""

    def __init__(self, folder: Path, environment: Mapping[str, str], inside: int) -> None:
        self.units, self.environment = folder / "units", environment
        self.shim = folder / "bin" / "systemctl"
        self.shim.parent.mkdir()
        enter = f"nsenter --target={inside} --mount --pid {SYSTEMCTL} --user"
        runtime = f"XDG_RUNTIME_DIR={environment['XDG_RUNTIME_DIR']}"
        self.shim.write_text(f'#!/bin/sh\n{runtime} exec {enter} "$@"\n')
        self.shim.chmod(0o755)

    def ctl(self, *words: str, check: bool = True) -> str:
        ran = subprocess.run([self.shim, *words], capture_output=True, text=True, timeout=20)
        assert not check or ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def add(self, name: str, text: str) -> None:
        (self.units / name).write_text(textwrap.dedent(text))
        self.ctl("daemon-reload")

    def shown(self, unit: str, name: str) -> str:
        return self.ctl("show", f"--property={name}", "--value", "--", unit)

    def wait(self, unit: str, name: str, holds: Callable[[str], bool]) -> str:
        return until(lambda: self.shown(unit, name), holds)


def until(read: Callable[[], str], holds: Callable[[str], bool], limit_s: float = 20.0) -> str:
    """Reads again and again until it holds."""
    end = time.monotonic() + limit_s
    while not holds(found := read()):
        assert time.monotonic() < end, f"still {found!r}"
        time.sleep(0.02)
    return found


def lacking() -> str | None:
    """Why there can be none here; None where there can."""
    if os.geteuid() != 0:
        return "a private systemd manager needs root"
    if not MANAGER.exists() or SYSTEMCTL is None or shutil.which("unshare") is None:
        return "systemd or unshare is not installed"
    if not _hierarchies() or not all(os.access(place, os.W_OK) for place in _hierarchies()):
        return "no control group can be made here"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True
    )
    return "no namespaces can be made here" if tried.returncode else None


def _hierarchies() -> list[Path]:
    """Where a control group can be made: the one of version 2, or those of version 1."""
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    names = ("systemd", "unified", "memory", "pids", "cpu", "cpuacct", "blkio", "devices")
    return [CGROUPS / name for name in names if (CGROUPS / name / "cgroup.procs").exists()]


@contextmanager
def systemd() -> Iterator[Systemd]:
    """Starts a manager, and ends it with all that it started."""
    folder = Path(tempfile.mkdtemp(prefix="oncall-systemd-"))
    groups = [place / folder.name for place in _hierarchies()]
    made = _environment(folder, groups)
    try:
        for group in groups:
            group.mkdir()
        with (folder / "log").open("wb") as log:
            manager = subprocess.Popen(["sh", "-c", _START], env=made, stdout=log, stderr=log)
        try:
            stand = Systemd(folder, made, _first_inside(manager, folder / "log"))
            _await_start(manager, stand, folder / "log")
            yield stand
        finally:
            # The first process of the pid namespace goes with it, and all others with that
            manager.send_signal(signal.SIGKILL)
            manager.wait()
    finally:
        for group in groups:
            _remove(group)
        shutil.rmtree(folder, ignore_errors=True)


def manager_with(units: Mapping[str, str]) -> Iterator[Systemd]:
    """A private manager with these units, and a masked one called `hidden`."""
    why = lacking()
    if why:
        pytest.skip(why)
    with systemd() as made:
        for name, text in units.items():
            made.add(name, text)
        (made.units / "hidden.service").symlink_to("/dev/null")
        made.ctl("daemon-reload")
        yield made


def _environment(folder: Path, groups: list[Path]) -> dict[str, str]:
    (folder / "run").mkdir(mode=0o700)
    (folder / "units").mkdir()
    for name, text in _BASE.items():
        (folder / "units" / name).write_text(text)
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "SYSTEMD_UNIT_PATH": str(folder / "units"),
        "GROUPS_OF_STAND": " ".join(map(str, groups)),
        "OWN": f"/{folder.name}",
        "MANAGER": str(MANAGER),
    }


def _first_inside(manager: "subprocess.Popen[bytes]", log: Path) -> int:
    """The pid, as it is seen from here, of the first process in the pid namespace."""

    def children() -> str:
        assert manager.poll() is None, log.read_text(errors="replace")
        name = Path(f"/proc/{manager.pid}/comm").read_text().strip()
        return (
            Path(f"/proc/{manager.pid}/task/{manager.pid}/children").read_text() if name == "unshare" else ""
        )

    return int(until(children, lambda pids: bool(pids.strip())).split()[0])


def _await_start(manager: "subprocess.Popen[bytes]", stand: Systemd, log: Path) -> None:
    def running() -> str:
        assert manager.poll() is None, log.read_text(errors="replace")
        return stand.ctl("is-system-running", check=False)

    until(running, lambda said: said in ("running", "degraded"))


def _remove(group: Path) -> None:
    """Removes a control group and those below it, once their processes are gone."""
    end = time.monotonic() + 10
    while group.exists() and time.monotonic() < end:
        for below in sorted(group.rglob("*/"), reverse=True):
            with suppress(OSError):
                below.rmdir()
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.02)
