"""From columns of steps and formulas over them to a line. Pure."""

import msgspec

from oncall.checks.lines import absent, next_of, own_bounds, target
from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene
from oncall.diagnosis.bounds import Bounds
from oncall.diagnosis.evidence import origin, say
from oncall.diagnosis.readings import Facts
from oncall.model import Absence, Table, Unavailable
from oncall.model_checks import CheckLine


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
        why = "; ".join(sorted(found.missing)) or "nothing was found that it is made of"
        kind = Absence.NOT_CONFIGURED if why.endswith("not configured") else Absence.UNDEFINED
        kind = Absence.PRESENT_ONLY if "knows only the present" in why else kind
        return absent(name, titled, source, Unavailable(kind=kind, reason=why), bounds, unit)
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


def _said(facts: Facts, spec: LineSpec) -> str | None:
    if spec.text is None:
        return None
    text, complete = say(facts, spec.text)
    return text if complete else None


def _detail(facts: Facts, spec: LineSpec) -> Table | None:
    reading = facts.readings.steps.get(spec.detail or "")
    return reading.answer if reading and isinstance(reading.answer, Table) and reading.answer.rows else None
