"""Dashboards made up for the golden pages: one of every kind of panel, well, ill and empty."""

import math
from datetime import UTC, datetime

from oncall.model import Column, Severity, Table
from oncall.model_boards import Aside, Bar, Board, Kind, Line, Panel

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)
POINTS = 121
OK, WARNING, CRITICAL, UNKNOWN = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN


def course(low: float, high: float, gap: range = range(0)) -> tuple[float | None, ...]:
    """A rise in the last fifth, and points that are not known."""
    values = [
        low + (high - low) * max(0.0, (at - 96) / 24) * (1 + 0.1 * math.sin(at)) for at in range(POINTS)
    ]
    return tuple(None if at in gap else value for at, value in enumerate(values))


def panel(name: str, title: str, kind: Kind, severity: Severity, **given: object) -> Panel:
    judged = given.get("warning") is not None or given.get("critical") is not None
    fields = {"judged": judged, "source": "prometheus", "age_s": 4.0, **given}
    return Panel(id=name, title=title, kind=kind, severity=severity, **fields)  # type: ignore[arg-type]


def alone(values: tuple[float | None, ...]) -> tuple[Line, ...]:
    return (Line(name="", values=values),)


def board(name: str, title: str, severity: Severity, *panels: Panel, notes: tuple[str, ...] = ()) -> Board:
    return Board(
        service="bot-controller",
        environment="production",
        dashboard=name,
        title=title,
        at=AT,
        duration_ms=83,
        severity=severity,
        range_s=3600.0,
        step_s=30.0,
        panels=panels,
        notes=notes,
    )


def overview() -> Board:
    """The night of an exhausted pool."""
    up = (*[1.0] * 90, None, None, *[0.0] * 5, *[1.0] * 24)
    return board(
        "overview",
        "System overview",
        CRITICAL,
        panel(
            "uptime",
            "Uptime",
            "state",
            OK,
            value=1.0,
            warning=1.0,
            critical=0.5,
            below=True,
            unit="ratio",
            lines=alone(up),
        ),
        panel(
            "latency_p95",
            "P95 response time",
            "gauge",
            CRITICAL,
            value=4.2,
            unit="seconds",
            warning=0.5,
            critical=2.0,
            lines=alone(course(0.18, 4.2)),
            bands_note="The document's dashboard: safe below 500 ms. Its alerts page later, at 1 s and 4 s.",
        ),
        panel(
            "error_ratio",
            "Error rate",
            "series",
            WARNING,
            value=0.032,
            unit="ratio",
            warning=0.01,
            critical=0.05,
            lines=(Line(name="failing", values=course(0.001, 0.032), now=0.032),),
            asides=(Aside(name="errors per minute", value=78.0, unit="errors"),),
        ),
        panel(
            "in_flight",
            "Active requests",
            "gauge",
            OK,
            value=31.0,
            unit="requests",
            lines=alone(course(4, 31, range(40, 55))),
        ),
        panel(
            "pool",
            "Database connections",
            "gauge",
            CRITICAL,
            value=19.0,
            of=20.0,
            unit="connections",
            warning=10.0,
            critical=16.0,
            lines=alone(course(4, 18)),
        ),
        panel(
            "memory",
            "Memory",
            "gauge",
            UNKNOWN,
            unit="bytes",
            warning=1.2e9,
            critical=1.6e9,
            reason='no data for process_resident_memory_bytes{job="bot-controller"}',
            hint="does the service export it, does the selector fit?",
            age_s=None,
        ),
    )


def requests() -> Board:
    ends = ("P50", 0.05, 0.09), ("P95", 0.18, 4.2), ("P99", 0.4, 7.5)
    return board(
        "requests",
        "Request metrics",
        OK,
        panel(
            "request_rate",
            "Request rate",
            "series",
            OK,
            value=41.0,
            unit="per_second",
            lines=(Line(name="requests", values=course(43, 41), now=41.0),),
        ),
        panel(
            "latency",
            "Response time",
            "series",
            OK,
            value=0.09,
            unit="seconds",
            lines=tuple(Line(name=name, values=course(low, high), now=high) for name, low, high in ends),
        ),
        panel(
            "request_size",
            "Request size",
            "gauge",
            OK,
            value=2100.0,
            unit="bytes",
            lines=alone(course(2000, 2100)),
        ),
        panel(
            "response_size",
            "Response size",
            "gauge",
            OK,
            value=31_000.0,
            unit="bytes",
            lines=alone(course(31_000, 31_000)),
        ),
        panel(
            "slow_endpoints",
            "Slowest endpoints (P95)",
            "bars",
            OK,
            unit="seconds",
            bars=tuple(
                Bar(name=n, value=v, severity=s)
                for n, v, s in (
                    ("/api/export", 9.5, CRITICAL),
                    ("/api/bots/{id}/conversations/{conversation}/messages", 1.2, WARNING),
                    *((f"/api/part/{at}", 0.4 - at / 50, OK) for at in range(9)),
                )
            ),
        ),
        panel(
            "failing_endpoints",
            "Error rate by endpoint",
            "bars",
            OK,
            unit="ratio",
            notes=("no endpoint answers with errors",),
        ),
    )


def database() -> Board:
    ends = ("P50", 0.002, 0.003), ("P95", 0.02, 0.9), ("P99", 0.1, 2.1)
    names = ("calls", None), ("mean_ms", "ms"), ("total_ms", "ms"), ("query", None)
    table = Table(
        columns=tuple(Column(name=name, unit=unit) for name, unit in names),
        rows=(
            (
                812,
                2140.5,
                1_738_086.0,
                "SELECT m.* FROM messages m JOIN exports e ON e.id = m.export_id WHERE m.body ~ $1",
            ),
            (3, 41_000.0, 123_000.0, "DELETE FROM conversations WHERE updated_at < $1"),
            (
                57,
                1100.0,
                62_700.0,
                "UPDATE exports SET state = $1 WHERE id IN (SELECT id FROM exports WHERE state = $2)",
            ),
        ),
    )
    return board(
        "database",
        "Database performance",
        UNKNOWN,
        panel(
            "query_time",
            "Query time",
            "series",
            OK,
            value=0.003,
            unit="seconds",
            lines=tuple(Line(name=name, values=course(low, high), now=high) for name, low, high in ends),
        ),
        panel(
            "pool",
            "Connection pool",
            "gauge",
            UNKNOWN,
            unit="connections",
            warning=10.0,
            critical=16.0,
            reason="stale: the newest sample is 412 s old",
            hint="is the target still scraped?",
            age_s=412.0,
            lines=alone(course(4, 18, range(80, POINTS))),
        ),
        panel("slow_queries", "Slow queries", "table", OK, table=table, source="postgres", age_s=0.0),
        panel(
            "size",
            "Database size",
            "gauge",
            OK,
            value=5.2e9,
            unit="bytes",
            source="postgres",
            age_s=0.0,
            lines=alone(course(5.1e9, 5.2e9)),
        ),
        panel(
            "cache_hit",
            "Cache hit ratio",
            "gauge",
            OK,
            value=0.993,
            unit="ratio",
            source="postgres",
            age_s=0.0,
            notes=("since its statistics were reset",),
        ),
        panel(
            "transactions",
            "Transaction rate",
            "series",
            OK,
            value=120.0,
            unit="per_second",
            lines=(Line(name="transactions", values=(), now=120.0),),
        ),
        notes=(
            "Prometheus could not be read (prometheus:9090: connection refused): "
            "the numbers are from the service's own /metrics, without their past",
        ),
    )


def operations() -> Board:
    return board(
        "operations",
        "Operational metrics",
        WARNING,
        panel(
            "cpu",
            "CPU",
            "gauge",
            WARNING,
            value=0.752,
            unit="ratio",
            warning=0.7,
            lines=alone(course(0.3, 0.75)),
        ),
        panel(
            "memory",
            "Memory",
            "gauge",
            OK,
            value=1.3e9,
            of=2e9,
            unit="bytes",
            warning=1.5e9,
            lines=alone(course(1.1e9, 1.3e9)),
        ),
        panel(
            "disk",
            "Disk space free",
            "gauge",
            WARNING,
            value=1.4e10,
            unit="bytes",
            warning=2e10,
            critical=5e9,
            below=True,
            lines=alone(course(1.6e10, 1.4e10)),
        ),
        panel(
            "network",
            "Network",
            "series",
            OK,
            value=3e5,
            unit="bytes_per_second",
            lines=(
                Line(name="in", values=course(3e5, 4e5), now=3.3e5),
                Line(name="out", values=course(1e6, 2e6), now=2e6),
            ),
        ),
        panel("bots", "Active bots", "gauge", OK, value=12.0, unit="bots", lines=alone((12.0,) * POINTS)),
        panel(
            "uptime",
            "Time since restart",
            "counter",
            OK,
            value=1_209_600.0,
            unit="seconds",
            notes=("0 restarts within 1 h",),
        ),
    )


BOARDS = {"overview": overview, "requests": requests, "database": database, "operations": operations}
