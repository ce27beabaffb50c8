"""The pool's causes against simulated incidents: other sizes, rates, scrape intervals and intensities each time."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.diagnosis.incidents import CALM, TRUTH, broken, confirmed, diagnosed, sure, usual

SEEDS = st.integers(10_000, 10_000_000)
FEW = settings(max_examples=12, deadline=None)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", TRUTH)
def test_the_cause_is_found_and_no_other_confirmed(kind: str, seed: int) -> None:
    found = diagnosed(broken(kind, usual(seed), seed))
    if found.severity == "ok":
        # The draw was mild: nothing is exhausted, and then nothing may be claimed.
        assert not sure(found)
        return
    assert found.causes[0].id == TRUTH[kind], found.summary
    assert found.causes[0].confidence in ("confirmed", "likely")
    assert confirmed(found) <= {TRUTH[kind]}


@FEW
@given(st.sampled_from(sorted(TRUTH)), SEEDS)
def test_never_a_wrong_confirmed(kind: str, seed: int) -> None:
    assert confirmed(diagnosed(broken(kind, usual(seed), seed))) <= {TRUTH[kind]}


@FEW
@given(st.sampled_from(CALM), SEEDS)
def test_a_healthy_service_raises_no_alarm(kind: str, seed: int) -> None:
    found = diagnosed(broken(kind, usual(seed), seed))
    # A burst may leave a queue that feeds itself; then the pool is exhausted still, and not by a false alarm.
    assume(kind == "healthy" or found.severity in ("ok", "warning"))
    assert not sure(found), found.summary
    assert found.severity in ("ok", "warning")


@pytest.mark.parametrize("kind", TRUTH)
def test_without_postgres_nothing_that_needs_it_is_sure(kind: str) -> None:
    found = diagnosed(broken(kind, usual(3), 3), postgres=False)
    assert not confirmed(found)
    assert sure(found) <= {TRUTH[kind]}
    needing = {"pool.connection_leak", "pool.lock_contention", "pool.slow_queries"}
    for cause in found.causes:
        if cause.id in needing and cause.confidence != "ruled_out":
            assert "postgres: password authentication failed" in cause.missing


@pytest.mark.parametrize("kind", ["leak", "leak_idle", "lock", "slots"])
def test_without_history_what_is_seen_live_is_enough(kind: str) -> None:
    found = diagnosed(broken(kind, usual(4), 4), history=False)
    assert found.causes[0].id == TRUTH[kind]
    assert confirmed(found) <= {TRUTH[kind]}


@pytest.mark.parametrize("kind", ["load", "small", "slow"])
def test_without_history_no_change_is_confirmed(kind: str) -> None:
    assert not confirmed(diagnosed(broken(kind, usual(4), 4), history=False)) - {"pool.slow_queries"}


@pytest.mark.parametrize(
    ("one", "other"), [("leak", "load"), ("lock", "slow"), ("leak", "lock"), ("load", "slow_some")]
)
def test_two_at_once_are_both_seen(one: str, other: str) -> None:
    world = usual(7)
    first, second = broken(one, world, 7), broken(other, world, 8)
    both = replace(
        first,
        leak=max(first.leak, second.leak) / 2,
        locked=max(first.locked, second.locked) / 2,
        load=max(first.load, second.load),
        slow=max(first.slow, second.slow),
        slow_share=min(first.slow_share, second.slow_share),
    )
    found = diagnosed(both)
    assert confirmed(found) <= {TRUTH[one], TRUTH[other]}
    named = {c.id for c in found.causes[:3] if c.confidence in ("confirmed", "likely", "possible")}
    assert named & {TRUTH[one], TRUTH[other]}
