"""Points in the order of time, and the little arithmetic on them that judging a trend needs. Pure Python."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from oncall.diagnosis.shift import median

LEAST = 12
"""Points below which nothing is said: four quarters of three, so that each has a median."""
HALF = 0.5
"""What decides between two explanations is the larger half of the growth."""
BETTER = 0.6
"""A model wins where it leaves at most so much of what the other leaves: two that say the same are a draw."""


class Line(NamedTuple):
    """Finite points in the order of time. `x` is the clock that growth is measured by: time, or work done."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def since(self, begin: float) -> "Line":
        at = next((i for i, x in enumerate(self.x) if x >= begin), len(self.x))
        return Line(self.x[at:], self.y[at:])

    @property
    def span(self) -> float:
        return self.x[-1] - self.x[0] if self.x else 0.0


def finite(times: Sequence[float], values: Sequence[float]) -> Line:
    """The points that have a value, in the order of time."""
    points = [(t, v) for t, v in zip(times, values, strict=True) if math.isfinite(v) and math.isfinite(t)]
    points.sort(key=lambda point: point[0])
    return Line(tuple(t for t, _ in points), tuple(v for _, v in points))


def thin(line: Line, most: int) -> Line:
    """At most so many points: the medians of stretches that hold equally many."""
    if len(line.x) <= most:
        return line
    parts = _parts(len(line.x), most)
    return Line(tuple(median(line.x[a:b]) for a, b in parts), tuple(median(line.y[a:b]) for a, b in parts))


def _parts(count: int, into: int) -> list[tuple[int, int]]:
    return list(pairwise(i * count // into for i in range(into + 1)))


def noise(values: Sequence[float]) -> float:
    """The standard deviation of what is between neighbours, robust: a slope does not count."""
    steps = [b - a for a, b in pairwise(values)]
    middle = median(steps)
    return 1.4826 * median([abs(s - middle) for s in steps]) / math.sqrt(2)


def squares_left(causes: Sequence[Sequence[float]], values: Sequence[float]) -> float:
    """The squares that a fit of `values` by a constant and one or two causes leaves, summed."""
    return sum(r * r for r in least_squares(causes, values)[0])


def least_squares(
    causes: Sequence[Sequence[float]], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Residuals and weights of the least squares, one cause after the other (Gram-Schmidt)."""
    rest, bases = _centred(values), [_centred(c) for c in causes]
    for i, base in enumerate(bases):
        size = _dot(base, base)
        for other in bases[i + 1 :] if size else ():
            share = _dot(other, base) / size
            other[:] = [o - share * b for o, b in zip(other, base, strict=True)]
    weights = []
    for cause, base in zip(causes, bases, strict=True):
        size = _dot(base, base)
        # What is left of a cause after the others is rounding where they say the same
        known = size > 1e-9 * _dot(_centred(cause), _centred(cause))
        weights.append(_dot(rest, base) / size if known else 0.0)
        rest = [r - weights[-1] * b for r, b in zip(rest, base, strict=True)]
    return rest, weights


def _centred(values: Sequence[float]) -> list[float]:
    middle = math.fsum(values) / len(values)
    return [v - middle for v in values]


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks; None where one does not vary."""
    one, two = _centred(_ranks(a)), _centred(_ranks(b))
    size = _dot(one, one) * _dot(two, two)
    return _dot(one, two) / math.sqrt(size) if size > 0 else None


def _ranks(values: Sequence[float]) -> list[float]:
    """1 for the least; equal ones share the mean of their places."""
    ordered = sorted(values)
    return [(bisect_right(ordered, v) + bisect_left(ordered, v) + 1) / 2 for v in values]


def ties(numbers: Sequence[float]) -> list[int]:
    ordered = sorted(numbers)
    edges = [0, *(i for i in range(1, len(ordered)) if ordered[i] != ordered[i - 1]), len(ordered)]
    return [b - a for a, b in pairwise(edges)]
