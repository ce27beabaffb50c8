"""Numbers as services show them over time, some leaking and some not: shape, level, span and noise are drawn."""

import math
import random
from collections.abc import Callable, Sequence

from oncall.diagnosis.trend import Trend, leak

Shape = Callable[[float], float]
Course = tuple[list[float], list[float], float]
"""Times (Unix s), values, and the size of what happens in them."""
GRIDS = ((120, 1.0), (260, 15.0), (780, 5.0), (96, 60.0), (2016, 300.0))
"""Points and seconds between: from two minutes each second to a week each five minutes."""


def verdict(
    times: list[float],
    values: list[float],
    floor: float = 0.0,
    *,
    limit: float | None = None,
    restarted: float | None = None,
    load: tuple[list[float], list[float]] | None = None,
) -> Trend:
    found = leak(times, values, limit=limit, floor=floor, restarted=restarted, load=load)
    assert found is not None
    return found


def drawn(noise: random.Random, shape: Shape, most: float = 0.06) -> Course:
    """A shape over 0 to 1, at any level and of any size, with noise of up to `most` of its size."""
    count, step = noise.choice(GRIDS)
    begin = 1.7e9 + noise.randrange(10**6)
    base = 10 ** noise.uniform(0, 9)
    size = base * 10 ** noise.uniform(-1.2, 0.7)
    spread = size * noise.uniform(0.002, most)
    values = [base + size * shape(i / (count - 1)) + noise.gauss(0, spread) for i in range(count)]
    return [begin + i * step for i in range(count)], values, size


def _approach(r: random.Random, least: float, most: float, latest: float) -> Shape:
    tau, begin = r.uniform(least, most), r.uniform(0, latest)
    return lambda u: 1 - math.exp(-(u - begin) / tau) if u > begin else 0.0


def _sawtooth(r: random.Random, least: float, most: float, uneven: float = 0.0) -> Shape:
    period, phase = r.uniform(least, most), r.random()
    feet = [r.uniform(-uneven, uneven) for _ in range(200)]
    return lambda u: (u / period + phase) % 1 + feet[int(u / period + phase)]


def _wave(r: random.Random, uneven: float) -> Shape:
    period, phase = r.uniform(0.1, 0.5), r.random()
    heights = [r.uniform(1 - uneven, 1 + uneven) for _ in range(40)]
    return lambda u: heights[int(u / period + phase)] * (1 - math.cos(2 * math.pi * (u / period + phase))) / 2


def _step(r: random.Random) -> Shape:
    at, width = r.uniform(0.05, 0.95), r.uniform(0.001, 0.03)
    return lambda u: min(1.0, max(0.0, (u - at) / width))


def _hump(r: random.Random) -> Shape:
    at, width = r.uniform(0.1, 0.6), r.uniform(0.05, 0.3)
    return lambda u: math.sin(math.pi * (u - at) / width) if at < u < at + width else 0.0


def _spikes(r: random.Random) -> Shape:
    spikes = {r.randrange(1000): r.uniform(0.1, 3) for _ in range(20)}
    return lambda u: spikes.get(int(u * 1000), 0.0)


def _wandering(r: random.Random) -> Shape:
    keep, state = r.uniform(0.3, 0.9), [0.0]

    def shape(_: float) -> float:
        state[0] = keep * state[0] + r.gauss(0, 0.2)
        return state[0]

    return shape


def _given_back(r: random.Random) -> Shape:
    at = r.uniform(0.1, 0.9)
    return lambda u: 1 - u if u > at else 1.0


CALM: dict[str, Callable[[random.Random], Shape]] = {
    "noise": lambda r: lambda _: 0.0,
    "wandering noise": _wandering,
    "warm-up": lambda r: _approach(r, 0.03, 0.4, 0.0),
    "late warm-up": lambda r: _approach(r, 0.03, 0.2, 0.4),
    "sawtooth": lambda r: _sawtooth(r, 0.02, 0.45),
    "uneven sawtooth": lambda r: _sawtooth(r, 0.02, 0.45, 0.15),
    "daily wave": lambda r: _wave(r, 0.0),
    "uneven wave": lambda r: _wave(r, 0.15),
    "step": _step,
    "batch that passes": _hump,
    "spikes": _spikes,
    "given back": _given_back,
}


def _young(r: random.Random) -> Shape:
    begin = r.uniform(0.5, 5 / 6)
    return lambda u: max(0.0, u - begin) / (1 - begin)


def _collected(r: random.Random, tooth: float) -> Shape:
    period, height, phase = r.uniform(0.02, 0.15), tooth * r.uniform(0.5, 1), r.random()
    return lambda u: u + height * ((u / period + phase) % 1)


LEAKS: dict[str, Callable[[random.Random], Shape]] = {
    "linear": lambda r: lambda u: u,
    "young": _young,
    "a sixth of the span": lambda r: lambda u: max(0.0, u - 5 / 6) * 6,
    "under small teeth": lambda r: _collected(r, 0.3),
    "under large teeth": lambda r: _collected(r, 1.2),
}


# --- with load ---------------------------------------------------------------------------------


def loads(r: random.Random, count: int) -> tuple[str, list[float]]:
    """A load of some shape, with noise of a few percent."""
    period, phase, height, at = r.uniform(0.2, 1), r.random(), r.uniform(0.5, 3), r.uniform(0.3, 0.7)
    shapes: dict[str, Shape] = {
        "wave": lambda u: 1 + 0.8 * math.sin(2 * math.pi * (u / period + phase)),
        "step up": lambda u: 1 + height * (u > at),
        "up and down": lambda u: 1 + height * min(u / at, (1 - u) / (1 - at)),
        "rising flank": lambda u: 1 + 0.75 * (1 - math.cos(math.pi * u)),
    }
    name = r.choice(sorted(shapes))
    return name, [max(0.0, shapes[name](i / (count - 1)) + r.gauss(0, 0.03)) * 100 for i in range(count)]


def share(values: Sequence[float]) -> list[float]:
    """From 0 to 1."""
    low, high = min(values), max(values)
    return [(v - low) / (high - low or 1.0) for v in values]


def running(load: Sequence[float]) -> list[float]:
    """All that was done so far."""
    total, found = 0.0, []
    for v in load:
        total += v
        found.append(total)
    return found


def late(load: Sequence[float], points: float) -> list[float]:
    """What follows it after some time."""
    state, found = load[0], []
    for v in load:
        state += (v - state) / points
        found.append(state)
    return found
