"""The causes of errors against simulated incidents: other services, ages, words and gaps each time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.diagnosis.incidents_all import (
    confirmed,
    diagnosed,
    named,
    slower,
    sure,
    visible,
    waiting_for_locks,
)
from tests.diagnosis.service_faults import CALM, CAUSES, calm, dimmed, incident, tellable

OWN = [c for c in CAUSES if c.startswith("errors.")]
SEEDS = st.integers(10_000, 10_000_000)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cause", OWN)
def test_the_cause_is_found_and_no_other_confirmed(cause: str, seed: int) -> None:
    found = incident(cause, seed)
    report = diagnosed(found, ["errors"])["errors"]
    assert confirmed(report) <= found.allowed
    if report.severity == "ok":
        # The draw was mild, or too young to be seen: then nothing may be claimed.
        assert not sure(report)
    elif visible(found) and slower(report) and tellable(found, waiting_for_locks(report)):
        assert named(report)[:1] == [cause], report.summary


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(CAUSES), SEEDS)
def test_never_a_wrong_confirmed(cause: str, seed: int) -> None:
    found = incident(cause, seed)
    assert confirmed(diagnosed(found, ["errors"])["errors"]) <= found.allowed


@pytest.mark.parametrize("kind", CALM)
def test_a_healthy_service_raises_no_alarm(kind: str) -> None:
    report = diagnosed(calm(kind, 2), ["errors"])["errors"]
    assert not sure(report), report.summary
    assert report.severity in ("ok", "warning")


@pytest.mark.parametrize("backend", ["prometheus", "postgres", "redis", "logs"])
@pytest.mark.parametrize("cause", ["errors.database_unavailable", "errors.invalid_input"])
def test_in_a_dark_place_nothing_wrong_is_confirmed(cause: str, backend: str) -> None:
    found = dimmed(incident(cause, 3), backend)
    report = diagnosed(found, ["errors"])["errors"]
    assert confirmed(report) <= found.allowed
    # Without what is optional a mild incident may be none; without the others nothing is healthy.
    assert report.severity != "ok" or backend in ("host", "logs")


@pytest.mark.parametrize(
    ("backend", "cause"),
    [("postgres", "database_unavailable"), ("redis", "cache_unavailable"), ("ollama", "ollama_down")],
)
def test_what_cannot_be_asked_is_named_as_missing(backend: str, cause: str) -> None:
    report = diagnosed(dimmed(incident("errors.cache_unavailable", 3), backend), ["errors"])["errors"]
    judged = next(c for c in report.causes if c.id == f"errors.{cause}")
    assert any(m.startswith(f"{backend}: no answer") for m in judged.missing)
