"""The number of a signal from two scrapes of the service's own page, the same that Prometheus gives. No I/O."""

import math
import re
from collections.abc import Callable, Mapping
from itertools import accumulate

from oncall.clients.scrape import Scrape
from oncall.model import Absence, Unavailable
from oncall.model_service import SignalSpec
from oncall.promql import Selector, parse_selector
from oncall.signals import form_of, histogram, share

_CLOCK_SLACK_S = 5.0


def scrape_names(spec: SignalSpec) -> frozenset[str]:
    """The names of the samples that `from_scrapes` reads. Raises ValueError as `to_promql`."""
    match form_of(spec):
        case "gauge" | "rate" as form:
            return frozenset({parse_selector(getattr(spec, form)).metric})
        case "ratio" if spec.ratio:
            return frozenset(parse_selector(text).metric for text in (spec.ratio.part, spec.ratio.whole))
        case "quantile":
            return frozenset({f"{histogram(parse_selector(spec.of or '')).metric}_bucket"})
        case "mean":
            base = histogram(parse_selector(spec.mean or "")).metric
            return frozenset({f"{base}_sum", f"{base}_count"})
        case _:
            return frozenset()


def from_scrapes(spec: SignalSpec, first: Scrape | None, second: Scrape) -> float | Unavailable:
    """The signal from two scrapes of the service's own page; a gauge needs the second alone.

    It agrees with Prometheus over the same two samples, except that a series born between the scrapes counts
    whole, where Prometheus waits for its second sample. NaN where Prometheus answers NaN."""
    form = form_of(spec)
    if form in ("promql", "step"):
        return Unavailable(
            kind=Absence.NOT_APPLICABLE, reason="this expression needs Prometheus: Prometheus only"
        )
    try:
        return _read_gauge(spec, second) if form == "gauge" else _read_counters(form, spec, first, second)
    except re.error as error:
        return Unavailable(kind=Absence.BAD_QUERY, reason=f"regex {error.pattern!r}: {error}")


def _read_counters(form: str, spec: SignalSpec, first: Scrape | None, second: Scrape) -> float | Unavailable:
    if first is None or second.monotonic <= first.monotonic:
        return Unavailable(kind=Absence.NO_DATA, reason="a rate needs two scrapes, one after the other")
    if _another_process(first, second):
        return Unavailable(
            kind=Absence.BAD_ANSWER,
            reason="the two scrapes of /metrics were answered by different processes: no rate can be told",
            hint="give the url of one instance, or configure prometheus",
        )
    pages = _Pages(first, second)
    return _READERS[form](spec, pages)


def _another_process(first: Scrape, second: Scrape) -> bool:
    """Behind a load balancer each scrape may meet another worker: that looks like a reset, and is none."""
    before, after = first.started, second.started
    return before is not None and after is not None and before != after and after < first.at - _CLOCK_SLACK_S


Found = dict[frozenset[tuple[str, str]], tuple[Mapping[str, str], float]]


class _Pages:
    """Two scrapes, and how much each counter grew in between."""

    def __init__(self, first: Scrape, second: Scrape) -> None:
        self._first, self._second = first, second
        self.elapsed = second.monotonic - first.monotonic

    def grown(self, selector: Selector) -> list[tuple[Mapping[str, str], float]]:
        """Labels and growth of each series of the second page. After a reset the whole new value counts."""
        old = _matching(self._first, selector)
        return [
            (labels, _growth(old[key][1] if key in old else 0.0, value))
            for key, (labels, value) in _matching(self._second, selector).items()
        ]

    def growth(self, text: str | Selector) -> float | None:
        """How much all series of a selector grew together; None where there are none."""
        series = self.grown(parse_selector(text) if isinstance(text, str) else text)
        return sum(value for _, value in series) if series else None


def _growth(before: float, after: float) -> float:
    return after if after < before else after - before


def _matching(page: Scrape, selector: Selector) -> Found:
    """The selected series by their labels. Of one that the page has twice the first counts, as in Prometheus."""
    found: Found = {}
    for labels, value in page.samples.get(selector.metric, ()):
        if all(m.matches(labels) for m in selector.matchers):
            found.setdefault(frozenset(labels.items()), (labels, value))
    return found


def _absent(selector: Selector | str) -> Unavailable:
    return Unavailable(kind=Absence.NO_DATA, reason=f"/metrics has no {selector}")


def _divide(above: float, below: float) -> float:
    """As IEEE 754 has it: n/0 is infinite, 0/0 is NaN."""
    if below:
        return above / below
    return math.nan if not above or math.isnan(above) else math.copysign(math.inf, above)


def _read_gauge(spec: SignalSpec, page: Scrape) -> float | Unavailable:
    selector = parse_selector(spec.gauge or "")
    values = [value for _, value in _matching(page, selector).values()]
    if not values:
        return _absent(selector)
    across = spec.across or "sum"
    if across in ("max", "min"):
        # Prometheus passes over NaN here, unless there is nothing else
        return (max if across == "max" else min)([v for v in values if not math.isnan(v)] or [math.nan])
    return sum(values) / (len(values) if across == "avg" else 1)


def _read_rate(spec: SignalSpec, pages: _Pages) -> float | Unavailable:
    grown = pages.growth(spec.rate or "")
    return _absent(spec.rate or "") if grown is None else grown / pages.elapsed


def _read_ratio(spec: SignalSpec, pages: _Pages) -> float | Unavailable:
    assert spec.ratio is not None
    of = share(spec.ratio)
    below, above = pages.growth(of.whole), pages.growth(of.part)
    if below is None:
        return _absent(of.whole)
    if above is None and pages.growth(of.told) is None:
        reason = f"/metrics has no {of.whole} with {of.labels}"
        return Unavailable(kind=Absence.NO_DATA, reason=reason, hint=of.hint)
    return _divide(above or 0.0, below)


def _read_mean(spec: SignalSpec, pages: _Pages) -> float | Unavailable:
    base = histogram(parse_selector(spec.mean or ""))
    names = [base.named(f"{base.metric}_sum"), base.named(f"{base.metric}_count")]
    total, count = (pages.growth(name) for name in names)
    if total is None or count is None:
        return _absent(names[0] if total is None else names[1])
    return _divide(total, count)


def _read_quantile(spec: SignalSpec, pages: _Pages) -> float | Unavailable:
    base = histogram(parse_selector(spec.of or ""))
    selector = base.named(f"{base.metric}_bucket")
    series = pages.grown(selector)
    if not series:
        return _absent(selector)
    buckets: dict[float, float] = {}
    for labels, value in series:
        bound = _bound(labels.get("le", ""))
        if bound is not None:
            buckets[bound] = buckets.get(bound, 0.0) + value
    return bucket_quantile(spec.quantile or 0.0, buckets)


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_READERS: Mapping[str, Callable[[SignalSpec, _Pages], float | Unavailable]] = {
    "rate": _read_rate,
    "ratio": _read_ratio,
    "quantile": _read_quantile,
    "mean": _read_mean,
}


def bucket_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """The q-quantile of cumulative counts by upper bound, as Prometheus has it (promql/quantile.go).

    Linear inside a bucket; the first one starts at 0; beyond the last finite bound it is that bound;
    NaN without a +Inf bucket, with one bucket alone, and without observations."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts = list(accumulate((buckets[b] for b in bounds), max))
    rank = q * counts[-1]
    if not counts[-1] or math.isnan(rank):
        return math.nan
    at = next(n for n, count in enumerate(counts) if count >= rank or n == len(bounds) - 1)
    if at == len(bounds) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    start, below = (bounds[at - 1], counts[at - 1]) if at else (0.0, 0.0)
    return start + (bounds[at] - start) * _divide(rank - below, counts[at] - below)
