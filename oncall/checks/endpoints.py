"""Endpoints by what they cost: which became slower, and which take most of the time that all requests take."""

import math
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from oncall.checks.lines import next_of
from oncall.checks.model import DAY_S, WEEK_S, LineSpec
from oncall.checks.scene import Scene, no_prometheus, unknown
from oncall.checks.specs import spec_of
from oncall.clients.many import instants
from oncall.clients.prometheus import Vector
from oncall.model import Absence, Column, Frozen, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.numbers import duration, figures, humane
from oncall.promql import Matcher, Selector, parse_selector, service_matchers
from oncall.units import promql_duration

LABEL = "endpoint"
"""What tells requests apart (the contract's metrics)."""
MOST = 10
_ASKED = 50
"""Endpoints that are compared: of very many, the slowest of now and of then."""
_FEW = 20
"""Requests below which the 95th percentile is one or none of them."""
_LEAST_S = 0.02
"""Slower by less is slower for nobody."""
_SLOWER = 1.5
_SLOW_COLUMNS = (
    Column(name=LABEL),
    Column(name="p95", unit="seconds"),
    Column(name="last_week", unit="seconds"),
    Column(name="times"),
    Column(name="requests", unit="requests"),
)
_COST_COLUMNS = (
    Column(name=LABEL),
    Column(name="share", unit="ratio"),
    Column(name="last_week", unit="ratio"),
    Column(name="mean", unit="seconds"),
    Column(name="requests", unit="requests"),
)

Writer = Callable[[Selector, float], dict[str, str]]


class Slow(Frozen, frozen=True):
    """One endpoint's 95th percentile (seconds); `before` None where it had too few requests a week ago."""

    endpoint: str
    now: float
    before: float | None
    requests: float | None

    @property
    def times(self) -> float | None:
        """How many times as slow as a week ago."""
        return self.now / self.before if self.before else None


class Cost(Frozen, frozen=True):
    """One endpoint's share of the time that all requests take, now and a week ago."""

    endpoint: str
    share: float
    before: float | None
    mean: float | None
    requests: float | None


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line, the endpoints below it. The line's `of` names the signal that is a quantile or mean of durations."""
    at = scene.service.prometheus
    if at is None or scene.server is None:
        return (no_prometheus(name, spec),)
    base = _histogram(scene, spec, at.selector)
    if isinstance(base, Unavailable):
        return (unknown(name, spec, "prometheus", base.reason, base.hint, counts=not spec.optional),)
    over = float(spec.over or DAY_S)
    write = slow_promql if spec.probe == "endpoints" else cost_promql
    answers = await _asked(scene, base, over, write)
    if isinstance(answers, Unavailable):
        quiet = spec.optional and answers.kind is Absence.NO_DATA
        return (unknown(name, spec, "prometheus", answers.reason, answers.hint, counts=not quiet),)
    query = write(base, over)["now"]
    tell = _slow_line if spec.probe == "endpoints" else _cost_line
    line = tell(name, spec, answers, over)
    return (replace(line, query=query, age_s=0.0, next=next_of(scene, spec, line.severity)),)


def _histogram(scene: Scene, spec: LineSpec, selector: Mapping[str, str]) -> Selector | Unavailable:
    """The histogram of the signal that the line is of, with the service's labels."""
    for signal in spec.of:
        form = spec_of(scene, signal)
        written = form.of or form.mean
        if written is not None:
            found = parse_selector(written)
            more = service_matchers(selector)
            return found.named(found.metric.removesuffix("_bucket"), *more)
    reason = f"{', '.join(spec.of) or 'no signal'} is no quantile or mean of a histogram"
    hint = "which endpoint is slow is told by its buckets: {quantile: 0.95, of: NAME}"
    return Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason, hint=hint)


# --- PromQL --------------------------------------------------------------------------------------


def slow_promql(base: Selector, over_s: float) -> dict[str, str]:
    """The slowest endpoints of now, and of the same time a week ago, as far as they had requests enough."""

    def p95(offset: str) -> str:
        buckets = _with_label(base, "_bucket")
        rate = f"rate({buckets}[{promql_duration(over_s)}]{offset})"
        slow = f"histogram_quantile(0.95, sum by (le, {LABEL}) ({rate}))"
        return f"topk({_ASKED}, {slow} and on ({LABEL}) {_requests(base, over_s, offset)} >= {_FEW})"

    return {"now": p95(""), "before": p95(_WEEK_AGO), "requests": _requests(base, over_s, "")}


def cost_promql(base: Selector, over_s: float) -> dict[str, str]:
    """Seconds that requests took, by endpoint, now and a week ago; how many they were; and all of them."""

    def busy(offset: str, by: str) -> str:
        total = _with_label(base, "_sum") if by else base.named(f"{base.metric}_sum")
        return f"sum{by} (increase({total}[{promql_duration(over_s)}]{offset}))"

    def top(offset: str) -> str:
        return f"topk({_ASKED}, {busy(offset, f' by ({LABEL})')})"

    return {
        "now": top(""),
        "before": top(_WEEK_AGO),
        "all": busy("", ""),
        "all_before": busy(_WEEK_AGO, ""),
        "requests": _requests(base, over_s, ""),
    }


_WEEK_AGO = f" offset {promql_duration(WEEK_S)}"


def _with_label(base: Selector, ending: str) -> Selector:
    return base.named(base.metric + ending, Matcher(label=LABEL, operator="!=", value=""))


def _requests(base: Selector, over_s: float, offset: str) -> str:
    """How many there were, by endpoint: a rate would be too low where history is shorter."""
    counts = _with_label(base, "_count")
    return f"sum by ({LABEL}) (increase({counts}[{promql_duration(over_s)}]{offset}))"


async def _asked(
    scene: Scene, base: Selector, over_s: float, write: Writer
) -> dict[str, dict[str, float]] | Unavailable:
    """Each answer as values by endpoint ('' where it is of all)."""
    assert scene.server is not None
    found = await instants(scene.server, write(base, over_s), scene.at, scene.deadline_s)
    values: dict[str, dict[str, float]] = {}
    for key, answer in found.items():
        if isinstance(answer, Unavailable):
            return answer
        if answer.warnings:
            return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
        values[key] = {s.labels.get(LABEL, ""): s.value for s in answer.samples if math.isfinite(s.value)}
    if not values["now"]:
        return await _why_none(scene, base, over_s)
    return values


async def _why_none(scene: Scene, base: Selector, over_s: float) -> Unavailable:
    """No histogram at all, one without the label, or too few requests."""
    assert scene.server is not None
    texts = {
        "any": f"count({base.named(base.metric + '_count')})",
        "labelled": f"count({_with_label(base, '_count')})",
    }
    answers = await instants(scene.server, texts, scene.at, scene.deadline_s)
    has = {key: isinstance(a, Vector) and bool(a.samples) for key, a in answers.items()}
    if not has["any"]:
        reason = f"no data for {base.metric}_count"
        hint = "does the service export it, does the selector fit?"
        return Unavailable(kind=Absence.NO_DATA, reason=reason, hint=hint)
    if not has["labelled"]:
        reason = f"{base.metric} has no label {LABEL}: its endpoints cannot be told apart"
        return Unavailable(kind=Absence.NO_DATA, reason=reason)
    reason = f"no endpoint had {_FEW} requests within {duration(over_s)}"
    return Unavailable(kind=Absence.NO_DATA, reason=reason)


# --- the slow ones ---------------------------------------------------------------------------------


def slow_of(answers: Mapping[str, Mapping[str, float]]) -> tuple[Slow, ...]:
    """At most ten: those that became clearly slower first, by how many times; then the slowest. Pure."""
    found = [
        Slow(endpoint=e, now=v, before=answers["before"].get(e), requests=answers["requests"].get(e))
        for e, v in answers["now"].items()
    ]
    found.sort(key=lambda s: (-(s.times or 0.0) if _slower(s, _SLOWER) else 0.0, -s.now, s.endpoint))
    return tuple(found[:MOST])


def _slower(s: Slow, times: float) -> bool:
    return s.times is not None and s.before is not None and s.times >= times and s.now - s.before >= _LEAST_S


def _slow_line(
    name: str, spec: LineSpec, answers: Mapping[str, Mapping[str, float]], over_s: float
) -> CheckLine:
    found = slow_of(answers)
    worst, limit = found[0], spec.warning or _SLOWER
    slower = [s for s in found if _slower(s, limit)]
    critical = spec.critical is not None and any(_slower(s, spec.critical) for s in found)
    severity = Severity.CRITICAL if critical else Severity.WARNING if slower else Severity.OK
    compared = any(s.before is not None for s in found)
    if severity is Severity.OK and not compared:
        severity = Severity.UNKNOWN
    return CheckLine(
        id=name,
        title=spec.title or "Slow endpoints",
        severity=severity,
        why=spec.why,
        source="prometheus",
        value=worst.times,
        unit="times",
        text=_slow_text(worst, slower),
        target=spec.target or f"at most ×{figures(limit)} of last week",
        warning=limit,
        critical=spec.critical,
        reason=None if compared else "no endpoint has a week before to compare with",
        detail=Table(columns=_SLOW_COLUMNS, rows=tuple(map(_slow_row, found))),
        notes=(f"p95 over {duration(over_s)}, and over the same time a week before",) if slower else (),
    )


def _slow_text(worst: Slow, slower: list[Slow]) -> str:
    if not slower:
        return f"none slower than last week; slowest {worst.endpoint}, p95 {humane(worst.now, 'seconds')}"
    more = f", and {len(slower) - 1} more" if len(slower) > 1 else ""
    was = f"{humane(worst.now, 'seconds')}, last week {humane(worst.before, 'seconds')}"
    return f"{worst.endpoint} ×{figures(worst.times or 0.0)}: p95 {was}{more}"


def _slow_row(s: Slow) -> tuple[str | float | None, ...]:
    return s.endpoint, s.now, s.before, s.times and round(s.times, 2), s.requests


# --- what costs most ---------------------------------------------------------------------------------


def costs_of(answers: Mapping[str, Mapping[str, float]]) -> tuple[Cost, ...]:
    """At most ten, by their share of all time that requests take. Pure."""
    whole = answers["all"].get("") or sum(answers["now"].values())
    before = answers["all_before"].get("")
    found = []
    for endpoint, busy in answers["now"].items():
        requests, then = answers["requests"].get(endpoint), answers["before"].get(endpoint)
        found.append(
            Cost(
                endpoint=endpoint,
                share=busy / whole if whole else 0.0,
                before=then / before if then is not None and before else None,
                mean=busy / requests if requests else None,
                requests=requests,
            )
        )
    return tuple(sorted(found, key=lambda c: (-c.share, c.endpoint))[:MOST])


def _cost_line(
    name: str, spec: LineSpec, answers: Mapping[str, Mapping[str, float]], over_s: float
) -> CheckLine:
    found = costs_of(answers)
    first = found[0]
    mean = f", {humane(first.mean, 'seconds')} each" if first.mean is not None else ""
    return CheckLine(
        id=name,
        title=spec.title or "Where the time goes",
        severity=Severity.OK,
        why=spec.why,
        source="prometheus",
        value=first.share,
        unit="ratio",
        text=f"{first.endpoint} takes {humane(first.share, 'ratio')} of all request time{mean}",
        target=spec.target,
        detail=Table(
            columns=_COST_COLUMNS,
            rows=tuple((c.endpoint, c.share, c.before, c.mean, c.requests) for c in found),
            notes=(f"over {duration(over_s)}",),
        ),
    )
