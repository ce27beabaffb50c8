"""The endpoints as one line of the daily check: how many are well, and what the others say."""

import asyncio

import pytest

from oncall.checks.engine import When, run
from oncall.checks.health import line
from oncall.checks.model import Check, LineSpec
from oncall.clients.http import HEALTH_COLUMNS
from oncall.model import Scalar, Severity, StepReading, Table
from oncall.model_checks import CheckLine, CheckReport
from oncall.model_service import Service
from oncall.model_status import HealthReport
from oncall.monitoring.health import How, look, report
from oncall.runbook.loader import library
from tests.clients.webstand import Answer, Asked, Stand, reply
from tests.monitoring.fleetstand import HEALTH, healthy

SPEC = LineSpec(why="users", probe="health")
DAILY = Check(
    name="daily", title="Daily check", lines={"health": SPEC}, signals={}, book=library().runbook("errors")
)
PATHS = ("/health", "/health/db", "/health/cache")


def answered(path: str, healthy: bool | None = True, verdict: str = "healthy") -> StepReading:
    row: tuple[Scalar, ...] = (path, 200 if healthy else 503, verdict, healthy, 3.0, None)
    return StepReading(source="http", query=f"GET {path}", answer=Table(columns=HEALTH_COLUMNS, rows=(row,)))


def told(**ill: list[StepReading]) -> CheckLine:
    """The line where the others are well; `db`, `cache`: one or two looks."""
    looks = {path: [answered(path)] for path in PATHS} | {
        f"/health/{name}": said for name, said in ill.items()
    }
    service = Service(url="http://bot")
    return line("health", SPEC, report("bot", service, looks, 3, How()))


def test_all_are_well() -> None:
    assert (told().severity, told().text) == (Severity.OK, "3 of 3 healthy")


def test_an_ill_cache_is_a_warning_and_an_ill_database_is_critical() -> None:
    cache = told(cache=[answered("/health/cache", False, "degraded")] * 2)
    assert cache.severity is Severity.WARNING
    assert cache.text == "2 of 3 healthy: /health/cache down: degraded"
    base = told(db=[answered("/health/db", False, "disconnected")] * 2)
    assert base.severity is Severity.CRITICAL


def test_what_does_not_say_how_it_is_is_not_well() -> None:
    mute = told(db=[answered("/health/db", None, "no status")])
    assert mute.severity is Severity.UNKNOWN
    assert mute.detail is not None
    assert len(mute.detail.rows) == 3


def test_an_endpoint_of_a_backend_that_the_service_has_not_is_not_missed() -> None:
    row: tuple[Scalar, ...] = ("/health/cache", 404, "bad answer", False, 3.0, None)
    table = Table(columns=HEALTH_COLUMNS, rows=(row,))
    found = told(cache=[StepReading(source="http", query=None, answer=table)])
    assert (found.severity, found.text) == (Severity.OK, "2 of 2 healthy")


@pytest.mark.parametrize("path", PATHS)
def test_one_failure_is_said_as_oncall_health_says_it(path: str) -> None:
    """A real server that fails once at each of the two looks that are taken: the same verdict, and never well."""

    async def work() -> tuple[CheckLine, HealthReport, list[str]]:
        failing = {path}

        def answer(asked: Asked) -> Answer:
            if asked.path in failing:
                failing.discard(asked.path)
                return reply('{"status": "unhealthy"}', "503 Service Unavailable")
            return healthy(asked)

        async with Stand(answer) as stand:
            service = Service(url=stand.url)
            found = await run("bot", service, DAILY, library(), When(timeout_s=60))
            asked = [request.path for request in stand.asked]
            failing.add(path)
            by_health = await look("bot", service, How(again_s=0.01))
        return found.lines[0], by_health, asked

    found, by_health, asked = asyncio.run(work())
    (once,) = [e for e in by_health.endpoints if e.path == path]
    assert (once.state, by_health.severity) == ("failed_once", Severity.WARNING)
    assert found.severity is by_health.severity
    said = f"2 of 3 healthy: {path} failed once: unhealthy: 503 Service Unavailable; 1 s later: "
    assert (found.text or "").startswith(f"{said}{HEALTH[path]['status']}")
    assert found.detail is not None
    assert [row[0] for row in found.detail.rows if row[1] == "failed once"] == [path]
    assert sorted(asked) == sorted([*PATHS, path])


def test_one_that_hangs_is_down_however_little_time_there_is() -> None:
    async def mute(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def work() -> CheckReport:
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        service = Service(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        found = await run("bot", service, DAILY, library(), When(timeout_s=6))
        server.close()
        return found

    (found,) = asyncio.run(work()).lines
    assert found.severity is Severity.CRITICAL, found
    assert (found.text or "").startswith("0 of 3 healthy: /health ")
