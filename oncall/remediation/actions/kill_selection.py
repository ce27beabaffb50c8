"""Which sessions `kill-queries` means: its filters, what protects a session, and the choice between them. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from oncall.model import Frozen, Table

_PID = re.compile(r"([0-9]{1,10})(?:@(.+))?")
_MOST_PID = 2**31 - 1
_MOMENT_S, _EXACT_S = 1.0, 0.001
"""A moment that is written to the second fits a transaction that began within it; one with a fraction, as a diagnosis
and a plan write it, that transaction alone: the next one of a busy session begins within the second as well."""
_IDLE = ("idle in transaction", "idle in transaction (aborted)")
_ACTIVE = ("active", "fastpath function call")
COMMITTED = "waits for a synchronous standby (SyncRep): committed here, so a signal would roll nothing back"


class PidAt(Frozen, frozen=True):
    """A session by its pid; with `at`, only if its transaction began at that moment."""

    pid: int
    at: datetime | None = None

    def __str__(self) -> str:
        if self.at is None:
            return str(self.pid)
        return f"{self.pid}@{self.at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}"


def parse_pid(text: str) -> PidAt:
    """`PID` or `PID@2026-11-25T03:12:41Z`. A moment without a zone is UTC. Raises ValueError with what is allowed."""
    found = _PID.fullmatch(text.strip())
    if found is None or int(found[1]) > _MOST_PID:
        raise ValueError(f"{text!r} is not a session: write PID, or PID@2026-11-25T03:12:41Z")
    if int(found[1]) == 0:
        raise ValueError(f"{text!r}: pid 0 is no session; as a blocker it stands for a prepared transaction")
    if found[2] is None:
        return PidAt(pid=int(found[1]))
    try:
        at = datetime.fromisoformat(found[2])
    except ValueError:
        raise ValueError(
            f"{text!r}: after @ stands the time at which its transaction began: PID@2026-11-25T03:12:41Z"
        ) from None
    return PidAt(pid=int(found[1]), at=at.replace(tzinfo=at.tzinfo or UTC))


@dataclass(frozen=True)
class Filters:
    """Which sessions are meant. `pids` and `blockers` say which, the two ages (seconds) say in what state.

    Of one kind any may hold; each kind that is given narrows the other, and `application` narrows both. A state alone
    is meant of the service's own sessions: a backup runs long as well."""

    older_than_s: float | None = None
    pids: tuple[PidAt, ...] = ()
    blockers: bool = False
    idle_in_transaction_s: float | None = None
    application: str | None = None

    @property
    def by_name(self) -> bool:
        return bool(self.pids) or self.blockers

    @property
    def by_state(self) -> bool:
        return self.older_than_s is not None or self.idle_in_transaction_s is not None

    @property
    def own(self) -> bool:
        """Only the sessions that a diagnosis counts as the service's: nothing says whose are meant."""
        return not self.by_name and self.application is None

    @property
    def empty(self) -> bool:
        """Nothing is meant; an application alone is no filter."""
        return not (self.by_name or self.by_state)


class Victim(Frozen, frozen=True):
    """A row of victims.sql, its times exact to the microsecond. With a `gid` it is a prepared transaction."""

    pid: int
    gid: str | None = None
    named: bool = False
    backend_type: str | None = None
    application_name: str | None = None
    app: bool = False
    usename: str | None = None
    datname: str | None = None
    state: str | None = None
    backend_start: str | None = None
    xact_start: str | None = None
    query_start: str | None = None
    query_s: float | None = None
    state_s: float | None = None
    xact_s: float | None = None
    waits: bool = False
    committed: bool = False
    """It waits for a synchronous standby (SyncRep)."""
    blocked_by: str | None = None
    blocks: int = 0
    root: bool = False
    own: bool = False
    superuser: bool = False
    replication: bool = False
    elsewhere: bool = False
    index_build: bool | None = None
    same_role: bool = False
    found: int = 0
    query: str | None = None

    @property
    def active(self) -> bool:
        return self.state in _ACTIVE

    @property
    def idle_in_transaction(self) -> bool:
        return self.state in _IDLE

    @property
    def age_s(self) -> float:
        """How long it has run its statement, or has done nothing."""
        return (self.query_s if self.active else self.state_s) or 0.0

    @property
    def id(self) -> str:
        return f"pid {self.pid}"


def victims(table: Table) -> tuple[Victim, ...]:
    """The rows of victims.sql, typed."""
    names = [column.name for column in table.columns]
    return tuple(msgspec.convert(dict(zip(names, row, strict=True)), Victim) for row in table.rows)


class Protection(Frozen, frozen=True):
    """Why a session is not signalled: the guard that says so, and in words. `hidden`: it could not be told."""

    guard: str
    words: str
    hidden: bool = False


def protection(v: Victim) -> Protection | None:
    """What keeps a session from being signalled, whoever asks (an index build does not: that can be overridden)."""
    if v.own:
        return Protection(guard="own-backend", words="oncall's own session")
    if v.backend_type == "walsender":
        return Protection(guard="replication", words="a walsender")
    if v.backend_type not in (None, "client backend"):
        return Protection(guard="autovacuum", words=f"{v.backend_type}, of the server itself")
    if v.superuser:
        return Protection(guard="superuser", words=f"of a superuser ({v.usename})")
    if v.replication:
        return Protection(guard="replication", words=f"of a role with REPLICATION ({v.usename})")
    if v.elsewhere:
        return Protection(guard="identity", words=f"in another database ({v.datname})")
    if v.committed:
        return Protection(guard="replication", words=COMMITTED)
    if v.backend_type is None or v.state in (None, "disabled") or v.backend_start is None:
        return Protection(guard="identity", words="what it does is hidden", hidden=True)
    return None


@dataclass(frozen=True)
class Left:
    """A session that was looked at and is no target, and why."""

    victim: Victim
    why: Protection


@dataclass(frozen=True)
class Selection:
    """Who is a target (oldest first, at most as many as allowed), and who is not, and why.

    `gone` and `changed` were named by pid; `unfit` too, but are not in the state asked for; `builds` are index
    builds that a filter swept up; `foreign` fit it and are not the service's."""

    targets: tuple[Victim, ...] = ()
    over: tuple[Victim, ...] = ()
    left: tuple[Left, ...] = ()
    prepared: tuple[Victim, ...] = ()
    builds: tuple[Victim, ...] = ()
    foreign: tuple[Victim, ...] = ()
    gone: tuple[PidAt, ...] = ()
    changed: tuple[tuple[PidAt, Victim], ...] = ()
    unfit: tuple[Victim, ...] = ()


def select(rows: Sequence[Victim], filters: Filters, most: int) -> Selection:
    """The choice. Without a filter nothing is chosen, whatever is there."""
    if filters.empty:
        return Selection()
    named = {one.pid for one in filters.pids}
    sessions = [v for v in rows if v.gid is None]
    changed = tuple(_changed(sessions, filters.pids))
    lost = {v.pid for _, v in changed}
    meant = [v for v in sessions if v.pid not in lost and matches(v, filters)]
    left = [Left(v, why) for v in meant if (why := protection(v))]
    free = [v for v in meant if protection(v) is None]
    foreign = tuple(v for v in free if filters.own and not v.app)
    builds = tuple(v for v in free if v.index_build and v.pid not in named and v not in foreign)
    free = sorted((v for v in free if v not in builds + foreign), key=lambda v: (-v.age_s, v.pid))
    # What was named is not cut short: the guard asks for a higher number instead.
    cut = len(free) if named else most
    there = {v.pid for v in sessions}
    return Selection(
        targets=tuple(free[:cut]),
        over=tuple(free[cut:]),
        left=(*left, *_barred(sessions, named - lost, meant)),
        prepared=tuple(v for v in rows if v.gid is not None and filters.blockers),
        builds=builds,
        foreign=foreign,
        gone=tuple(one for one in filters.pids if one.pid not in there),
        changed=changed,
        unfit=tuple(v for v in sessions if v.pid in named - lost and v not in meant and not protection(v)),
    )


def _barred(sessions: Iterable[Victim], named: set[int], meant: Sequence[Victim]) -> list[Left]:
    """Protected sessions that were named, and that no state asked for would have kept: they too are refused."""
    others = (v for v in sessions if v.pid in named and v not in meant)
    return [Left(v, why) for v in others if (why := protection(v))]


def matches(v: Victim, filters: Filters) -> bool:
    """Whether the filters mean this session."""
    if filters.empty:
        return False
    named = v.pid in {one.pid for one in filters.pids} or (filters.blockers and v.root)
    return (
        (named or not filters.by_name)
        and (_in_state(v, filters) or not filters.by_state)
        and of_application(v, filters.application)
    )


def _in_state(v: Victim, filters: Filters) -> bool:
    runs, idles = filters.older_than_s, filters.idle_in_transaction_s
    return (runs is not None and v.active and v.age_s > runs) or (
        idles is not None and v.idle_in_transaction and v.age_s > idles
    )


def of_application(v: Victim, application: str | None) -> bool:
    """By its application_name; a `*` at the end stands for any end."""
    if application is None:
        return True
    name = v.application_name or ""
    if application.endswith("*"):
        return name.startswith(application.rstrip("*"))
    return name == application


def _changed(sessions: Iterable[Victim], pids: Sequence[PidAt]) -> Iterable[tuple[PidAt, Victim]]:
    """Those named with a moment at which the transaction they are in now did not begin."""
    by_pid = {v.pid: v for v in sessions}
    for one in pids:
        victim = by_pid.get(one.pid)
        if one.at is None or victim is None or protection(victim):
            continue
        began = datetime.fromisoformat(victim.xact_start) if victim.xact_start else None
        off_s = _EXACT_S if one.at.microsecond else _MOMENT_S
        if began is None or abs((began - one.at).total_seconds()) > off_s:
            yield one, victim
