"""The audit log: what was meant to be done, by whom and why, written before it is done; and what became of it.

`$XDG_STATE_HOME/oncall/audit.jsonl`, one JSON object a line, each with the hash of the one before. Functions take
the folder of the log; None is this user's."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from oncall.config import state_folder
from oncall.errors import AuditError, AuditUnreadable, OncallError
from oncall.model_acts import AuditEntry, AuditVerified, GuardReport
from oncall.model_service import Service
from oncall.remediation.audit_chain import verified
from oncall.remediation.audit_file import LOG, AuditFile, Head, Link, backwards, peek
from oncall.remediation.audit_journal import SOCKET, send
from oncall.remediation.audit_lines import entry_of, line_of, without
from oncall.remediation.audit_space import no_room
from oncall.remediation.audit_who import who
from oncall.remediation.guards import passed, refused
from oncall.scrub import secrets_of

GUARD = "audit-writable"
MOST = 2000
"""Entries that a look back takes at most, newest first."""
__all__ = ["append", "entry", "open_intents", "read", "settled", "try_append", "verify", "who", "writable"]


def log_path(folder: Path | None = None) -> Path:
    """Where the log is."""
    return (folder or state_folder()) / LOG


# --- writing -------------------------------------------------------------------------------------


def entry(kind: str, of: Service, **fields: Any) -> AuditEntry:  # noqa: ANN401  # those of AuditEntry
    """An entry to append (`intent`, `outcome`, `refused`), made now by this user, without the secrets of `of`."""
    known = {"number": 0, "kind": kind, "at": datetime.now(UTC), "who": who(), **fields}
    return without(AuditEntry(**known), (*secrets_of(of), *filter(None, [os.environ.get("PGPASSWORD")])))


def append(entry: AuditEntry, folder: Path | None = None, journal: Path | None = SOCKET) -> AuditEntry:
    """Writes one entry (its number and hashes are made here); returns it as it was written, once it is synced.

    Raises AuditError where it cannot be: then nothing of it stays, and nothing may be done."""
    path = log_path(folder)

    def line_after(last: Link, torn: str | None) -> bytes:
        placed = replace(entry, number=last.number + 1, previous=last.hash, torn=torn)
        return line_of(without(placed, ()))

    try:
        line = AuditFile(path.parent).append(line_after, undo=entry.kind == "intent")
    except (OSError, OncallError) as failed:
        raise _unwritten(path, entry, failed) from None
    written = msgspec.json.decode(line, type=AuditEntry)
    if journal is not None:
        send(written, journal)
    return written


def try_append(
    entry: AuditEntry, folder: Path | None = None, journal: Path | None = SOCKET
) -> AuditEntry | None:
    """The same for what must not fail because of it: a refusal, which says itself that nothing was done."""
    try:
        return append(entry, folder, journal)
    except AuditError:
        return None


def writable(folder: Path | None = None) -> GuardReport:
    """The guard `audit-writable`: the log is opened to be appended to, its end is checked, and room is tried out."""
    path = log_path(folder)
    file = AuditFile(path.parent)
    try:
        with file.opened() as descriptor:
            end = file.end(descriptor)
            file.check(file.head(), end)
            lack = no_room(path.parent, end.size)
    except OncallError as broken:
        return refused(GUARD, f"the audit log is not what was written: {broken}", broken.hint)
    except OSError as failed:
        return refused(GUARD, f"{path} cannot be written: {_why(failed)}", _mend(path, failed))
    if lack:
        return refused(GUARD, f"{path} cannot be written: {lack}", f"df -h {path.parent}")
    return passed(GUARD, f"{path} can be written")


# --- reading -------------------------------------------------------------------------------------


def read(folder: Path | None = None, most: int = MOST) -> Iterator[AuditEntry]:
    """Entries, newest first, read as they are asked for, at most so many.

    Raises AuditUnreadable where one cannot be read or the log's end was cut off."""
    path = log_path(folder)
    for found in tolerant(folder, most):
        if isinstance(found, str):
            raise AuditUnreadable(f"{path}: {found}", hint=AuditFile(path.parent).aside())
        yield found


def tolerant(folder: Path | None = None, most: int = MOST) -> Iterator[AuditEntry | str]:
    """The same, with a sentence in place of what cannot be relied on. Raises AuditUnreadable where nothing can be."""
    path = log_path(folder)
    file = AuditFile(path.parent)
    try:
        with file.snapshot() as found:
            if found is not None:
                yield from _newest_first(file, *found, most)
    except OSError as failed:
        raise _unreadable(path, failed) from None


def _newest_first(
    file: AuditFile, descriptor: int, size: int, head: Head | None, most: int
) -> Iterator[AuditEntry | str]:
    try:
        file.check(head, file.end(descriptor, size))
    except AuditUnreadable as wrong:
        yield str(wrong).removeprefix(f"{file.path}: ")
    count, vouched = 0, True
    for line in backwards(descriptor, size):
        found = entry_of(line)
        if isinstance(found, AuditEntry):
            yield found
            # What it says was half written before it is known; `audit verify` looks whether it is that.
            count, vouched = count + 1, found.torn is not None
            if count >= most:
                return
        elif found is not None:
            yield found
        elif line and not vouched:
            yield "a line is no entry"


def open_intents(folder: Path | None = None, most: int = MOST) -> tuple[AuditEntry, ...]:
    """Intents without an outcome, oldest first: killed in the middle, or under way. Raises nothing.

    A log that cannot be read tells of none here: the guard `audit-writable` says that."""
    path = log_path(folder)
    try:
        with AuditFile(path.parent).snapshot() as found:
            lines = backwards(found[0], found[1]) if found else iter(())
            return tuple(_open(lines, most))[::-1]
    except (OSError, AuditUnreadable):
        return ()


def _open(lines: Iterator[bytes], most: int) -> Iterator[AuditEntry]:
    """Asked at every start: a line is read in full only where it is an intent without an outcome."""
    settled: set[int | None] = set()
    for line in islice(lines, most):
        seen = peek(line)
        if seen is not None and seen.kind == "outcome":
            settled.add(seen.intent)
        elif seen is not None and seen.kind == "intent" and seen.number not in settled:
            found = entry_of(line)
            if isinstance(found, AuditEntry):
                yield found


def settled(number: int, folder: Path | None = None) -> AuditEntry | None:
    """The outcome of that intent; None while there is none. Raises AuditUnreadable."""
    for found in read(folder):
        if found.kind == "outcome" and found.intent == number:
            return found
        if found.number <= number:
            return None
    return None


def verify(folder: Path | None = None) -> AuditVerified:
    """Whether every line is the one that was written, and none is missing. Raises AuditUnreadable."""
    path = log_path(folder)
    try:
        return verified(AuditFile(path.parent))
    except OSError as failed:
        raise _unreadable(path, failed) from None


# --- errors ------------------------------------------------------------------------------------


def _unwritten(path: Path, entry: AuditEntry, failed: OSError | OncallError) -> AuditError:
    why = str(failed) if isinstance(failed, OncallError) else _why(failed)
    hint = failed.hint if isinstance(failed, OncallError) else _mend(path, failed)
    done = {
        "intent": "nothing was done",
        "refused": "nothing was done",
        "outcome": f"what was done stands: entry {entry.intent} stays without an outcome",
    }[entry.kind]
    at = "" if str(path) in why else f" {path}"
    return AuditError(f"the audit log{at} cannot be written: {why}; {done}", hint=hint)


def _unreadable(path: Path, failed: OSError) -> AuditUnreadable:
    return AuditUnreadable(f"the audit log {path} cannot be read: {_why(failed)}", hint=_mend(path, failed))


def _why(failed: OSError) -> str:
    return (failed.strerror or str(failed)).lower()


def _mend(path: Path, failed: OSError) -> str:
    if isinstance(failed, PermissionError):
        return f"See whose it is: ls -ld {path.parent} {path}"
    return f"See the disk and the folder: df -h {path.parent}; ls -ld {path.parent}"
