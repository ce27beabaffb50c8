"""What does not apply to a service takes no room: one line for each reason."""

from datetime import UTC, datetime

from oncall.model import Severity
from oncall.model_checks import CheckLine, CheckReport
from oncall.render.check_words import checks_markdown, merged
from oncall.render.checks import checks_page
from tests.render.pages import printed


def line(title: str, reason: str, *, counts: bool = False, hint: str | None = None) -> CheckLine:
    return CheckLine(
        id=title.lower(),
        title=title,
        severity=Severity.UNKNOWN,
        why="w",
        source="x",
        reason=reason,
        hint=hint,
        counts=counts,
    )


REPORT = CheckReport(
    service="bot",
    environment="production",
    check="monthly",
    title="Monthly check",
    at=datetime(2026, 1, 1, 3, 12, tzinfo=UTC),
    duration_ms=12,
    severity=Severity.UNKNOWN,
    summary="",
    lines=(
        line("Prometheus", "not exported", counts=True),
        line("CPU", "not exported"),
        line("Disk", "not configured", hint="set url"),
        line("Queue", "not exported"),
        line("Sequences", "postgres: not configured", hint="set postgres"),
        line("Indexes", "postgres: not configured", hint="set postgres"),
    ),
)


def test_one_line_for_each_reason() -> None:
    shown = merged(REPORT).lines
    assert [(n.title, n.reason, n.hint) for n in shown] == [
        ("Prometheus", "not exported", None),
        ("Not looked at", "not exported: CPU, Queue", None),
        ("Disk", "not configured", "set url"),
        ("Not looked at", "postgres: not configured: Sequences, Indexes", "set postgres"),
    ]


def test_with_details_each_stands_alone() -> None:
    short = printed(checks_page([REPORT], width=80), 80)
    full = printed(checks_page([REPORT], width=80, details=True), 80)
    assert "not exported: CPU, Queue" in short
    assert "not exported: CPU, Queue" not in full
    assert "Queue" in full
    assert "postgres: not configured: Sequences, Indexes" in checks_markdown([REPORT])
