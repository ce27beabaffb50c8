"""A check against eight days of a real Prometheus: what was good, bad, too short or not there is said as such."""

import asyncio
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from msgspec.structs import replace

from oncall.checks.engine import When, run, summary
from oncall.checks.loader import check, check_files
from oncall.checks.measured import _coverage
from oncall.clients.prometheus import Matrix, Series
from oncall.errors import RunbookError, UsageFault
from oncall.lab.servers import start_alertmanager, start_prometheus, stop
from oncall.model import Severity, worst
from oncall.model_checks import CheckLine, CheckReport
from oncall.model_service import HttpBackend, PrometheusAt, Service, Threshold
from oncall.runbook.loader import library
from tests.checks.stories import Stories
from tests.checks.week import DAY_S
from tests.clients.webstand import Answer, Asked, Stand, reply, silence
from tests.monitoring.alertstand import Alerting

BOOKS = library()
SIGNALS = """
check: daily
title: Daily check
signals:
  uptime_share: {promql: 'max(up{$selector})', unit: ratio, warning: 0.999, critical: 0.99, below: true}
lines:
  uptime: {signal: uptime_share, over: 24h, by: avg, why: users}
  errors: {signal: error_ratio, over: 24h, warning: 0.005, critical: 0.01, issue: errors, why: users}
  latency: {signal: latency_p95, over: 24h, issue: latency, why: users}
  pool: {signal: pool_active, over: 24h, by: max, why: users}
  bots: {signal: bots_active, optional: true, why: users}
  alerts: {probe: alerts, over: 24h, why: nights}
"""


def looked(
    service: Service, folder: Path, text: str = SIGNALS, at: float | None = None, name: str = "bot"
) -> CheckReport:
    """The report of a check as written."""
    written = folder / "checks"
    written.mkdir(exist_ok=True)
    (written / "daily.yaml").write_text(text)
    books = library(folder)
    when = When(at=at, timeout_s=60)
    return asyncio.run(run(name, service, check("daily", books), books, when, address=("-s", name)))


def by_id(report: CheckReport) -> dict[str, CheckLine]:
    return {line.id: line for line in report.lines}


def test_a_good_day(week: Stories, tmp_path: Path) -> None:
    report = looked(week.service("good"), tmp_path)
    lines = by_id(report)
    assert report.severity is Severity.OK, report.summary
    assert report.summary == "all 5 are well"
    assert lines["uptime"].value == 1.0
    assert lines["errors"].value == pytest.approx(0.001, rel=0.02)
    assert lines["errors"].day_ago == pytest.approx(0.001, rel=0.02)
    assert lines["errors"].week_ago == pytest.approx(0.001, rel=0.02)
    assert lines["errors"].target == "at most 0.5%"
    assert lines["pool"].value == 4
    # Shares of a pool of 20, as the signal has them.
    assert (lines["pool"].warning, lines["pool"].critical) == (10, 16)
    assert len(lines["latency"].history) > 40
    assert lines["alerts"].text == "none fired"
    bots = lines["bots"]
    assert (bots.severity, bots.counts) == (Severity.UNKNOWN, False)
    assert "bot_instances_active" in (bots.reason or "")


def test_a_bad_day_worst_first(week: Stories, tmp_path: Path) -> None:
    report = looked(week.service("bad"), tmp_path)
    lines = by_id(report)
    assert report.severity is Severity.CRITICAL
    severities = [line.severity for line in report.lines if line.counts]
    assert severities == sorted(
        severities, key=[*map(Severity, ("critical", "warning", "unknown", "ok"))].index
    )
    # Half an hour of a day is 2 %.
    assert lines["uptime"].value == pytest.approx(1 - 0.5 / 24, abs=0.005)
    assert lines["uptime"].severity is Severity.CRITICAL
    assert lines["errors"].value == pytest.approx(0.03, rel=0.05)
    assert lines["errors"].day_ago == pytest.approx(0.001, rel=0.2)
    assert lines["errors"].next is not None
    assert lines["errors"].next.command == "oncall diagnose errors -s bot"
    assert lines["latency"].severity is Severity.WARNING
    alerts = lines["alerts"]
    assert alerts.severity is Severity.CRITICAL
    assert alerts.text == "2 fired, 1 still firing: HighErrorRate, HighMemory"
    assert alerts.next is not None
    assert alerts.next.command == "oncall diagnose --alert HighErrorRate -s bot"
    assert alerts.detail is not None
    fired = {row[0]: (row[1], row[3]) for row in alerts.detail.rows}
    assert fired == {"HighErrorRate": ("critical", True), "HighMemory": ("warning", False)}


def test_the_day_before_the_bad_one(week: Stories, tmp_path: Path) -> None:
    report = looked(week.service("bad"), tmp_path, at=week.end - DAY_S - 600)
    lines = by_id(report)
    assert lines["errors"].value == pytest.approx(0.001, rel=0.02)
    assert lines["uptime"].value == 1.0
    assert lines["alerts"].text == "none fired"


def test_a_history_that_is_younger_than_the_question_is_said(week: Stories, tmp_path: Path) -> None:
    lines = by_id(looked(week.service("young"), tmp_path))
    errors = lines["errors"]
    assert errors.severity is Severity.UNKNOWN
    assert errors.value == pytest.approx(0.001, rel=0.02)
    assert errors.reason is not None
    assert errors.reason.startswith("history begins ")
    assert errors.reason.endswith("ago, of 24 h")
    assert (errors.day_ago, errors.week_ago) == (None, None)


def test_hours_that_prometheus_missed_are_said_though_the_rest_was_well(
    week: Stories, tmp_path: Path
) -> None:
    lines = by_id(looked(week.service("holed"), tmp_path))
    assert (lines["uptime"].severity, lines["uptime"].value) == (Severity.OK, 1.0)
    for line in (lines["uptime"], lines["errors"]):
        (note,) = line.notes
        assert note.startswith(("about 1 h 30 min of 24 h", "about 2 h of 24 h", "about 2 h 30 min of 24 h"))
    assert by_id(looked(week.service("good"), tmp_path))["uptime"].notes == ()


def test_a_metric_that_is_missing_is_no_zero(week: Stories, tmp_path: Path) -> None:
    report = looked(week.service("bare"), tmp_path)
    latency = by_id(report)["latency"]
    assert (latency.severity, latency.value, latency.counts) == (Severity.UNKNOWN, None, True)
    assert "no data for" in (latency.reason or "")
    assert report.severity is Severity.UNKNOWN
    # A day of history has no yesterday to compare with.
    assert by_id(report)["errors"].day_ago is None


def test_a_service_whose_series_ended_is_stale_not_well(week: Stories, tmp_path: Path) -> None:
    lines = by_id(looked(week.service("gone"), tmp_path))
    assert lines["errors"].severity is Severity.UNKNOWN
    assert lines["errors"].value is None


def test_one_of_several_numbers_is_none(week: Stories, tmp_path: Path) -> None:
    text = """
check: daily
title: D
signals: {many: {title: Many, promql: 'db_connection_pool_active or db_connection_pool_size'}}
lines: {many: {signal: many, over: 24h, by: avg, why: x}}
"""
    found = looked(Service(prometheus=PrometheusAt(url=week.url)), tmp_path, text).lines[0]
    assert (found.severity, found.value) == (Severity.UNKNOWN, None)
    assert "a signal is one number" in (found.reason or "")


def test_nobody_is_unknown(week: Stories, tmp_path: Path) -> None:
    report = looked(week.service("nobody"), tmp_path)
    assert report.severity is Severity.UNKNOWN
    assert all(line.value is None for line in report.lines if line.id in ("uptime", "errors", "latency"))


def test_a_dead_prometheus_is_a_finding(tmp_path: Path) -> None:
    service = Service(prometheus=PrometheusAt(url="http://127.0.0.1:9"))
    report = looked(service, tmp_path)
    assert report.severity is Severity.UNKNOWN
    assert all("refused" in (line.reason or "") for line in report.lines)


@pytest.mark.parametrize("minutes", [0, -10, 10])
def test_a_clock_that_differs_is_said(tmp_path: Path, minutes: int) -> None:
    def answer(_asked: Asked) -> bytes:
        return reply(
            "no", "503 Service Unavailable", Date=formatdate(time.time() + 60 * minutes, usegmt=True)
        )

    async def work() -> CheckReport:
        async with Stand(answer) as stand:
            service = Service(prometheus=PrometheusAt(url=stand.url))
            return await asyncio.to_thread(looked, service, tmp_path)

    report = asyncio.run(work())
    assert [note[:15] for note in report.notes] == (["clocks differ: "] if minutes else [])
    assert report.severity is Severity.UNKNOWN


def test_where_no_rule_is_loaded_silence_is_no_good_news(tmp_path: Path) -> None:
    (tmp_path / "prometheus").mkdir()
    server = start_prometheus(tmp_path / "prometheus", {})
    try:
        text = "check: daily\ntitle: Daily\nlines: {alerts: {probe: alerts, why: nights}}"
        report = looked(Service(prometheus=PrometheusAt(url=server.url)), tmp_path, text)
    finally:
        stop(server)
    assert (report.severity, report.lines[0].reason) == (
        Severity.UNKNOWN,
        "no alerting rule is there that could fire",
    )


def test_where_the_rules_are_another_servers_alertmanager_says_what_fires(tmp_path: Path) -> None:
    (tmp_path / "prometheus").mkdir()
    text = "check: daily\ntitle: Daily\nlines: {alerts: {probe: alerts, why: nights}}"
    server, manager = start_prometheus(tmp_path / "prometheus", {}), start_alertmanager(tmp_path)
    try:
        at = PrometheusAt(url=server.url, selector={"job": "bot"})
        service = Service(prometheus=at, alertmanager=HttpBackend(url=manager.url))
        calm = looked(service, tmp_path, text).lines[0]
        stand = Alerting(server, manager)
        stand.fire({"alertname": "Down", "severity": "critical", "job": "bot"}, ago_s=600)
        stand.fire({"alertname": "Other", "severity": "critical", "job": "another"})
        fires = looked(service, tmp_path, text).lines[0]
        past = looked(service, tmp_path, text, at=time.time() - 3600).lines[0]
    finally:
        stop(manager)
        stop(server)
    assert (calm.severity, calm.text) == (Severity.OK, "none fires now")
    assert "is not known" in calm.notes[0]
    assert (fires.severity, fires.text) == (Severity.CRITICAL, "1 fired, 1 still firing: Down")
    assert fires.detail is not None
    assert fires.detail.rows[0][2] == pytest.approx(600, abs=120)
    assert past.severity is Severity.UNKNOWN
    down = looked(replace(service, alertmanager=HttpBackend(url="http://127.0.0.1:9")), tmp_path, text)
    assert down.severity is Severity.UNKNOWN


EMPTY = '{"status": "success", "data": {"resultType": "vector", "result": []}}'
ALERTS = "check: daily\ntitle: Daily\nlines: {alerts: {probe: alerts, why: nights}}"


@pytest.mark.parametrize("rules", ["403 Forbidden", "404 Not Found"])
def test_no_record_of_an_alert_says_nothing_where_the_rules_cannot_be_read(
    tmp_path: Path, rules: str
) -> None:
    def answer(asked: Asked) -> bytes:
        return reply(EMPTY) if asked.path == "/api/v1/query" else reply("no", rules)

    async def work() -> CheckReport:
        async with Stand(answer) as web:
            service = Service(prometheus=PrometheusAt(url=web.url))
            return await asyncio.to_thread(looked, service, tmp_path, ALERTS)

    (line,) = asyncio.run(work()).lines
    assert (line.severity, line.text) == (Severity.UNKNOWN, None)
    assert (line.reason or "").startswith(
        "none is recorded, but whether any rule could fire is not known: 127.0.0.1:"
    )
    assert rules[:3] in (line.reason or "")


def test_an_alertmanager_that_hangs_is_named_long_before_the_time_is_over(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/api/v2/alerts":
            return silence()
        rules = '{"status": "success", "data": {"groups": []}}'
        return reply(EMPTY if asked.path == "/api/v1/query" else rules)

    async def work() -> CheckReport:
        async with Stand(answer) as web:
            service = Service(prometheus=PrometheusAt(url=web.url), alertmanager=HttpBackend(url=web.url))
            return await asyncio.to_thread(looked, service, tmp_path, ALERTS)

    (line,) = asyncio.run(work()).lines
    assert (line.severity, line.source) == (Severity.UNKNOWN, "alertmanager")
    assert "did not answer within 5 s" in (line.reason or ""), line.reason


def test_nothing_configured(tmp_path: Path) -> None:
    report = looked(Service(), tmp_path)
    assert report.severity is Severity.UNKNOWN
    assert {line.reason for line in report.lines} == {"prometheus: not configured"}


def test_the_service_file_has_the_last_word(week: Stories, tmp_path: Path) -> None:
    service = replace(
        week.service("good"), thresholds={"latency_p95": Threshold(warning=0.01, critical=0.02)}
    )
    assert by_id(looked(service, tmp_path))["latency"].severity is Severity.CRITICAL


def test_what_is_packaged_is_right() -> None:
    for name in check_files(BOOKS):
        found = check(name, BOOKS)
        assert found.lines, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lines: {a: {why: x}}", "exactly one of signal, value, probe"),
        ("lines: {a: {why: x, signal: nothing}}", "'nothing' is no signal"),
        ("lines: {a: {why: x, value: 1 +, title: t}}", "invalid syntax"),
        (
            "lines: {a: {why: x, probe: trends, of: [memory, nothing]}}",
            "lines.a.of.1: 'nothing' is no signal",
        ),
        ("lines: {a: {why: x, value: '1'}}", "needs a `title`"),
        ("lines: {a: {why: x, probe: backups, detail: none}}", "is no step"),
        ("lines: {a: {why: x, probe: magic}}", "magic"),
        ("line: {}", "line"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, change: str, said: str) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "daily.yaml").write_text(f"check: daily\ntitle: Daily\n{change}\n")
    with pytest.raises(RunbookError) as raised:
        check("daily", library(tmp_path))
    assert "daily.yaml:" in str(raised.value)
    assert said in str(raised.value)


def test_there_is_no_such_check() -> None:
    with pytest.raises(UsageFault):
        check("yearly", BOOKS)


def test_words_of_the_summary() -> None:
    line = CheckLine(id="a", title="A", severity=Severity.OK, why="", source="x")
    assert summary([]) == "nothing could be looked at"
    assert worst([]) is Severity.UNKNOWN
    bad = [replace(line, title=t, severity=s) for t, s in (("B", Severity.CRITICAL), ("C", Severity.UNKNOWN))]
    assert summary([*bad, line]) == "critical: B; unknown: C"
    silent = replace(line, severity=Severity.UNKNOWN, counts=False)
    assert summary([line, silent]) == "all 1 are well"


def test_a_history_of_minutes_is_said_to_be_so_short() -> None:
    alone = Matrix(series=(Series(labels={}, times=(1000.0,), values=(1.0,)),))
    _, gap, history = _coverage(alone, DAY_S, 1000.0)
    assert gap == "history begins less than 30 min ago, of 24 h"
    assert history[-1] == 1.0
