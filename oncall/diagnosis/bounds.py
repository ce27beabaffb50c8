"""The bounds of a signal: those in force, in its own unit, and a value against them. Pure."""

from collections.abc import Mapping

import msgspec

from oncall.errors import ConfigError
from oncall.model import Frozen, Severity
from oncall.model_service import Service, SignalSpec, Threshold
from oncall.runbook.expression import Expression, Value


def own_expression(text: str) -> Expression:
    """An expression that a service file brings. Raises ConfigError."""
    try:
        return Expression(text)
    except ValueError as error:
        raise ConfigError(f"share_of of a threshold in the service file: {error}") from None


def threshold(name: str, spec: SignalSpec, service: Service) -> Threshold:
    """The bounds in force: the service file's, else the runbook's."""
    own = service.thresholds.get(name)
    return own or Threshold(warning=spec.warning, critical=spec.critical, share_of=spec.share_of)


def judge(value: float, warning: float | None, critical: float | None, *, below: bool) -> Severity:
    """A value against its bounds: beyond, not at, the bound."""

    def beyond(bound: float | None) -> bool:
        return bound is not None and (value < bound if below else value > bound)

    if beyond(critical):
        return Severity.CRITICAL
    return Severity.WARNING if beyond(warning) else Severity.OK


def in_force(base: SignalSpec, own: SignalSpec | None, *, ours: bool = False) -> SignalSpec:
    """A signal with the form of the service file, where that has one, and our words where it has none.

    Raises ConfigError where it has another unit and no bounds in it (or the bounds are `ours` in any case): those of
    the runbooks would be of another size."""
    if own is None:
        return base
    bounded = base.warning is not None or base.critical is not None
    unbounded = own.warning is None and own.critical is None
    if own.unit is not None and own.unit != base.unit and (ours or (bounded and unbounded)):
        said = f"the service file has the signal {base.title or 'without a title'} in {own.unit}"
        raise ConfigError(
            f"{said}, and the bounds of the runbooks are in {base.unit or 'no unit'}",
            hint=f"give it `warning` and `critical` in {own.unit}, or a promql that is in {base.unit or 'its unit'}",
        )
    kept = {k: getattr(base, k) for k in ("title", "unit", "warning", "critical", "share_of")}
    given = {k: v for k in kept if (v := getattr(own, k)) is not None}
    return msgspec.structs.replace(
        own, **{**kept, **given}, below=own.below or base.below, optional=base.optional
    )


def spec_of(name: str, signals: Mapping[str, SignalSpec], service: Service) -> SignalSpec:
    """The form in force of one of a runbook's signals.

    A formula that is the name of another signal, and no more, is that signal under a name of its own: where it has
    no bounds, it has the unit and the bounds in force of that one, the service file's too. Raises ConfigError."""
    return in_force(_named_after(signals[name], signals, service), service.signals.get(name))


def _named_after(base: SignalSpec, signals: Mapping[str, SignalSpec], service: Service) -> SignalSpec:
    other = signals.get(base.value or "")
    if other is None or base.warning is not None or base.critical is not None:
        return base
    theirs = in_force(other, service.signals.get(base.value or ""))
    found = threshold(base.value or "", theirs, service)
    return msgspec.structs.replace(
        base,
        unit=base.unit or theirs.unit,
        warning=found.warning,
        critical=found.critical,
        share_of=found.share_of,
        below=theirs.below,
    )


class Bounds(Frozen, frozen=True):
    """In the signal's unit. `missing`: what they are a share of is not known, so nothing can be judged by them."""

    warning: float | None = None
    critical: float | None = None
    whole: float | None = None
    below: bool = False
    missing: str | None = None

    def severity(self, value: float | None) -> Severity:
        """Beyond, not at, a bound. Unknown without a value or without the whole that the bounds are shares of."""
        if value is None or self.missing is not None:
            return Severity.UNKNOWN
        return judge(value, self.warning, self.critical, below=self.below)


def bounds(name: str, spec: SignalSpec, service: Service, values: Mapping[str, float]) -> Bounds:
    """The bounds in force of a signal; `values` holds the signals that were read, by name.

    Raises ConfigError for a `share_of` in the service file that is no expression."""
    found = threshold(name, spec, service)
    if found.share_of is None:
        return Bounds(warning=found.warning, critical=found.critical, below=spec.below)

    def look(wanted: str) -> Value:
        base, _, attribute = wanted.partition(".")
        known = getattr(service.limits, attribute, None) if base == "limits" else values.get(wanted)
        return Value(known, frozenset() if known is not None else frozenset({wanted}))

    whole = own_expression(found.share_of).evaluate(look)
    scale = whole.number()
    if scale is None:
        missing = " and ".join(sorted(whole.missing)) or found.share_of
        return Bounds(below=spec.below, missing=f"{missing} is not known")

    def share(bound: float | None) -> float | None:
        return None if bound is None else bound * scale

    return Bounds(warning=share(found.warning), critical=share(found.critical), whole=scale, below=spec.below)
