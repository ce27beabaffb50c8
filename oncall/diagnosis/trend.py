"""Does a number grow without end: its slope, and whether the growth is a leak or passes by itself. Pure Python.

Every judgement is made of differences, ranks and shares of the growth itself, so that it is the same in any unit,
at any level and over any span; the one thing with a unit is `floor`, the least growth that counts."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from oncall.diagnosis.lines import Line, finite, least_squares, noise, spearman, squares_left, thin, ties
from oncall.diagnosis.shift import iqr, median, quantile
from oncall.model import Frozen

POINTS = 240
"""More are thinned to so many: 28,680 pairs cost some 20 ms, and a slope over 240 medians is as good."""
LEAST = 12
"""Points below which nothing is said: four quarters of three, so that each has a median."""
YOUNGEST = 0.1
"""The least share of the span that growth must have lasted: in less, a step that is still rising looks the same."""
WHOLE = 0.25
"""The least share of the span that a process must have lived: younger ones are still warming up."""
CLEAR = 4.0
"""Growth in units of the noise between neighbours that cannot be noise: of 240 points the widest two differ by 5.5,
but their quarters' medians by less than one."""
TIGHT = 3.0
"""Growth in units of the spread around the line: below, the line does not tell what the number does."""
EVEN = 0.3
"""The least share of an even growth that each stretch must have: a step has all of it in one."""
BENT = 0.25
"""(largest step - last step) / growth between quarters: 0 of a line, 0.17 of an exponential approach that has run for
one time constant, 0.32 for two, 0.46 for three."""
HALF = 0.5
"""What decides between two explanations is the larger half of the growth."""
BETTER = 0.6
"""A model wins where it leaves at most so much of what the other leaves: two that say the same are a draw."""
DEEP = 0.15
"""A fall of this share of all values is one that must be explained; smaller ones are noise on a line."""
_BESIDE = 5
"""Points that tell the level before a moment; twice as many tell the one after it."""
STRETCHES = 6
"""What is left of a load after a clock is noise where most of it is gone from the means of so many stretches."""
STEEPER = 2.0
"""What follows the load grows in proportion to it at most, or somewhat more where requests pile up."""
TEETH = 4
"""Fewer rises and falls do not show whether their feet rise: three are in order by chance once in six times."""
_Z = 1.959963984540054
"""97.5 % of the normal distribution lie below: an interval of 95 %."""


class Slope(Frozen, frozen=True):
    """Change per second, with the interval that holds it in 95 of 100 cases. In the unit of the values."""

    per_s: float
    low: float
    high: float


class Trend(Frozen, frozen=True):
    """What a number does. Slopes per second and `grown` in its unit; `begins` is Unix seconds.

    `reason`, where it is no leak: too short, restarted inside, warming up, flat, slowing down, falls back, follows
    the load."""

    slope_per_s: float
    low: float
    high: float
    grown: float
    """How much it grew since `begins`."""
    begins: float
    leaking: bool
    reason: str = ""
    limit_s: float | None = None
    """Seconds until the limit at this slope; 0 where it is passed, None where it leaks not or has no limit."""


class Finding(NamedTuple):
    """A judgement by one clock: where growth begins, how much, and why it is no leak ('' where it is)."""

    begin: float
    grown: float
    reason: str


# --- the slope ---------------------------------------------------------------------------------


def theil_sen(times: Sequence[float], values: Sequence[float]) -> Slope | None:
    """The median of the slopes of all pairs of points (Theil 1950, Sen 1968); None without two different times.

    The interval is Sen's, by Kendall's variance with ties, as scipy.stats.theilslopes gives it. A quarter of the
    points may be anything without moving it far. More than 240 points are thinned to the medians of stretches."""
    line = thin(finite(times, values), POINTS)
    slopes = sorted(
        (later - v) / (t - s)
        for i, (s, v) in enumerate(zip(line.x, line.y, strict=True))
        for t, later in zip(line.x[i + 1 :], line.y[i + 1 :], strict=True)
        if t > s
    )
    if not slopes:
        return None
    half = _Z * math.sqrt(max(0.0, _kendall_variance(line)))
    upper = min(round((len(slopes) + half) / 2), len(slopes) - 1)
    lower = max(round((len(slopes) - half) / 2) - 1, 0)
    return Slope(per_s=median(slopes), low=slopes[lower], high=slopes[upper])


def _kendall_variance(line: Line) -> float:
    """Of Kendall's score: n(n-1)(2n+5)/18, less the same of every group of ties."""

    def part(n: int) -> int:
        return n * (n - 1) * (2 * n + 5)

    return (part(len(line.x)) - sum(map(part, ties(line.x))) - sum(map(part, ties(line.y)))) / 18


# --- the verdict -------------------------------------------------------------------------------


def leak(
    times: Sequence[float],
    values: Sequence[float],
    *,
    limit: float | None,
    floor: float,
    restarted: float | None,
    load: tuple[Sequence[float], Sequence[float]] | None,
) -> Trend | None:
    """Whether a number grows without end; None with fewer than two points. Times in Unix seconds, ascending.

    `limit` is where the number must end and `floor` the least growth that counts, both in its unit; `restarted` is
    when its process began: what was before belongs to another one. `load` (times, values) is what the process had to
    do meanwhile: growth that comes and would go with it is none, growth by each unit of work is."""
    whole = finite(times, values)
    line = thin(whole.since(restarted) if restarted is not None else whole, POINTS)
    if restarted is not None and len(whole.x) > len(line.x) and line.span < WHOLE * whole.span:
        return _trend(thin(whole, POINTS), Finding(whole.x[0], 0.0, "restarted inside"), limit)
    if len(line.x) < LEAST:
        return _trend(line, Finding(line.x[0], 0.0, "too short"), limit) if line.x else None
    found = _judge(line, floor)
    burden = _at(load, line.x) if load else None
    if found.reason in ("slowing down", "flat") and burden:
        found = _judged_by_work(line, burden, floor) or found
    if not found.reason and burden and _follows(line, burden, found):
        found = found._replace(reason="follows the load")
    if not found.reason and restarted is not None and _comes_back(line, whole, floor):
        found = found._replace(reason="warming up")
    return _trend(line, found, limit)


def _comes_back(line: Line, whole: Line, floor: float) -> bool:
    """Whether a process grows, after a restart, no higher than the usual of the one before it, which did not leak."""
    before = whole.y[: bisect_left(whole.x, line.x[0])]
    if len(before) < LEAST or median(line.y[-_BESIDE:]) > median(before):
        return False
    return bool(_judge(thin(Line(whole.x[: len(before)], before), POINTS), floor).reason)


def _trend(line: Line, found: Finding, limit: float | None) -> Trend | None:
    slope = _slope(line.since(found.begin)) or _slope(line)
    if slope is None:
        return None
    leaking = not found.reason
    # Where the last few points put the line at the end
    now = median([y + slope.per_s * (line.x[-1] - x) for x, y in zip(line.x[-5:], line.y[-5:], strict=True)])
    left = (limit - now) / slope.per_s if limit is not None and leaking and slope.per_s > 0 else None
    return Trend(
        slope_per_s=slope.per_s,
        low=slope.low,
        high=slope.high,
        grown=found.grown,
        begins=found.begin,
        leaking=leaking,
        reason=found.reason,
        limit_s=max(0.0, left) if left is not None else None,
    )


def _slope(part: Line) -> Slope | None:
    """Half of the points are a quarter of the pairs, and each is a median already."""
    return theil_sen(*thin(part, POINTS // 2))


def _judge(line: Line, floor: float) -> Finding:
    """By the clock of the line. Where it falls again and again, its feet decide; else its growing part."""
    depth = max(DEEP * (max(line.y) - min(line.y)), 6 * noise(line.y))
    feet = _feet(line, depth)
    if len(feet.x) >= TEETH:
        return _of_feet(feet, depth, floor)
    begin = _begin(thin(line, 60))
    return _of_growth(line, begin, floor)


def _of_growth(line: Line, begin: float, floor: float) -> Finding:
    part = line.since(begin)
    slope = _slope(part)
    grown = slope.per_s * part.span if slope else 0.0

    def told(reason: str) -> Finding:
        return Finding(begin, grown, reason)

    if slope is None or grown < floor or slope.low <= 0 or grown < CLEAR * noise(part.y):
        return told("flat")
    if _fallen(line, part, grown):
        return told("falls back")
    if len(part.x) < LEAST or part.span < YOUNGEST * line.span:
        return told("too short")
    steps = _steps(part)
    if max(steps) - steps[-1] > BENT * sum(steps):
        return told("slowing down")
    around = [y - slope.per_s * x for x, y in zip(*part, strict=True)]
    if min(steps) < EVEN * (sum(steps) / len(steps)) or grown < TIGHT * iqr(around):
        return told("flat")
    return told("")


def _steps(part: Line) -> list[float]:
    """What is gained from each quarter of the span to the next, by their medians."""
    edges = [part.x[0] + part.span * i / 4 for i in range(5)]
    at = [0, *(bisect_right(part.x, e) for e in edges[1:4]), len(part.x)]
    levels = [median(part.y[a:b]) if b > a else math.nan for a, b in pairwise(at)]
    steps = [b - a for a, b in pairwise(levels)]
    return steps if all(map(math.isfinite, steps)) else [1.0, 0.0, 0.0]


def _fallen(line: Line, part: Line, grown: float) -> bool:
    """Whether it has been up there before and came back, or is coming back now: then it comes back by itself."""
    earlier = line.y[: len(line.y) - len(part.y)]
    now = median(part.y[-max(3, len(part.y) // 8) :])
    if len(earlier) >= 3 and now - quantile(earlier, 0.95) < HALF * grown:
        return True
    smooth = thin(part, 16).y
    tops = accumulate(smooth, max)
    return max(top - v for top, v in zip(tops, smooth, strict=True)) > HALF * grown


# --- where growth begins -------------------------------------------------------------------------


def even(times: Sequence[float], values: Sequence[float], onset: float) -> bool:
    """Whether a number moves evenly through all that was seen, rather than at `onset`: then it began before that."""
    line = thin(finite(times, values), 60)
    step = squares_left([[float(x >= onset) for x in line.x]], line.y)
    return squares_left([line.x], line.y) < BETTER * step and _begin(line) <= line.x[0]


def fell_at(times: Sequence[float], values: Sequence[float], at: float) -> float | None:
    """When a number fell that falls at a moment; None where it goes on as before. The moment itself where only one
    side of it is known. The first points after it may be of before: nothing was scraped yet."""
    line = finite(times, values)
    after = line.since(at)
    before, soon = line.y[: len(line.y) - len(after.y)][-_BESIDE:], after.y[: 2 * _BESIDE]
    if not before or not soon:
        return at
    high, low = median(before), quantile(soon, 0.25)
    if high - low <= DEEP * (max(line.y) - min(line.y)):
        return None
    return next(x for x, y in zip(*after, strict=True) if y <= (high + low) / 2)


def _begin(line: Line) -> float:
    """Where a line that is flat first and then rises fits best (least squares); the start where that is no worse.

    A leak often begins inside the span: judged as a whole it would be a bent line."""
    last = line.x[0] + (1 - YOUNGEST) * line.span
    errors = [(_hinge_error(line, x), x) for x in line.x if x <= last]
    best, begin = min(errors)
    return begin if best < BETTER * errors[0][0] else line.x[0]


def _hinge_error(line: Line, begin: float) -> float:
    rise = [max(0.0, x - begin) for x in line.x]
    return squares_left([rise], line.y)


# --- rises and falls ------------------------------------------------------------------------------


def _feet(line: Line, depth: float) -> Line:
    """The lowest points between a fall of `depth` and a rise of it: of a sawtooth, the feet of its teeth."""
    found, top, foot = list[int](), 0, -1
    for i, y in enumerate(line.y):
        if foot < 0:
            top = i if y > line.y[top] else top
            foot = i if line.y[top] - y >= depth else -1
        elif y < line.y[foot]:
            foot = i
        elif y - line.y[foot] >= depth and depth > 0:
            found.append(foot)
            top, foot = i, -1
    return Line(tuple(line.x[i] for i in found), tuple(line.y[i] for i in found))


def _of_feet(feet: Line, depth: float, floor: float) -> Finding:
    """Collected garbage leaves what is really held: that must rise, from foot to foot, and by much."""
    slope = theil_sen(*feet)
    grown = slope.per_s * feet.span if slope else 0.0
    pairs = [(a, b) for i, a in enumerate(feet.y) for b in feet.y[i + 1 :]]
    rising = sum(b > a for a, b in pairs) / len(pairs)
    around = [y - slope.per_s * x for x, y in zip(*feet, strict=True)] if slope else [0.0]
    off = max(around) - min(around)
    tight = grown > (CLEAR if len(pairs) < 15 else TIGHT) * (off if len(pairs) < 15 else iqr(around))
    held = rising >= 0.9 and tight and grown >= floor and grown > HALF * depth
    steps = _steps(feet) if len(feet.x) >= LEAST else [1.0]
    if held and max(steps) - steps[-1] > BENT * sum(steps):
        return Finding(feet.x[0], grown, "slowing down")
    return Finding(feet.x[0], grown, "" if held else "falls back")


# --- the load --------------------------------------------------------------------------------------


def _at(load: tuple[Sequence[float], Sequence[float]], times: Sequence[float]) -> list[float] | None:
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


def _work(times: Sequence[float], load: Sequence[float]) -> list[float]:
    """What was done until each time: the integral of the load."""
    done = [max(0.0, (a + b) / 2) * (t - s) for (s, a), (t, b) in pairwise(zip(times, load, strict=True))]
    return [0.0, *accumulate(done)]


def _judged_by_work(line: Line, load: Sequence[float], floor: float) -> Finding | None:
    """The growth by work done instead of by time, where that makes it a leak: so many bytes for each request."""
    work = _work(line.x, load)
    found = _judge(Line(tuple(work), line.y), floor)
    if found.reason or work[-1] <= 0:
        return None
    begin = next(x for x, done in zip(line.x, work, strict=True) if done >= found.begin)
    return found._replace(begin=begin)


def _follows(line: Line, load: Sequence[float], found: Finding) -> bool:
    """Whether the level of the load explains the growth, and neither time nor work done explains it better.

    A number may follow late, or stay at the highest that was needed so far: both are the load's level too. Where
    load and number rise together all the time, nothing tells the two apart, and it is called no leak: that only the
    noise of the load keeps it from being as even as a clock is no mark of a leak."""
    levels = [load, *(_late(load, len(load) / n) for n in (60, 20, 10)), list(accumulate(load, max))]
    left, level = min(((squares_left([c], line.y), c) for c in levels), key=lambda pair: pair[0])
    if _share(level, line, found, [level]) < HALF:
        return False
    for clock in (line.x, _work(line.x, load)):
        if _rises_with(clock, load, line.y):
            continue
        better = squares_left([level, clock], line.y) < BETTER * BETTER * left
        if better and _share(clock, line, found, [level, clock]) >= HALF:
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


def _share(cause: Sequence[float], line: Line, found: Finding, causes: Sequence[Sequence[float]]) -> float:
    """How much of the growth the last of the causes explains, from the first eighth of the growing part on."""
    weight = least_squares(causes, line.y)[1][-1]
    part = cause[next(i for i, x in enumerate(line.x) if x >= found.begin) :]
    few = max(1, len(part) // 8)
    moved = median(part[-few:]) - median(part[:few])
    return weight * moved / found.grown if found.grown > 0 else 0.0


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
