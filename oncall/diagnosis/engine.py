"""Asks all backends at once and gives the readings. One dead backend is a reading with a reason."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from oncall.clients.scrape import Scrape
from oncall.diagnosis.asks import BACKENDS, NO_LOOK_BACK, Asked, Part, absent, not_configured
from oncall.diagnosis.metrics import (
    Look,
    Measured,
    Moment,
    from_pages,
    from_prometheus,
    live_gauges,
)
from oncall.diagnosis.plan import Plan, Question
from oncall.diagnosis.readings import Gathered
from oncall.errors import REPORT, bug_text
from oncall.model import Absence, Frozen, SignalReading, Unavailable, Unseen
from oncall.model_service import Service, SignalSpec

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened

T = TypeVar("T")

# What a backend is called while it is waited for.
Progress = Callable[[str, str], None]

UNREACHED = frozenset({Absence.DOWN, Absence.TIMEOUT, Absence.UNRESOLVED, Absence.TLS})
_LAST_S = 0.5
"""What stands in for a backend that used up the time has so long at least."""
PAST_S = 60.0
"""Asked about a moment longer ago than this, backends that know only the present are not asked."""


def _broken(name: str, questions: Sequence[Question], bug: Exception) -> Part:
    why = Unavailable(kind=Absence.BAD_ANSWER, reason=bug_text(bug, frames=2), hint=REPORT)
    gap = Unseen(what=name, reason=why.reason, hint=why.hint)
    return msgspec.structs.replace(absent(name, questions, why), failed=(gap,))


class Ask(Frozen, frozen=True):
    """How to ask: about when, over which window and baseline (seconds), how long in all, scrapes how far apart."""

    at: datetime | None = None
    window_s: float | None = None
    baseline_s: float | None = None
    timeout_s: float = 10.0
    interval_s: float = 2.0


def _quiet(_backend: str, _state: str) -> None:
    return None


class Round:
    """One look at a service for some runbooks: what to ask, of whom, until when."""

    def __init__(
        self,
        plan: Plan,
        service: Service,
        ask: Ask,
        progress: Progress = _quiet,
        session: "Opened | None" = None,
    ) -> None:
        self.plan = plan
        self.session = session
        self.service = service
        self.ask = ask
        self.progress = progress
        now = time.time()
        self.ends = time.monotonic() + ask.timeout_s
        at = ask.at.timestamp() if ask.at else None
        self.past = at is not None and at < now - PAST_S
        self.moment = Moment(
            at=at,
            now=now,
            window_s=ask.window_s or service.windows.rate,
            baseline_s=ask.baseline_s or service.windows.baseline,
            exact=ask.window_s is not None,
        )
        # A backend that hangs must leave time for what stands in for it.
        self.deadline_s = min(5.0, 0.6 * ask.timeout_s)
        self.interval_s = min(ask.interval_s, 0.3 * ask.timeout_s)

    async def run(self) -> Gathered:
        """Every answer, or why there is none, within the timeout. Without signals, no metrics are asked for."""
        asked = self._by_backend()
        backends = asyncio.gather(*(self._backend(name, questions) for name, questions in asked.items()))
        parts, (measured, live, metric_part) = await asyncio.gather(backends, self._metrics())
        by_name: dict[str, Part] = dict(zip(asked, parts, strict=True))
        every = (metric_part, *by_name.values())
        notes = {name: part.notes for name, part in by_name.items()}
        notes["prometheus"] = (
            *metric_part.notes,
            *measured.notes,
            *self._skew_note(measured.skew_s),
            *notes.get("prometheus", ()),
        )
        return Gathered(
            at=measured.end,
            window_s=self.moment.window_s,
            baseline_s=self.moment.baseline_s,
            signals=measured.signals,
            live=live,
            answers={k: a for part in every for k, a in part.answers.items()},
            asked=tuple(asked),
            refusals={n: p.refusal for n, p in by_name.items() if p.refusal},
            database=next((p.database for p in by_name.values() if p.database), None),
            failed=tuple(u for part in every for u in part.failed),
            unseen=tuple(u for part in every for u in part.unseen),
            notes=notes,
            skew_s=measured.skew_s,
        )

    def _by_backend(self) -> dict[str, list[Question]]:
        """The backends that anything here needs, those that take longest first, with their questions."""
        used = self.plan.backends
        return {
            name: [q for q in self.plan.questions.values() if q.backend == name]
            for name in BACKENDS
            if name in used
        }

    async def _backend(self, name: str, questions: Sequence[Question]) -> Part:
        asked = Asked(
            service=self.service,
            moment=self.moment,
            patterns=self.plan.patterns,
            deadline_s=self.deadline_s,
            timeout_s=self.ask.timeout_s,
            past=self.past,
            session=self.session,
        )
        try:
            part = await self._watched(name, BACKENDS[name](asked, questions))
        except Exception as bug:
            # One client's bug must not take the rest of the answer away at night; it is said, and healthy it is not.
            return _broken(name, questions, bug)
        if isinstance(part, Unavailable):
            return absent(name, questions, part)
        if part.refusal:
            self.progress(name, "failed")
        return part

    async def _watched(self, backend: str, work: Awaitable[T]) -> T | Unavailable:
        """Waits for a backend until the whole run's time is up, and tells the progress line."""
        self.progress(backend, "waiting")
        try:
            async with asyncio.timeout(max(self.ends - time.monotonic(), _LAST_S)):
                answer = await work
        except TimeoutError:
            reason = f"no answer within {self.ask.timeout_s:g} s"
            answer_late: T | Unavailable = Unavailable(kind=Absence.TIMEOUT, reason=reason)
            self.progress(backend, "failed")
            return answer_late
        self.progress(backend, "failed" if isinstance(answer, Unavailable) else "ok")
        return answer

    def _skew_note(self, skew_s: float) -> tuple[str, ...]:
        if not skew_s:
            return ()
        way = "ahead of" if skew_s > 0 else "behind"
        return (
            f"the clock of prometheus is {abs(skew_s):.0f} s {way} this machine's; its own clock is used",
        )

    # --- metrics -------------------------------------------------------------------------------

    async def _metrics(self) -> tuple[Measured, Mapping[str, float], "Part"]:
        specs = self.plan.signals
        if not specs:
            return Measured(signals={}, end=self.moment.end), {}, Part()
        look = Look(self.service, specs, self.deadline_s)
        try:
            first_page = asyncio.ensure_future(self._first_page(look))
            told = await self._prometheus(specs)
            first = await first_page
            if isinstance(told, Measured):
                live = self._live(told, first, specs)
                return self._brought_up(told, live), live, self._part_with_prometheus(first)
            second = await self._second_page(look, first)
            return self._from_pages(told, first, second, specs)
        finally:
            await look.close()

    async def _prometheus(self, specs: Mapping[str, SignalSpec]) -> Measured | Unavailable:
        if self.service.prometheus is None:
            return not_configured("prometheus")
        asked = from_prometheus(self.service, specs, self.moment, self.deadline_s, self.plan.symptoms)
        return await self._watched("prometheus", asked)

    async def _first_page(self, look: Look) -> Scrape | Unavailable:
        if self.past or self.service.url is None:
            return NO_LOOK_BACK if self.past else await look.once()
        return await self._watched("scrape", look.once())

    async def _second_page(self, look: Look, first: Scrape | Unavailable) -> Scrape | Unavailable:
        if isinstance(first, Unavailable):
            return first
        await asyncio.sleep(max(0.0, first.monotonic + self.interval_s - time.monotonic()))
        return await self._watched("scrape", look.once())

    def _live(
        self, told: Measured, page: Scrape | Unavailable, specs: Mapping[str, SignalSpec]
    ) -> Mapping[str, float]:
        """Gauges of this moment, where the page is the whole service and not one instance of several."""
        alone = all((r.instances or 1) == 1 for r in told.signals.values())
        return live_gauges(page, specs) if alone else {}

    def _brought_up(self, told: Measured, live: Mapping[str, float]) -> Measured:
        """A symptom that both the newest sample and the service itself put higher is that high already.

        The median of some scrapes would call a pool healthy that has been full for two of them."""
        signals = dict(told.signals)
        for name in self.plan.symptoms:
            reading = signals.get(name)
            if reading and name in live and reading.values and not isinstance(reading.now, Unavailable):
                now = max(reading.now, min(live[name], reading.values[-1]))
                signals[name] = msgspec.structs.replace(reading, now=now)
        return msgspec.structs.replace(told, signals=signals)

    def _part_with_prometheus(self, page: Scrape | Unavailable) -> "Part":
        if not isinstance(page, Unavailable) or self.service.url is None or self.past:
            return Part()
        gap = (Unseen(what="scrape", reason=page.reason, hint=page.hint),)
        # Some services keep /metrics for Prometheus alone; one that does not answer at all is not well.
        return Part(failed=gap) if page.kind in UNREACHED else Part(unseen=gap)

    def _from_pages(
        self,
        told: Unavailable,
        first: Scrape | Unavailable,
        second: Scrape | Unavailable,
        specs: Mapping[str, SignalSpec],
    ) -> tuple[Measured, Mapping[str, float], "Part"]:
        configured = self.service.prometheus is not None
        failed = (Unseen(what="prometheus", reason=told.reason, hint=told.hint),) if configured else ()
        if isinstance(second, Unavailable):
            why, source = (
                (told, "prometheus") if configured or self.service.url is None else (second, "scrape")
            )
            signals = {n: SignalReading(id=n, source=source, query=None, now=why) for n in specs}
            if self.service.url is not None and not self.past:
                failed = (*failed, Unseen(what="scrape", reason=second.reason, hint=second.hint))
            return Measured(signals=signals, end=self.moment.end), {}, Part(failed=failed)
        cause = "could not be read" if configured else "is not configured"
        note = (
            f"prometheus {cause}: the signals are from two looks at /metrics, {self.interval_s:g} s apart; "
            "without history, no change can be told"
        )
        measured = Measured(signals=from_pages(first, second, specs), end=self.moment.end)
        return measured, live_gauges(second, specs), Part(failed=failed, notes=(note,))
