"""A growth beside the load, over many made-up incidents that are counted; and two growths beside each other."""

import math
import random
from itertools import accumulate

import pytest
import scipy.stats

from oncall.diagnosis.along import along
from oncall.diagnosis.lines import spearman
from oncall.diagnosis.trend import Trend
from tests.diagnosis.trend_sim import late, loads, running, share, verdict

# --- the load --------------------------------------------------------------------------------------


def courses(seed: int, kind: str) -> tuple[Trend, str]:
    """A number that depends on a load in the way that is named."""
    noise = random.Random(seed)
    count, step = noise.choice(((260, 15.0), (480, 30.0)))
    times = [1.7e9 + step * i for i in range(count)]
    shape, load = loads(noise, count)
    tau = noise.uniform(0.05, 0.3) * count
    made = {
        "level": lambda: share(late(load, 3)),
        "late": lambda: share(late(load, count * noise.uniform(0.01, 0.08))),
        "highest": lambda: share(list(accumulate(late(load, 5), max))),
        "warm-up": lambda: [1 - math.exp(-i / tau) for i in range(count)],
        "each request": lambda: share(running(load)),
        "time": lambda: [i / count for i in range(count)],
    }[kind]()
    values = [1e8 * (1 + v + noise.gauss(0, 0.01)) for v in made]
    return verdict(times, values, 2e6, load=(times, load)), shape


@pytest.mark.parametrize("kind", ["level", "late", "highest", "warm-up"])
def test_what_follows_the_load_is_no_leak(kind: str) -> None:
    wrong = [(seed, shape) for seed in range(20) for t, shape in [courses(seed, kind)] if t.leaking]
    assert not wrong


@pytest.mark.parametrize("kind", ["each request", "time"])
def test_a_leak_is_found_under_a_load_that_comes_and_goes(kind: str) -> None:
    """So many bytes for each request is a leak: it does not fall when the load falls."""
    missed = [(s, shape, t.reason) for s in range(20) for t, shape in [courses(s, kind)] if not t.leaking]
    assert not missed


def test_where_load_and_number_only_rise_together_nothing_can_tell() -> None:
    times = [float(i) for i in range(240)]
    noise = random.Random(1)
    values = [1e8 + 1e6 * t + noise.gauss(0, 1e6) for t in times]
    found = verdict(times, values, 1e6, load=(times, [100 + t + noise.gauss(0, 1) for t in times]))
    assert (found.leaking, found.reason) == (False, "follows the load")
    assert verdict(times, values, 1e6).leaking


def morning(seed: int, factor: float, most: float) -> Trend:
    """A load that rises evenly, with noise that wanders for two minutes at a time, and a number that rises evenly."""
    noise, wander, load = random.Random(seed), 0.0, []
    times = [1.7e9 + 15 * i for i in range(260)]
    for i in range(len(times)):
        wander = math.exp(-15 / 120) * wander + noise.gauss(0, 0.06 * math.sqrt(1 - math.exp(-30 / 120)))
        load.append(100 * (1 + (factor - 1) * i / 259) * math.exp(wander))
    values = [6e8 * (1 + (most - 1) * i / 259) + noise.gauss(0, 4e6) for i in range(len(times))]
    return verdict(times, values, 1e6, limit=2e9, load=(times, load))


def test_the_noise_of_a_rising_load_makes_no_leak() -> None:
    """The number is as even as a clock and the load is not: least squares would have it that time explains it."""
    leaks = [seed for seed in range(20) if morning(seed, 1.7, 1.4).leaking]
    assert not leaks


def test_what_grows_much_steeper_than_the_load_is_none_of_its() -> None:
    missed = [seed for seed in range(20) if not morning(seed, 1.2, 3.0).leaking]
    assert not missed


# --- what grows along ----------------------------------------------------------------------------------


def walk(seed: int, count: int = 240) -> tuple[list[float], list[float]]:
    """A growth that is sometimes fast and sometimes slow."""
    noise, total, values = random.Random(seed), 0.0, []
    speed = [noise.expovariate(1) for _ in range(20)]
    for i in range(count):
        total += speed[i * 20 // count]
        values.append(total)
    return [float(i) for i in range(count)], values


def test_what_drives_a_growth_goes_along_with_it() -> None:
    times, entries = walk(1)
    memory = [1e8 + 2e5 * v for v in entries]
    together, apart = along(times, memory, times, entries), along(times, memory, *walk(2))
    assert together == pytest.approx(1.0)
    assert apart is not None
    assert apart < 0.8
    assert along(times, memory, times, [-v for v in entries]) == pytest.approx(-1.0)


@pytest.mark.parametrize(("count", "value"), [(10, 1.0), (240, math.nan)])
def test_too_little_to_go_along(count: int, value: float) -> None:
    times, values = walk(3)
    assert along(times, values, [float(i) for i in range(count)], [value] * count) is None
    assert along(times, values, times, [4.0] * 240) is None


def test_the_ranks_are_scipys() -> None:
    noise = random.Random(5)
    a, b = ([float(noise.randint(0, 9)) for _ in range(30)] for _ in range(2))
    assert spearman(a, b) == pytest.approx(float(scipy.stats.spearmanr(a, b).statistic))
