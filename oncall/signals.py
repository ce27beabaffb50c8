"""Signals: from their form to PromQL. No I/O."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

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

FORMS = ("gauge", "rate", "ratio", "quantile", "mean", "promql", "step")


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
    base = histogram(parse(spec.of or ""))
    buckets = base.named(f"{base.metric}_bucket")
    last = base.named(buckets.metric, Matcher(label="le", operator="=", value="+Inf"))
    text = f"histogram_quantile({spec.quantile!r}, sum by (le) (rate({buckets}[{window}])))"
    return PromQL(text=text, metrics=(str(last),))


def _write_mean(spec: SignalSpec, parse: Parse, window: str) -> PromQL:
    base = histogram(parse(spec.mean or ""))
    total, count = base.named(f"{base.metric}_sum"), base.named(f"{base.metric}_count")
    return PromQL(text=f"{_rate(total, window)} / {_rate(count, window)}", metrics=(str(count),))


def histogram(selector: Selector) -> Selector:
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
