"""Whether an audit log is the one that was written: every line against its hash, and against the one before."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from oncall.model_acts import AuditVerified
from oncall.remediation.audit_file import LONGEST_LINE, START, AuditFile, Head, Link, link, misfit


@dataclass
class _Walk:
    """How far the lines were followed, and the first that is wrong."""

    last: Link = START
    line: int = 0
    entries: int = 0
    torn: bytes = b""
    torn_line: int | None = None
    torn_lines: list[int] = field(default_factory=list)
    open: dict[int, None] = field(default_factory=dict)
    reason: str | None = None

    def take(self, raw: bytes) -> bool:
        """Follows one line; False where it is not what was written, which `line` and `reason` then tell."""
        self.line += 1
        try:
            found = link(raw.removesuffix(b"\n"))
        except ValueError as wrong:
            return self._wrong(str(wrong))
        if found is None:
            # Fine if a crash left it so: then the next entry vouches for it, or it is the end.
            self.torn_line = self.torn_line or self.line
            self.torn += raw
            return len(self.torn) <= 2 * LONGEST_LINE or self._wrong("it is no entry", self.torn_line)
        return self._vouched(found) and self._follows(found)

    def _vouched(self, found: Link) -> bool:
        torn = sha256(self.torn).hexdigest() if self.torn else None
        if found.torn != torn:
            if torn is None:
                return self._wrong("a half-written line before it, of which it tells, is gone")
            return self._wrong("it is no entry", self.torn_line)
        if self.torn_line:
            self.torn_lines.append(self.torn_line)
        self.torn, self.torn_line = b"", None
        return True

    def _follows(self, found: Link) -> bool:
        if found.number != self.last.number + 1 or found.previous != self.last.hash:
            said = f"entry {found.number} does not follow entry {self.last.number}"
            return self._wrong(f"{said}: lines were removed, added or moved")
        self.last, self.entries = found, self.entries + 1
        if found.kind == "intent":
            self.open[found.number] = None
        elif found.kind == "outcome" and found.intent is not None:
            self.open.pop(found.intent, None)
        return True

    def _wrong(self, reason: str, line: int | None = None) -> bool:
        self.reason, self.line = reason, line or self.line
        return False


def verified(file: AuditFile) -> AuditVerified:
    """Reads the whole log, a line at a time. Raises OSError, and AuditUnreadable where there is no telling."""
    path = str(file.path)
    if not file.path.exists():
        return _of_none(file, file.head())
    walk = _Walk()
    with file.snapshot() as found:
        if found is None:
            return _of_none(file, None)
        descriptor, size, head = found
        whole = all(walk.take(raw) for raw in _lines(descriptor, size))
    if whole:
        walk.reason = misfit(head, walk.last)
        # What is missing would stand behind the last line; what is torn there was whole.
        walk.line = walk.torn_line or walk.line + (head is not None and head.number > walk.last.number)
    return AuditVerified(
        path=path,
        entries=walk.entries,
        whole=walk.reason is None,
        line=walk.line if walk.reason else None,
        reason=walk.reason,
        open=tuple(walk.open),
        notes=(*_notes(walk, head), *([_keep(file)] if walk.reason else [])),
    )


def _of_none(file: AuditFile, head: Head | None) -> AuditVerified:
    path = str(file.path)
    if head is None:
        return AuditVerified(path=path, entries=0, whole=True)
    gone = f"the log is gone, and {head.number} entries had been written"
    return AuditVerified(path=path, entries=0, whole=False, line=1, reason=gone, notes=(_keep(file),))


def _keep(file: AuditFile) -> str:
    return f"to keep it for whoever looks into it, and begin anew: {file.moving()}"


def _notes(walk: _Walk, head: Head | None) -> Iterator[str]:
    for line in walk.torn_lines:
        yield f"line {line} is half written, as a crash leaves it; the next entry vouches for that"
    if walk.reason is None and walk.torn_line:
        yield f"line {walk.torn_line}, the last, is half written, as a crash leaves it: its action was not begun"
    if walk.reason is None and walk.last.number and (head is None or head.number < walk.last.number):
        yield f"entry {walk.last.number} was written just before a crash: the next entry goes on from it"


def _lines(descriptor: int, size: int) -> Iterator[bytes]:
    """The lines of the first `size` bytes, with their newlines, none longer than can be ours."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        while size > 0:
            raw = file.readline(min(size, 2 * LONGEST_LINE))
            if not raw:
                return
            size -= len(raw)
            yield raw
