"""The archive of Postgres's WAL, as the server itself sees it (pg_stat_archiver)."""

import re
import shlex
import time
from collections.abc import Mapping

from msgspec.structs import replace

from oncall.checks.backups.common import Backup, Ill
from oncall.clients.pg_facts import ServerFacts
from oncall.clients.postgres import Question, ask, load_sql
from oncall.errors import OncallError
from oncall.model import Absence, Next, Scalar, Severity, Table, Unavailable
from oncall.model_service import BackupAt, Service
from oncall.numbers import count, duration, size

SOURCE = "postgres"
MANY, TOO_MANY = 3, 64
"""Full segments that wait: the archive is behind; at 16 MB each, by 1 GB."""
_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:\..*)?")
Row = Mapping[str, Scalar]


async def look(at: BackupAt, service: Service, deadline_s: float) -> Backup | Unavailable:
    """One question to the service's Postgres."""
    if service.postgres is None:
        return Unavailable(
            kind=Absence.NOT_CONFIGURED, reason="postgres: not configured", hint="set `postgres`"
        )
    question = Question(id="archiver", sql=load_sql("archiver"))
    try:
        answers = await ask(service.postgres, [question], {}, deadline_s)
    except OncallError as wrong:
        return Unavailable(kind=Absence.CONFIG, reason=str(wrong), hint=wrong.hint)
    answer = answers.by_id["archiver"].answer
    if isinstance(answer, Unavailable):
        return answer
    found = judge(_row(answer), time.time(), rpo=at.within is not None)
    return found if isinstance(found, Unavailable) else replace(found, next=_next(answers.facts))


def _next(facts: ServerFacts | Unavailable) -> Next:
    """With the address: what libpq takes of itself is another server, on whatever machine this is read."""
    place = []
    if not isinstance(facts, Unavailable):
        place = ["-h", facts.host, "-p", str(facts.port), "-U", facts.role, "-d", facts.database]
    command = shlex.join(["psql", *place, "-c", "TABLE pg_stat_archiver"])
    return Next(command=command, why="the server's log says why the command fails")


def _row(table: Table) -> Row:
    return dict(zip((c.name for c in table.columns), table.rows[0], strict=True))


def judge(row: Row, now: float, *, rpo: bool) -> Backup | Unavailable:
    """What the row of archiver.sql means. `rpo`: the age of the last segment is judged, not only what waits. Pure."""
    if row["replica"] and row["mode"] != "always":
        reason = "not applicable: this is a replica, and its primary archives"
        return Unavailable(
            kind=Absence.NOT_APPLICABLE, reason=reason, hint="name the primary in postgres.dsn"
        )
    off = _off(row)
    archived, failed = _number(row, "archived_ago_s"), _number(row, "failed_ago_s")
    if off is None and archived is None and failed is None:
        since = _number(row, "reset_ago_s")
        reason = f"nothing was archived in the {duration(since or 0)} that are counted: no segment was full"
        return Unavailable(
            kind=Absence.NO_DATA, reason=reason, hint="SELECT pg_switch_wal() makes it archive one"
        )
    waiting = pending(row)
    ills = [off] if off else [*_failing(row, archived, failed), *_waiting(row, waiting)]
    return Backup(
        source=SOURCE,
        now=now,
        finished=now - archived if archived is not None and off is None else None,
        name="the last WAL",
        verb="archived",
        ill=tuple(ills),
        said=_said(waiting) if off is None and not ills else (),
        query=load_sql("archiver"),
        notes=_notes(row, failed if not ills else None),
        aged=rpo and off is None,
    )


def _said(waiting: int | None) -> tuple[str, ...]:
    if waiting is None:
        return ()
    return (f"{count(waiting)} more {'waits' if waiting == 1 else 'wait'}" if waiting else "none waits",)


def _notes(row: Row, failed: float | None) -> tuple[str, ...]:
    """How far it is, and that it once failed though it does no more."""
    notes = [f"archived up to {row['last_archived_wal']}"] if row["last_archived_wal"] else []
    if failed is not None:
        times = count(_number(row, "failed_count") or 0)
        notes.append(f"{times} failures since the counters began, the last {duration(failed)} ago")
    return tuple(notes)


def _off(row: Row) -> Ill | None:
    if row["mode"] == "off":
        return Ill(severity=Severity.CRITICAL, text="nothing is archived: archive_mode is off")
    if not row["has_command"]:
        text = "nothing is archived: archive_command is empty, and WAL piles up"
        return Ill(severity=Severity.CRITICAL, text=text)
    return None


def _failing(row: Row, archived: float | None, failed: float | None) -> list[Ill]:
    """It fails where the last try failed, not where one ever did."""
    if failed is None or (archived is not None and archived <= failed):
        return []
    since = f"the last success {duration(archived)} ago" if archived is not None else "it never succeeded"
    text = f"archiving fails: {row['last_failed_wal']}, {duration(failed)} ago; {since}"
    return [Ill(severity=Severity.CRITICAL, text=text)]


def _waiting(row: Row, waiting: int | None) -> list[Ill]:
    if waiting is None or waiting < MANY:
        return []
    severity = Severity.CRITICAL if waiting >= TOO_MANY else Severity.WARNING
    bytes_ = waiting * (_number(row, "segment_bytes") or 0)
    return [
        Ill(severity=severity, text=f"{count(waiting)} full segments ({size(bytes_)}) wait to be archived")
    ]


def pending(row: Row) -> int | None:
    """Full segments after the last that was archived, before the one that is written to; None where the names do not
    tell: a timeline is new, or a history file came last.

    A name is timeline, then number: 00000001 0000000A 000000FF, with 4 GB / segment size in each of the middle."""
    last = _NAME.fullmatch(str(row["last_archived_wal"] or ""))
    current = _NAME.fullmatch(str(row["current_wal"] or ""))
    bytes_ = _number(row, "segment_bytes")
    if not last or not current or not bytes_ or last[1] != current[1]:
        return None
    each = int(2**32 / bytes_)
    numbers = [int(name[2], 16) * each + int(name[3], 16) for name in (last, current)]
    return max(0, numbers[1] - numbers[0] - 1)


def _number(row: Row, name: str) -> float | None:
    value = row[name]
    return float(value) if isinstance(value, int | float) else None
