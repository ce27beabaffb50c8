"""A log file of this machine, read from its end."""

import asyncio
import errno
import getpass
import grp
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from oncall.clients import log_lines, log_times
from oncall.clients.log_scan import Budget, Scan, backward
from oncall.clients.log_times import Clock
from oncall.model import Absence, Frozen, Unavailable

T = TypeVar("T")
SAMPLE = 16_384
_NEAR = 65_536
# Bytes that text does not hold, but ESC: of random bytes a tenth, of text in any encoding none.
_CONTROL = bytes(c for c in (*range(1, 9), *range(14, 27), *range(28, 32), 127))
_GARBAGE = 0.04


class Extent(Frozen, frozen=True):
    """How far reading went. `stopped` says why before the baseline's start; `whole`: down to the first line.

    `written` is when the file was last written (Unix s), where that is known."""

    size: int
    read: int
    stopped: str | None
    whole: bool
    written: float | None
    notes: tuple[str, ...] = ()


async def in_thread(work: Callable[[], T], deadline_s: float) -> T:
    """Work that blocks, in a thread that does not hold up the end of the program. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, failed: BaseException | None) -> None:
        if done.done():
            return
        if failed is not None:
            done.set_exception(failed)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except BaseException as error:
            failed = error
        try:
            loop.call_soon_threadsafe(tell, result, failed)
        except RuntimeError:
            return  # The loop is gone: nobody waits any more.

    threading.Thread(target=run, daemon=True, name="log").start()
    async with asyncio.timeout(deadline_s):
        return await done


# --- here ------------------------------------------------------------------------------------------


def read_here(
    path: str, make: Callable[[Clock], Scan], clock: Clock, budget: Budget, ends: float
) -> tuple[Scan, Extent] | Unavailable:
    """Scans the file, and the one rotated away before it, backward until the baseline's start, the end of the
    budget, or `ends` (by perf_counter). Blocks."""
    opened = _open(path)
    if isinstance(opened, Unavailable):
        return opened
    try:
        known = os.fstat(opened)
        newest = _pread(opened, max(0, known.st_size - SAMPLE), SAMPLE)
        if is_garbage(newest):
            reason = f"{path} is not text: a compressed or binary file?"
            return Unavailable(
                kind=Absence.BAD_ANSWER, reason=reason, hint="name the log itself in logs.file"
            )
        clock, said = _zone(newest, known.st_mtime, clock)
        scan = make(clock)
        size = _size_by(opened, known.st_size, clock)
        read = _Reader(opened, budget, scan, ends)
        read.all(size)
        shrunk = os.fstat(opened).st_size < known.st_size
    finally:
        os.close(opened)
    if shrunk:
        said = (*said, f"{path} was truncated while it was read: what it held before is not counted")
        if read.done == 0:
            reason = f"{path} was truncated while it was read"
            return Unavailable(kind=Absence.NO_DATA, reason=reason, hint="ask again")
    whole, total = _rotated(path, read, scan, ends, budget) if read.to_the_start else (False, 0)
    scan.end()
    extent = Extent(
        size=known.st_size + total, read=read.done, stopped=read.stopped, whole=whole,
        written=known.st_mtime, notes=said,
    )  # fmt: skip
    return scan, extent


class _Reader:
    """Gives one file after the other to the scan, within one budget."""

    def __init__(self, opened: int, budget: Budget, scan: Scan, ends: float) -> None:
        self._opened, self._budget, self._scan, self._ends = opened, budget, scan, ends
        self.done = 0
        self.stopped: str | None = None
        self.to_the_start = False

    def switch(self, opened: int) -> None:
        self._opened = opened

    def all(self, size: int) -> None:
        """Pieces of the file until there is reason to stop."""
        self.to_the_start = False
        first = max(0, size - (self._budget.bytes - self.done))
        for data in backward(self._block, size, self._budget.block):
            self._scan.piece(data)
            if self._scan.reached:
                return
            self.stopped = self._why(first)
            if self.stopped:
                return
        self.to_the_start = True

    def _why(self, first: int) -> str | None:
        if self.done >= self._budget.bytes and first > 0:
            return "bytes"
        if perf_counter() > self._ends:
            return "deadline"
        return "cpu" if self._scan.spent else None

    def _block(self, at: int, count: int) -> bytes:
        # A line longer than the whole budget is not sought to its start.
        if self.done >= self._budget.bytes + 2 * self._budget.block or perf_counter() > self._ends:
            return b"\n"
        data = _pread(self._opened, at, count)
        self.done += count
        return data


def _rotated(path: str, read: _Reader, scan: Scan, ends: float, budget: Budget) -> tuple[bool, int]:
    """Goes on in FILE.1. Whether all that there is was read, and how many bytes FILE.1 has."""
    older = _open(f"{path}.1")
    if isinstance(older, Unavailable):
        return True, 0
    try:
        size = os.fstat(older).st_size
        if read.done >= budget.bytes:
            read.stopped = "bytes"
            return False, size
        if is_garbage(_pread(older, max(0, size - SAMPLE), SAMPLE)):
            return True, 0
        read.switch(older)
        read.all(size)
        return read.to_the_start and not Path(f"{path}.2").exists(), size
    finally:
        os.close(older)


def _open(path: str) -> int | Unavailable:
    """A descriptor of a regular file. Never waits: opening a FIFO would."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as failed:
        return _cannot(path, failed)
    mode = os.fstat(opened).st_mode
    if stat.S_ISREG(mode):
        return opened
    os.close(opened)
    kinds = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return not_a_file(path, next((name for is_it, name in kinds if is_it(mode)), "a device"))


def not_a_file(path: str, what: str) -> Unavailable:
    """What stands there instead of a log."""
    hint = "name the log file itself in logs.file, or leave it out: the unit's journal is read then"
    return Unavailable(kind=Absence.CONFIG, reason=f"{path} is {what}, not a file", hint=hint)


def missing(path: str, place: str) -> Unavailable:
    """No such file there."""
    return Unavailable(
        kind=Absence.NO_DATA, reason=f"there is no file {path} on {place}", hint="check logs.file"
    )


def _cannot(path: str, failed: OSError | ValueError) -> Unavailable:
    if isinstance(failed, FileNotFoundError | NotADirectoryError | ValueError):
        return missing(path, "this machine")
    if isinstance(failed, PermissionError):
        return _denied(path)
    if failed.errno == errno.ENXIO:
        return not_a_file(path, "a socket")
    reason = f"cannot read {path}: {(failed.strerror or type(failed).__name__).lower()}"
    return Unavailable(kind=Absence.DOWN, reason=reason)


def _denied(path: str) -> Unavailable:
    """Which right is missing: on the file, or on the first folder above it that may not be entered."""
    user = _user()
    what = Path(path)
    for folder in reversed(Path(path).absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            what = folder
            break
    right = "rx" if what != Path(path) else "r"
    hint = f"sudo setfacl -m u:{user}:{right} {what}"
    try:
        found = what.stat()
        group = grp.getgrgid(found.st_gid).gr_name
        if found.st_mode & stat.S_IRGRP and group != "root":
            hint = f"group {group} may read it: sudo usermod -aG {group} {user}, then log in again"
    except (OSError, KeyError):
        pass  # The hint above does as well.
    reason = f"{user} may not read {path}" + (f": no right to enter {what}" if what != Path(path) else "")
    return Unavailable(kind=Absence.DENIED, reason=reason, hint=hint)


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):
        return getpass.getuser()


def _pread(opened: int, at: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.pread(opened, count - len(data), at + len(data))
        if not part:
            break
        data += part
    return data


def is_garbage(sample: bytes) -> bool:
    # A hole of NULs is left where a log was truncated under its writer.
    text = sample.replace(b"\0", b"")
    return len(text) - len(text.translate(None, _CONTROL)) > _GARBAGE * len(text)


def _zone(newest: bytes, written: float, clock: Clock) -> tuple[Clock, tuple[str, ...]]:
    """Times without a zone are local, unless that is clearly wrong and UTC is clearly right for the newest line."""
    lines = [line.decode("utf-8", "replace") for line in newest.split(b"\n")[1:]]
    for text in reversed(lines):
        local = log_lines.time_of(text, clock)
        if local is None:
            continue
        utc = Clock(end=clock.end, offset_s=0.0)
        other = log_lines.time_of(text, utc)
        if (
            other is None
            or abs(local - written) < 900
            or abs(other - written) > 120
            or log_times.has_zone(text)
        ):
            break
        return utc, ("its times have no zone; taken as UTC, for that fits when the file was last written",)
    return clock, ()


def _size_by(opened: int, size: int, clock: Clock) -> int:
    """How much of the file was there at the end of the span: found by bisection, for a look at the past."""
    newest = _time_near(opened, max(0, size - SAMPLE), clock, last=True)
    if newest is None or newest <= clock.end + 60:
        return size
    low, high = 0, size
    while high - low > _NEAR:
        middle = (low + high) // 2
        time = _time_near(opened, middle, clock, last=False)
        if time is not None and time <= clock.end:
            low = middle
        else:
            high = middle
    rest = _pread(opened, high, _NEAR)
    return min(size, high + rest.find(b"\n") + 1)


def _time_near(opened: int, at: int, clock: Clock, *, last: bool) -> float | None:
    lines = _pread(opened, at, SAMPLE).split(b"\n")[1 if at else 0 :]
    times = (log_lines.time_of(x.decode("utf-8", "replace"), clock) for x in (lines[::-1] if last else lines))
    return next((time for time in times if time is not None), None)
