"""Services whose metrics are not quite as they are thought to be: what they do not tell is unknown, never healthy."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oncall.diagnosis.bounds import spec_of
from oncall.errors import Exit
from oncall.lab.servers import start_prometheus, stop
from oncall.model_service import Service
from oncall.runbook.loader import library
from tests.cli.program import Program, Said, signal, step
from tests.clients.ollamastand import model, ollama
from tests.clients.promstand import KEEP, backfill
from tests.clients.webstand import Answer, Asked, Stand, reply
from tests.monitoring.fleetstand import healthy

STEP_S, PAST_S, AHEAD_S = 15, 4500, 600
Course = Callable[[float], float | None]


@dataclass(frozen=True)
class Told:
    """One series: what it is (or how fast it counts) so many seconds ago; None where it is not there."""

    name: str
    labels: Mapping[str, str]
    course: Course

    def rows(self, now: int) -> Iterator[str]:
        shown = ",".join(
            f'{k}="{v}"' for k, v in {"job": "bot", "instance": "app-1:8000", **self.labels}.items()
        )
        total = 0.0
        for ago in range(PAST_S, -AHEAD_S, -STEP_S):
            value = self.course(ago)
            if value is None:
                continue
            total += value * STEP_S
            yield f"{self.name}{{{shown}}} {total if self.counts else value:g} {now - ago}"

    @property
    def counts(self) -> bool:
        return self.name.endswith(("_total", "_count", "_sum", "_bucket"))


def level(value: float) -> Course:
    return lambda _: value


@contextmanager
def told(folder: Path, series: list[Told]) -> Iterator[str]:
    """The url of a Prometheus that holds them, from the past until some minutes from now."""
    now = int(time.time()) // STEP_S * STEP_S
    rows: dict[str, list[str]] = {}
    for one in series:
        rows.setdefault(one.name, []).extend(one.rows(now))
    lines = [line for name, found in rows.items() for line in (f"# TYPE {name} unknown", *found)]
    backfill(folder, lines)
    server = start_prometheus(folder, {}, keep=KEEP)
    try:
        yield server.url
    finally:
        stop(server)


def requests(label: str, failing: Course, **labels: str) -> list[Told]:
    """Ten requests a second that succeed, those that fail, and how long they take."""
    return [
        Told("http_requests_total", {label: "200", **labels}, level(10)),
        Told("http_requests_total", {label: "500", **labels}, failing),
        Told("http_request_duration_seconds_bucket", {"le": "0.1", **labels}, level(10)),
        Told("http_request_duration_seconds_bucket", {"le": "+Inf", **labels}, level(10)),
        Told("process_resident_memory_bytes", labels, level(3e8)),
        Told("process_cpu_seconds_total", labels, level(0.1)),
        Told("db_connection_pool_active", labels, level(4)),
        Told("db_connection_pool_size", labels, level(20)),
        Told("db_connection_pool_waiting", labels, level(0)),
    ]


def entry(prometheus: str | None, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever YAML can say
    at = {"prometheus": {"url": prometheus, "selector": {"job": "bot"}}} if prometheus else {}
    return {**at, "limits": {"memory": "2GB", "pool": 20}, **more}


def served(
    program: Program,
    entries: dict[str, Any],
    *commands: tuple[str, ...],
    answer: Callable[[Asked], Answer] = healthy,
) -> list[Said]:
    async def work() -> list[Said]:
        async with Stand(answer) as web:
            program.services(bot={**entries, "url": web.url})
            return [await asyncio.to_thread(program.run, *words, "--output", "json") for words in commands]

    return asyncio.run(work())


# --- the label that tells failures has another name ---------------------------------------------------


def test_a_status_under_another_name_is_unknown(program: Program, tmp_path: Path) -> None:
    """Half of all requests fail, and the label is `code`: no such series as status=~"5.." is no 0 %."""
    series = [*requests("code", lambda ago: 10.0 if ago < 1200 else 0.0), Told("up", {}, level(1))]
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1200))
    commands = [("status",), ("diagnose", "errors"), ("watch-deploy", "--since", began)]
    with told(tmp_path, series) as url:
        found = served(program, entry(url), *commands)
        # Said in the service file, it is known
        own = {"ratio": {"part": 'http_requests_total{code=~"5.."}', "whole": "http_requests_total"}}
        (mended,) = served(program, entry(url, signals={"error_ratio": own}), ("diagnose", "errors"))
    assert [said.code for said in found] == [Exit.UNKNOWN] * 3
    status, errors, watch = (said.json for said in found)
    assert signal(errors, "request_rate")["severity"] == "ok"
    why = 'no data for http_requests_total{job="bot"} with a label status'
    assert [u["reason"] for u in status["unseen"] if u["what"] == "Error ratio"] == [why]
    error_ratio = signal(errors, "error_ratio")
    assert (error_ratio["value"], error_ratio["severity"], error_ratio["reason"]) == (None, "unknown", why)
    assert errors["summary"]["headline"] == "ERRORS UNKNOWN"
    assert "signals: {NAME: {ratio: {part: 'http_requests_total{LABEL=~" in errors["summary"]["look"]
    assert json.dumps(f"{why} since the deploy") in json.dumps(watch)
    assert (mended.code, signal(mended.json, "error_ratio")["value"]) == (Exit.CRITICAL, pytest.approx(0.5))


def test_no_error_yet_is_none(program: Program, tmp_path: Path) -> None:
    """The label is there, and no request has failed since the start: 0 %, and healthy."""
    series = [*requests("status", lambda _: None), Told("up", {}, level(1))]
    with told(tmp_path, series) as url:
        status, errors = served(program, entry(url), ("status",), ("diagnose", "errors"))
    assert (status.code, errors.code) == (Exit.OK, Exit.OK)
    assert signal(errors.json, "error_ratio")["value"] == 0.0


def test_a_status_under_another_name_on_the_page(program: Program) -> None:
    """The same from two looks at /metrics."""
    begun = time.monotonic()

    def answer(asked: Asked) -> Answer:
        if asked.path != "/metrics":
            return healthy(asked)
        count = int(20 * (time.monotonic() - begun)) + 5
        page = "".join(f'http_requests_total{{code="{code}"}} {count}\n' for code in ("200", "500"))
        return reply(page, Content_Type="text/plain; version=0.0.4")

    errors, status = served(program, entry(None), ("diagnose", "errors"), ("status",), answer=answer)
    assert (errors.code, status.code) == (Exit.UNKNOWN, Exit.UNKNOWN)
    why = "/metrics has no http_requests_total with a label status"
    assert signal(errors.json, "error_ratio")["reason"] == why


# --- inferences that do not fail ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [{"status": "OK"}, {"result": "success"}, {"status": "Completed"}, {"status": "fertig"}],
    ids=lambda labels: "".join(labels.values()),
)
def test_inferences_that_are_well_in_other_words(
    program: Program, tmp_path: Path, labels: dict[str, str]
) -> None:
    """A tenth of the requests fails of late, and no inference: Ollama is not why, whatever its success is called."""
    series = [
        *requests("status", lambda ago: 1.0 if ago < 300 else 0.0),
        Told("up", {}, level(1)),
        Told("ollama_requests_total", labels, level(4)),
        Told("ollama_request_duration_seconds_count", {}, level(4)),
        Told("ollama_request_duration_seconds_sum", {}, level(4)),
    ]

    async def work(url: str) -> Said:
        async with Stand(healthy) as web, ollama([model("llama3:8b")]) as server:
            program.services(bot=entry(url, url=web.url, ollama={"url": server.url}))
            return await asyncio.to_thread(program.run, "diagnose", "errors", "--output", "json")

    with told(tmp_path, series) as url:
        said = asyncio.run(work(url))
    assert said.code == Exit.CRITICAL
    (cause,) = (c for c in said.json["causes"] if c["id"] == "errors.ollama_down")
    assert cause["confidence"] in ("ruled_out", "unknown"), json.dumps(cause["evidence"])
    assert not [e for e in cause["evidence"] if e["id"] == "inferences_fail" and e["holds"]]


def test_inferences_that_begin_to_fail_are_why(program: Program, tmp_path: Path) -> None:
    """A fifth of the requests needs an inference, and each of these fails of late; before, one in fifty did."""
    late: Course = lambda ago: 2.5 if ago < 300 else 0.0  # noqa: E731
    series = [
        *requests("status", late),
        Told("up", {}, level(1)),
        Told("ollama_requests_total", {"status": "OK"}, lambda ago: 0.0 if ago < 300 else 2.45),
        Told("ollama_requests_total", {"status": "Error"}, lambda ago: 2.5 if ago < 300 else 0.05),
        Told("ollama_request_duration_seconds_count", {}, level(2.5)),
        Told("ollama_request_duration_seconds_sum", {}, level(2.5)),
    ]
    with told(tmp_path, series) as url:
        (said,) = served(program, entry(url), ("diagnose", "errors"))
    cause = said.json["causes"][0]
    assert (cause["id"], cause["confidence"]) == ("errors.ollama_down", "likely")
    (item,) = (e for e in cause["evidence"] if e["id"] == "inferences_fail")
    assert item["holds"]
    assert item["text"].endswith(": 100% of all errors")


# --- an instance that is not there --------------------------------------------------------------------


def three(died_s: float) -> list[Told]:
    """Three instances; the third has been down for so long, and its series have ended."""
    series = []
    for name in ("app-1:8000", "app-2:8000", "app-3:8000"):
        dead = died_s if name == "app-3:8000" else -AHEAD_S
        for one in requests("status", lambda _: None, instance=name):
            course = one.course
            series.append(
                Told(one.name, one.labels, lambda ago, c=course, d=dead: None if ago < d else c(ago))  # type: ignore[misc]
            )
        series.append(Told("up", {"instance": name}, lambda ago, d=dead: 0.0 if ago < d else 1.0))  # type: ignore[misc]
    return series


def test_one_of_three_is_down(program: Program, tmp_path: Path) -> None:
    """What is added up over the instances looks well; `up` does not."""
    with told(tmp_path, three(2400)) as url:
        commands = [("status",), ("diagnose",), ("daily-check",), ("dashboard", "overview")]
        status, every, day, board = served(program, entry(url), *commands)
        page = program.run("diagnose", "errors")
    assert (status.code, every.code, board.code) == (Exit.WARNING, Exit.WARNING, Exit.WARNING)
    assert status.json["summary"] == "instances up 66.7%, warning below 100%"
    assert status.json["next"]["command"] == "oncall diagnose errors"
    worst = every.json["diagnoses"][0]
    assert (worst["issue"], worst["severity"]) == ("errors", "warning")
    assert worst["summary"]["headline"] == "INSTANCES DOWN"
    assert worst["summary"]["look"].startswith("66.7% of the instances are up: is app-3:8000 running")
    assert [row[0] for row in step(worst, "unscraped")["rows"]] == ["app-3:8000"]
    assert all(c["confidence"] in ("unknown", "ruled_out") for c in worst["causes"])
    assert "app-3:8000" in page.out
    (line,) = (each for each in day.json["lines"] if each["id"] == "instances")
    assert line["severity"] == "warning"
    assert line["value"] < 0.99
    (uptime,) = (each for each in day.json["lines"] if each["id"] == "uptime")
    assert uptime["value"] == 1.0


def test_since_when_it_is_gone_is_not_since_when_requests_are_turned_away(
    program: Program, tmp_path: Path
) -> None:
    """An instance has been dead for a while, or for all of history; 429 come of late, and are told as ever."""
    turned = Told("http_requests_total", {"status": "429"}, lambda ago: 5.0 if ago < 300 else 0.0)
    for folder, died_s in ((tmp_path / "while", 1800), (tmp_path / "ever", PAST_S)):
        folder.mkdir()
        with told(folder, [*three(died_s), turned]) as url:
            (said,) = served(program, entry(url), ("diagnose", "errors"))
        cause = said.json["causes"][0]
        assert (cause["id"], cause["confidence"]) == ("errors.rate_limited", "confirmed"), cause
        assert signal(said.json, "instances")["severity"] == "warning"


def test_the_issue_and_the_status_judge_it_alike() -> None:
    books = library()
    ours = spec_of("instances", books.runbook("errors").signals, Service())
    theirs = books.signals["instances_up"]
    assert ours.value == "instances_up"
    assert (theirs.warning, theirs.critical, theirs.below) == (1, 0.5, True)
    assert (ours.warning, ours.critical, ours.below) == (theirs.warning, theirs.critical, theirs.below)


def test_a_team_says_how_many_may_be_gone(program: Program, tmp_path: Path) -> None:
    """By its bounds of instances_up, which the issue and the status both go by."""
    with told(tmp_path, three(2400)) as url:
        for bounds, wanted in (({"warning": 0.6}, "ok"), ({"critical": 0.7}, "critical")):
            own = entry(url, thresholds={"instances_up": bounds})
            status, errors = served(program, own, ("status",), ("diagnose", "errors"))
            assert signal(status.json, "instances_up")["severity"] == wanted
            assert (errors.json["severity"], signal(errors.json, "instances")["severity"]) == (wanted, wanted)
            assert signal(errors.json, "instances")["critical"] == bounds.get("critical")


def test_where_nothing_is_scraped_nobody_is_missed(program: Program, tmp_path: Path) -> None:
    """A server that is written to has no `up`."""
    with told(tmp_path, requests("status", lambda _: None)) as url:
        status, errors, day = served(
            program, entry(url), ("status",), ("diagnose", "errors"), ("daily-check",)
        )
    assert (status.code, errors.code) == (Exit.OK, Exit.OK)
    assert signal(errors.json, "instances")["value"] is None
    assert "instances_up" not in [s["id"] for s in errors.json["signals"]]
    (line,) = (each for each in day.json["lines"] if each["id"] == "instances")
    assert (line["counts"], line["reason"]) == (False, "not exported: up")
