"""Whether it helped, of what no page can tell: a trend. Prometheus, real, has the history of a leak."""

import asyncio
import time
from pathlib import Path

import pytest

from oncall.diagnosis.run import planned
from oncall.lab.servers import start_prometheus, stop
from oncall.model import Severity, SignalReport
from oncall.model_service import Limits, PrometheusAt, Service
from oncall.remediation.measuring import measure
from oncall.runbook.loader import runbooks_of
from oncall.units import Size
from tests.clients.promstand import KEEP, backfill
from tests.clients.webstand import Asked, Stand, reply
from tests.remediation.test_verify import symptom

STEP_S = 15
LEAK = 200_000
"""Bytes a second: 720 MB in an hour, and half an hour until the limit."""
FLOOR = 100_000_000


def leaked(now: int, restarted: int | None) -> list[str]:
    """An hour of a process that leaks, and since `restarted` of another that has just begun to."""
    memory, start = (
        ["# TYPE process_resident_memory_bytes gauge"],
        ["# TYPE process_start_time_seconds gauge"],
    )
    for at in range(now - 4200, now + 1, STEP_S):
        began = restarted if restarted and at >= restarted else now - 90_000
        grown = at - (began if began == restarted else now - 4200)
        memory.append(f'process_resident_memory_bytes{{job="bot"}} {FLOOR + grown * LEAK} {at}')
        start.append(f'process_start_time_seconds{{job="bot"}} {began} {at}')
    return [*memory, *start]


@pytest.mark.parametrize(
    ("ago_s", "expected", "reason"),
    [
        (None, Severity.CRITICAL, None),
        (45, Severity.OK, "does not apply: memory does not grow steadily"),
    ],
    ids=["another act, and it leaks on", "a restart"],
)
def test_the_time_that_is_left_is_judged_by_its_history(
    tmp_path: Path, ago_s: int | None, expected: Severity, reason: str | None
) -> None:
    now = int(time.time()) // STEP_S * STEP_S
    restarted = now - ago_s if ago_s else None
    lines = leaked(now, restarted)
    backfill(tmp_path, lines)
    last = [line for line in lines if line.endswith(f" {now}")]
    page = "\n".join([line.rpartition(" ")[0] for line in last] + [""])

    def answer(asked: Asked) -> bytes:
        return reply(page, Content_Type="text/plain; version=0.0.4")

    async def looked() -> SignalReport:
        async with Stand(answer) as web:
            service = Service(
                url=web.url,
                prometheus=PrometheusAt(url=server.url, selector={"job": "bot"}),
                limits=Limits(memory=Size(1_200_000_000)),
            )
            asking = planned(service, runbooks_of(service, None), ("memory",))
            before = {"memory_left": symptom("memory_left", 1_800, 86_400, 600)}
            return (await measure("bot", service, asking, None, instances=1, before=before).now(10))[
                "memory_left"
            ]

    server = start_prometheus(tmp_path, {}, keep=KEEP)
    try:
        found = asyncio.run(looked())
    finally:
        stop(server)
    assert (found.severity, found.reason) == (expected, reason)
    if expected is Severity.CRITICAL:
        assert found.value == pytest.approx((1_200_000_000 - FLOOR) / LEAK - 4200, rel=0.05)
