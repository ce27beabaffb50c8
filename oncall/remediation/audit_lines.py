"""Entries of the audit log as lines, and back: without secrets, and never longer than a line may be. Pure."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from oncall.errors import AuditError
from oncall.model_acts import ActionPlan, AuditEntry
from oncall.remediation.audit_file import LONGEST_LINE, link, sealed
from oncall.scrub import scrub

S = TypeVar("S", bound=msgspec.Struct)
# Names that a look back goes by, and words of our own: a password `bot` must not make `***-controller` of them.
_KEPT = frozenset(
    {"kind", "who", "service", "environment", "action", "issue", "issues", "overrides", "name", "evidence"}
    | {"outcome", "state", "result", "severity", "severity_before", "torn", "previous", "hash"}
)


def line_of(entry: AuditEntry) -> bytes:
    """The line of an entry, sealed with its hash. Raises AuditError for one that is too long."""
    line = _sealed(entry)
    if len(line) > LONGEST_LINE and entry.plan is not None and entry.plan.table is not None:
        rows = f"the table of the plan ({len(entry.plan.table.rows)} rows) is too long for the log: left out"
        plan = replace(entry.plan, table=None, notes=(*entry.plan.notes, rows))
        line = _sealed(replace(entry, plan=plan))
    if len(line) > LONGEST_LINE:
        raise AuditError(f"the entry has {len(line)} bytes, and the log takes {LONGEST_LINE}")
    return line


def _sealed(entry: AuditEntry) -> bytes:
    fields = msgspec.to_builtins(entry)
    del fields["hash"]
    return sealed(msgspec.json.encode(fields))


def entry_of(line: bytes) -> AuditEntry | str | None:
    """The entry of a line; None for half a line; why where it cannot be relied on, or not be read."""
    try:
        found = link(line)
    except ValueError as wrong:
        return f"a line cannot be relied on: {wrong}"
    if found is None:
        return None
    try:
        return msgspec.json.decode(line, type=AuditEntry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"entry {found.number} cannot be read: was it written by a newer oncall?"


def without(value: S, secrets: Sequence[str]) -> S:
    """The same without secrets, and without half characters, which JSON does not have."""
    kept = _KEPT | {"id"} if isinstance(value, ActionPlan) else _KEPT
    fields = {
        name: _clean(getattr(value, name), () if name in kept else secrets)
        for name in value.__struct_fields__
    }
    return type(value)(**fields)


def _clean(value: object, secrets: Sequence[str]) -> object:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return scrub(value, secrets).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple):
        return tuple(_clean(item, secrets) for item in value)
    if isinstance(value, Mapping):
        return {name: _clean(item, secrets) for name, item in value.items()}
    return without(value, secrets) if isinstance(value, msgspec.Struct) else value
