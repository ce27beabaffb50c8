"""Trouble that is older than all that is compared: what is as it was is then no sign of anything."""

from dataclasses import replace

import pytest

from tests.diagnosis.incidents_all import confirmed, diagnosed
from tests.diagnosis.service_faults import CAUSES, Incident, incident

LASTING = [c for c in CAUSES if not c.startswith("memory.")]
"""What has a level; a leak that began before all that is known is still seen to grow."""


def lasting(found: Incident) -> Incident:
    """The same incident, that began before the history does."""
    world = found.world
    faults = tuple(replace(fault, age_s=1.5 * world.ends) for fault in world.faults)
    return replace(found, world=replace(world, faults=faults))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cause", LASTING)
def test_nothing_wrong_is_confirmed(cause: str, seed: int) -> None:
    found = lasting(incident(cause, seed))
    issue = cause.partition(".")[0]
    assert confirmed(diagnosed(found, [issue])[issue]) <= found.allowed


def test_what_is_compared_with_the_trouble_itself_is_unknown_and_says_so() -> None:
    report = diagnosed(lasting(incident("latency.slow_queries", 500)), ["latency"])["latency"]
    assert report.severity in ("warning", "critical")
    (gap,) = [u for u in report.unseen if u.what == "the time before"]
    assert "was as bad in all of the " in gap.reason
    assert gap.hint == "look further back: --baseline 6h"
    load = next(c for c in report.causes if c.id == "latency.too_many_requests")
    assert load.confidence != "ruled_out"
    assert any(gap.reason in missing for missing in load.missing)


def test_a_fresh_incident_has_a_quiet_time() -> None:
    report = diagnosed(incident("latency.slow_queries", 500), ["latency"])["latency"]
    assert report.severity in ("warning", "critical")
    assert not [u for u in report.unseen if u.what == "the time before"]
