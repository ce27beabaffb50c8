"""The robust change of a signal, against numpy and scipy and by properties."""

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from oncall.diagnosis.shift import change, iqr, onset, quantile, rose_at

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80)


@given(NUMBERS, st.floats(0, 1))
def test_quantile_is_numpys(values: list[float], q: float) -> None:
    assert quantile(values, q) == pytest.approx(float(numpy.quantile(values, q)), rel=1e-9, abs=1e-6)


@given(NUMBERS)
def test_iqr_is_scipys(values: list[float]) -> None:
    assert iqr(values) == pytest.approx(float(scipy.stats.iqr(values)), rel=1e-9, abs=1e-6)


def steps(before: list[float], after: list[float]) -> tuple[list[float], list[float]]:
    values = [*before, *after]
    return [float(t) for t in range(len(values))], values


@given(
    st.integers(30, 200), st.integers(5, 40), st.floats(1, 100), st.floats(2, 50), st.integers(0, 2**32 - 1)
)
def test_onset_finds_a_step_in_noise(n: int, m: int, level: float, factor: float, seed: int) -> None:
    noise = numpy.random.default_rng(seed)
    before = (level * (1 + 0.05 * noise.standard_normal(n))).tolist()
    after = (level * factor * (1 + 0.05 * noise.standard_normal(m))).tolist()
    times, values = steps(before, after)
    found = onset(times, values)
    assert found is not None
    assert abs(found - n) <= 2


@given(
    st.integers(8, 200), st.integers(4, 120), st.integers(5, 200), st.floats(2, 50), st.integers(0, 2**32 - 1)
)
def test_a_climb_to_a_level_that_is_kept_began_at_its_foot(
    quiet: int, climb: int, kept: int, factor: float, seed: int
) -> None:
    noise = numpy.random.default_rng(seed)
    slope = [1 + (factor - 1) * i / climb for i in range(1, climb + 1)]
    shape = numpy.array([1.0] * quiet + slope + [factor] * kept)
    values = (shape * (1 + 0.02 * noise.standard_normal(len(shape)))).tolist()
    found = rose_at([float(t) for t in range(len(values))], values, 0.0)
    assert found is not None
    # Not before it began, nor when most of it was over: what comes before is the quiet time
    assert quiet - 2 <= found <= quiet + 0.6 * climb + 2


def test_one_spike_is_no_onset_of_a_later_step() -> None:
    times, values = steps([4, 5, 4, 900, 5, 4, 4, 5, 4, 5, 4, 5, 4, 5, 4, 5], [15, 16, 15, 16, 15])
    assert onset(times, values) == pytest.approx(16)


@pytest.mark.parametrize("values", [[], [1.0], [2.0] * 50])
def test_nothing_changes_in_a_flat_or_short_line(values: list[float]) -> None:
    assert onset([float(i) for i in range(len(values))], values) is None


@given(st.lists(st.floats(0.1, 100), min_size=20, max_size=60), st.floats(0.1, 1000), st.floats(0.1, 1000))
def test_shift_does_not_depend_on_the_unit(values: list[float], now: float, scale: float) -> None:
    times = [float(i) for i in range(len(values))]

    def shift(factor: float) -> float:
        found = change(
            times, [v * factor for v in values], boundary=1e9, now=now * factor, floor=0.0, samples=99
        )
        assert found is not None
        return found.shift

    assert shift(scale) == pytest.approx(shift(1.0), rel=1e-6, abs=1e-9)


def test_a_change_over_few_samples_is_weak() -> None:
    times, values = steps([4.0] * 100, [18.0] * 5)
    for samples, weak in ((59, True), (60, False)):
        found = change(times, values, boundary=99.0, now=18.0, floor=1.0, samples=samples)
        assert found is not None
        assert found.weak is weak
        assert found.usual == 4.0
        assert found.onset == 100.0


def test_without_a_baseline_there_is_no_change() -> None:
    assert change([10.0], [4.0], boundary=5.0, now=4.0, floor=1.0, samples=0) is None


def test_a_quiet_signal_does_not_cry_over_nothing() -> None:
    times, values = steps([0.0] * 100, [0.4] * 5)
    found = change(times, values, boundary=99.0, now=0.4, floor=1.0, samples=100)
    assert found is not None
    assert found.shift < 1
    assert found.onset is None


@given(NUMBERS)
def test_the_usual_and_the_spread_are_scipys(values: list[float]) -> None:
    """(now - median) / IQR, where the IQR is wide enough."""
    floor = 1.0
    found = change(
        [float(i) for i in range(len(values))], values, boundary=1e9, now=7.0, floor=floor, samples=60
    )
    assert found is not None
    usual = float(numpy.median(values))
    spread = max(float(scipy.stats.iqr(values)), floor, 0.1 * abs(usual))
    assert found.usual == pytest.approx(usual, rel=1e-9, abs=1e-6)
    assert found.shift == pytest.approx((7.0 - usual) / spread, rel=1e-6, abs=1e-6)
    assert not found.weak
