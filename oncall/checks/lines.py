"""From a reading to a line: value, target, verdict, and what to run next. Pure."""

import msgspec

from oncall.checks.measured import Measured
from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene, unknown
from oncall.diagnosis.bounds import Bounds
from oncall.model import Absence, Next, Severity, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import SignalSpec
from oncall.numbers import humane
from oncall.promql import selectors_in

_NOBODY_ASKED = frozenset(
    {
        Absence.NOT_CONFIGURED,
        Absence.NOT_INSTALLED,
        Absence.NO_DATA,
        Absence.NOT_APPLICABLE,
        Absence.PRESENT_ONLY,
    }
)


def measured_line(
    scene: Scene, name: str, spec: LineSpec, signal: SignalSpec, found: Measured | Unavailable, usual: Bounds
) -> CheckLine:
    """The line of a signal from Prometheus. `usual`: the bounds of the signal itself, unless the line has its own."""
    titled = msgspec.structs.replace(spec, title=spec.title or signal.title or spec.signal)
    bounds = own_bounds(spec, usual)
    if isinstance(found, Unavailable):
        return absent(name, titled, "prometheus", found, bounds, signal.unit)
    if isinstance(found.now, Unavailable):
        line = absent(name, titled, "prometheus", _short(found, spec), bounds, signal.unit)
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
        next=next_of(scene, spec, severity),
        notes=tuple(text for text in (found.gap, found.hole) if text and text != reason),
    )


def _short(found: Measured, spec: LineSpec) -> Unavailable:
    """Why there is no value; of what not every service exports the names of the metrics tell enough."""
    assert isinstance(found.now, Unavailable)
    if not spec.optional or found.now.kind is not Absence.NO_DATA:
        return found.now
    names = list(dict.fromkeys(text.partition("{")[0] for text in selectors_in(found.query)))
    # Of what is not about `up`, that tells only whose it is
    names = names[:1] if names[:1] == ["up"] else [n for n in names if n not in ("", "up")]
    reason = f"not exported: {', '.join(names)}"
    return Unavailable(kind=Absence.NO_DATA, reason=reason)


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


def absent(
    name: str, spec: LineSpec, source: str, why: Unavailable, bounds: Bounds, unit: str | None
) -> CheckLine:
    line = unknown(
        name, spec, source, why.reason, why.hint, counts=not (spec.optional and why.kind in _NOBODY_ASKED)
    )
    return msgspec.structs.replace(line, unit=unit, target=spec.target or target(bounds, unit))


def next_of(scene: Scene, spec: LineSpec, severity: Severity) -> Next | None:
    if severity not in (Severity.WARNING, Severity.CRITICAL) or spec.issue is None:
        return None
    return scene.command("diagnose", spec.issue, why="says why")
