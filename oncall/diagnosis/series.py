"""Raw series of a service made comparable: counters as rates, histograms as a mean and a rate, start times as ages.

Pure Python. A row's values lie on one grid of times; NaN is where there is none."""

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import le
from typing import NamedTuple

from oncall.clients.prometheus import Packed

_NAN = math.nan
_HISTOGRAMS = frozenset({"histogram", "summary", "gaugehistogram"})
_UNITS = {"seconds": "seconds", "bytes": "bytes", "ratio": "ratio"}
_EPOCHS = (1e9, 1e10)
"""Unix seconds from 2001 to 2286: what lies between, and is called a time, is one."""


class Row(NamedTuple):
    """One thing to compare over time. `events` are counted, so that chance alone moves them by their square root.

    `since_zero`: a counter that appeared in the meantime, in a process that was there before. `averaged`: each value
    is one over the time of a rate."""

    metric: str
    labels: dict[str, str]
    unit: str | None
    values: Sequence[float]
    events: bool = False
    since_zero: bool = False
    averaged: bool = False


class Times(NamedTuple):
    """The grid: its first point (Unix s), seconds between points, and the points that a rate is taken over.

    Those come first, and rows begin after them."""

    start: float
    step: float
    lead: int

    @property
    def rate_s(self) -> float:
        return self.lead * self.step


def sort_of(name: str, types: Mapping[str, str]) -> str:
    """What a metric is: gauge, counter, sum, count (of a histogram or summary), or `skip`.

    By its TYPE where the server tells one (OpenMetrics names a counter without its _total), else by its name."""
    own = types.get(name)
    if own == "counter" or own == "gauge":
        return own
    stem, _, suffix = name.rpartition("_")
    family = types.get(stem)
    if suffix == "created" and family != "gauge":
        return "skip"
    if suffix == "bucket":
        return "skip"
    if suffix in ("sum", "count") and (family is None or family in _HISTOGRAMS):
        return suffix
    return "counter" if suffix == "total" else "gauge"


def rows(series: Iterable[Packed], types: Mapping[str, str], times: Times) -> list[Row]:
    """What can be compared, of all series at once: the two of a histogram belong together."""
    named = [(s.labels.get("__name__", ""), s) for s in series]
    sorts = {name: sort_of(name, types) for name in {name for name, _ in named}}
    for name, sort in sorts.items():
        # A count without its sum is a counter by another name
        if sort == "count" and f"{name.removesuffix('_count')}_sum" not in sorts:
            sorts[name] = "counter"
    began = _began([s for _, s in named])
    counts, sums, found = {}, [], list[Row]()
    for name, one in named:
        labels = {k: v for k, v in one.labels.items() if k != "__name__"}
        if sorts[name] == "gauge":
            found.append(_gauge(name, labels, one.values, times))
        elif sorts[name] != "skip":
            begin = began[_process(one.labels)]
            counted, late = _counted(one.values, begin), begin < _first(one.values)
            if sorts[name] == "counter":
                found.append(_rate(name, name, labels, counted, times)._replace(since_zero=late))
            elif sorts[name] == "count":
                counts[name.removesuffix("_count"), _key(labels)] = counted
                rate = _rate(name, f"rate({name})", labels, counted, times)
                found.append(rate._replace(since_zero=late))
            else:
                sums.append((name, labels, counted))
    return found + [_mean_or_rate(name, labels, total, counts, times) for name, labels, total in sums]


def _key(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def _process(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _began(series: Sequence[Packed]) -> dict[tuple[str, str], int]:
    """The first point at which each process was seen at all."""
    found: dict[tuple[str, str], int] = {}
    for one in series:
        process = _process(one.labels)
        if found.get(process) != 0:
            first = _first(one.values)
            found[process] = min(first, found.get(process, first))
    return found


def _first(values: Sequence[float]) -> int:
    return next((i for i, v in enumerate(values) if v == v), len(values))


# --- the forms ---------------------------------------------------------------------------------


def _gauge(name: str, labels: dict[str, str], values: Sequence[float], times: Times) -> Row:
    kept = values[times.lead :]
    words = name.split("_")
    unit = _UNITS.get(words[-1])
    if unit == "seconds" and {"time", "timestamp"} & set(words) and _are_dates(kept):
        first = times.start + times.lead * times.step
        ages = [first + i * times.step - v for i, v in enumerate(kept)]
        return Row(f"age({name})", labels, "seconds", ages)
    return Row(name, labels, unit, kept)


def _are_dates(values: Sequence[float]) -> bool:
    known = [v for v in values if v == v]
    return bool(known) and _EPOCHS[0] < min(known) and max(known) < _EPOCHS[1]


def _rate(name: str, shown: str, labels: dict[str, str], counted: Sequence[float], times: Times) -> Row:
    words = name.split("_")
    unit = "bytes/s" if "bytes" in words else "per_second"
    events = not {"bytes", "seconds", "sum"} & set(words)
    share = 1 / times.rate_s
    rates = [(b - a) * share for a, b in zip(counted, counted[times.lead :], strict=False)]
    return Row(shown, labels, unit, rates, events, averaged=True)


def _mean_or_rate(
    name: str,
    labels: dict[str, str],
    total: Sequence[float],
    counts: Mapping[tuple[str, frozenset[tuple[str, str]]], Sequence[float]],
    times: Times,
) -> Row:
    stem = name.removesuffix("_sum")
    count = counts.get((stem, _key(labels)))
    if count is None:
        return _rate(name, f"rate({name})", labels, total, times)
    lead = times.lead
    spent = (b - a for a, b in zip(total, total[lead:], strict=False))
    often = (b - a for a, b in zip(count, count[lead:], strict=False))
    means = [s / n if n > 0 else _NAN for s, n in zip(spent, often, strict=False)]
    return Row(f"mean({stem})", labels, _UNITS.get(stem.rpartition("_")[2]), means, averaged=True)


def _counted(values: Sequence[float], began: int) -> Sequence[float]:
    """What a counter has counted since its process was first seen: a restart, which sets it back, takes nothing away.

    One that appears while its process is there counted nothing before: libraries make a counter of a label when
    it first happens. What its source no longer tells is not known."""
    first = _first(values)
    whole = first == 0 and all(map(math.isfinite, values)) if values else False
    if whole and all(map(le, values, values[1:])):
        return values
    sum_so_far, last = 0.0, 0.0
    counted = [_NAN] * min(began, len(values))
    for index in range(len(counted), len(values)):
        value = values[index]
        if math.isfinite(value):
            sum_so_far += value - last if value >= last else value
            last = value
        counted.append(sum_so_far if math.isfinite(value) or index < first else _NAN)
    return counted
