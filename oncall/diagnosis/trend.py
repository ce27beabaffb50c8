"""Does a number grow without end: its slope, and whether the growth is a leak or passes by itself. Pure Python.

Every judgement is made of differences, ranks and shares of the growth itself, so that it is the same in any unit,
at any level and over any span; the one thing with a unit is `floor`, the least growth that counts."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from oncall.diagnosis.along import follows, load_at, work_done
from oncall.diagnosis.lines import BETTER, HALF, LEAST, Line, finite, noise, squares_left, thin, ties
from oncall.diagnosis.shift import iqr, median, quantile
from oncall.model import Frozen

POINTS = 240
"""More are thinned to so many: 28,680 pairs cost some 20 ms, and a slope over 240 medians is as good."""
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
DEEP = 0.15
"""A fall of this share of all values is one that must be explained; smaller ones are noise on a line."""
_BESIDE = 5
"""Points that tell the level before a moment; twice as many tell the one after it."""
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


def flat(begins: float) -> Trend:
    """Of a number that does not move."""
    return Trend(slope_per_s=0.0, low=0.0, high=0.0, grown=0.0, begins=begins, leaking=False, reason="flat")


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
    burden = load_at(load, line.x) if load else None
    if found.reason in ("slowing down", "flat") and burden:
        found = _judged_by_work(line, burden, floor) or found
    if not found.reason and burden and follows(line, burden, found.begin, found.grown):
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


def _judged_by_work(line: Line, load: Sequence[float], floor: float) -> Finding | None:
    """The growth by work done instead of by time, where that makes it a leak: so many bytes for each request."""
    work = work_done(line.x, load)
    found = _judge(Line(tuple(work), line.y), floor)
    if found.reason or work[-1] <= 0:
        return None
    begin = next(x for x, done in zip(line.x, work, strict=True) if done >= found.begin)
    return found._replace(begin=begin)


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
