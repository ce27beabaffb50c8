"""All signals of one refresh: their present, their course, their age, in one round of questions to Prometheus."""

import asyncio
import math
from collections.abc import Mapping

from msgspec.structs import replace

from oncall.clients.many import instants, ranges
from oncall.clients.prometheus import Matrix, Prometheus, Sample, Vector, several
from oncall.diagnosis.bounds import own_expression, threshold
from oncall.diagnosis.metrics import SKEW_S, stale_after
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.monitoring.board_model import BoardSpec, PanelSpec
from oncall.monitoring.board_promql import split, whole_of
from oncall.monitoring.golden import ended
from oncall.signals import PromQL, ages_promql, to_promql
from oncall.units import promql_duration

POINTS = 120
"""Points of a course: two to a column of a chart of 60."""
_AGES_S = 600.0
_LOOK_S = 60.0
"""So close a state is looked at within the stretch of a point."""
_SHORT = 90
"""Characters that a panel shows at any size."""

Known = tuple[float | None, ...]


class Window(Frozen, frozen=True):
    """What a dashboard looks at. `at`: Unix seconds, None where it is the present."""

    range_s: float
    at: float | None = None

    @property
    def step_s(self) -> float:
        return max(1.0, self.range_s / POINTS)


class Reading(Frozen, frozen=True):
    """One signal: its present or why there is none, and its course on the grid of the board."""

    now: float | Unavailable
    source: str
    query: str | None = None
    values: tuple[float | None, ...] = ()
    age_s: float | None = None


class Split(Frozen, frozen=True):
    """A signal by the values of a label, largest first; `missing`: the metric that is not exported at all."""

    found: tuple[tuple[str, float], ...] | Unavailable
    query: str
    missing: str | None = None


class Wanted(Frozen, frozen=True):
    """Every question of one dashboard, by the keys of its answers."""

    signals: Mapping[str, PromQL]
    course: Mapping[str, str]
    splits: Mapping[str, str]
    """By panel: what is split by a label; asked with the present, and beside it whether the metric is there."""


class Measured(Frozen, frozen=True):
    """What Prometheus gave: signals by name, splits by panel, and when, by its clock."""

    signals: Mapping[str, Reading]
    splits: Mapping[str, Split]
    end: float
    skew_s: float = 0.0


def spec_of(board: BoardSpec, service: Service, name: str) -> SignalSpec:
    """The signal in force: the service file's form, with the words of ours where it has none."""
    base, own = board.signals[name], service.signals.get(name)
    if own is None:
        return base
    kept = {k: getattr(base, k) for k in ("title", "unit", "warning", "critical", "share_of")}
    return replace(own, **{**kept, **{k: v for k in kept if (v := getattr(own, k)) is not None}})


def banded(panel: PanelSpec, spec: SignalSpec) -> SignalSpec:
    """The signal with the bands of its panel, where that has its own."""
    b = panel.bands
    return spec if b is None else replace(spec, warning=b.warning, critical=b.critical, share_of=b.share_of)


def _wholes(board: BoardSpec, service: Service) -> set[str]:
    """Signals that bounds are shares of."""
    found = set[str]()
    for panel in board.panels.values():
        for name in panel.signals[:1]:
            bound = threshold(name, banded(panel, spec_of(board, service, name)), service).share_of
            found |= set(own_expression(bound).names) if bound else set()
    return {name for name in found if name in board.signals}


def signals_of(board: BoardSpec, service: Service) -> dict[str, SignalSpec]:
    """Every signal that the board reads, in the form in force."""
    names = {n: None for p in board.panels.values() for n in (*p.signals, *p.beside)}
    names |= dict.fromkeys(sorted(_wholes(board, service)))
    return {name: spec_of(board, service, name) for name in names}


def wanted(board: BoardSpec, service: Service, window: Window) -> Wanted:
    """The questions. Rates of the present are over the service's rate window, as its alerts have them; those of a
    course over no less than a step, so that no spike falls between two points."""
    assert service.prometheus is not None
    selector, rate_s = service.prometheus.selector, service.windows.rate
    specs = signals_of(board, service)
    drawn = {n for p in board.panels.values() if p.kind not in ("bars", "table") for n in p.signals}
    texts = {name: to_promql(spec, selector, rate_s) for name, spec in specs.items()}
    broad = max(rate_s, window.step_s)
    splits = {}
    for name, panel in board.panels.items():
        if panel.by is not None:
            spec = specs[panel.signals[0]]
            splits[f"by:{name}"] = split(spec, panel.by, selector, rate_s, panel.top)
            splits[f"is:{name}"] = whole_of(spec, panel.by, selector)
    course = {n: to_promql(specs[n], selector, broad).text for n in specs if n in drawn}
    for name in {p.signals[0] for p in board.panels.values() if p.kind == "state"}:
        if window.step_s > _LOOK_S:
            # An outage that lies between two points must not be lost: each point is all of its stretch.
            course[name] = f"avg_over_time(({course[name]})[{promql_duration(window.step_s)}:{_LOOK_S:g}s])"
    return Wanted(
        signals=texts,
        course=course,
        splits=splits,
    )


async def measure(
    server: Prometheus, asked: Wanted, window: Window, now: float, skew_s: float, deadline_s: float
) -> Measured | Unavailable:
    """One round: three questions at once. Unavailable where the server does not answer at all.

    `now`: Unix seconds by our clock, `skew_s`: how far the server's is ahead, as far as is known by now."""
    end = window.at if window.at is not None else now + skew_s

    async def courses(until: float) -> dict[str, Matrix | Unavailable]:
        begin = until - POINTS * window.step_s
        return await ranges(server, asked.course, begin, until, window.step_s, deadline_s)

    now_of = {name: query.text for name, query in asked.signals.items()}
    metrics = {name: query.metrics for name, query in asked.signals.items()}
    present, course, ages = await asyncio.gather(
        instants(server, {**now_of, **asked.splits}, window.at, deadline_s),
        courses(end),
        server.query(ages_promql(metrics, _AGES_S, 0.0), window.at, deadline_s),
    )
    if refused := _refused(list(present.values())):
        return refused
    skew = server.skew_s if server.skew_s is not None and abs(server.skew_s) > SKEW_S else 0.0
    if window.at is None and abs(skew - skew_s) > SKEW_S:
        # Known only now: a course that ends in the server's future would end in a gap.
        end = now + skew
        course = await courses(end)
    return _measured(asked, window, end, skew, present, course, _worths(ages))


def _refused(answers: list[Vector | Unavailable]) -> Unavailable | None:
    """Why the server answers nothing; an expression that it does not understand is that expression's own."""
    if any(isinstance(a, Vector) or a.kind is Absence.BAD_QUERY for a in answers) or not answers:
        return None
    return next(a for a in answers if isinstance(a, Unavailable))


def _measured(
    asked: Wanted,
    window: Window,
    end: float,
    skew: float,
    present: Mapping[str, Vector | Unavailable],
    course: Mapping[str, Matrix | Unavailable],
    worths: Mapping[str, Mapping[str, float]],
) -> Measured:
    signals = {}
    for name, query in asked.signals.items():
        worth, values = worths.get(name, {}), _slots(course.get(name), window, end)
        now = _present(present[name], query, worth)
        signals[name] = Reading(
            now=_ended(now, values, window),
            source="prometheus",
            query=query.text,
            values=values,
            age_s=worth.get("age"),
        )
    panels = [key.removeprefix("by:") for key in asked.splits if key.startswith("by:")]
    splits = {p: _split(asked, p, present) for p in panels}
    return Measured(signals=signals, splits=splits, end=end, skew_s=skew)


def _worths(ages: Vector | Unavailable) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for sample in ages.samples if isinstance(ages, Vector) else ():
        found.setdefault(sample.labels.get("signal", ""), {})[sample.labels.get("what", "")] = sample.value
    return found


def _present(answer: Vector | Unavailable, query: PromQL, worth: Mapping[str, float]) -> float | Unavailable:
    if isinstance(answer, Unavailable):
        return answer
    if not answer.samples:
        return Unavailable(kind=Absence.NO_DATA, reason=f"no data for {_named_by(query)}", hint=query.hint)
    if answer.warnings:
        return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
    age, count = worth.get("age"), worth.get("count")
    if age is not None and age > stale_after(_AGES_S / count if count and count > 1 else None):
        reason = f"stale: the newest sample is {age:.0f} s old"
        return Unavailable(kind=Absence.STALE, reason=reason, hint="is the target still scraped?")
    if len(answer.samples) > 1:
        return several(len(answer.samples))
    value = answer.samples[0].value
    if not math.isfinite(value):
        return Unavailable(kind=Absence.UNDEFINED, reason="undefined (NaN or Inf): no events to divide by")
    return float(value)


def _ended(now: float | Unavailable, values: Known, window: Window) -> float | Unavailable:
    """What was there within the range and is no more is not a thing that the service does not export."""
    if (
        not isinstance(now, Unavailable)
        or now.kind is not Absence.NO_DATA
        or not any(v is not None for v in values)
    ):
        return now
    last = max(at for at, value in enumerate(values) if value is not None)
    return ended((POINTS - last) * window.step_s)


def _named_by(query: PromQL) -> str:
    """The metrics with their matchers; without them where a panel could not show them."""
    names = dict.fromkeys(metric.partition("{")[0] for metric in query.metrics)
    if len(query.name) <= _SHORT or not names:
        return query.name
    return " and ".join(names) + (query.name.rpartition("}")[2] if query.lacking else "")


def _slots(matrix: Matrix | Unavailable | None, window: Window, end: float) -> tuple[float | None, ...]:
    """The course on the grid of the board; None where nothing is known."""
    if not isinstance(matrix, Matrix) or len(matrix.series) != 1:
        return ()
    slots: list[float | None] = [None] * (POINTS + 1)
    begin = end - POINTS * window.step_s
    series = matrix.series[0]
    for t, v in zip(series.times, series.values, strict=True):
        at = round((t - begin) / window.step_s)
        if 0 <= at <= POINTS and math.isfinite(v):
            slots[at] = v
    return tuple(slots)


def _split(asked: Wanted, panel: str, present: Mapping[str, Vector | Unavailable]) -> Split:
    query = asked.splits[f"by:{panel}"]
    answer, there = present[f"by:{panel}"], present[f"is:{panel}"]
    if isinstance(answer, Unavailable):
        return Split(found=answer, query=query)
    if answer.warnings:
        partial = Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
        return Split(found=partial, query=query)
    finite = (s for s in answer.samples if math.isfinite(s.value))
    found = sorted(map(_named, finite), key=lambda one: (-one[1], one[0]))
    exported = isinstance(there, Vector) and bool(there.samples)
    missing = None if exported else asked.splits[f"is:{panel}"].removeprefix("count(").removesuffix(")")
    return Split(found=tuple(found), query=query, missing=missing)


def _named(sample: Sample) -> tuple[str, float]:
    """The value of the only label; empty where the series does not have it."""
    return next(iter(sample.labels.values()), ""), sample.value
