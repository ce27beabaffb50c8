"""The bounds of the shipped checks: given rows of a database and of a cache, the verdict of each line. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from oncall.checks.formulas import from_value
from oncall.checks.loader import check
from oncall.checks.scene import Scene
from oncall.diagnosis.readings import Facts, Readings
from oncall.model import Absence, Column, Severity, StepReading, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import Service
from oncall.runbook.loader import library

BOOKS = library()
DAY_S = 86_400
MB = 1_000_000
Rows = Sequence[Mapping[str, Any]]


def table(rows: Rows) -> Table:
    names = list(rows[0]) if rows else []
    return Table(
        columns=tuple(Column(name=name) for name in names),
        rows=tuple(tuple(row[name] for name in names) for row in rows),
    )


def line(name: str, which: str = "monthly", **steps: Rows | Unavailable) -> CheckLine:
    return line_of(name, which, steps)


def line_of(name: str, which: str, steps: Mapping[str, Rows | Unavailable]) -> CheckLine:
    """A line of a check as shipped, of these answers; no other step has any."""
    what = check(which, BOOKS)
    readings = {
        step: StepReading(
            source="redis" if step == "redis" else "postgres",
            query="q",
            answer=answer if isinstance(answer, Unavailable) else table(answer),
        )
        for step, answer in steps.items()
    }
    found = Readings(at=0, window_s=300, baseline_s=3600, signals={}, live={}, steps=readings)
    service = Service()
    scene = Scene(name="bot", service=service, check=what, books=BOOKS, now=0, deadline_s=20)
    return from_value(scene, name, what.lines[name], Facts(what.book, service, found))


def cache(**row: float | None) -> Rows:
    usual = {
        "memory": 500 * MB, "memory_rss": 600 * MB, "memory_host": 8000 * MB, "memory_ratio": None,
        "fragmentation": 1.1, "evicted": 0, "expired": 0, "evicted_share": None, "hit_share": 0.9,
        "uptime_s": 9 * DAY_S,
    }  # fmt: skip
    assert set(row) <= set(usual)
    return [{**usual, **row}]


# --- the cache ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "ratio", "value", "severity"),
    [
        (500 * MB, 1.4, 1.4, "ok"), (500 * MB, 1.6, 1.6, "warning"), (500 * MB, 2.6, 2.6, "critical"),
        (100 * MB, 2.6, 2.6, "critical"),
        # Of less than 100 MB the pages of the program itself are most of it
        (99 * MB, 9.0, 1.0, "ok"), (99 * MB, 0.8, 0.8, "ok"),
    ],
)  # fmt: skip
def test_fragmentation(memory: float, ratio: float, value: float, severity: str) -> None:
    found = line("cache_fragmentation", redis=cache(memory=memory, fragmentation=ratio))
    assert (found.value, found.severity) == (value, severity)
    assert (found.text or "").startswith(f"{ratio:g}, ")
    assert (found.source, found.target) == ("redis", "at most 1.5")


@pytest.mark.parametrize(
    ("share", "evicted", "value", "severity"),
    [
        (None, 0, 0, "ok"), (0.0, 0, 0.0, "ok"), (0.09, 9, 0.09, "ok"),
        (0.11, 11, 0.11, "warning"), (1.0, 7, 1.0, "warning"),
    ],
)  # fmt: skip
def test_evictions(share: float | None, evicted: int, value: float, severity: str) -> None:
    found = line("cache_evicted", redis=cache(evicted_share=share, evicted=evicted, expired=100 - evicted))
    assert (found.value, found.severity) == (value, severity)
    assert found.text == f"{evicted} evicted, {100 - evicted} expired, in 9 d"


@pytest.mark.parametrize(("share", "severity"), [(0.51, "ok"), (0.49, "warning")])
def test_hits(share: float, severity: str) -> None:
    assert line("cache_hits", redis=cache(hit_share=share)).severity == severity
    untold = line("cache_hits", redis=cache(hit_share=None))
    assert (untold.severity, untold.counts) == (Severity.UNKNOWN, False)


@pytest.mark.parametrize("which", ["weekly", "monthly"])
@pytest.mark.parametrize(("used", "severity"), [(0.79, "ok"), (0.81, "warning"), (0.96, "critical")])
def test_memory_of_the_cache(which: str, used: float, severity: str) -> None:
    assert line("cache_memory", which, redis=cache(memory_ratio=used)).severity == severity
    # Without a limit of its own it may take all of the machine.
    assert line("cache_memory", which, redis=cache(memory=8000 * MB * used)).severity == severity


# --- the database ------------------------------------------------------------------------------------


def indexes(count: int, found: int | None = None) -> Rows:
    return [{"index": f"public.i{n}", "found": found or count} for n in range(count)]


@pytest.mark.parametrize(
    ("rows", "days", "value", "severity"),
    [
        (indexes(3), 31, 3, "warning"), (indexes(1), 30, 1, "warning"), (indexes(0), 31, 0, "ok"),
        # No more than twenty are shown, and all are counted
        (indexes(20, found=45), 31, 45, "warning"),
        # A job of a month's end has not run yet
        (indexes(3), 29.9, 0, "ok"),
    ],
)  # fmt: skip
def test_unused_indexes(rows: Rows, days: float, value: float, severity: str) -> None:
    age = [{"since_s": days * DAY_S, "in_recovery": False, "standbys": 0}]
    found = line("unused", unused_indexes=rows, statistics_age=age)
    assert (found.value, found.severity, found.target) == (value, severity, "none")
    count = rows[0]["found"] if rows else 0
    assert (found.text or "").startswith(f"{count} without use in ")
    assert (found.text or "").endswith(" of statistics (judged from 30 d on)")
    assert (found.detail is not None) is bool(rows)


def test_missing_indexes() -> None:
    assert line("missing", missing_indexes=[]).severity is Severity.OK
    rows = [
        {"table": "public.orders", "reason": "no index is ever used"},
        {"table": "public.b", "reason": "r"},
    ]
    found = line("missing", missing_indexes=rows)
    assert (found.severity, found.value) == (Severity.WARNING, 2)
    assert found.text == "public.orders: no index is ever used"


@pytest.mark.parametrize(
    ("name", "column", "value", "severity"),
    [
        ("wraparound", "worst_ratio", 0.34, "ok"), ("wraparound", "worst_ratio", 0.36, "warning"),
        ("wraparound", "worst_ratio", 0.51, "critical"),
        ("freezing", "behind", 1.24, "ok"), ("freezing", "behind", 1.26, "warning"),
        ("freezing", "behind", 9.0, "warning"),
    ],
)  # fmt: skip
def test_wraparound(name: str, column: str, value: float, severity: str) -> None:
    rows = [{"database": "bot", "worst_ratio": 0.1, "behind": 0.5, column: value}]
    found = line(name, wraparound=rows)
    assert (found.value, found.severity) == (value, severity)


def test_dead_rows() -> None:
    primary, replica = ([{"since_s": 1, "in_recovery": there}] for there in (False, True))
    assert line("dead", dead_rows=[], statistics_age=primary).severity is Severity.OK
    rows = [{"table": "public.jobs", "dead": 90_000, "reason": "autovacuum is switched off for it"}]
    found = line("dead", dead_rows=rows, statistics_age=primary)
    assert (found.severity, found.value) == (Severity.WARNING, 1)
    assert (found.text or "").startswith("public.jobs: 90")
    assert (found.text or "").endswith(" dead, autovacuum is switched off for it")
    beside = line("dead", dead_rows=rows, statistics_age=replica)
    assert (beside.severity, beside.counts) == (Severity.UNKNOWN, False)


@pytest.mark.parametrize(
    ("used", "unreadable", "severity"),
    [
        (0.49, 0, "ok"), (0.51, 0, "warning"), (0.81, 0, "critical"),
        # What is seen to be full decides, whatever is hidden
        (0.49, 1, "unknown"), (0.51, 1, "warning"), (0.81, 1, "critical"),
    ],
)  # fmt: skip
def test_sequences(used: float, unreadable: int, severity: str) -> None:
    rows = [{"sequence": "public.s", "used_ratio": used, "unreadable": unreadable}]
    assert line("sequence", sequences=rows).severity == severity


@pytest.mark.parametrize(("mean_ms", "severity"), [(999.0, "ok"), (1001.0, "warning")])
def test_slow_statements(mean_ms: float, severity: str) -> None:
    found = line("slowest", statements=[{"mean_ms": mean_ms, "query": "SELECT 1"}])
    assert (found.value, found.severity, found.unit) == (mean_ms, severity, "ms")


@pytest.mark.parametrize(("used", "severity"), [(0.69, "ok"), (0.71, "warning"), (0.91, "critical")])
def test_slots(used: float, severity: str) -> None:
    found = line("server_slots", "weekly", slots=[{"used_ratio": used, "used": used * 100, "available": 100}])
    assert found.severity == severity


def test_what_cannot_be_read_is_not_well() -> None:
    why = Unavailable(kind=Absence.DOWN, reason="connection refused")
    for name, step in (
        ("wraparound", "wraparound"),
        ("missing", "missing_indexes"),
        ("cache_evicted", "redis"),
    ):
        found = line_of(name, "monthly", {step: why})
        assert (found.severity, found.value, found.counts) == (Severity.UNKNOWN, None, True)
        assert "connection refused" in (found.reason or "")
