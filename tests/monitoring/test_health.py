"""Two failures in a row are down, one is not; nothing that is odd is healthy; a hundred services are bounded."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from oncall.lab.process import free_port
from oncall.model import Severity
from oncall.model_service import PostgresAt, RedisAt, Service
from oncall.model_status import Endpoint, HealthOfAll, HealthReport
from oncall.monitoring.fleet import AT_ONCE
from oncall.monitoring.health import How, look, look_at_all
from tests.clients.webstand import Answer, Asked, Stand, forever, head, reply, silence
from tests.monitoring.fleetstand import HEALTH, healthy

T = TypeVar("T")
SOON = How(again_s=0.01)
BACKENDS = {"postgres": PostgresAt(dsn="postgresql://db/x"), "redis": RedisAt(url="redis://cache/0")}


def against(answer: Callable[[Asked], Answer], work: Callable[[Stand], Awaitable[T]]) -> T:
    async def run() -> T:
        async with Stand(answer) as stand:
            return await work(stand)

    return asyncio.run(run())


def looked(answer: Callable[[Asked], Answer], how: How = SOON) -> HealthReport:
    def work(stand: Stand) -> Awaitable[HealthReport]:
        return look("bot", Service(url=stand.url, **BACKENDS), how, ("-s", "bot"))  # type: ignore[arg-type]

    return against(answer, work)


def only(path: str, answer: Callable[[], Answer]) -> Callable[[Asked], Answer]:
    """All are well but that one."""
    return lambda asked: answer() if asked.path == path else healthy(asked)


def of(found: HealthReport, path: str) -> Endpoint:
    return next(e for e in found.endpoints if e.path == path)


def test_all_are_well() -> None:
    found = looked(healthy)
    assert (found.severity, found.summary, found.next) == (Severity.OK, "3 of 3 healthy", None)
    assert [(e.state, e.looks, e.failures, e.shape, e.status) for e in found.endpoints] == [
        ("healthy", 1, 0, (), 200)
    ] * 3
    assert {e.path: e.timeout_s for e in found.endpoints} == {
        "/health": 5.0,
        "/health/db": 5.0,
        "/health/cache": 3.0,
    }


ODD: list[tuple[str, Callable[[], Answer], str]] = [
    ("drip", lambda: forever(head("200 OK", {}), b" ", 0.05), "did not end within 1 s"),
    ("headers", lambda: forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05), "did not answer within 1 s"),
    ("silence", silence, "did not answer within 1 s"),
    ("flood", lambda: forever(head("200 OK", {}), b" " * 2**16), "larger than 1 MiB"),
    ("much", lambda: reply("{}", Content_Length=str(2**34)), "larger than 1 MiB"),
    ("away", lambda: reply(status="302 Found", Location="/login"), "redirects to /login: not followed"),
    ("page", lambda: reply("<html>Log in", Content_Type="text/html"), "an HTML page"),
    ("ill", lambda: reply('{"status": "unhealthy"}', "503 X"), "503 Service Unavailable"),
    ("cut", lambda: reply('{"status": "heal'), "not JSON, or cut"),
]


@pytest.mark.parametrize(("name", "answer", "says"), ODD, ids=[name for name, _, _ in ODD])
def test_row_34_what_is_odd_is_down_by_the_deadline(
    name: str, answer: Callable[[], Answer], says: str
) -> None:
    patience = 1.0 if "within" in says else 30.0
    found = looked(only("/health", answer), How(again_s=0.01, timeout_s=patience))
    down = of(found, "/health")
    assert (found.severity, down.state, down.failures, down.looks) == (Severity.CRITICAL, "down", 2, 2)
    assert says in down.text
    # The others have as little time as the odd one, and this machine may be busy
    assert patience == 1.0 or found.summary == "2 of 3 healthy: /health down"
    assert found.next is not None
    assert found.next.command == "oncall diagnose errors -s bot"


def test_the_cache_alone_is_a_warning() -> None:
    found = looked(only("/health/cache", lambda: reply('{"status": "down"}', "503 X")))
    assert (found.severity, of(found, "/health/cache").state) == (Severity.WARNING, "down")


def test_one_failure_is_not_down() -> None:
    answers = iter([reply("no", "500 X"), reply(json.dumps(HEALTH["/health/db"]))])
    found = looked(only("/health/db", lambda: next(answers)))
    once = of(found, "/health/db")
    assert (found.severity, once.state, once.failures, once.looks) == (Severity.WARNING, "failed_once", 1, 2)
    assert "500 Internal Server Error" not in once.text
    assert "'no'; 0.01 s later: connected" in once.text


def test_one_look_alone_never_says_down() -> None:
    def work(stand: Stand) -> Awaitable[tuple[HealthReport, int]]:
        async def looked() -> tuple[HealthReport, int]:
            found = await look("bot", Service(url=stand.url), How(once=True))
            return found, len(stand.asked)

        return looked()

    found, asked = against(lambda asked: reply("no", "500 X"), work)
    assert (found.severity, {e.state for e in found.endpoints}, asked) == (
        Severity.WARNING,
        {"failed_once"},
        3,
    )


def test_one_that_hangs_takes_nothing_from_the_others_and_what_had_too_little_time_is_unknown() -> None:
    def work(stand: Stand) -> Awaitable[HealthReport]:
        # Less than the 5 s of the document, and enough for two answers on a busy machine
        return look("bot", Service(url=stand.url), How(again_s=0.01, until=time.monotonic() + 3))

    found = against(only("/health/db", silence), work)
    late = of(found, "/health/db")
    assert (found.severity, late.state, late.looks) == (Severity.UNKNOWN, "unknown", 1)
    assert "s, and it may take 5 s" in late.text
    assert [of(found, path).state for path in ("/health", "/health/cache")] == ["healthy", "healthy"]


def test_without_time_for_a_second_look_it_failed_once() -> None:
    def work(stand: Stand) -> Awaitable[HealthReport]:
        how = How(again_s=30, timeout_s=1, until=time.monotonic() + 10)
        return look("bot", Service(url=stand.url), how)

    found = against(only("/health/db", silence), work)
    assert (found.severity, of(found, "/health/db").state) == (Severity.WARNING, "failed_once")


def test_the_shape_is_said_and_is_no_failure() -> None:
    found = looked(only("/health/db", lambda: reply('{"status": "connected", "latency_ms": "8"}')))
    assert found.severity is Severity.OK
    assert of(found, "/health/db").shape == (
        "has no database",
        "has no tables_accessible",
        "latency_ms is other text, not a number",
    )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: reply("{}", "401 X"), "refuses access"),
        (lambda: reply('{"uptime": "1"}'), 'without a "status"'),
    ],
)
def test_what_cannot_be_told_is_unknown_and_asked_once(answer: Callable[[], Answer], says: str) -> None:
    found = looked(only("/health/db", answer))
    unknown = of(found, "/health/db")
    assert (found.severity, unknown.state, unknown.looks) == (Severity.UNKNOWN, "unknown", 1)
    assert says in unknown.text


def test_nobody_there_is_down_and_no_name_is_unknown() -> None:
    down = asyncio.run(look("bot", Service(url=f"http://127.0.0.1:{free_port()}"), SOON))
    assert (down.severity, {e.state for e in down.endpoints}) == (Severity.CRITICAL, {"down"})
    nameless = asyncio.run(look("bot", Service(url="http://no-such-host.invalid"), SOON))
    assert (nameless.severity, {e.state for e in nameless.endpoints}) == (Severity.UNKNOWN, {"unknown"})


def test_without_a_url_it_is_not_configured_and_not_well() -> None:
    found = asyncio.run(look("bot", Service(), SOON))
    assert (found.severity, found.summary) == (Severity.UNKNOWN, "health not configured")
    assert {e.state for e in found.endpoints} == {"not_configured"}


@pytest.mark.parametrize(("redis", "state"), [(None, "not_configured"), (BACKENDS["redis"], "down")])
def test_no_page_of_a_backend_that_the_file_has_not_either(redis: RedisAt | None, state: str) -> None:
    missing = only("/health/cache", lambda: reply("none", "404 Not Found"))

    def work(stand: Stand) -> Awaitable[HealthReport]:
        return look("bot", Service(url=stand.url, redis=redis), SOON)

    found = against(missing, work)
    assert of(found, "/health/cache").state == state
    assert found.severity is (Severity.OK if redis is None else Severity.WARNING)


def test_secrets_of_the_service_do_not_come_out() -> None:
    def work(stand: Stand) -> Awaitable[HealthReport]:
        url = stand.url.replace("://", "://ana:secret-canary@")
        return look("bot", Service(url=url, headers={"X-Key": "secret-token-1"}), SOON)

    found = against(lambda asked: reply('{"status": "no secret-token-1"}', "503 X"), work)
    assert "secret" not in repr(found)


def test_of_a_hundred_services_few_are_open_and_a_dead_one_stops_no_other() -> None:
    most = 0

    async def work() -> HealthOfAll:
        nonlocal most
        async with Stand(lambda asked: counted_of(asked)) as stand, Stand(lambda asked: silence()) as dead:

            def counted_of(asked: Asked) -> Answer:
                nonlocal most
                most = max(most, len(stand._open))
                return healthy(asked)

            services = {f"s{n:03}": Service(url=stand.url) for n in range(100)}
            services["dead"] = Service(url=dead.url)
            return await look_at_all(services, How(once=True), dict.fromkeys(services, ()))

    found = asyncio.run(work())
    assert 3 < most <= 3 * AT_ONCE
    assert [s.service for s in found.services[:2]] == ["dead", "s000"]
    well = sum(s.severity is Severity.OK for s in found.services)
    assert (found.severity, well, found.summary) == (
        Severity.WARNING,
        100,
        "1 of 101 services not well: 1 warning",
    )
