"""Signals: from their form to PromQL, and the same number from two scrapes of /metrics. No I/O."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING

from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import Ratio, SignalSpec
from oncall.promql import (
    Matcher,
    Selector,
    fill,
    parse_selector,
    quote,
    selectors_in,
    service_matchers,
)
from oncall.units import promql_duration

if TYPE_CHECKING:
    # Not at run time: it would import asyncio and ssl where only a runbook is checked
    from oncall.clients.scrape import Scrape

FORMS = ("gauge", "rate", "ratio", "quantile", "mean", "promql", "step")
_CLOCK_SLACK_S = 5.0


class PromQL(Frozen, frozen=True):
    """An expression that gives one number, and the bare series whose age and sample count tell its worth.

    `lacking`: what it is that a server without these series does not have, and what to do about it, where more can
    be said than their names."""

    text: str
    metrics: tuple[str, ...]
    lacking: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """What it is made of, for messages."""
        return self.lacking[0] if self.lacking else " and ".join(self.metrics) or self.text

    @property
    def hint(self) -> str:
        """What to do where there is nothing of it."""
        return self.lacking[1] if self.lacking else "does the service export it, does the selector fit?"

    def no_data(self) -> Unavailable:
        return Unavailable(kind=Absence.NO_DATA, reason=f"no data for {self.name}", hint=self.hint)


def form_of(spec: SignalSpec) -> str:
    """The one form that the signal is written in. Raises ValueError when there are none or several."""
    given = [form for form in FORMS if getattr(spec, form) is not None]
    if len(given) != 1:
        raise ValueError(
            f"found {' and '.join(given) or 'no form'}: allowed is exactly one of {', '.join(FORMS)}"
        )
    if (spec.of is not None) != (given[0] == "quantile"):
        raise ValueError("`of` names the histogram of a quantile: write {quantile: 0.95, of: NAME}")
    if spec.across is not None and given[0] != "gauge":
        raise ValueError(
            "`across` says how the instances of a gauge become one number; other forms add them up"
        )
    if spec.quantile is not None and not 0 <= spec.quantile <= 1:
        raise ValueError(f"quantile {spec.quantile}: allowed is a share from 0 to 1, such as 0.95")
    return given[0]


# --- to PromQL ---------------------------------------------------------------------------------


def to_promql(spec: SignalSpec, selector: Mapping[str, str], window_s: float) -> PromQL:
    """The expression of a signal for the service that `selector` names, over a rate window in seconds.

    It is always aggregated over all labels. Raises ValueError that says what is wrong and what is allowed."""
    form, window = form_of(spec), promql_duration(window_s)
    if form == "step":
        raise ValueError("a signal read from a step has no PromQL")
    if form == "promql":
        text = fill(str(spec.promql), selector, window)
        return PromQL(text=text, metrics=tuple(_of_one_metric(selectors_in(text))))
    return _WRITERS[form](spec, of_service(selector), window)


def _of_one_metric(texts: Sequence[str]) -> Iterator[str]:
    """Those that can be asked together with others: a broken one, or one of many names, would spoil the question."""
    for text in texts:
        with suppress(ValueError):
            yield str(parse_selector(text))


Parse = Callable[[str], Selector]


def of_service(selector: Mapping[str, str]) -> Parse:
    """Reads selectors as those of the service alone."""
    more = service_matchers(selector)

    def parse(text: str) -> Selector:
        found = parse_selector(text)
        return found.named(found.metric, *more)

    return parse


def _rate(selector: Selector, window: str) -> str:
    return f"sum(rate({selector}[{window}]))"


def _write_gauge(spec: SignalSpec, parse: Parse, window: str) -> PromQL:
    selector = str(parse(spec.gauge or ""))
    return PromQL(text=f"{spec.across or 'sum'}({selector})", metrics=(selector,))


def _write_rate(spec: SignalSpec, parse: Parse, window: str) -> PromQL:
    selector = parse(spec.rate or "")
    return PromQL(text=_rate(selector, window), metrics=(str(selector),))


def _write_ratio(spec: SignalSpec, parse: Parse, window: str) -> PromQL:
    """No error yet is 0, where the label that tells errors is there; no traffic is 0/0, that is NaN, undefined."""
    assert spec.ratio is not None
    of = share(spec.ratio, parse)
    below = _rate(of.whole, window)
    above = f"({_rate(of.part, window)} or 0 * {_rate(of.told, window)})"
    # A part of the same metric is as old as the whole, and may be absent in good health
    metrics = (str(of.told),) if of.part.metric == of.whole.metric else (str(of.whole), str(of.part))
    lacking = (f"{of.whole} with {of.labels}", of.hint) if of.needs else None
    return PromQL(text=f"{above} / {below}", metrics=metrics, lacking=lacking)


class Share(Frozen, frozen=True):
    """The selectors of a ratio. `told`: that of the whole whose series say whether they belong to the part."""

    part: Selector
    whole: Selector
    needs: tuple[Matcher, ...] = ()

    @property
    def told(self) -> Selector:
        return self.whole.named(self.whole.metric, *self.needs)

    @property
    def labels(self) -> str:
        """`a label status`"""
        return " and ".join(f"a label {m.label}" for m in self.needs)

    @property
    def hint(self) -> str:
        shown = ",".join(
            f"LABEL{str(m).removeprefix(m.label)}"
            for m in self.part.matchers
            if m.label in {n.label for n in self.needs} and m not in self.needs
        )
        form = f"{{ratio: {{part: '{self.part.metric}{{{shown}}}', whole: {self.whole.metric}}}}}"
        own = f"signals: {{NAME: {form}}}"
        return (
            f"does the service export it? Where the label has another name, the service file says so: {own}"
        )


def share(ratio: Ratio, parse: Parse = parse_selector) -> Share:
    """The selectors of a ratio, each label that tells the part apart from the whole required to be there.

    PromQL takes a label that is not there for an empty one: without it `status=~"5.."` has no series, as where
    nothing fails, and `status!~"2.."` has them all. Neither is known then. What speaks of the empty value itself
    (`error!=""`, `cache=~"|miss"`) means what it says; so does a part that is another metric than the whole."""
    part, whole = parse(ratio.part), parse(ratio.whole)
    if part.metric != whole.metric:
        return Share(part=part, whole=whole)
    free = {m.label for m in part.matchers if _of_empty(m)} | {m.label for m in whole.matchers}
    labels = dict.fromkeys(m.label for m in part.matchers if m.label not in free)
    needs = tuple(Matcher(label=label, operator="!=", value="") for label in labels)
    missed = {m.label for m in part.matchers if m.operator in ("!=", "!~")}
    more = tuple(m for m in needs if m.label in missed)
    return Share(part=part.named(part.metric, *more), whole=whole, needs=needs)


def _of_empty(matcher: Matcher) -> bool:
    """Whether it names the empty value: it takes it without being a negation, or refuses it by one."""
    try:
        named = matcher.matches({}) != (matcher.operator in ("!=", "!~"))
        return named or (matcher.operator == "=~" and matcher.value == ".+")
    except re.error:
        # Of RE2, which knows more than Python: as good as all of them speak of values
        return False


def _write_quantile(spec: SignalSpec, parse: Parse, window: str) -> PromQL:
    base = _base(parse(spec.of or ""))
    buckets = base.named(f"{base.metric}_bucket")
    last = base.named(buckets.metric, Matcher(label="le", operator="=", value="+Inf"))
    text = f"histogram_quantile({spec.quantile!r}, sum by (le) (rate({buckets}[{window}])))"
    return PromQL(text=text, metrics=(str(last),))


def _write_mean(spec: SignalSpec, parse: Parse, window: str) -> PromQL:
    base = _base(parse(spec.mean or ""))
    total, count = base.named(f"{base.metric}_sum"), base.named(f"{base.metric}_count")
    return PromQL(text=f"{_rate(total, window)} / {_rate(count, window)}", metrics=(str(count),))


def _base(selector: Selector) -> Selector:
    """The histogram's own name, also where one of its series was named."""
    return selector.named(re.sub(r"_(bucket|sum|count)$", "", selector.metric))


_WRITERS: Mapping[str, Callable[[SignalSpec, Parse, str], PromQL]] = {
    "gauge": _write_gauge,
    "rate": _write_rate,
    "ratio": _write_ratio,
    "quantile": _write_quantile,
    "mean": _write_mean,
}


def ages_promql(items: Mapping[str, Sequence[str]], baseline_s: float, window_s: float) -> str:
    """One instant query that tells what the samples of many signals are worth.

    `items` are bare selectors (`PromQL.metrics`) by signal id. The answer has the labels `signal` and `what`:
    age (seconds since the newest sample of the signal's stalest metric), count (samples that one series has
    in the baseline, which ends where the window begins), instances (different `instance` labels).
    Prometheus forgets a series five minutes after its last sample: then there is no age."""
    ranged = f"[{promql_duration(baseline_s)}] offset {promql_duration(window_s)}"
    parts = [
        _labelled({"signal": signal, "what": what, "nth": str(nth)}, expression)
        for signal, metrics in items.items()
        for nth, metric in enumerate(metrics)
        for what, expression in _worth(metric, ranged).items()
    ]
    return f"max by (signal, what) ({' or '.join(parts) or 'vector(0) > 0'})"


def _worth(metric: str, ranged: str) -> dict[str, str]:
    return {
        "age": f"time() - max(timestamp({metric}))",
        "count": f"max(count_over_time({metric}{ranged}))",
        "instances": f"count(count by (instance) ({metric}))",
    }


def together(items: Mapping[str, str]) -> str:
    """One expression for many signals (each an aggregate): the label `signal` of the answer has their ids."""
    return (
        " or ".join(_labelled({"signal": signal}, text) for signal, text in items.items()) or "vector(0) > 0"
    )


def _labelled(labels: Mapping[str, str], expression: str) -> str:
    for label, value in labels.items():
        literal = quote(value.replace("$", "$$"))
        expression = f'label_replace({expression}, "{label}", {literal}, "", "")'
    return expression


# --- from two scrapes --------------------------------------------------------------------------


def scrape_names(spec: SignalSpec) -> frozenset[str]:
    """The names of the samples that `from_scrapes` reads. Raises ValueError as `to_promql`."""
    match form_of(spec):
        case "gauge" | "rate" as form:
            return frozenset({parse_selector(getattr(spec, form)).metric})
        case "ratio" if spec.ratio:
            return frozenset(parse_selector(text).metric for text in (spec.ratio.part, spec.ratio.whole))
        case "quantile":
            return frozenset({f"{_base(parse_selector(spec.of or '')).metric}_bucket"})
        case "mean":
            base = _base(parse_selector(spec.mean or "")).metric
            return frozenset({f"{base}_sum", f"{base}_count"})
        case _:
            return frozenset()


def from_scrapes(spec: SignalSpec, first: "Scrape | None", second: "Scrape") -> float | Unavailable:
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


def _read_counters(
    form: str, spec: SignalSpec, first: "Scrape | None", second: "Scrape"
) -> float | Unavailable:
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


def _another_process(first: "Scrape", second: "Scrape") -> bool:
    """Behind a load balancer each scrape may meet another worker: that looks like a reset, and is none."""
    before, after = first.started, second.started
    return before is not None and after is not None and before != after and after < first.at - _CLOCK_SLACK_S


Found = dict[frozenset[tuple[str, str]], tuple[Mapping[str, str], float]]


class _Pages:
    """Two scrapes, and how much each counter grew in between."""

    def __init__(self, first: "Scrape", second: "Scrape") -> None:
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


def _matching(page: "Scrape", selector: Selector) -> Found:
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


def _read_gauge(spec: SignalSpec, page: "Scrape") -> float | Unavailable:
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
    base = _base(parse_selector(spec.mean or ""))
    names = [base.named(f"{base.metric}_sum"), base.named(f"{base.metric}_count")]
    total, count = (pages.growth(name) for name in names)
    if total is None or count is None:
        return _absent(names[0] if total is None else names[1])
    return _divide(total, count)


def _read_quantile(spec: SignalSpec, pages: _Pages) -> float | Unavailable:
    base = _base(parse_selector(spec.of or ""))
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
