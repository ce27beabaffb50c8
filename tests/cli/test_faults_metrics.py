"""Rows 28-32 and 43 of the matrix of faults, as the engineer sees them."""

import asyncio
import os
import re
import signal as signals
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oncall.errors import Exit
from oncall.lab.servers import Server, free_port, start_prometheus, stop
from tests.cli.page import Page, served
from tests.cli.program import Program, Said, signal, step, unseen
from tests.clients.promstand import backfill
from tests.clients.webstand import Answer, Asked, forever, head, reply
from tests.clients.webstand import Stand as Web
from tests.conftest import Varied
from tests.processes import frozen

FAST = ("--interval", "200ms")


def diagnosed(program: Program, *words: str) -> Said:
    return program.run("diagnose", "pool", *FAST, *words)


def the_rest_is_there(said: Said, source: str = "scrape") -> None:
    """Postgres and the service's own page say what they know, whatever became of Prometheus."""
    report = said.json
    assert step(report, "sessions")["status"] == "ok"
    assert step(report, "health")["status"] == "ok"
    assert signal(report, "server_slots")["severity"] == "ok"
    found = signal(report, "pool_active")
    assert (found["source"], found["severity"]) == (source, "ok")


@contextmanager
def prometheus(
    folder: Path, *targets: str, job: str = "bot", arguments: tuple[str, ...] = ()
) -> Iterator[Server]:
    server = start_prometheus(folder, {job: targets}, arguments=arguments)
    try:
        yield server
    finally:
        stop(server)


def until_seen(program: Program, wanted: Callable[[dict[str, object]], bool]) -> Said:
    """Diagnoses until a signal is as wanted: Prometheus scrapes once a second."""
    deadline = time.monotonic() + 30
    while True:
        said = diagnosed(program, "--output", "json")
        if wanted(signal(said.json, "pool_active")):
            return said
        assert time.monotonic() < deadline, said.out


# --- row 28: Prometheus answers badly ------------------------------------------------------------


def test_row_28_frozen(varied: Varied, tmp_path: Path) -> None:
    with prometheus(tmp_path) as server:
        program = varied(prometheus__url=server.url)
        with frozen(server.pid):
            said = diagnosed(program, "--timeout", "2s", "--output", "json")
            page = diagnosed(program, "--timeout", "2s")
    assert said.code == page.code == Exit.UNKNOWN
    assert "did not answer within" in unseen(said.json, "prometheus")["reason"]
    the_rest_is_there(said)
    assert page.first[0].startswith("POOL UNKNOWN")
    assert "did not answer within" in page.out


def test_row_28_a_question_that_prometheus_refuses(varied: Varied) -> None:
    """400 from the real one: a mistake in one signal of the team leaves the others."""
    program = varied(signals={"request_rate": {"promql": "sum(rate(http_requests_total))"}})
    said = diagnosed(program, "--output", "json")
    assert signal(said.json, "request_rate")["severity"] == "unknown"
    assert "range vector" in signal(said.json, "request_rate")["reason"]
    the_rest_is_there(said, "prometheus")


def test_row_28_422(varied: Varied, tmp_path: Path, healthy_target: str) -> None:
    """A real Prometheus that may not load so many samples."""
    limits = ("--query.max-samples=1",)
    with prometheus(tmp_path, healthy_target, job="bot-controller", arguments=limits) as server:
        program = varied(prometheus__url=server.url)
        deadline = time.monotonic() + 30
        while "too many samples" not in (said := diagnosed(program, "--output", "json")).out:
            assert time.monotonic() < deadline, said.out
    assert said.code == Exit.UNKNOWN
    the_rest_is_there(said)


@pytest.fixture
def healthy_target(lab_service: dict[str, str]) -> str:
    return lab_service["url"].removeprefix("http://")


def _cut() -> bytes:
    return head("200 OK", {"Content-Length": "900", "Connection": "close"}) + b'{"status": "success", "da'


def _huge() -> AsyncIterator[bytes]:
    return forever(head("200 OK", {"Content-Length": str(200 * 2**20)}), b"x" * 2**16)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: reply("no healthy upstream", "503 Service Unavailable"), "503"),
        (lambda: reply("<html><body>Sign in</body></html>", Content_Type="text/html"), "HTML"),
        (_cut, "cut|broke off|ended|incomplete"),
        (_huge, "larger than|more than|too large"),
        (
            lambda: reply('{"status": "success", "data": {"resultType": "vector", "result": 5}}'),
            "unknown shape",
        ),
    ],
    ids=["503", "html", "cut", "200MB", "odd"],
)
def test_row_28_other_answers(varied: Varied, answer: Callable[[], Answer], says: str) -> None:
    async def work() -> Said:
        def every(asked: Asked) -> Answer:
            return answer()

        async with Web(every) as web:
            program = measured(varied(prometheus__url=web.url))
            return await asyncio.to_thread(diagnosed, program, "--output", "json")

    said = asyncio.run(work())
    assert said.code == Exit.UNKNOWN
    assert re.search(says, unseen(said.json, "prometheus")["reason"]), unseen(said.json, "prometheus")
    the_rest_is_there(said)
    peak = re.search(r"peak (\d+) kB", said.err)
    assert peak is not None
    assert int(peak[1]) < 150_000


def measured(program: Program) -> Program:
    """The same, that says at its end how much memory it took at most."""
    return Program(program.folder, program.extra, (sys.executable, "-c", MEASURED))


# Linux hands ru_maxrss on from who started the program, so the peak of the program itself is read there.
MEASURED = """
import atexit, pathlib, re, resource, sys

def peak():
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

atexit.register(lambda: print("peak", peak(), "kB", file=sys.stderr))
from oncall.cli.main import main
main()
"""


# --- rows 29 to 31: partial, empty, undefined, stale ---------------------------------------------


def test_row_29_a_partial_answer(varied: Varied, tmp_path: Path, healthy_target: str) -> None:
    """A remote store that is away: HTTP 200, success, and a warning."""
    with prometheus(tmp_path, healthy_target, job="bot-controller") as server:
        config = tmp_path / "prometheus.yml"
        store = f"remote_read: [{{url: 'http://127.0.0.1:{free_port()}/read', read_recent: true}}]\n"
        config.write_text(config.read_text() + store)
        os.kill(server.pid, signals.SIGHUP)
        program = varied(prometheus__url=server.url)
        said = until_seen(program, lambda s: "partial" in str(s["reason"]))
    assert said.code == Exit.UNKNOWN
    assert step(said.json, "sessions")["status"] == "ok"
    assert "connection refused" in str(signal(said.json, "pool_active")["reason"])


def test_row_30_an_empty_vector_is_no_zero(varied: Varied) -> None:
    program = varied(prometheus__selector={"job": "nobody"})
    said = diagnosed(program, "--output", "json")
    assert said.code == Exit.UNKNOWN
    found = signal(said.json, "pool_active")
    assert (found["value"], found["severity"]) == (None, "unknown")
    assert found["reason"] == 'no data for db_connection_pool_active{job="nobody"}'
    assert step(said.json, "sessions")["status"] == "ok"
    assert 'no data for db_connection_pool_active{job="nobody"}' in " ".join(diagnosed(program).out.split())


def undefined(said: Said) -> None:
    assert said.code == Exit.UNKNOWN
    found = signal(said.json, "pool_active")
    assert (found["value"], found["severity"]) == (None, "unknown")
    assert "undefined" in found["reason"]


def test_row_30_not_a_number_is_undefined(program: Program, tmp_path: Path) -> None:
    with served(active=float("nan")) as page, prometheus(tmp_path, page.target) as server:
        program.services(bot={"prometheus": {"url": server.url, "selector": {"job": "bot"}}})
        undefined(until_seen(program, lambda s: "no data" not in str(s["reason"])))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_row_30_undefined_without_prometheus_too(program: Program, value: str) -> None:
    with served(active=float(value)) as page:
        program.services(bot={"url": page.url})
        undefined(diagnosed(program, "--output", "json"))


def test_one_of_several_numbers_is_none(varied: Varied) -> None:
    """An expression of the service file that is not one number: the first of its series would be any of them."""
    program = varied(signals={"pool_active": {"promql": "db_connection_pool_active{$selector} or vector(3)"}})
    said = diagnosed(program, "--output", "json")
    assert said.code == Exit.UNKNOWN
    found = signal(said.json, "pool_active")
    assert found["value"] is None
    assert "the expression has 2 values" in found["reason"]


def test_row_31_stale_series_are_told_by_their_age(program: Program, tmp_path: Path) -> None:
    """What a Prometheus still answers that was restarted without the job two minutes ago."""
    now = int(time.time())
    lines = ["# TYPE db_connection_pool_active gauge"]
    lines += [f'db_connection_pool_active{{job="bot"}} 3 {now - age}' for age in range(400, 120, -1)]
    lines += ["# TYPE db_connection_pool_size gauge"]
    lines += [f'db_connection_pool_size{{job="bot"}} 20 {now - age}' for age in range(400, 120, -1)]
    backfill(tmp_path, lines)
    with prometheus(tmp_path) as server:
        program.services(bot={"prometheus": {"url": server.url, "selector": {"job": "bot"}}})
        said = diagnosed(program, "--output", "json")
        page = diagnosed(program)
    assert said.code == page.code == Exit.UNKNOWN
    found = signal(said.json, "pool_active")
    assert (found["value"], found["severity"]) == (None, "unknown")
    assert re.fullmatch(r"stale: the newest sample is 1[23]\d s old", found["reason"])
    assert 120 <= found["age_s"] < 140
    assert re.search(r"stale: the newest sample is 1[23]\d s old", page.out)


# --- row 32: a label that wants to be a query ----------------------------------------------------

EVIL = 'x"} or vector(1) #'


def test_row_32_a_hostile_label_is_quoted(varied: Varied, tmp_path: Path, page: Page) -> None:
    with prometheus(tmp_path, page.target, job=EVIL) as server:
        program = varied(prometheus__url=server.url, prometheus__selector={"job": EVIL}, url=None)
        said = until_seen(program, lambda s: s["value"] is not None)
        assert signal(said.json, "pool_active")["value"] == 7
        assert said.code == Exit.OK
        # Where nothing has that label, nothing is found: the rest of the text was never a query.
        program = varied(
            prometheus__url=server.url, prometheus__selector={"job": 'y"} or vector(1) #'}, url=None
        )
        said = diagnosed(program, "--output", "json")
    assert said.code == Exit.UNKNOWN
    assert signal(said.json, "pool_active")["value"] is None


@pytest.fixture
def page() -> Iterator[Page]:
    with served(active=7) as made:
        yield made


def test_row_32_a_label_name_that_is_none_is_refused(program: Program) -> None:
    path = program.write(
        "services:\n  bot:\n    prometheus:\n      url: http://h\n      selector: {'a=~\".*\",b': x}\n"
    )
    said = diagnosed(program)
    assert said.code == Exit.CONFIG
    assert f"{path}:5: services.bot.prometheus.selector" in said.err


def test_the_two_looks_at_metrics_are_within_the_timeout(program: Program) -> None:
    """Without Prometheus: an interval that is longer than the whole time is cut, and the report says so."""
    with served() as page:
        program.services(bot={"url": page.url})
        said = program.run("diagnose", "pool", "--interval", "1h", "--timeout", "1s", "--output", "json")
    assert signal(said.json, "pool_active")["value"] == 4
    assert said.json["duration_ms"] < 10_000
    assert any("two looks at /metrics, 0.3 s apart" in note for note in said.json["notes"])


# --- row 43: nothing is configured ---------------------------------------------------------------


def test_row_43_nothing_is_configured(program: Program) -> None:
    program.services(bot={})
    page = diagnosed(program)
    said = diagnosed(program, "--output", "json")
    assert page.code == said.code == Exit.UNKNOWN
    assert page.first[0].startswith("POOL UNKNOWN")
    report = said.json
    assert (report["severity"], report["verdict"]) == ("unknown", "inconclusive")
    for backend in ("prometheus", "postgres", "http"):
        assert unseen(report, backend)["reason"] == "not configured"
        assert f"{backend}: not configured" in page.out
    assert all(s["value"] is None for s in report["signals"])
    assert {s["status"] for s in report["steps"]} == {"skipped"}
    assert {c["confidence"] for c in report["causes"]} == {"unknown"}
