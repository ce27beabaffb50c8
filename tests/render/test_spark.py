"""The shape of a signal in a few bars."""

import math

from hypothesis import given
from hypothesis import strategies as st

from oncall.render.spark import ASCII_BARS, BARS, spark


def test_a_rise_from_the_ground_uses_the_whole_height() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == BARS


def test_a_flat_line_looks_flat_wherever_it_lies() -> None:
    assert spark([5, 5, 5], 8) == "▄▄▄"
    assert spark([0, 0, 0], 8) == "▁▁▁"
    assert len(set(spark([41, 42, 40, 41, 42], 8))) <= 2


def test_gaps_stay_gaps() -> None:
    assert spark([1, None, math.nan, 4], 8) == "▃  █"
    assert spark([None, None], 8) == ""
    assert spark([], 8) == ""


def test_a_peak_survives_the_squeeze() -> None:
    assert "█" in spark([0.0] * 50 + [9.0] + [0.0] * 49, 10)


def test_growth_that_matters_shows_although_it_is_far_from_zero() -> None:
    shown = spark([1.5e9, 1.6e9, 1.7e9, 1.8e9, 1.9e9], 8)
    assert list(shown) == sorted(shown, key=BARS.index)
    assert shown[0] != shown[-1]


def test_ascii() -> None:
    assert spark([0, 7], 8, ascii_only=True) == "_#"


@given(st.lists(st.none() | st.floats(), max_size=200), st.integers(-1, 60), st.booleans())
def test_any_history_fits(values: list[float | None], width: int, ascii_only: bool) -> None:
    shown = spark(values, width, ascii_only=ascii_only)
    assert len(shown) <= max(0, width)
    assert set(shown) <= set((ASCII_BARS if ascii_only else BARS) + " ")
