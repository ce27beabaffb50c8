"""A deployment watch, on paper: the verdict first, nothing runs out of the page, nothing foreign is obeyed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from oncall.checks.deploy_rules import rules
from oncall.model import Column, Next, Table
from oncall.model_deploy import (
    Decision,
    DeployLine,
    DeployMark,
    DeployReport,
    InstanceStarts,
    Phase,
)
from oncall.render.deploy import bars, deploy_page
from oncall.render.deploy_words import deploy_markdown, headline, progress_line, slack_text
from oncall.render.json_out import deploy_json
from oncall.runbook.loader import library
from tests.render.pages import printed
from tests.render.reports import TEXT

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)
FLAT = (*[0.001] * 36, *[0.08] * 24)


def line(name: str = "error_rate", **changed: Any) -> DeployLine:  # noqa: ANN401 - any field
    plain = DeployLine(
        id=name,
        title="Error rate",
        decision=Decision.KEEP,
        text="meets the target",
        why="The document: below 0.5 % in the first hour.",
        weight="rolls back",
        source="prometheus",
        unit="ratio",
        target="below 0.5%",
        bound=0.005,
        after=0.001,
        recent=0.001,
        before=0.001,
        samples_before=240,
        samples_after=160,
        history=FLAT,
        history_before=36,
        query="x",
    )
    return msgspec.structs.replace(plain, **changed)


BAD = line(
    decision=Decision.ROLL_BACK,
    after=0.08,
    recent=0.09,
    text="8% misses the target, and before the deploy it met it (0.1%)",
    day_ago=0.0011,
    next=Next(command="oncall diagnose errors", why="says why"),
)
SLOW = line(
    "response_time",
    title="P95 response time",
    unit="seconds",
    decision=Decision.WATCH,
    target="below 200 ms",
    after=0.42,
    recent=0.43,
    before=0.41,
    day_ago=0.4,
    text="420 ms misses the target, as it did before the deploy (410 ms): the deploy is not to blame",
    why="The document: below 200 ms.",
    next=Next(command="oncall diagnose latency", why="says why"),
)
DARK = line(
    "connections",
    title="Connections",
    decision=Decision.UNKNOWN,
    after=None,
    before=None,
    recent=None,
    text="no data for db_connection_pool_active since the deploy",
    hint="does the service export it, does the selector fit?",
    history=(),
)
QUIET = line(
    "new_errors", title="New error lines", decision=Decision.UNKNOWN, after=None, text="not configured",
    counts=False, history=(), query=None,
)  # fmt: skip
LOGS = line(
    "new_errors",
    title="New error lines",
    decision=Decision.WATCH,
    after=1.0,
    query=None,
    text="1 new, such as: KeyError: *",
    why="A failure that the log did not know before the deploy came with it.",
    detail=Table(columns=(Column(name="template"), Column(name="lines")), rows=(("KeyError: *", 12),)),
)


def report(*lines: DeployLine, **changed: Any) -> DeployReport:  # noqa: ANN401 - any field
    began = AT - timedelta(minutes=42)
    plain = DeployReport(
        service="bot-controller",
        environment="production",
        at=AT,
        duration_ms=212,
        verdict=Decision.ROLL_BACK,
        summary=f"Error rate: {BAD.text}",
        phase=Phase.HOUR,
        mark=DeployMark(
            at=began,
            settled=began + timedelta(minutes=5),
            instances=tuple(InstanceStarts(instance=f"app-{n}:8000", starts=(began,)) for n in (1, 2, 3)),
        ),
        since_s=2520.0,
        before_s=3600.0,
        over=False,
        lines=lines,
        next=BAD.next,
    )
    return msgspec.structs.replace(plain, **changed)


EVERY = report(BAD, DARK, SLOW, LOGS, line("uptime", title="Uptime", target="at least 100%"))
GOOD = report(
    line(), line("uptime", title="Uptime"), QUIET,
    verdict=Decision.KEEP, summary="all 2 hold", next=None, notes=("1 of 3 instances restarted; the others run on",),
)  # fmt: skip
NO_MARK = report(
    verdict=Decision.UNKNOWN,
    summary="no restart in the 8 days that Prometheus knows of it",
    mark=DeployMark(reason="no restart", hint="tell the moment of the deploy: --since 20m"),
    since_s=None,
    before_s=None,
    next=None,
)
WEEK = report(
    line(),
    verdict=Decision.KEEP,
    summary="all 1 hold",
    phase=Phase.WEEK,
    mark=DeployMark(at=AT - timedelta(days=3), settled=AT - timedelta(days=3)),
    since_s=3 * 86_400.0,
    before_s=3 * 86_400.0,
    next=None,
    notes=rules(Phase.WEEK, library()).notes,
)
REPORTS = {"every": EVERY, "good": GOOD, "no_mark": NO_MARK, "week": WEEK}


def page(found: DeployReport, width: int = 80, *, ascii_only: bool = False) -> str:
    return printed(deploy_page(found, width=width, ascii_only=ascii_only), width)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", REPORTS)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert page(REPORTS[name], width) == golden


def test_page_in_ascii(golden: SnapshotAssertion) -> None:
    shown = page(EVERY, 120, ascii_only=True)
    assert shown.isascii()
    assert shown == golden


@pytest.mark.parametrize("name", REPORTS)
def test_markdown(name: str, golden: SnapshotAssertion) -> None:
    assert deploy_markdown(REPORTS[name]) == golden


def test_message_and_line(golden: SnapshotAssertion) -> None:
    assert "\n\n".join([slack_text(EVERY), slack_text(GOOD), *map(progress_line, REPORTS.values())]) == golden


@pytest.mark.parametrize(
    ("verdict", "over", "says"),
    [
        (Decision.KEEP, False, "KEEP SO FAR"),
        (Decision.KEEP, True, "KEEP"),
        (Decision.WATCH, False, "WATCH"),
        (Decision.ROLL_BACK, True, "ROLL BACK"),
        (Decision.UNKNOWN, False, "UNKNOWN"),
    ],
)
def test_the_verdict_is_the_first_word(verdict: Decision, over: bool, says: str) -> None:
    found = report(line(), verdict=verdict, over=over)
    assert headline(found) == says
    for shown in (page(found), deploy_markdown(found).replace("*", "")):
        assert shown.startswith(says)


def test_the_bars_show_where_the_deploy_was() -> None:
    assert bars(line(), 11) == "▁▁▁▁▁▁│████"
    assert bars(line(), 25) == "▁" * 14 + "│" + "█" * 10
    assert bars(line(history=()), 11) == bars(line(), 0) == ""
    assert bars(line(history_before=0), 11).startswith(" │")


def test_the_document() -> None:
    found = json.loads(deploy_json(EVERY))
    assert (found["schema"], found["verdict"], found["phase"]) == ("oncall/deploy/1", "roll_back", "hour")
    assert found["at"] == "2026-01-01T03:12:41Z"
    assert found["lines"][0]["decision"] == "roll_back"


def test_what_is_watched_live_says_how_long() -> None:
    shown = printed(deploy_page(GOOD, width=80, live="watching for 34 min more; Ctrl-C ends it"), 80)
    assert "watching for 34 min more" in shown.splitlines()[3]


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(20, 140), st.booleans())
def test_any_text_at_any_width(title: str, text: str, cell: str, width: int, ascii_only: bool) -> None:
    rows = Table(columns=(Column(name="template"),), rows=((cell,),))
    found = report(
        msgspec.structs.replace(LOGS, title=title, text=text, detail=rows),
        msgspec.structs.replace(BAD, title=title),
        service=title,
        summary=text,
        notes=(cell,),
        mark=DeployMark(reason=text, hint=cell),
    )
    shown = page(found, width, ascii_only=ascii_only)
    assert not set(shown) & set("\x1b\x9b\x07\u202e\r\t")
    assert not ascii_only or shown.isascii()
    for marked in (deploy_markdown(found), slack_text(found), progress_line(found)):
        assert not set(marked) & set("\x1b\x9b\x07\u202e\r\t")
    assert "\u202e" not in deploy_json(found).decode()
