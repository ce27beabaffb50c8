"""Health endpoints: only a proper answer is healthy, whatever else a server does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest

from oncall.clients.http import HttpServer, health
from oncall.lab.process import free_port
from oncall.model import Absence, Scalar, StepReading, Table, Unavailable
from oncall.model_service import Service
from tests.clients.webstand import Answer, Asked, Stand, forever, head, reply, silence, times

HEALTH = {"status": "healthy", "timestamp": "2025-10-25T20:00:00Z", "version": "1.0.0", "uptime": "12:34:56"}
DATABASE = {"status": "connected", "database": "deia_prod", "latency_ms": 8, "tables_accessible": 12}
CACHE = {"status": "healthy", "provider": "redis", "latency_ms": 2, "memory_used_mb": 45}


def read(answer: Callable[[Asked], Answer], path: str = "/health", deadline_s: float = 30) -> StepReading:
    async def work() -> StepReading:
        async with Stand(answer) as stand:
            return await health(Service(url=stand.url + "/app"), path, deadline_s)

    return asyncio.run(work())


def row(reading: StepReading) -> dict[str, Scalar]:
    assert isinstance(reading.answer, Table), reading.answer
    assert len(reading.answer.rows) == 1
    return dict(zip((c.name for c in reading.answer.columns), reading.answer.rows[0], strict=True))


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/health", HEALTH, "timestamp=2025-10-25T20:00:00Z version=1.0.0 uptime=12:34:56"),
        ("/health/db", DATABASE, "database=deia_prod latency_ms=8 tables_accessible=12"),
        ("/health/cache", CACHE, "provider=redis latency_ms=2 memory_used_mb=45"),
    ],
)
def test_the_three_endpoints_of_the_monitoring_document(path: str, body: object, detail: str) -> None:
    reading = read(lambda asked: reply(json.dumps(body)), path)
    found = row(reading)
    assert (found["endpoint"], found["status"], found["healthy"]) == (path, 200, True)
    assert found["detail"] == detail
    assert isinstance(found["ms"], float)
    assert (reading.source, (reading.query or "").endswith(f"/app{path}")) == ("http", True)


@pytest.mark.parametrize(
    ("answer", "status", "verdict", "says"),
    [
        (reply('{"status": "unhealthy", "error": "pool"}', "503 X"), 503, "unhealthy", "503 Service Unavailable"),
        (reply('{"status": "healthy"}', "500 X"), 500, "healthy", "500 Internal Server Error"),
        (reply('{"status": "degraded"}'), 200, "degraded", ""),
        (reply(status="302 Found", Location="/login?token=t0k"), 302, "redirect", "redirects to /login: not"),
        (reply("<html>", Content_Type="text/html; charset=utf-8"), 200, "html", "an HTML page"),
        (reply(" <!doctype html>"), 200, "html", "an HTML page"),
        (reply('{"status": "healthy"'), 200, "bad answer", "not JSON, or cut"),
        (reply("gone", Content_Type="text/plain"), 200, "bad answer", "'gone'"),
        (reply(""), 200, "bad answer", "not JSON"),
        (reply(b"\xff\xfe"), 200, "bad answer", "not JSON"),
        (reply("no", "404 Not Found"), 404, "bad answer", "'no'"),
    ],
)  # fmt: skip
def test_what_is_not_healthy_each_by_its_name(answer: bytes, status: int, verdict: str, says: str) -> None:
    found = row(read(lambda asked: answer))
    assert (found["status"], found["verdict"], found["healthy"]) == (status, verdict, False)
    assert says in str(found["detail"])
    assert "t0k" not in str(found["detail"])


@pytest.mark.parametrize(
    ("answer", "verdict", "says"),
    [
        (
            lambda: forever(head("200 OK", {}), b" ", 0.05),
            "timeout",
            "began to answer but did not end within",
        ),
        # Not even the headers come to an end
        (
            lambda: forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
            "timeout",
            "took the connection but did not answer within",
        ),
        (silence, "timeout", "took the connection but did not answer within"),
        (lambda: times(head("200 OK", {}), b" " * 2**16, 3200), "bad answer", "larger than 1 MiB"),
        (
            lambda: times(head("200 OK", {"Content-Length": "9999999999"}), b" ", 9),
            "bad answer",
            "larger than 1 MiB",
        ),
        (
            lambda: reply('{"status": "healthy"}', Content_Length="99", Connection="close"),
            "bad answer",
            "is cut",
        ),
        (lambda: times(b"220 mail ready\r\n\r\n", b"", 0), "bad answer", "does not speak HTTP"),
    ],
)
def test_an_endpoint_that_was_reached_and_does_not_answer_is_ill(
    answer: Callable[[], Answer], verdict: str, says: str
) -> None:
    found = row(read(lambda asked: answer(), deadline_s=1 if verdict == "timeout" else 30))
    assert (found["status"], found["verdict"], found["healthy"]) == (None, verdict, False)
    assert says in str(found["detail"])


def test_a_redirect_is_not_followed_into_healthy() -> None:
    """Row 34: the page behind it would say that all is well, to anybody who logs in."""

    async def work() -> tuple[StepReading, list[str]]:
        there = reply('{"status": "healthy"}')
        away = reply(status="307 Temporary Redirect", Location="/well")
        async with Stand(lambda asked: there if asked.path == "/well" else away) as stand:
            reading = await health(Service(url=stand.url), "/health", 30)
            return reading, [asked.path for asked in stand.asked]

    reading, asked = asyncio.run(work())
    assert (row(reading)["healthy"], asked) == (False, ["/health"])


def test_a_body_is_not_read_beyond_its_cap() -> None:
    """Row 34: it has no end; neither has what would be read of it without the cap, or the deadline."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield head("200 OK", {})
        while True:
            sent += 2**16
            yield b" " * 2**16

    assert row(read(lambda asked: endless(), deadline_s=60))["verdict"] == "bad answer"
    # What lies in the buffers of the two sockets and of both programs comes on top
    assert sent < 2**20 * 16


@pytest.mark.parametrize("body", ['{"ok": true}', "[]", '{"status": 1}'])
def test_json_without_a_status_is_unknown(body: str) -> None:
    assert row(read(lambda asked: reply(body)))["healthy"] is None


@pytest.mark.parametrize("text", ["OK\n", "healthy"])
def test_a_plain_word_will_do(text: str) -> None:
    assert row(read(lambda asked: reply(text, Content_Type="text/plain")))["healthy"] is True


def absent(reading: StepReading) -> Unavailable:
    assert isinstance(reading.answer, Unavailable), reading.answer
    return reading.answer


def test_a_service_that_cannot_be_reached_is_absent() -> None:
    port = free_port()
    down = asyncio.run(health(Service(url=f"http://localhost:{port}"), "/health", 30))
    assert absent(down).kind is Absence.DOWN
    assert down.query == f"GET http://localhost:{port}/health"
    assert absent(asyncio.run(health(Service(), "/health", 30))).kind is Absence.NOT_CONFIGURED
    assert absent(read(lambda asked: reply("who?", "401 Unauthorized"))).kind is Absence.AUTH


def test_credentials_are_sent_and_not_shown() -> None:
    async def work() -> tuple[StepReading, list[Asked]]:
        async with Stand(lambda asked: reply('{"status": "up"}')) as stand:
            service = Service(url=stand.url.replace("//", "//ops:s3cret@"), headers={"X-Key": "s3cret"})
            async with HttpServer.of_service(service) as server:
                await health(service, "/health/db", 30, server)
                return await health(service, "/health", 30, server), stand.asked

    reading, asked = asyncio.run(work())
    assert {a.headers["x-key"] for a in asked} == {"s3cret"}
    assert all(a.headers["authorization"].startswith("Basic ") for a in asked)
    assert "s3cret" not in repr(reading)
