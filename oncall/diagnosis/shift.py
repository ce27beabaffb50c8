"""Has a signal changed, by how much against its usual spread, and since when. Pure Python."""

from collections.abc import Sequence
from itertools import accumulate

from oncall.model import Frozen

ENOUGH_SAMPLES = 60
"""With fewer samples in the baseline, a change is weak evidence at most."""
CLEAR_SHIFT = 3.0
"""A shift in units of the usual spread from which an onset is worth telling."""

_FEW = 4
"""Points below which there is nothing to compare with."""
_EDGE = 6.0
"""Spreads from the median beyond which a value is no noise of usual life."""
_LOW = 0.05
"""The share of all values that may be odd and low: the low of the others is where a climb began."""
_FOOT = 0.25
"""The share of a climb that is still its foot."""


_FLOORS = {"ratio": 0.005, "seconds": 0.002, "per_second": 0.2, "bytes": 1e6}
"""The least spread that counts as a change, by unit."""


class Change(Frozen, frozen=True):
    """A signal's present against its quiet time. All in the signal's unit but `shift` and `onset` (Unix s)."""

    usual: float
    """Median of the baseline."""
    mean: float
    """Mean of the baseline, without what stands far out: what arithmetic on averages, such as Little's law, needs."""
    shift: float
    """(now - median) / max(IQR, floor) of the baseline: robust to spikes."""
    onset: float | None
    samples: int

    @property
    def weak(self) -> bool:
        return self.samples < ENOUGH_SAMPLES


def floor_of(unit: str | None) -> float:
    return _FLOORS.get(unit or "", 1.0)


def median(values: Sequence[float]) -> float:
    """Middle of at least one value."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], q: float) -> float:
    """Linear interpolation between order statistics, as numpy and R type 7."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def iqr(values: Sequence[float]) -> float:
    """Interquartile range."""
    return quantile(values, 0.75) - quantile(values, 0.25)


def change(
    times: Sequence[float],
    values: Sequence[float],
    *,
    boundary: float,
    now: float,
    floor: float,
    samples: int,
) -> Change | None:
    """The change of `now` against the values before `boundary` (Unix s); None without any of those.

    `floor` is the least spread that counts, in the signal's unit: a quiet signal does not cry over nothing.
    `samples` is how many the backend really holds in the baseline, not how many points were asked for."""
    before = [v for t, v in zip(times, values, strict=True) if t <= boundary]
    if not before:
        return None
    usual = median(before)
    spread = max(iqr(before), floor, 0.1 * abs(usual))
    shift = (now - usual) / spread if spread else 0.0
    moved = abs(shift) >= CLEAR_SHIFT
    return Change(
        usual=usual,
        mean=_level(before, usual, spread),
        shift=shift,
        onset=onset(times, values) if moved else None,
        samples=samples,
    )


def _level(before: Sequence[float], usual: float, spread: float) -> float:
    """The mean of the usual life: an earlier incident in the baseline counts as no more than its edge.

    Where most values are the same, bursts are the usual life, and all count in full."""
    if iqr(before) == 0:
        return sum(before) / len(before)
    low, high = usual - _EDGE * spread, usual + _EDGE * spread
    return sum(min(max(v, low), high) for v in before) / len(before)


def rose_at(times: Sequence[float], values: Sequence[float], floor: float) -> float | None:
    """When a symptom began, if it did: the split after which the values stay clearly higher; else None.

    Of a climb to a level that is then kept, the likeliest split lies in the middle, with half of the climb before it:
    the foot of the climb is one more candidate, and the first of those that hold is the beginning."""
    found = {split for split in (onset(times, values), _foot(times, values)) if split is not None}
    return min((split for split in found if _rises(times, values, split, floor)), default=None)


def _rises(times: Sequence[float], values: Sequence[float], split: float, floor: float) -> bool:
    """Whether the values from the split on are clearly higher than those before it, of which there are some."""
    before = [v for t, v in zip(times, values, strict=True) if t < split]
    after = [v for t, v in zip(times, values, strict=True) if t >= split]
    if len(before) < _FEW:
        return False
    spread = max(iqr(before), floor, 0.1 * abs(median(before)))
    return median(after) - median(before) >= CLEAR_SHIFT * spread


def _foot(times: Sequence[float], values: Sequence[float]) -> float | None:
    """When the values left the lowest quarter between low and present for good."""
    if len(values) < _FEW:
        return None
    low, now = quantile(values, _LOW), median(values[-5:])
    edge = low + _FOOT * (now - low)
    left = next((i for i in range(len(values) - 1, -1, -1) if values[i] <= edge), -1) + 1
    return times[left] if now > low and left < len(values) else None


def onset(times: Sequence[float], values: Sequence[float]) -> float | None:
    """When the mean changed to what it is now: the start of the likeliest split into two means.

    An earlier hump that came back to the level before it is not this change: the search goes on after it. None
    for fewer than four points or a flat line."""
    begin, found = 0, None
    while (at := _split(values[begin:])) is not None:
        found = begin + at
        back = _came_back(values, begin, found)
        if back is None or len(values) - back < 4:
            break
        begin = back
    return times[found] if found is not None else None


def _split(values: Sequence[float]) -> int | None:
    """Where one-split CUSUM splits best: the squared sum of (x - mean) divided by t (n - t) is largest.

    That is the likeliest split (Hinkley, Biometrika 1970); undivided, a short stretch after the change is found too
    early. Values are clipped to a few spreads around the median or to the present level, whichever is further, so
    that one spike does not outweigh a lasting step."""
    if len(values) < 4:
        return None
    middle, width, present = median(values), 3 * iqr(values), median(values[-5:])
    low, high = min(middle - width, present), max(middle + width, present)
    clipped = [min(max(v, low), high) for v in values]
    count = len(clipped)
    mean = sum(clipped) / count
    sums = accumulate(v - mean for v in clipped[:-1])
    splits = [s * s / (t * (count - t)) for t, s in enumerate(sums, 1)]
    best = max(range(len(splits)), key=splits.__getitem__)
    return best + 1 if splits[best] > 1e-12 * (1e-300 + mean * mean) else None


def _came_back(values: Sequence[float], begin: int, split: int) -> int | None:
    """Where the last stretch of a few points at the level before the split begins; None where there is none."""
    before, now = median(values[begin:split]), median(values[-5:])
    near = 0.25 * abs(now - before)
    for last in range(len(values) - 6, split + 1, -1):
        if all(abs(v - before) < near for v in values[last - 2 : last + 1]):
            first = last - 2
            while first > split + 1 and abs(values[first - 1] - before) < near:
                first -= 1
            return first
    return None
