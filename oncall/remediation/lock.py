"""One act at a time on one service, for a user of this machine: a lock that the kernel lets go with its process."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from oncall.config import state_folder
from oncall.errors import AuditError
from oncall.files import make_private, why
from oncall.model import Frozen
from oncall.model_acts import GuardReport
from oncall.numbers import clock, day
from oncall.remediation.audit_who import who
from oncall.remediation.guards import passed, refused

GUARD = "concurrent-operator"
_MOST_BYTES = 4096
_PATIENCE_S = 0.3
"""A `look` holds the lock for an instant; an operator for as long as the act takes."""


class Taken(Frozen, frozen=True):
    """Who acts on the service now."""

    user: str
    host: str
    pid: int
    since: datetime
    action: str
    ssh_from: str | None = None

    def __str__(self) -> str:
        whence = f" (from {self.ssh_from})" if self.ssh_from else ""
        at = f"since {day(self.since)} {clock(self.since)}, process {self.pid}"
        return f"{self.user}{whence} on {self.host} has been at work with {self.action} {at}"


class Somebody(Taken, frozen=True):
    """The lock is held, or may be, and by whom cannot be read."""

    said: str = ""

    def __str__(self) -> str:
        return self.said


def _somebody(said: str) -> Somebody:
    return Somebody(user="?", host="?", pid=0, since=datetime.fromtimestamp(0, UTC), action="?", said=said)


@contextmanager
def operator_lock(service: str, action: str, folder: Path | None = None) -> Iterator[Taken | None]:
    """Holds the service for this process. Gives None where it was had, else who has it, at once.

    Raises AuditError where the lock's file cannot be made: then nobody could be kept off."""
    path = _path(service, folder)
    try:
        descriptor = _open(path)
    except OSError as failed:
        said = f"{path} cannot be written: {why(failed)}; nothing was done"
        raise AuditError(said, hint=f"See whose it is: ls -ld {path.parent} {path}") from None
    try:
        taken = _take(descriptor, action)
        try:
            yield taken
        finally:
            if taken is None:
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def look(service: str, folder: Path | None = None) -> Taken | None:
    """Who acts on the service now, or may; None where nobody does. Changes nothing."""
    path = _path(service, folder)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as failed:
        return _somebody(f"whether somebody else acts cannot be told: {path} cannot be read: {why(failed)}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def report(taken: Taken | None) -> GuardReport:
    """The guard `concurrent-operator` as far as this machine goes."""
    if taken is None:
        return passed(GUARD, "no other oncall of this user acts on it on this machine")
    return refused(GUARD, str(taken), "wait for them, or talk to them")


def _path(service: str, folder: Path | None) -> Path:
    return (folder or state_folder() / "locks") / f"{service}.lock"


def _open(path: Path) -> int:
    make_private(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)


def _take(descriptor: int, action: str) -> Taken | None:
    ends = time.monotonic() + _PATIENCE_S
    while not _locked(descriptor):
        if time.monotonic() > ends:
            return _holder(descriptor)
        time.sleep(0.01)
    me = who()
    mine = Taken(
        user=me.login or me.user,
        host=me.host,
        pid=os.getpid(),
        since=datetime.now(UTC),
        action=action,
        ssh_from=me.ssh_from,
    )
    os.ftruncate(descriptor, 0)
    with suppress(OSError):
        # On a full disk the lock holds all the same; only who has it cannot be told.
        os.pwrite(descriptor, msgspec.json.encode(mine) + b"\n", 0)
    return None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> Taken:
    try:
        return msgspec.json.decode(os.pread(descriptor, _MOST_BYTES, 0), type=Taken)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # It has only just taken the lock, or is about to let it go.
        return _somebody("another process on this machine acts on this service; who it is cannot be read")
