"""One value a day of a signal, over weeks: what trends, comparisons of weeks and capacity planning are made of.

A day here ends at the moment that is looked at, so that each has one whole round of the daily rhythm."""

import asyncio
import math
from collections.abc import Mapping

from msgspec.structs import replace

from oncall.checks.measured import Asked
from oncall.checks.model import DAY_S
from oncall.clients.many import ranges
from oncall.clients.prometheus import Matrix, Prometheus, several
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_checks import CheckLine
from oncall.signals import to_promql
from oncall.units import promql_duration

LOOKS_S = 900.0
"""A gauge is looked at so often; whether a day is known is counted by the same looks."""
_WHOLE = 0.8
"""The share of a day that must be known: the value of half a day knows half of its rhythm."""
_KNOWN = "known "
_NOTHING = "no data for "


class Days(Frozen, frozen=True):
    """A value for each day, oldest first, None where it is not known; `ends` are Unix seconds."""

    ends: tuple[float, ...]
    values: tuple[float | None, ...]
    query: str = ""

    @property
    def points(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The known days: times and values."""
        known = [(t, v) for t, v in zip(self.ends, self.values, strict=True) if v is not None]
        return tuple(t for t, _ in known), tuple(v for _, v in known)

    @property
    def gap(self) -> str | None:
        """Why it does not tell of the present: a service that is gone has no good week."""
        return "the last day is not known" if self.values[-1] is None else None


def expression(asked: Asked, selector: Mapping[str, str]) -> str:
    """PromQL of the value of one day. A rate, ratio, mean or quantile is taken over all of it; the values of a gauge
    (or an expression without $window) become one by `by`: `last` is the mean here. Raises ValueError."""
    spec = asked.spec
    text = to_promql(spec, selector, DAY_S).text
    if spec.gauge is None and (spec.promql is None or "$window" in spec.promql):
        if asked.by not in ("max", "min"):
            return text
        # Of what is a rate the peak counts: an hour that is too much is too much.
        text = to_promql(spec, selector, LOOKS_S).text
    by = "avg" if asked.by == "last" else asked.by
    return f"{by}_over_time(({text})[1d:{promql_duration(LOOKS_S)}])"


def _coverage(asked: Asked, selector: Mapping[str, str]) -> str:
    """PromQL of how many looks of a day found anything."""
    written = to_promql(asked.spec, selector, LOOKS_S)
    what = written.metrics[0] if written.metrics else written.text
    return f"count_over_time((count({what}))[1d:{promql_duration(LOOKS_S)}])"


async def days(
    server: Prometheus,
    asked: Mapping[str, Asked],
    selector: Mapping[str, str],
    end: float,
    count: int,
    deadline_s: float,
) -> dict[str, Days | Unavailable]:
    """The last `count` days of each signal by its key. Quantiles, which are dear, are asked one by one: a slow one
    takes no other with it. Raises ValueError for a signal that has no PromQL."""
    texts = {key: expression(a, selector) for key, a in asked.items()}
    covers = {_KNOWN + key: _coverage(a, selector) for key, a in asked.items()}
    dear = [key for key, a in asked.items() if a.spec.quantile is not None]
    groups = [{k: t for k, t in (texts | covers).items() if k not in dear}, *({k: texts[k]} for k in dear)]

    async def one(group: Mapping[str, str]) -> dict[str, Matrix | Unavailable]:
        return await ranges(server, group, end - (count - 1) * DAY_S, end, DAY_S, deadline_s)

    answers = [one(group) for group in groups if group]
    found = {k: answer for part in await asyncio.gather(*answers) for k, answer in part.items()}
    return {key: _days(found[key], found[_KNOWN + key], texts[key], end, count) for key in asked}


def _days(
    answer: Matrix | Unavailable, covered: Matrix | Unavailable, text: str, end: float, count: int
) -> Days | Unavailable:
    for each in (answer, covered):
        if isinstance(each, Unavailable):
            return each
        if each.warnings:
            return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {each.warnings[0]}")
    assert isinstance(answer, Matrix)
    assert isinstance(covered, Matrix)
    if len(answer.series) > 1:
        return several(len(answer.series))
    values, looks = _slots(answer, end, count), _slots(covered, end, count)
    whole = _WHOLE * DAY_S / LOOKS_S
    known = tuple(v if n is not None and n >= whole else None for v, n in zip(values, looks, strict=True))
    if not any(n is not None for n in looks):
        hint = "does the service export it, does the selector fit?"
        return Unavailable(kind=Absence.NO_DATA, reason=f"{_NOTHING}{text}", hint=hint)
    ends = tuple(end - (count - 1 - i) * DAY_S for i in range(count))
    return Days(ends=ends, values=known, query=text)


def absent(line: CheckLine, why: Unavailable, *, optional: bool) -> CheckLine:
    """The line of a signal that has no days. What not every service exports is said in two words."""
    if optional and why.kind is Absence.NO_DATA:
        return replace(line, reason="not exported", query=why.reason.removeprefix(_NOTHING), counts=False)
    return replace(line, reason=why.reason, hint=why.hint)


def _slots(matrix: Matrix, end: float, count: int) -> list[float | None]:
    found: list[float | None] = [None] * count
    for series in matrix.series[:1]:
        for t, v in zip(series.times, series.values, strict=True):
            at = count - 1 - round((end - t) / DAY_S)
            if 0 <= at < count and math.isfinite(v):
                found[at] = v
    return found
