"""Entries of the audit log for the system's journal, where there is one: nobody waits for it, nothing depends on it.

The native protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from oncall.model_acts import AuditEntry

SOCKET = Path("/run/systemd/journal/socket")
_NOTICE, _WARNING = "5", "4"
_GOOD = ("done", "unchanged")
_LONGEST = 4000
"""Characters of a value: a datagram must stay below what a socket takes."""


def send(entry: AuditEntry, path: Path = SOCKET) -> bool:
    """Sends it without waiting; whether the journal took it."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.setblocking(False)
        out.sendto(datagram(fields(entry)), str(path))
        return True
    return False


def fields(entry: AuditEntry) -> dict[str, str]:
    """The entry as fields of the journal."""
    bad = entry.kind == "refused" or (entry.kind == "outcome" and entry.outcome not in _GOOD)
    return {
        "MESSAGE": message(entry),
        "PRIORITY": _WARNING if bad else _NOTICE,
        "SYSLOG_IDENTIFIER": "oncall",
        "ONCALL_ACTION": entry.action,
        "ONCALL_SERVICE": entry.service,
        "ONCALL_PLAN": entry.plan.id if entry.plan else "",
        "ONCALL_OUTCOME": entry.outcome or entry.kind,
        "ONCALL_AUDIT": str(entry.number),
    }


def message(entry: AuditEntry) -> str:
    """One line for a person."""
    said = entry.text or (entry.plan.title if entry.plan else "")
    word = {"intent": "begins", "refused": "refused"}.get(entry.kind, entry.outcome or "outcome unknown")
    by = entry.who.login or entry.who.user
    head = f"{entry.action} on {entry.service} ({entry.environment}) {word}"
    return f"{head}: {said} [by {by}, audit entry {entry.number}]" if said else f"{head} [by {by}]"


def datagram(values: Mapping[str, str]) -> bytes:
    """Fields in the journal's own form: a value with line breaks goes with its length, or it could add fields."""
    return b"".join(_field(name.encode(), value[:_LONGEST].encode()) for name, value in values.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"
