"""Whether rates over a short time rest on so few requests that chance decides. Pure."""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from oncall.diagnosis.bounds import Bounds, bounds
from oncall.model import Absence, Frozen, Severity, SignalReading, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.numbers import duration
from oncall.units import parse_duration

ENOUGH = 100.0
"""Requests from which on a short time is judged by itself. One failure of fewer is more than the 1 % that warns, and
beyond the P95 of fewer are less than five (of fewer than 20 it is their maximum)."""
CHANCE = 0.001
"""What is less likely than that (Poisson) is not called chance."""

_BAD = (Severity.WARNING, Severity.CRITICAL)
_EVENTS = ("rate", "ratio", "quantile", "mean")
_COVERED = 0.75
"""The least part of a rate's time from its first scrape to its last: three intervals of four scrapes."""
_RANGE = re.compile(r"\[(\d+m?s)\]")


class Short(Frozen, frozen=True):
    """A short time that rates were taken over: seconds from its first scrape to its last, and when (Unix s) the
    window begins that would be taken in its place."""

    covered_s: float
    window_begins: float


def rate_s_of(readings: Mapping[str, SignalReading], specs: Mapping[str, SignalSpec]) -> float | None:
    """The seconds that rates were taken over, by the questions themselves; None where Prometheus was not asked.

    So it is known of a saved look too, whoever saved it."""
    for name, spec in specs.items():
        read = readings.get(name)
        asked = read.query if read and read.source == "prometheus" and spec.promql is None else None
        if ranges := _RANGE.findall(asked or ""):
            return float(parse_duration(ranges[-1]))
    return None


def counted_over_s(readings: Mapping[str, SignalReading], specs: Mapping[str, SignalSpec]) -> float | None:
    """The seconds that events were counted over, whoever was asked: Prometheus, or the service itself twice. None of
    a look of two pages that was saved before it was kept."""
    asked = rate_s_of(readings, specs)
    return asked or next((r.over_s for r in readings.values() if r.over_s), None)


def counted(spec: SignalSpec) -> bool:
    """Whether a signal is made of events in a time. (What is the most or the least of a time is not.)"""
    text = spec.promql or ""
    return "rate(" in text or "increase(" in text or any(getattr(spec, f) is not None for f in _EVENTS)


def chance_decides(
    service: Service,
    signals: Mapping[str, SignalSpec],
    readings: Mapping[str, SignalReading],
    symptoms: Iterable[str],
    short: Short,
) -> bool:
    """Whether a symptom is bad, or undefined, by so few requests that the whole window is to be asked.

    Not where more fail than chance would have: a total outage is one at any traffic. And not where clearly fewer
    requests came than in the window as a whole: a service that hangs completes few, and over the window those that
    were well before would hide them."""
    requests = readings.get("request_rate")
    if requests is None or isinstance(requests.now, Unavailable):
        return False
    count = requests.now * short.covered_s
    if count >= ENOUGH or _became_rare(requests, count, short):
        return False
    known = {n: r.now for n, r in readings.items() if not isinstance(r.now, Unavailable)}
    found = [
        _doubtful(name, signals[name], readings[name], service, known, count)
        for name in symptoms
        if name in readings and counted(signals[name])
    ]
    return True in found and False not in found


def _became_rare(requests: SignalReading, count: float, short: Short) -> bool:
    """Whether so few requests in the short time are no chance where as many as in the window were to come."""
    begin = max(0, bisect_left(requests.times, short.window_begins) - 1)
    rates = requests.values[begin:]
    usual = short.covered_s * sum(rates) / len(rates) if rates else count
    return at_most(round(count), usual) < CHANCE


def _doubtful(
    name: str,
    spec: SignalSpec,
    reading: SignalReading,
    service: Service,
    known: Mapping[str, float],
    count: float,
) -> bool | None:
    """Whether chance may have made this symptom bad; None where it is not bad."""
    if isinstance(reading.now, Unavailable):
        return True if reading.now.kind is Absence.UNDEFINED else None
    held = bounds(name.partition("@")[0], spec, service, known)
    severity = held.severity(reading.now)
    if severity not in _BAD:
        return None
    return not beyond_chance(spec, held, reading.now, count)


def beyond_chance(spec: SignalSpec, held: Bounds, value: float, count: float) -> bool:
    """Whether a bad value of so many events is bad by more than chance: of a ratio that many would hardly be part of
    it if it stood at its bound. Nothing is known of how many are behind a quantile."""
    bound = held.critical if held.severity(value) is Severity.CRITICAL else held.warning
    if count >= ENOUGH:
        return True
    if spec.ratio is None or held.below or bound is None:
        return False
    return 1 - at_most(round(value * count) - 1, bound * count) < CHANCE


def note_of(rate: float, rate_s: float, window_s: float) -> str:
    """That rates are over the window, and how many requests (of so many a second) the short time had."""
    count = rate * rate_s
    had = f"had some {count:.0f}" if count >= 1 else "had none"
    return f"few requests: rates over {duration(window_s)}; the last {duration(rate_s)} {had}"


class Requests:
    """How many requests stood behind the points of a history."""

    def __init__(self, readings: Mapping[str, SignalReading], rate_s: float | None) -> None:
        read = readings.get("request_rate")
        self._rates = dict(zip(read.times, read.values, strict=True)) if read else {}
        self._covered_s = _COVERED * rate_s if rate_s else math.inf

    def at(self, time: float) -> float:
        """Enough where it is not known: then it is not doubted."""
        return self._rates[time] * self._covered_s if self._rates.get(time) else math.inf


def at_most(count: int, expected: float) -> float:
    """The probability of no more than `count` events where so many are expected (Poisson)."""
    term = math.exp(-expected)
    total = term if count >= 0 else 0.0
    for number in range(1, count + 1):
        term *= expected / number
        total += term
    return min(total, 1.0)
