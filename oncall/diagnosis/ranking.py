"""From judged evidence to confidence and order. Pure; every rule is a sentence.

A cause is *confirmed* when a decisive witness holds on firm ground, at least 0.7 of its evidence (by weight)
could be read, nothing speaks against it, it accounts for a good part of what is to be explained, and there is
a symptom. Less than that is *likely*; support without a witness is *possible*. A decisive witness against it, or
every decisive witness read and absent, *rules it out*. What could not be read never counts as normal.
"""

from collections.abc import Iterable, Sequence

from oncall.diagnosis.evidence import Case, Judged
from oncall.model import CauseReport, Confidence, Severity

ENOUGH_COVERAGE = 0.7
ENOUGH_SHARE = 0.25
MOSTLY = 0.6
SOMEWHAT = 0.4

_ORDER = list(Confidence)
_FIRST = (
    Confidence.CONFIRMED,
    Confidence.LIKELY,
    Confidence.POSSIBLE,
    Confidence.UNKNOWN,
    Confidence.RULED_OUT,
)
"""The order to look at them in: what is unknown may hold still."""


def _weight(items: Iterable[Judged]) -> int:
    return sum(i.weight for i in items)


def coverage(case: Case) -> float:
    """The share of a cause's evidence that could be read, by weight."""
    return _weight(i for i in case.items if i.report.holds is not None) / max(_weight(case.items), 1)


def support(case: Case) -> float:
    """The share of the evidence for a cause, where read, that holds, by weight."""
    read = [i for i in case.items if i.report.supports and i.report.holds is not None]
    return _weight(i for i in read if i.report.holds) / max(_weight(read), 1)


def confidence(case: Case, severity: Severity) -> Confidence:
    """How sure a cause is, by the rules at the top of this file."""
    found = _without_symptom(case)
    if severity is Severity.OK:
        return max(found, Confidence.POSSIBLE, key=_ORDER.index)
    if severity is Severity.UNKNOWN:
        return max(found, Confidence.LIKELY, key=_ORDER.index)
    return found


def _without_symptom(case: Case) -> Confidence:
    witnesses = [i for i in case.items if i.report.decisive and i.report.supports]
    against = [i for i in case.items if not i.report.supports and i.report.holds]
    refuted = any(i.report.decisive and i.firm for i in against)
    if not any(i.report.holds is not None for i in case.items):
        return Confidence.UNKNOWN
    if any(i.report.holds for i in witnesses):
        return _witnessed(case, witnesses, against)
    if refuted:
        return Confidence.RULED_OUT
    if any(i.report.holds is None for i in witnesses):
        return _gap(case)
    return _unwitnessed(case)


def _witnessed(case: Case, witnesses: Sequence[Judged], against: Sequence[Judged]) -> Confidence:
    firm = any(i.report.holds and i.firm for i in witnesses)
    if any(i.report.decisive for i in against):
        return Confidence.POSSIBLE
    enough = case.spec.explains is None or (case.explains or 0.0) >= ENOUGH_SHARE
    if firm and not against and enough and coverage(case) >= ENOUGH_COVERAGE:
        return Confidence.CONFIRMED
    return Confidence.LIKELY


def _gap(case: Case) -> Confidence:
    """A decisive witness could not be read: no confidence comes from the gap."""
    half_for = support(case) >= 0.5 and any(i.report.holds and i.report.supports for i in case.items)
    return Confidence.POSSIBLE if half_for else Confidence.UNKNOWN


def _unwitnessed(case: Case) -> Confidence:
    """Every decisive witness was read and none holds (or there is none to read)."""
    if support(case) >= MOSTLY:
        return Confidence.LIKELY
    return Confidence.POSSIBLE if support(case) >= SOMEWHAT else Confidence.RULED_OUT


def rank(cases: Iterable[Case], severity: Severity) -> tuple[CauseReport, ...]:
    """The causes, the one to act on first: by confidence, then by how much it explains, then by support."""

    def key(case: Case) -> tuple[int, float, float]:
        share = case.explains if case.spec.explains else 1.0
        return _FIRST.index(confidence(case, severity)), -(share or 0.0), -support(case)

    return tuple(_report(case, severity) for case in sorted(cases, key=key))


def _report(case: Case, severity: Severity) -> CauseReport:
    sure = confidence(case, severity)
    act = sure in (Confidence.CONFIRMED, Confidence.LIKELY)
    return CauseReport(
        id=case.id,
        title=case.spec.title,
        confidence=sure,
        evidence=tuple(i.report for i in sorted(case.items, key=_telling)),
        missing=tuple(sorted({m for i in case.items for m in i.missing})),
        next=case.next if act else (),
        why=case.spec.why,
        advice=case.advice if act else (),
    )


def _telling(item: Judged) -> tuple[bool, bool, int]:
    """Best evidence first: what holds, decisive before the rest, heavier before lighter."""
    return (not item.report.holds, not item.report.decisive, -item.weight)
