"""Row 34 of the matrix of faults, as the engineer sees it: a health endpoint that drips, floods, or sends away."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from oncall.errors import Exit
from tests.cli.bright import Bright, page
from tests.cli.program import Program, Said, rows, signal
from tests.clients.webstand import Answer, Asked, forever, head, reply
from tests.clients.webstand import Stand as Web

WELL = json.dumps({"status": "healthy"})


def drips() -> Answer:
    return forever(head("200 OK", {"Content-Type": "application/json"}), b" ", 0.5)


def drips_its_headers() -> Answer:
    return forever(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.5)


def floods() -> Answer:
    return forever(head("200 OK", {"Content-Type": "application/json"}), b" " * 2**16)


def announces_much() -> Answer:
    return reply(WELL, Content_Length=str(2**34))


def sends_away() -> Answer:
    return reply(status="302 Found", Location="/login")


def diagnosed(
    well: Bright, program: Program, health: Callable[[], Answer], *words: str
) -> tuple[Said, list[str]]:
    """A service whose /health alone is odd; what it was asked for."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/health":
            return health()
        if asked.path == "/metrics":
            return reply(page(well.began, time.time(), 0.0), Content_Type="text/plain; version=0.0.4")
        return reply(WELL)

    async def work() -> tuple[Said, list[str]]:
        async with Web(answer) as web:
            there = well.program(program, url=web.url)
            said = await asyncio.to_thread(there.run, "diagnose", "errors", *words, timeout=120)
            return said, [asked.path for asked in web.asked]

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("health", "says"),
    [
        (drips, "did not end within"),
        (drips_its_headers, "did not answer within"),
        (floods, "larger than 1 MiB"),
        (announces_much, "larger than 1 MiB"),
        (sends_away, "redirect"),
    ],
)
def test_row_34_it_is_not_healthy_by_the_deadline(
    well: Bright, program: Program, health: Callable[[], Answer], says: str
) -> None:
    # What is slow has little time; what is wrong at once has enough also where all cores are busy.
    patience = "6s" if health in (drips, drips_its_headers) else "20s"
    said, asked = diagnosed(well, program, health, "--output", "json", "--timeout", patience)
    assert said.code == Exit.CRITICAL
    report = said.json
    # The drip never ends: the deadline of the step ends it, long before any patience of ours
    assert report["duration_ms"] <= 7000
    (row,) = rows(report, "health")
    assert row["healthy"] is False
    assert says in row["detail"]
    assert signal(report, "service_answers")["severity"] == "critical"
    # It was not followed into a page that is well
    assert "/login" not in asked
    assert signal(report, "error_ratio")["severity"] == "ok"
    assert {rows(report, name)[0]["healthy"] for name in ("health_db", "health_cache")} == {True}
    sure = [c["id"] for c in report["causes"] if c["confidence"] in ("confirmed", "likely")]
    assert sure == []


def test_row_34_a_reader_sees_why(well: Bright, program: Program) -> None:
    said, _ = diagnosed(well, program, sends_away)
    assert said.code == Exit.CRITICAL
    shown: Any = " ".join(said.out.split())
    assert "Service answers /health" in shown
    assert "redirect" in shown.lower()
