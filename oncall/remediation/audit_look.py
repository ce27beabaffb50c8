"""Looking back: the actions of the audit log, each with its outcome, and one of them in full."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from oncall.errors import UsageFault
from oncall.model_acts import AuditEntry, AuditList, AuditShown
from oncall.remediation.audit import log_path, open_intents, tolerant

MOST = 100_000
"""Entries: some decades of actions."""

Wanted = Callable[[AuditEntry], bool]


def listed(
    last: int,
    *,
    action: str | None = None,
    service: str | None = None,
    since: datetime | None = None,
    folder: Path | None = None,
) -> AuditList:
    """The newest `last` actions, each an intent (or a refusal) with its outcome. Raises AuditUnreadable."""

    def wanted(entry: AuditEntry) -> bool:
        fits = action in (None, entry.action) and service in (None, entry.service)
        return fits and (since is None or entry.at >= since)

    notes: list[str] = []
    entries: list[AuditEntry] = []
    total = 0
    for found in _actions(folder, notes):
        total = total or found[0].number
        if wanted(found[-1]):
            entries += found
            last -= 1
        if last <= 0:
            break
    return AuditList(
        path=str(log_path(folder)),
        entries=tuple(entries),
        open=tuple(item.number for item in open_intents(folder)),
        total=total,
        notes=tuple(dict.fromkeys(notes)),
    )


def _actions(folder: Path | None, notes: list[str]) -> Iterator[list[AuditEntry]]:
    """Newest first: outcome and intent, or what there is of the two. What cannot be read goes into `notes`."""
    outcomes: dict[int | None, AuditEntry] = {}
    for found in tolerant(folder, MOST):
        if isinstance(found, str):
            notes.append(f"{found}: oncall audit verify")
        elif found.kind == "outcome":
            outcomes[found.intent] = found
        else:
            outcome = outcomes.pop(found.number, None)
            yield [outcome, found] if outcome else [found]
    yield from ([orphan] for orphan in outcomes.values())


def shown(number: int, folder: Path | None = None) -> AuditShown:
    """The action whose intent, outcome or refusal has that number. Raises UsageFault, AuditUnreadable."""
    path, most = str(log_path(folder)), 0
    for found in _actions(folder, []):
        most = max(most, found[0].number)
        if number in (item.number for item in found):
            entry = found[-1]
            outcome = found[0] if found[0].kind == "outcome" else None
            return AuditShown(path=path, entry=entry, outcome=outcome, open=found == [entry] and _open(entry))
    there = f"its entries are 1 to {most}" if most else "it is empty"
    raise UsageFault(f"the audit log has no entry {number}: {there}", hint="oncall audit list")


def _open(entry: AuditEntry) -> bool:
    return entry.kind == "intent"
