"""The golden signals against their bounds. Pure."""

from collections.abc import Mapping

from oncall.diagnosis.bounds import bounds, threshold
from oncall.model import Absence, Severity, SignalReport, Unavailable
from oncall.model_service import SignalSpec
from oncall.monitoring.golden import GOLDEN, Measured, Read, Wanted, wholes
from oncall.scrub import scrub, secrets_of


def reports(one: Wanted, measured: Measured | Unavailable) -> tuple[SignalReport, ...]:
    """Each golden signal now, its usual value and its bounds; why it is not known."""
    reads = {} if isinstance(measured, Unavailable) else measured.signals
    values = {n: r.now for n, r in reads.items() if isinstance(r.now, float)}
    return tuple(
        _report(one, n, reads.get(n) or _absent(one.specs[n], measured), values)
        for n in GOLDEN
        if n in one.specs
    )


def _absent(spec: SignalSpec, measured: Measured | Unavailable) -> Read:
    if isinstance(measured, Unavailable):
        return Read(now=measured, source="prometheus", query=None)
    form = spec.step or spec.value or spec.up
    reason = f"needs a diagnosis: it is made of {form}"
    return Read(now=Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason), source="prometheus", query=None)


def _report(one: Wanted, name: str, read: Read, values: Mapping[str, float]) -> SignalReport:
    spec = one.specs[name]
    limit = bounds(name, spec, one.service, values)
    known = read.now if isinstance(read.now, float) else None
    why = read.now.reason if isinstance(read.now, Unavailable) else limit.missing
    same = {one.specs[w].unit for w in wholes(name, spec, one.service) if w in one.specs} == {spec.unit}
    return SignalReport(
        id=name,
        title=spec.title or name,
        value=known,
        unit=spec.unit,
        baseline=read.usual,
        warning=limit.warning,
        critical=limit.critical,
        severity=limit.severity(known),
        source=read.source,
        query=read.query,
        age_s=read.age_s,
        reason=scrub(why, secrets_of(one.service)) if why else None,
        history=read.history,
        symptom=True,
        of=limit.whole if same else None,
    )


def decides(one: Wanted, signal: SignalReport) -> bool:
    """Whether it takes part in the verdict: those that have a bound, and those that are not well. What not every
    service has decides nothing where it is not known."""
    spec = one.specs[signal.id]
    if spec.optional and signal.value is None:
        return False
    limit = threshold(signal.id, spec, one.service)
    bounded = limit.warning is not None or limit.critical is not None
    return bounded or signal.severity in (Severity.WARNING, Severity.CRITICAL)
