"""Asks all backends at once and gives the readings. One dead backend is a reading with a reason."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from oncall.clients.scrape import Scrape
from oncall.diagnosis.metrics import (
    Look,
    Measured,
    Moment,
    from_pages,
    from_prometheus,
    live_gauges,
    of_metrics,
)
from oncall.diagnosis.readings import DatabaseTarget, Readings
from oncall.model import (
    Absence,
    Frozen,
    Service,
    SignalReading,
    SignalSpec,
    StepReading,
    Table,
    Unavailable,
    Unseen,
)
from oncall.runbook.model import Runbook, StepSpec

T = TypeVar("T")

# What a backend is called while it is waited for.
Progress = Callable[[str, str], None]

# A refusal that measures the server itself, not the way to it.
REFUSALS = frozenset({Absence.DOWN, Absence.NO_SLOTS, Absence.STARTING})
UNREACHED = frozenset({Absence.DOWN, Absence.TIMEOUT, Absence.UNRESOLVED, Absence.TLS})
PAST_S = 60.0
"""Asked about a moment longer ago than this, backends that know only the present are not asked."""


class Ask(Frozen, frozen=True):
    """How to ask: about when, over which window and baseline (seconds), how long in all, scrapes how far apart."""

    at: datetime | None = None
    window_s: float | None = None
    baseline_s: float | None = None
    timeout_s: float = 10.0
    interval_s: float = 2.0


def _quiet(_backend: str, _state: str) -> None:
    return None


def not_configured(what: str) -> Unavailable:
    return Unavailable(
        kind=Absence.NOT_CONFIGURED,
        reason="not configured",
        hint=f"set `{what}` of the service in the service file",
    )


class Round:
    """One diagnosis: what to ask, of whom, until when."""

    def __init__(self, runbook: Runbook, service: Service, ask: Ask, progress: Progress = _quiet) -> None:
        self.runbook = runbook
        self.service = service
        self.ask = ask
        self.progress = progress
        now = time.time()
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
        self.specs = {n: self._spec(n) for n in runbook.shown if n in {**runbook.signals, **service.signals}}

    def _spec(self, name: str) -> SignalSpec:
        """The runbook's signal; where the service file has its own form, that form with the runbook's words."""
        import msgspec

        base, own = self.runbook.signals[name], self.service.signals.get(name)
        if own is None:
            return base
        kept = {k: getattr(base, k) for k in ("title", "unit", "warning", "critical", "share_of")}
        given = {k: v for k in kept if (v := getattr(own, k)) is not None}
        return msgspec.structs.replace(own, **{**kept, **given})

    async def run(self) -> Readings:
        """Every answer, or why there is none, within the timeout."""
        # Postgres first: signing in takes it the most round trips, in which the library for HTTP can load.
        (database, steps, postgres_part), (measured, live, metric_part), other = await asyncio.gather(
            self._postgres(), self._metrics(), self._other_steps()
        )
        answers = {**steps, **other}
        signals = {**measured.signals, **self._derived(answers, postgres_part.refusal)}
        return Readings(
            at=measured.end,
            window_s=self.moment.window_s,
            baseline_s=self.moment.baseline_s,
            signals={n: signals[n] for n in self.specs},
            live=live,
            steps={n: answers[n] for n in self.runbook.spec.steps},
            database=database,
            postgres=postgres_part.refusal,
            failed=(*metric_part.failed, *postgres_part.failed),
            unseen=metric_part.unseen,
            notes=(*metric_part.notes, *postgres_part.notes, *self._skew_note(measured.skew_s)),
            skew_s=measured.skew_s,
        )

    async def _watched(self, backend: str, work: Awaitable[T]) -> T | Unavailable:
        """Waits for a backend until the whole run's time is up, and tells the progress line."""
        self.progress(backend, "waiting")
        try:
            async with asyncio.timeout(self.ask.timeout_s):
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
        specs = of_metrics(self.specs)
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
        asked = from_prometheus(self.service, specs, self.moment, self.deadline_s)
        return await self._watched("prometheus", asked)

    async def _first_page(self, look: Look) -> Scrape | Unavailable:
        if self.past or self.service.url is None:
            return self._present_only() if self.past else await look.once()
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
        import msgspec

        signals = dict(told.signals)
        for name in self.runbook.spec.symptoms:
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

    # --- postgres ------------------------------------------------------------------------------

    def _present_only(self) -> Unavailable:
        return Unavailable(
            kind=Absence.PRESENT_ONLY, reason="knows only the present, and --at asks about the past"
        )

    async def _postgres(self) -> tuple[DatabaseTarget | None, dict[str, StepReading], "Part"]:
        steps = {n: s for n, s in self.runbook.spec.steps.items() if s.postgres or s.sql}
        at = self.service.postgres
        if at is None or self.past or not steps:
            why = not_configured("postgres") if at is None else self._present_only()
            return None, _absent_steps(steps, why), Part(refusal=why)
        from oncall.clients.postgres import Question, ask, load_sql

        questions = [
            Question(id=n, sql=load_sql(s.postgres) if s.postgres else s.sql or "") for n, s in steps.items()
        ]
        variables = {"application_name": at.application_name or ""}
        deadline = min(self.deadline_s * 1.3, self.ask.timeout_s)
        answers = await self._watched("postgres", ask(at, questions, variables, deadline))
        facts = answers if isinstance(answers, Unavailable) else answers.facts
        if isinstance(answers, Unavailable) or isinstance(facts, Unavailable):
            assert isinstance(facts, Unavailable)
            self.progress("postgres", "failed")
            failed = (Unseen(what="postgres", reason=facts.reason, hint=facts.hint),)
            notes = () if isinstance(answers, Unavailable) else answers.notes
            return None, _absent_steps(steps, facts), Part(refusal=facts, failed=failed, notes=notes)
        target = DatabaseTarget(
            host=facts.host,
            port=facts.port,
            database=facts.database,
            role=facts.role,
            in_recovery=facts.in_recovery,
            pooler=facts.pooler,
            clock=facts.clock,
        )
        # Through the reserve DSN the answers are here, and yet the server refused the ordinary role.
        return target, answers.by_id, Part(notes=answers.notes, refusal=facts.refused)

    # --- the rest ------------------------------------------------------------------------------

    async def _other_steps(self) -> dict[str, StepReading]:
        steps = {n: s for n, s in self.runbook.spec.steps.items() if s.health or s.promql}
        answers = await asyncio.gather(*(self._other_step(s) for s in steps.values()))
        return dict(zip(steps, answers, strict=True))

    async def _other_step(self, step: StepSpec) -> StepReading:
        source = "http" if step.health else "prometheus"
        configured = self.service.url if step.health else self.service.prometheus
        if configured is None:
            missing = not_configured("url" if step.health else "prometheus")
            return StepReading(source=source, query=None, answer=missing)
        if step.health and self.past:
            return StepReading(source=source, query=None, answer=self._present_only())
        deadline = min(step.deadline or self.deadline_s, self.deadline_s)
        work = (
            self._health(step.health, deadline)
            if step.health
            else self._table(step.promql or "", step.unit, deadline)
        )
        answer = await self._watched(source, work)
        if isinstance(answer, Unavailable):
            return StepReading(source=source, query=step.health or step.promql, answer=answer)
        return answer

    async def _health(self, path: str, deadline_s: float) -> StepReading:
        from oncall.clients.http import health

        return await health(self.service, path, deadline_s)

    async def _table(self, promql: str, unit: str | None, deadline_s: float) -> StepReading:
        from oncall.diagnosis.metrics import table_from_prometheus

        return await table_from_prometheus(self.service, promql, unit, self.moment, deadline_s)

    def _derived(
        self, steps: Mapping[str, StepReading], refusal: Unavailable | None
    ) -> dict[str, SignalReading]:
        """Signals that are read from a step, or from whether a backend answers at all."""
        found: dict[str, SignalReading] = {}
        for name, spec in self.specs.items():
            if spec.up is not None:
                found[name] = SignalReading(id=name, source=spec.up, query=None, now=_answers(refusal))
            elif spec.step is not None:
                step, _, column = spec.step.partition(".")
                found[name] = _from_step(name, column, steps[step])
        return found


class Part(Frozen, frozen=True):
    """What one backend adds to the report besides its answers."""

    failed: tuple[Unseen, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: Unavailable | None = None


def _absent_steps(steps: Mapping[str, StepSpec], why: Unavailable) -> dict[str, StepReading]:
    return {n: StepReading(source="postgres", query=s.sql, answer=why) for n, s in steps.items()}


def _answers(refusal: Unavailable | None) -> float | Unavailable:
    """1 for a backend that answered, 0 for one that refuses; unknown where the way to it failed."""
    if refusal is None:
        return 1.0
    return 0.0 if refusal.kind in REFUSALS else refusal


def _from_step(name: str, column: str, step: StepReading) -> SignalReading:
    def reading(now: float | Unavailable) -> SignalReading:
        return SignalReading(id=name, source=step.source, query=step.query, now=now, age_s=0.0)

    if isinstance(step.answer, Unavailable):
        return reading(step.answer)
    value = _cell(step.answer, column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return reading(float(value))
    return reading(Unavailable(kind=Absence.NO_DATA, reason=f"no number in the column {column}"))


def _cell(table: Table, column: str) -> object:
    names = [c.name for c in table.columns]
    return table.rows[0][names.index(column)] if table.rows and column in names else None
