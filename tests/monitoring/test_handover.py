"""A shift told from a real Prometheus whose history is known, a real Alertmanager, and an audit log."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from oncall.clients.prometheus import Series
from oncall.lab.servers import free_port, start_alertmanager, start_prometheus, stop
from oncall.model import Severity, Unseen
from oncall.model_acts import AuditEntry, AuditList, Who
from oncall.model_alerts import Handover
from oncall.model_service import Limits, PrometheusAt, Service
from oncall.monitoring.alerts import Look
from oncall.monitoring.escalation import policy
from oncall.monitoring.handover import complete, fired_of, handover
from oncall.runbook.loader import library, packaged_folder
from oncall.units import Size
from tests.clients.promstand import backfill
from tests.monitoring.alertstand import MANAGER, Alerting

POLICY = policy([packaged_folder()])
STEP_S, HOURS = 60, 6
OWN = 'instance="app-1:8000",job="bot"'


def history(end: int) -> Iterator[str]:
    """Six hours: memory that leaks 100 MB an hour towards 2 GB, a steady pool, and alerts that came and went."""
    times = range(end - HOURS * 3600, end + 1, STEP_S)
    shapes: dict[str, Callable[[int], float]] = {
        "process_resident_memory_bytes": lambda t: (
            1.2e9 + 1e8 * (t - times[0]) / 3600 + (t // STEP_S % 3) * 1e5
        ),
        "process_start_time_seconds": lambda t: float(end - 90_000),
        "db_connection_pool_active": lambda t: 4.0 + (t // STEP_S % 3),
        "db_connection_pool_size": lambda t: 20.0,
        "up": lambda t: 1.0,
    }
    for name, shape in shapes.items():
        yield f"# TYPE {name} gauge"
        yield from (f"{name}{{{OWN}}} {shape(t):.1f} {t}" for t in times)
    yield "# TYPE ALERTS gauge"
    spans = [
        ("HighErrorRate", "critical", OWN, [(18_000, 17_400), (9000, 8400)]),
        ("MemoryHigh", "warning", OWN, [(1800, 0)]),
        ("NodeDown", "critical", 'job="other"', [(7200, 6600)]),
    ]
    for name, severity, labels, ranges in spans:
        full = f'alertname="{name}",alertstate="firing",severity="{severity}",{labels}'
        for begin, stop_ in ranges:
            yield from (f"ALERTS{{{full}}} 1 {end - ago}" for ago in range(begin, stop_ - 1, -STEP_S))


@dataclass(frozen=True)
class Shift:
    alerting: Alerting
    end: int

    def service(self, **changes: Any) -> Service:  # noqa: ANN401  # whatever YAML can say
        return msgspec.convert(self.alerting.service(**changes), Service)


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    folder, end = tmp_path_factory.mktemp("shift"), int(time.time())
    backfill(folder, list(history(end)))
    prometheus = start_prometheus(folder, {})
    manager = start_alertmanager(folder, config=MANAGER)
    made = Alerting(prometheus, manager)
    made.fire({"alertname": "MemoryHigh", "severity": "warning", "job": "bot", "instance": "app-1:8000"})
    made.silence("MemoryHigh", hours=3)
    yield Shift(made, end)
    stop(manager)
    stop(prometheus)


def handed(service: Service, hours: float = 5, done: AuditList | Unseen | None = None) -> Handover:
    each = Look(name="bot", service=service, policy=POLICY, issue_of=lambda name: None)
    nothing = AuditList(path="/state/audit.jsonl", entries=())
    work = handover(each, library(), hours * 3600, 30, done or nothing, lambda name, state: None)
    return asyncio.run(work)


@pytest.fixture(scope="module")
def found(shift: Shift) -> Handover:
    limits = Limits(memory=Size(2e9), pool=20)
    return handed(msgspec.structs.replace(shift.service(), limits=limits))


def test_what_fired_is_told_with_how_often(found: Handover) -> None:
    assert found.fired is not None
    assert [(f.name, f.severity, f.times, f.now) for f in found.fired] == [
        ("HighErrorRate", Severity.CRITICAL, 2, False),
        ("MemoryHigh", Severity.WARNING, 1, True),
    ]
    # Without a mark that it ended, Prometheus keeps a sample for five minutes
    assert 1200 <= found.fired[0].seconds <= 1200 + 2 * 330
    assert found.fired[0].labels == {"instance": "app-1:8000"}
    assert found.fired_others == 1


def test_what_is_silenced_says_until_when(found: Handover, shift: Shift) -> None:
    assert found.silences is not None
    [silence] = found.silences
    assert (silence.by, silence.comment, silence.hits) == ("ana@jump-1", "the upgrade", ("MemoryHigh",))
    assert 10_500 < (silence.left_s or 0) <= 10_801


def test_what_leaks_says_when_it_is_at_its_limit(found: Handover) -> None:
    assert found.trending is not None
    [memory] = found.trending
    assert (memory.id, memory.limit, memory.critical) == ("memory", 2e9, 1.9e9)
    assert memory.per_hour == pytest.approx(1e8, rel=0.05)
    # 1.8 GB now, 100 MB an hour
    assert memory.critical_s == pytest.approx(3600, rel=0.2)
    assert memory.limit_s == pytest.approx(7200, rel=0.15)


def test_the_summary_is_one_sentence(found: Handover) -> None:
    assert found.summary.startswith(
        "1 warning firing (1 silenced); 2 alerts fired; 1 silence in force; memory reaches its limit in 1 h 5"
    ) or found.summary.startswith(
        "1 warning firing (1 silenced); 2 alerts fired; 1 silence in force; memory reaches its limit in 2 h"
    )
    assert complete(found)
    assert found.notes == ()


def test_what_was_done_comes_in_from_the_audit_log(shift: Shift) -> None:
    who = Who(user="ana", uid=1000, host="jump-1")
    at = datetime.now(UTC) - timedelta(hours=1)
    entry = AuditEntry(
        number=7, kind="intent", at=at, who=who, service="bot", environment="production", action="restart"
    )
    told = handed(shift.service(), done=AuditList(path="x", entries=(entry,), open=(7,), total=7))
    assert told.done is not None
    assert told.done.entries == (entry,)
    assert "1 action taken" in told.summary


def test_a_prometheus_younger_than_the_shift_is_said(shift: Shift) -> None:
    told = handed(shift.service(), hours=24)
    assert any("the history begins at" in note for note in told.notes)


def test_a_service_without_history_has_no_made_up_zero(shift: Shift) -> None:
    nobody = {"url": shift.alerting.prometheus.url, "selector": {"job": "nobody"}}
    told = handed(shift.service(prometheus=nobody))
    assert (told.fired, told.trending) == ((), None)
    assert [(u.what, u.reason) for u in told.unseen] == [
        ("what is trending", "no signal of this service has a history")
    ]
    assert not complete(told)


def test_a_prometheus_that_has_nothing_of_the_shift_is_no_quiet_night(tmp_path: Path) -> None:
    server = start_prometheus(tmp_path, {}, "1h")
    try:
        told = handed(Service(prometheus=PrometheusAt(url=server.url)))
    finally:
        stop(server)
    assert (told.fired, told.fired_others, told.trending) == (None, None, None)
    assert "fired" not in told.summary
    assert ("what fired", "Prometheus has no sample of the shift") in {
        (u.what, u.reason) for u in told.unseen
    }
    assert not complete(told)


def test_a_dead_server_is_a_gap_and_the_rest_is_told(shift: Shift) -> None:
    away = {"url": f"http://127.0.0.1:{free_port()}"}
    without = handed(shift.service(prometheus=away))
    assert (without.fired, without.trending) == (None, None)
    assert without.silences is not None
    assert not complete(without)
    deaf = handed(shift.service(alertmanager=away))
    assert deaf.silences is None
    assert deaf.fired is not None
    assert not complete(deaf)
    torn = handed(shift.service(), done=Unseen(what="audit log", reason="line 3 is no entry"))
    assert torn.done is None
    assert not complete(torn)
    neither = handed(Service())
    assert not complete(neither)


def test_a_gap_of_more_than_a_step_is_an_end() -> None:
    each = Look(name="bot", service=Service(), policy=POLICY, issue_of=lambda name: None)
    times = (0.0, 60.0, 120.0, 600.0, 660.0)
    labels = {"alertname": "A", "alertstate": "firing", "severity": "warning"}
    course = [Series(labels=labels, times=times, values=(1.0,) * 5)]
    [one] = fired_of(course, each, 3600.0, 60.0, set())
    assert (one.times, one.seconds, one.now) == (2, 300.0, False)
    # Its last point may be a step old, and of two weeks a step is 14 minutes: the present alone tells.
    [ended] = fired_of(course, each, 660.0, 60.0, set())
    assert not ended.now
    [firing] = fired_of(course, each, 660.0, 60.0, {frozenset(labels.items())})
    assert firing.now
