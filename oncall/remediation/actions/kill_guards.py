"""The guards of `kill-queries`: each one's verdict on what was selected. Pure."""

from collections.abc import Callable

from oncall.clients.pg_facts import ServerFacts
from oncall.clients.pg_text import identifier
from oncall.model import Unavailable
from oncall.model_acts import GuardReport
from oncall.remediation import guards
from oncall.remediation.actions.kill_selection import Filters, Selection
from oncall.remediation.actions.kill_words import pids, rollback

_OWN = (
    "identity",
    "empty-selection",
    "rights",
    "own-backend",
    "superuser",
    "replication",
    "autovacuum",
    "index-build",
    "pooler",
    "max-targets",
    "replica",
)
_ABSENT = {
    "own-backend": "oncall's own session is not among them",
    "superuser": "no superuser's session is among them",
    "replication": "no walsender, no replication role and no commit that waits for a standby is among them",
    "autovacuum": "all of them are client backends",
}
FILTERS = "say which: --older-than 60s, --idle-in-transaction 5m, --blockers or --pid PID"


def unseen(why: Unavailable) -> tuple[GuardReport, ...]:
    """Where the look failed: who would be hit cannot be told, nor whether one may."""
    barred = ("identity", "rights")
    return tuple(
        guards.unknown(name, why.reason, why.hint)
        if name in barred
        else guards.skipped(name, "nothing was seen")
        for name in _OWN
    )


def unfiltered(filters: Filters) -> tuple[GuardReport, ...]:
    """Where nothing says which sessions are meant: nothing was looked at."""
    text = "no filter was given" if filters.application is None else "--application alone is no filter"
    return tuple(
        guards.refused(name, text, FILTERS)
        if name == "empty-selection"
        else guards.skipped(name, "nothing was selected")
        for name in _OWN
    )


def reports(selection: Selection, most: int, facts: ServerFacts) -> tuple[GuardReport, ...]:
    """A verdict by each guard, in the order in which they are explained."""
    special: dict[str, Callable[[], GuardReport]] = {
        "identity": lambda: _identity(selection, facts),
        "empty-selection": lambda: _selected(selection, facts),
        "rights": lambda: _rights(selection, facts),
        "index-build": lambda: _index_build(selection),
        "pooler": lambda: _pooler(facts),
        "max-targets": lambda: _at_most(selection, most),
        "replica": lambda: _replica(facts),
    }
    return tuple(special[name]() if name in special else _protected(name, selection) for name in _OWN)


def _identity(selection: Selection, facts: ServerFacts) -> GuardReport:
    """Who was named must be who is there."""
    wrong = [f"pid {one.pid} is gone" for one in selection.gone]
    for one, v in selection.changed:
        now = f"began {v.xact_start}" if v.xact_start else "is none"
        wrong.append(f"pid {one.pid} has changed: its transaction {now}, not {str(one).partition('@')[2]}")
    named = [left for left in selection.left if left.why.guard == "identity" and left.victim.named]
    wrong += [f"{left.victim.id}: {left.why.words}, never signalled" for left in named if not left.why.hidden]
    if wrong:
        return guards.refused("identity", "; ".join(wrong), "look again, and name what is there now")
    if hidden := [left.victim for left in named]:
        grant = f"GRANT pg_monitor TO {identifier(facts.role)};"
        return guards.unknown("identity", f"{pids(hidden)}: what it does is hidden from {facts.role}", grant)
    seen = "start of session, transaction and statement, and state, are checked again where it is signalled"
    return guards.passed("identity", seen)


def _selected(selection: Selection, facts: ServerFacts) -> GuardReport:
    if selection.targets:
        count = len(selection.targets)
        return guards.passed("empty-selection", f"{count} session{'s' if count != 1 else ''}")
    if selection.prepared:
        said = "; ".join(rollback(p, facts) for p in selection.prepared)
        by_hand = (
            "roll it back or commit it by hand, as its owner or a superuser, once it is known whose it is"
        )
        return guards.refused("empty-selection", f"a prepared transaction has no session: {said}", by_hand)
    hidden = f"{facts.hidden} sessions are hidden: GRANT pg_monitor TO {identifier(facts.role)};"
    text = "no session that may be signalled is as asked for"
    if selection.foreign:
        text = (
            f"no session of the service is as asked for; {pids(selection.foreign)} of others are, left alone"
        )
    return guards.refused("empty-selection", text, hidden if facts.hidden else None)


def _rights(selection: Selection, facts: ServerFacts) -> GuardReport:
    """pg_signal_backend, or membership in the role that the session runs as."""
    if facts.is_superuser or facts.can_signal:
        what = "is a superuser" if facts.is_superuser else "has pg_signal_backend"
        return guards.passed("rights", f"role {facts.role} {what}")
    named = [left.victim for left in selection.left if left.victim.named and left.why.hidden]
    meant = [*selection.targets, *named]
    others = [v for v in meant if not v.same_role]
    if others:
        roles = ", ".join(sorted({v.usename or "?" for v in others}))
        text = f"role {facts.role} may not signal the sessions of {roles} ({pids(others)})"
        grant = f"GRANT pg_signal_backend TO {identifier(facts.role)};"
        return guards.refused("rights", text, grant)
    if not meant:
        return guards.skipped("rights", "there is no session to signal")
    return guards.passed("rights", f"all are sessions of a role that {facts.role} is, or is a member of")


def _protected(name: str, selection: Selection) -> GuardReport:
    """Refused where such a session was named; one that a filter swept up is left out."""
    left = [one for one in selection.left if one.why.guard == name]
    if named := [one for one in left if one.victim.named]:
        said = "; ".join(f"{one.victim.id}: {one.why.words}, never signalled" for one in named)
        standby = (
            "bring the standby back, or take it out of synchronous_standby_names: then all of them go on"
        )
        committed = any(one.victim.committed for one in named)
        return guards.refused(name, said, standby if committed else "take it off the list")
    if left:
        return guards.passed(name, f"{pids([one.victim for one in left])}: left alone")
    return guards.passed(name, _ABSENT[name])


def _index_build(selection: Selection) -> GuardReport:
    builds = [v for v in selection.targets if v.index_build]
    if builds:
        text = (
            f"{pids(builds)}: builds an index concurrently, and a cancel leaves it behind as an invalid index"
        )
        return guards.refused("index-build", text, "let it end, or drop the invalid index afterwards")
    if selection.builds:
        return guards.passed("index-build", f"{pids(selection.builds)}: left alone")
    return guards.passed("index-build", "no concurrent index build is among them")


def _pooler(facts: ServerFacts) -> GuardReport:
    if facts.pooler:
        text = f"{facts.host}:{facts.port} is a pooler: its clients share these sessions"
        return guards.refused("pooler", text, "name the server itself, not the pooler, in postgres.dsn")
    return guards.passed("pooler", "the server itself, not a pooler")


def _at_most(selection: Selection, most: int) -> GuardReport:
    count, over = len(selection.targets), len(selection.over)
    if count > most:
        return guards.refused("max-targets", f"{count} were named, at most {most}", f"--max {count}")
    if over:
        text = f"the oldest {count} of {count + over}: at most {most} at once"
        return guards.passed("max-targets", text)
    return guards.passed("max-targets", f"{count} of at most {most}")


def _replica(facts: ServerFacts) -> GuardReport:
    if facts.in_recovery:
        return guards.passed("replica", "a replica: its own sessions only, the primary's go on")
    return guards.passed("replica", "a primary")
