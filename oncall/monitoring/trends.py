"""Which signals are on their way to a limit, and when they are there, from the course of the shift."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from oncall.clients.many import ranges
from oncall.clients.prometheus import Matrix, Prometheus
from oncall.diagnosis.bounds import Bounds, bounds
from oncall.diagnosis.lines import LEAST
from oncall.diagnosis.shift import floor_of
from oncall.diagnosis.trend import Trend, leak
from oncall.model import Absence, Unavailable, Unseen
from oncall.model_alerts import Trending
from oncall.model_service import Service, SignalSpec
from oncall.runbook.loader import Library
from oncall.signals import to_promql

_POINTS = 240
_LEAST_STEP_S = 15.0
_SPARK = 60
_CONTEXT = ("uptime", "request_rate")
"""What tells a leak from a restart or from load."""
Course = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Trends:
    """Signals that grow as a leak does, those first that are soonest at their limit; what could not be read."""

    found: tuple[Trending, ...]
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()


async def trending(
    server: Prometheus, service: Service, books: Library, end: float, span_s: float, timeout_s: float
) -> Trends | Unavailable:
    """Every signal with a bound, and every gauge without, over the last `span_s` seconds until `end` (Unix s)."""
    specs = dict(_specs(service, books))
    step = max(_LEAST_STEP_S, span_s / _POINTS)
    selector = service.prometheus.selector if service.prometheus else {}
    texts = {name: to_promql(spec, selector, max(300.0, step)).text for name, spec in specs.items()}
    answers = await ranges(server, texts, end - span_s, end, step, timeout_s)
    failed = {answer.reason: answer for answer in answers.values() if isinstance(answer, Unavailable)}
    if len(failed) == 1 and all(isinstance(a, Unavailable) for a in answers.values()):
        return next(iter(failed.values()))
    courses = {name: _course(answer) for name, answer in answers.items() if isinstance(answer, Matrix)}
    known = {name: course for name, course in courses.items() if course[0]}
    if courses and not known:
        reason = "no signal of this service has a history"
        return Unavailable(kind=Absence.NO_DATA, reason=reason, hint="does the selector fit?")
    judge = _Judge(service, specs, known)
    found = [t for name in specs if name in known and (t := judge.trend(name, texts[name], step)) is not None]
    unseen = [
        Unseen(what=f"trend of {specs[name].title or name}", reason=answer.reason, hint=answer.hint)
        for name, answer in answers.items()
        if isinstance(answer, Unavailable)
    ]
    return Trends(
        found=tuple(sorted(found, key=_soonest)), unseen=tuple(unseen), notes=tuple(judge.notes(known))
    )


def _specs(service: Service, books: Library) -> Iterator[tuple[str, SignalSpec]]:
    """The forms in force; of those without a bound only gauges: a queue that grows has no number to reach."""
    for name, shipped in books.signals.items():
        spec = service.signals.get(name) or shipped
        own = service.thresholds.get(name)
        bounded = any(
            b is not None
            for b in (spec.warning, spec.critical, *((own.warning, own.critical) if own else ()))
        )
        asked = spec.step is None and spec.up is None and spec.value is None
        if asked and (bounded or spec.gauge is not None or name in _CONTEXT):
            yield name, spec


def _course(answer: Matrix) -> Course:
    return (answer.series[0].times, answer.series[0].values) if answer.series else ((), ())


def _soonest(found: Trending) -> tuple[bool, float, str]:
    return found.limit_s is None, found.limit_s or 0.0, found.id


class _Judge:
    """Judges one course after the other, by the restarts and the load that they share."""

    def __init__(
        self, service: Service, specs: Mapping[str, SignalSpec], known: Mapping[str, Course]
    ) -> None:
        self._service, self._specs, self._known = service, specs, known
        self._last = {name: course[1][-1] for name, course in known.items()}

    def trend(self, name: str, query: str, step: float) -> Trending | None:
        """None where the signal does not grow as a leak does."""
        if name in _CONTEXT:
            return None
        spec, (times, values) = self._specs[name], self._known[name]
        bound = bounds(name, spec, self._service, self._last)
        limit = _limit(bound)
        sign = -1.0 if spec.below else 1.0
        found = leak(
            times,
            [sign * v for v in values],
            limit=None if limit is None else sign * limit,
            floor=floor_of(spec.unit),
            restarted=self._last.get("uptime"),
            load=self._known.get("request_rate"),
        )
        return self._told(name, query, bound, limit, found) if found and found.leaking else None

    def _told(self, name: str, query: str, bound: Bounds, limit: float | None, found: Trend) -> Trending:
        spec, (_, values) = self._specs[name], self._known[name]
        slope = found.slope_per_s * (-1.0 if spec.below else 1.0)
        return Trending(
            id=name,
            title=spec.title or name,
            unit=spec.unit,
            now=values[-1],
            per_hour=slope * 3600,
            critical=bound.critical,
            critical_s=_until(values[-1], bound.critical, slope),
            limit=limit,
            limit_s=found.limit_s,
            since=datetime.fromtimestamp(found.begins, UTC).replace(microsecond=0),
            history=_spark(values),
            query=query,
        )

    def notes(self, known: Mapping[str, Course]) -> Iterator[str]:
        """Where too little is known to tell a trend."""
        short = [n for n, course in known.items() if len(course[0]) < LEAST and n not in _CONTEXT]
        if short and len(short) == len([n for n in known if n not in _CONTEXT]):
            yield "the history is too short to tell a trend"


def _limit(bound: Bounds) -> float | None:
    """The whole that the bounds are shares of (the memory, the pool), else the worst bound."""
    if bound.whole is not None and not bound.below:
        return bound.whole
    return bound.critical if bound.critical is not None else bound.warning


def _until(now: float, bound: float | None, slope: float) -> float | None:
    return max(0.0, (bound - now) / slope) if bound is not None and slope else None


def _spark(values: Sequence[float]) -> tuple[float, ...]:
    size = max(1, -(-len(values) // _SPARK))
    return tuple(max(values[i : i + size]) for i in range(0, len(values), size))
