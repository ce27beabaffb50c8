"""A growth within the hour is no leak where the same process was as high in the day before: a real Prometheus."""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

import pytest

from oncall.diagnosis.engine import Ask
from oncall.diagnosis.run import judged, look, planned
from oncall.lab.servers import start_prometheus, stop
from oncall.model import Confidence, Diagnosis, Severity
from oncall.model_service import Limits, PrometheusAt, Service, SignalSpec
from oncall.runbook.loader import library
from oncall.units import Size
from tests.clients.promstand import KEEP, backfill

SCRAPE_S = 30
LONG_S = 27 * 3600
HOUR, DAY, MB = 3600, 86_400, 1e6
BOOKS = library()

Life = Callable[[int], tuple[float, float]]
"""By the seconds ago: the process's memory in MB, and how many seconds ago it was started."""


def saw(ago: int) -> float:
    """Collected every three hours; 20 minutes of a tooth are to come."""
    return 600 + 600 * ((-ago - 1200) % (3 * HOUR)) / (3 * HOUR)


def nightly(ago: int) -> float:
    """A job of each night takes 600 MB within 50 minutes, and gives them back after 75. It began 35 minutes ago."""
    since = (35 * 60 - ago) % DAY
    return 600 + (600 * min(since / 3000, 1) if since < 4500 else 0)


LIVES: dict[str, Life] = {
    "saw": lambda ago: (saw(ago), 10 * DAY),
    "nightly": lambda ago: (nightly(ago), 10 * DAY),
    "young_leak": lambda ago: (600 + 400 * max(0, 1 - ago / 3000), 10 * DAY),
    "old_leak": lambda ago: (300 + 90 * max(0, 12 - ago / HOUR), 10 * DAY),
    # Ended by the kernel every five hours: 320 MB an hour, and the last one is two hours old
    "killed": lambda ago: (
        300 + 320 * ((2 * HOUR - ago) % (5 * HOUR)) / HOUR,
        2 * HOUR + 5 * HOUR * max(0, -((2 * HOUR - ago) // (5 * HOUR))),
    ),
    # Beside one that had 1.2 GB in the day and gave it back
    "other": lambda ago: (500 + 400 * max(0, 1 - ago / 3000), 3 * HOUR),
}
# Since six hours its feet rise by 150 MB an hour, under teeth of ten minutes
LIVES["teeth"] = lambda ago: (
    300 + 150 * max(0, 6 - ago / HOUR) + 600 * (-ago % 600) / 600,
    10 * DAY,
)
OTHERS: dict[str, Life] = {"other": lambda ago: (1200 if 3 * HOUR < ago < 6 * HOUR else 500, 10 * DAY)}
"""Each at 38 requests a second, with caches, queues and sockets that stay as they are."""


def lines(end: int) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    for instance, job, life in (
        *(("a:1", *p) for p in LIVES.items()),
        *(("b:1", *p) for p in OTHERS.items()),
    ):
        labels = f'job="{job}",instance="{instance}"'
        for ago in range(LONG_S, -1, -SCRAPE_S):
            memory, started = life(ago)
            for name, value in (
                ("process_resident_memory_bytes", (memory + (ago // SCRAPE_S * 7919 % 11 - 5)) * MB),
                ("process_start_time_seconds", end - started),
                ("http_requests_total", (LONG_S - ago) * 38),
                ("cache_entries", 40_000 + ago // SCRAPE_S * 31 % 7),
                ("message_queue_depth", 7 + ago // SCRAPE_S * 31 % 3),
                ("process_open_fds", 42),
                ("db_connection_pool_active", 2),
                ("db_connection_pool_size", 20),
                ("db_connection_pool_waiting", 0),
            ):
                more = ',status="200",endpoint="/"' if name == "http_requests_total" else ""
                found.setdefault(name, []).append(f"{name}{{{labels}{more}}} {value} {end - ago}")
    for rows in found.values():
        yield from rows


Own: TypeAlias = dict[str, SignalSpec]


class Asked(Protocol):
    def __call__(
        self, job: str, baseline_s: float = HOUR, *, ago: int = 0, own: Own | None = None
    ) -> Diagnosis: ...


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder, end = tmp_path_factory.mktemp("day"), int(time.time()) - DAY
    backfill(folder, list(lines(end)))
    server = start_prometheus(folder, {}, keep=KEEP)

    def diagnosed(job: str, baseline_s: float = HOUR, *, ago: int = 0, own: Own | None = None) -> Diagnosis:
        at = PrometheusAt(url=server.url, selector={"job": job})
        service = Service(prometheus=at, limits=Limits(memory=Size(2000 * MB)), signals=own or {})
        asking = planned(service, BOOKS, ["memory"])
        when = Ask(at=datetime.fromtimestamp(end - ago, UTC), baseline_s=baseline_s, timeout_s=20)
        found, took = asyncio.run(look(asking, service, when, lambda *_: None))
        (report,) = judged("bot", service, asking, found, took)
        return report

    try:
        yield diagnosed
    finally:
        stop(server)


def sure(report: Diagnosis) -> list[str]:
    return [c.id for c in report.causes if c.confidence in (Confidence.CONFIRMED, Confidence.LIKELY)]


@pytest.mark.parametrize("job", ["saw", "nightly"])
@pytest.mark.parametrize("baseline_s", [1800, 3600, 2 * HOUR])
def test_what_comes_and_goes_is_no_leak(ask: Asked, job: str, baseline_s: float) -> None:
    report = ask(job, baseline_s)
    assert report.severity is Severity.OK, report.summary
    assert not sure(report)


def test_the_reason_is_told(ask: Asked) -> None:
    left = next(s for s in ask("saw", 3600).signals if s.id == "memory_left")
    assert left.reason == "does not apply: the same process was as high in the day before, and came back"


@pytest.mark.parametrize("job", ["young_leak", "old_leak", "killed", "other"])
@pytest.mark.parametrize("baseline_s", [1800, 3600, 2 * HOUR])
def test_a_leak_stays_one(ask: Asked, job: str, baseline_s: float) -> None:
    """Also one that has lasted for half a day, and one whose process before had more, until it was ended;
    and one beside another that gives back."""
    report = ask(job, baseline_s)
    left = next(s for s in report.signals if s.id == "memory_left")
    assert left.severity in (Severity.WARNING, Severity.CRITICAL), left
    assert report.severity is not Severity.OK


@pytest.mark.parametrize("ago", range(0, 600, 90))
def test_a_leak_under_teeth_is_never_said_to_come_back(ask: Asked, ago: int) -> None:
    """Also where now is a foot, below the tops of the day before."""
    report = ask("teeth", 3 * HOUR, ago=ago)
    left = next(s for s in report.signals if s.id == "memory_left")
    assert "came back" not in (left.reason or "")


def test_of_less_than_half_a_day_nothing_is_said(ask: Asked) -> None:
    """What was high then may have been a start."""
    report = ask("saw", ago=LONG_S - 11 * HOUR)
    assert "memory_above_day" not in {s.id for s in report.signals}


def test_a_team_that_means_another_memory_is_not_told_of_ours(ask: Asked) -> None:
    own = {"memory": SignalSpec(promql='max(process_resident_memory_bytes{job="saw"})', unit="bytes")}
    assert "memory_above_day" in {s.id for s in ask("saw").signals}
    assert "memory_above_day" not in {s.id for s in ask("saw", own=own).signals}
