"""plan → guards → consent → audit intent → act → verify → audit result. It alone calls an action's apply."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from oncall.diagnosis.engine import Ask
from oncall.diagnosis.run import judged, look, planned
from oncall.errors import AuditError
from oncall.model_acts import (
    ActionPlan,
    AuditEntry,
    Outcome,
    Remediation,
    TargetResult,
    Verification,
)
from oncall.model_service import Service
from oncall.remediation import announce, audit, evidence, guards, lock, measuring, verify
from oncall.remediation.action import Scene, Work
from oncall.remediation.planning import action_plan, shared_guards
from oncall.remediation.wanted import Before, Reporter, Wanted
from oncall.runbook.loader import runbooks_of

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened
    from oncall.runbook.loader import Library


async def remediate(
    name: str, service: Service, wanted: Wanted, report: Reporter
) -> ActionPlan | Remediation:
    """The plan; or with `confirm` what became of it. Raises UsageFault, ConfigError, RunbookError, AuditError."""
    guards.check_overrides(wanted.overrides, wanted.reason, wanted.action.name)
    books = runbooks_of(service, wanted.runbooks)
    issues = _issues(books, wanted)
    begun = time.monotonic()
    async with AsyncExitStack() as stack:
        held = stack.enter_context(
            lock.operator_lock(name, wanted.action.name) if wanted.confirm else nullcontext(lock.look(name))
        )
        link = await stack.enter_async_context(AsyncExitStack())
        session = await link.enter_async_context(_session(service, wanted.timeout_s))
        scene = Scene(name, service, session, wanted.timeout_s, wanted.address, wanted.about)
        # One connection: the look of the action waits for its turn, everything else is asked at once.
        before_task = asyncio.create_task(_before(name, service, books, issues, wanted, session, report))
        try:
            work = await stack.enter_async_context(wanted.action.work(scene))
            before = await before_task
        finally:
            before_task.cancel()
            await asyncio.wait([before_task])
        shared = await shared_guards(name, service, wanted, before, session, held)
        plan = action_plan(name, service, wanted, before, work, shared)
        if not wanted.confirm:
            return plan
        run = _Run(name, service, wanted, report, before, work, plan, session, begun)
        if work.found.drops_session and not plan.barred:
            await link.aclose()
            run.session = None
        return await run.go()


def _issues(books: "Library", wanted: Wanted) -> tuple[str, ...]:
    """Whose symptoms count: those that were named, else those that the action is meant for, else all."""
    if wanted.alert is not None:
        return (books.for_alert(wanted.alert),)
    if wanted.issue is not None:
        return (wanted.issue,)
    return tuple(i for i in wanted.action.issues if i in books.issues()) or books.issues()


@asynccontextmanager
async def _session(service: Service, deadline_s: float) -> "AsyncIterator[Opened | None]":
    if service.postgres is None:
        yield None
        return
    from oncall.clients.postgres import opened

    async with opened(service.postgres, min(5.0, 0.6 * deadline_s)) as session:
        yield session


async def _before(
    name: str,
    service: Service,
    books: "Library",
    issues: tuple[str, ...],
    wanted: Wanted,
    session: "Opened | None",
    report: Reporter,
) -> Before:
    asking = planned(service, books, issues)
    ask = Ask(timeout_s=wanted.timeout_s)
    gathered, took = await look(asking, service, ask, report.waiting, session)
    return Before(issues, asking, gathered, took, judged(name, service, asking, gathered, took))


# --- the act -------------------------------------------------------------------------------------


@dataclass
class _Run:
    """One confirmed plan on its way: evidence, intent, act, proof, result."""

    name: str
    service: Service
    wanted: Wanted
    report: Reporter
    before: Before
    work: Work
    plan: ActionPlan
    session: "Opened | None"
    begun: float
    notes: list[str] = field(default_factory=list)
    results: list[TargetResult] = field(default_factory=list)

    async def go(self) -> Remediation:
        if self.plan.barred:
            return self._refused()
        self._close_open()
        await self.report.about_to(self.plan)
        saved = evidence.keep(self.name, self.service, self.before, self.plan.id)
        intent = audit.append(self._entry("intent", plan=self.plan, evidence=str(saved)))
        telling = asyncio.create_task(self._announce(self.plan))
        outcome, verification = await self._act_and_verify()
        done = Remediation(
            plan=self.plan,
            outcome=outcome,
            text=summary(outcome, self.results),
            duration_ms=round((time.monotonic() - self.begun) * 1000),
            results=tuple(self.results),
            verification=verification,
            evidence=str(saved),
            audit=intent.number,
            next=self.work.offers(self.results),
        )
        try:
            audit.append(self._outcome(done, intent.number))
        except AuditError as failed:
            # It has been done: what became of it is said all the same, and never as a refusal.
            self.notes += [str(failed), *filter(None, [failed.hint])]
        await telling
        await self._announce(done)
        return msgspec.structs.replace(done, notes=tuple(dict.fromkeys(self.notes)))

    def _close_open(self) -> None:
        """Actions on this service that were killed in the middle: nobody else is at it now, so they have ended."""
        for left in audit.open_intents():
            if left.service == self.name:
                said = "killed before its end was written; what it did is not known"
                theirs = {"argv": left.argv, "issue": left.issue, "overrides": left.overrides}
                ended = {"intent": left.number, "outcome": "interrupted", "text": said}
                audit.append(
                    self._entry("outcome", action=left.action, reason=left.reason, **theirs, **ended)
                )
                self.notes.append(f"{left.action} of {left.at:%Y-%m-%d %H:%M:%S} UTC: {said}")

    def _refused(self) -> Remediation:
        bars = self.plan.barred
        text = f"refused by {', '.join(g.name for g in bars)}: nothing was changed"
        audit.try_append(self._entry("refused", plan=self.plan, text=text))
        took = round((time.monotonic() - self.begun) * 1000)
        return Remediation(plan=self.plan, outcome="refused", text=text, duration_ms=took)

    async def _announce(self, told: ActionPlan | Remediation) -> None:
        """A dead webhook is said and holds nothing back."""
        if said := await announce.announce(self.service, told, audit.who()):
            self.notes.append(said)

    async def _act_and_verify(self) -> tuple[Outcome, Verification | None]:
        try:
            async for result in self.work.apply(self.report.tell):
                self.results.append(result)
            outcome = outcome_of(self.results)
            if outcome == "refused":
                return outcome, None
            return outcome, await self._verify()
        except asyncio.CancelledError:
            # Ctrl-C: what has happened is written down; the rest does not happen.
            asyncio.current_task().uncancel()  # type: ignore[union-attr]  # we run in one
            so_far = getattr(self.work, "so_far", None)
            self.results[:] = so_far() if so_far else self.results
            return "interrupted", None

    async def _verify(self) -> Verification:
        until = asyncio.get_running_loop().time() + self.wanted.wait_s
        checking = asyncio.create_task(self.work.checks(self.results, until, self.report.tell))
        found = self.work.found
        symptoms = {} if found.later else measuring.symptoms_of(self.before.found)
        instances = self.before.instances
        measure = measuring.measure(
            self.name, self.service, self.before.asking, self.session, instances=instances, before=symptoms
        )
        wait_s, watch = self.wanted.wait_s, self.report.measured
        try:
            return await verify.verify(measure, symptoms, checking, wait_s, watch, found.unproven)
        finally:
            checking.cancel()

    def _entry(self, kind: str, **more: object) -> AuditEntry:
        ours: dict[str, object] = {
            "service": self.name,
            "environment": self.service.environment,
            "action": self.plan.action,
            "argv": self.wanted.argv,
            "issue": self.wanted.issue or self.wanted.alert,
            "overrides": self.wanted.overrides,
            "reason": self.wanted.reason,
        }
        return audit.entry(kind, self.service, **{**ours, **more})

    def _outcome(self, done: Remediation, intent: int) -> AuditEntry:
        return self._entry(
            "outcome",
            intent=intent,
            outcome=done.outcome,
            text=done.text,
            results=done.results,
            verification=done.verification,
            evidence=done.evidence,
        )


def outcome_of(results: Sequence[TargetResult]) -> Outcome:
    """What the results add up to. What had ended by itself, or made way for another, needs no act; where that is all,
    nothing was changed."""
    states = [r.state for r in results if r.state not in ("gone", "changed")]
    if not states:
        return "refused"
    if "unknown" in states:
        return "unknown"
    if all(s == "done" for s in states):
        return "done"
    if "done" in states:
        return "partly"
    return "failed" if "failed" in states else "unchanged"


def summary(outcome: Outcome, results: Sequence[TargetResult]) -> str:
    """One sentence of what was done to how many."""
    done = sum(r.state == "done" for r in results)
    if len(results) == 1:
        return results[0].text
    if outcome == "refused":
        return "what was planned is gone or has changed: nothing was touched"
    said = {"done": "", "interrupted": "interrupted; "}.get(outcome, f"{outcome}; ")
    return f"{said}{done} of {len(results)} done" if results else "interrupted before anything was done"
