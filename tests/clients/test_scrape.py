"""Reading /metrics directly: pages of the official client, large ones, and what is no page."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from oncall.clients.http import HttpServer
from oncall.clients.scrape import Scrape, parse_lines, scrape
from oncall.lab.process import free_port
from oncall.model import Absence, Unavailable
from oncall.model_service import Service
from tests.clients.webstand import Answer, Asked, Stand, head, reply

PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def read(answer: Callable[[Asked], Answer], *names: str, deadline_s: float = 60) -> Scrape | Unavailable:
    async def work() -> Scrape | Unavailable:
        async with Stand(answer) as stand:
            return await scrape(Service(url=stand.url), names, deadline_s)

    return asyncio.run(work())


def page(answer: Callable[[Asked], Answer], *names: str) -> Scrape:
    got = read(answer, *names)
    assert isinstance(got, Scrape), got
    return got


def exported() -> CollectorRegistry:
    registry = CollectorRegistry()
    requests = Counter("http_requests", "Requests.", ["status", "endpoint"], registry=registry)
    requests.labels("200", "/").inc(3)
    requests.labels("500", 'a"b\\c\nd').inc()
    Gauge("db_connection_pool_active", "Pool.", registry=registry).set(7)
    Histogram("lat_seconds", "Latency.", buckets=(0.1, 1), registry=registry).observe(0.5, {"trace": "x"})
    Summary("held_seconds", "Held.", registry=registry).observe(2)
    return registry


@pytest.mark.parametrize(
    ("generate", "kind"),
    [(generate_latest, PLAIN), (generate_openmetrics, "application/openmetrics-text; version=1.0.0")],
)
def test_a_page_of_the_official_client_in_either_format(
    generate: Callable[[CollectorRegistry], bytes], kind: str
) -> None:
    body = generate(exported())
    names = ("http_requests_total", "db_connection_pool_active", "lat_seconds", "held_seconds")
    found = page(lambda asked: reply(body, Content_Type=kind), *names).samples
    assert found["http_requests_total"] == (
        ({"status": "200", "endpoint": "/"}, 3.0),
        ({"status": "500", "endpoint": 'a"b\\c\nd'}, 1.0),
    )
    assert found["db_connection_pool_active"] == (({}, 7.0),)
    assert [(s["le"], value) for s, value in found["lat_seconds_bucket"]] == [
        ("0.1", 0),
        ("1.0", 1),
        ("+Inf", 1),
    ]
    assert found["held_seconds_sum"] == (({}, 2.0),)
    assert set(found) == {
        *("http_requests_total", "db_connection_pool_active", "held_seconds_sum", "held_seconds_count"),
        *("lat_seconds_bucket", "lat_seconds_sum", "lat_seconds_count"),
    }


def test_prometheus_text_is_asked_for_and_the_start_of_the_process_comes_along() -> None:
    async def work() -> tuple[Scrape | Unavailable, Asked]:
        body = reply("process_start_time_seconds 1.7e9\nx 1", Content_Type=PLAIN)
        async with Stand(lambda asked: body) as stand, HttpServer(stand.url + "/app") as server:
            return await scrape(Service(url=stand.url), (), 30, server), stand.asked[0]

    got, asked = asyncio.run(work())
    assert isinstance(got, Scrape)
    assert got.started == 1.7e9
    assert (asked.path, asked.headers["accept"].partition(";")[0]) == ("/app/metrics", "text/plain")
    assert abs(got.at - time.time()) < 60
    assert got.monotonic <= time.monotonic()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_page_that_comes_in_pieces_is_read_whole(size: int) -> None:
    body = b'# HELP x \xc3\xa4\r\nx{a="\xc3\xa4"} 1\n\nxx 2\nx  \t-2.5e3 1700000000000\nx_total{} NaN\n x 4\nx +Inf'

    async def pieces() -> AsyncIterator[bytes]:
        yield head("200 OK", {"Content-Type": PLAIN})
        for begin in range(0, len(body), size):
            yield body[begin : begin + size]

    found = page(lambda asked: pieces(), "x").samples
    assert found["x"] == (({"a": "ä"}, 1.0), ({}, -2500.0), ({}, 4.0), ({}, float("inf")))
    assert len(found["x_total"]) == 1


async def large(series: int) -> AsyncIterator[bytes]:
    yield head("200 OK", {"Content-Type": PLAIN}) + b'# TYPE wanted counter\nwanted_total{n="1"} 5\n'
    line = b'foreign_bucket{endpoint="/api/v1/some/where",instance_id="abcdefgh-1234",method="GET",le="0.5"} 123456\n'
    many = line * 500
    for _ in range(series // 500):
        yield many
    yield b'wanted_total{n="2"} 6\n'


def test_a_page_with_200_000_foreign_series_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        found = page(lambda asked: large(200_000), "wanted_total").samples
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == {"wanted_total": (({"n": "1"}, 5.0), ({"n": "2"}, 6.0))}
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (reply("<html>", Content_Type="text/html"), Absence.BAD_ANSWER, "not a metrics page: HTML"),
        (reply('{"status": "up"}'), Absence.BAD_ANSWER, "not a metrics page: JSON"),
        (reply("hello", Content_Type="text/plain"), Absence.BAD_ANSWER, "no line of metrics"),
        (reply("", Content_Type=PLAIN), Absence.BAD_ANSWER, "no line of metrics"),
        (reply("x 1\nx{1a=\"b\"} 2\n", Content_Type=PLAIN), Absence.BAD_ANSWER, "has a line that is no sample"),
        (reply("x 1\nx one\n", Content_Type=PLAIN), Absence.BAD_ANSWER, "has a line that is no sample"),
        (reply("x" * 2**17, Content_Type=PLAIN), Absence.BAD_ANSWER, "a line longer than 64 KiB"),
        (reply("x 1", "503 X", Content_Type=PLAIN), Absence.BAD_ANSWER, "503 Service Unavailable"),
        (reply(status="302 Found", Location="/login"), Absence.BAD_ANSWER, "redirects (302) to /login"),
        (reply("x 1", "401 X"), Absence.AUTH, "401"),
    ],
)  # fmt: skip
def test_what_is_no_metrics_page_each_by_its_name(answer: bytes, kind: Absence, says: str) -> None:
    got = read(lambda asked: answer, "x")
    assert isinstance(got, Unavailable)
    assert got.kind is kind
    assert says in got.reason


def test_a_service_without_address_and_one_that_is_down() -> None:
    for service, kind in (
        (Service(), Absence.NOT_CONFIGURED),
        (Service(url=f"http://127.0.0.1:{free_port()}"), Absence.DOWN),
    ):
        got = asyncio.run(scrape(service, ("x",), 30))
        assert isinstance(got, Unavailable)
        assert got.kind is kind


def test_more_wanted_series_than_can_be_held_are_refused() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield head("200 OK", {"Content-Type": PLAIN})
        many = b"".join(b'wanted{n="%05d"} 1\n' % n for n in range(5000))
        while True:
            yield many

    got = read(lambda asked: endless(), "wanted")
    assert isinstance(got, Unavailable)
    assert "fill more than 16 MiB" in got.reason


@given(st.lists(st.text(), max_size=5))
def test_any_line_is_a_sample_or_a_mistake_that_is_told(lines: list[str]) -> None:
    try:
        found = list(parse_lines(["x{" + line for line in lines]))
    except ValueError:
        return
    assert all(isinstance(value, float) for _, _, value in found)
