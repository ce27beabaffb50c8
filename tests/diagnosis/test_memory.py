"""The causes of growing memory against simulated incidents, and what only looks like a leak."""

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

OWN = [c for c in CAUSES if c.startswith("memory.")]
SEEDS = st.integers(10_000, 10_000_000)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cause", OWN)
def test_the_cause_is_found_and_no_other_confirmed(cause: str, seed: int) -> None:
    found = incident(cause, seed)
    report = diagnosed(found, ["memory"])["memory"]
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
    assert confirmed(diagnosed(found, ["memory"])["memory"]) <= found.allowed


@pytest.mark.parametrize("kind", CALM)
def test_a_healthy_service_raises_no_alarm(kind: str) -> None:
    report = diagnosed(calm(kind, 2), ["memory"])["memory"]
    assert not sure(report), report.summary
    assert report.severity in ("ok", "warning", "unknown")


@pytest.mark.parametrize("backend", ["prometheus", "postgres", "redis"])
@pytest.mark.parametrize("cause", ["memory.cache_growth", "memory.unexplained_growth"])
def test_in_a_dark_place_nothing_wrong_is_confirmed(cause: str, backend: str) -> None:
    found = dimmed(incident(cause, 3), backend)
    report = diagnosed(found, ["memory"])["memory"]
    assert confirmed(report) <= found.allowed
    # Without what is optional a mild incident may be none; without the others nothing is healthy.
    assert report.severity != "ok" or backend in ("host", "logs")
