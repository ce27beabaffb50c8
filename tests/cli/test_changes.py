"""`oncall changes` against a real Prometheus whose history is known, and against servers that answer badly."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from oncall.errors import Exit
from oncall.lab.servers import Server, free_port, start_prometheus, stop
from tests.cli.program import Program, Said
from tests.clients.history import SCRAPE_S, Service
from tests.clients.promstand import backfill
from tests.clients.webstand import Answer, Asked, reply
from tests.clients.webstand import Stand as Web
from tests.processes import frozen

LATEST_S = 2 * SCRAPE_S + 60
"""An onset may be told so late: two points, and the time that a rate is taken over."""


@dataclass(frozen=True)
class Past:
    """A Prometheus that scrapes nothing and holds one service's history up to `end` (Unix s)."""

    server: Server
    end: int

    def at(self, ago: int = 0) -> str:
        return datetime.fromtimestamp(self.end - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("past")
    end = int(time.time()) - 900
    backfill(folder, Service(end).lines())
    server = start_prometheus(folder, {})
    yield Past(server, end)
    stop(server)


@pytest.fixture(scope="module")
def report(past: Past, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is said of the end of the history, all of it."""
    program = Program(tmp_path_factory.mktemp("home"))
    return told(serving(program, past.server.url), "--at", past.at(), "--top", "100")


@pytest.fixture
def bot(program: Program, past: Past) -> Program:
    return serving(program, past.server.url)


def serving(program: Program, url: str, **selector: str) -> Program:
    program.services(bot={"prometheus": {"url": url, "selector": selector or {"job": "bot"}}})
    return program


def told(program: Program, *words: str) -> dict[str, Any]:
    said = program.run("--output", "json", "changes", *words)
    assert said.json["schema"] == "oncall/changes/1", said.out
    return {**said.json, "code": said.code}


def of(report: dict[str, Any], metric: str, **labels: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        c for c in report["changes"] if c["metric"] == metric and labels.items() <= c["labels"].items()
    ]
    assert len(found) == 1, found
    return found[0]


def since(past: Past, change: dict[str, Any]) -> float:
    """Seconds before the end at which a change is said to have begun."""
    return past.end - datetime.fromisoformat(change["onset"]).timestamp()


# --- what is found ---------------------------------------------------------------------------------


def test_the_document_is_the_contracts(report: dict[str, Any], past: Past) -> None:
    assert report["code"] == Exit.OK
    assert list(report)[:7] == ["schema", "service", "at", "window_s", "baseline_s", "compared", "changes"]
    assert (report["service"], report["at"]) == ("bot", past.at())
    assert (report["window_s"], report["baseline_s"], report["compared"]) == (300, 3600, 23)
    assert (report["changed"], report["reason"]) == (18, None)
    wanted = {"metric", "labels", "before", "now", "shift", "direction", "onset", "weak"}
    assert all(wanted <= set(change) for change in report["changes"])
    shifts = [abs(c["shift"]) for c in report["changes"] if c["shift"] is not None]
    assert shifts == sorted(shifts, reverse=True)


FAMILIES = [
    ("http_requests_total", {"status": "503"}, 0, 4, "up", 225),
    ("http_requests_total", {"endpoint": "/api/07"}, 10, 30, "up", 480),
    ("mean(http_request_duration_seconds)", {}, 0.05, 0.5, "up", 300),
    ("db_connection_pool_active", {}, 4, 18.5, "up", 360),
    ("age(process_start_time_seconds)", {}, 88_000, 200, "down", 200),
    ("cache_errors_total", {}, 2, 0, "down", 300),
]


@pytest.mark.parametrize(("metric", "labels", "before", "now", "direction", "ago"), FAMILIES)
def test_each_family_has_its_change_and_onset(
    report: dict[str, Any],
    past: Past,
    metric: str,
    labels: dict[str, str],
    before: float,
    now: float,
    direction: str,
    ago: int,
) -> None:
    found = of(report, metric, **labels)
    assert found["before"] == pytest.approx(before, rel=0.1)
    assert found["now"] == pytest.approx(now, rel=0.15, abs=0.01)
    assert found["direction"] == direction
    assert abs(found["shift"]) > 3
    assert not found["weak"]
    assert abs(since(past, found) - ago) <= LATEST_S


def test_a_series_that_is_gone(report: dict[str, Any]) -> None:
    found = of(report, "message_queue_depth")
    assert (found["before"], found["now"], found["shift"], found["gone"]) == (6, None, None, True)


def test_a_counter_that_is_new_began_at_zero(report: dict[str, Any]) -> None:
    found = of(report, "http_requests_total", status="503")
    assert (found["before"], found["new"]) == (0, True)


def test_buckets_are_left_out_and_not_a_number_is_counted(report: dict[str, Any]) -> None:
    assert not [c for c in report["changes"] if "bucket" in c["metric"]]
    assert [o["series"] for o in report["left_out"] if o["metric"] == "cache_hit_share"] == [1]


def test_before_the_incident_nothing_has_changed(bot: Program, past: Past) -> None:
    report = told(bot, "--at", past.at(1200), "--baseline", "40m")
    assert (report["code"], report["changed"], report["first"]) == (Exit.OK, 0, None)
    said = bot.run("changes", "--at", past.at(1200), "--baseline", "40m")
    assert re.match(r"none of \d+ series changed\n", said.out)


def test_a_wide_window_holds_it_all(bot: Program, past: Past) -> None:
    report = told(bot, "--at", past.at(), "--window", "10m", "--baseline", "50m")
    assert (report["window_s"], report["baseline_s"]) == (600, 3000)
    assert of(report, "http_requests_total", endpoint="/api/07")["clear"]


def test_top_and_limit(bot: Program, past: Past) -> None:
    report = told(bot, "--at", past.at(), "--top", "3", "--limit", "12")
    assert len(report["changes"]) == 3
    assert report["compared"] <= 12
    assert [o["metric"] for o in report["left_out"] if "limit" in o["reason"]] == ["http_requests_total"]
    page = bot.run("changes", "--at", past.at(), "--top", "3", "--limit", "12").out
    assert "13 series left out, over the limit of 12 series: http_requests_total (13)" in page
    assert "more changed: --top" in page


# --- how it looks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_page_at_any_width(bot: Program, past: Past, columns: int) -> None:
    said = bot.under(COLUMNS=str(columns)).run("changes", "--at", past.at())
    assert (said.code, said.err) == (Exit.OK, "")
    assert max(map(len, said.first)) <= columns
    assert said.out.startswith("18 of 23 series changed; first at ")
    flat = " ".join(said.out.split())
    assert "… and 10 more of http_requests_total, up" in flat
    assert "│" in said.out
    assert "bot · production" in flat


def test_at_a_terminal_without_unicode(bot: Program, past: Past) -> None:
    said = bot.under(PYTHONIOENCODING="ascii").run("changes", "--at", past.at())
    assert said.out.isascii()
    assert "|" in said.out
    assert "... and 10 more of http_requests_total" in said.out


def test_markdown(bot: Program, past: Past) -> None:
    said = bot.run("--output", "markdown", "changes", "--at", past.at())
    assert said.out.startswith("**18 of 23 series changed**\nbot · production · ")
    assert "\n**First at " in said.out
    assert said.out.count("```") == 2


# --- what cannot be told -------------------------------------------------------------------------------


def unknown(said: Said, reason: str) -> None:
    assert said.code == Exit.UNKNOWN
    assert (said.json["compared"], said.json["changes"]) == (0, [])
    assert re.search(reason, said.json["reason"]), said.json["reason"]


def asked(program: Program, *words: str) -> Said:
    return program.run("--output", "json", "changes", *words)


def test_no_prometheus_is_configured(program: Program) -> None:
    program.services(bot={})
    unknown(asked(program), "^prometheus: not configured$")
    page = program.run("changes")
    assert page.code == Exit.UNKNOWN
    assert page.first[0] == "changes unknown: prometheus: not configured"
    assert "only it knows what was before" in page.out


def test_nothing_is_there(program: Program, past: Past) -> None:
    serving(program, past.server.url, job="nobody")
    unknown(asked(program, "--at", past.at()), r'^no data for \{job="nobody"')


def test_the_samples_have_ended(bot: Program, past: Past) -> None:
    unknown(asked(bot, "--at", past.at(-1200)), "^stale: the newest samples are ")


def test_a_prometheus_that_is_younger_than_the_question(bot: Program, past: Past) -> None:
    report = told(bot, "--at", past.at(3600))
    assert report["code"] == Exit.OK
    assert any(note.startswith("the history begins at") for note in report["notes"])
    assert all(c["weak"] for c in report["changes"] if c["shift"])
    unknown(asked(bot, "--at", past.at(4350)), "^no baseline: the history begins at .*, within the window$")


def test_a_frozen_server(bot: Program, past: Past) -> None:
    with frozen(past.server.pid):
        unknown(asked(bot, "--timeout", "1s"), "did not answer within")


def test_no_server_at_all(program: Program) -> None:
    serving(program, f"http://127.0.0.1:{free_port()}")
    unknown(asked(program), "refused")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--top", "0"), "--top: '0' is not a whole number from 1 to 10000"),
        (("--limit", "x"), "--limit: 'x' is not a whole number"),
        (("--window", "5"), "--window: '5' is not a duration"),
        (("--at", "soon"), "--at: 'soon' is not a time"),
    ],
)
def test_wrong_usage(program: Program, words: tuple[str, str], says: str) -> None:
    program.services(bot={})
    said = asked(program, *words)
    assert (said.code, said.json["schema"]) == (Exit.USAGE, "oncall/error/1")
    assert said.json["error"].startswith(says)


def test_a_server_that_may_not_load_so_much_is_asked_for_less(
    program: Program, past: Past, tmp_path: Path
) -> None:
    """A real one with a small limit of samples a query: 422, then halves of the question."""
    backfill(tmp_path, Service(past.end).lines())
    server = start_prometheus(tmp_path, {}, arguments=("--query.max-samples=2000",))
    try:
        report = told(serving(program, server.url), "--at", past.at())
    finally:
        stop(server)
    assert (report["code"], report["compared"], report["changed"]) == (Exit.OK, 23, 18)


def test_two_thousand_series_are_compared_unless_told(program: Program, tmp_path: Path) -> None:
    end = int(time.time()) - 900
    counts = {"few": 2, "some": 1_300, "many": 1_000}
    backfill(
        tmp_path,
        [
            f'{metric}{{job="bot",n="{n}"}} {n} {end - ago}'
            for metric, count in counts.items()
            for n in range(count)
            for ago in range(4200, -1, -600)
        ],
    )
    server = start_prometheus(tmp_path, {})
    try:
        serving(program, server.url)
        at = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        usual = told(program, "--at", at)
        more = told(program, "--at", at, "--limit", "3000")
    finally:
        stop(server)
    (left,) = usual["left_out"]
    assert (left["metric"], left["series"]) == ("some", 1_300)
    assert left["reason"] == "over the limit of 2000 series"
    assert (usual["compared"], more["compared"]) == (1_002, 2_302)


# --- servers that answer badly ---------------------------------------------------------------------------


def through(program: Program, answer: Callable[[Asked], Answer], *words: str) -> Said:
    async def work() -> Said:
        async with Web(answer) as web:
            serving(program, web.url)
            return await asyncio.to_thread(asked, program, *words)

    return asyncio.run(work())


def made_up(asked: Asked, **more: object) -> Answer:
    """Two series of an hour, one of which jumps; `more` goes into every answer."""
    if asked.path.endswith("/metadata"):
        return reply('{"status": "success", "data": {"b": [{"type": "gauge"}]}}')
    form = asked.form
    if "start" not in form:
        return reply(json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}))
    begin, step = float(form["start"]), float(form["step"])
    count = round((float(form["end"]) - begin) / step) + 1
    times = [begin + i * step for i in range(count)]
    jump = [[t, "4" if t < times[-1] - 200 else "18"] for t in times]
    evil = {"__name__": "b", "path": "\x1b[31m[/red]\u202e"}
    result = [{"metric": {"__name__": "a"}, "values": jump}, {"metric": evil, "values": jump}]
    if form["query"].startswith("count"):
        result = [{"metric": {"__name__": n}, "values": [[begin, "1"]]} for n in "ab"]
    return reply(
        json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **more})
    )


def test_a_partial_answer_is_shown_but_not_trusted(program: Program) -> None:
    said = through(program, lambda a: made_up(a, warnings=["store-3 is away"]))
    assert said.code == Exit.UNKNOWN
    assert said.json["reason"] == "partial answer: store-3 is away"
    assert (said.json["compared"], said.json["changed"]) == (2, 2)


def test_foreign_labels_do_no_harm(program: Program) -> None:
    async def work() -> list[Said]:
        async with Web(made_up) as web:
            serving(program, web.url)
            ways = ("table", "markdown", "json")
            return [await asyncio.to_thread(program.run, "--output", w, "changes") for w in ways]

    for said in asyncio.run(work()):
        assert said.code == Exit.OK
        assert "\x1b" not in said.out
        assert "\u202e" not in said.out


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: reply("no healthy upstream", "503 Service Unavailable"), "503"),
        (lambda: reply("<html>Sign in</html>", Content_Type="text/html"), "HTML"),
        (lambda: reply('{"status": "success", "data": {"resultType": "matrix", "result": 5}}'), "shape"),
        (lambda: reply("{}", "401 Unauthorized"), "401"),
    ],
    ids=["503", "html", "odd", "401"],
)
def test_other_answers(program: Program, answer: Callable[[], Answer], says: str) -> None:
    unknown(through(program, lambda _: answer()), says)


def test_clocks_that_differ(program: Program) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=10)

    def answer(asked: Asked) -> Answer:
        plain = made_up(asked)
        assert isinstance(plain, bytes)
        date = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return plain.replace(b"\r\n\r\n", f"\r\nDate: {date}\r\n\r\n".encode(), 1)

    said = through(program, answer)
    assert any("clocks differ" in note for note in said.json["notes"])
    assert abs((datetime.fromisoformat(said.json["at"]) - ahead).total_seconds()) < 60
