"""Reports as the engine makes them, for the tests of what a person sees. The numbers are invented."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from oncall.model import (
    CauseReport,
    Column,
    Confidence,
    Diagnosis,
    EvidenceReport,
    Next,
    Scalar,
    Severity,
    SignalReport,
    StepReport,
    Summary,
    Unseen,
    Verdict,
)

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)
TARGET = "db-1/deia_prod as oncall"
HOSTILE = (
    "SELECT '\x1b]0;owned\x07', '[/red]', j->'[i]' -- \u202etxet\u2066 \x9b31m\r\n"
    "\tFROM `t` | <!here> @channel [x](https://evil.example) ```"
)
TITLES = {
    "pool.connection_leak": "connection leak",
    "pool.slow_queries": "slow queries",
    "pool.too_many_requests": "too many requests",
    "pool.too_small": "pool too small",
    "pool.lock_contention": "lock contention",
    "pool.server_slots_exhausted": "server slots used up",
}


def evidence(
    text: str,
    *,
    holds: bool | None = True,
    supports: bool = True,
    decisive: bool = False,
    value: float | None = None,
    baseline: float | None = None,
) -> EvidenceReport:
    return EvidenceReport(
        id=text.split(maxsplit=1)[0].lower(),
        text=text,
        value=value,
        baseline=baseline,
        holds=holds,
        supports=supports,
        source="postgres",
        query="SELECT 1",
        decisive=decisive,
    )


def cause(
    id: str,
    confidence: Confidence,
    *items: EvidenceReport,
    missing: tuple[str, ...] = (),
    next: tuple[Next, ...] = (),
    why: str | None = None,
    advice: tuple[str, ...] = (),
) -> CauseReport:
    return CauseReport(
        id=id,
        title=TITLES[id],
        confidence=confidence,
        evidence=items,
        missing=missing,
        next=next,
        why=why,
        advice=advice,
    )


def ruled_out(id: str, text: str) -> CauseReport:
    return cause(id, Confidence.RULED_OUT, evidence(text, holds=False))


def signal(
    id: str,
    title: str,
    unit: str,
    value: float | None,
    baseline: float | None,
    bounds: tuple[float | None, float | None],
    severity: Severity,
    *,
    minutes_ago: float | None = None,
    history: tuple[float | None, ...] = (),
    symptom: bool = False,
    of: float | None = None,
    reason: str | None = None,
    age_s: float | None = 3.2,
) -> SignalReport:
    return SignalReport(
        id=id,
        title=title,
        value=value,
        unit=unit,
        baseline=baseline,
        warning=bounds[0],
        critical=bounds[1],
        severity=severity,
        source="prometheus",
        query=f'max({id}{{job="bot-controller"}})',
        age_s=age_s,
        reason=reason,
        since=None if minutes_ago is None else AT - timedelta(minutes=minutes_ago),
        history=history,
        symptom=symptom,
        of=of,
    )


def pool_signals(severity: Severity = Severity.CRITICAL) -> tuple[SignalReport, ...]:
    """The signals of an exhausted pool."""
    rise = (4.0, 3.0, 4.0, 5.0, 4.0, 4.0, 3.0, 4.0, 6.0, 9.0, 12.0, 15.0, 18.0, 19.0, 19.0, 19.0)
    return (
        signal("request_rate", "Requests", "per second", 41, 43, (None, None), Severity.OK,
               history=(41, 44, 43, 42, None, 43, 41, 44, 43, 42, 41, 43, 41, 40, 41, 41)),
        signal("pool_active", "Pool in use", "connections", 19, 4, (10, 16), severity, minutes_ago=8.4,
               history=rise, symptom=True, of=20),
        signal("pool_waiting", "Waiting for the pool", "requests", 31, 0, (None, None), Severity.OK,
               minutes_ago=7.2, history=(0,) * 11 + (1, 4, 12, 25, 31)),
        signal("latency_p95", "P95 latency", "seconds", 4.21, 0.183, (1, 4), Severity.CRITICAL,
               minutes_ago=6.1, history=(0.18,) * 9 + (0.2, 0.3, 0.8, 2.0, 3.4, 4.1, 4.2)),
        signal("pool_hold", "Hold time", "seconds", 212, 0.041, (None, None), Severity.OK, minutes_ago=9,
               history=(0.04,) * 8 + (2, 20, 60, 90, 120, 150, 180, 212)),
        signal("error_ratio", "Errors", "ratio", 0.0312, 0.0004, (0.01, 0.05), Severity.WARNING,
               minutes_ago=5, history=(0.0,) * 12 + (0.01, 0.02, 0.03, 0.031), age_s=95),
    )  # fmt: skip


def step(
    id: str,
    title: str,
    columns: tuple[tuple[str, str | None], ...],
    rows: tuple[tuple[Scalar, ...], ...],
    *,
    probe: str = "postgres",
    notes: tuple[str, ...] = (),
) -> StepReport:
    return StepReport(
        id=id,
        title=title,
        probe=probe,
        status="ok",
        reason=None,
        query="SELECT 1",
        columns=tuple(Column(name=name, unit=unit) for name, unit in columns),
        rows=rows,
        ms=12.3,
        notes=notes,
    )


def failed(id: str, title: str, reason: str, probe: str = "postgres") -> StepReport:
    return StepReport(
        id=id,
        title=title,
        probe=probe,
        status="failed",
        reason=reason,
        query="SELECT 1",
        columns=(),
        rows=(),
        ms=None,
    )


def report(
    severity: Severity,
    verdict: Verdict,
    summary: Summary,
    *,
    signals: tuple[SignalReport, ...] = (),
    steps: tuple[StepReport, ...] = (),
    causes: tuple[CauseReport, ...] = (),
    unseen: tuple[Unseen, ...] = (),
    notes: tuple[str, ...] = (),
    target: str | None = TARGET,
) -> Diagnosis:
    return Diagnosis(
        service="bot-controller",
        issue="pool",
        at=AT,
        duration_ms=212,
        severity=severity,
        verdict=verdict,
        summary=summary,
        environment="production",
        target=target,
        window_s=300,
        baseline_s=3600,
        signals=signals,
        steps=steps,
        causes=causes,
        unseen=unseen,
        notes=notes,
    )


RESTART = Next(
    command="oncall remediate restart --confirm",
    why="frees all 19; it comes back until GET /api/export is fixed",
)
KILL = Next(
    command="oncall remediate kill-queries "
    "--idle-in-transaction --older-than 60s --application bot-controller -n 14",
    why="frees the 14 without a restart",
)
SESSIONS = step(
    "sessions",
    "Connections by application and state",
    (("application", None), ("user", None), ("client", None), ("state", None), ("count", "sessions"),
     ("oldest", "seconds")),
    (("bot-controller", "deia", "10.0.3.17", "idle in transaction", 14, 512.4),
     ("bot-controller", "deia", "10.0.3.17", "idle", 5, 3.1),
     ("oncall", "oncall", "10.0.0.9", "active", 1, 0.01)),
)  # fmt: skip
IDLE = step(
    "idle_in_transaction",
    "Idle in transaction",
    (("pid", None), ("application", None), ("idle_for", "seconds"), ("wait_event", None), ("query", None)),
    tuple(
        (4240 + n, "bot-controller", 512.0 - 7 * n, "ClientRead",
         "SELECT e.id, e.payload FROM exports e JOIN bots b ON b.id = e.bot_id WHERE e.state = 'open'")
        for n in range(14)
    ),
)  # fmt: skip


def leak() -> Diagnosis:
    """A connection leak, confirmed."""
    return report(
        Severity.CRITICAL,
        Verdict.CAUSES,
        Summary(
            headline="POOL EXHAUSTED",
            cause="connection leak (confirmed): 14 of 19 connections held, "
            "Postgres sees none of them working",
            next=RESTART,
        ),
        signals=pool_signals(),
        steps=(SESSIONS, IDLE, step("locks", "Lock tree", (("pid", None),), ())),
        causes=(
            cause(
                "pool.connection_leak",
                Confidence.CONFIRMED,
                evidence(
                    "14 idle in transaction over 60 s, last query SELECT … FROM exports (usual 0)",
                    decisive=True, value=14, baseline=0,
                ),
                evidence("hold time 0.04 s → 212 s; rate unchanged (41/s, usual 43/s)"),
                evidence("no deployment in the last hour", holds=False),
                next=(RESTART, KILL),
                why="code that takes a connection and never gives it back keeps its slot for ever",
                advice=("find the path that leaves its transaction open: GET /api/export",),
            ),
            ruled_out("pool.slow_queries", "longest running query 0.2 s"),
            ruled_out("pool.too_many_requests", "rate ×0.95"),
            ruled_out("pool.lock_contention", "nobody waits for a lock"),
            cause(
                "pool.too_small",
                Confidence.UNKNOWN,
                missing=("db_connection_pool_waiting history before 02:10",),
            ),
            ruled_out("pool.server_slots_exhausted", "24 of 97 slots used"),
        ),
        unseen=(
            Unseen(
                what="worst statements",
                reason="pg_stat_statements is not installed",
                hint="CREATE EXTENSION pg_stat_statements;",
            ),
        ),
    )  # fmt: skip


def locks() -> Diagnosis:
    """Lock contention, likely, with query texts that attack the terminal and the chat."""
    kill = Next(command="oncall remediate kill-queries --pid 4711 --confirm", why="frees the 11 behind it")
    return report(
        Severity.CRITICAL,
        Verdict.CAUSES,
        Summary(
            headline="POOL EXHAUSTED",
            cause=f"lock contention (likely): 11 sessions wait behind pid 4711, {HOSTILE}",
            next=kill,
        ),
        signals=pool_signals(),
        steps=(
            step(
                "lock_tree",
                "Lock tree",
                (("pid", None), ("behind", "sessions"), ("waits", "seconds"), ("on", None), ("query", None)),
                (
                    (4711, 11, None, "orders", HOSTILE),
                    (4712, 0, 92.5, "orders", "UPDATE orders\n\tSET state = 1"),
                ),
                notes=("query text is cut at 1024 bytes by the server",),
            ),
        ),
        causes=(
            cause(
                "pool.lock_contention",
                Confidence.LIKELY,
                evidence(f"pid 4711 blocks 11: {HOSTILE}", decisive=True),
                evidence("locks were waited for before the pool filled", holds=None),
                next=(kill,),
            ),
            ruled_out("pool.connection_leak", "nothing idle in transaction"),
            ruled_out("pool.slow_queries", "what runs long waits for a lock"),
        ),
    )  # fmt: skip


def healthy() -> Diagnosis:
    """Nothing is wrong, and all of it was seen."""
    calm = tuple(
        signal(s.id, s.title, s.unit or "", s.baseline, s.baseline, (s.warning, s.critical), Severity.OK,
               history=(s.baseline,) * 16, symptom=s.symptom, of=s.of)
        for s in pool_signals()
    )  # fmt: skip
    return report(
        Severity.OK,
        Verdict.HEALTHY,
        Summary(headline="POOL HEALTHY", cause="none: 4 of 20 connections in use, nobody waits", next=None),
        signals=calm,
        steps=(SESSIONS, step("locks", "Lock tree", (("pid", None),), ())),
        causes=(
            ruled_out("pool.connection_leak", "nothing idle in transaction over 60 s"),
            ruled_out("pool.slow_queries", "longest running query 0.2 s"),
            ruled_out("pool.lock_contention", "nobody waits for a lock"),
        ),
    )


def blind() -> Diagnosis:
    """No backend could be asked: everything is unknown."""
    nothing = tuple(
        signal(s.id, s.title, s.unit or "", None, None, (s.warning, s.critical), Severity.UNKNOWN,
               reason="prometheus: connection refused at localhost:9090", age_s=None, symptom=s.symptom)
        for s in pool_signals()
    )  # fmt: skip
    return report(
        Severity.UNKNOWN,
        Verdict.INCONCLUSIVE,
        Summary(
            headline="POOL UNKNOWN",
            cause="cannot tell: neither Prometheus, /metrics nor Postgres answered",
            next=None,
            look="is this host in the right network? curl http://localhost:8000/health",
        ),
        signals=nothing,
        steps=(failed("sessions", "Connections by application and state", "postgres: connection refused"),),
        causes=tuple(
            cause(id, Confidence.UNKNOWN, missing=("postgres: connection refused", "prometheus: refused"))
            for id in TITLES
            if id.startswith("pool.")
        ),
        unseen=(
            Unseen(
                what="prometheus",
                reason="connection refused at localhost:9090",
                hint="start it, or correct services.bot-controller.prometheus.url",
            ),
            Unseen(what="redis", reason="not configured"),
        ),
        target=None,
    )


def slots() -> Diagnosis:
    """No connection slot is left: Postgres refuses the tool too."""
    reserve = Next(
        command="psql 'service=deia_admin' -c \"SELECT state, count(*) FROM pg_stat_activity GROUP BY 1\"",
        why="a superuser still gets in through superuser_reserved_connections",
    )
    return report(
        Severity.CRITICAL,
        Verdict.CAUSES,
        Summary(
            headline="NO CONNECTION SLOTS LEFT",
            cause="server slots used up (confirmed): Postgres refuses new connections with 53300",
            next=reserve,
        ),
        signals=pool_signals()[:2],
        steps=(failed("sessions", "Connections by application and state", "no connection slots left"),),
        causes=(
            cause(
                "pool.server_slots_exhausted",
                Confidence.CONFIRMED,
                evidence("Postgres refuses new connections with 53300", decisive=True),
                next=(reserve,),
                advice=("give oncall a postgres.reserve_dsn for this hour",),
            ),
            cause(
                "pool.connection_leak", Confidence.UNKNOWN, missing=("sessions: no connection slots left",)
            ),
        ),
        unseen=(
            Unseen(
                what="sessions",
                reason="no connection slots left",
                hint="GRANT pg_use_reserved_connections TO oncall;",
            ),
        ),
        notes=("read from the application's own gauges, 3 s old",),
        target="db-1/deia_prod",
    )


def two_causes() -> Diagnosis:
    """A lock and a burst of requests at once."""
    kill = Next(command="oncall remediate kill-queries --pid 4711 --confirm", why="frees the 6 behind it")
    resize = Next(command="oncall remediate resize-pool --to 40 --confirm", why="room for six times the load")
    return report(
        Severity.WARNING,
        Verdict.CAUSES,
        Summary(
            headline="POOL UNDER PRESSURE",
            cause="lock contention (confirmed) and too many requests (likely)",
            next=kill,
        ),
        signals=pool_signals(Severity.WARNING)[:4],
        causes=(
            cause(
                "pool.lock_contention",
                Confidence.CONFIRMED,
                evidence("6 sessions wait behind pid 4711, ALTER TABLE orders", decisive=True),
                evidence("only 6 of 19 wait: the lock does not explain the rest", supports=False),
                next=(kill,),
            ),
            cause(
                "pool.too_many_requests",
                Confidence.LIKELY,
                evidence("rate ×6.1 (262/s, usual 43/s) since 03:05"),
                evidence("hold time unchanged (0.04 s)"),
                next=(resize,),
            ),
            cause("pool.slow_queries", Confidence.POSSIBLE, evidence("mean query time ×1.6")),
            ruled_out("pool.connection_leak", "nothing idle in transaction"),
        ),
    )


SAMPLES: dict[str, Callable[[], Diagnosis]] = {
    "leak": leak,
    "locks": locks,
    "healthy": healthy,
    "blind": blind,
    "slots": slots,
    "two_causes": two_causes,
}
