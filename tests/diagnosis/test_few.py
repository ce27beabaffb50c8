"""Rates over a minute where a minute holds few requests: a real Prometheus over histories whose truth is known."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.scrape import Scrape
from oncall.diagnosis.engine import Ask
from oncall.diagnosis.few import at_most
from oncall.diagnosis.kept import kept
from oncall.diagnosis.metrics import from_pages
from oncall.diagnosis.plan import Plan
from oncall.diagnosis.readings import Facts, Gathered
from oncall.diagnosis.run import judged, look, planned
from oncall.diagnosis.saved import dump, load
from oncall.lab.servers import start_prometheus, stop
from oncall.model import Absence, Diagnosis, Severity, SignalReport, Unavailable
from oncall.model_service import PrometheusAt, Service
from oncall.monitoring import golden, golden_judge
from oncall.runbook.loader import library
from tests.clients.promstand import KEEP, backfill
from tests.clients.webstand import Answer, Asked, Stand, reply, silence
from tests.diagnosis.handmade import Numbers
from tests.diagnosis.handmade import diagnosed as diagnosed_by_hand

SCRAPE_S = 15
LONG_S = 5400
BOOKS = library()
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Came:
    """Requests within one scrape interval: those that were well, those that failed, and those that took 6 s."""

    well: int
    failed: int = 0
    slow: int = 0


Life = Callable[[int], Came]
"""By the seconds ago at which the interval ends."""

LIVES: dict[str, Life] = {
    # 1.2/s, one of the last 300 failed
    "lone": lambda ago: Came(18, 1 if ago == 30 else 0),
    # 0.4/s, two of the last minute's were slow: no more than 2 % over five minutes
    "tail": lambda ago: Came(6, 0, 1 if ago in (0, 30) else 0),
    # 0.5/s, all of the last minute failed; and what is slow since a minute
    "outage": lambda ago: Came(0, 8) if ago < 60 else Came(8),
    "slowed": lambda ago: Came(0, 0, 8) if ago < 60 else Came(8),
    # 40/s or 1.6/s, and since a minute hardly any is answered, late
    "hangs": lambda ago: Came(0, 0, 2) if ago < 60 else Came(600),
    "hangs_small": lambda ago: Came(0, 0, 3) if ago < 60 else Came(24),
    # One in 30 s, none of which happened to come in the last minute
    "rare": lambda ago: Came(0) if ago < 60 else Came(1 if ago % 30 == 0 else 0),
    # Two a minute, of which all failed in five minutes, or one did
    "night": lambda ago: Came(0) if ago % 30 else Came(0, 1) if ago < 300 else Came(1),
    "odd": lambda ago: Came(0) if ago % 30 else Came(0, 1) if ago == 30 else Came(1),
    # 40/s: a minute is enough to tell
    "young": lambda ago: Came(540, 60) if ago < 60 else Came(600),
    "over": lambda ago: Came(500, 100) if 90 <= ago < 240 else Came(600),
    # 0.5/s, all failed, until 75 s ago
    "over_small": lambda ago: Came(0, 8) if 75 <= ago < 240 else Came(8),
    "tail_over": lambda ago: Came(6, 0, 1 if ago in (120, 150) else 0),
    "well": lambda _ago: Came(600),
    # One in 30 s, none of which came in the last minute; of two instances one is down since three minutes
    "one_down": lambda ago: Came(0) if ago < 60 else Came(1 if ago % 30 == 0 else 0),
}


def lines(end: int) -> Iterator[str]:
    """OpenMetrics, each metric's lines together."""
    found: dict[str, list[str]] = {}
    for job, life in LIVES.items():
        total = {"well": 0, "failed": 0, "slow": 0}
        for ago in range(LONG_S, -1, -SCRAPE_S):
            came = life(ago)
            total = {k: v + getattr(came, k) for k, v in total.items()}
            every = sum(total.values())
            quick = every - total["slow"]
            labels = f'job="{job}",instance="a:1"'
            if job == "one_down":
                other = f'job="{job}",instance="b:1"'
                found.setdefault("up", []).append(f"up{{{other}}} {int(ago > 180)} {end - ago}")
            for name, more, value in (
                ("up", "", 1),
                ("http_requests_total", ',status="200",endpoint="/"', total["well"] + total["slow"]),
                ("http_requests_total", ',status="500",endpoint="/"', total["failed"]),
                *(
                    ("http_request_duration_seconds_bucket", f',endpoint="/",le="{le}"', value)
                    for le, value in (("0.1", quick), ("5.0", quick), ("10.0", every), ("+Inf", every))
                ),
                ("http_request_duration_seconds_sum", ',endpoint="/"', quick * 0.05 + total["slow"] * 6),
                ("http_request_duration_seconds_count", ',endpoint="/"', every),
            ):
                found.setdefault(name, []).append(f"{name}{{{labels}{more}}} {value} {end - ago}")
    for rows in found.values():
        yield from rows


@dataclass(frozen=True)
class History:
    url: str
    end: int

    def service(self, job: str) -> Service:
        return Service(prometheus=PrometheusAt(url=self.url, selector={"job": job}))

    def ask(self, window_s: float | None = None, baseline_s: float | None = None) -> Ask:
        at = datetime.fromtimestamp(self.end, UTC)
        return Ask(at=at, window_s=window_s, baseline_s=baseline_s, timeout_s=20)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder, end = tmp_path_factory.mktemp("few"), int(time.time()) - 86_400
    backfill(folder, list(lines(end)))
    server = start_prometheus(folder, {}, keep=KEEP)
    try:
        yield History(server.url, end)
    finally:
        stop(server)


def looked(service: Service, issue: str, ask: Ask) -> tuple[Plan, Gathered, Diagnosis]:
    asking = planned(service, BOOKS, [issue])
    found, took = asyncio.run(look(asking, service, ask, lambda *_: None))
    (report,) = judged("bot", service, asking, found, took)
    return asking, found, report


def diagnosed(history: History, job: str, window_s: float | None = None) -> Diagnosis:
    issue = "latency" if job in ("tail", "slowed", "hangs", "hangs_small", "tail_over") else "errors"
    return looked(history.service(job), issue, history.ask(window_s))[2]


def symptom(report: Diagnosis) -> SignalReport:
    return report.signals[0]


def wide(report: Diagnosis) -> bool:
    told = [n for n in report.notes if n.startswith("few requests: rates over 5 min")]
    assert bool(told) is (report.rate_s == report.window_s)
    return bool(told)


@pytest.mark.parametrize("job", ["lone", "tail"])
def test_one_event_of_few_is_no_incident(history: History, job: str) -> None:
    report = diagnosed(history, job)
    assert symptom(report).severity is Severity.OK
    assert wide(report)
    assert "[300s]" in (symptom(report).query or "")


@pytest.mark.parametrize("job", ["lone", "tail"])
def test_a_window_that_was_asked_for_stays(history: History, job: str) -> None:
    report = diagnosed(history, job, window_s=60)
    assert symptom(report).severity is not Severity.OK
    assert (report.rate_s, report.notes) == (60, ())


def test_what_fails_for_sure_is_seen_as_it_is_at_low_traffic(history: History) -> None:
    report = diagnosed(history, "outage")
    assert symptom(report).severity is Severity.CRITICAL
    assert symptom(report).value == pytest.approx(1)
    assert not wide(report)


def test_a_minute_of_slow_answers_is_seen_over_the_window(history: History) -> None:
    report = diagnosed(history, "slowed")
    assert symptom(report).severity is Severity.CRITICAL
    assert wide(report)


@pytest.mark.parametrize("job", ["hangs", "hangs_small"])
def test_an_incident_that_makes_requests_rare_is_not_hidden_by_those_before(
    history: History, job: str
) -> None:
    report = diagnosed(history, job)
    assert symptom(report).severity is Severity.CRITICAL
    assert not wide(report)
    # What would hide it
    over = diagnosed(history, job, window_s=300)
    assert job == "hangs_small" or symptom(over).severity is Severity.OK


def test_what_is_undefined_over_a_minute_may_be_known_over_the_window(history: History) -> None:
    report = diagnosed(history, "rare")
    assert (symptom(report).severity, symptom(report).value) == (Severity.OK, 0)
    assert wide(report)


def facts_of(history: History, job: str, window_s: float | None = None) -> Facts:
    service = history.service(job)
    asking, found, _ = looked(service, "errors", history.ask(window_s))
    book = BOOKS.runbook("errors")
    return Facts(book, service, asking.readings(book, found))


def test_failures_are_counted_in_the_time_that_the_rates_are_of(history: History) -> None:
    """Not as so many in a minute, which a night does not have."""
    for job, over_s, seen, failing in (
        ("night", 300, 10, True),
        ("odd", 300, 10, False),
        ("outage", 60, 32, True),
        ("young", 60, 2400, True),
        ("well", 60, 2400, False),
    ):
        facts = facts_of(history, job)
        assert facts("rates.over").number() == over_s
        assert facts("seen").number() == pytest.approx(seen, rel=0.1)
        assert facts("failing").truth() is failing, job
    assert facts_of(history, "odd", window_s=60)("failing").truth() is False
    assert facts_of(history, "night", window_s=600)("seen").number() == pytest.approx(20, rel=0.1)


def page(at: float, failed: float) -> Scrape:
    counts = ({"status": "200"}, 1000.0), ({"status": "500"}, 10.0 + failed)
    return Scrape(at=at, monotonic=at, samples={"http_requests_total": counts})


@pytest.mark.parametrize(
    ("status", "bad", "well", "severity"),
    [
        ("422", 4, 0, "unknown"),
        ("422", 1, 4, "unknown"),
        ("422", 1, 9, "ok"),  # up to 15 % may be usual
        ("422", 0, 9, "ok"),
        ("422", 5, 0, "critical"),
        ("429", 4, 0, "unknown"),
        ("429", 1, 9, "unknown"),
        ("429", 1, 400, "ok"),
        ("429", 30, 70, "critical"),
    ],
)
def test_where_few_came_between_two_looks_nobody_is_called_well(
    status: str, bad: int, well: int, severity: str
) -> None:
    """Four of four that were refused are no chance, and one of ten may be: neither is called well, or ill."""

    def came(at: float, count: int, other: int) -> Scrape:
        usual = ({"status": "200"}, 1000.0 + other), ({"status": "500"}, 10.0)
        return Scrape(
            at=at, monotonic=at, samples={"http_requests_total": (*usual, ({"status": status}, 10.0 + count))}
        )

    service = Service(url="http://x")
    asking = planned(service, BOOKS, ["errors"])
    signals = from_pages(came(100, 0, 0), came(102, bad, well), asking.signals)
    found = Gathered(at=190, window_s=300, baseline_s=3600, signals=signals, live={}, answers={})
    name = "bad_requests_added" if status == "422" else "rate_limited_added"
    book = BOOKS.runbook("errors")
    facts = Facts(book, service, asking.readings(book, found))
    now = facts.reading(name).now
    if severity == "unknown":
        # Of this kind, it keeps the whole from being healthy.
        reason = "too few requests to tell; a longer --interval would"
        assert now == Unavailable(kind=Absence.UNDEFINED, reason=reason)
    else:
        assert facts.bounds(name).severity(now if isinstance(now, float) else None) == severity


@pytest.mark.parametrize("apart_s", [2.0, 90.0])
@pytest.mark.parametrize("failed", [1, 2, 3, 10])
def test_two_looks_count_what_came_between_them(apart_s: float, failed: int) -> None:
    service = Service(url="http://x")
    asking, book = planned(service, BOOKS, ["errors"]), BOOKS.runbook("errors")
    signals = from_pages(page(100, 0), page(100 + apart_s, failed), asking.signals)
    found = Gathered(at=190, window_s=300, baseline_s=3600, signals=signals, live={}, answers={})

    def facts(found: Gathered) -> Facts:
        return Facts(book, service, asking.readings(book, found))

    assert facts(found)("rates.over").number() == apart_s
    assert facts(found)("seen").number() == pytest.approx(failed)
    few = failed < 3 and apart_s < 60
    assert facts(found)("failing").truth() is (None if few else failed >= 3)
    saved = kept("bot", service, asking, found, took_ms=1, version="1", saved=WHEN, alone=True)
    data = dump(saved, redact=True)
    again = load(data, "file").answers_to(asking)
    assert facts(again)("seen").number() == pytest.approx(failed)
    # What was saved before that time was kept is judged as it was then: by so many in a minute
    document = json.loads(data)
    for signal in document["signals"].values():
        signal.pop("over_s", None)
    older = load(json.dumps(document).encode(), "file").answers_to(asking)
    assert facts(older)("rates.over").number() is None
    assert facts(older)("seen").number() == pytest.approx(60 * failed / apart_s)


@pytest.mark.parametrize(
    ("ratio", "over_s", "severity"), [(1.0, 60, "ok"), (1.0, 300, "critical"), (0.1, 300, "ok")]
)
@pytest.mark.parametrize("kind", ["bad_request", "rate_limited"])
def test_what_clients_do_wrong_is_counted_too(kind: str, ratio: float, over_s: float, severity: str) -> None:
    """Two requests a minute."""
    numbers: Numbers = {"error_ratio": 0.0, "request_rate": 1 / 30, f"{kind}_ratio": (0.0, ratio)}
    found = diagnosed_by_hand("errors", numbers, {}, over_s=over_s)
    (added,) = (s for s in found.signals if s.id == f"{kind}{'s' if kind == 'bad_request' else ''}_added")
    assert added.severity == severity


def test_a_young_incident_is_itself_where_requests_are_many(history: History) -> None:
    report = diagnosed(history, "young")
    assert symptom(report).value == pytest.approx(0.1)
    assert report.rate_s == 60
    assert not wide(report)


# --- a second round ----------------------------------------------------------------------------


def relay(url: str, asked: Asked) -> bytes:
    request = urllib.request.Request(url + asked.path, urlencode(asked.form).encode())
    with urllib.request.urlopen(request) as answer:
        return reply(answer.read())


def through(
    history: History, job: str, refuse: Callable[[], Answer] | None = None, timeout_s: float = 20
) -> tuple[Diagnosis, int, float]:
    """A diagnosis by way of a stand that may refuse what is asked over five minutes, the number of histories that
    were asked for, and the seconds it took."""

    async def relayed(asked: Asked) -> AsyncIterator[bytes]:
        yield await asyncio.to_thread(relay, history.url, asked)

    def answer(asked: Asked) -> Answer:
        if refuse and asked.path.endswith("/query_range") and "[300s]" in asked.form["query"]:
            return refuse()
        return relayed(asked)

    async def work() -> tuple[Diagnosis, int, float]:
        async with Stand(answer) as stand:
            service = Service(prometheus=PrometheusAt(url=stand.url, selector={"job": job}))
            asking = planned(service, BOOKS, ["errors"])
            ask = Ask(at=history.ask().at, timeout_s=timeout_s)
            begun = time.monotonic()
            found, took = await look(asking, service, ask, lambda *_: None)
            spent_s = time.monotonic() - begun
            (report,) = judged("bot", service, asking, found, took)
            return report, sum(a.path.endswith("/query_range") for a in stand.asked), spent_s

    return asyncio.run(work())


def test_there_is_a_second_round_only_where_it_is_needed(history: History) -> None:
    assert through(history, "well")[1] == 1
    assert through(history, "outage")[1] == 1
    assert through(history, "lone")[1] == 2


@pytest.mark.parametrize("refuse", [lambda: reply(status="503 Busy"), silence], ids=["fails", "hangs"])
def test_without_the_second_the_first_is_kept(history: History, refuse: Callable[[], Answer]) -> None:
    report, _, spent_s = through(history, "lone", refuse, timeout_s=3)
    assert symptom(report).severity is Severity.WARNING
    assert (report.rate_s, report.notes) == (60, ())
    assert spent_s < 3
    assert not [u for u in report.unseen if u.what == "prometheus" and "answer" in u.reason]


def test_what_was_saved_tells_the_same(history: History) -> None:
    service = history.service("lone")
    asking, found, report = looked(service, "errors", history.ask())
    saved = kept(
        "bot", service, asking, found, took_ms=report.duration_ms, version="1", saved=report.at, alone=True
    )
    again = load(dump(saved, redact=True), "file")
    (replayed,) = judged("bot", again.service, asking, again.answers_to(asking), again.took_ms)
    assert (replayed.rate_s, replayed.notes) == (300, report.notes)
    assert replayed.summary == report.summary


def test_the_present_is_the_end_however_far_apart_the_points_are(history: History) -> None:
    """Of a baseline of a day they are six minutes apart, and the last one may not be six minutes ago."""
    for baseline_s in (3600, 86_400, 7 * 86_400):
        found = looked(history.service("young"), "errors", history.ask(baseline_s=baseline_s))[1]
        assert found.signals["error_ratio"].times[-1] == history.end
        assert found.signals["error_ratio"].now == pytest.approx(0.1)


# --- the same in a status --------------------------------------------------------------------------


def statuses(
    history: History, jobs: Sequence[str], *, course: bool, refuse: Callable[[], Answer] | None = None
) -> tuple[dict[str, golden.Measured], int, int]:
    """The status of services at the end of the history, and how many times a value and a course were asked for."""
    asked_for = {n: golden.wanted(n, history.service(n), BOOKS.signals) for n in jobs}

    async def relayed(asked: Asked) -> AsyncIterator[bytes]:
        at = {} if asked.path.endswith("/query_range") else {"time": str(history.end)}
        yield await asyncio.to_thread(relay, history.url, replace(asked, form={**asked.form, **at}))

    def answer(asked: Asked) -> Answer:
        return refuse() if refuse and "[300s]" in asked.form["query"] else relayed(asked)

    async def work() -> tuple[dict[str, golden.Measured], int, int]:
        async with Stand(answer) as stand:
            found = await golden.from_server(
                PrometheusAt(url=stand.url),
                list(asked_for.values()),
                now=history.end,
                deadline_s=3 if refuse else 20,
                course=course,
            )
            told = {n: m for n, m in found.items() if isinstance(m, golden.Measured)}
            paths = [a.path.rpartition("/")[2] for a in stand.asked]
            return told, paths.count("query"), paths.count("query_range")

    return asyncio.run(work())


def severities(history: History, job: str, measured: golden.Measured) -> dict[str, tuple[Severity, Any]]:
    one = golden.wanted(job, history.service(job), BOOKS.signals)
    return {
        s.id: (s.severity, s.value if s.value is None else pytest.approx(s.value))
        for s in golden_judge.reports(one, measured)
        if s.id in ("error_ratio", "latency_p95", "request_rate", "instances_up")
    }


@pytest.mark.parametrize("course", [False, True])
def test_a_status_says_what_a_diagnosis_says(history: History, course: bool) -> None:
    found, _, _ = statuses(history, list(LIVES), course=course)
    for job, measured in found.items():
        service = history.service(job)
        asking = planned(service, BOOKS, ["errors", "latency"])
        gathered, took = asyncio.run(look(asking, service, history.ask(), lambda *_: None))
        reports = judged(job, service, asking, gathered, took)
        told = {s.id: (s.severity, s.value) for r in reports for s in r.signals}
        mine = severities(history, job, measured)
        assert mine == {n: told[n] for n in mine}, job
        notes = [n for n in measured.notes if n.startswith("few requests")]
        assert notes == [n for n in reports[0].notes if n.startswith("few requests")], job
        short = {n for n, r in measured.signals.items() if "[60s]" in (r.query or "")}
        assert short <= {"instances_up"} or not notes


def test_a_status_asks_again_only_where_few_requests_decide(history: History) -> None:
    assert statuses(history, ["well"], course=True)[1:] == (2, 1)
    assert statuses(history, ["outage"], course=True)[1:] == (2, 1)
    assert statuses(history, ["lone"], course=True)[1:] == (3, 2)
    # Of many services at once, those alone, and together
    jobs = list(LIVES)
    ample = [j for j in jobs if j in ("well", "young", "over", "outage")]
    assert statuses(history, jobs, course=False)[1] <= statuses(history, ample * 4, course=False)[1] + 12
    (one,) = statuses(history, ["lone"], course=True)[0].values()
    assert one.notes == ("few requests: rates over 5 min; the last 1 min had some 73",)
    assert {r.query.count("[300s]") for n, r in one.signals.items() if n == "error_ratio" and r.query} == {3}


@pytest.mark.parametrize("refuse", [lambda: reply(status="503 Busy"), silence], ids=["fails", "hangs"])
def test_without_the_second_a_status_keeps_the_first(history: History, refuse: Callable[[], Answer]) -> None:
    (measured,) = statuses(history, ["lone"], course=False, refuse=refuse)[0].values()
    assert measured.notes == ()
    assert severities(history, "lone", measured)["error_ratio"][0] is Severity.WARNING


# --- well, and a moment ago not ------------------------------------------------------------------


def test_what_is_just_over_is_said(history: History) -> None:
    report = diagnosed(history, "over")
    assert (report.severity, report.verdict) == ("ok", "healthy")
    assert report.summary.look == "look again in a minute: it comes and goes, or is just over"
    cause = report.summary.cause or ""
    assert "error ratio was beyond 5% in " in cause
    assert " of the last 5 min, until " in cause
    assert cause.endswith(": it may come again")


def test_an_outage_that_is_over_is_said_at_low_traffic_too(history: History) -> None:
    report = diagnosed(history, "over_small")
    assert report.severity == "ok"
    assert "error ratio was beyond 5% in " in (report.summary.cause or "")


@pytest.mark.parametrize("job", ["well", "lone", "tail_over"])
def test_what_was_well_or_rests_on_few_requests_is_not_said(history: History, job: str) -> None:
    summary = diagnosed(history, job).summary
    assert summary.look == "nothing to do"
    assert " was beyond " not in (summary.cause or "")


# --- chance ------------------------------------------------------------------------------------


@given(st.integers(-1, 200), st.floats(0, 300))
def test_the_chance_is_that_of_scipy(count: int, expected: float) -> None:
    assert at_most(count, expected) == pytest.approx(
        float(scipy.stats.poisson.cdf(count, expected)), abs=1e-9
    )
