"""Backups as lines of a check: what is told of age and size whatever made them, and where none is named."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from oncall.checks.backups import look
from oncall.checks.backups.common import Backup, Ill, line, place
from oncall.model import Severity
from oncall.model_checks import CheckLine
from oncall.model_service import BackupAt, PostgresAt, Service
from oncall.units import Duration, Size

NOW = 1_800_000_000.0
HOUR = 3600.0
AT = BackupAt(file="/b/*")
ORDER = (Severity.OK, Severity.UNKNOWN, Severity.WARNING, Severity.CRITICAL)


def told(
    *, age: float | None = HOUR, size: float | None = 1e9, at: BackupAt = AT, **more: object
) -> CheckLine:
    finished = None if age is None else NOW - age
    found = Backup(source="file", now=NOW, finished=finished, name="a.dump", size=size)
    return line("nightly", at, replace(found, **more))


@pytest.mark.parametrize(
    ("age", "severity"), [(1, "ok"), (24, "ok"), (24.1, "warning"), (48, "warning"), (48.1, "critical")]
)
def test_one_missed_is_a_warning_two_are_critical(age: float, severity: str) -> None:
    assert told(age=age * HOUR).severity == severity


def test_a_good_one_in_words() -> None:
    found = told(age=7.5 * HOUR, size=1.9e9)
    assert found.text == "a.dump ended 7 h 30 min ago, 1.9 GB"
    assert (found.value, found.unit, found.target) == (7.5 * HOUR, "seconds", "within 1d")
    assert (found.warning, found.critical, found.source) == (24 * HOUR, 48 * HOUR, "file")
    assert found.next is None


@pytest.mark.parametrize(
    ("size", "former", "severity", "words"),
    [
        (0, (), "critical", "it is empty"),
        (0, (1e9,), "critical", "it is empty"),
        (6e8, (1e9, 1e9, 1e9), "ok", None),
        (4e8, (1e9, 1e9, 1e9), "warning", "much smaller than the 3 before (1 GB)"),
        (5e7, (1e9,), "critical", "much smaller than the one before (1 GB)"),
        # One odd one before does not decide, nor do those of long ago
        (1e9, (50e9, 1e9, 1e9), "ok", None),
        (1e9, (1e9,) * 7 + (90e9,) * 20, "ok", None),
        (3e9, (1e9,), "ok", None),
    ],
)
def test_its_size_against_the_ones_before(
    size: float, former: tuple[float, ...], severity: str, words: str | None
) -> None:
    found = told(size=size, former=former)
    assert found.severity == severity
    assert (found.text or "").startswith(words or "a.dump")


def test_smaller_than_the_least() -> None:
    at = BackupAt(file="/b/*", least=Size(1e6), within=Duration(3600))
    found = told(size=999_999, at=at)
    assert (found.severity, found.target) == ("critical", "within 1h, at least 1 MB")
    assert found.text == "smaller than 1 MB; a.dump ended 1 h ago, 1 MB"


def test_a_time_in_the_future_is_no_age() -> None:
    found = told(age=-3 * HOUR)
    assert (found.severity, found.value) == ("warning", 0)
    assert "its time is 3 h in the future" in (found.text or "")
    assert told(age=-30).severity == "ok"


@given(
    age=st.none() | st.floats(-1e6, 1e9),
    size=st.none() | st.floats(0, 1e15),
    former=st.lists(st.floats(0, 1e15), max_size=20).map(tuple),
    ills=st.lists(st.sampled_from(ORDER[1:]), max_size=4),
)
def test_the_worst_that_is_said_is_the_verdict_and_comes_first(
    age: float | None, size: float | None, former: tuple[float, ...], ills: list[Severity]
) -> None:
    given_ = tuple(Ill(severity=severity, text=f"is {severity.value}") for severity in ills)
    found = told(age=age, size=size, former=former, ill=given_)
    assert ORDER.index(found.severity) >= max(map(ORDER.index, ills), default=0)
    parts = [p for p in (found.text or "").split("; ") if p.startswith("is ")]
    assert all(
        ORDER.index(Severity(a.removeprefix("is "))) >= ORDER.index(Severity(b.removeprefix("is ")))
        for a, b in pairwise(parts)
    )
    assert found.value is None or found.value >= 0


# --- which are looked at -------------------------------------------------------------------------


def lines(service: Service, deadline_s: float = 20) -> tuple[CheckLine, ...]:
    return asyncio.run(look(service, deadline_s))


def test_a_database_that_nobody_backs_up_is_unknown_and_counts() -> None:
    (found,) = lines(Service(postgres=PostgresAt(dsn="postgresql://localhost/x")))
    assert (found.severity, found.counts, found.value) == ("unknown", True, None)
    assert found.reason == "not configured: nobody looks whether the database is backed up"
    assert "backups" in (found.hint or "")


def test_a_service_without_a_database_needs_none() -> None:
    (found,) = lines(Service(url="http://localhost"))
    assert (found.severity, found.counts, found.reason) == ("unknown", False, "not configured")


def test_nothing_to_keep() -> None:
    postgres = PostgresAt(dsn="postgresql://localhost/x")
    (found,) = lines(Service(postgres=postgres, backups={"none": "all of it is derived"}))
    assert (found.severity, found.counts) == ("ok", False)
    assert found.text == "none, as the service file says: all of it is derived"


def test_each_has_its_line_and_a_bug_in_one_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.dump").write_text("x")

    async def broken(*_: object) -> None:
        raise KeyError("canary")

    monkeypatch.setattr("oncall.checks.backups.command.look", broken)
    pattern = str(tmp_path / "*.dump")
    first, second = lines(
        Service(backups={"bad": BackupAt(command=("true",)), "good": BackupAt(file=pattern)})
    )
    assert (first.id, first.severity, first.source) == ("backups.bad", "unknown", "command")
    assert (first.reason or "").startswith("a bug in oncall: KeyError at test_backups.py:")
    assert second.id == "backups.good"


def test_one_that_does_not_answer_has_its_reason_and_the_others_their_lines(tmp_path: Path) -> None:
    slow = BackupAt(command=("sleep", "100"))
    first, second = lines(Service(backups={"slow": slow, "fast": BackupAt(command=("true",))}), 3)
    assert (first.severity, second.severity) == ("unknown", "ok")
    assert "2.7 s" in (first.reason or "")


def test_where_it_is_looked_at() -> None:
    elsewhere = Service(ssh="ops@app-1")
    assert place(BackupAt(file="/b"), elsewhere) == "ops@app-1"
    assert place(BackupAt(file="/b", ssh="db-1"), elsewhere) == "db-1"
    assert place(BackupAt(file="/b", ssh="localhost"), elsewhere) is None
    assert place(BackupAt(file="/b"), Service()) is None
