"""A check on paper: a line each, worst first, at every width; what is not well says what to do."""

import json
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from oncall.model import Column, Next, Severity, Table
from oncall.model_checks import CheckLine, CheckReport
from oncall.render.check_words import checks_markdown, slack_text
from oncall.render.checks import checks_page
from oncall.render.json_out import check_json, checks_json
from tests.render.pages import printed
from tests.render.samples import HOSTILE

COURSE = tuple(float(n % 7) for n in range(48))
UPTIME = CheckLine(
    id="uptime", title="Uptime, 24 h", severity=Severity.OK, why="The document: 100 %, or near.",
    source="prometheus", value=0.9997, unit="ratio", target="at least 99.9%", day_ago=1.0, week_ago=0.998,
    history=COURSE, query="avg_over_time((max(up))[86400s:900s])", age_s=12.0,
)  # fmt: skip
ERRORS = CheckLine(
    id="error_ratio", title="Error rate, 24 h", severity=Severity.CRITICAL, why="The document: below 0.5 %.",
    source="prometheus", value=0.031, unit="ratio", target="at most 0.5%", day_ago=0.001, week_ago=0.0012,
    history=COURSE, next=Next(command="oncall diagnose errors -s bot", why="says why"),
)  # fmt: skip
ALERTS = CheckLine(
    id="alerts", title="Alerts, 24 h", severity=Severity.WARNING, why="What fired comes back.",
    source="prometheus", value=1.0, unit="alerts", text="1 fired: HighErrorRate", target="none",
    next=Next(command="oncall diagnose --alert HighErrorRate --at 2026-01-01T03:12:00Z -s bot", why="says why"),
    detail=Table(
        columns=(Column(name="alert"), Column(name="fired_for", unit="seconds"), Column(name="firing_now")),
        rows=(("HighErrorRate", 11100.0, False),),
    ),
)  # fmt: skip
BACKUPS = CheckLine(
    id="backups", title="Backups", severity=Severity.UNKNOWN, why="A backup that nobody saw is a hope.",
    source="file", reason="not configured", hint="set `backups` of the service", target="within 24 h",
)  # fmt: skip
YOUNG = CheckLine(
    id="latency", title="P95 latency, 24 h", severity=Severity.UNKNOWN, why="Slow is the new down.",
    source="prometheus", value=0.246, unit="seconds", target="at most 1 s", history=COURSE,
    reason="history begins 3 h ago, of 24 h",
)  # fmt: skip
HEALTH = CheckLine(
    id="health", title="Health", severity=Severity.UNKNOWN, why="Its own view.", source="http",
    reason="not configured", hint="set `url` of the service", counts=False,
)  # fmt: skip
REPORT = CheckReport(
    service="bot", environment="production", check="daily", title="Daily check",
    at=datetime(2026, 1, 1, 6, 0, 12, tzinfo=UTC), duration_ms=212, severity=Severity.CRITICAL,
    summary="critical: Error rate, 24 h; warning: Alerts, 24 h; unknown: Backups, P95 latency, 24 h",
    lines=(ERRORS, ALERTS, BACKUPS, YOUNG, UPTIME, HEALTH),
)  # fmt: skip
WELL = replace(REPORT, service="mail", severity=Severity.OK, summary="all 1 are well", lines=(UPTIME,))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_page(width: int, golden: SnapshotAssertion) -> None:
    assert printed(checks_page([REPORT], width=width), width) == golden


def test_page_with_details(golden: SnapshotAssertion) -> None:
    assert printed(checks_page([REPORT], width=100, details=True), 100) == golden


def test_page_in_ascii(golden: SnapshotAssertion) -> None:
    shown = printed(checks_page([REPORT], width=80, ascii_only=True), 80)
    assert shown.isascii()
    assert shown == golden


def test_a_fleet(golden: SnapshotAssertion) -> None:
    assert printed(checks_page([REPORT, WELL], width=90), 90) == golden


def test_markdown(golden: SnapshotAssertion) -> None:
    assert checks_markdown([REPORT, WELL]) == golden


def test_message(golden: SnapshotAssertion) -> None:
    assert slack_text(REPORT) + "\n" == golden


def test_json_has_every_line_and_no_made_up_number() -> None:
    found = json.loads(check_json(REPORT))
    assert (found["schema"], found["at"]) == ("oncall/check/1", "2026-01-01T06:00:12Z")
    assert [line["id"] for line in found["lines"]][:2] == ["error_ratio", "alerts"]
    assert found["lines"][2]["value"] is None
    several = json.loads(checks_json([REPORT, WELL]))
    assert (several["schema"], several["severity"]) == ("oncall/checks/1", "critical")
    assert [one["service"] for one in several["services"]] == ["bot", "mail"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
def test_nothing_is_wider_than_the_page(width: int) -> None:
    bad = replace(ERRORS, title=HOSTILE, text=HOSTILE, reason=HOSTILE, hint=HOSTILE)
    report = replace(REPORT, lines=(*REPORT.lines, bad), service=HOSTILE)
    for shown in (
        printed(checks_page([report], width=width, details=True), width),
        printed(checks_page([report, WELL], width=width), width),
    ):
        assert max(map(cell_len, shown.split("\n"))) <= width
        assert "\x1b" not in shown
    assert "\x1b" not in checks_markdown([report]) + slack_text(report)


def test_notes_stand_below_the_lines() -> None:
    said = replace(REPORT, notes=("clocks differ: Prometheus's is +600 s from ours",))
    assert "Notes\n· clocks differ" in printed(checks_page([said], width=80), 80)
    assert "**Notes**\n- clocks differ" in checks_markdown([said])
    assert slack_text(said).endswith("clocks differ: Prometheus's is +600 s from ours")
