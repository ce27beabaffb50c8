"""What a growth goes along with: the load of the meantime, which would explain it, or another number. Pure Python."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from oncall.diagnosis.lines import BETTER, HALF, LEAST, Line, finite, least_squares, spearman, squares_left
from oncall.diagnosis.shift import median

STRETCHES = 6
"""What is left of a load after a clock is noise where most of it is gone from the means of so many stretches."""
STEEPER = 2.0
"""What follows the load grows in proportion to it at most, or somewhat more where requests pile up."""

# --- the load --------------------------------------------------------------------------------------


def load_at(load: tuple[Sequence[float], Sequence[float]], times: Sequence[float]) -> list[float] | None:
    """The load at those times: the mean of what was seen around each; None where it is hardly known or constant."""
    known = finite(*load)
    if len(known.x) < LEAST or known.x[0] > times[len(times) // 4] or known.x[-1] < times[-len(times) // 4]:
        return None
    sums = [0.0, *accumulate(known.y)]
    edges = [times[0], *((a + b) / 2 for a, b in pairwise(times)), times[-1]]
    found = []
    for low, high in pairwise(edges):
        a, b = bisect_right(known.x, low), bisect_right(known.x, high)
        nearest = min(max(a - 1, 0), len(known.y) - 1)
        found.append((sums[b] - sums[a]) / (b - a) if b > a else known.y[nearest])
    return found if max(found) > min(found) else None


def work_done(times: Sequence[float], load: Sequence[float]) -> list[float]:
    """What was done until each time: the integral of the load."""
    done = [max(0.0, (a + b) / 2) * (t - s) for (s, a), (t, b) in pairwise(zip(times, load, strict=True))]
    return [0.0, *accumulate(done)]


def follows(line: Line, load: Sequence[float], begin: float, grown: float) -> bool:
    """Whether the level of the load explains what grew since `begin`, and neither time nor work done does better.

    A number may follow late, or stay at the highest that was needed so far: both are the load's level too. Where
    load and number rise together all the time, nothing tells the two apart, and it is called no leak: that only the
    noise of the load keeps it from being as even as a clock is no mark of a leak."""

    def explain(*causes: Sequence[float]) -> bool:
        return grown > 0 and _explained(causes, line, begin) / grown >= HALF

    levels = [load, *(_late(load, len(load) / n) for n in (60, 20, 10)), list(accumulate(load, max))]
    left, level = min(((squares_left([c], line.y), c) for c in levels), key=lambda pair: pair[0])
    if not explain(level):
        return False
    for clock in (line.x, work_done(line.x, load)):
        if _rises_with(clock, load, line.y):
            continue
        if squares_left([level, clock], line.y) < BETTER * BETTER * left and explain(level, clock):
            return False
    return True


def _rises_with(clock: Sequence[float], load: Sequence[float], values: Sequence[float]) -> bool:
    """Whether a clock explains the load too, but for its noise, and the number grows no steeper than it."""
    rest, _ = least_squares([clock], load)
    left = math.fsum(r * r for r in rest)
    edges = [len(rest) * i // STRETCHES for i in range(STRETCHES + 1)]
    lasting = math.fsum(math.fsum(rest[a:b]) ** 2 / (b - a) for a, b in pairwise(edges) if b > a)
    if left > HALF * squares_left([], load) or lasting > HALF * left:
        return False
    return _growth(clock, values) <= STEEPER * _growth(clock, load)


def _growth(clock: Sequence[float], values: Sequence[float]) -> float:
    """How many times what it was at the beginning a number grows to, less one, along a straight line."""
    weight = least_squares([clock], values)[1][0]
    begin = math.fsum(values) / len(values) - weight * (math.fsum(clock) / len(clock) - clock[0])
    return weight * (clock[-1] - clock[0]) / begin if begin > 0 else math.inf


def _late(load: Sequence[float], points: float) -> list[float]:
    """The load as something shows it that follows it late, by so many points (exponentially smoothed)."""
    keep = math.exp(-1 / max(points, 1e-9))
    return list(accumulate(load, lambda before, v: keep * before + (1 - keep) * v))


def _explained(causes: Sequence[Sequence[float]], line: Line, begin: float) -> float:
    """How much of a growth the last of the causes explains, from the first eighth of the growing part on."""
    weight = least_squares(causes, line.y)[1][-1]
    part = causes[-1][next(i for i, x in enumerate(line.x) if x >= begin) :]
    few = max(1, len(part) // 8)
    return weight * (median(part[-few:]) - median(part[:few]))


# --- what grows along ---------------------------------------------------------------------------------


def along(
    times_a: Sequence[float], values_a: Sequence[float], times_b: Sequence[float], values_b: Sequence[float]
) -> float | None:
    """How well b goes along with a, -1 to 1: the mean of the rank correlations of levels and of increments.

    Both are taken over the time that they share, in 8 to 20 stretches. None where that is too short or one of them
    never moves. Two steady growths that have nothing to do with each other agree in level (1.0) but not in the
    unevenness of their increments (about 0), so they come out near 0.5; what is above 0.7 also speeds up and slows
    down together. It says nothing of which drives which, and a perfectly even growth has no unevenness to compare."""
    a, b = finite(times_a, values_a), finite(times_b, values_b)
    if not a.x or not b.x:
        return None
    begin, end = max(a.x[0], b.x[0]), min(a.x[-1], b.x[-1])
    inside = min(sum(begin <= x <= end for x in line.x) for line in (a, b))
    count = min(20, inside // 3)
    if count < 8:
        return None
    one, two = _levels(a, begin, end, count), _levels(b, begin, end, count)
    known = [i for i in range(count) if one[i] is not None and two[i] is not None]
    if len(known) < 8:
        return None
    first, second = [one[i] or 0.0 for i in known], [two[i] or 0.0 for i in known]
    level = spearman(first, second)
    moves = spearman(*([y - x for x, y in pairwise(line)] for line in (first, second)))
    return None if level is None else (level + (moves or 0.0)) / 2


def _levels(line: Line, begin: float, end: float, count: int) -> list[float | None]:
    edges = [bisect_right(line.x, begin + (end - begin) * i / count) for i in range(count + 1)]
    edges[0] = next(i for i, x in enumerate(line.x) if x >= begin)
    return [median(line.y[a:b]) if b > a else None for a, b in pairwise(edges)]
