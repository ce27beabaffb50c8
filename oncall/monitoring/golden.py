"""The golden signals of one service or of many on one Prometheus, in few questions; from two scrapes without one."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from oncall.clients.many import instants, ranges
from oncall.clients.prometheus import Matrix, Prometheus, Series, Vector, several
from oncall.diagnosis.bounds import in_force, own_expression, threshold
from oncall.diagnosis.few import Short, chance_decides, counted, note_of
from oncall.diagnosis.metrics import RECENT, SKEW_S, Look, Moment, from_pages, of_metrics, stale_after
from oncall.diagnosis.shift import median
from oncall.model import Absence, Frozen, SignalReading, Unavailable
from oncall.model_service import PrometheusAt, Service, SignalSpec
from oncall.numbers import duration
from oncall.signals import PromQL, to_promql
from oncall.units import promql_duration

GOLDEN = ("request_rate", "error_ratio", "latency_p95", "pool_active", "memory", "cpu", "instances_up")
"""Traffic, errors, latency, what runs full and who is there; their forms and bounds stand in signals.yaml."""
_OF_REQUESTS = ("error_ratio", "latency_p95")
"""What is bad by few requests where one of them is."""
_ANSWER_S = 0.1
"""With less time left, nothing more is asked."""
POINTS = 60
"""Of a course: what a sparkline shows at most."""
_COUNT_S = 600.0
_LEAST_COUNT = 3
_YOUNG = 0.9
"""A baseline of which less than this is there is said to be short."""


@dataclass(frozen=True)
class Wanted:
    """A service, and the signals in force for it: the golden ones, and those that bound them."""

    name: str
    service: Service
    specs: Mapping[str, SignalSpec]

    @property
    def selector(self) -> Mapping[str, str]:
        return self.service.prometheus.selector if self.service.prometheus else {}


class Read(Frozen, frozen=True):
    """One signal now. `usual` and `history` only where the course was asked for."""

    now: float | Unavailable
    source: str
    query: str | None
    age_s: float | None = None
    usual: float | None = None
    history: tuple[float | None, ...] = ()


class Measured(Frozen, frozen=True):
    """The signals of one service, by name. `skew_s`: the server's clock minus ours, where that is worth a word."""

    signals: Mapping[str, Read]
    skew_s: float = 0.0
    notes: tuple[str, ...] = ()
    refused: Unavailable | None = None
    """Why a Prometheus that is configured could not be asked, where another source stood in."""


def wanted(name: str, service: Service, known: Mapping[str, SignalSpec]) -> Wanted:
    """What to ask of a service; `known` are the signals of the runbooks. Raises ConfigError for a bad share_of."""
    specs: dict[str, SignalSpec] = {}
    for signal in GOLDEN:
        if signal in known:
            specs[signal] = in_force(known[signal], service.signals.get(signal))
    for whole in [w for n, s in specs.items() for w in wholes(n, s, service)]:
        if whole in known and whole not in specs:
            specs[whole] = in_force(known[whole], service.signals.get(whole))
    return Wanted(name, service, specs)


def wholes(name: str, spec: SignalSpec, service: Service) -> list[str]:
    """The signals that a signal's bounds are shares of."""
    share_of = threshold(name, spec, service).share_of
    return sorted(own_expression(share_of).names) if share_of else []


# --- Prometheus ---------------------------------------------------------------------------------


async def from_server(
    at: PrometheusAt, services: Sequence[Wanted], *, now: float, deadline_s: float, course: bool
) -> dict[str, Measured | Unavailable]:
    """The signals of services that share a server, over one client; by the name of the service.

    First what the samples are worth (age, distance), then their values, all services together. Then, of those whose
    rates rest on few requests alone, rates over the whole window, as a diagnosis takes them."""
    until = time.monotonic() + deadline_s
    async with Prometheus(at) as server:
        asking = [_Asking(str(n), one, now) for n, one in enumerate(services)]
        worth = await instants(server, _all(a.worth() for a in asking), None, deadline_s)
        dead = _dead(worth.values())
        if dead is not None:
            return {one.name: dead for one in services}
        for each in asking:
            each.take_worth(worth)
        left = max(0.05, until - time.monotonic())
        skew = server.skew_s if server.skew_s is not None and abs(server.skew_s) > SKEW_S else 0.0
        answered = await _answers(server, asking, course=course, end=now + skew, deadline_s=left)
        found: dict[str, Measured | Unavailable] = {
            a.wanted.name: a.measured(answered, skew, now + skew) for a in asking
        }
        doubtful = [a for a in asking if a.chance_decides(answered.values)]
        left = until - time.monotonic()
        if doubtful and left >= _ANSWER_S:
            wide = [a.over_window(answered.values) for a in doubtful]
            again = await _answers(server, wide, course=course, end=now + skew, deadline_s=left)
            found |= {
                w.wanted.name: w.measured(again, skew, now + skew)
                for a, w in zip(doubtful, wide, strict=True)
                if a.gives_way(answered.values, again.values)
            }
        return found


class _Answers(NamedTuple):
    """By the keys of the questions."""

    values: Mapping[str, Vector | Unavailable]
    courses: Mapping[str, Matrix | Unavailable]


async def _answers(
    server: Prometheus, asking: "Sequence[_Asking]", *, course: bool, end: float, deadline_s: float
) -> _Answers:
    values, courses = await asyncio.gather(
        instants(server, _all(a.values() for a in asking), None, deadline_s),
        _courses(server, asking if course else (), end, deadline_s),
    )
    return _Answers(values, courses)


def _all(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {key: text for part in parts for key, text in part.items()}


def _dead(answers: Iterable[Vector | Unavailable]) -> Unavailable | None:
    """Why the server could not be asked at all; None where anything was answered."""
    first: Unavailable | None = None
    for answer in answers:
        if not isinstance(answer, Unavailable):
            return None
        first = first or answer
    return first


async def _courses(
    server: Prometheus, asking: "Sequence[_Asking]", end: float, deadline_s: float
) -> dict[str, Matrix | Unavailable]:
    """The course over window and baseline of each service that it is wanted of."""
    found = await asyncio.gather(
        *(ranges(server, each.courses(), end - each.span_s, end, each.step_s, deadline_s) for each in asking)
    )
    return {key: answer for part in found for key, answer in part.items()}


@dataclass
class _Asking:
    """One service among those of a server: its questions, under keys of its own, and what came of them."""

    key: str
    wanted: Wanted
    now: float
    interval_s: float | None = None
    ages: dict[str, float | None] = field(default_factory=dict)
    note: str | None = None

    def __post_init__(self) -> None:
        windows = self.wanted.service.windows
        self.moment = Moment(at=None, now=self.now, window_s=windows.rate, baseline_s=windows.baseline)
        self.span_s = float(windows.rate + windows.baseline)
        self.step_s = float(max(1, math.ceil(self.span_s / POINTS)))
        asked = of_metrics({n: s for n, s in self.wanted.specs.items() if s.value is None})
        self.specs = asked
        self.queries = self._queries(windows.rate)
        self.metrics = list(dict.fromkeys(m for q in self.queries.values() for m in q.metrics))

    def _queries(self, rate_s: float) -> dict[str, PromQL]:
        return {n: to_promql(s, self.wanted.selector, rate_s) for n, s in self.specs.items()}

    # --- what the samples are worth

    def worth(self) -> dict[str, str]:
        """How old the newest sample of each metric is, and how many the first has in ten minutes."""
        found = {
            f"{self.key}/age{n}": f"time() - max(timestamp({metric}))"
            for n, metric in enumerate(self.metrics)
        }
        for metric in self.metrics[:1]:
            found[f"{self.key}/count"] = f"max(count_over_time({metric}[{promql_duration(_COUNT_S)}]))"
        return found

    def take_worth(self, worth: Mapping[str, Vector | Unavailable]) -> None:
        ages = {m: _single(worth[f"{self.key}/age{n}"]) for n, m in enumerate(self.metrics)}
        self.ages = {m: None if age is None else max(0.0, age) for m, age in ages.items()}
        count = _single(worth.get(f"{self.key}/count"))
        self.interval_s = _COUNT_S / count if count and count >= _LEAST_COUNT else None
        self.queries = self._queries(self.moment.rate_s(self.interval_s))

    def age(self, name: str) -> float | None:
        """That of the stalest metric; None where one of them has no sample, but for an expression, which may do
        without."""
        ages = [self.ages.get(m) for m in self.queries[name].metrics]
        known = [age for age in ages if age is not None]
        enough = len(known) == len(ages) or self.specs[name].promql is not None
        return max(known) if known and enough else None

    # --- whether they rest on few requests

    def chance_decides(self, values: Mapping[str, Vector | Unavailable], usual: float | None = None) -> bool:
        """Whether they are bad, or undefined, by few requests alone. `usual`: how many a second the window had."""
        rate_s, window_s = self.moment.rate_s(self.interval_s), self.moment.window_s
        if self.interval_s is None or rate_s >= window_s:
            return False
        read = {n: self._reading(n, values) for n in self.queries}
        if usual is not None and "request_rate" in read:
            begun = self.now - window_s
            read["request_rate"] = replace(read["request_rate"], times=(begun,), values=(usual,))
        short = Short(rate_s - self.interval_s, self.now - window_s)
        return chance_decides(self.wanted.service, self.specs, read, _OF_REQUESTS, short)

    def over_window(self, values: Mapping[str, Vector | Unavailable]) -> "_Asking":
        """The same with rates over the whole window, and a note that says so."""
        rate, other = self._reading("request_rate", values).now, copy(self)
        wide = self._queries(self.moment.window_s)
        other.queries = {n: wide[n] if counted(self.specs[n]) else q for n, q in self.queries.items()}
        other.note = note_of(
            0.0 if isinstance(rate, Unavailable) else rate,
            self.moment.rate_s(self.interval_s),
            self.moment.window_s,
        )
        return other

    def gives_way(
        self, values: Mapping[str, Vector | Unavailable], wide: Mapping[str, Vector | Unavailable]
    ) -> bool:
        """Whether rates over the window are to be taken: they say as much, and no fewer requests came of late than
        in the whole of it."""
        read = {n: (self._reading(n, values).now, self._reading(n, wide).now) for n in self.queries}
        if any(isinstance(w, Unavailable) and not isinstance(n, Unavailable) for n, w in read.values()):
            return False
        usual = self._reading("request_rate", wide).now
        return not isinstance(usual, Unavailable) and self.chance_decides(values, usual)

    def _reading(self, name: str, values: Mapping[str, Vector | Unavailable]) -> SignalReading:
        query = self.queries[name]
        now = self._value(query, values[f"{self.key}/{name}"], self.age(name))
        return SignalReading(id=name, source="prometheus", query=query.text, now=now)

    # --- what they are

    def values(self) -> dict[str, str]:
        return {f"{self.key}/{n}": self._now(n, q.text) for n, q in self.queries.items()}

    def _now(self, name: str, text: str) -> str:
        """Of a gauge the median of its last scrapes, as in a diagnosis: one odd scrape decides nothing."""
        if self.specs[name].gauge is None or self.interval_s is None:
            return text
        # A second less: the scrape before them would be counted too.
        span = promql_duration(max(1.0, RECENT * self.interval_s - 1))
        return f"quantile_over_time(0.5, ({text})[{span}:{promql_duration(self.interval_s)}])"

    def courses(self) -> dict[str, str]:
        return {f"{self.key}/{n}": q.text for n, q in self.queries.items() if n in GOLDEN}

    def measured(self, answered: _Answers, skew_s: float, end: float) -> Measured:
        values, courses = answered
        split = end - self.moment.window_s
        found: dict[str, Read] = {}
        notes = dict.fromkeys(filter(None, [self.note]))
        for name, query in self.queries.items():
            key = f"{self.key}/{name}"
            usual, history, note = _course(courses.get(key), end - self.span_s, split, self.step_s)
            if note:
                notes[note] = None
            age = self.age(name)
            last = end - self.span_s + (len(history) - 1) * self.step_s if history else None
            found[name] = Read(
                now=_ended(self._value(query, values[key], age), None if last is None else end - last),
                source="prometheus",
                query=self._now(name, query.text),
                age_s=age,
                usual=usual,
                history=history,
            )
        return Measured(signals=found, skew_s=skew_s, notes=tuple(notes))

    def _value(self, query: PromQL, answer: Vector | Unavailable, age: float | None) -> float | Unavailable:
        value = _number(answer, query)
        if isinstance(value, Unavailable) and value.kind not in (Absence.NO_DATA, Absence.UNDEFINED):
            return value
        # A rate over a minute has nothing left of what ended two minutes ago: that is stale, not missing.
        old = age is not None and age > stale_after(self.interval_s)
        ended = age is None and bool(query.metrics) and not isinstance(value, Unavailable)
        if not old and not ended:
            return value
        said = (
            f"the newest sample is {duration(age)} old"
            if age is not None
            else "Prometheus says that it has ended"
        )
        return Unavailable(kind=Absence.STALE, reason=f"stale: {said}", hint="is the target still scraped?")


def _single(answer: Vector | Unavailable | None) -> float | None:
    if not isinstance(answer, Vector) or not answer.samples:
        return None
    return answer.samples[0].value


def _number(answer: Vector | Unavailable, query: PromQL) -> float | Unavailable:
    if isinstance(answer, Unavailable):
        return answer
    if answer.warnings:
        return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
    if not answer.samples:
        return query.no_data()
    if len(answer.samples) > 1:
        return several(len(answer.samples))
    value = answer.samples[0].value
    if not math.isfinite(value):
        return Unavailable(kind=Absence.UNDEFINED, reason="undefined (NaN or Inf): no events to divide by")
    return value


def _ended(now: float | Unavailable, ago_s: float | None) -> float | Unavailable:
    """What has a course and no present is not a thing that the service does not export. `ago_s`: its last point."""
    if ago_s is None or not isinstance(now, Unavailable) or now.kind is not Absence.NO_DATA:
        return now
    return ended(ago_s)


def ended(ago_s: float) -> Unavailable:
    """Of a course whose last point was so long ago. Prometheus repeats a last sample for five minutes, so that the
    end may be that much earlier."""
    ago = duration(max(0.0, ago_s - ago_s % 60 if ago_s > 60 else ago_s))
    hint = "is the target still scraped, is the service still running?"
    return Unavailable(kind=Absence.STALE, reason=f"stale: it ended more than {ago} ago", hint=hint)


def _course(
    answer: Matrix | Unavailable | None, begin: float, split: float, step_s: float
) -> tuple[float | None, tuple[float | None, ...], str | None]:
    """What was usual before the window, the points on their grid, and what is missing of the baseline."""
    if not isinstance(answer, Matrix) or len(answer.series) != 1:
        return None, (), None
    series = answer.series[0]
    slots = _slots(series, begin, step_s)
    before = [v for t, v in zip(series.times, series.values, strict=True) if t <= split and math.isfinite(v)]
    first = series.times[0]
    young = first - begin > (1 - _YOUNG) * (split - begin) + step_s
    note = (
        f"history begins {duration(max(0.0, split - first))} before the window, not {duration(split - begin)}"
    )
    return (median(before) if before else None), slots, note if young and first < split else None


def _slots(series: Series, begin: float, step_s: float) -> tuple[float | None, ...]:
    points: dict[int, float] = {}
    for t, v in zip(series.times, series.values, strict=True):
        if math.isfinite(v):
            points[round((t - begin) / step_s)] = v
    return tuple(points.get(n) for n in range(max(points, default=-1) + 1))


# --- two scrapes ---------------------------------------------------------------------------------


async def from_scrapes(one: Wanted, deadline_s: float, interval_s: float) -> Measured | Unavailable:
    """The signals from two looks at /metrics, `interval_s` seconds apart; no history."""
    specs = of_metrics({n: s for n, s in one.specs.items() if s.value is None})
    look = Look(one.service, specs, deadline_s)
    try:
        first = await look.once()
        if isinstance(first, Unavailable):
            return first
        await asyncio.sleep(max(0.0, first.monotonic + interval_s - time.monotonic()))
        second = await look.once()
    finally:
        await look.close()
    if isinstance(second, Unavailable):
        return second
    found = from_pages(first, second, specs)
    return Measured(
        signals={n: Read(now=r.now, source=r.source, query=r.query, age_s=r.age_s) for n, r in found.items()}
    )
