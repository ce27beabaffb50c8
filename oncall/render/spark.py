"""A line of small bars: the shape of a signal in the space of a word."""

import math
from collections.abc import Sequence
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.:-=+*#"
_FLAT = 0.5


def spark(values: Sequence[float | None], width: int, *, ascii_only: bool = False) -> str:
    """At most `width` bars, oldest first; a blank where there is no number.

    Peaks survive: a bar stands for the highest value of its stretch. The foot is zero where the values at
    least double; else they are drawn about the middle, and what moves by a tenth of its height stays flat.
    """
    points = _squeeze(values, width)
    known = [point for point in points if point is not None]
    if not known:
        return ""
    top = max(map(abs, known)) or 1.0  # shares of it, so that no difference overflows
    low, high = _scale(min(known) / top, max(known) / top)
    bars = ASCII_BARS if ascii_only else BARS
    return "".join(" " if point is None else bars[_level(point / top, low, high)] for point in points)


def _scale(least: float, most: float) -> tuple[float, float]:
    if least >= 0 and least <= most / 2:
        return 0.0, most
    height = max(most - least, _FLAT * max(abs(most), abs(least)))
    middle = least / 2 + most / 2
    return middle - height / 2, middle + height / 2


def _level(point: float, low: float, high: float) -> int:
    if not high > low:
        return 0
    share = (point - low) / (high - low)
    # Half way rounds down, so that a flat line is drawn just below the middle and not above it.
    return min(len(BARS) - 1, max(0, math.ceil(share * (len(BARS) - 1) - 0.5)))


def _squeeze(values: Sequence[float | None], width: int) -> list[float | None]:
    points = [value if value is not None and math.isfinite(value) else None for value in values]
    if width <= 0 or len(points) <= width:
        return points if width > 0 else []
    edges = [round(index * len(points) / width) for index in range(width + 1)]
    return [_highest(points[start:stop]) for start, stop in pairwise(edges)]


def _highest(stretch: Sequence[float | None]) -> float | None:
    known = [point for point in stretch if point is not None]
    return max(known) if known else None
