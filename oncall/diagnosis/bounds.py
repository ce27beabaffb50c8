"""The bounds of a signal: those in force, in its own unit, and a value against them. Pure."""

from collections.abc import Mapping

from oncall.errors import ConfigError
from oncall.model import Frozen, Service, Severity, SignalSpec, Threshold
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
