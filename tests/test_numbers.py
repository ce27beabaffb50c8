"""Numbers as people read them."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.numbers import clock, day, figures, humane, scalar, since

AT = datetime(2026, 1, 1, 3, 12, 41, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (4.21, "seconds", "4.2 s"),
        (0.18, "seconds", "180 ms"),
        (0.0004, "s", "0.4 ms"),
        (0.9996, "seconds", "1 s"),
        (9.96, "seconds", "10 s"),
        (59.7, "seconds", "1 min"),
        (212, "seconds", "3 min 32 s"),
        (3600, "seconds", "1 h"),
        (7530, "seconds", "2 h 6 min"),
        (273_600, "seconds", "3 d 4 h"),
        (0, "seconds", "0 s"),
        (180, "ms", "180 ms"),
        (1_900_000_000, "bytes", "1.9 GB"),
        (512, "bytes", "512 B"),
        (999_900, "bytes", "1 MB"),
        (1e18, "bytes", "1000 PB"),
        (0.0312, "ratio", "3.1%"),
        (0.00004, "ratio", "0.004%"),
        (0.5, "ratio", "50%"),
        (0.99, "ratio", "99%"),
        (0.99861, "ratio", "99.86%"),
        (0.999, "ratio", "99.9%"),
        (0.99968, "ratio", "99.968%"),
        (0.999999999, "ratio", "100%"),
        (1, "ratio", "100%"),
        (12.5, "percent", "12.5%"),
        (41, "per_second", "41/s"),
        (41, "per second", "41/s"),
        (0.25, "requests/s", "0.25/s"),
        (2_500_000, "bytes/s", "2.5 MB/s"),
        (19, "connections", "19"),
        (19.0, None, "19"),
        (4.25, "sessions", "4.2"),
        (42.51, "sessions", "42.5"),
        (99_999, "requests", "99999"),
        (123_456, "requests", "123 k"),
        (4_500_000, "requests", "4.5 M"),
        (-3, "connections", "-3"),
        (1, "yes_no", "yes"),
        (0, "yes_no", "no"),
        (1767237161, "timestamp", "2026-01-01 03:12 UTC"),
        (None, "seconds", "–"),
        (math.nan, "seconds", "undefined"),
        (math.inf, "ratio", "inf"),
    ],
)
def test_a_number_in_its_unit(value: float | None, unit: str | None, shown: str) -> None:
    assert humane(value, unit) == shown


@given(
    st.floats(),
    st.sampled_from(["seconds", "ms", "bytes", "ratio", "per_second", "timestamp", "yes_no", "things", None]),
)
def test_any_number_has_a_short_name(value: float, unit: str | None) -> None:
    assert len(humane(value, unit)) <= 20


@given(st.floats(1e-6, 1e9))
def test_figures_stay_near_the_number(value: float) -> None:
    assert float(figures(value)) == pytest.approx(value, rel=0.06)


def test_whole_numbers_without_a_unit_are_exact() -> None:
    assert scalar(4_194_304_123) == "4194304123"
    assert scalar(2**70, "bytes") == str(2**70)
    assert scalar(123_456, "sessions") == "123 k"
    assert scalar(True) == "yes"
    assert scalar(None) == "–"
    assert scalar("text", "seconds") == "text"


def test_times_are_utc_whatever_the_zone() -> None:
    there = AT.astimezone(timezone(timedelta(hours=-5)))
    assert clock(there) == "03:12:41 UTC"
    assert clock(AT.replace(tzinfo=None)) == "03:12:41 UTC"
    assert day(there) == "2026-01-01"
    assert since(AT - timedelta(minutes=8), AT) == "03:04"
    assert since(AT - timedelta(hours=4), AT) == "12-31 23:12"
