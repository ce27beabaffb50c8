"""From columns of steps and formulas over them to a line. Pure."""

import msgspec

from oncall.checks.lines import absent, next_of, own_bounds, target
from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene
from oncall.diagnosis.bounds import Bounds
from oncall.diagnosis.evidence import origin, rests_on, say
from oncall.diagnosis.readings import Facts
from oncall.model import Absence, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.runbook.expression import Value


def from_value(scene: Scene, name: str, spec: LineSpec, facts: Facts) -> CheckLine:
    """The line of a formula over steps, or of a signal that is one."""
    signal = facts.runbook.signals.get(spec.signal or "")
    text = spec.value or (signal and (signal.value or signal.step)) or ""
    titled = msgspec.structs.replace(spec, title=spec.title or (signal and signal.title) or name)
    unit = spec.unit or (signal.unit if signal else None)
    bounds = own_bounds(
        spec,
        Bounds(warning=signal.warning, critical=signal.critical, below=signal.below) if signal else Bounds(),
    )
    found = facts.evaluate(text)
    source, query = origin(facts, text)
    number = found.number()
    if number is None:
        return absent(name, titled, source, _why(facts, text, found), bounds, unit)
    severity = bounds.severity(number)
    return CheckLine(
        id=name,
        title=titled.title or name,
        severity=severity,
        why=spec.why,
        source=source,
        value=number,
        unit=unit,
        text=_said(facts, spec),
        target=spec.target or target(bounds, unit),
        warning=bounds.warning,
        critical=bounds.critical,
        query=query,
        age_s=0.0,
        next=next_of(scene, spec, severity),
        detail=_detail(facts, spec),
    )


def _why(facts: Facts, text: str, found: Value) -> Unavailable:
    """Why a formula has no number: as the first of its steps that has no answer says it, where that is the reason."""
    reason = "; ".join(sorted(found.missing)) or "nothing was found that it is made of"
    names = rests_on(facts, text)
    for answer in (reading.answer for step, reading in facts.readings.steps.items() if step in names):
        if isinstance(answer, Unavailable) and answer.reason in reason:
            return Unavailable(kind=answer.kind, reason=reason, hint=answer.hint)
    kind = Absence.NOT_CONFIGURED if reason.endswith("not configured") else Absence.UNDEFINED
    kind = Absence.PRESENT_ONLY if "knows only the present" in reason else kind
    kind = Absence.NOT_APPLICABLE if reason.startswith("not applicable") else kind
    return Unavailable(kind=kind, reason=reason)


def _said(facts: Facts, spec: LineSpec) -> str | None:
    if spec.text is None:
        return None
    text, complete = say(facts, spec.text)
    return text if complete else None


def _detail(facts: Facts, spec: LineSpec) -> Table | None:
    reading = facts.readings.steps.get(spec.detail or "")
    return reading.answer if reading and isinstance(reading.answer, Table) and reading.answer.rows else None
