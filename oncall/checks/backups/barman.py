"""Backups of Barman, by its own JSON: what it has, and what its own check says."""

import asyncio
import shlex
import time
from collections.abc import Mapping, Sequence

import msgspec

from oncall.checks.backups.common import Backup, Ill, place, say
from oncall.model import Absence, Column, Frozen, Next, Severity, Table, Unavailable
from oncall.model_service import BackupAt, Service

SOURCE = "barman"
_COPIED = ("DONE", "WAITING_FOR_WALS")
_RUNNING = ("EMPTY", "STARTED", "SYNCING")
_WAITS_S = 3600.0
"""Seconds after which the WAL of a backup should have come."""
_MOST_ROWS = 10
_COLUMNS = (
    Column(name="backup"),
    Column(name="state"),
    Column(name="age", unit="seconds"),
    Column(name="size", unit="bytes"),
)


class Entry(Frozen, frozen=True):
    """One backup of the list; what has not ended has neither time nor size."""

    backup_id: str
    status: str
    end_time_timestamp: str | None = None
    size_bytes: float | None = None

    @property
    def ended(self) -> float | None:
        """Unix seconds."""
        text = self.end_time_timestamp or ""
        return float(text) if text.isascii() and text.isdigit() else None


class Point(Frozen, frozen=True):
    """One point of Barman's check."""

    status: str
    hint: str = ""


Points = Mapping[str, Point]


async def look(at: BackupAt, service: Service, deadline_s: float) -> Backup | Unavailable:
    """The list and the check at once: a check that is late or broken leaves the list."""
    assert at.barman is not None
    words = ["barman", *(["-c", at.config] if at.config else [])]
    ssh = place(at, service)
    listing = (*words, "--format", "json", "list-backups", at.barman)
    checking = (*words, "--format", "json", "check", at.barman)
    # Both end with 1 where they have something to say; it is in the JSON
    listed, checked = await asyncio.gather(
        say(listing, ssh, deadline_s, (0, 1)), say(checking, ssh, deadline_s, (0, 1))
    )
    if isinstance(listed, Unavailable):
        return listed
    entries = parse_list(listed.out, at.barman, listed.err)
    if isinstance(entries, Unavailable):
        return entries
    points = checked if isinstance(checked, Unavailable) else parse_check(checked.out, at.barman, checked.err)
    shown = shlex.join((*words, "check", at.barman))
    return msgspec.structs.replace(
        judge(entries, points, time.time()),
        query=shlex.join(listing),
        next=Next(
            command=f"ssh {ssh} {shlex.quote(shown)}" if ssh else shown, why="says what Barman is missing"
        ),
    )


def parse_list(text: str, server: str, err: str = "") -> tuple[Entry, ...] | Unavailable:
    """The backups of a server out of `list-backups`. Pure."""
    found = _of_server(text, server, err)
    if isinstance(found, Unavailable):
        return found
    try:
        return msgspec.json.decode(found, type=tuple[Entry, ...])
    except msgspec.DecodeError as wrong:
        return _not_understood(str(wrong))


def parse_check(text: str, server: str, err: str = "") -> Points | Unavailable:
    """The points of a server out of `check`. Pure."""
    found = _of_server(text, server, err)
    if isinstance(found, Unavailable):
        return found
    try:
        return msgspec.json.decode(found, type=dict[str, Point])
    except msgspec.DecodeError as wrong:
        return _not_understood(str(wrong))


def _of_server(text: str, server: str, err: str) -> msgspec.Raw | Unavailable:
    """What the JSON says under the name of the server; else what Barman says instead."""
    try:
        whole = msgspec.json.decode(text.encode(), type=dict[str, msgspec.Raw])
        if server in whole:
            return whole[server]
        told = [
            msgspec.json.decode(whole[key], type=list[str])
            for key in ("_ERROR", "_EXCEPTION")
            if key in whole
        ]
    except (msgspec.DecodeError, UnicodeEncodeError) as wrong:
        said = err or str(wrong)
        return _not_understood(said[:300])
    said = "; ".join(text for part in told for text in part) or err or "nothing"
    return Unavailable(
        kind=Absence.CONFIG,
        reason=f"barman says of {server}: {said[:300]}",
        hint="see its servers: barman list-servers",
    )


def _not_understood(said: str) -> Unavailable:
    return Unavailable(kind=Absence.BAD_ANSWER, reason=f"barman: its JSON is not understood: {said}")


def judge(entries: Sequence[Entry], points: Points | Unavailable, now: float) -> Backup:
    """The newest that was copied, what became of one after it, and the points of the check that failed. Pure."""
    # Ids are times: 20260101T021000
    entries = sorted(entries, key=lambda e: e.backup_id, reverse=True)
    done = [e for e in entries if e.status in _COPIED and e.ended is not None]
    newest = done[0] if done else None
    after = entries[: entries.index(newest)] if newest else entries
    running = next((e for e in after if e.status in _RUNNING), None)
    ills = [_failed(e) for e in after if e.status not in _RUNNING][:1]
    if newest is None and not ills:
        severity = Severity.WARNING if running else Severity.CRITICAL
        ills.append(Ill(severity=severity, text="none is finished yet" if running else "there is none"))
    if newest is not None and newest.status != "DONE" and now - (newest.ended or now) > _WAITS_S:
        ills.append(Ill(severity=Severity.CRITICAL, text="it cannot be restored: its WAL has not come"))
    return Backup(
        source=SOURCE,
        now=now,
        finished=newest.ended if newest else None,
        name=newest.backup_id if newest else None,
        size=newest.size_bytes if newest else None,
        former=tuple(e.size_bytes for e in done[1:] if e.size_bytes is not None),
        ill=(*ills, *_points(points)),
        running=running.backup_id if running else None,
        said=("its WAL is still coming",) if newest and newest.status != "DONE" and not ills else (),
        detail=_table(entries, now),
    )


def _failed(entry: Entry) -> Ill:
    return Ill(severity=Severity.CRITICAL, text=f"the last one, {entry.backup_id}, is {entry.status}")


def _points(points: Points | Unavailable) -> list[Ill]:
    """What Barman itself calls failed is critical, as its plugin for Nagios has it."""
    if isinstance(points, Unavailable):
        return [Ill(severity=Severity.UNKNOWN, text=f"barman check could not be read: {points.reason}")]
    bad = [f"{name}{f' ({p.hint})' if p.hint else ''}" for name, p in points.items() if p.status != "OK"]
    if not bad:
        return []
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return [Ill(severity=Severity.CRITICAL, text=f"barman check fails: {', '.join(bad[:3])}{more}")]


def _table(entries: Sequence[Entry], now: float) -> Table | None:
    rows = tuple(
        (e.backup_id, e.status, max(0.0, now - e.ended) if e.ended is not None else None, e.size_bytes)
        for e in entries[:_MOST_ROWS]
    )
    more = len(entries) - len(rows)
    return Table(columns=_COLUMNS, rows=rows, notes=(f"{more} more",) if more else ()) if rows else None
