"""plan → guards → consent → audit intent → act → verify → audit result. It alone calls an action's apply."""

import asyncio
import hashlib
import shlex
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from oncall.diagnosis.engine import Ask
from oncall.diagnosis.plan import Plan as Asking
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.run import judged, look, planned, runbooks_of
from oncall.errors import AuditError
from oncall.model import Diagnosis, Service, Severity, Unavailable
from oncall.model_acts import (
    ActionPlan,
    AuditEntry,
    GuardReport,
    GuardState,
    Outcome,
    Remediation,
    SymptomChange,
    TargetResult,
    Verification,
)
from oncall.remediation import announce, audit, evidence, guards, lock, times, verify
from oncall.remediation.action import Action, Scene, Work
from oncall.units import write_duration

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened
    from oncall.runbook.loader import Library

WAIT_S, TIMEOUT_S = 120.0, 10.0
_WORST = (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN, Severity.OK)
_STATES = (
    GuardState.REFUSED,
    GuardState.UNKNOWN,
    GuardState.OVERRIDDEN,
    GuardState.PASSED,
    GuardState.NOT_APPLICABLE,
)


@dataclass(frozen=True)
class Wanted:
    """What was asked for. `address` is what names the same service on a command line; `argv` goes into the audit."""

    action: Action
    confirm: bool = False
    issue: str | None = None
    alert: str | None = None
    plan: str | None = None
    wait_s: float = WAIT_S
    overrides: tuple[str, ...] = ()
    reason: str | None = None
    runbooks: Path | None = None
    timeout_s: float = TIMEOUT_S
    address: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


class Reporter(Protocol):
    """What a person sees meanwhile."""

    def waiting(self, backend: str, state: str) -> None: ...
    async def about_to(self, plan: ActionPlan) -> None: ...
    def tell(self, line: str) -> None: ...
    def measured(self, symptoms: tuple[SymptomChange, ...], elapsed_s: float) -> None: ...


@dataclass
class Before:
    """The look before the act: what was read, and what it means."""

    issues: tuple[str, ...]
    asking: Asking
    gathered: Gathered
    took_ms: int
    found: list[Diagnosis] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        return min((d.severity for d in self.found), key=_WORST.index, default=Severity.UNKNOWN)

    @property
    def instances(self) -> int:
        return max((r.instances or 1 for r in self.gathered.signals.values()), default=1)


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
        scene = Scene(name, service, session, wanted.timeout_s, wanted.address, _about(wanted))
        # One connection: the look of the action waits for its turn, everything else is asked at once.
        before_task = asyncio.create_task(_before(name, service, books, issues, wanted, session, report))
        try:
            work = await stack.enter_async_context(wanted.action.work(scene))
            before = await before_task
        finally:
            before_task.cancel()
            await asyncio.wait([before_task])
        shared = await _shared(name, service, wanted, before, session, held)
        plan = _plan(name, service, wanted, before, work, shared)
        if not wanted.confirm:
            return plan
        run = _Run(name, service, wanted, report, before, work, plan, session, begun)
        if work.found.drops_session and not plan.barred:
            await link.aclose()
            run.session = None
        return await run.go()


def _about(wanted: Wanted) -> tuple[str, ...]:
    """Whose symptoms, in the words of the command line."""
    if wanted.alert:
        return ("--alert", wanted.alert)
    return ("--issue", wanted.issue) if wanted.issue else ()


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


# --- the plan ------------------------------------------------------------------------------------


async def _shared(
    name: str,
    service: Service,
    wanted: Wanted,
    before: Before,
    session: "Opened | None",
    held: "lock.Taken | None",
) -> tuple[GuardReport, ...]:
    """The guards that every action has."""
    now = datetime.now(UTC)
    reports = [
        times.frozen(now, service.freeze),
        audit.writable(),
        _healthy(before, wanted.address),
        await _operators(name, wanted, session, held),
    ]
    if wanted.action.name in guards.BY_NAME["cooldown"].actions:
        reports.append(times.cooled(now, audit.read(), name, wanted.action.name, service.cooldown))
    return tuple(reports)


def _healthy(before: Before, address: Sequence[str]) -> GuardReport:
    """Nothing is wrong: why act? What could not be read is no reason to hold back."""
    issues = ", ".join(d.issue for d in before.found)
    if before.severity is Severity.OK:
        look_first = shlex.join(["oncall", "diagnose", *address])
        hint = f"look first: {look_first}; or --override already-healthy --reason TEXT"
        return guards.refused("already-healthy", f"nothing is wrong with {issues}: why act?", hint)
    if before.severity is Severity.UNKNOWN:
        return guards.passed("already-healthy", f"whether something is wrong with {issues} could not be told")
    bad = [d.issue for d in before.found if d.severity in (Severity.WARNING, Severity.CRITICAL)]
    return guards.passed("already-healthy", f"{', '.join(bad)}: {before.severity.value}")


async def _operators(
    name: str, wanted: Wanted, session: "Opened | None", held: "lock.Taken | None"
) -> GuardReport:
    """Nobody else acts on this service: on this machine, and wherever its Postgres is reached from."""
    if held is not None:
        return lock.report(held)
    if session is None or isinstance(session.facts, Unavailable):
        return guards.passed(
            "concurrent-operator", "nobody else on this machine; no Postgres to ask for others"
        )
    if not wanted.confirm:
        return guards.passed("concurrent-operator", "nobody else on this machine")
    from oncall.clients.pg_lock import advisory_lock

    taken = await advisory_lock(session, name)
    if taken.holder:
        return guards.refused("concurrent-operator", taken.holder, "wait for them, or talk to them")
    return guards.passed("concurrent-operator", taken.reason or "nobody else here, nor by way of Postgres")


def _plan(
    name: str, service: Service, wanted: Wanted, before: Before, work: Work, shared: tuple[GuardReport, ...]
) -> ActionPlan:
    found = work.found
    plan_id = identify(wanted.action.name, name, service.environment, found.targets)
    reports = _merged((*found.guards, *shared, *_asked_for(wanted, plan_id)))
    return ActionPlan(
        id=plan_id,
        action=wanted.action.name,
        service=name,
        environment=service.environment,
        at=datetime.now(UTC),
        title=found.title,
        place=found.place,
        targets=found.targets,
        guards=guards.overridden(reports, wanted.overrides),
        command=command(wanted, found.words if found.words is not None else wanted.action.words, plan_id),
        table=found.table,
        does=found.does,
        losses=found.losses,
        undo=found.undo,
        issues=before.issues,
        severity=before.severity,
        notes=found.notes,
    )


def identify(action: str, service: str, environment: str, targets: Sequence[object]) -> str:
    """Ten letters over what is touched and who that is: another target, or another state of it, is another plan."""
    data = msgspec.json.encode([action, service, environment, targets], order="sorted")
    return hashlib.sha256(data).hexdigest()[:10]


def _asked_for(wanted: Wanted, plan_id: str) -> tuple[GuardReport, ...]:
    if wanted.plan is None or wanted.plan == plan_id:
        return ()
    said = f"plan {wanted.plan} is no longer what would be done: what it would touch has changed"
    return (guards.refused("identity", said, f"look at the plan as it is now: {plan_id}"),)


def _merged(reports: Sequence[GuardReport]) -> tuple[GuardReport, ...]:
    """Each guard once, with its worst verdict, in the order of the list that explains them."""
    worst: dict[str, GuardReport] = {}
    for one in reports:
        known = worst.get(one.name)
        if known is None or _STATES.index(one.state) < _STATES.index(known.state):
            worst[one.name] = one
    return tuple(worst[info.name] for info in guards.GUARDS if info.name in worst)


def command(wanted: Wanted, options: Sequence[str], plan_id: str) -> str:
    """The complete command line that does exactly this plan."""
    words = ["oncall", "remediate", wanted.action.name, *wanted.address, *options]
    words += _about(wanted)
    for name in wanted.overrides:
        words += ["--override", name]
    words += ["--reason", wanted.reason] if wanted.reason else []
    # A guard may hold only because there was time enough to look.
    for option, seconds, usual in (
        ("--wait", wanted.wait_s, WAIT_S),
        ("--timeout", wanted.timeout_s, TIMEOUT_S),
    ):
        words += [option, write_duration(seconds)] if seconds != usual else []
    return shlex.join([*words, "--plan", plan_id, "--confirm"])


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
                audit.append(
                    self._entry(
                        "outcome", action=left.action, intent=left.number, outcome="interrupted", text=said
                    )
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
        symptoms = verify.symptoms_of(self.before.found)
        if self.work.found.later:
            symptoms = {}
        measuring = verify.measure(
            self.name, self.service, self.before.asking, self.session, instances=self.before.instances
        )
        try:
            return await verify.verify(
                measuring, symptoms, checking, self.wanted.wait_s, self.report.measured
            )
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
    """What the results add up to. What had ended by itself needs no act; where that is all, nothing was changed."""
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
