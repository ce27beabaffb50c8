"""Signals from Prometheus with their history and age; from two scrapes of /metrics where that cannot be had."""

import asyncio
import math
import time
from collections.abc import Mapping
from itertools import pairwise

from oncall.clients.http import HttpServer
from oncall.clients.prometheus import Matrix, Prometheus, Series, Vector, several
from oncall.clients.scrape import Scrape, scrape
from oncall.clients.scrape_signals import from_scrapes, scrape_names
from oncall.diagnosis.few import Short, chance_decides, counted, note_of
from oncall.diagnosis.shift import median
from oncall.model import Absence, Column, Frozen, SignalReading, StepReading, Table, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.signals import PromQL, ages_promql, to_promql, together

POINTS = 240
"""How many points of history are asked for: enough for a robust spread, little to send."""
RECENT = 5
"""The median of so many samples is the present: one odd scrape decides nothing."""
RATE_S = 60.0
SKEW_S = 5.0
INTERVAL_SPAN_S = 600.0
_ANSWER_S = 0.1
"""With less time left, nothing more is asked."""


class Moment(Frozen, frozen=True):
    """The window [at - window_s, at] and the baseline before it; `at` None is now, by the server's clock."""

    at: float | None
    now: float
    window_s: float
    baseline_s: float
    exact: bool = False
    """The window was asked for on the command line, and rates are taken over all of it."""

    def rate_s(self, interval_s: float | None) -> float:
        """The seconds that rates are taken over: the window, but no more than a young incident fills.

        A rate over five minutes shows a third of what began 100 s ago. A minute is enough where it holds four
        scrapes; where the interval is not known, the window stays."""
        if self.exact or interval_s is None:
            return self.window_s
        return min(self.window_s, max(RATE_S, 4 * interval_s))

    @property
    def end(self) -> float:
        return self.now if self.at is None else self.at

    @property
    def step_s(self) -> float:
        return float(max(1, math.ceil((self.window_s + self.baseline_s) / POINTS)))


class _Span(Frozen, frozen=True):
    """What all signals of one question share: the end, the distance of points and of scrapes, warnings."""

    end: float
    step_s: float
    interval_s: float | None
    warnings: tuple[str, ...]
    gauge: bool = True

    def of(self, gauge: bool) -> "_Span":
        """For a gauge, whose present is a median of some samples, or for a rate, which is an average already."""
        return _Span(
            end=self.end, step_s=self.step_s, interval_s=self.interval_s, warnings=self.warnings, gauge=gauge
        )


class Worth(Frozen, frozen=True):
    """What the samples behind a signal are worth: age of the newest, number in the baseline, instances."""

    age_s: float | None = None
    samples: int = 0
    instances: int | None = None


class Measured(Frozen, frozen=True):
    """The signals as one backend gave them, and the end of the window by its clock."""

    signals: Mapping[str, SignalReading]
    end: float
    skew_s: float = 0.0
    notes: tuple[str, ...] = ()


def of_metrics(signals: Mapping[str, SignalSpec]) -> dict[str, SignalSpec]:
    """Those signals that Prometheus or a scrape can give."""
    return {n: s for n, s in signals.items() if s.step is None and s.up is None}


# --- Prometheus ---------------------------------------------------------------------------------


async def from_prometheus(
    service: Service,
    signals: Mapping[str, SignalSpec],
    moment: Moment,
    deadline_s: float,
    symptoms: frozenset[str] = frozenset(),
) -> Measured | Unavailable:
    """All signals in three questions: what the samples are worth, their history, and their present.

    A fourth where `symptoms` are bad by few requests: the same with rates over the whole window, within the deadline
    of the first. Unavailable where the server does not answer at all; a signal that it does not have is absent by
    itself."""
    assert service.prometheus is not None
    begun = time.monotonic()
    queries = _queries(service, signals, moment.window_s)
    async with Prometheus(service.prometheus) as server:
        asked = ages_promql({n: q.metrics for n, q in queries.items()}, moment.baseline_s, moment.window_s)
        worth, interval = await asyncio.gather(
            server.query(asked, moment.at, deadline_s), _interval(server, queries, moment, deadline_s)
        )
        if isinstance(worth, Unavailable):
            return worth
        skew = server.skew_s if server.skew_s and abs(server.skew_s) > SKEW_S else 0.0
        end = moment.end + (skew if moment.at is None else 0.0)
        span = _Span(end=end, step_s=moment.step_s, interval_s=interval, warnings=worth.warnings)
        asking = _Asking(server, service, signals, moment, span, _worths(worth))
        rate_s = moment.rate_s(interval)
        found, notes = await asking.over(rate_s, signals, deadline_s), tuple[str, ...]()
        if asking.too_few(found, symptoms, rate_s):
            left_s = begun + deadline_s - time.monotonic()
            found, notes = await asking.over_window(found, rate_s, left_s)
    return Measured(signals=found, end=end, skew_s=skew, notes=notes)


def _queries(service: Service, signals: Mapping[str, SignalSpec], rate_s: float) -> dict[str, PromQL]:
    assert service.prometheus is not None
    return {n: to_promql(s, service.prometheus.selector, rate_s) for n, s in signals.items()}


class _Asking:
    """The signals of a service at one Prometheus, with rates over one time or another."""

    def __init__(
        self,
        server: Prometheus,
        service: Service,
        signals: Mapping[str, SignalSpec],
        moment: Moment,
        span: _Span,
        worths: Mapping[str, Worth],
    ) -> None:
        self.server, self.service, self.signals = server, service, signals
        self.moment, self.span, self.worths = moment, span, worths

    async def over(
        self, rate_s: float, wanted: Mapping[str, SignalSpec], deadline_s: float
    ) -> dict[str, SignalReading]:
        """Some of the signals, with rates over so many seconds."""
        queries = _queries(self.service, wanted, rate_s)
        answers = await _histories(self.server, queries, self.moment, self.span.end, deadline_s)
        return {
            n: _reading(
                n, q, answers[n], self.worths.get(n, Worth()), self.span.of(wanted[n].gauge is not None)
            )
            for n, q in queries.items()
        }

    def too_few(self, found: Mapping[str, SignalReading], symptoms: frozenset[str], rate_s: float) -> bool:
        """Whether the rates are over a short time, and chance decides there. Samples that span a time have the
        events of one interval less."""
        if self.span.interval_s is None or rate_s >= self.moment.window_s:
            return False
        short = Short(rate_s - self.span.interval_s, self.span.end - self.moment.window_s)
        return chance_decides(self.service, self.signals, found, symptoms, short)

    async def over_window(
        self, found: dict[str, SignalReading], rate_s: float, left_s: float
    ) -> tuple[dict[str, SignalReading], tuple[str, ...]]:
        """The same with rates over the window, and a note; what was found where it does not say as much."""
        if left_s < _ANSWER_S:
            return found, ()
        wanted = {n: s for n, s in self.signals.items() if counted(s)}
        wide = await self.over(self.moment.window_s, wanted, left_s)
        if any(_absent(r) and not _absent(found[n]) for n, r in wide.items()):
            return found, ()
        requests = found["request_rate"].now
        rate = 0.0 if isinstance(requests, Unavailable) else requests
        return {**found, **wide}, (note_of(rate, rate_s, self.moment.window_s),)


def _absent(reading: SignalReading) -> bool:
    return isinstance(reading.now, Unavailable)


async def _interval(
    server: Prometheus, queries: Mapping[str, PromQL], moment: Moment, deadline_s: float
) -> float | None:
    """Seconds between two scrapes, from the raw samples of one series; None where there are too few to tell."""
    first = next((m for q in queries.values() for m in q.metrics), None)
    answer = await server.raw(first, INTERVAL_SPAN_S, moment.at, deadline_s) if first else None
    if not isinstance(answer, Matrix) or not answer.series:
        return None
    times = answer.series[0].times
    gaps = [b - a for a, b in pairwise(times)]
    return median(gaps) if len(gaps) >= 2 else None


async def _histories(
    server: Prometheus, queries: Mapping[str, PromQL], moment: Moment, end: float, deadline_s: float
) -> dict[str, Matrix | Unavailable]:
    """One range query for all signals; one each where together they fail (one bad expression of a team).

    Its last point is the end: of a long baseline the points are far apart."""
    end = round(end, 3)
    start = end - moment.step_s * ((moment.window_s + moment.baseline_s) // moment.step_s)

    async def ask(text: str) -> Matrix | Unavailable:
        return await server.query_range(text, start, end, moment.step_s, deadline_s)

    all_of = await ask(together({n: q.text for n, q in queries.items()}))
    if isinstance(all_of, Matrix):
        return {n: _only(all_of, n) for n in queries}
    if all_of.kind is not Absence.BAD_QUERY:
        return dict.fromkeys(queries, all_of)
    alone = await asyncio.gather(*(ask(q.text) for q in queries.values()))
    return dict(zip(queries, alone, strict=True))


def _only(matrix: Matrix, name: str) -> Matrix:
    mine = tuple(s for s in matrix.series if s.labels.get("signal") == name)
    return Matrix(series=mine, warnings=matrix.warnings)


def _worths(vector: Vector) -> dict[str, Worth]:
    found: dict[str, dict[str, float]] = {}
    for sample in vector.samples:
        found.setdefault(sample.labels.get("signal", ""), {})[sample.labels.get("what", "")] = sample.value
    return {
        name: Worth(
            age_s=max(0.0, what["age"]) if "age" in what else None,
            samples=int(what.get("count", 0)),
            instances=int(what["instances"]) if "instances" in what else None,
        )
        for name, what in found.items()
    }


def _reading(
    name: str, query: PromQL, answer: Matrix | Unavailable, worth: Worth, span: _Span
) -> SignalReading:
    now, series = _now(query, answer, worth, span)
    finite = [(t, v) for t, v in zip(series.times, series.values, strict=True) if math.isfinite(v)]
    return SignalReading(
        id=name,
        source="prometheus",
        query=query.text,
        now=now,
        times=tuple(t for t, _ in finite),
        values=tuple(v for _, v in finite),
        age_s=worth.age_s,
        baseline_samples=worth.samples,
        instances=worth.instances,
    )


_NO_SERIES = Series(labels={}, times=(), values=())


def _now(
    query: PromQL, answer: Matrix | Unavailable, worth: Worth, span: _Span
) -> tuple[float | Unavailable, Series]:
    """The present value, or why there is none; and the history as far as it goes."""
    if isinstance(answer, Unavailable):
        return answer, _NO_SERIES
    if not answer.series:
        return query.no_data(), _NO_SERIES
    if len(answer.series) > 1:
        return several(len(answer.series)), _NO_SERIES
    series = answer.series[0]
    if warned := (*answer.warnings, *span.warnings):
        return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {warned[0]}"), series
    age = worth.age_s if worth.age_s is not None else span.end - series.times[-1]
    # A history without a present: Prometheus itself has marked the series as ended (the target is gone).
    ended = worth.age_s is None and bool(query.metrics)
    if ended or age > stale_after(span.interval_s):
        old = f"the newest sample is {age:.0f} s old" if age >= 1 else "Prometheus says that it has ended"
        reason = f"stale: {old}"
        return Unavailable(kind=Absence.STALE, reason=reason, hint="is the target still scraped?"), series
    recent = _recent(series, span)
    if not recent:
        return Unavailable(
            kind=Absence.UNDEFINED, reason="undefined (NaN or Inf): no events to divide by"
        ), series
    return median(recent), series


def stale_after(interval_s: float | None) -> float:
    """Seconds from which the newest sample is too old: four scrapes missed, at least 10 s; 2 min where unknown."""
    return max(10.0, 4 * interval_s) if interval_s else 120.0


def _recent(series: Series, span: _Span) -> list[float]:
    """The points of the last few samples; undefined ones are left out, but the newest must be defined."""
    points = max(RECENT, round(RECENT * (span.interval_s or span.step_s) / span.step_s)) if span.gauge else 1
    tail = series.values[-points:]
    return [v for v in tail if math.isfinite(v)] if tail and math.isfinite(tail[-1]) else []


async def table_from_prometheus(
    service: Service, promql: str, unit: str | None, moment: Moment, deadline_s: float
) -> StepReading:
    """An instant query as a table: a column for each label, and `value`; largest first, at most 20 rows."""
    assert service.prometheus is not None
    text = to_promql(SignalSpec(promql=promql), service.prometheus.selector, moment.window_s).text
    async with Prometheus(service.prometheus) as server:
        answer = await server.query(text, moment.at, deadline_s)
    if isinstance(answer, Unavailable):
        return StepReading(source="prometheus", query=text, answer=answer)
    finite = [s for s in answer.samples if math.isfinite(s.value)]
    labels = sorted({name for s in finite for name in s.labels})
    top = sorted(finite, key=lambda s: -s.value)[:20]
    table = Table(
        columns=(*(Column(name=name) for name in labels), Column(name="value", unit=unit)),
        rows=tuple((*(s.labels.get(name) for name in labels), s.value) for s in top),
        notes=answer.warnings,
    )
    return StepReading(source="prometheus", query=text, answer=table)


# --- two scrapes --------------------------------------------------------------------------------


class Look:
    """Scrapes of one service: the first at once, a second an interval later where one is needed."""

    def __init__(self, service: Service, signals: Mapping[str, SignalSpec], deadline_s: float) -> None:
        self.service = service
        self.signals = signals
        self.deadline_s = deadline_s
        self.names = frozenset(n for s in signals.values() for n in scrape_names(s))
        self.server = HttpServer.of_service(service) if service.url else None

    async def once(self) -> Scrape | Unavailable:
        if self.server is None:
            return Unavailable(
                kind=Absence.NOT_CONFIGURED, reason="not configured", hint="set url of the service"
            )
        return await scrape(self.service, self.names, self.deadline_s, self.server)

    async def close(self) -> None:
        if self.server is not None:
            await self.server.__aexit__(None, None, None)


def live_gauges(page: Scrape | Unavailable, signals: Mapping[str, SignalSpec]) -> dict[str, float]:
    """What the service's gauges say at the moment of asking."""
    if isinstance(page, Unavailable):
        return {}
    read = {n: from_scrapes(s, None, page) for n, s in signals.items() if s.gauge is not None}
    return {n: v for n, v in read.items() if not isinstance(v, Unavailable) and math.isfinite(v)}


def from_pages(
    first: Scrape | Unavailable, second: Scrape | Unavailable, signals: Mapping[str, SignalSpec]
) -> dict[str, SignalReading]:
    """Every signal from two scrapes; no history, so every change is unknown."""
    return {name: _from_pages(name, spec, first, second) for name, spec in signals.items()}


def _from_pages(
    name: str, spec: SignalSpec, first: Scrape | Unavailable, second: Scrape | Unavailable
) -> SignalReading:
    if isinstance(second, Unavailable):
        return SignalReading(id=name, source="scrape", query=None, now=second)
    value = from_scrapes(spec, first if isinstance(first, Scrape) else None, second)
    if not isinstance(value, Unavailable) and not math.isfinite(value):
        value = Unavailable(kind=Absence.UNDEFINED, reason="undefined: nothing happened between two scrapes")
    shown = " or ".join(sorted(scrape_names(spec)))
    apart = second.monotonic - first.monotonic if isinstance(first, Scrape) else 0.0
    return SignalReading(
        id=name,
        source="scrape",
        query=f"GET /metrics: {shown}",
        now=value,
        age_s=0.0,
        over_s=apart if apart > 0 and counted(spec) else None,
    )
