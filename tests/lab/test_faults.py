"""Each fault brings the trouble that it brings in life, and is mended without a trace."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from oncall.lab import faults, watch

from .conftest import Lab, closes_the_circle, until

POOL = {cause: kind for cause, kind in faults.KINDS.items() if cause.startswith("pool.")}
USUAL = [(cause, next(iter(kind.variants))) for cause, kind in POOL.items()]
OTHERS = [(cause, name) for cause, kind in POOL.items() for name in list(kind.variants)[1:]]
# Each on one of the two versions: the usual ways on the older, the others on the newer one.
ALL = [(15, *fault) for fault in USUAL] + [(18, *fault) for fault in OTHERS] + [(18, *USUAL[-1])]
# A surge stays in the rate window for a while after it has passed: nothing else follows it in its lab.
ALL.sort(key=lambda fault: fault[1] == "pool.too_many_requests")
# A lost index is broken, seen and mended as latency.slow_queries in test_issues.py.
ALL.remove((15, "pool.slow_queries", "dropped_index"))
BURN = ("pool.slow_queries", "pool.too_many_requests")
PARAMS = [pytest.param(*fault, marks=[pytest.mark.burns] if fault[1] in BURN else []) for fault in ALL]


def sure(found: dict[str, Any], *kinds: str) -> set[str]:
    return {c["id"] for c in found["causes"] if c["confidence"] in (kinds or ("confirmed", "likely"))}


# What an action mends. A prepared transaction is its owner's to roll back, and of slow statements only those that
# somebody asked for once do not come again.
MENDED = {
    (cause, variant)
    for cause, variant in [*USUAL, *OTHERS]
    if cause in ("pool.connection_leak", "pool.lock_contention", "pool.too_small")
    and variant != "prepared_transaction"
} | {("pool.slow_queries", "runaway_reports")}


def recognised(lab: Lab, cause: str, issue: str = "pool") -> bool:
    """Whether the diagnosis puts the cause first; at no moment may it confirm another."""
    found = lab.diagnose(issue)
    assert sure(found, "confirmed") <= {cause}, found["summary"]
    if found["causes"][0]["id"] != cause or cause not in sure(found):
        return False
    assert found["severity"] in ("warning", "critical")
    assert found["exit"] == {"warning": 1, "critical": 2}[found["severity"]]
    assert len(found["summary"]["cause"]) > len(cause)
    return True


@pytest.mark.parametrize("version", [15, 18])
def test_a_healthy_lab_is_called_healthy(labs: Callable[[int], Lab], version: int) -> None:
    lab = labs(version)
    until(lambda: lab.pool.quiet, 30)
    found = lab.diagnose()
    until(lambda: (found.update(lab.diagnose()), found["severity"] == "ok")[1], 30)
    assert (found["verdict"], found["exit"]) == ("healthy", 0)
    assert not sure(found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("version", "cause", "variant"), PARAMS)
def test_it_troubles_the_pool_is_found_and_heals(
    labs: Callable[[int], Lab], tmp_path: Path, version: int, cause: str, variant: str
) -> None:
    lab = labs(version)
    until(lambda: lab.pool.quiet, 30)
    # Some faults trouble it at once, in a lab that Prometheus has not looked at yet.
    until(lambda: watch.samples(lab.record, lab.record.started) >= 8, 30)
    try:
        # A leak goes on after the restart: slowly, so that the proof is had before the pool is full again.
        strength = "0.25" if cause == "pool.connection_leak" else "1"
        assert "Broken" in lab.do("break", cause, "--variant", variant, "--intensity", strength)
        assert [(f.cause, f.variant) for f in lab.record.faults] == [(cause, variant)]
        until(lambda: lab.pool.troubled, 80)
        until(lambda: recognised(lab, cause), 90)
        # While a young leak and the load together are just over a bound, the pool is well again a moment later,
        # and the restart is refused.
        until(lambda: cause != "pool.connection_leak" or lab.pool.active >= 0.9 * lab.pool.size, 90)
        if (cause, variant) in MENDED:
            closes_the_circle(lab, cause, tmp_path)
    finally:
        assert cause in lab.do("heal", cause)
    until(lambda: lab.pool.quiet, 40)
    assert lab.record.faults == ()
    assert {part.name for part in lab.record.parts} & {"lock", "slots"} == set()


def test_a_leak_holds_connections_that_do_nothing(labs: Callable[[int], Lab]) -> None:
    """The pool's view against Postgres's: what makes a leak a leak."""
    lab = labs(18)
    lab.do("break", "pool.connection_leak", "--intensity", "1.4")
    question = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%exports%'"
        " AND now() - state_change > interval '3 seconds' AND application_name = 'bot-controller'"
    )
    try:
        with psycopg.connect(lab.record.roles["oncall"], autocommit=True) as connection:
            until(lambda: (connection.execute(question).fetchone() or (0,))[0] >= 12, 40)
    finally:
        lab.do("heal")


def test_two_at_once_and_all_healed(labs: Callable[[int], Lab]) -> None:
    lab = labs(18)
    lab.do("break", "pool.too_small", "--intensity", "0.5")
    lab.do("break", "pool.lock_contention", "--seed", "5")
    state = json.loads(lab.do("status", "--output", "json"))
    assert {fault["cause"] for fault in state["faults"]} == {"pool.too_small", "pool.lock_contention"}
    assert lab.pool.size == 6
    until(lambda: lab.pool.waiting > 0, 40)
    lab.do("heal")
    until(lambda: lab.pool.quiet and lab.pool.size == 20, 40)
    assert "Nothing was broken" in lab.do("heal")
    assert "pool.too_small was not broken" in lab.do("heal", "pool.too_small")


def test_what_cannot_be_broken_is_refused(labs: Callable[[int], Lab]) -> None:
    lab = labs(18)
    unknown = lab.run("break", "pool.gremlins")
    assert unknown.returncode == 64
    assert "pool.connection_leak" in unknown.stderr
    variant = lab.run("break", "pool.too_small", "--variant", "x")
    assert variant.returncode == 64
    assert "redeployed" in variant.stderr
    strength = lab.run("break", "pool.too_small", "--intensity", "0")
    assert strength.returncode == 64
    assert lab.record.faults == ()


def test_a_fault_that_is_in_the_way_is_named_and_nothing_is_left_half_broken(
    labs: Callable[[int], Lab],
) -> None:
    lab = labs(18)
    lab.do("break", "pool.lock_contention", "--variant", "table_lock")
    try:
        refused = lab.run("break", "pool.slow_queries")
        assert refused.returncode == 3
        assert "oncall lab heal pool.lock_contention" in refused.stderr
        assert [fault.cause for fault in lab.record.faults] == ["pool.lock_contention"]
        assert lab.run("break", "pool.lock_contention").returncode == 3
    finally:
        lab.do("heal")


def test_the_menu_lists_every_fault(own: Lab) -> None:
    menu = json.loads(own.do("break", "--output", "json"))
    assert {fault["cause"] for fault in menu["faults"]} == set(faults.KINDS)
