"""What changed: every series of a service against its baseline, ranked by its robust shift."""

import asyncio
import math
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from oncall.clients.prometheus import Grid, Matrix, Packed, Prometheus
from oncall.diagnosis import compared
from oncall.diagnosis.compared import Span
from oncall.diagnosis.series import Row, Times, rows, sort_of
from oncall.diagnosis.shift import median
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_changes import ChangeReport, Changes, LeftOut
from oncall.model_service import Service
from oncall.promql import Matcher, service_matchers

SAMPLES = 400_000
"""Points kept at most, of all series: 3 MB as they are stored."""
AT_A_TIME = 100_000
"""Points of one question: some 4 MB of JSON."""
MOST_POINTS, LEAST_POINTS = 300, 40
RATE_S = 60.0
LOOKS = 13
"""How often the names are looked up over the span, so that what has ended is found too."""
SKEW_S = 5.0
_NOTHING: Mapping[str, str] = {}
Progress = Callable[[str, str], None]


class Asked(Frozen, frozen=True):
    """What the command line asks. `at` None is now, by the server's clock."""

    at: datetime | None = None
    window_s: float | None = None
    baseline_s: float | None = None
    timeout_s: float = 10.0
    top: int = 20
    limit: int = 2000


class _Piece(NamedTuple):
    """One question: these metrics (None: all of them), from point `begin` to before point `end`."""

    names: tuple[str, ...] | None
    begin: int
    end: int


class _Plan(NamedTuple):
    """What is asked for: the grid, how many points it has, and which metrics with how many series each."""

    times: Times
    points: int
    names: Mapping[str, int]
    all_of_them: bool


async def changes(name: str, service: Service, asked: Asked, progress: Progress) -> Changes:
    """Asks Prometheus and compares. What could not be read is said in the report, with `reason`."""
    begun = time.monotonic()
    found = await _Round(service, asked, progress).run()
    took = round((time.monotonic() - begun) * 1000)
    return found(name, took)


class _Round:
    """One round of questions to one server; `run` gives the report but for the service's name and the time taken."""

    def __init__(self, service: Service, asked: Asked, progress: Progress) -> None:
        self.service, self.asked, self.progress = service, asked, progress
        self.window_s = float(asked.window_s or service.windows.rate)
        self.baseline_s = float(asked.baseline_s or service.windows.baseline)
        self.ends = time.monotonic() + asked.timeout_s
        self.end = asked.at.timestamp() if asked.at else time.time()
        self.place: str | None = None
        self.left_out: list[LeftOut] = []
        self.warnings: dict[str, None] = {}
        self.stored: dict[tuple[tuple[str, str], ...], array[float]] = {}

    @property
    def left_s(self) -> float:
        return max(0.05, self.ends - time.monotonic())

    @property
    def span_s(self) -> float:
        return self.window_s + self.baseline_s

    async def run(self) -> Callable[[str, int], Changes]:
        if self.service.prometheus is None:
            hint = "set prometheus of the service: only it knows what was before"
            why = Unavailable(kind=Absence.NOT_CONFIGURED, reason="prometheus: not configured", hint=hint)
            return self._untold(why)
        self.progress("prometheus", "asked")
        async with Prometheus(self.service.prometheus) as server:
            self.place = server.place
            try:
                return await self._ask(server)
            finally:
                self.progress("prometheus", "answered")

    async def _ask(self, server: Prometheus) -> Callable[[str, int], Changes]:
        names = await self._names(server)
        if isinstance(names, Unavailable):
            return self._untold(names)
        types, interval = await asyncio.gather(server.types(self.left_s), self._interval(server))
        known = types if isinstance(types, dict) else _NOTHING
        chosen = self._chosen({n: c for n, c in names.items() if sort_of(n, known) != "skip"})
        plan = self._plan(chosen, interval, len(names))
        if (refused := await self._read(server, plan)) is not None:
            return self._untold(refused)
        packed = [Packed(labels=dict(key), values=values) for key, values in self.stored.items()]
        self.stored.clear()
        return self._told(rows(packed, known, plan.times), plan, interval)

    # --- the questions -------------------------------------------------------------------------

    def _selector(self, *more: Matcher) -> str:
        assert self.service.prometheus is not None
        matchers = (*service_matchers(self.service.prometheus.selector), *more)
        return "{" + ",".join(map(str, matchers)) + "}"

    async def _names(self, server: Prometheus) -> dict[str, int] | Unavailable:
        """The metrics of the whole span, each with the most series that it had at one time."""
        named = self._selector(Matcher(label="__name__", operator="!=", value=""))
        text = f"count by (__name__) ({named})"

        async def ask() -> Matrix | Unavailable:
            start = self.end - self.span_s
            return await server.query_range(text, start, self.end, self.span_s / (LOOKS - 1), self.left_s)

        got = await ask()
        if self.asked.at is None and server.skew_s and abs(server.skew_s) > SKEW_S:
            self.end += server.skew_s
            self.warnings[
                f"clocks differ: the server's is {server.skew_s:+.0f} s from ours; its own is used"
            ] = None
            got = await ask()
        if isinstance(got, Unavailable):
            return got
        self.warnings.update(dict.fromkeys(f"partial answer: {w}" for w in got.warnings))
        if not got.series:
            hint = "does the selector fit, is the service scraped, does the history reach so far?"
            return Unavailable(kind=Absence.NO_DATA, reason=f"no data for {named}", hint=hint)
        return {s.labels.get("__name__", ""): int(max(s.values)) for s in got.series}

    async def _interval(self, server: Prometheus) -> float | None:
        """Seconds between two scrapes, of one series; None where that cannot be told."""
        some = self._selector(Matcher(label="__name__", operator="!=", value=""))
        got = await server.raw(some, 600.0, self.end, self.left_s)
        times = got.series[0].times if isinstance(got, Matrix) and got.series else ()
        gaps = [b - a for a, b in pairwise(times)]
        if len(gaps) < 2:
            return None
        gap = median(gaps)
        return float(round(gap)) if abs(gap - round(gap)) < 0.01 * gap else gap

    def _chosen(self, names: Mapping[str, int]) -> dict[str, int]:
        """Metrics with the fewest series first, until the limit is full."""
        chosen, total = dict[str, int](), 0
        for name, count in sorted(names.items(), key=lambda item: (item[1], item[0])):
            if total + count <= self.asked.limit:
                chosen[name] = count
                total += count
            else:
                why = f"over the limit of {self.asked.limit} series"
                self.left_out.append(LeftOut(series=count, reason=why, metric=name))
        return chosen

    def _plan(self, chosen: Mapping[str, int], interval: float | None, names: int) -> _Plan:
        count = max(1, sum(chosen.values()))
        points = max(LEAST_POINTS, min(MOST_POINTS, SAMPLES // count))
        # Whole scrapes: else a counter moves by one scrape more in some steps than in others
        scrape = interval or 1.0
        step = scrape * max(1, math.ceil(self.span_s / points / scrape))
        wanted = max(RATE_S, 4 * (interval or 0.0), 2 * step)
        lead = max(1, round(min(self.window_s, wanted) / step))
        kept = max(2, math.floor(self.span_s / step) + 1)
        start = self.end - (kept - 1 + lead) * step
        return _Plan(Times(start, step, lead), kept + lead, chosen, len(chosen) == names)

    async def _read(self, server: Prometheus, plan: _Plan) -> Unavailable | None:
        """All points, in questions of bounded size, two at a time; why not, where not one was answered."""
        turns = asyncio.Semaphore(2)

        async def ask(piece: _Piece) -> Unavailable | None:
            async with turns:
                return await self._read_piece(server, plan, piece)

        refused = [r for r in await asyncio.gather(*map(ask, _pieces(plan))) if r is not None]
        if refused and not self.stored:
            return refused[0]
        self.warnings.update(dict.fromkeys(f"partial answer: {r.reason}" for r in refused))
        return None

    async def _read_piece(self, server: Prometheus, plan: _Plan, piece: _Piece) -> Unavailable | None:
        start = plan.times.start + piece.begin * plan.times.step
        text, points = self._text(piece.names), piece.end - piece.begin
        got = await server.grid(text, start, plan.times.step, points, self.left_s)
        if isinstance(got, Grid):
            self._store(got, plan, piece)
            return None
        halves = _halves(piece, plan.names) if got.kind is Absence.BAD_QUERY else ()
        if not halves:
            metric = piece.names[0] if piece.names and len(piece.names) == 1 else None
            count = sum(plan.names[n] for n in piece.names or plan.names)
            self.left_out.append(LeftOut(series=count, reason=got.reason, metric=metric))
            return got
        refused = [await self._read_piece(server, plan, half) for half in halves]
        return next((r for r in refused if r is not None), None)

    def _text(self, names: tuple[str, ...] | None) -> str:
        if names is None:
            return self._selector(Matcher(label="__name__", operator="!=", value=""))
        # Names of metrics are letters, figures, _ and :, so that they need no escape; any other is quoted whole
        one = [Matcher(label="__name__", operator="=", value=names[0])] if len(names) == 1 else []
        several = Matcher(label="__name__", operator="=~", value="|".join(map(_literal, names)))
        return self._selector(*(one or [several]))

    def _store(self, grid: Grid, plan: _Plan, piece: _Piece) -> None:
        self.warnings.update(dict.fromkeys(f"partial answer: {w}" for w in grid.warnings))
        if grid.histograms:
            self.left_out.append(LeftOut(series=grid.histograms, reason="native histograms"))
        for series in grid.series:
            if series.labels.get("__name__") not in plan.names:
                continue
            key = tuple(sorted(series.labels.items()))
            kept = self.stored.get(key)
            if kept is None:
                kept = self.stored[key] = array("d", [math.nan]) * plan.points
            kept[piece.begin : piece.end] = array("d", series.values)

    # --- the report ----------------------------------------------------------------------------

    def _untold(self, why: Unavailable) -> Callable[[str, int], Changes]:
        self.left_out = [o for o in self.left_out if o.reason != why.reason]
        return self._report((), 0, 0, reason=why.reason, hint=why.hint)

    def _told(
        self, found: Sequence[Row], plan: _Plan, interval: float | None
    ) -> Callable[[str, int], Changes]:
        times = plan.times
        span = Span(
            times.start + times.lead * times.step,
            times.step,
            plan.points - times.lead,
            window_s=self.window_s,
            interval_s=interval,
            rate_s=times.rate_s,
        )
        if (why := compared.untellable(found, span)) is not None:
            return self._untold(why)
        judged = [compared.judge(row, span) for row in found]
        self._leave_out_undefined(found, judged)
        ranked = sorted((j for j in judged if j is not None), key=compared.rank)
        self.warnings.update(dict.fromkeys(compared.notes(found, span)))
        first = compared.first_of(ranked)
        return self._report(
            tuple(compared.report(j, span) for j in ranked[: self.asked.top] if j.shift != 0),
            len(ranked),
            sum(j.clear for j in ranked),
            reason=next((w for w in self.warnings if w.startswith("partial answer")), None),
            first=compared.report(first, span) if first else None,
            common=compared.common(found),
        )

    def _leave_out_undefined(self, found: Sequence[Row], judged: Sequence[object]) -> None:
        undefined = Counter(row.metric for row, told in zip(found, judged, strict=True) if told is None)
        why = "undefined: not a number, or nothing to divide by"
        self.left_out += [LeftOut(series=n, reason=why, metric=metric) for metric, n in undefined.items()]

    def _report(
        self,
        ranked: tuple[ChangeReport, ...],
        compared: int,
        changed: int,
        *,
        reason: str | None = None,
        hint: str | None = None,
        first: ChangeReport | None = None,
        common: Mapping[str, str] = _NOTHING,
    ) -> Callable[[str, int], Changes]:
        def named(service: str, took_ms: int) -> Changes:
            return Changes(
                service=service,
                at=datetime.fromtimestamp(self.end, UTC),
                window_s=self.window_s,
                baseline_s=self.baseline_s,
                compared=compared,
                changes=ranked,
                changed=changed,
                reason=reason,
                hint=hint,
                environment=self.service.environment,
                source=self.place,
                duration_ms=took_ms,
                first=first,
                common=dict(common),
                left_out=tuple(sorted(self.left_out, key=lambda o: -o.series)),
                notes=tuple(w for w in self.warnings if w != reason),
            )

        return named


def _literal(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_:" else "\\" + c for c in name)


def _pieces(plan: _Plan) -> list[_Piece]:
    """Questions of about equal size, each of whole metrics; one for everything where that is small enough."""
    if plan.all_of_them and sum(plan.names.values()) * plan.points <= AT_A_TIME:
        return [_Piece(None, 0, plan.points)]
    found, names, size = list[_Piece](), list[str](), 0
    for name, count in plan.names.items():
        if names and size + count * plan.points > AT_A_TIME:
            found.append(_Piece(tuple(names), 0, plan.points))
            names, size = [], 0
        names.append(name)
        size += count * plan.points
    return [*found, _Piece(tuple(names), 0, plan.points)] if names else found


def _halves(piece: _Piece, names: Mapping[str, int]) -> tuple[_Piece, ...]:
    """A question that was too much, in two: of the metrics while there are several, then of the time."""
    asked = piece.names or tuple(names)
    if len(asked) > 1:
        middle = len(asked) // 2
        return (piece._replace(names=asked[:middle]), piece._replace(names=asked[middle:]))
    if piece.end - piece.begin < 2 * LEAST_POINTS:
        return ()
    half = (piece.begin + piece.end) // 2
    return (piece._replace(names=asked, end=half), piece._replace(names=asked, begin=half))
