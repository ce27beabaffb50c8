"""The endpoints as one line of the daily check: how many are well, and what the others say."""

import asyncio

from oncall.checks.engine import When, run
from oncall.checks.health import line
from oncall.checks.model import Check, LineSpec
from oncall.clients.http import HEALTH_COLUMNS
from oncall.model import Absence, Scalar, Severity, StepReading, Table, Unavailable
from oncall.model_checks import CheckReport
from oncall.model_service import Service
from oncall.runbook.loader import library

SPEC = LineSpec(why="users", probe="health")
DAILY = Check(
    name="daily", title="Daily check", lines={"health": SPEC}, signals={}, book=library().runbook("errors")
)
PATHS = ("/health", "/health/db", "/health/cache")


def answered(path: str, healthy: bool | None = True, verdict: str = "healthy") -> StepReading:
    row: tuple[Scalar, ...] = (path, 200 if healthy else 503, verdict, healthy, 3.0, None)
    return StepReading(source="http", query=f"GET {path}", answer=Table(columns=HEALTH_COLUMNS, rows=(row,)))


def silent(path: str, kind: Absence) -> StepReading:
    why = Unavailable(kind=kind, reason="no connection")
    return StepReading(source="http", query=f"GET {path}", answer=why)


def test_all_are_well() -> None:
    found = line("health", SPEC, {path: answered(path) for path in PATHS})
    assert (found.severity, found.text) == (Severity.OK, "3 of 3 healthy")


def test_an_ill_cache_is_a_warning_and_an_ill_database_is_critical() -> None:
    well = {path: answered(path) for path in PATHS}
    cache = line("health", SPEC, {**well, "/health/cache": answered("/health/cache", False, "degraded")})
    assert cache.severity is Severity.WARNING
    assert cache.text == "2 of 3 healthy: /health/cache degraded"
    base = line("health", SPEC, {**well, "/health/db": answered("/health/db", False, "disconnected")})
    assert base.severity is Severity.CRITICAL


def test_what_does_not_say_how_it_is_or_cannot_be_reached_is_not_well() -> None:
    well = {path: answered(path) for path in PATHS}
    mute = line("health", SPEC, {**well, "/health": answered("/health", None, "no status")})
    assert mute.severity is Severity.UNKNOWN
    gone = line("health", SPEC, {path: silent(path, Absence.DOWN) for path in PATHS})
    assert gone.severity is Severity.CRITICAL
    lost = line("health", SPEC, {path: silent(path, Absence.UNRESOLVED) for path in PATHS})
    assert lost.severity is Severity.UNKNOWN
    assert lost.detail is not None
    assert len(lost.detail.rows) == 3


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
