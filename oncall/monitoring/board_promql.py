"""What a dashboard asks of Prometheus: each signal as the alerts see it, its course, and split by a label."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from oncall.model_service import SignalSpec
from oncall.promql import Matcher, Selector, parse_selector, service_matchers
from oncall.signals import form_of, share
from oncall.units import promql_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[SignalSpec, str, "_Made"], str]


class _Made:
    """Selectors of one service, and sums over a rate window, each kept apart by one label."""

    def __init__(self, label: str, selector: Mapping[str, str], window_s: float) -> None:
        self.label, self.window = label, promql_duration(window_s)
        self._more = service_matchers(selector)

    def select(self, text: str) -> Selector:
        found = parse_selector(text)
        return found.named(found.metric, *self._more)

    def base(self, text: str) -> Selector:
        found = self.select(text)
        return found.named(re.sub(r"_(bucket|sum|count)$", "", found.metric))

    def rate(self, selector: Selector, *, also: str = "") -> str:
        return f"sum by ({self.label}{also}) (rate({selector}[{self.window}]))"


def split(spec: SignalSpec, label: str, selector: Mapping[str, str], window_s: float, top: int) -> str:
    """PromQL of a signal for each value of a label, the `top` largest. Raises ValueError for the form promql.

    What is not above zero is left out: an endpoint without traffic has no latency, one without errors no bar."""
    write = _WRITERS.get(form_of(spec))
    if write is None:
        raise ValueError("this form cannot be split by a label")
    return f"topk({top}, ({write(spec, label, _Made(label, selector, window_s))}) > 0)"


def _gauge(spec: SignalSpec, label: str, made: _Made) -> str:
    return f"{spec.across or 'sum'} by ({label}) ({made.select(spec.gauge or '')})"


def _rate(spec: SignalSpec, label: str, made: _Made) -> str:
    return made.rate(made.select(spec.rate or ""))


def _ratio(spec: SignalSpec, label: str, made: _Made) -> str:
    assert spec.ratio is not None
    of = share(spec.ratio, made.select)
    return f"{made.rate(of.part)} / {made.rate(of.whole)}"


def _mean(spec: SignalSpec, label: str, made: _Made) -> str:
    base = made.base(spec.mean or "")
    total, count = base.named(f"{base.metric}_sum"), base.named(f"{base.metric}_count")
    return f"{made.rate(total)} / {made.rate(count)}"


def _quantile(spec: SignalSpec, label: str, made: _Made) -> str:
    base = made.base(spec.of or "")
    buckets = made.rate(base.named(f"{base.metric}_bucket"), also=", le")
    return f"histogram_quantile({spec.quantile!r}, {buckets})"


_WRITERS: "Mapping[str, Write]" = {
    "gauge": _gauge,
    "rate": _rate,
    "ratio": _ratio,
    "mean": _mean,
    "quantile": _quantile,
}


def whole_of(spec: SignalSpec, label: str, selector: Mapping[str, str]) -> str:
    """Whether the metric is there at all, whatever its values: tells `no errors` from `no such metric`."""
    made = _Made(label, selector, 60)
    form = form_of(spec)
    if form == "ratio" and spec.ratio is not None:
        found = share(spec.ratio, made.select).told
    elif form == "quantile":
        base = made.base(spec.of or "")
        last = Matcher(label="le", operator="=", value="+Inf")
        found = base.named(f"{base.metric}_bucket", last)
    elif form == "mean":
        base = made.base(spec.mean or "")
        found = base.named(f"{base.metric}_count")
    else:
        found = made.select(spec.gauge or spec.rate or "")
    return f"count({found})"
