"""The signals of a check over the time that each line looks at: now, a day and a week before, and their course."""

import asyncio
import math
from collections.abc import Mapping

from oncall.checks.model import DAY_S, WEEK_S
from oncall.clients.many import instants, ranges
from oncall.clients.prometheus import Matrix, Prometheus, Vector, several
from oncall.diagnosis.metrics import stale_after
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import SignalSpec
from oncall.numbers import duration
from oncall.signals import PromQL, ages_promql, to_promql
from oncall.units import promql_duration

POINTS = 48
"""Points of a course: half an hour each over a day."""
_LEAST_STEP_S = 60.0
_SAMPLES, _MOST_SAMPLES = 96, 2016
"""Moments at which a gauge is looked at: so many at least, and at most over any time."""
_APART_S = 60.0
"""So far apart up to a day, five minutes up to a week: what lasts for less may be missed."""
_KNOWN = 0.9
"""The share of the time that must be known."""
_FEW = 1
"""So many points may be missing unsaid: at its beginning a rate has no sample before it."""


class Asked(Frozen, frozen=True):
    """A signal and how to look at it: over how many seconds, and how its values become one."""

    spec: SignalSpec
    over_s: float
    by: str = "last"
    within_s: float | None = None
    """Of a rate, ratio, mean or quantile: `by` of its values over each so many seconds, instead of one over all."""


class Measured(Frozen, frozen=True):
    """One signal as it was over its time. `known` is the share of it that history has; `gap` says what is missing
    where that is too much to judge by it, `hole` where it is not."""

    now: float | Unavailable
    query: str
    day_ago: float | None = None
    week_ago: float | None = None
    history: tuple[float | None, ...] = ()
    age_s: float | None = None
    known: float | None = None
    gap: str | None = None
    hole: str | None = None
    warnings: tuple[str, ...] = ()


def expression(asked: Asked, selector: Mapping[str, str]) -> str:
    """PromQL of one number over the whole time. A rate, ratio, mean or quantile is taken over it, or over each
    `within_s` of it; the values of those, of a gauge or of an expression without $window become one by `by`. Raises
    ValueError for what has no PromQL."""
    spec = asked.spec
    windowed = spec.gauge is None and (spec.promql is None or "$window" in spec.promql)
    within = asked.within_s if windowed else None
    text = to_promql(spec, selector, within or asked.over_s).text
    if (windowed and within is None) or asked.by == "last":
        return text
    step = max(15.0, min(_APART_S, asked.over_s / _SAMPLES), asked.over_s / _MOST_SAMPLES)
    return f"{asked.by}_over_time(({text})[{promql_duration(asked.over_s)}:{promql_duration(step)}])"


def course(asked: Asked, selector: Mapping[str, str], step_s: float) -> str:
    """PromQL of the course of the signal: each point over its own step, at least five minutes."""
    return to_promql(asked.spec, selector, max(300.0, step_s)).text


async def measure(
    server: Prometheus,
    asked: Mapping[str, Asked],
    selector: Mapping[str, str],
    at: float | None,
    now: float,
    deadline_s: float,
) -> dict[str, Measured]:
    """Every signal by its key, in a handful of questions. `at`: Unix seconds, None is the server's now."""
    texts = {key: expression(a, selector) for key, a in asked.items()}
    end = now if at is None else at
    moments = (at, end - DAY_S, end - WEEK_S)
    found, courses, ages, had = await asyncio.gather(
        asyncio.gather(*(instants(server, texts, moment, deadline_s) for moment in moments)),
        _courses(server, asked, selector, end, deadline_s),
        _ages(server, asked, selector, at, deadline_s),
        instants(server, _whole_before(asked, selector), at, deadline_s),
    )
    today, yesterday, last_week = found

    def before(key: str, ago_s: float, answers: Mapping[str, Vector | Unavailable]) -> float | None:
        """The value of then, where history has all of the time that it was taken over."""
        whole = had.get(_then(key, ago_s))
        if isinstance(whole, Vector) and not whole.samples:
            return None
        return _known(_number(answers[key], PromQL(text=texts[key], metrics=())))

    return {
        key: _measured(
            asked[key],
            text,
            selector,
            today[key],
            (before(key, DAY_S, yesterday), before(key, WEEK_S, last_week)),
            courses[key],
            ages.get(key, {}),
            end,
        )
        for key, text in texts.items()
    }


def _then(key: str, ago_s: float) -> str:
    return f"{key}@{ago_s:.0f}"


def _whole_before(asked: Mapping[str, Asked], selector: Mapping[str, str]) -> dict[str, str]:
    """For each moment of comparison: are there samples where the time that it looks over begins?

    The value of yesterday out of the last hour of yesterday would be compared with all of today."""
    found = {}
    for key, a in asked.items():
        metrics = to_promql(a.spec, selector, a.over_s).metrics
        for ago in (DAY_S, WEEK_S) if metrics else ():
            back = promql_duration(ago + _KNOWN * a.over_s)
            found[_then(key, ago)] = f"count(count_over_time({metrics[0]}[1h] offset {back}))"
    return found


async def _courses(
    server: Prometheus, asked: Mapping[str, Asked], selector: Mapping[str, str], end: float, deadline_s: float
) -> dict[str, Matrix | Unavailable]:
    """The course of each over its own time; those over the same time together."""

    async def over(seconds: float) -> dict[str, Matrix | Unavailable]:
        step = _step(seconds)
        texts = {k: course(a, selector, step) for k, a in asked.items() if a.over_s == seconds}
        return await ranges(server, texts, end - seconds, end, step, deadline_s)

    parts = await asyncio.gather(*(over(s) for s in {a.over_s for a in asked.values()}))
    return {key: answer for part in parts for key, answer in part.items()}


def _step(over_s: float) -> float:
    return max(_LEAST_STEP_S, over_s / POINTS)


async def _ages(
    server: Prometheus,
    asked: Mapping[str, Asked],
    selector: Mapping[str, str],
    at: float | None,
    deadline_s: float,
) -> dict[str, dict[str, float]]:
    """Seconds since the newest sample, by key; nothing where that cannot be told."""
    metrics = {key: to_promql(a.spec, selector, a.over_s).metrics for key, a in asked.items()}
    answer = await server.query(ages_promql(metrics, 600.0, 0.0), at, deadline_s)
    found: dict[str, dict[str, float]] = {}
    for sample in answer.samples if isinstance(answer, Vector) else ():
        found.setdefault(sample.labels.get("signal", ""), {})[sample.labels.get("what", "")] = sample.value
    return found


def _measured(
    asked: Asked,
    text: str,
    selector: Mapping[str, str],
    answer: Vector | Unavailable,
    before: tuple[float | None, float | None],
    course_of: Matrix | Unavailable,
    worth: Mapping[str, float],
    end: float,
) -> Measured:
    age = worth.get("age")
    known, gap, history = _coverage(course_of, asked.over_s, end)
    warnings = answer.warnings if isinstance(answer, Vector) else ()
    query = to_promql(asked.spec, selector, asked.over_s)
    value: float | Unavailable = _number(answer, query)
    if isinstance(value, float) and query.metrics and (stale := _stale(age, worth.get("count"))):
        value = stale
    return Measured(
        now=value,
        query=text,
        day_ago=before[0],
        week_ago=before[1],
        history=history,
        age_s=age,
        known=known,
        gap=gap,
        hole=None if gap else _hole(known, asked.over_s),
        warnings=warnings,
    )


def _number(answer: Vector | Unavailable, query: PromQL) -> float | Unavailable:
    if isinstance(answer, Unavailable):
        return answer
    if not answer.samples:
        return query.no_data()
    if answer.warnings:
        return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
    if len(answer.samples) > 1:
        return several(len(answer.samples))
    value = answer.samples[0].value
    if not math.isfinite(value):
        return Unavailable(kind=Absence.UNDEFINED, reason="undefined (NaN or Inf): no events to divide by")
    return float(value)


def _known(value: float | Unavailable) -> float | None:
    return None if isinstance(value, Unavailable) else value


def _stale(age: float | None, count: float | None) -> Unavailable | None:
    """A value over a day still comes hours after the last sample: that is not the present."""
    interval = 600.0 / count if count and count > 1 else None
    if age is not None and age <= stale_after(interval):
        return None
    old = "Prometheus says that it has ended" if age is None else f"the newest sample is {duration(age)} old"
    return Unavailable(kind=Absence.STALE, reason=f"stale: {old}", hint="is the target still scraped?")


def _hole(known: float | None, over_s: float) -> str | None:
    """Nobody knows whether the service was there while Prometheus was not."""
    step = _step(over_s)
    points = round(over_s / step) + 1
    missing = 0 if known is None else points - round(known * points)
    return f"about {duration(missing * step)} of {duration(over_s)} are not known" if missing > _FEW else None


def _coverage(
    course_of: Matrix | Unavailable, over_s: float, end: float
) -> tuple[float | None, str | None, tuple[float | None, ...]]:
    """The share of the time that history has, what is not known of it, and the course itself."""
    step = _step(over_s)
    points = round(over_s / step) + 1
    if isinstance(course_of, Unavailable) or not course_of.series:
        return None, None, ()
    series = course_of.series[0]
    begin = end - over_s
    slots: list[float | None] = [None] * points
    for t, v in zip(series.times, series.values, strict=True):
        at = round((t - begin) / step)
        if 0 <= at < points and math.isfinite(v):
            slots[at] = v
    first = round((series.times[0] - begin) / step)
    # Undefined points (no traffic at night) are known: they are there.
    known = len(series.times) / points
    if known >= _KNOWN:
        return known, None, tuple(slots)
    had = duration(len(series.times) * step)
    young = first > (1 - _KNOWN) * points
    # Between two points of the grid it may have begun: so long ago at most.
    ago = "less than " + duration(step) if first == points - 1 else duration(end - series.times[0])
    what = f"history begins {ago} ago" if young else f"only {had} are known"
    return known, f"{what}, of {duration(over_s)}", tuple(slots)
