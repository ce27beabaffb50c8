"""When trouble and growth began: an incident inside its own baseline, a restart inside a growth, a climb without a
beginning. And how a report says it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from oncall.diagnosis.evidence import say
from oncall.diagnosis.kept import kept
from oncall.diagnosis.plan import Plan, plan
from oncall.diagnosis.quiet import began as began_of
from oncall.diagnosis.readings import Facts, Gathered
from oncall.diagnosis.report import diagnosis
from oncall.diagnosis.saved import dump, load
from oncall.model import Diagnosis, SignalReading, SignalReport
from oncall.model_service import Limits, Service
from oncall.render.json_out import diagnosis_json
from oncall.render.words import began
from oncall.runbook.loader import library
from oncall.units import Size
from tests.diagnosis.incidents_all import confirmed
from tests.diagnosis.incidents_all import diagnosed as played
from tests.diagnosis.service_faults import Incident, incident

BOOKS = library()
AT, WINDOW_S, BASELINE_S, STEP_S = 1.7e9, 300.0, 3600.0, 15.0
TIMES = [AT - WINDOW_S - BASELINE_S + STEP_S * i for i in range(int((WINDOW_S + BASELINE_S) / STEP_S) + 1)]
SERVICE = Service(limits=Limits(memory=Size(2e9)))
Course = Sequence[float]


def gathered(courses: Mapping[str, Course]) -> Gathered:
    return Gathered(
        at=AT,
        window_s=WINDOW_S,
        baseline_s=BASELINE_S,
        signals={
            n: SignalReading(
                id=n,
                source="prometheus",
                query=n,
                now=values[-1],
                times=tuple(TIMES[-len(values) :]),
                values=tuple(values),
                baseline_samples=240,
            )
            for n, values in courses.items()
        },
        live={},
        answers={},
    )


def asked(issue: str) -> Plan:
    return plan([BOOKS.runbook(issue)], SERVICE)


def facts(issue: str, courses: Mapping[str, Course]) -> Facts:
    book = BOOKS.runbook(issue)
    return Facts(book, SERVICE, asked(issue).readings(book, gathered(courses)))


def diagnosed(issue: str, courses: Mapping[str, Course]) -> Diagnosis:
    book, asking = BOOKS.runbook(issue), asked(issue)
    found = asking.readings(book, gathered(courses))
    return diagnosis("made", SERVICE, book, dict(asking.specs[issue]), found, duration_ms=1)


def signal(found: Diagnosis, name: str) -> SignalReport:
    return next(s for s in found.signals if s.id == name)


def since(ago_s: float, before: float, after: float) -> list[float]:
    return [before if t < AT - ago_s else after for t in TIMES]


STEADY: dict[str, Course] = {"error_ratio": since(0, 0.0, 0.0), "request_rate": since(0, 40.0, 40.0)}


# --- formulas among the symptoms -----------------------------------------------------------------


@pytest.mark.parametrize("minutes", [10, 25, 35, 45, 55])
@pytest.mark.parametrize(
    ("part", "added", "cause"),
    [
        ("rate_limited_ratio", "rate_limited_added", "errors.rate_limited"),
        ("bad_request_ratio", "bad_requests_added", "errors.invalid_input"),
    ],
)
def test_what_began_within_the_baseline_is_not_usual(part: str, added: str, cause: str, minutes: int) -> None:
    found = diagnosed("errors", {**STEADY, part: since(60 * minutes, 0.005, 0.5)})
    assert signal(found, added).severity == "critical"
    assert found.severity == "critical"
    assert found.causes[0].id == cause
    if minutes < 50:
        # Of what is nearly all of the history the step itself is not told
        assert signal(found, part).since == datetime.fromtimestamp(AT - 60 * minutes, UTC)


def aged(found: Incident, share: float) -> Incident:
    """The same incident, that began so far back in all that is looked at."""
    faults = tuple(replace(fault, age_s=share * found.world.ends) for fault in found.world.faults)
    return replace(found, world=replace(found.world, faults=faults))


@pytest.mark.parametrize("seed", range(6))
def test_most_of_a_baseline_that_is_turned_away_is_an_incident(seed: int) -> None:
    one = aged(incident("errors.rate_limited", seed), 0.7)
    found = played(one, ["errors"])["errors"]
    assert found.severity in ("warning", "critical")
    assert confirmed(found) <= one.allowed


def test_a_rise_that_is_no_symptom_does_not_shorten_the_baseline() -> None:
    rises = facts("errors", {**STEADY, "bad_request_ratio": since(2700, 0.0, 0.04)})
    assert rises.quiet_until == AT - WINDOW_S
    grows = facts("errors", {**STEADY, "request_rate": since(2700, 40.0, 80.0)})
    assert grows.quiet_until == AT - WINDOW_S


def test_as_many_bad_requests_as_ever_are_no_alarm_and_no_evidence() -> None:
    found = diagnosed("errors", {**STEADY, "rate_limited_ratio": since(0, 0.5, 0.5)})
    assert found.severity in ("ok", "unknown")
    added = signal(found, "rate_limited_added")
    assert (added.value, added.severity) == (None, "unknown")
    (gap,) = [u for u in found.unseen if u.what == "the time before"]
    assert gap.reason == (
        "rate limited (429) was as high in all of the 1 h 5 min looked at: nothing to compare with"
    )
    assert gap.hint == "look further back: --baseline 6h"
    cause = next(c for c in found.causes if c.id == "errors.rate_limited")
    assert cause.confidence == "unknown"
    assert any(gap.reason in m for m in cause.missing)


def test_what_a_runbook_takes_for_usual_is_compared_without_a_word() -> None:
    found = diagnosed("errors", {**STEADY, "bad_request_ratio": since(0, 0.1, 0.1)})
    assert signal(found, "bad_requests_added").value == 0
    assert not [u for u in found.unseen if u.what == "the time before"]


def test_a_formula_that_is_bad_began_with_what_it_rests_on() -> None:
    found = facts("errors", {**STEADY, "rate_limited_ratio": since(1200, 0.0, 0.5)})
    assert began_of(found, but="ollama_rate") == [AT - 1200]
    assert not began_of(found, but="rate_limited_ratio")
    calm = facts("errors", {**STEADY, "rate_limited_ratio": since(1200, 0.0, 0.016)})
    assert not began_of(calm, but="ollama_rate")


# --- restarts ----------------------------------------------------------------------------------------


def killed(every_s: float, seed: int = 1) -> list[float]:
    """A number that climbs until its process is ended for it; the last time a while ago."""
    dice = random.Random(seed)
    begun = AT - 0.8 * every_s
    return [5e8 + 1.4e9 * ((t - begun) % every_s) / every_s + dice.gauss(0, 4e6) for t in TIMES]


def test_a_trend_asks_for_starts_and_load_and_shows_neither() -> None:
    asking = asked("memory")
    assert {"uptime", "request_rate"} <= set(asking.signals)
    assert "uptime" not in asking.specs["memory"]
    found = diagnosed("memory", {"memory": killed(2400), "uptime": [AT - 1920] * len(TIMES)})
    assert "uptime" not in {s.id for s in found.signals}
    assert "uptime" not in asked("pool").signals


def test_a_leak_is_seen_through_the_restarts_that_it_makes() -> None:
    courses = {"memory": killed(2400), "uptime": [AT - 1920] * len(TIMES)}
    trend = facts("memory", courses).trend("memory")
    assert trend is not None
    assert trend.leaking
    assert trend.begins >= AT - 1920
    assert signal(diagnosed("memory", courses), "memory_left").severity == "critical"


def test_a_start_of_another_process_is_no_restart() -> None:
    """One of many instances was started a minute ago; the largest has leaked all the time."""
    dice = random.Random(1)
    climbs = [5e8 + 2e5 * (t - TIMES[0]) + dice.gauss(0, 4e6) for t in TIMES]
    trend = facts("memory", {"memory": climbs, "uptime": [AT - 60] * len(TIMES)}).trend("memory")
    assert trend is not None
    assert trend.leaking


def test_a_saved_look_keeps_when_the_process_began() -> None:
    asking = asked("memory")
    seen = gathered({"memory": killed(2400), "uptime": [AT - 1920] * len(TIMES)})
    when = datetime.fromtimestamp(AT, UTC)
    look = kept("made", SERVICE, asking, seen, took_ms=1, version="1", saved=when, alone=True)
    again = load(dump(look, redact=False), "look").answers_to(asking)
    book = BOOKS.runbook("memory")
    assert asking.readings(book, again).signals["uptime"].now == AT - 1920


# --- a climb without a beginning -----------------------------------------------------------------------


def test_a_climb_that_fills_the_history_began_before_it() -> None:
    dice = random.Random(3)
    climbs = [5e8 + 2e5 * (t - TIMES[0]) + dice.gauss(0, 4e6) for t in TIMES]
    found = diagnosed("memory", {"memory": climbs})
    assert began(signal(found, "memory"), found) == "before 21:08"
    assert b'"since":null' in diagnosis_json(found).replace(b" ", b"")
    # Of a number that is younger than that, the beginning is seen
    young = diagnosed("memory", {"memory": climbs[60:]})
    assert signal(young, "memory").since == datetime.fromtimestamp(TIMES[60], UTC)
    assert began(signal(young, "memory"), young) == "21:23"


def test_a_step_began_where_it_is() -> None:
    found = diagnosed("memory", {"memory": since(1200, 5e8, 1.7e9)})
    assert signal(found, "memory").since == datetime.fromtimestamp(AT - 1200, UTC)


# --- how it is said ------------------------------------------------------------------------------------


def test_what_may_hold_still_comes_before_what_is_ruled_out() -> None:
    courses = {**STEADY, "bad_request_ratio": since(0, 0.0, 0.0), "rate_limited_ratio": since(0, 0.0, 0.0)}
    found = diagnosed("errors", courses)
    order = [c.confidence.value for c in found.causes]
    assert order == sorted(order, key=["confirmed", "likely", "possible", "unknown", "ruled_out"].index)
    assert {"unknown", "ruled_out"} <= set(order)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.999925, "99.9%"), (0.9986, "99.9%"), (0.9931, "99.3%"), (0.5, "50%"), (1.0, "100%")],
)
def test_a_share_has_three_figures_and_is_never_a_false_hundred(share: float, text: str) -> None:
    seen = facts("errors", {**STEADY, "rate_limited_ratio": since(0, share, share)})
    assert say(seen, "{rate_limited_ratio}")[0] == text
