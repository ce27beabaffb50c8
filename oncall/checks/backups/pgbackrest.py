"""Backups of pgBackRest, by its own `info --output=json`."""

import shlex
import time

import msgspec
from msgspec import field

from oncall.checks.backups.common import Backup, Ill, place, say
from oncall.model import Absence, Column, Frozen, Next, Severity, Table, Unavailable
from oncall.model_service import BackupAt, Service
from oncall.numbers import duration

SOURCE = "pgbackrest"
_OK, _NO_STANZA, _NO_BACKUP = 0, 1, 2
_MOST_ROWS = 10
_COLUMNS = (
    Column(name="backup"),
    Column(name="type"),
    Column(name="age", unit="seconds"),
    Column(name="size", unit="bytes"),
    Column(name="took", unit="seconds"),
    Column(name="repo"),
    Column(name="error"),
)


class Moments(Frozen, frozen=True):
    """Unix seconds."""

    start: float
    stop: float


class Wal(Frozen, frozen=True):
    """The first and last segment that a backup needs."""

    start: str | None = None
    stop: str | None = None


class Sizes(Frozen, frozen=True):
    """Bytes of the whole database cluster as it was."""

    size: float | None = None


class Database(Frozen, frozen=True):
    id: int = 0
    repo: int = field(default=1, name="repo-key")


class Entry(Frozen, frozen=True):
    """One backup; `error`: pages whose checksum was wrong, None where that was not looked at."""

    label: str
    type: str
    timestamp: Moments
    archive: Wal | None = None
    database: Database = Database()
    error: bool | None = None
    info: Sizes | None = None


class Archive(Frozen, frozen=True):
    """The WAL that a repository has, of one history of the cluster."""

    min: str | None = None
    max: str | None = None
    database: Database = Database()


class Held(Frozen, frozen=True):
    held: bool = False


class Lock(Frozen, frozen=True):
    backup: Held = Held()


class Status(Frozen, frozen=True):
    code: int
    message: str = ""
    lock: Lock = Lock()


class Repo(Frozen, frozen=True):
    key: int
    status: Status


class Stanza(Frozen, frozen=True):
    """As pgBackRest writes it; what it writes besides is not read."""

    name: str
    status: Status
    backup: tuple[Entry, ...] = ()
    archive: tuple[Archive, ...] = ()
    repo: tuple[Repo, ...] = ()


async def look(at: BackupAt, service: Service, deadline_s: float) -> Backup | Unavailable:
    """What pgBackRest knows of the stanza. Looking takes no lock."""
    assert at.pgbackrest is not None
    options = [f"--config={at.config}"] if at.config else []
    options += [f"--repo={at.repo}"] if at.repo else []
    words = ["pgbackrest", *options, f"--stanza={at.pgbackrest}", "info"]
    ssh = place(at, service)
    ran = await say((*words, "--output=json"), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    stanza = parse(ran.out, at.pgbackrest)
    if isinstance(stanza, Unavailable):
        return stanza
    shown = shlex.join(words)
    return msgspec.structs.replace(
        judge(stanza, time.time()),
        query=shlex.join((*words, "--output=json")),
        next=Next(
            command=f"ssh {ssh} {shlex.quote(shown)}" if ssh else shown, why="its own view of the repository"
        ),
    )


def parse(text: str, stanza: str) -> Stanza | Unavailable:
    """The stanza out of the JSON. Pure."""
    try:
        found = msgspec.json.decode(text.encode(), type=list[Stanza])
    except (msgspec.DecodeError, UnicodeEncodeError) as wrong:
        return Unavailable(kind=Absence.BAD_ANSWER, reason=f"pgbackrest: its JSON is not understood: {wrong}")
    for one in found:
        if one.name == stanza:
            return one
    hint = "see the stanzas: pgbackrest info"
    return Unavailable(kind=Absence.CONFIG, reason=f"pgbackrest knows no stanza {stanza}", hint=hint)


def judge(stanza: Stanza, now: float) -> Backup:
    """The newest backup of the repository where that is oldest, and what pgBackRest itself complains of. Pure.

    Codes of its status: 0 ok, 1 no such stanza, 2 no backup, 3 and more: it cannot tell, or repositories differ."""
    newest = {key: _newest(stanza, key) for key in _repos(stanza)}
    behind = min(newest, key=lambda key: _stop(newest[key]), default=None)
    entry = None if behind is None else newest[behind]
    ills = [
        *_status(stanza),
        *(ill for key, of in newest.items() for ill in _entry(stanza, key, of, len(newest))),
    ]
    return Backup(
        source=SOURCE,
        now=now,
        finished=entry.timestamp.stop if entry else None,
        name=_name(entry, behind, len(newest)) if entry else None,
        size=entry.info.size if entry and entry.info else None,
        former=_former(stanza, entry),
        ill=tuple(ills),
        running="a backup" if stanza.status.lock.backup.held else None,
        said=_said(stanza, entry, now),
        notes=_notes(stanza, entry),
        detail=_table(stanza, now),
    )


def _repos(stanza: Stanza) -> list[int]:
    return sorted({repo.key for repo in stanza.repo} | {b.database.repo for b in stanza.backup})


def _newest(stanza: Stanza, repo: int) -> Entry | None:
    of = (b for b in stanza.backup if b.database.repo == repo)
    return max(of, key=lambda b: b.timestamp.stop, default=None)


def _stop(entry: Entry | None) -> float:
    return entry.timestamp.stop if entry else 0.0


def _status(stanza: Stanza) -> list[Ill]:
    status = stanza.status
    if status.code == _OK:
        return []
    told = {r.status.message for r in stanza.repo if r.status.code != _OK} or {status.message}
    what = {_NO_STANZA: "there is no such stanza: ", _NO_BACKUP: "there is none: "}.get(status.code, "")
    return [Ill(severity=Severity.CRITICAL, text=f"{what}pgbackrest says: {', '.join(sorted(told))}")]


def _entry(stanza: Stanza, repo: int, newest: Entry | None, of: int) -> list[Ill]:
    """What is wrong with the newest of a repository."""
    where = f" in repo {repo}" if of > 1 else ""
    if newest is None:
        if stanza.status.code != _OK:
            return []
        return [Ill(severity=Severity.CRITICAL, text=f"there is none{where}")]
    ills = []
    if newest.error:
        ills.append(
            Ill(severity=Severity.CRITICAL, text=f"{newest.label} has pages with wrong checksums{where}")
        )
    if gap := _gap(stanza, newest):
        ills.append(Ill(severity=Severity.CRITICAL, text=f"it cannot be restored{where}: {gap}"))
    return ills


def _gap(stanza: Stanza, newest: Entry) -> str | None:
    """Which WAL that a backup needs is not in its archive. Names of segments are in the order of the WAL."""
    needs = newest.archive
    if needs is None or needs.start is None or needs.stop is None:
        return None
    of = [a for a in stanza.archive if a.database == newest.database]
    if not any(a.max for a in of):
        return "the archive has no WAL"
    if any(a.min and a.max and a.min <= needs.start and needs.stop <= a.max for a in of):
        return None
    first, last = min(a.min or "" for a in of), max(a.max or "" for a in of)
    return f"it needs WAL {needs.start} to {needs.stop}, the archive has {first} to {last}"


def _name(entry: Entry, repo: int | None, of: int) -> str:
    return f"{entry.type} of repo {repo}" if of > 1 else entry.type


def _former(stanza: Stanza, newest: Entry | None) -> tuple[float, ...]:
    """Of the same repository, newest first: the size of the whole, whatever the type."""
    if newest is None:
        return ()
    before = [b for b in stanza.backup if b.database.repo == newest.database.repo and b is not newest]
    before.sort(key=lambda b: -b.timestamp.stop)
    return tuple(b.info.size for b in before if b.info and b.info.size is not None)


def _said(stanza: Stanza, newest: Entry | None, now: float) -> tuple[str, ...]:
    """The last full one, where the newest needs it."""
    fulls = [
        b for b in stanza.backup if newest and b.type == "full" and b.database.repo == newest.database.repo
    ]
    if newest is None or newest.type == "full" or not fulls:
        return ()
    last = max(b.timestamp.stop for b in fulls)
    return (f"the last full {duration(max(0.0, now - last))} ago",)


def _notes(stanza: Stanza, newest: Entry | None) -> tuple[str, ...]:
    ends = [a.max for a in stanza.archive if newest and a.max and a.database == newest.database]
    return (f"its WAL is archived up to {max(ends)}",) if ends else ()


def _table(stanza: Stanza, now: float) -> Table | None:
    entries = sorted(stanza.backup, key=lambda b: -b.timestamp.stop)
    rows = tuple(
        (
            b.label,
            b.type,
            max(0.0, now - b.timestamp.stop),
            b.info.size if b.info else None,
            b.timestamp.stop - b.timestamp.start,
            b.database.repo,
            b.error,
        )
        for b in entries[:_MOST_ROWS]
    )
    more = len(entries) - len(rows)
    return Table(columns=_COLUMNS, rows=rows, notes=(f"{more} more",) if more else ()) if rows else None
