"""When the quiet time ends that the present is compared with, and whether there is one. Pure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from oncall.diagnosis.bounds import spec_of, threshold
from oncall.diagnosis.shift import CLEAR_SHIFT, floor_of, rose_at
from oncall.model import Severity, Unavailable, Unseen
from oncall.model_service import Service
from oncall.numbers import duration
from oncall.runbook.model import Runbook

if TYPE_CHECKING:
    from oncall.diagnosis.readings import Facts, Readings

_BAD = (Severity.WARNING, Severity.CRITICAL)
_LONGER = (("6h", 21_600), ("24h", 86_400), ("7d", 604_800))
"""The baselines that are worth trying next, as they are typed, each with its seconds."""
_OF_CHANGE = frozenset({"usual", "mean", "ratio", "shift", "before"})
"""What is told against the baseline."""


def compared(runbook: Runbook, text: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The signals that an expression compares with their usual, through values and formulas."""
    found: set[str] = set()
    known = runbook.expressions.get(text)
    for name in known.names if known else ():
        base, _, attribute = name.partition(".")
        signal = runbook.signals.get(base)
        formula = runbook.spec.values.get(base) or (signal.value if signal else None)
        if signal and attribute in _OF_CHANGE:
            found.add(base)
        elif formula and not attribute and base not in seen:
            found |= compared(runbook, formula, seen | {base})
    return frozenset(found)


def _rising(runbook: Runbook, service: Service, readings: "Readings") -> Iterator[tuple[str, float]]:
    """The signals whose rise is that of a symptom, each with the least spread that counts.

    A formula has no history: what it compares with the usual has one. There a rise counts that is as large as the
    formula's bound: a smaller one is no symptom."""
    for name in runbook.spec.symptoms:
        spec = spec_of(name, runbook.signals, service)
        if name in readings.signals:
            yield name, floor_of(runbook.signals[name].unit)
            continue
        bound = threshold(name, spec, service)
        least = None if bound.share_of or spec.below else bound.warning or bound.critical
        for other in compared(runbook, spec.value or ""):
            unit = runbook.signals[other].unit
            yield other, max(floor_of(unit), (least or 0.0) / CLEAR_SHIFT if unit == spec.unit else 0.0)


def quiet_until(runbook: Runbook, service: Service, readings: "Readings") -> float:
    """Where the baseline ends (Unix s): at the window, or where a symptom rose already before it.

    A baseline that holds most of the incident would call the incident usual."""
    ends = [readings.at - readings.window_s]
    for name, floor in _rising(runbook, service, readings):
        reading = readings.signals.get(name)
        if reading and (began := rose_at(reading.times, reading.values, floor)):
            ends.append(began - 1e-3)
    return min(ends)


def began(facts: "Facts", *, but: str) -> list[float]:
    """When the symptoms began (Unix s), where that is known. A formula that is bad began with what it compares
    with the usual; not for that signal itself (`but`), which is a symptom of its own."""
    names = {n for n in facts.runbook.spec.symptoms if n in facts.readings.signals}
    parts = {
        n: compared(facts.runbook, facts.spec(n).value or "")
        for n in facts.runbook.spec.symptoms
        if n not in names and facts.bounds(n).severity(facts(n).number()) in _BAD
    }
    if not any(but in part for part in parts.values()):
        names = names.union(*parts.values())
    return [moved.onset for n in names if (moved := facts.change(n)) and moved.onset]


def as_bad_before(facts: "Facts") -> Unseen | None:
    """That the trouble is older than the baseline, where it is: then there is no quiet time to compare with, and what
    is as it was is no sign of anything. None where a symptom rose since, or none is bad."""
    old: list[str] = []
    for name in facts.runbook.spec.symptoms:
        reading, moved = facts.readings.signals.get(name), facts.change(name)
        if reading is None or isinstance(reading.now, Unavailable):
            continue
        found = facts.bounds(name)
        if found.severity(reading.now) not in _BAD:
            continue
        if moved is None or found.severity(moved.usual) not in _BAD:
            return None
        if (-moved.shift if found.below else moved.shift) >= CLEAR_SHIFT:
            return None
        old.append(name)
    return _nothing_else(facts, old[0], "as bad") if old else None


def as_ever(facts: "Facts", name: str) -> Unseen | None:
    """That a formula compares with what may be the trouble itself: it is well beside the baseline, and would be
    bad without one. Such a level may be usual life or older than all that was looked at: nothing tells."""
    spec = facts.runbook.signals.get(name)
    formula = facts.spec(name).value if spec and name not in facts.readings.signals else None
    seen = [
        n
        for n in sorted(compared(facts.runbook, formula or ""))
        if (reading := facts.readings.signals.get(n)) and reading.times
    ]
    if not seen:
        return None
    blank = {n: msgspec.structs.replace(r, times=(), values=()) for n, r in facts.readings.signals.items()}
    beside = _beside(facts, facts.readings)(name).number()
    alone = _beside(facts, msgspec.structs.replace(facts.readings, signals=blank))(name).number()
    bound = facts.bounds(name)
    if beside is None or bound.severity(beside) in _BAD or bound.severity(alone) not in _BAD:
        return None
    return _nothing_else(facts, seen[0], "as high")


def _beside(facts: "Facts", readings: "Readings") -> "Facts":
    """The same of other readings, without a judgement of what they are compared with."""
    other = type(facts)(facts.runbook, facts.service, readings, facts.address)
    other.as_they_are()
    return other


def _nothing_else(facts: "Facts", name: str, how: str) -> Unseen:
    seen_s = facts.readings.at - facts.readings.signals[name].times[0]
    title = facts.runbook.signals[name].title or name
    longer = next((text for text, least in _LONGER if facts.readings.baseline_s < least), "30d")
    return Unseen(
        what="the time before",
        reason=f"{title.lower()} was {how} in all of the {duration(seen_s)} looked at: nothing to compare with",
        hint=f"look further back: --baseline {longer}",
    )
