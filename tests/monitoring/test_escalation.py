"""Who is paged when: the document's times, by the clock; a team's own file; and its mistakes with their lines."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.errors import RunbookError
from oncall.model import Severity
from oncall.monitoring.escalation import FILE, policy
from oncall.runbook.loader import packaged_folder

SHIPPED = policy([packaged_folder()])
SINCE = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
WHO = ["Primary on-call engineer", "Secondary on-call engineer", "DevOps lead", "Engineering manager"]


@pytest.mark.parametrize(
    ("minutes", "paged", "next_in"),
    [(0, 1, 5), (4, 1, 1), (5, 2, 5), (9, 2, 1), (12, 3, 3), (15, 4, None), (21, 4, None)],
)
def test_a_critical_alert_pages_level_by_level(minutes: int, paged: int, next_in: int | None) -> None:
    found = SHIPPED.clock(Severity.CRITICAL, "HighErrorRate", "errors", SINCE, minutes * 60.0)
    assert [level.who for level in found.paged] == WHO[:paged]
    assert found.next_in_s == (None if next_in is None else next_in * 60)
    assert (found.next.who if found.next else None) == (WHO[paged] if paged < 4 else None)
    assert found.left_s == 300 - minutes * 60


def test_only_critical_pages() -> None:
    found = SHIPPED.clock(Severity.WARNING, "HighErrorRate", "errors", SINCE, 3600)
    assert (found.paged, found.next, found.tells) == ((), None, "Slack #deia-warnings")


@pytest.mark.parametrize(
    ("name", "issue", "severity", "minutes"),
    [
        ("HighErrorRate", "errors", Severity.CRITICAL, 5),
        ("HighErrorRate", "errors", Severity.WARNING, 15),
        ("HighResponseTime", "latency", Severity.WARNING, 30),
        ("SlowQueries", "latency", Severity.WARNING, 15),
        ("MemoryHigh", "memory", Severity.WARNING, 30),
        ("ServiceDown", "errors", Severity.CRITICAL, 2),
        ("Anything", None, Severity.OK, None),
    ],
)
def test_the_documents_response_times(
    name: str, issue: str | None, severity: Severity, minutes: int | None
) -> None:
    respond = SHIPPED.respond_s(severity, name, issue)
    assert respond == (None if minutes is None else minutes * 60)


@given(st.floats(0, 1e6))
def test_time_moves_one_way(age: float) -> None:
    found = SHIPPED.clock(Severity.CRITICAL, "X", None, SINCE, age)
    assert len(found.paged) + (found.next is not None) <= 4
    assert all(level.at <= SINCE + timedelta(seconds=age) for level in found.paged)
    assert found.next is None or (found.next_in_s or 0) > 0


@pytest.mark.parametrize(
    ("label", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("Page", Severity.CRITICAL),
        ("warning", Severity.WARNING),
        ("info", Severity.OK),
        ("sev1", Severity.WARNING),
        ("", Severity.WARNING),
    ],
)
def test_an_unknown_label_counts_as_warning(label: str, severity: Severity) -> None:
    assert SHIPPED.severity(label) is severity


def _write(folder: Path, text: str) -> Path:
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def test_a_teams_own_file_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    own = _write(
        tmp_path,
        "severities: {critical: {labels: [sev1], respond: 1m, pages: true}}\npolicy: [{who: Ana, until: 3m}]\n",
    )
    found = policy([packaged_folder(), own])
    assert found.severity("sev1") is Severity.CRITICAL
    assert [level.who for level in found.clock(Severity.CRITICAL, "X", None, SINCE, 0).paged] == ["Ana"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("severities: {}\npolicy:\n  - {who: A, until: 5m}\n  - {who: B, until: 5m}\n", ":4: policy.1.until"),
        (
            "severities:\n  critical: {labels: [a]}\n  warning: {labels: [A]}\n",
            ":3: severities.warning.labels",
        ),
        ("severities:\n  urgent: {labels: [a]}\n", ":2"),
        ("severities:\n  critical: {labels: [a], respond: soon}\n", ":2"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RunbookError) as error:
        policy([_write(tmp_path, text)])
    assert f"{FILE}{says}" in str(error.value)
