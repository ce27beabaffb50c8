"""Which targets are a service's instances, and which of them are up: the shipped signal on a real Prometheus."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from oncall.runbook.loader import library
from oncall.signals import to_promql
from tests.clients.promstand import ask, backfill, running

STEP_S = 15
SERVICE = {"namespace": "shop"}
Ups = Mapping[tuple[str, str], Sequence[float | None]]
"""By job and instance: what `up` was at each scrape, up to now."""

WELL = [1.0] * 40
DOWN = [1.0] * 20 + [0.0] * 20
MISSED = [*([1.0] * 38), 0.0, 1.0]
LAST_MISSED = [*([1.0] * 39), 0.0]
NEVER = [0.0] * 40


def share(folder: Path, ups: Ups, serving: Sequence[str], served_until: int = 0) -> list[float]:
    """The signal now. `serving`: the jobs that have http_requests_total, of each instance that is up, until so many
    seconds before now."""
    end = int(time.time()) - 600
    lines = ["# TYPE up gauge"]
    for (job, instance), values in ups.items():
        for n, value in enumerate(values):
            at = end - STEP_S * (len(values) - 1 - n)
            lines.append(f'up{{job="{job}",instance="{instance}",namespace="shop"}} {value:g} {at}')
    lines.append("# TYPE http_requests unknown")
    for job in serving:
        lines += [
            f'http_requests_total{{job="{job}",namespace="shop"}} {at - end + 7200} {at}'
            for at in range(end - 7200, end - served_until + 1, STEP_S)
        ]
    backfill(folder, lines)
    text = to_promql(library().signals["instances_up"], SERVICE, 60).text

    async def asked() -> list[float]:
        async with running(folder) as (client, _):
            return [s.value for s in await ask(client, text, end)]

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("ups", "serving", "wanted"),
    [
        ({("api", "a"): WELL, ("api", "b"): DOWN}, ["api"], [0.5]),
        ({("api", "a"): WELL, ("api", "b"): MISSED, ("api", "c"): LAST_MISSED}, ["api"], [1.0]),
        ({("api", "a"): DOWN, ("api", "b"): NEVER}, ["api"], [0.0]),
        # Its exporters have the namespace too, and are not the service
        ({("api", "a"): WELL, ("redis", "r"): NEVER, ("node", "n"): DOWN}, ["api"], [1.0]),
        ({("api", "a"): WELL, ("web", "w"): DOWN, ("node", "n"): WELL}, ["api", "web"], [0.5]),
        # With metrics of its own all that the selector finds counts
        ({("api", "a"): WELL, ("api", "b"): DOWN}, [], [0.5]),
        # Nothing is scraped: unknown
        ({}, ["api"], []),
    ],
)
def test_the_service_s_own_instances_count(
    tmp_path: Path, ups: Ups, serving: list[str], wanted: list[float]
) -> None:
    assert share(tmp_path, ups, serving) == pytest.approx(wanted)


def test_of_a_job_that_is_gone_it_is_known_for_an_hour(tmp_path: Path) -> None:
    """No instance is left that could export anything, and an exporter is well."""
    ups = {("api", "a"): DOWN, ("node", "n"): WELL}
    assert share(tmp_path, ups, ["api"], served_until=20 * STEP_S) == [0.0]
