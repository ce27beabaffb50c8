"""This week against the ones before, and endpoints against last week: pure."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oncall.checks.endpoints import costs_of, slow_of
from oncall.checks.measured import Asked, expression
from oncall.checks.weeks import changed, compare, words, worse
from oncall.model_service import SignalSpec

day = st.floats(0, 1e6)
maybe = st.lists(st.none() | day, min_size=14, max_size=28)


@given(maybe)
def test_medians_are_those_of_the_known_days(values: list[float | None]) -> None:
    found = compare(values, "ratio")
    this = [v for v in values[-7:] if v is not None]
    earlier = [v for v in values[:-7] if v is not None]
    assert (found.now is None) == (len(this) < 5)
    if found.now is not None:
        assert found.now == pytest.approx(stats.scoreatpercentile(this, 50))
        assert found.now_p95 == pytest.approx(stats.scoreatpercentile(this, 95))
    assert (found.before is None) == (found.now is None or len(earlier) < 5)
    if found.before is not None:
        assert found.before == pytest.approx(stats.scoreatpercentile(earlier, 50))
        assert found.before_p95 == pytest.approx(stats.scoreatpercentile(earlier, 95))
        assert found.shift is not None
        assert math.isfinite(found.shift)


@given(st.lists(day, min_size=28, max_size=28), st.floats(0.5, 1000))
def test_the_unit_does_not_matter(values: list[float], scale: float) -> None:
    """Where no floor decides, a number in other units changed as much."""
    one, other = compare(values), compare([v * scale for v in values])
    assert one.shift is not None
    assert other.shift == pytest.approx(one.shift, rel=1e-6, abs=1e-6)


@given(day.filter(lambda v: v > 0.01), st.integers(2, 4))
def test_nothing_changed_says_nothing(level: float, weeks: int) -> None:
    week = [level * (0.5 if n > 4 else 1) for n in range(7)]
    found = compare(week * weeks, "seconds")
    assert not changed(found)
    assert words(found, "seconds") is None


def test_a_change_in_words() -> None:
    found = compare([0.17, 0.18, 0.19, 0.18, 0.18, 0.18, 0.18] * 3 + [0.42] * 6 + [0.6], "seconds")
    assert words(found, "seconds") == (
        "rose ×2.3: a day has 420 ms, in the weeks before 180 ms; its worst day 546 ms, before 190 ms"
    )
    assert worse(found, "seconds", below=False)
    assert not worse(found, "seconds", below=True)
    assert not worse(found, "per_second", below=False), "another load is neither better nor worse"
    fell = compare([100.0] * 21 + [20.0] * 7, "ratio")
    assert words(fell, "bytes") == "fell ×0.2: a day has 20 B, in the weeks before 100 B"
    assert worse(fell, "ratio", below=True)


@pytest.mark.parametrize(("unit", "least"), [("messages", 5000.0), ("ratio", 0.02), ("cores", 0.5)])
def test_what_was_always_nothing_and_is_something_has_changed(unit: str, least: float) -> None:
    found = compare([0.0] * 21 + [least] * 7, unit)
    assert worse(found, unit, below=False)
    assert not changed(compare([0.0] * 28, unit))
    assert not changed(compare([2.0, 3.0, 2.0, 2.0, 3.0, 2.0, 2.0] * 3 + [4.0] * 7, "messages"))


def test_two_mad_days_are_not_a_week() -> None:
    assert not changed(compare([0.1] * 21 + [0.1] * 5 + [9.0] * 2, "seconds"))
    assert not changed(compare([0.1] * 15 + [9.0] * 6 + [0.1] * 7, "seconds"))


@pytest.mark.parametrize(
    ("over_s", "written"), [(3600, "[3600s:38s]"), (86400, "[86400s:60s]"), (604800, "[604800s:300s]")]
)
def test_a_day_is_looked_at_each_minute_and_a_week_every_five(over_s: float, written: str) -> None:
    asked = Asked(spec=SignalSpec(gauge="pool"), over_s=over_s, by="max")
    assert expression(asked, {}) == f"max_over_time((sum(pool)){written})"


def test_too_few_days_compare_nothing() -> None:
    assert compare([None] * 24 + [1.0] * 4).now is None
    found = compare([None] * 20 + [1.0] * 8)
    assert (found.now, found.before, found.shift, found.days) == (1.0, None, None, 8)


SLOW = {
    "now": {"/a": 1.6, "/b": 0.9, "/c": 0.012, "/new": 3.0},
    "before": {"/a": 0.4, "/b": 0.8, "/c": 0.004},
    "requests": {"/a": 100.0, "/b": 50.0, "/c": 1e6, "/new": 30.0},
}


def test_who_became_slower_comes_first_then_the_slowest() -> None:
    found = slow_of(SLOW)
    # Three times 4 ms is nothing that anybody feels.
    assert [s.endpoint for s in found] == ["/a", "/new", "/b", "/c"]
    assert found[0].times == 4
    assert found[1].times is None
    many = {f"/{n}": float(n) for n in range(40)}
    assert len(slow_of({"now": many, "before": {}, "requests": {}})) == 10


def test_what_costs_most_is_a_share_of_all_that_there_is() -> None:
    answers = {
        "now": {"/a": 60.0, "/b": 30.0},
        "before": {"/a": 10.0},
        "all": {"": 120.0},
        "all_before": {"": 40.0},
        "requests": {"/a": 600.0},
    }
    first, second = costs_of(answers)
    assert (first.endpoint, first.share, first.before, first.mean) == ("/a", 0.5, 0.25, 0.1)
    assert (second.share, second.before, second.mean) == (0.25, None, None)
    nothing = {**answers, "now": {"/a": 0.0}, "all": {"": 0.0}, "all_before": {}}
    assert costs_of(nothing)[0].share == 0
