"""The slope against scipy; the leak verdict by properties, and over many made-up incidents that are counted."""

import math
import random
import warnings
from collections import Counter

import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oncall.diagnosis.trend import POINTS, Trend, fell_at, leak, theil_sen
from tests.diagnosis.trend_sim import CALM, LEAKS, drawn, verdict

FLOOR = 0.02
"""Of what happens: growth below is of no interest."""
CALM_RUNS, LEAK_RUNS = 300, 100


# --- the slope ---------------------------------------------------------------------------------

POINTS_OF_TEST = st.lists(
    st.tuples(st.integers(0, 300), st.one_of(st.integers(-5, 5), st.floats(-1e6, 1e6))),
    min_size=2,
    max_size=40,
)


@given(POINTS_OF_TEST)
def test_the_slope_and_its_interval_are_scipys(points: list[tuple[int, float]]) -> None:
    times, values = [float(t) for t, _ in points], [float(v) for _, v in points]
    assume(len(set(times)) > 1)

    with warnings.catch_warnings():
        # Many ties make its variance negative, and its interval nothing
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = scipy.stats.theilslopes(values, times, 0.95)
    assume(not math.isnan(expected[2]))
    found = theil_sen(times, values)
    assert found is not None
    for ours, theirs in ((found.per_s, expected[0]), (found.low, expected[2]), (found.high, expected[3])):
        assert ours == pytest.approx(float(theirs), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("times", [[], [1.0], [3.0, 3.0, 3.0]])
def test_without_two_times_there_is_no_slope(times: list[float]) -> None:
    assert theil_sen(times, [1.0] * len(times)) is None
    assert theil_sen([1.0, 2.0], [math.nan, 1.0]) is None


def test_the_slope_of_very_many_points_is_that_of_some() -> None:
    noise = random.Random(7)
    times = [float(i) for i in range(50 * POINTS)]
    found = theil_sen(times, [2 * t + noise.gauss(0, 100) for t in times])
    assert found is not None
    assert found.per_s == pytest.approx(2, rel=0.01)
    assert found.low < 2 < found.high


# --- counted -------------------------------------------------------------------------------------


def test_what_passes_by_itself_is_no_leak() -> None:
    wrong: Counter[tuple[str, int]] = Counter()
    names = sorted(CALM)
    for seed in range(CALM_RUNS):
        name, noise = names[seed % len(names)], random.Random(seed)
        times, values, size = drawn(noise, CALM[name](noise))
        wrong[name, seed] += verdict(times, values, FLOOR * size).leaking
    assert not +wrong, f"{wrong.total()} of {CALM_RUNS} calm ones were called leaks: {sorted(+wrong)}"


def test_clear_leaks_are_found() -> None:
    missed: Counter[tuple[str, str, int]] = Counter()
    names = sorted(LEAKS)
    for seed in range(LEAK_RUNS):
        name, noise = names[seed % len(names)], random.Random(seed)
        times, values, size = drawn(noise, LEAKS[name](noise), 0.04)
        found = verdict(times, values, FLOOR * size)
        missed[name, found.reason, seed] += not found.leaking
    assert missed.total() <= 0.02 * LEAK_RUNS, (
        f"{missed.total()} of {LEAK_RUNS} were missed: {sorted(+missed)}"
    )


def test_a_slow_leak_of_two_percent_an_hour_is_found() -> None:
    for seed in range(10):
        noise = random.Random(seed)
        times = [1.7e9 + 120 * i for i in range(240)]
        values = [4e8 * (1 + 0.02 * (t - times[0]) / 3600 + noise.gauss(0, 0.008)) for t in times]
        found = verdict(times, values, 4e6, limit=8e8)
        assert found.leaking, (seed, found.reason)
        assert found.slope_per_s == pytest.approx(8e6 / 3600, rel=0.2)
        assert found.limit_s == pytest.approx((8e8 - 4e8 * 1.16) / (8e6 / 3600), rel=0.25)


def test_where_a_number_fell() -> None:
    times = [float(i) for i in range(40)]
    fell = [100.0 + i if i < 22 else 10.0 + i for i in range(40)]
    # Two points after the restart nothing was scraped of it yet
    assert fell_at(times, fell, 20.0) == 22.0
    assert fell_at(times, [100.0 + i for i in range(40)], 20.0) is None
    assert fell_at(times, fell, -5.0) == -5.0
    assert fell_at(times, fell, 50.0) == 50.0


# --- single ones -----------------------------------------------------------------------------------


def ramp(count: int, begin: int = 0) -> tuple[list[float], list[float]]:
    noise = random.Random(count)
    return (
        [1.7e9 + 15 * i for i in range(count)],
        [1e8 + 1e6 * max(0, i - begin) + noise.gauss(0, 1e5) for i in range(count)],
    )


def test_a_restart_cuts_off_what_was_before() -> None:
    times, values = ramp(240)
    assert verdict(times, values, restarted=times[0] - 5000).leaking
    # Half of it is another process's; this one has leaked since
    found = verdict(times, values, restarted=times[120])
    assert found.leaking
    assert found.begins >= times[120]
    found = verdict(times, values, restarted=times[220])
    assert (found.leaking, found.reason, found.limit_s) == (False, "restarted inside", None)


def test_a_process_that_comes_back_to_the_level_of_the_one_before_it_warms_up() -> None:
    times, climbs = ramp(120)
    both = [*(t - 1800 for t in times), *times]
    calm = [3e8 + (i % 3) * 1e5 for i in range(120)]
    found = verdict(both, calm + climbs, restarted=times[0])
    assert (found.leaking, found.reason) == (False, "warming up")
    # Above it, and where that one leaked as well, it is a leak
    assert verdict(both, [v / 2 for v in calm] + climbs, restarted=times[0]).leaking
    assert verdict(both, [4 * v for v in climbs] + climbs, restarted=times[0]).leaking


def test_where_growth_begins_and_when_it_ends() -> None:
    times, values = ramp(240, 160)
    found = verdict(times, values, 1e6, limit=2e8)
    assert found.leaking
    assert found.begins == pytest.approx(times[160], abs=10 * 15)
    assert found.slope_per_s == pytest.approx(1e6 / 15, rel=0.05)
    assert found.low <= found.slope_per_s <= found.high
    assert found.grown == pytest.approx(8e7, rel=0.15)
    assert found.limit_s == pytest.approx((2e8 - 1.8e8) / (1e6 / 15), rel=0.15)
    assert verdict(times, values, 1e6, limit=1.5e8).limit_s == 0
    assert verdict(times, values, 1e6).limit_s is None


@pytest.mark.parametrize(
    ("count", "floor", "reason"), [(11, 0.0, "too short"), (240, 1e9, "flat")], ids=["few", "below the floor"]
)
def test_reasons(count: int, floor: float, reason: str) -> None:
    found = verdict(*ramp(count), floor)
    assert (found.leaking, found.reason) == (False, reason)


def test_nothing_at_all() -> None:
    assert leak([], [], limit=None, floor=0.0, restarted=None, load=None) is None
    assert leak([1.0], [1.0], limit=None, floor=0.0, restarted=None, load=None) is None
    assert leak([1.0] * 30, [1.0] * 30, limit=None, floor=0.0, restarted=None, load=None) is None
    flat = verdict([float(i) for i in range(60)], [5.0] * 60)
    assert (flat.leaking, flat.reason, flat.slope_per_s) == (False, "flat", 0.0)
    gaps = [math.nan if i % 3 else float(i) for i in range(300)]
    assert verdict([float(i) for i in range(300)], gaps).leaking


# --- properties --------------------------------------------------------------------------------------

WHOLE = st.lists(st.integers(-1000, 1000), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(WHOLE, st.integers(0, 40), st.integers(-8, 8), st.integers(-6, 6), st.integers(-(2**20), 2**20))
def test_unit_clock_and_level_do_not_matter(
    steps: list[int], slope: int, unit: int, clock: int, level: int
) -> None:
    """Powers of two and whole numbers, so that the arithmetic is exact and only the method is tested."""
    times = [float(i) for i in range(len(steps))]
    values = [float(slope * i + v) for i, v in enumerate(steps)]
    plain = verdict(times, values, 8.0, limit=2.0**20)
    k, c = 2.0**unit, 2.0**clock
    other = verdict(
        [t * c + 2.0**20 for t in times],
        [(v + level) * k for v in values],
        8.0 * k,
        limit=(2.0**20 + level) * k,
    )
    assert (other.leaking, other.reason) == (plain.leaking, plain.reason)
    assert other.slope_per_s == pytest.approx(plain.slope_per_s * k / c, rel=1e-6, abs=1e-9)
    assert other.begins == plain.begins * c + 2.0**20
    assert (other.limit_s is None) == (plain.limit_s is None)
    if plain.limit_s is not None:
        assert other.limit_s == pytest.approx(plain.limit_s * c, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 20), st.floats(1, 20))
def test_a_steeper_leak_is_one_too(seed: int, slope: float, factor: float) -> None:
    noise = random.Random(seed)
    rough = [noise.gauss(0, 5) for _ in range(120)]
    times = [float(i) for i in range(120)]

    def with_slope(per_s: float) -> Trend:
        return verdict(times, [per_s * t + r for t, r in zip(times, rough, strict=True)], 1.0)

    if with_slope(slope).leaking:
        assert with_slope(slope * factor).leaking
