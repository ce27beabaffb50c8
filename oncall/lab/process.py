"""Child processes of a lab: marked so that they can be found again, ended by identity, never by pid alone."""

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from oncall.errors import LabError

if TYPE_CHECKING:
    import psutil

MARK = "ONCALL_LAB"
"""The environment variable that every child carries: the folder of the lab that it belongs to."""
OUTSIDE = "outside.txt"
"""The file of a lab folder that names, line by line, what the lab keeps elsewhere."""
EXTRA = "pip install 'oncall[lab]'"

_children: dict[int, subprocess.Popen[bytes]] = {}
_given: set[int] = set()
# Not the seeded dice that tests share: each process would draw the same ports.
_dice = random.SystemRandom()


@dataclass(frozen=True)
class Server:
    """A running server. `url` is what a client connects to (a DSN for Postgres).

    `created` is the process's start time (Unix seconds), which with the pid identifies it;
    `outside` are folders of its own that the caller did not choose, `binaries` is where its programs lie."""

    name: str
    host: str
    port: int
    pid: int
    created: float
    folder: Path
    log: Path
    version: str
    url: str
    outside: tuple[Path, ...] = ()
    binaries: Path | None = None
    notes: tuple[str, ...] = field(default=())
    command: tuple[str, ...] = ()

    @property
    def dsn(self) -> str:
        """The same as `url`, by the name that fits a database."""
        return self.url


def load_psutil() -> ModuleType:
    """The module psutil. Raises LabError where the extra `lab` is not installed."""
    try:
        import psutil
    except ImportError:
        raise LabError("the lab needs psutil", hint=EXTRA) from None
    return psutil


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, outside the range of outgoing connections."""
    for port in _dice.sample(range(20000, 32000), 200):
        if port in _given:
            continue  # to a server of ours that has not begun to listen yet
        with socket.socket() as probe:
            # As the servers bind: a port that is only in TIME_WAIT is free for them.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise LabError("no free TCP port between 20000 and 32000 on 127.0.0.1")


def spawn(
    command: Sequence[str | Path],
    folder: Path,
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    user: tuple[int, int] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a marked child in its own session, writing to `log`; `user` is (uid, gid), for root only."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**(os.environ if env is None else env), MARK: str(folder)},
            cwd=cwd or folder,
            start_new_session=True,
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
        )
    _children[child.pid] = child
    return child


def allow_many_files() -> None:
    """Lets this process open as many sockets as it may: a service in trouble holds hundreds of requests."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def identity(pid: int) -> float:
    """The start time of a process (Unix seconds). Raises LabError where it has ended."""
    psutil = load_psutil()
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        raise LabError(f"process {pid} ended as soon as it started") from None


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    child: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
    seconds: float = 20,
) -> None:
    """Waits until `ready`. LabError with the end of the log where the child ends first or time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        if child is not None and child.poll() is not None:
            raise LabError(f"{what} ended with code {child.returncode}{_said(log)}")
        if time.monotonic() > deadline:
            raise LabError(f"{what} is not ready after {seconds:g} s{_said(log)}")
        time.sleep(0.03)


def _said(log: Path | None) -> str:
    """The last lines of a log, to stand behind a message."""
    if log is None or not log.exists():
        return ""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return ": " + " | ".join(lines[-3:]) + f" ({log})"


def is_alive(pid: int, created: float) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    return _same(pid, created) is not None


def _same(pid: int, created: float) -> "psutil.Process | None":
    psutil = load_psutil()
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - created) > 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except psutil.Error:
        return None
    return process  # type: ignore[no-any-return]  # load_psutil returns a bare module


def end(pid: int, created: float, first: signal.Signals = signal.SIGTERM, patience: float = 5) -> None:
    """Ends that very process: `first`, then SIGKILL after `patience` seconds. Gone is fine."""
    psutil = load_psutil()
    for sign in (first, signal.SIGKILL):
        process = _same(pid, created)
        if process is None:
            break
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(sign)
        # Not psutil's wait: an orphan stays a zombie until whoever adopted it looks.
        deadline = time.monotonic() + patience
        while is_alive(pid, created) and time.monotonic() < deadline:
            time.sleep(0.01)
    child = _children.pop(pid, None)
    if child is not None:
        child.wait()


def marked(folder: Path) -> list[tuple[int, float]]:
    """(pid, start time) of every process that carries this lab's mark and that we may look at."""
    psutil = load_psutil()
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(folder):
                found.append((process.pid, process.create_time()))
        except (psutil.Error, OSError):
            continue
    return found


def remove(folders: Iterable[Path]) -> None:
    """Removes folders with what is in them; those that are gone are fine."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def stop(server: Server, *, keep: bool = False) -> None:
    """Stops a server at once and removes what it kept outside its folder, unless told to `keep` it."""
    # Postgres: SIGQUIT is its immediate shutdown; nobody needs the data afterwards.
    end(server.pid, server.created, signal.SIGQUIT if server.name == "postgres" else signal.SIGTERM)
    if not keep:
        remove(server.outside)
