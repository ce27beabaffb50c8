"""Statuses as a service might have them at night."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from oncall.model import Next, Severity, SignalReport, Unseen
from oncall.model_status import (
    AlertCount,
    Concern,
    Endpoint,
    Firing,
    HealthOfAll,
    HealthReport,
    LastAction,
    State,
    StatusOfAll,
    StatusReport,
)

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)
OK, WARNING, CRITICAL, UNKNOWN = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN


def signal(
    name: str,
    title: str,
    unit: str,
    value: float | None,
    usual: float,
    bounds: tuple[float | None, float | None] = (None, None),
    severity: Severity = OK,
    **more: object,
) -> SignalReport:
    """With a history of the usual value that ends in the present one."""
    history = (*[usual] * 50, *[usual if value is None else value] * 10)
    found = SignalReport(
        id=name,
        title=title,
        value=value,
        unit=unit,
        baseline=usual,
        warning=bounds[0],
        critical=bounds[1],
        severity=severity,
        source="prometheus",
        query="sum(x)",
        age_s=4.0,
        reason=None,
        history=history,
        symptom=True,
    )
    return replace(found, **more)


def endpoint(path: str, state: State, severity: Severity, text: str, *, failures: int = 0) -> Endpoint:
    return Endpoint(
        path=path,
        state=state,
        severity=severity,
        critical=path != "/health/cache",
        text=text,
        looks=2 if failures else 1,
        failures=failures,
        status=200 if state == "healthy" else None,
        ms=12.4 if state == "healthy" else None,
        timeout_s=3.0 if path == "/health/cache" else 5.0,
        shape=("has no tables_accessible",) if path == "/health/db" and state == "healthy" else (),
    )


def health(
    *endpoints: Endpoint, severity: Severity, summary: str, service: str = "bot-controller"
) -> HealthReport:
    ill = severity in (WARNING, CRITICAL)
    return HealthReport(
        service=service,
        environment="production",
        at=AT,
        duration_ms=1042,
        severity=severity,
        summary=summary,
        endpoints=endpoints,
        next=Next(command=f"oncall diagnose errors -s {service}", why="says why") if ill else None,
    )


WELL = health(
    endpoint("/health", "healthy", OK, "healthy: version=1.0.0 uptime=12:34:56"),
    endpoint("/health/db", "healthy", OK, "connected: database=deia_prod latency_ms=8"),
    endpoint("/health/cache", "healthy", OK, "healthy: provider=redis latency_ms=2"),
    severity=OK,
    summary="3 of 3 healthy",
)
ILL = health(
    endpoint("/health/db", "down", CRITICAL, "timeout: app-1:8000 did not end within 5 s", failures=2),
    endpoint("/health/cache", "failed_once", WARNING, "unhealthy: 503; 1 s later: healthy", failures=1),
    endpoint("/health", "healthy", OK, "healthy: version=1.0.0 uptime=12:34:56"),
    severity=CRITICAL,
    summary="1 of 3 healthy: /health/db down, /health/cache failed once",
)  # fmt: skip
CALM = (
    signal("request_rate", "Requests", "per_second", 41.0, 43.0),
    signal("error_ratio", "Error ratio", "ratio", 0.001, 0.001, (0.01, 0.05)),
    signal("latency_p95", "P95 latency", "seconds", 0.18, 0.18, (1.0, 4.0)),
    signal("pool_active", "Pool in use", "connections", 4.0, 4.0, (10.0, 16.0), of=20.0),
    signal("memory", "Memory", "bytes", 4e8, 4e8, (1.6e9, 1.9e9)),
    signal("cpu", "CPU", "cores", 0.2, 0.2),
)
DONE = (
    LastAction(number=14, at=AT - timedelta(minutes=62), service="bot-controller", action="restart",
               by="ana@jump-1", outcome="done, fixed", severity=OK),
    LastAction(number=12, at=AT - timedelta(days=2), service="bot-controller", action="flush-cache",
               by="ben@jump-1", outcome="refused", severity=WARNING),
)  # fmt: skip


def calm() -> StatusReport:
    return StatusReport(
        service="bot-controller",
        environment="production",
        at=AT,
        duration_ms=212,
        severity=OK,
        summary="all well",
        concerns=(),
        next=None,
        health=WELL,
        signals=CALM,
        alerts=AlertCount(severity=OK, summary="nothing fires"),
        baseline_s=3600.0,
    )


def bad() -> StatusReport:
    """A full pool, with everything that comes of it."""
    pool = signal("pool_active", "Pool in use", "connections", 19.0, 4.0, (10.0, 16.0), CRITICAL, of=20.0)
    memory = signal(
        "memory",
        "Memory",
        "bytes",
        None,
        4e8,
        severity=UNKNOWN,
        reason="stale: the newest sample is 3 min old",
    )
    return replace(
        calm(),
        severity=CRITICAL,
        summary="pool in use 19/20, critical above 16; and 2 more",
        concerns=(
            Concern(severity=CRITICAL, kind="signal", id="pool_active", text="pool in use 19/20, critical above 16"),
            Concern(severity=CRITICAL, kind="health", id="/health/db", text="/health/db down: timeout"),
            Concern(severity=CRITICAL, kind="alert", id="HighPool", text="1 critical firing: HighPool"),
        ),
        next=Next(command="oncall diagnose pool -s bot-controller", why="pool in use 19/20, critical above 16"),
        health=ILL,
        signals=(*CALM[:3], pool, memory, CALM[5]),
        alerts=AlertCount(
            severity=CRITICAL,
            summary="1 critical, 3 warning firing (1 silenced), 1 pending",
            critical=1,
            warning=3,
            pending=1,
            worst=(
                Firing(name="HighPool", severity=CRITICAL),
                Firing(name="HighResponseTime", severity=WARNING, count=2),
                Firing(name="HighMemory", severity=WARNING, silenced=True),
            ),
        ),
        actions=DONE,
        unseen=(Unseen(what="Memory", reason="stale: the newest sample is 3 min old", hint="is it scraped?"),),
        notes=("history begins 12 min before the window, not 1 h",),
    )  # fmt: skip


def blind() -> StatusReport:
    """Prometheus does not answer."""
    gone = "connection refused at prom-1:9090"
    lost = tuple(
        replace(s, value=None, baseline=None, history=(), severity=UNKNOWN, reason=gone) for s in CALM
    )
    return replace(
        calm(),
        severity=UNKNOWN,
        summary=f"prometheus: {gone}",
        next=Next(
            command="oncall config check -s bot-controller", why="says what cannot be reached, and why"
        ),
        signals=lost,
        alerts=AlertCount(severity=UNKNOWN, summary="alerts unknown"),
        actions=None,
        unseen=(Unseen(what="prometheus", reason=gone, hint="is it running, and is this its port?"),),
    )


def everyone() -> StatusOfAll:
    """Five services, worst first."""
    services = (
        bad(),
        replace(
            calm(),
            service="a-service-with-quite-a-long-name",
            environment="staging-europe-west",
            severity=WARNING,
            summary="/health/cache down: unhealthy: 503 Service Unavailable",
            alerts=AlertCount(severity=WARNING, summary="2 warning firing", warning=2),
        ),
        replace(blind(), service="mail"),
        replace(calm(), service="chat", alerts=AlertCount(severity=OK, summary="nothing fires")),
        replace(calm(), service="web", environment="staging"),
    )
    return StatusOfAll(
        at=AT,
        duration_ms=730,
        severity=CRITICAL,
        summary="3 of 5 services not well: 1 critical, 1 warning, 1 unknown",
        services=services,
        actions=DONE,
        next=bad().next,
    )


def health_of_everyone() -> HealthOfAll:
    return HealthOfAll(
        at=AT,
        duration_ms=2100,
        severity=CRITICAL,
        summary="1 of 2 services not well: 1 critical",
        services=(ILL, replace(WELL, service="chat")),
    )


STATUSES = {"calm": calm, "bad": bad, "blind": blind}
