"""The Prometheus client, against a real one and against stand-ins that answer badly."""

import asyncio
import json
import math
import os
import signal
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import TypeVar

import pytest

from oncall.clients.prometheus import Matrix, Prometheus, Vector
from oncall.lab.process import free_port
from oncall.lab.servers import Server, start_prometheus, stop
from oncall.model import Absence, Unavailable
from oncall.model_service import Basic, PrometheusAt
from oncall.signals import ages_promql
from tests.clients.promstand import ask, backfill, running, until
from tests.clients.webstand import Answer, Asked, Stand, head, reply, times
from tests.processes import frozen

T = TypeVar("T")
HTML = "<!DOCTYPE html><title>Sign in</title>"
NOW = float(int(time.time()) - 600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Holds m{n="1"} and m{n="2"}: a sample each 15 s for the five minutes before NOW."""
    folder = tmp_path_factory.mktemp("prometheus")
    backfill(folder, [f'm{{n="{n}"}} {n * 100 - b} {NOW - b}' for n in (1, 2) for b in range(300, -1, -15)])
    started = start_prometheus(folder, {})
    yield started
    stop(started)


def told(url: str, question: Callable[[Prometheus], Awaitable[T]]) -> T:
    async def work() -> T:
        async with Prometheus(PrometheusAt(url=url)) as client:
            return await question(client)

    return asyncio.run(work())


def query(url: str, promql: str, at: float | None = NOW, deadline_s: float = 30) -> Vector | Unavailable:
    return told(url, lambda client: client.query(promql, at, deadline_s))


def queried(url: str, promql: str) -> Vector:
    got = query(url, promql)
    assert isinstance(got, Vector), got
    return got


def refused(got: Vector | Matrix | str | Unavailable) -> Unavailable:
    assert isinstance(got, Unavailable), got
    assert "\n" not in got.reason
    return got


# --- a real one --------------------------------------------------------------------------------


def test_an_instant_query(server: Server) -> None:
    found = queried(server.url, "m")
    assert [(s.labels, s.time, s.value) for s in found.samples] == [
        ({"__name__": "m", "n": "1"}, NOW, 100.0),
        ({"__name__": "m", "n": "2"}, NOW, 200.0),
    ]
    assert found.warnings == ()


def test_a_scalar_is_a_sample_without_labels(server: Server) -> None:
    assert [(s.labels, s.value) for s in queried(server.url, "1 + 1").samples] == [({}, 2.0)]


def test_a_range_query(server: Server) -> None:
    got = told(server.url, lambda client: client.query_range("sum(m)", NOW - 30, NOW, 15, 30))
    assert isinstance(got, Matrix)
    assert [(s.times, s.values) for s in got.series] == [((NOW - 30, NOW - 15, NOW), (240.0, 270.0, 300.0))]


def test_the_raw_samples_of_one_series_only(server: Server) -> None:
    got = told(server.url, lambda client: client.raw("m", 60, NOW, 30))
    assert isinstance(got, Matrix)
    assert [(s.labels["n"], len(s.times)) for s in got.series] in ([("2", 5)], [("2", 4)])
    assert told(server.url, lambda client: client.raw("nothing", 60, NOW, 30)) == Matrix(series=())


def test_empty_nan_and_infinity_are_told_apart(server: Server) -> None:
    assert queried(server.url, "nothing").samples == ()
    assert math.isnan(queried(server.url, "vector(0) / 0").samples[0].value)
    assert [queried(server.url, f"vector({n}) / 0").samples[0].value for n in (1, -1)] == [
        math.inf,
        -math.inf,
    ]
    assert queried(server.url, "vector(0) / 0 > 5").samples == ()


def test_version_and_clock(server: Server) -> None:
    async def question(client: Prometheus) -> tuple[str | Unavailable, float | None]:
        assert client.skew_s is None
        return await client.buildinfo(30), client.skew_s

    version, skew = told(server.url, question)
    assert isinstance(version, str)
    assert version.startswith(server.version)
    assert skew is not None
    assert abs(skew) < 30


@pytest.mark.parametrize(
    ("promql", "says"),
    [
        ("sum(", "bad_data: invalid parameter"),
        ('label_replace(m, "a", "$1", "b", "(")', "invalid regular expression"),
        ("m + on (job) m", "execution: "),
        ("m[5m]", "not a vector"),
        ("", "bad_data"),
    ],
)
def test_a_query_that_is_wrong_comes_with_prometheus_own_words(
    server: Server, promql: str, says: str
) -> None:
    got = refused(query(server.url, promql))
    assert got.kind is Absence.BAD_QUERY
    assert says in got.reason
    assert f"127.0.0.1:{server.port}" in got.reason


def test_too_many_points_are_refused_by_prometheus(server: Server) -> None:
    got = refused(told(server.url, lambda client: client.query_range("m", 0, NOW, 1, 30)))
    assert got.kind is Absence.BAD_QUERY
    assert "exceeded maximum resolution" in got.reason


def test_a_query_too_slow_for_the_servers_own_limit_is_a_timeout(tmp_path: Path) -> None:
    started = start_prometheus(tmp_path, {}, arguments=["--query.timeout=1ms"])
    try:
        slow = " + ".join(["vector(1)"] * 200)
        got = refused(told(started.url, lambda client: client.query_range(slow, NOW - 10_000, NOW, 1, 30)))
    finally:
        stop(started)
    assert got.kind is Absence.TIMEOUT
    assert "timed out" in got.reason


def test_a_frozen_server_is_told_by_the_deadline_and_used_again_afterwards(tmp_path: Path) -> None:
    async def work() -> tuple[list[Vector | Unavailable], Vector | Unavailable]:
        async with running(tmp_path) as (client, server):
            await ask(client, "vector(1)")
            with frozen(server.pid):
                late = await asyncio.gather(*(client.query("vector(1)", None, 0.5) for _ in range(15)))
            return late, await client.query("vector(1)", None, 30)

    late, after = asyncio.run(work())
    assert {refused(got).kind for got in late} == {Absence.TIMEOUT}
    assert any("took the connection but did not answer within 0.5 s" in refused(got).reason for got in late)
    assert isinstance(after, Vector)


def test_series_go_stale_after_a_restart_without_their_job_while_up_says_1(tmp_path: Path) -> None:
    ages = ages_promql({"x": ("m",)}, 60, 60)

    async def work() -> tuple[float, float]:
        def page(asked: Asked) -> Answer:
            return reply("m 1\n", Content_Type="text/plain; version=0.0.4")

        async with Stand(page) as stand:
            target = stand.url.removeprefix("http://")
            async with running(tmp_path, {"app": [target]}) as (client, _):
                await until(client, "count_over_time(m[1m]) >= 3")
            async with running(tmp_path) as (client, _):
                await until(
                    client, f'{ages} > 2 and on (what) label_replace(vector(1), "what", "age", "", "")'
                )
                found = {s.labels["what"]: s.value for s in await ask(client, ages)}
                up = (await ask(client, "up"))[0].value
        return found["age"], up

    age, up = asyncio.run(work())
    assert age > 2
    assert up == 1


def test_a_partial_answer_carries_its_warnings(tmp_path: Path) -> None:
    """A remote store that is away: HTTP 200, success, and a warning."""

    async def work() -> Vector:
        async with running(tmp_path) as (client, server):
            config = tmp_path / "prometheus.yml"
            store = f"remote_read: [{{url: 'http://127.0.0.1:{free_port()}/read', read_recent: true}}]\n"
            config.write_text(config.read_text() + store)
            os.kill(server.pid, signal.SIGHUP)
            while True:
                got = await client.query("up", None, 30)
                assert isinstance(got, Vector)
                if got.warnings:
                    return got

    got = asyncio.run(work())
    assert got.samples == ()
    assert "connection refused" in got.warnings[0]


# --- stand-ins ---------------------------------------------------------------------------------


def stood(answer: Callable[[Asked], Answer], at: float | None = None) -> Vector | Unavailable:
    async def work() -> Vector | Unavailable:
        async with Stand(answer) as stand, Prometheus(PrometheusAt(url=stand.url)) as client:
            return await client.query("m", at, 30)

    return asyncio.run(work())


def success(kind: str, result: object, **more: object) -> bytes:
    return reply(json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}))


def failure(kind: str, text: str) -> str:
    return json.dumps({"status": "error", "errorType": kind, "error": text})


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (reply(failure("bad_data", "no\nquery"), "400 Bad Request"), Absence.BAD_QUERY, "bad_data: no query"),
        (reply(failure("execution", "x" * 999), "422 Unprocessable"), Absence.BAD_QUERY, "execution: xxx"),
        (reply(failure("timeout", "late"), "503 Service Unavailable"), Absence.TIMEOUT, "timeout: late"),
        (reply(failure("internal", "oh"), "500 Error"), Absence.BAD_ANSWER, "internal: oh"),
        (reply(HTML, "503 Unavailable", Content_Type="text/html"), Absence.BAD_ANSWER, "Unavailable: an HTML"),
        (reply("Service Unavailable", "503 X", X_Prometheus_Stopping="false"), Absence.STARTING, "not ready"),
        (reply("no healthy upstream", "503 X", Content_Type="text/plain"), Absence.BAD_ANSWER, "no healthy upstream"),
        (reply("404 page not found", "404 Not Found"), Absence.BAD_ANSWER, "404 Not Found: 404 page"),
        (reply(HTML, Content_Type="text/html"), Absence.BAD_ANSWER, "an HTML page"),
        (reply(success("vector", [])[-40:-9]), Absence.BAD_ANSWER, "cut or broken"),
        (reply(b'{"status": "success", "data": {"resultType": "\xff'), Absence.BAD_ANSWER, "cut or broken"),
        (reply(""), Absence.BAD_ANSWER, "cut or broken"),
        (reply('{"ok": true}'), Absence.BAD_ANSWER, "not that of the Prometheus API"),
        (reply("[]"), Absence.BAD_ANSWER, "not that of the Prometheus API"),
        (reply('{"status": "success"}'), Absence.BAD_ANSWER, "unknown shape"),
        (success("vector", [{"metric": {}, "value": [1, "x"]}]), Absence.BAD_ANSWER, "unknown shape"),
        (success("vector", {}), Absence.BAD_ANSWER, "unknown shape"),
        (success("streams", []), Absence.BAD_QUERY, "answers with a streams, not a vector"),
        (reply(status="302 Found", Location="https://sso/login?token=t0k"), Absence.BAD_ANSWER, "to https://sso/login:"),
        (reply("who?", "401 Unauthorized"), Absence.AUTH, "401 Unauthorized"),
        (reply("no", "403 Forbidden"), Absence.AUTH, "403 Forbidden"),
    ],
)  # fmt: skip
def test_bad_answers_each_by_its_name(answer: bytes, kind: Absence, says: str) -> None:
    got = refused(stood(lambda asked: answer))
    assert got.kind is kind
    assert says in got.reason
    assert "t0k" not in got.reason
    assert len(got.reason) < 300


def test_200_mb_are_not_read_into_memory() -> None:
    begin = head("200 OK", {"Content-Type": "application/json"}) + b'{"status":"success","data":{"x":"'
    tracemalloc.start()
    try:
        got = refused(stood(lambda asked: times(begin, b"x" * 2**16, 3200)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "larger than 16 MiB" in got.reason
    assert peak < 40 * 2**20


def test_infos_are_no_warnings_and_victoriametrics_says_partial_in_its_own_way() -> None:
    plain = stood(lambda asked: success("vector", [], infos=["metric might not be a counter"]))
    partial = stood(lambda asked: success("vector", [], isPartial=True))
    warned = stood(lambda asked: success("vector", [], warnings=["one\nstore is away"]))
    assert [got.warnings for got in (plain, partial, warned) if isinstance(got, Vector)] == [
        (),
        ("the server says that its answer is partial",),
        ("one store is away",),
    ]


def test_native_histograms_are_left_out_and_that_is_said() -> None:
    elements = [{"metric": {"a": "b"}, "histogram": [1, {}]}, {"metric": {}, "value": [1, "2"]}]
    got = stood(lambda asked: success("vector", elements))
    assert isinstance(got, Vector)
    assert (len(got.samples), got.warnings) == (1, ("1 native histograms were left out",))


def test_where_post_is_not_allowed_get_is_used_from_then_on() -> None:
    def answer(asked: Asked) -> Answer:
        return reply("no", "405 Method Not Allowed") if asked.method == "POST" else success("vector", [])

    async def work() -> list[Asked]:
        async with Stand(answer) as stand, Prometheus(PrometheusAt(url=stand.url)) as client:
            for _ in range(2):
                assert isinstance(await client.query('m{a="é"}', 1.5, 30), Vector)
        return stand.asked

    asked = asyncio.run(work())
    assert [a.method for a in asked] == ["POST", "GET", "GET"]
    assert {a.form["query"] for a in asked} == {'m{a="é"}'}
    assert {a.form["time"] for a in asked} == {"1.500"}


def test_the_server_is_told_the_deadline_the_tenant_and_the_credentials() -> None:
    async def work() -> Asked:
        async with Stand(lambda asked: success("vector", [])) as stand:
            headers, basic = {"X-Scope-OrgID": "deia"}, Basic(username="a", password="b")
            at = PrometheusAt(url=f"{stand.url}/prometheus/", headers=headers, basic=basic)
            async with Prometheus(at) as client:
                await client.query("m", None, 2.5)
        return stand.asked[0]

    asked = asyncio.run(work())
    assert (asked.path, asked.form) == ("/prometheus/api/v1/query", {"query": "m", "timeout": "2500ms"})
    assert (asked.headers["x-scope-orgid"], asked.headers["authorization"]) == ("deia", "Basic YTpi")


@pytest.mark.parametrize("minutes", [-10, 10])
def test_the_servers_clock_is_read_from_any_answer(minutes: int) -> None:
    def answer(asked: Asked) -> Answer:
        return reply("no", "404 Not Found", Date=formatdate(time.time() + 60 * minutes, usegmt=True))

    async def work() -> float | None:
        async with Stand(answer) as stand, Prometheus(PrometheusAt(url=stand.url)) as client:
            refused(await client.buildinfo(30))
            return client.skew_s

    skew = asyncio.run(work())
    assert skew == pytest.approx(60 * minutes, abs=30)


def test_a_clock_that_cannot_be_read_is_no_clock() -> None:
    async def work() -> float | None:
        answer = reply("{}", Date="yesterday")
        async with Stand(lambda asked: answer) as stand, Prometheus(PrometheusAt(url=stand.url)) as client:
            await client.buildinfo(30)
            return client.skew_s

    assert asyncio.run(work()) is None


@pytest.mark.parametrize("body", ['{"status":"success","data":{}}', "gone", HTML])
def test_a_server_that_does_not_tell_its_version(body: str) -> None:
    async def work() -> str | Unavailable:
        answer = reply(body)
        async with Stand(lambda asked: answer) as stand, Prometheus(PrometheusAt(url=stand.url)) as client:
            return await client.buildinfo(30)

    assert refused(asyncio.run(work())).kind is Absence.BAD_ANSWER
