"""How long until a limit: against scipy's Theil-Sen, and on shapes whose answer is known."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from oncall.checks.capacity import YEAR_S, Outlook, outlook, severity, when, words
from oncall.checks.model import DAY_S, WEEK_S
from oncall.model import Severity

values = st.lists(st.floats(-1e6, 1e6), min_size=7, max_size=30)


def days(count: int) -> list[float]:
    return [DAY_S * n for n in range(count)]


def of(found: list[float], limit: float | None = None, *, below: bool = False) -> Outlook:
    return outlook(days(len(found)), found, limit=limit, below=below)


@given(values, st.floats(-1e6, 1e6))
def test_the_slope_and_its_spread_are_those_of_theil_and_sen(found: list[float], limit: float) -> None:
    slope, _, low, high = stats.theilslopes(found, days(len(found)), 0.95)
    ahead = of(found, limit)
    scale = max(map(abs, found)) or 1.0
    assert ahead.per_day == pytest.approx(slope * DAY_S, abs=1e-9 * scale)
    assert ahead.low == pytest.approx(low * DAY_S, abs=1e-9 * scale)
    assert ahead.high == pytest.approx(high * DAY_S, abs=1e-9 * scale)
    assert ahead.level is not None
    end = days(len(found))[-1]
    # Where the line meets the last day, by the median of all points: scipy's intercept ("separate") at the end.
    level = sorted(v + slope * (end - t) for t, v in zip(days(len(found)), found, strict=True))
    middle = (level[(len(level) - 1) // 2] + level[len(level) // 2]) / 2
    assert ahead.level == pytest.approx(middle, abs=1e-6 * scale)
    # The decisions hang on the signs; where these are rounding, either is right.
    assume(all(abs(x) * DAY_S > 1e-6 * scale for x in (low, high)))
    assume(abs(limit - ahead.level) > 1e-6 * scale)
    if limit < ahead.level:
        assert ahead.state == "passed"
        return
    assert ahead.state == ("grows" if low > 0 else "shrinks" if high < 0 else "steady")
    if high > 0:
        assert ahead.soonest_s == pytest.approx((limit - middle) / high, rel=1e-4)
    else:
        assert ahead.soonest_s is None


@given(values, st.floats(-1e6, 1e6))
def test_falling_to_a_limit_is_growing_to_it_in_a_mirror(found: list[float], limit: float) -> None:
    one, other = of(found, limit), of([-v for v in found], -limit, below=True)
    assert one.state == other.state
    assert (one.soonest_s, one.latest_s) == (other.soonest_s, other.latest_s)


@given(values, st.floats(-1e6, 1e6))
def test_the_range_is_in_order(found: list[float], limit: float) -> None:
    ahead = of(found, limit)
    order = [math.inf if t is None else t for t in (ahead.soonest_s, ahead.likely_s, ahead.latest_s)]
    assert order == sorted(order)
    assert all(t >= 0 for t in order)
    assert words(ahead, limit, "bytes", below=False)


def test_an_even_growth_is_told_to_the_day() -> None:
    ahead = of([100 + 2.0 * n for n in range(28)], limit=254)
    assert ahead.state == "grows"
    assert ahead.per_day == pytest.approx(2)
    assert ahead.level == pytest.approx(154)
    assert ahead.likely_s == pytest.approx(50 * DAY_S)
    assert when(ahead) == "in about 7 weeks"
    assert words(ahead, 254, None, below=False) == "154, +2 a day: 254 in about 7 weeks"


def test_mad_days_do_not_move_it() -> None:
    found = [100 + 2.0 * n for n in range(28)]
    mad = [v * 9 if n % 7 == 3 else v for n, v in enumerate(found)]
    assert of(mad, 254).state == "grows"
    assert of(mad, 1000).per_day == pytest.approx(2, rel=0.6)


@pytest.mark.parametrize("begins", range(7))
@pytest.mark.parametrize("weeks", [2, 3, 4, 8])
def test_the_rhythm_of_a_week_is_no_growth(begins: int, weeks: int) -> None:
    found = [100.0 + (n % 3) if (n + begins) % 7 < 5 else 30.0 for n in range(7 * weeks)]
    assert of(found, 150).state == "steady"


def test_a_step_that_stays_is_no_growth_for_ever() -> None:
    noise = [0.3, -0.2, 0.1, -0.4, 0.2]
    found = [10 + noise[n % 5] + (1 if n >= 52 else 0) for n in range(56)]
    assert of(found, 20).state == "steady"


def test_a_history_that_is_too_short_says_nothing() -> None:
    ahead = of([1.0 * n for n in range(6)], 10)
    assert (ahead.state, ahead.days) == ("short", 6)
    assert severity(ahead, 30 * DAY_S, 7 * DAY_S) is Severity.UNKNOWN
    assert outlook([0.0] * 9, [1.0] * 9, limit=2).state == "short"


def test_what_is_passed_and_what_falls() -> None:
    assert words(of([17.0] * 10, 16), 16, None, below=False) == "17: beyond 16 already"
    free = of([100e9 - 1e9 * n for n in range(30)], 20e9, below=True)
    assert free.state == "grows"
    assert words(free, 20e9, "bytes", below=True) == "71 GB, -1 GB a day: 20 GB in about 7 weeks"
    assert words(of([50e9] * 10, 20e9, below=True), 20e9, "bytes", below=True) == "50 GB, does not fall"
    assert words(of([1.0 * n for n in range(9)]), None, None, below=False) == "8, +1 a day; no limit is set"


@pytest.mark.parametrize(
    ("soonest", "latest", "said"),
    [
        (None, None, "not within a year"),
        (YEAR_S + 1, None, "not within a year"),
        (5 * WEEK_S, 9 * WEEK_S, "in 5 to 9 weeks"),
        (DAY_S, DAY_S * 1.2, "in about 1 day"),
        (DAY_S * 3, DAY_S * 20, "in 3 to 20 days"),
        (40 * WEEK_S, 2 * YEAR_S, "in 9 months at the earliest"),
        (3 * WEEK_S, None, "in 3 weeks at the earliest"),
    ],
)
def test_when_in_words(soonest: float | None, latest: float | None, said: str) -> None:
    assert when(Outlook(state="grows", days=9, soonest_s=soonest, latest_s=latest)) == said


@pytest.mark.parametrize(
    ("state", "soonest", "latest", "expected"),
    [
        ("grows", 20, 90, Severity.WARNING),
        ("grows", 3, 90, Severity.WARNING),
        ("grows", 3, 6, Severity.CRITICAL),
        ("grows", 40, 90, Severity.OK),
        ("grows", 3, None, Severity.WARNING),
        ("steady", 3, None, Severity.OK),
        ("passed", 0, 0, Severity.CRITICAL),
    ],
)
def test_the_verdict(state: str, soonest: float, latest: float | None, expected: Severity) -> None:
    ahead = Outlook(
        state=state,  # type: ignore[arg-type]
        days=20,
        soonest_s=soonest * DAY_S,
        latest_s=None if latest is None else latest * DAY_S,
    )
    assert severity(ahead, 30 * DAY_S, 7 * DAY_S) is expected
