"""What `kill-queries` says of its plan: title, table, what would be lost, notes. Pure."""

import shlex
from collections.abc import Callable, Iterable, Sequence

from oncall.clients.pg_facts import ServerFacts
from oncall.clients.pg_text import literal
from oncall.model import Column, Table
from oncall.numbers import duration
from oncall.remediation.actions.kill_selection import Filters, Selection, Victim
from oncall.units import write_duration

_SHOWN = 5
_LOOKED = 400
"""The limit of victims.sql."""
_COLUMNS = (
    Column(name="pid"),
    Column(name="application"),
    Column(name="user"),
    Column(name="state"),
    Column(name="age", unit="s"),
    Column(name="blocks"),
    Column(name="blocked by"),
    Column(name="statement"),
)


def title(targets: Sequence[Victim], filters: Filters, *, terminate: bool) -> str:
    """One sentence: what is done to how many, and which."""
    which = described(filters)
    if not targets:
        return f"signals no session: none {which}" if which else "signals no session: none was asked for"
    many = len(targets) != 1
    what = f"{len(targets)} session{'s' if many else ''}"
    if terminate:
        return f"terminates {what} {which}"
    return f"cancels the statement{'s' if many else ''} of {what} {which}"


def described(filters: Filters) -> str:
    """The filters in words: `that hold back others and have run a statement for over 60 s`."""
    who = []
    if filters.pids:
        who.append(f"named by pid ({', '.join(str(one.pid) for one in filters.pids)})")
    if filters.blockers:
        who.append("holding back others and waiting for nobody")
    states = []
    if filters.older_than_s is not None:
        states.append(f"running a statement for over {write_duration(filters.older_than_s)}")
    if filters.idle_in_transaction_s is not None:
        states.append(f"idle in transaction for over {write_duration(filters.idle_in_transaction_s)}")
    kinds = [" or ".join(kind) for kind in (who, states) if kind]
    if filters.application is not None and kinds:
        kinds.append(f"of {filters.application}")
    return ", ".join(kinds)


def table(targets: Sequence[Victim], clean: Callable[[str], str]) -> Table | None:
    """The targets as a person wants to see them; `clean` takes secrets out of a statement's text."""
    if not targets:
        return None
    rows = (
        (
            v.pid,
            v.application_name or None,
            v.usename,
            v.state,
            v.age_s,
            v.blocks,
            _blockers(v),
            None if v.query is None else clean(v.query),
        )
        for v in targets
    )
    return Table(columns=_COLUMNS, rows=tuple(rows))


def _blockers(v: Victim) -> str | None:
    """Who blocks it; the number of a prepared transaction is none of a process."""
    pids = (v.blocked_by or "").split(", ")
    words = dict.fromkeys("a prepared transaction" if pid.startswith("-") else pid for pid in pids if pid)
    return ", ".join(words) or None


def losses(targets: Sequence[Victim], *, terminate: bool) -> tuple[str, ...]:
    """What would be lost."""
    if not targets:
        return ()
    if terminate:
        app = "the application sees the error 57P01 (admin_shutdown), or a closed connection"
        return (*(_ended(v) for v in targets), app)
    running = [v for v in targets if v.active]
    app = "the application sees the error 57014 (query_canceled)"
    return (*(_canceled(v) for v in running), *((app,) if running else ()))


def _ended(v: Victim) -> str:
    open_for = (
        ""
        if v.xact_start is None
        else f", and what its transaction of {duration(v.xact_s or 0)} has done so far"
    )
    return f"{v.id}: its connection{open_for}{_invalid(v)}"


def _canceled(v: Victim) -> str:
    whole = v.xact_start is not None and v.xact_start != v.query_start
    rest = f"; its transaction, open for {duration(v.xact_s or 0)}, is rolled back with it" if whole else ""
    return f"{v.id}: the {duration(v.age_s)} of work of its statement{rest}{_invalid(v)}"


def _invalid(v: Victim) -> str:
    return "; an invalid index stays behind: DROP INDEX CONCURRENTLY" if v.index_build else ""


def notes(
    selection: Selection, facts: ServerFacts, *, terminate: bool, app: str | None = None
) -> tuple[str, ...]:
    """What the reader must know besides."""
    found = [
        *_left(selection),
        *_foreign(selection.foreign, app),
        *_unfit(selection.unfit),
        *(f"prepared transaction, not signalled: {rollback(p, facts)}" for p in selection.prepared),
        *_targets(selection.targets, terminate=terminate, app=app),
    ]
    if selection.over:
        found.append(f"not among the oldest {len(selection.targets)}, left alone: {pids(selection.over)}")
    left = [one.victim for one in selection.left]
    seen = (
        *selection.targets,
        *selection.over,
        *left,
        *selection.builds,
        *selection.unfit,
        *selection.foreign,
    )
    if (every := max((v.found for v in seen), default=0)) > _LOOKED:
        found.append(
            f"only {_LOOKED} of {every} busy sessions were looked at: the named, the roots, the oldest"
        )
    return tuple(found)


def _left(selection: Selection) -> Iterable[str]:
    """Those that a filter swept up and something protects; by reason, as there may be many."""
    by_reason: dict[str, list[Victim]] = {}
    for one in selection.left:
        if not one.victim.named:
            by_reason.setdefault(one.why.words, []).append(one.victim)
    for words, found in by_reason.items():
        yield f"{pids(found)}: {words}, never signalled"
    for v in selection.builds:
        yield f"{v.id}: builds an index concurrently, left alone; to have it, name it: --pid {v.pid}"


def _foreign(foreign: Sequence[Victim], app: str | None) -> Iterable[str]:
    """What the filters would have meant, had they not kept to the service."""
    if not foreign:
        return
    names = ", ".join(sorted({v.application_name or "without a name" for v in foreign})[:_SHOWN])
    whose = f"of {app}" if app else "of the service, but a tool's"
    yield f"{pids(foreign)} ({names}): not {whose}, left alone; to have them: --application NAME, or --pid"


def of_all(app: str | None, filters: Filters) -> tuple[str, ...]:
    """Whom the filters take for the service's, where nobody has said it."""
    if app or not filters.own:
        return ()
    said = (
        "taken for the service's: all sessions of this database but those of tools (pg_dump, psql, exporters)"
    )
    return (f"{said}; postgres.application_name would say which",)


def _unfit(unfit: Sequence[Victim]) -> Iterable[str]:
    for v in unfit:
        yield (
            f"{v.id}: {v.state} for {duration(v.age_s)}, application {v.application_name or 'without a name'}:"
            " not as asked for, left alone"
        )


def _targets(targets: Sequence[Victim], *, terminate: bool, app: str | None) -> Iterable[str]:
    for v in targets:
        if not v.active and not terminate:
            yield f"{v.id}: {v.state}: a cancel changes nothing there; --terminate ends the session"
        if v.waits:
            yield f"{v.id}: only waits for a lock, held back by {_blockers(v) or 'others'}; see --blockers"
        if v.root and v.blocks:
            yield f"{v.id}: frees {v.blocks} waiting session{'s' if v.blocks != 1 else ''}"
    foreign = [v for v in targets if not v.app] if app else []
    if foreign:
        yield f"{pids(foreign)}: not of {app}, the application of this service"


def pids(found: Sequence[Victim]) -> str:
    """`pid 12, 13 and 4 more`."""
    shown = ", ".join(str(v.pid) for v in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"pid {shown}{more}"


def rollback(p: Victim, facts: ServerFacts) -> str:
    """A prepared transaction: whose it is, its age, how many it holds back, and the command that rolls it back."""
    statement = f"ROLLBACK PREPARED {literal(p.gid or '').strip()};"
    words = ["psql", "-h", facts.host, "-p", str(facts.port), "-d", p.datname or facts.database]
    line = shlex.join([*words, "-U", p.usename or facts.role, "-c", statement])
    return f"{p.gid} of {p.usename}, {duration(p.age_s)} old, holds back {p.blocks}: {line}"
