"""When was the deploy: the last change of process_start_time_seconds in Prometheus, or the moment that was told."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from oncall.clients.prometheus import Matrix, Prometheus, Series
from oncall.diagnosis.shift import median
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_deploy import PHASE_S, DeployMark, InstanceStarts, Phase
from oncall.model_service import SignalSpec
from oncall.promql import Selector, parse_selector, service_matchers
from oncall.units import promql_duration

BACK_S = PHASE_S[Phase.WEEK] + PHASE_S[Phase.DAY]
"""How far back a restart is looked for: a week is watched, and a day more."""
TOGETHER_S = 900.0
"""Starts that follow each other within this are one deploy: a rolling one takes minutes."""
EARLY_S = 60.0
"""A process may have begun so long before the moment that was told: pipelines tell when they were done."""
LOOP_S = 1800.0
"""Starts of one instance within this are a crash loop, if there are enough of them."""
_COARSE_S, _FINE_S, _FINE_FOR_S = 600.0, 15.0, 7200.0
_MOST_POINTS, _MOST_EACH = 200_000, 10_000
"""Of all series, and of one: Prometheus refuses more than 11,000."""
_SAME_S = 2.0
"""Exporters that compute the start time anew each time differ by so much."""
_DEFAULT = "process_start_time_seconds"


class Start(Frozen, frozen=True):
    """One start of one instance: when, and when it was first seen in Prometheus. Unix seconds."""

    instance: str
    at: float
    seen: float


class Past(Frozen, frozen=True):
    """Every start in the time that was looked at; `begins` is the first sample of all, None where there is none.

    `running`: instances that are there at the end. `before`: the last start from before `begins`."""

    starts: tuple[Start, ...] = ()
    running: tuple[str, ...] = ()
    begins: float | None = None
    before: float | None = None


class Mark(Frozen, frozen=True):
    """The deploy, in Unix seconds: its first and its last start, and from when on it is judged."""

    first: float
    settled: float
    begin: float
    given: bool
    starts: Mapping[str, tuple[float, ...]]
    """By instance: with the deploy, and after it."""
    untouched: tuple[str, ...] = ()
    earlier: float | None = None
    """Another restart in the day before it."""

    @property
    def restarts(self) -> int:
        """How many times one instance began once more after the deploy, at most."""
        return max((len(found) - 1 for found in self.starts.values()), default=0)

    @property
    def crash_loop(self) -> int:
        """The same, within half an hour."""
        return max((_densest(found) - 1 for found in self.starts.values()), default=0)


def _densest(starts: Sequence[float]) -> int:
    return max((sum(s <= other <= s + LOOP_S for other in starts) for s in starts), default=1)


# --- asking ------------------------------------------------------------------------------------------


def metric_of(spec: SignalSpec | None, selector: Mapping[str, str]) -> Selector:
    """The metric of the start time, of this service: that of the signal `uptime` where it is a gauge."""
    metric = parse_selector(spec.gauge if spec and spec.gauge else _DEFAULT)
    return metric.named(metric.metric, *service_matchers(selector))


async def past(
    server: Prometheus, metric: Selector, since: float | None, end: float, deadline_s: float
) -> tuple[Past, float | None] | Unavailable:
    """The starts up to `end`, and the seconds between two scrapes.

    First all of the time in steps of ten minutes, then the hours of the deploy closely: a crash loop is faster."""
    ends = time.monotonic() + deadline_s

    def left() -> float:
        return max(0.05, ends - time.monotonic())

    counted, interval = await asyncio.gather(
        server.query(f"count(count by (instance) ({metric}))", end, left()),
        _interval(server, metric, end, left()),
    )
    if isinstance(counted, Unavailable):
        return counted
    instances = max(1, int(counted.samples[0].value)) if counted.samples else 1
    begin = end - BACK_S if since is None else min(since, end) - PHASE_S[Phase.DAY]
    coarse = await _range(server, metric, begin, end, _step(_COARSE_S, end - begin, instances), left())
    if isinstance(coarse, Unavailable):
        return coarse
    found = starts_of(coarse.series, begin, end)
    first = since if since is not None else _first_of_last(found.starts)
    if first is None:
        return found, interval
    fine_from, fine_to = first - 2 * TOGETHER_S, min(end, first + _FINE_FOR_S)
    fine = await _range(
        server, metric, fine_from, fine_to, _step(_FINE_S, fine_to - fine_from, instances), left()
    )
    return (found if isinstance(fine, Unavailable) else _joined(found, fine.series, fine_from)), interval


def _step(least: float, span: float, instances: int) -> float:
    return max(least, math.ceil(span * instances / _MOST_POINTS), math.ceil(span / _MOST_EACH))


async def _range(
    server: Prometheus, metric: Selector, begin: float, end: float, step: float, deadline_s: float
) -> Matrix | Unavailable:
    # Over the step, so that nothing that lived between two points is overlooked
    text = f"max by (instance) (max_over_time({metric}[{promql_duration(step)}]))"
    begin = end - step * max(1, math.floor((end - begin) / step))
    return await server.query_range(text, begin, end, step, deadline_s)


async def _interval(server: Prometheus, metric: Selector, end: float, deadline_s: float) -> float | None:
    answer = await server.raw(str(metric), 900.0, end, deadline_s)
    times = answer.series[0].times if isinstance(answer, Matrix) and answer.series else ()
    gaps = [b - a for a, b in pairwise(times)]
    return median(gaps) if len(gaps) >= 2 else None


# --- from series to starts ------------------------------------------------------------------------------


def starts_of(series: Iterable[Series], begin: float, end: float) -> Past:
    """The starts that lie in the history. What ran before the history began did not start in it. Pure."""
    every = list(series)
    firsts = [s.times[0] for s in every if s.times]
    if not firsts:
        return Past()
    begins = min(firsts)
    found, running, before = list[Start](), list[str](), list[float]()
    for one in every:
        instance = one.labels.get("instance", "")
        known: float | None = None
        for seen, value in zip(one.times, one.values, strict=True):
            if not math.isfinite(value) or (known is not None and abs(value - known) <= _SAME_S):
                continue
            if known is not None or value >= begins:
                found.append(Start(instance=instance, at=value, seen=seen))
            elif value >= begin - BACK_S:
                before.append(value)
            known = value
        if one.times and one.times[-1] > end - _COARSE_S:
            running.append(instance)
    return Past(
        starts=tuple(sorted(found, key=lambda s: (s.at, s.instance))),
        running=tuple(sorted(running)),
        begins=begins,
        before=max(before, default=None),
    )


def _joined(coarse: Past, fine: Iterable[Series], begin: float) -> Past:
    """The starts of both looks: the close one knows more, and better when a process was first seen."""
    close = starts_of(fine, begin, begin).starts
    kept = [s for s in close if coarse.begins is None or s.at >= coarse.begins]
    for start in coarse.starts:
        if not any(s.instance == start.instance and abs(s.at - start.at) <= _SAME_S for s in kept):
            kept.append(start)
    return Past(
        starts=tuple(sorted(kept, key=lambda s: (s.at, s.instance))),
        running=coarse.running,
        begins=coarse.begins,
        before=coarse.before,
    )


def _clusters(starts: Sequence[Start]) -> list[list[Start]]:
    found: list[list[Start]] = []
    for start in starts:
        if found and start.at - found[-1][-1].at <= TOGETHER_S:
            found[-1].append(start)
        else:
            found.append([start])
    return found


def _first_of_last(starts: Sequence[Start]) -> float | None:
    clusters = _clusters(starts)
    return clusters[-1][0].at if clusters else None


# --- the mark ---------------------------------------------------------------------------------------------


def mark_of(known: Past, since: float | None, end: float) -> Mark | Unavailable:
    """The deploy: the last starts that belong together, or the moment that was told and the starts from then on.

    Unavailable where nothing restarted in the history. Pure."""
    starts = [s for s in known.starts if s.at <= end]
    if since is not None:
        return _given(known, since, [s for s in starts if s.at >= since - EARLY_S])
    clusters = _clusters(starts)
    if clusters:
        return _found(known, clusters)
    if known.before is not None and known.before >= end - PHASE_S[Phase.WEEK]:
        # It began in this week, but before the first sample: a mark about which nothing is known
        return Mark(first=known.before, settled=known.before, begin=known.before, given=False, starts={})
    return _none(known, end)


def disturbed(known: Past, mark: Mark, begin: float) -> bool:
    """Whether anything restarted between `begin` (Unix s) and the deploy: not all of that is before it. Pure."""
    return any(begin <= s.at < mark.first - EARLY_S for s in known.starts)


def _given(known: Past, since: float, starts: Sequence[Start]) -> Mark:
    belong = _clusters(starts)[0] if starts and starts[0].at - since <= TOGETHER_S else []
    settled = _settled(belong)
    return Mark(
        first=since,
        settled=max(since, settled.at) if settled else since,
        begin=max(since, settled.seen) if settled else since,
        given=True,
        starts=_by_instance(starts),
        untouched=_untouched(known, starts),
    )


def _found(known: Past, clusters: Sequence[list[Start]]) -> Mark:
    last = clusters[-1]
    settled = _settled(last)
    assert settled is not None
    first = last[0].at
    before = clusters[-2][-1].at if len(clusters) > 1 else None
    return Mark(
        first=first,
        settled=settled.at,
        begin=max(settled.at, settled.seen),
        given=False,
        starts=_by_instance(last),
        untouched=_untouched(known, last),
        earlier=before if before is not None and before >= first - PHASE_S[Phase.DAY] else None,
    )


def _settled(starts: Sequence[Start]) -> Start | None:
    """The last of the instances to begin; what begins once more after that was restarted, not deployed."""
    firsts: dict[str, Start] = {}
    for start in starts:
        firsts.setdefault(start.instance, start)
    return max(firsts.values(), key=lambda s: s.at, default=None)


def _by_instance(starts: Iterable[Start]) -> dict[str, tuple[float, ...]]:
    found: dict[str, list[float]] = {}
    for start in starts:
        found.setdefault(start.instance, []).append(start.at)
    return {instance: tuple(times) for instance, times in sorted(found.items())}


def _untouched(known: Past, starts: Iterable[Start]) -> tuple[str, ...]:
    began = {s.instance for s in starts}
    return tuple(i for i in known.running if i not in began)


def _none(known: Past, end: float) -> Unavailable:
    if known.begins is None:
        return Unavailable(
            kind=Absence.NO_DATA,
            reason="no start time of the service in Prometheus",
            hint="does it export process_start_time_seconds, does the selector fit? Or tell the moment: --since 20m",
        )
    days = (end - known.begins) / PHASE_S[Phase.DAY]
    span = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours" if days > 0.1 else "few minutes"
    return Unavailable(
        kind=Absence.NO_DATA,
        reason=f"no restart in the {span} that Prometheus knows of it",
        hint="tell the moment of the deploy: --since 2026-01-01T03:12:00Z, or --since 20m",
    )


def shown(mark: Mark | Unavailable) -> DeployMark:
    """The mark for the report."""
    if isinstance(mark, Unavailable):
        return DeployMark(reason=mark.reason, hint=mark.hint)
    return DeployMark(
        at=moment(mark.first),
        settled=moment(mark.settled),
        given=mark.given,
        instances=tuple(
            InstanceStarts(instance=name, starts=tuple(map(moment, times)))
            for name, times in mark.starts.items()
        ),
        untouched=mark.untouched,
    )


def moment(at: float) -> datetime:
    """Whole seconds: a start time is never known better."""
    return datetime.fromtimestamp(math.floor(at), UTC)
