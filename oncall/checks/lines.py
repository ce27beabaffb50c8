"""From a reading to a line: value, target, verdict, and what to run next. Pure."""

from typing import TYPE_CHECKING

import msgspec

from oncall.checks.measured import Measured
from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene, unknown
from oncall.diagnosis.bounds import Bounds
from oncall.diagnosis.evidence import origin, say
from oncall.model import Absence, Next, Severity, SignalSpec, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.numbers import humane

if TYPE_CHECKING:
    from oncall.diagnosis.readings import Facts

_NOBODY_ASKED = frozenset(
    {Absence.NOT_CONFIGURED, Absence.NO_DATA, Absence.NOT_APPLICABLE, Absence.PRESENT_ONLY}
)


def measured_line(
    scene: Scene, name: str, spec: LineSpec, signal: SignalSpec, found: Measured | Unavailable, usual: Bounds
) -> CheckLine:
    """The line of a signal from Prometheus. `usual`: the bounds of the signal itself, unless the line has its own."""
    titled = msgspec.structs.replace(spec, title=spec.title or signal.title or spec.signal)
    bounds = own_bounds(spec, usual)
    if isinstance(found, Unavailable):
        return _absent(name, titled, "prometheus", found, bounds, signal.unit)
    if isinstance(found.now, Unavailable):
        line = _absent(name, titled, "prometheus", found.now, bounds, signal.unit)
        return msgspec.structs.replace(line, query=found.query, age_s=found.age_s, history=found.history)
    severity = bounds.severity(found.now)
    reason = bounds.missing
    if found.gap and severity is Severity.OK:
        severity, reason = Severity.UNKNOWN, found.gap
    return CheckLine(
        id=name,
        title=titled.title or name,
        severity=severity,
        why=spec.why,
        source="prometheus",
        value=found.now,
        unit=signal.unit,
        target=spec.target or target(bounds, signal.unit),
        warning=bounds.warning,
        critical=bounds.critical,
        day_ago=found.day_ago,
        week_ago=found.week_ago,
        history=found.history,
        query=found.query,
        age_s=found.age_s,
        reason=reason,
        next=_next(scene, spec, severity),
        notes=(found.gap,) if found.gap and reason != found.gap else (),
    )


def from_value(scene: Scene, name: str, spec: LineSpec, facts: "Facts") -> CheckLine:
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
        return _absent(name, titled, source, Unavailable(kind=kind, reason=why), bounds, unit)
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
        next=_next(scene, spec, severity),
        detail=_detail(facts, spec),
    )


def own_bounds(spec: LineSpec, usual: Bounds) -> Bounds:
    """The line's own bounds where it has any, else the signal's."""
    below = usual.below if spec.below is None else spec.below
    if spec.warning is None and spec.critical is None:
        return msgspec.structs.replace(usual, below=below)
    return Bounds(warning=spec.warning, critical=spec.critical, below=below)


def target(bounds: Bounds, unit: str | None) -> str | None:
    """`at most 0.5%`: the bound that it should stay within, in words."""
    bound = bounds.warning if bounds.warning is not None else bounds.critical
    if bound is None:
        return None
    if unit == "yes_no":
        return "yes" if bounds.below else "no"
    return f"at {'least' if bounds.below else 'most'} {humane(bound, unit)}"


def _absent(
    name: str, spec: LineSpec, source: str, why: Unavailable, bounds: Bounds, unit: str | None
) -> CheckLine:
    line = unknown(
        name, spec, source, why.reason, why.hint, counts=not (spec.optional and why.kind in _NOBODY_ASKED)
    )
    return msgspec.structs.replace(line, unit=unit, target=spec.target or target(bounds, unit))


def _next(scene: Scene, spec: LineSpec, severity: Severity) -> Next | None:
    if severity not in (Severity.WARNING, Severity.CRITICAL) or spec.issue is None:
        return None
    return scene.command("diagnose", spec.issue, why="says why")


def _said(facts: "Facts", spec: LineSpec) -> str | None:
    if spec.text is None:
        return None
    text, complete = say(facts, spec.text)
    return text if complete else None


def _detail(facts: "Facts", spec: LineSpec) -> Table | None:
    reading = facts.readings.steps.get(spec.detail or "")
    return reading.answer if reading and isinstance(reading.answer, Table) and reading.answer.rows else None
