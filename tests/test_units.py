"""Durations, sizes and times: read as written, and written such that they are read alike."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.units import (
    parse_duration,
    parse_size,
    parse_time,
    promql_duration,
    write_duration,
    write_size,
)

NOW = datetime(2026, 1, 1, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        ("250ms", 0.25),
        ("1.5h", 5400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "5min", "-5m", "0s", "5m!", "m5", "٥m", "9" * 30 + "s", "999999999999d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2e9), ("512MiB", 512 * 2**20), ("1.5kB", 1500), ("7b", 7), (" 2 gb ", 2e9)]
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2", "GB", "2XB", "-2GB", "2G", "9" * 40 + "TB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(1, 10**9) | st.integers(1, 10**9).map(lambda ms: ms / 1000))
def test_a_duration_is_read_back(seconds: float) -> None:
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(1, 2**53))
def test_a_size_is_read_back(size: int) -> None:
    assert parse_size(write_size(size)) == float(size)


def test_units_are_written_as_people_do() -> None:
    assert [write_duration(s) for s in (300, 5400, 604800, 1.5, 90)] == ["5m", "1h30m", "7d", "1.5s", "1m30s"]
    assert [write_size(b) for b in (2e9, 512 * 2**20, 100)] == ["2GB", "512MiB", "100B"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2026-01-01T03:12:00Z", NOW),
        ("2026-01-01T03:12:00", NOW),
        ("2026-01-01T04:12:00+01:00", NOW.astimezone(timezone(timedelta(hours=1)))),
    ],
)
def test_times(text: str, at: datetime) -> None:
    assert parse_time(text, NOW) == at


@pytest.mark.parametrize("text", ["", "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31", "99999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|year"):
        parse_time(text, NOW)


def test_promql_takes_whole_numbers() -> None:
    assert [promql_duration(s) for s in (300, 1.4, 0.25)] == ["300s", "1s", "250ms"]
