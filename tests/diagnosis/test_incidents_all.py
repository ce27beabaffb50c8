"""The causes of errors, of slow responses and of growing memory against simulated incidents: other services, ages,
words and gaps each time; what only looks like a leak; and what cannot be asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.model import Diagnosis
from tests.diagnosis.incidents_all import (
    ISSUES,
    confirmed,
    diagnosed,
    named,
    slower,
    sure,
    visible,
    waiting_for_locks,
)
from tests.diagnosis.service_faults import CALM, CAUSES, Incident, calm, dimmed, incident, tellable

SEEDS = st.integers(10_000, 10_000_000)
DARK = {
    "errors": (("database_unavailable", "invalid_input"), ("prometheus", "postgres", "redis", "logs")),
    "latency": (("slow_queries", "too_many_requests"), ("prometheus", "postgres", "host")),
    "memory": (("cache_growth", "unexplained_growth"), ("prometheus", "postgres", "redis")),
}


def report(issue: str, found: Incident) -> Diagnosis:
    return diagnosed(found, [issue])[issue]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_found_and_no_other_confirmed(cause: str, seed: int) -> None:
    found = incident(cause, seed)
    told = report(cause.partition(".")[0], found)
    assert confirmed(told) <= found.allowed
    if told.severity == "ok":
        # The draw was mild, or too young to be seen: then nothing may be claimed.
        assert not sure(told)
    elif visible(found) and slower(told) and tellable(found, waiting_for_locks(told)):
        assert named(told)[:1] == [cause], told.summary


@pytest.mark.parametrize("issue", ISSUES)
@settings(max_examples=12, deadline=None)
@given(cause=st.sampled_from(CAUSES), seed=SEEDS)
def test_never_a_wrong_confirmed(issue: str, cause: str, seed: int) -> None:
    found = incident(cause, seed)
    assert confirmed(report(issue, found)) <= found.allowed


@pytest.mark.parametrize("kind", CALM)
@pytest.mark.parametrize("issue", ISSUES)
def test_a_healthy_service_raises_no_alarm(issue: str, kind: str) -> None:
    told = report(issue, calm(kind, 2))
    assert not sure(told), told.summary
    assert told.severity in ("ok", "warning") or (issue, told.severity) == ("memory", "unknown")


@pytest.mark.parametrize(
    ("issue", "cause", "backend"),
    [(issue, c, b) for issue, (causes, backends) in DARK.items() for c in causes for b in backends],
)
def test_in_a_dark_place_nothing_wrong_is_confirmed(issue: str, cause: str, backend: str) -> None:
    found = dimmed(incident(f"{issue}.{cause}", 3), backend)
    told = report(issue, found)
    assert confirmed(told) <= found.allowed
    # Without what is optional a mild incident may be none; without the others nothing is healthy.
    assert told.severity != "ok" or backend in ("host", "logs")


@pytest.mark.parametrize(
    ("backend", "cause"),
    [("postgres", "database_unavailable"), ("redis", "cache_unavailable"), ("ollama", "ollama_down")],
)
def test_what_cannot_be_asked_is_named_as_missing(backend: str, cause: str) -> None:
    told = report("errors", dimmed(incident("errors.cache_unavailable", 3), backend))
    judged = next(c for c in told.causes if c.id == f"errors.{cause}")
    assert any(m.startswith(f"{backend}: no answer") for m in judged.missing)
