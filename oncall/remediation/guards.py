"""The guards: what each protects, how, and whether it can be overridden. Pure."""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from oncall.errors import UsageFault
from oncall.model_acts import BARS, GuardInfo, GuardReport, GuardState

_KILL, _FLUSH, _RESTART, _DATABASE, _RESIZE = (
    "kill-queries",
    "flush-cache",
    "restart",
    "restart-database",
    "resize-pool",
)
ACTIONS = (_RESTART, _DATABASE, _KILL, _FLUSH, _RESIZE)


def _info(
    name: str, actions: Sequence[str], protects: str, how: str, *, overridable: bool = False
) -> GuardInfo:
    return GuardInfo(name=name, protects=protects, how=how, actions=tuple(actions), overridable=overridable)


GUARDS: tuple[GuardInfo, ...] = (
    _info(
        "identity",
        ACTIONS,
        "whatever has taken the place of what you saw",
        "a plan's id covers its targets and who they are; each is checked again in the very statement that acts",
    ),
    _info(
        "empty-selection",
        ACTIONS,
        "everything, when a filter is missing or matches nothing",
        "without a filter an action is refused; a selection without a target does nothing",
    ),
    _info(
        "audit-writable",
        ACTIONS,
        "the trace of what was done",
        "the intent is written and synced to disk before the act; where it cannot be, nothing is done",
    ),
    _info(
        "rights",
        ACTIONS,
        "a half-done action",
        "pg_signal_backend, ACL DRYRUN, root or polkit, the file's mode: asked before, with the exact grant",
    ),
    _info(
        "concurrent-operator",
        ACTIONS,
        "two engineers who act at once on one service",
        "a lock on this machine and an advisory lock in the service's Postgres; who holds it since when is said",
    ),
    _info(
        "freeze",
        ACTIONS,
        "the hours in which nothing may be changed",
        "the freeze windows of the service file",
        overridable=True,
    ),
    _info(
        "already-healthy",
        ACTIONS,
        "a service that is well",
        "the symptoms of the issue are measured first: where all are ok there is no reason to act",
        overridable=True,
    ),
    _info(
        "cooldown",
        (_RESTART, _DATABASE, _FLUSH),
        "a service that has just been acted on and had no time to show it",
        "the audit log and the unit's own start time, against `cooldown` of the service file (5m)",
        overridable=True,
    ),
    _info(
        "own-backend",
        (_KILL,),
        "the session that oncall itself uses",
        "pid <> pg_backend_pid() in the statement that signals",
    ),
    _info(
        "superuser",
        (_KILL,),
        "sessions of superusers: administrators, backups, monitoring",
        "their role is looked up in the statement that signals",
    ),
    _info(
        "replication",
        (_KILL,),
        "replicas, their walsenders, and commits that wait for a synchronous standby",
        "only client backends of roles without REPLICATION are signalled; none that waits for SyncRep: its work is"
        " committed, and a signal would give up the standby's copy and roll nothing back",
    ),
    _info(
        "autovacuum",
        (_KILL,),
        "autovacuum and other workers of the server itself",
        "only client backends are signalled",
    ),
    _info(
        "index-build",
        (_KILL,),
        "CREATE INDEX CONCURRENTLY, which a cancel leaves behind as an invalid index",
        "the running statement and pg_stat_progress_create_index are looked at",
        overridable=True,
    ),
    _info(
        "pooler",
        (_KILL,),
        "other clients of a pooler, which share its pids",
        "a server that drops our settings, or another pid than the one we connected to, is a pooler",
    ),
    _info(
        "max-targets",
        (_KILL,),
        "the many, when a filter is wider than was meant",
        "at most --max targets (5), oldest first; it stops at the first error",
    ),
    _info(
        "protected-keys",
        (_FLUSH,),
        "keys that are no cache",
        "a named prefix lies within redis.cache of the service file where that declares any, and no key under it is"
        " protected (redis.protected); where no cache is declared, that it is one is yours to know",
    ),
    _info(
        "queue-in-cache",
        (_FLUSH,),
        "jobs, streams and sets of other tools in the same database",
        "queues of Celery, RQ, Bull and Sidekiq, lists and streams are known by name and type, and again in the act",
    ),
    _info(
        "replica",
        (_FLUSH, _KILL),
        "a replica that you took for the primary",
        "INFO replication, pg_is_in_recovery(): a replica is said; a flush there is refused",
    ),
    _info(
        "cluster",
        (_FLUSH,),
        "a cluster, of which a flush empties one shard only",
        "INFO cluster and redis_mode",
    ),
    _info(
        "start-limit",
        (_RESTART, _DATABASE),
        "a unit that systemd would stop and then refuse to start",
        "restarts within StartLimitIntervalSec against StartLimitBurst, before anything is stopped",
    ),
    _info(
        "dependents",
        (_RESTART, _DATABASE),
        "what restarts along with the unit",
        "the active units that require it or are bound to it are named",
        overridable=True,
    ),
    _info(
        "connections-budget",
        (_RESIZE,),
        "the database server's connection slots",
        "the new size times the instances, next to what others use, against max_connections less the reserved ones",
        overridable=True,
    ),
)
BY_NAME = {info.name: info for info in GUARDS}


def passed(name: str, text: str) -> GuardReport:
    return _report(name, GuardState.PASSED, text, None)


def refused(name: str, text: str, hint: str | None = None) -> GuardReport:
    return _report(name, GuardState.REFUSED, text, hint)


def unknown(name: str, text: str, hint: str | None = None) -> GuardReport:
    """It could not be checked, which bars the action as a refusal does."""
    return _report(name, GuardState.UNKNOWN, text, hint)


def skipped(name: str, text: str) -> GuardReport:
    return _report(name, GuardState.NOT_APPLICABLE, text, None)


def _report(name: str, state: GuardState, text: str, hint: str | None) -> GuardReport:
    return GuardReport(name=name, state=state, text=text, hint=hint, overridable=BY_NAME[name].overridable)


def check_overrides(names: Sequence[str], reason: str | None, action: str) -> None:
    """Raises UsageFault for an override that is none: an unknown guard, one that never yields, no reason given."""
    for name in names:
        info = BY_NAME.get(name)
        if info is None or action not in info.actions:
            there = ", ".join(g.name for g in GUARDS if g.overridable and action in g.actions)
            raise UsageFault(
                f"--override {name}: no guard of {action}", hint=f"To override there are: {there}."
            )
        if not info.overridable:
            raise UsageFault(
                f"--override {name}: this guard is never overridden",
                hint=f"It protects {info.protects}. See `oncall remediate guards`.",
            )
    if names and not (reason or "").strip():
        raise UsageFault("--override needs --reason TEXT", hint="It is written into the audit log.")
    if reason is not None and not names:
        raise UsageFault("--reason is about --override", hint="Say which guard: --override NAME.")


def overridden(reports: Sequence[GuardReport], names: Collection[str]) -> tuple[GuardReport, ...]:
    """The reports with those that bar and are overridden by name; others stay as they are."""
    return tuple(
        replace(g, state=GuardState.OVERRIDDEN)
        if g.name in names and g.state in BARS and g.overridable
        else g
        for g in reports
    )
