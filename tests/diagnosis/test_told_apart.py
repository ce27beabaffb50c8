"""What looks like a known cause and is none: cases of an examination by others, each by its numbers."""

from typing import Any

import pytest

from oncall.model import Confidence, Diagnosis, Scalar, Severity
from oncall.runbook.loader import library
from tests.diagnosis.handmade import Numbers, diagnosed, of, sessions, slots

CONFIRMED, LIKELY, POSSIBLE = Confidence.CONFIRMED, Confidence.LIKELY, Confidence.POSSIBLE
FULL: dict[str, Any] = {
    "pool_active": (4, 17),
    "pool_size": 20,
    "pool_waiting": (0, 3),
    "pool_instances": 1,
    "request_rate": 20,
    "database": 1,
}
SLOW: dict[str, Any] = {"db_query": (0.01, 1.7), "pool_hold": (0.2, 3.4), "checkout_rate": (20, 5)}


def pool(numbers: dict[str, Any], **rows: list[dict[str, Scalar]]) -> Diagnosis:
    return diagnosed("pool", {**FULL, **numbers}, {"locks": [], "slots": slots(), "database": [], **rows})


def busy(**counts: Scalar) -> list[dict[str, Scalar]]:
    return sessions(total=17, active=17, **counts)


# --- sessions of the app that do no work -----------------------------------------------------------


def test_statements_that_work_are_slow_queries() -> None:
    rows = busy(running=17, running_over_1s=17, running_longest_s=9.0, running_median_s=4.0)
    assert of(pool(SLOW, sessions=rows), "pool.slow_queries").confidence is CONFIRMED


@pytest.mark.parametrize("waits", ["sync_waiting", "client_waiting"])
def test_who_waits_for_a_standby_or_for_the_app_is_no_slow_query(waits: str) -> None:
    found = pool(SLOW, sessions=busy(**{waits: 17}))
    assert found.severity is Severity.CRITICAL
    assert not [c for c in found.causes if c.confidence in (CONFIRMED, LIKELY)]
    told = "synchronous standby" if waits == "sync_waiting" else "the network to it"
    assert told in (found.summary.look or "")


# --- others under the same name --------------------------------------------------------------------


def leaked(count: int, **more: Scalar) -> dict[str, Scalar]:
    over = {f"in_xact_over_{s}s": count for s in (10, 30, 60)}
    return {"in_xact": count, **over, "in_xact_longest_s": 300.0, **more}


def test_a_leak_in_a_transaction_is_confirmed() -> None:
    rows = sessions(total=17, **leaked(17))
    numbers = {"pool_hold": 0.2, "checkout_rate": (20, 1), "latency_mean": 0.2}
    assert of(pool(numbers, sessions=rows), "pool.connection_leak").confidence is CONFIRMED


def test_more_at_work_than_a_pool_has_are_not_all_its_own() -> None:
    """A neighbour leaks under our name while our own load is up."""
    rows = sessions(total=34, active=17, running=17, **leaked(17))
    numbers = {"pool_hold": 0.2, "request_rate": (20, 56), "checkout_rate": (20, 56), "latency_mean": 0.2}
    found = pool(numbers, sessions=rows)
    leak = of(found, "pool.connection_leak")
    assert leak.confidence not in (CONFIRMED, LIKELY)
    assert any("is application_name right?" in missing for missing in leak.missing)


# --- a call elsewhere inside a transaction -----------------------------------------------------------


def test_a_slow_inference_inside_a_transaction_is_no_proof_of_a_leak() -> None:
    rows = sessions(total=18, **leaked(15, in_xact=18, in_xact_longest_s=59.0))
    numbers = {"ollama_latency": (10, 60), "latency_mean": (10, 60)}
    leak = of(pool(numbers, sessions=rows), "pool.connection_leak")
    assert leak.confidence is LIKELY
    assert any(e.id == "slow_elsewhere" and e.holds for e in leak.evidence)
    # Longer than any call takes: forgotten, whatever else is slow
    rows = sessions(total=18, **leaked(15, in_xact=18, in_xact_longest_s=600.0))
    assert of(pool({"latency_mean": (10, 60)}, sessions=rows), "pool.connection_leak").confidence is CONFIRMED


# --- several instances -------------------------------------------------------------------------------


def test_an_instance_that_is_gone_is_no_smaller_pool() -> None:
    numbers = {
        "pool_active": (30, 36),
        "pool_size": (60, 40),
        "pool_instances": (3, 2),
        "pool_waiting": (0, 4),
        "pool_hold": 1.0,
        "checkout_rate": 30,
    }
    found = pool(numbers, sessions=sessions(total=40, active=36, running=36, running_longest_s=0.5))
    small = of(found, "pool.too_small")
    assert small.confidence not in (CONFIRMED, LIKELY)
    assert found.summary.look == "2 instances have a pool, usual 3: bring back those that are gone"


def test_a_pool_that_was_made_smaller_everywhere_is_too_small() -> None:
    numbers = {
        "pool_active": (30, 27),
        "pool_size": (60, 27),
        "pool_instances": 3,
        "pool_waiting": (0, 4),
        "pool_hold": 1.0,
        "checkout_rate": 30,
    }
    found = pool(numbers, sessions=sessions(total=27, active=27, running=27, running_longest_s=0.5))
    assert of(found, "pool.too_small").confidence is CONFIRMED


def test_one_full_instance_is_no_pool_that_has_room() -> None:
    numbers = {"pool_active": (2, 21), "pool_size": 80, "pool_instances": 4, "pool_fullest": (0.1, 1.0)}
    found = pool({**numbers, "pool_waiting": (0, 93)})
    assert found.severity is Severity.CRITICAL
    stuck = of(found, "pool.server_slots_exhausted")
    assert not [e for e in stuck.evidence if e.id == "pool_cannot_grow" and e.holds]


def test_the_load_that_fills_half_of_a_pool_is_not_ruled_out() -> None:
    numbers = {"pool_active": (2, 13), "pool_waiting": 0, "request_rate": (5, 53), "pool_hold": 0.3}
    found = pool({**numbers, "checkout_rate": (4, 42)}, sessions=sessions(total=20, active=13, running=13))
    assert found.severity is Severity.WARNING
    assert of(found, "pool.too_many_requests").confidence is POSSIBLE


# --- latency -----------------------------------------------------------------------------------------

REQUESTS: dict[str, Any] = {"latency_p95": (0.3, 6), "latency_mean": (0.1, 2.0), "request_rate": 40}


def test_a_machine_that_always_has_little_memory_free_is_not_short_of_it() -> None:
    numbers = {**REQUESTS, "host_memory_free": 0.02, "host_cpu": 0.2, "host_load": 0.2, "cpu": 0.2}
    found = of(diagnosed("latency", numbers, {}), "latency.resource_exhaustion")
    assert found.confidence not in (CONFIRMED, LIKELY)
    short = {**numbers, "host_memory_free": (0.5, 0.02)}
    assert of(diagnosed("latency", short, {}), "latency.resource_exhaustion").confidence is CONFIRMED


def test_a_core_that_four_instances_share_is_none_that_is_full() -> None:
    numbers = {**REQUESTS, "cpu": (0.6, 1.1), "host_cpu": 0.14, "host_load": 0.2, "host_memory_free": 0.5}
    shared = diagnosed("latency", {**numbers, "cpu_most": (0.15, 0.28)}, {})
    assert of(shared, "latency.resource_exhaustion").confidence not in (CONFIRMED, LIKELY)
    alone = diagnosed("latency", {**numbers, "cpu_most": (0.15, 1.0)}, {})
    assert of(alone, "latency.resource_exhaustion").confidence in (CONFIRMED, LIKELY)


def test_where_the_pool_is_full_of_slow_queries_they_are_not_forgotten() -> None:
    numbers = {
        **REQUESTS,
        "pool_active": (2, 20),
        "pool_size": 20,
        "pool_waiting": (0, 200),
        "db_query": (0.004, 0.14),
        "db_rate": 90,
        "pool_hold": (0.015, 0.4),
    }
    assert of(diagnosed("latency", numbers, {}), "latency.slow_queries").confidence is POSSIBLE


def test_an_inference_that_is_all_of_the_added_time_is_not_ruled_out() -> None:
    numbers: Numbers = {
        "latency_p95": (1.2, 2.4),
        "latency_mean": (0.8, 1.1),
        "request_rate": 40,
        "ollama_latency": (1.4, 1.98),
        "ollama_rate": 20,
        "ollama_error_ratio": 0.0,
    }
    assert of(diagnosed("latency", numbers, {}), "latency.ollama_slow").confidence is LIKELY


# --- memory ------------------------------------------------------------------------------------------


def test_more_users_who_stay_connected_are_no_leak() -> None:
    numbers: Numbers = {
        "memory": (4e8, 1.9e9),
        "open_files": (44, 1513),
        "request_rate": 40,
        "bots_active": (100, 1600),
    }
    rest: Numbers = {
        "cache_entries": 100,
        "queue_depth": 3,
        "pool_active": 2,
        "pool_waiting": 0,
        "in_flight": 3,
    }
    unit = [{"memory_max": 2e9, "active_s": 1e6}]
    found = diagnosed("memory", {**numbers, **rest}, {"unit": unit, "sessions": sessions(total=2)})
    assert found.severity in (Severity.WARNING, Severity.CRITICAL)
    assert not [c for c in found.causes if c.confidence in (CONFIRMED, LIKELY)]
    alone = diagnosed(
        "memory", {**numbers, **rest, "bots_active": 100}, {"unit": unit, "sessions": sessions(total=2)}
    )
    assert of(alone, "memory.connection_leak").confidence is CONFIRMED


def test_what_not_every_service_has_is_neither_shown_nor_missed() -> None:
    alone = {k: v for k, v in FULL.items() if k != "pool_instances"}
    found = diagnosed("pool", alone, {"locks": [], "slots": slots(), "sessions": busy(running=17)})
    assert not {"pool_fullest", "pool_instances"} & {signal.id for signal in found.signals}
    assert not [gap for gap in found.unseen if "pool_" in gap.what or "Fullest" in gap.what]
    several = pool({"pool_fullest": (0.2, 1.0)}, sessions=busy(running=17))
    assert {"pool_fullest", "pool_instances"} <= {signal.id for signal in several.signals}


def test_what_not_every_service_has_is_no_gap_of_the_answer() -> None:
    """One pool has no fullest one: where nothing stands out, that is not the reason."""
    every: dict[str, list[dict[str, Scalar]]] = {name: [] for name in library().runbook("pool").spec.steps}
    rows = {**every, "slots": slots(), "sessions": busy(client_waiting=17)}
    numbers = {"latency_mean": 0.2, "ollama_latency": 0.1, "db_rate": 20, **SLOW}
    found = diagnosed("pool", {**FULL, **numbers}, rows)
    assert found.summary.cause
    assert "Fullest pool" not in found.summary.cause
    assert "Fullest pool" not in {u.what for u in found.unseen}
