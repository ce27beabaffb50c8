"""Rows of the same grid of times, each judged against its own baseline, and ranked. Pure Python."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from oncall.diagnosis.series import Row
from oncall.diagnosis.shift import CLEAR_SHIFT, ENOUGH_SAMPLES, change, median
from oncall.model import Absence, Unavailable
from oncall.model_changes import ChangeReport
from oncall.numbers import clock, duration

RECENT = 5
"""The median of at least so many points is the present: one odd scrape decides nothing."""
HISTORY = 60
_FLOORS = {"seconds": 0.002, "ratio": 0.005, "bytes": 1e5}
"""The least spread that counts, by unit: below, nobody would look."""
_ON_OFF = 0.2
"""Of what is 0 or 1: that it is the other one now is a clear change."""
_OF_RANGE = 0.05
"""Without a unit to go by, a twentieth of the largest value is the least spread."""
_CHANCE = 1.35
"""The middle half of a count of n events that come by chance, in units of the square root of n."""


class Span:
    """The grid that rows lie on, and where the baseline ends. Times in Unix seconds, `interval_s` between scrapes."""

    def __init__(
        self,
        first: float,
        step: float,
        points: int,
        *,
        window_s: float,
        interval_s: float | None,
        rate_s: float,
    ) -> None:
        self.times = [first + i * step for i in range(points)]
        self.step, self.interval_s, self.rate_s = step, interval_s or step, rate_s
        self.boundary = self.times[-1] - window_s
        self.split = sum(t <= self.boundary for t in self.times)
        self.recent = min(points - self.split, max(RECENT, (points - self.split) // 4))

    def samples(self, points: int) -> int:
        """How many scrapes stand behind so many points."""
        return round(points * self.step / self.interval_s)

    def at(self, t: float) -> datetime:
        return datetime.fromtimestamp(t, UTC)


class Judged(NamedTuple):
    """A row with its change. Times in Unix seconds; `before` and `now` are None where there is nothing."""

    row: Row
    before: float | None
    now: float | None
    shift: float | None
    onset: float | None
    weak: bool
    new: bool = False

    @property
    def clear(self) -> bool:
        return self.shift is None or abs(self.shift) >= CLEAR_SHIFT

    @property
    def up(self) -> bool:
        return self.before is None or (self.now is not None and self.now >= self.before)


def judge(row: Row, span: Span) -> Judged | None:
    """The row's present against its baseline; None where it has neither."""
    values = row.values
    if values[0] == values[-1] and min(values) == max(values) and not any(map(math.isnan, values)):
        return Judged(row, values[0], values[0], 0.0, None, False)
    recent = _finite(values[len(values) - span.recent :])
    before = _finite(values[: span.split])
    if before and recent:
        return _compared(row, span, before, median(recent))
    if before and not row.metric.startswith("mean("):
        gone = next(i for i in reversed(range(len(values))) if math.isfinite(values[i])) + 1
        weak = span.samples(len(before)) < ENOUGH_SAMPLES
        return Judged(row, median(before), None, None, span.times[min(gone, len(values) - 1)], weak)
    if recent:
        came = next(i for i, v in enumerate(values) if math.isfinite(v))
        return Judged(row, None, median(recent), None, span.times[came], False, new=True)
    return None


def _finite(values: Sequence[float]) -> Sequence[float]:
    """What is a number; nearly always everything, which a sum tells fastest."""
    return values if math.isfinite(sum(values)) else [v for v in values if math.isfinite(v)]


def _compared(row: Row, span: Span, before: Sequence[float], now: float) -> Judged | None:
    times, values = span.times, row.values
    if len(_finite(values)) < len(values):
        known = [(t, v) for t, v in zip(times, values, strict=True) if math.isfinite(v)]
        times, values = [t for t, _ in known], [v for _, v in known]
    found = change(
        times,
        values,
        boundary=span.boundary,
        now=now,
        floor=_floor(row, values, median(before), span),
        samples=span.samples(len(before)),
    )
    if found is None:
        return None
    onset = found.onset
    if onset is not None and row.averaged:
        # An average over some time before each point has half moved when half of that time has passed
        onset = max(times[0], onset - span.rate_s / 2)
    new = row.since_zero and found.usual == 0
    return Judged(row, found.usual, now, found.shift, onset, found.weak, new)


def _floor(row: Row, values: Sequence[float], usual: float, span: Span) -> float:
    """The least spread that counts, in the row's unit."""
    if row.events:
        return _CHANCE * math.sqrt(max(usual * span.rate_s, 1.0)) / span.rate_s
    if row.metric.startswith("age("):
        return 2 * span.step
    if row.unit in _FLOORS:
        return _FLOORS[row.unit]
    if all(v in (0.0, 1.0) for v in values):
        return _ON_OFF
    whole = row.unit is None and all(v == int(v) for v in values)
    return 1.0 if whole else _OF_RANGE * max(max(values), -min(values))


# --- all of them -------------------------------------------------------------------------------


def rank(found: Judged) -> tuple[float, str, list[tuple[str, str]]]:
    """Sorts the furthest moved first; what appeared or ended has no distance and stands where clear changes end."""
    distance = CLEAR_SHIFT if found.shift is None else abs(found.shift)
    return (-distance, found.row.metric, sorted(found.row.labels.items()))


def first_of(found: Sequence[Judged]) -> Judged | None:
    """The clear change that began first; a weak one only where there are no others. Of equals the further moved."""
    clear = [j for j in found if j.clear and j.onset is not None]
    trusted = [j for j in clear if not j.weak] or clear
    return min(trusted, key=lambda j: (j.onset or 0.0, rank(j)), default=None)


def common(found: Sequence[Row]) -> dict[str, str]:
    """Labels that all rows share."""
    if not found:
        return {}
    shared = set(found[0].labels.items())
    for row in found:
        shared &= row.labels.items()
    return dict(sorted(shared))


def report(found: Judged, span: Span) -> ChangeReport:
    """As it is shown: numbers in six figures, the history in at most 60 points."""
    return ChangeReport(
        metric=found.row.metric,
        labels=found.row.labels,
        before=_six(found.before),
        now=_six(found.now),
        shift=round(found.shift, 2) if found.shift is not None else None,
        direction="up" if found.up else "down",
        onset=span.at(found.onset) if found.onset is not None else None,
        weak=found.weak,
        unit=found.row.unit,
        clear=found.clear,
        new=found.new,
        gone=found.now is None,
        history=tuple(map(_six, _history(found.row.values, max if found.up else min))),
    )


def _six(value: float | None) -> float | None:
    return float(f"{value:.6g}") if value is not None else None


def _history(values: Sequence[float], most: Callable[[Sequence[float]], float]) -> Iterator[float | None]:
    """The highest of each stretch, or the lowest of what fell, so that the change survives."""
    count = min(HISTORY, len(values))
    for a, b in pairwise(i * len(values) // count for i in range(count + 1)):
        known = _finite(values[a:b])
        yield most(known) if known else None


def untellable(found: Sequence[Row], span: Span) -> Unavailable | None:
    """Why there is nothing to compare, if so: the samples end before the present, or begin after the baseline."""
    seen = [i for row in found for i in _ends(row.values)]
    if not seen:
        return Unavailable(kind=Absence.NO_DATA, reason="no data in this time: nothing but undefined values")
    if max(seen) < len(span.times) - span.recent:
        age = duration(span.times[-1] - span.times[max(seen)])
        hint = "is the target still scraped? Give --at a time at which it was"
        return Unavailable(kind=Absence.STALE, reason=f"stale: the newest samples are {age} old", hint=hint)
    if min(seen) >= span.split:
        begins = clock(span.at(span.times[min(seen)]))
        reason = f"no baseline: the history begins at {begins}, within the window"
        return Unavailable(
            kind=Absence.NO_DATA, reason=reason, hint="ask again later, or with a shorter --window"
        )
    return None


def notes(found: Sequence[Row], span: Span) -> Iterator[str]:
    """What the reader must know of the baseline."""
    begin = min((i for row in found for i in _ends(row.values)), default=0)
    if begin * 10 > span.split:
        there, asked = (duration((span.split - i) * span.step) for i in (begin, 0))
        yield f"the history begins at {clock(span.at(span.times[begin]))}: {there} of the {asked} of baseline"
    if span.samples(span.split - begin) < ENOUGH_SAMPLES:
        yield f"fewer than {ENOUGH_SAMPLES} samples in the baseline: every change is weak evidence at most"


def _ends(values: Sequence[float]) -> tuple[int, ...]:
    """The first and the last point that has a value."""
    if values and math.isfinite(values[0]) and math.isfinite(values[-1]):
        return (0, len(values) - 1)
    known = [i for i, v in enumerate(values) if math.isfinite(v)]
    return (known[0], known[-1]) if known else ()
