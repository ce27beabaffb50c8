"""One screen from a real Prometheus: what is bad, what is not known, which diagnosis; the same for many at once."""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from oncall.lab.process import free_port
from oncall.lab.servers import Server
from oncall.model import Absence, Severity, Unavailable
from oncall.model_alerts import AlertsReport
from oncall.model_service import HttpBackend, Limits, PrometheusAt, Service, SignalSpec, Threshold
from oncall.model_status import LastAction, StatusOfAll, StatusReport
from oncall.monitoring.alerts import Look, issues_of
from oncall.monitoring.escalation import policy
from oncall.monitoring.golden import Measured, Read, wanted
from oncall.monitoring.golden_judge import decides, reports
from oncall.monitoring.status import How, look
from oncall.monitoring.status_report import Issues, Seen, Subject, report
from oncall.runbook.loader import library
from oncall.units import Size
from tests.clients.webstand import Answer, Asked, Stand, reply
from tests.monitoring.alertstand import rule, ruled
from tests.monitoring.counting import asked_between, requests_of
from tests.monitoring.fleetstand import STORIES, Story, fleet, healthy

PATIENT = 60.0


@pytest.fixture(scope="module")
def prom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with fleet(tmp_path_factory.mktemp("fleet"), STORIES) as started:
        yield started


def service(prometheus: str, job: str, **changes: Any) -> Service:  # noqa: ANN401  # fields of Service
    at = PrometheusAt(url=prometheus, selector={"job": job})
    return replace(Service(prometheus=at, limits=Limits(memory=Size(1e9))), **changes)


def subjects(services: Mapping[str, Service]) -> list[Subject]:
    books = library()
    return [
        Subject(name, each, books, Look(name=name, service=each, policy=policy(books.folders),
                                        issue_of=issues_of(books), address=("-s", name)), ("-s", name))
        for name, each in services.items()
    ]  # fmt: skip


def asking(services: Mapping[str, Service], *, course: bool = False) -> Awaitable[StatusOfAll]:
    return look(subjects(services), How(timeout_s=PATIENT, course=course), (), lambda *_: None)


def looked(services: Mapping[str, Service], *, course: bool = False) -> dict[str, StatusReport]:
    async def work() -> StatusOfAll:
        return await asking(services, course=course)

    return {s.service: s for s in asyncio.run(work()).services}


@pytest.fixture(scope="module")
def every(prom: Server) -> StatusOfAll:
    async def work() -> StatusOfAll:
        return await asking({job: service(prom.url, job) for job in STORIES})

    return asyncio.run(work())


def value(found: StatusReport, name: str) -> Any:  # noqa: ANN401  # a number or why there is none
    signal = next(s for s in found.signals if s.id == name)
    return signal.value if signal.value is not None else signal.reason


# --- many at once ------------------------------------------------------------------------------------


def test_worst_first_each_with_its_story(every: StatusOfAll) -> None:
    found = {s.service: s for s in every.services}
    assert {name: s.severity.value for name, s in found.items()} == {
        "full": "critical",
        "failing": "critical",
        "stale": "unknown",
        "bare": "unknown",
        "idle": "unknown",
        "lost": "warning",
        "well": "ok",
        "young": "ok",
    }
    assert [s.service for s in every.services][:2] == ["full", "failing"]
    assert (every.severity, every.summary) == (
        Severity.CRITICAL,
        "6 of 8 services not well: 2 critical, 1 warning, 3 unknown",
    )
    assert every.next is not None
    assert every.next.command == "oncall diagnose latency -s full"
    assert found["well"].summary == "all well"
    assert found["well"].next is None
    assert found["failing"].summary == "error ratio 20%, critical above 5%"
    assert [c.id for c in found["full"].concerns] == ["latency_p95", "pool_active"]
    assert found["full"].concerns[1].text == "pool in use 19/20, critical above 16"
    assert found["lost"].summary == "instances up 50%, warning below 100%"
    assert found["lost"].next is not None
    assert found["lost"].next.command == "oncall diagnose errors -s lost"


def test_what_is_not_known_is_said_and_never_a_zero(every: StatusOfAll) -> None:
    found = {s.service: s for s in every.services}
    assert value(found["bare"], "pool_active") == 'no data for db_connection_pool_active{job="bare"}'
    assert value(found["bare"], "error_ratio") == pytest.approx(0.001, rel=0.2)
    assert value(found["idle"], "request_rate") == 0.0
    assert value(found["idle"], "error_ratio") == "undefined (NaN or Inf): no events to divide by"
    assert all(str(value(found["stale"], s.id)).startswith("stale: ") for s in found["stale"].signals)
    # Not every server scrapes: who is there is unknown, and that decides nothing
    assert str(value(found["bare"], "instances_up")).startswith("no data for up{")
    assert [u.what for u in found["bare"].unseen] == ["Pool in use"]
    # Nothing cannot be reached: it is the service that does not say it
    assert found["bare"].next is not None
    assert found["bare"].next.command == "oncall diagnose -s bare"


def test_one_alone_says_the_same_and_what_was_usual(prom: Server, every: StatusOfAll) -> None:
    together = {s.service: s for s in every.services}
    for job in ("well", "full", "young"):
        alone = looked({job: service(prom.url, job)}, course=True)[job]
        assert alone.severity is together[job].severity
        for signal, other in zip(alone.signals, together[job].signals, strict=True):
            assert (signal.id, signal.severity, signal.query) == (other.id, other.severity, other.query)
            assert signal.value == pytest.approx(other.value, rel=0.05)
            assert 30 > (signal.age_s or 0.0) >= 0
            assert signal.history
            assert not other.history
        pool = next(s for s in alone.signals if s.id == "pool_active")
        assert (pool.baseline, pool.of, pool.warning, pool.critical) == (4, 20, 10, 16)
    assert alone.notes[0].startswith("history begins ")
    assert alone.notes[0].endswith(" before the window, not 1 h")


def test_a_hundred_services_take_few_questions(prom: Server) -> None:
    services = {f"s{n:03}": service(prom.url, "well") for n in range(100)}
    before = requests_of(prom.url)
    found = looked(services)
    assert {s.severity for s in found.values()} == {Severity.OK}
    # Seven values and as many ages of each, forty in a question; rules and alerts once
    assert sum(asked_between(before, requests_of(prom.url)).values()) <= 45


def test_a_hundred_services_with_few_requests_take_few_more(prom: Server) -> None:
    """Their values over the window besides, in as few questions."""
    services = {f"s{n:03}": service(prom.url, "idle") for n in range(100)}
    before = requests_of(prom.url)
    found = looked(services)
    assert {s.severity for s in found.values()} == {Severity.UNKNOWN}
    assert sum(asked_between(before, requests_of(prom.url)).values()) <= 65
    assert found["s000"].notes[0] == "few requests: rates over 5 min; the last 1 min had none"


def test_a_dead_server_and_a_bad_expression_are_their_services_own(prom: Server) -> None:
    bad = {"error_ratio": SignalSpec(promql="sum(nonsense(")}
    found = looked(
        {
            "well": service(prom.url, "well"),
            "dead": service(f"http://127.0.0.1:{free_port()}", "well"),
            "bad": service(prom.url, "well", signals=bad),
            "nothing": Service(),
        }
    )
    assert found["well"].severity is Severity.OK
    assert [found[n].severity for n in ("dead", "bad", "nothing")] == [Severity.UNKNOWN] * 3
    assert found["dead"].summary.startswith("prometheus: connection refused at 127.0.0.1:")
    assert found["dead"].next is not None
    assert found["dead"].next.command == "oncall config check -s dead"
    assert "parse error" in str(value(found["bad"], "error_ratio"))
    assert value(found["bad"], "pool_active") == 4
    assert found["nothing"].summary == "prometheus: not configured"
    assert not found["nothing"].alerts.configured


def test_what_ended_a_while_ago_is_not_what_nobody_exports(tmp_path: Path) -> None:
    with fleet(tmp_path, {"gone": Story(until_s=1500)}) as started:
        found = looked({"gone": service(started.url, "gone")}, course=True)["gone"]
    assert found.severity is Severity.UNKNOWN
    said = str(value(found, "pool_active"))
    assert said.startswith("stale: it ended more than 2")
    assert said.endswith("min ago")


def test_an_expression_with_several_values_is_no_number(prom: Server) -> None:
    many = {"pool_active": SignalSpec(promql="db_connection_pool_active", unit="connections")}
    found = looked({"well": service(prom.url, "well", signals=many)}, course=True)["well"]
    assert found.severity is Severity.UNKNOWN
    assert "values, and a signal is one number" in str(value(found, "pool_active"))
    pool = next(s for s in found.signals if s.id == "pool_active")
    assert (pool.baseline, pool.history) == (None, ())


# --- what decides ------------------------------------------------------------------------------------


def test_the_files_own_bounds_decide(prom: Server) -> None:
    strict = {"cpu": Threshold(warning=0.1), "pool_active": Threshold(warning=3)}
    found = looked({"well": service(prom.url, "well", thresholds=strict)})["well"]
    assert found.severity is Severity.WARNING
    assert {c.text for c in found.concerns} == {
        "CPU 0.2, warning above 0.1",
        "pool in use 4, warning above 3",
    }
    assert found.next is not None
    # No runbook is about the CPU alone; the pool's is about the pool
    assert found.next.command == "oncall diagnose pool -s well"
    free = looked({"bare": service(prom.url, "bare", thresholds={"pool_active": Threshold()})})["bare"]
    assert free.severity is Severity.OK


def test_without_a_limit_memory_cannot_be_judged(prom: Server) -> None:
    found = looked({"well": service(prom.url, "well", limits=Limits())})["well"]
    assert found.severity is Severity.UNKNOWN
    (gap,) = found.unseen
    assert (gap.what, gap.reason) == ("Memory", "limits.memory is not known")
    assert gap.hint == "set it under `limits:` in the service file"


def test_what_not_every_service_has_decides_where_it_is_known() -> None:
    known = library().signals
    own = {**known, "pool_active": replace(known["pool_active"], optional=True)}
    nothing = Unavailable(kind=Absence.NO_DATA, reason="no data")
    for signals, more in ((known, {"pool_active"}), (own, set[str]())):
        one = wanted("bot", Service(), signals)
        deciding = {s.id for s in reports(one, nothing) if decides(one, s)}
        assert deciding == {"error_ratio", "latency_p95", "memory"} | more
        read = {n: Read(now=1.0, source="prometheus", query=None) for n in signals}
        deciding = {s.id for s in reports(one, Measured(signals=read)) if decides(one, s)}
        assert deciding >= {"instances_up", "pool_active"}


def test_health_counts_and_names_the_issue(prom: Server) -> None:
    def answer(asked: Asked) -> Answer:
        return reply("no", "500 X") if asked.path == "/health/db" else healthy(asked)

    async def work() -> StatusOfAll:
        async with Stand(answer) as web:
            return await asking({"well": service(prom.url, "well", url=web.url)})

    found = asyncio.run(work()).services[0]
    assert found.severity is Severity.CRITICAL
    assert found.summary.startswith("/health/db down: ")
    assert found.next is not None
    assert found.next.command == "oncall diagnose errors -s well"


def test_an_alertmanager_that_is_dead_is_not_nothing_fires(prom: Server) -> None:
    dead = HttpBackend(url=f"http://127.0.0.1:{free_port()}")
    found = looked({"well": service(prom.url, "well", alertmanager=dead)})["well"]
    assert (found.severity, found.alerts.severity) == (Severity.UNKNOWN, Severity.UNKNOWN)
    assert [u.what for u in found.unseen] == ["alerts: alertmanager"]


def test_a_server_without_rules_takes_nothing_from_what_was_measured(every: StatusOfAll) -> None:
    well = next(s for s in every.services if s.service == "well")
    assert (well.severity, well.alerts.severity) == (Severity.OK, Severity.UNKNOWN)
    assert well.alerts.summary.endswith("no rule is there that could fire")
    assert any("has no alerting rules" in note for note in well.notes)


def test_without_prometheus_two_looks_at_metrics_stand_in() -> None:
    begun = time.monotonic()

    def page(asked: Asked) -> Answer:
        if asked.path != "/metrics":
            return healthy(asked)
        passed = time.monotonic() - begun
        return reply(
            f'http_requests_total{{status="200"}} {1000 + 40 * passed}\n'
            f'http_requests_total{{status="500"}} {100 + 40 * passed}\n'
            "db_connection_pool_active 4\ndb_connection_pool_size 20\nprocess_resident_memory_bytes 9e8\n",
            Content_Type="text/plain; version=0.0.4",
        )

    async def work() -> StatusOfAll:
        async with Stand(page) as web:
            at = PrometheusAt(url=f"http://127.0.0.1:{free_port()}")
            limits = Limits(memory=Size(1e9))
            return await asking(
                {
                    "none": Service(url=web.url, limits=limits),
                    "dead": Service(url=web.url, limits=limits, prometheus=at),
                }
            )

    for found in asyncio.run(work()).services:
        assert value(found, "error_ratio") == pytest.approx(0.5, abs=0.05)
        assert found.signals[1].source == "scrape"
        assert found.severity is Severity.CRITICAL
        assert value(found, "latency_p95") == "/metrics has no http_request_duration_seconds_bucket"
        wanted = "could not be read" if found.service == "dead" else "is not configured"
        assert found.notes[0].startswith(f"prometheus {wanted}: the signals are from two looks at /metrics")
        assert ("prometheus" in [u.what for u in found.unseen]) is (found.service == "dead")


# --- what fires ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def firing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that is well, of which alerts fire all the same."""
    rules = [
        rule("HighErrorRate", "vector(1)", "critical"),
        rule("HighMemory", 'vector(1) or label_replace(vector(2), "pod", "b", "", "")', "warning"),
        rule("Soon", "vector(1)", "critical", lasts="1h"),
        rule("Elsewhere", "vector(1)", "critical", labels={"job": "other"}),
    ]
    with fleet(tmp_path_factory.mktemp("firing"), {"bot": Story()}) as started:
        ruled(started, rules)
        yield started


def test_what_fires_is_counted_named_and_diagnosed(firing: Server) -> None:
    found = looked({"bot": service(firing.url, "bot")})["bot"]
    assert found.severity is Severity.CRITICAL
    counts = found.alerts
    assert (counts.critical, counts.warning, counts.info, counts.pending) == (1, 2, 0, 1)
    assert [(f.name, f.count) for f in counts.worst] == [("HighErrorRate", 1), ("HighMemory", 2)]
    assert [c.kind for c in found.concerns] == ["alert"]
    assert found.summary.endswith(": HighErrorRate, HighMemory")
    assert found.next is not None
    assert found.next.command == "oncall diagnose --alert HighErrorRate -s bot"


def test_a_skewed_clock_is_a_warning(firing: Server) -> None:
    """Row 33. Pure: no clock of this machine is to be set."""
    (subject,) = subjects({"bot": service(firing.url, "bot")})
    asked = wanted("bot", subject.service, subject.books.signals)
    calm = looked({"bot": service(firing.url, "bot")})["bot"]
    reads = {s.id: Read(now=s.value or 0.0, source=s.source, query=s.query) for s in calm.signals}
    reads["instances_up"] = Read(now=1.0, source="prometheus", query=None)
    reads["pool_size"] = Read(now=20.0, source="prometheus", query=None)
    quiet = AlertsReport(
        service="bot", environment="production", at=calm.at, duration_ms=1, severity=Severity.OK,
        summary="nothing fires", alerts=(), selector={},
    )  # fmt: skip
    seen = Seen(calm.health, Measured(signals=reads, skew_s=600.0), quiet)
    found = report(subject, asked, seen, (), 1, Issues())
    assert (found.severity, [c.kind for c in found.concerns]) == (Severity.WARNING, ["clock"])
    assert found.summary == "the clock of prometheus is 10 min ahead of this machine's"
    assert 500 < (found.at - datetime.now(UTC)).total_seconds() < 700


# --- the audit log -------------------------------------------------------------------------------------


def test_the_last_actions_are_the_services_own_and_an_unreadable_log_is_said(prom: Server) -> None:
    well = {"well": service(prom.url, "well")}

    def of(actions: list[LastAction] | Unavailable) -> StatusOfAll:
        return asyncio.run(_look(well, actions))

    acts = [
        LastAction(number=n, at=time_of(n), service=name, action="restart", by="ana@jump", outcome="done",
                   severity=Severity.OK)
        for n, name in ((3, "well"), (2, "other"))
    ]  # fmt: skip
    found = of(acts)
    assert [a.number for a in found.services[0].actions or ()] == [3]
    assert [a.number for a in found.actions or ()] == [3, 2]
    torn = of(Unavailable(kind=Absence.BAD_ANSWER, reason="line 3 is not what was written"))
    assert (torn.services[0].actions, torn.actions) == (None, None)
    assert [u.what for u in torn.services[0].unseen] == ["audit log"]
    assert torn.severity is Severity.OK


async def _look(services: Mapping[str, Service], actions: list[LastAction] | Unavailable) -> StatusOfAll:
    return await look(subjects(services), How(timeout_s=PATIENT, course=False), actions, lambda *_: None)


def time_of(number: int) -> datetime:
    return datetime(2026, 1, 1, 3, number, tzinfo=UTC)
