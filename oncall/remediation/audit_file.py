"""The audit log as a file: whole lines, each chained to the one before, appended under a lock and synced.

Beside it stands `audit.head`: number and hash of the newest line, so that a log whose end was cut off is found."""

import errno
import fcntl
import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from oncall.errors import AuditUnreadable
from oncall.files import make_private, write_whole
from oncall.model import Frozen

LOG, HEAD = "audit.jsonl", "audit.head"
LONGEST_LINE = 2**20
"""Bytes. What is longer is none of ours, and is not read into memory."""
PATIENCE_S = 5.0
"""Longest wait for another process that writes; an append takes milliseconds."""
_BLOCK = 2**18
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"\}\Z')


class Link(Frozen, frozen=True):
    """What the chain needs of a line. Read alone, so that a line of a newer oncall can be verified too."""

    number: int
    previous: str
    hash: str
    kind: str = ""
    intent: int | None = None
    torn: str | None = None


class Head(Frozen, frozen=True):
    number: int
    hash: str


START = Link(number=0, previous="", hash="")
"""What the first line follows."""


@dataclass(frozen=True)
class End:
    """How the file ends: its last whole line, and what a crash left half written behind it.

    `unended`: the newline is missing, which the next line must bring along."""

    last: Link
    torn: bytes
    unended: bool
    size: int

    @property
    def torn_hash(self) -> str | None:
        """Over the bytes between the last whole line and the one that comes next."""
        ending = b"\n" if self.unended else b""
        return sha256(self.torn + ending).hexdigest() if self.torn else None


def sealed(body: bytes) -> bytes:
    """The line of an entry whose JSON without its hash is `body`."""
    return body[:-1] + f',"hash":"{sha256(body).hexdigest()}"}}\n'.encode()


def link(line: bytes) -> Link | None:
    """The link of a line (without its newline); None where it is not whole. ValueError where it was changed."""
    seal = _SEAL.search(line)
    if seal is None:
        return None
    if sha256(line[: seal.start()] + b"}").hexdigest() != seal[1].decode():
        raise ValueError("its text does not fit its hash: it was changed")
    try:
        return msgspec.json.decode(line, type=Link)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("its hash fits, but it is no entry") from None


def peek(line: bytes) -> Link | None:
    """The same without a look at its hash: several times as fast, for what is only searched."""
    try:
        return msgspec.json.decode(line, type=Link)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def misfit(head: Head | None, last: Link) -> str | None:
    """Why the log's end is not the one that was written. One line ahead of its head is a crash between the two."""
    if head is None:
        return None if last.number <= 1 else f"{HEAD} is missing, which tells whether the end was cut off"
    if head.number > last.number:
        return (
            f"the log ends with entry {last.number}, and {head.number} had been written: its end was cut off"
        )
    if head.number < last.number - 1:
        return (
            f"{HEAD} stands at entry {head.number}, and the log has {last.number}: an older one was put there"
        )
    if head.hash != (last.hash if head.number == last.number else last.previous):
        return f"entry {head.number} is not the one that {HEAD} tells of: it was replaced"
    return None


class AuditFile:
    """The log below a folder. Methods raise OSError; AuditUnreadable where it is not what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOG

    def head(self) -> Head | None:
        try:
            return msgspec.json.decode((self.folder / HEAD).read_bytes(), type=Head)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise AuditUnreadable(f"{self.folder / HEAD}: it was changed, and tells nothing") from None

    def append(self, line_after: Callable[[Link, str | None], bytes], *, undo: bool) -> bytes:
        """Adds the line that is made for its place, and returns it once it is on the disk.

        Where it cannot be written whole nothing stays of it; with `undo` neither where only the head cannot."""
        with self.opened() as descriptor:
            end = self.end(descriptor)
            head = self.head()
            self.check(head, end)
            if end.last.number and (head is None or head.number < end.last.number):
                self._write_head(end.last.number, end.last.hash)
            line = line_after(end.last, end.torn_hash)
            self._put(descriptor, end, line, undo=undo)
        return line

    def _put(self, descriptor: int, end: End, line: bytes, *, undo: bool) -> None:
        try:
            _write(descriptor, (b"\n" if end.unended else b"") + line)
            os.fsync(descriptor)
        except BaseException:
            _cut(descriptor, end.size)
            raise
        found = link(line.rstrip(b"\n"))
        assert found is not None
        try:
            self._write_head(found.number, found.hash)
        except OSError:
            if undo:
                _cut(descriptor, end.size)
                raise

    def check(self, head: Head | None, end: End) -> None:
        """Raises AuditUnreadable where the log's end is not the one that was written."""
        wrong = misfit(head, end.last)
        if wrong:
            raise AuditUnreadable(f"{self.path}: {wrong}", hint=self.aside())

    def _gone(self) -> AuditUnreadable:
        return AuditUnreadable(f"{self.path}: it is gone, and {HEAD} is there", hint=self.aside())

    def aside(self) -> str:
        """What to do about a log that is not what was written."""
        return f"`oncall audit verify` says where. To keep it and begin anew: {self.moving()}"

    def moving(self) -> str:
        """The command that keeps the log as it is, in a folder of its own."""
        kept = self.folder / time.strftime("audit-kept-%Y%m%dT%H%M%SZ", time.gmtime())
        files = [path for path in (self.path, self.folder / HEAD) if path.exists()]
        return f"mkdir {shlex.quote(str(kept))} && {shlex.join(['mv', *map(str, files), str(kept)])}"

    def end(self, descriptor: int, size: int | None = None) -> End:
        """How the file (or its first `size` bytes) ends. Reads backwards, only as far as it must."""
        size = os.fstat(descriptor).st_size if size is None else size
        torn, unended = b"", False
        for index, line in enumerate(backwards(descriptor, size)):
            if index == 0:
                unended = bool(line)
            found = self._link(line)
            if found is not None:
                return End(last=found, torn=torn, unended=unended, size=size)
            torn = line if index == 0 else line + b"\n" + torn
            if len(torn) > 2 * LONGEST_LINE:
                raise AuditUnreadable(f"{self.path}: it ends with what is no entry", hint=self.aside())
        return End(last=START, torn=torn, unended=unended, size=size)

    def _link(self, line: bytes) -> Link | None:
        try:
            return link(line)
        except ValueError as wrong:
            raise AuditUnreadable(f"{self.path}: the last line: {wrong}", hint=self.aside()) from None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The log open to be appended to, made where there is none, and nobody else's until it is let go."""
        make_private(self.folder)
        while True:
            fresh = not self.path.exists()
            if self.head() is not None and not self.path.exists():
                raise self._gone()
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if fresh:
                    _sync_folder(self.folder)
                self._own(descriptor)
                _lock(descriptor, fcntl.LOCK_EX)
                # While we waited the log may have been moved away: then this is no longer the log.
                if _same(descriptor, self.path):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _own(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)

    @contextmanager
    def snapshot(self) -> Iterator[tuple[int, int, Head | None] | None]:
        """The log to be read: descriptor, size and head of one moment between two appends. None: there is none."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if self.head() is not None:
                raise self._gone() from None
            yield None
            return
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            _lock(descriptor, fcntl.LOCK_SH)
            found = descriptor, os.fstat(descriptor).st_size, self.head()
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            yield found
        finally:
            os.close(descriptor)

    def _write_head(self, number: int, hash_: str) -> None:
        write_whole(self.folder / HEAD, msgspec.json.encode(Head(number=number, hash=hash_)) + b"\n")


def backwards(descriptor: int, size: int) -> Iterator[bytes]:
    """Lines without their newlines, last one first: it is empty where the file ends with a newline.

    Raises AuditUnreadable for a line of unreasonable length."""
    rest, at = b"", size
    while at > 0:
        step = min(_BLOCK, at)
        at -= step
        rest, *lines = (os.pread(descriptor, step, at) + rest).split(b"\n")
        yield from reversed(lines)
        if len(rest) > 2 * LONGEST_LINE:
            raise AuditUnreadable(f"{LOG}: a line is longer than any that is written")
    yield rest


def _sync_folder(folder: Path) -> None:
    """Without it a new file may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _cut(descriptor: int, size: int) -> None:
    """Takes back what was begun. Where even that fails the next append finds it, and says so."""
    with suppress(OSError):
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)


def _lock(descriptor: int, how: int) -> None:
    """Raises TimeoutError where another process (stopped?) keeps it."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"another process has held it for {PATIENCE_S:g} s"
                ) from None
            time.sleep(0.005)
        else:
            return


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
