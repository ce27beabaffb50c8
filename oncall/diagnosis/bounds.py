"""The bounds of one signal in its own unit, from the values of others: for whoever judges without a diagnosis."""

from collections.abc import Mapping

from oncall.diagnosis.readings import own_expression
from oncall.diagnosis.report import judge, threshold
from oncall.model import Frozen, Service, Severity, SignalSpec
from oncall.runbook.expression import Value


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
