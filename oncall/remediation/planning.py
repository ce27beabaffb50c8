"""The plan of an act with every guard's verdict, and the command line that does exactly this plan."""

import hashlib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from oncall.diagnosis.report import was_bad_lately
from oncall.model import Severity, Unavailable
from oncall.model_acts import ActionPlan, GuardReport, GuardState
from oncall.model_service import Service
from oncall.remediation import audit, guards, lock, times
from oncall.remediation.action import Work
from oncall.remediation.actions import pool_budget
from oncall.remediation.wanted import TIMEOUT_S, WAIT_S, Before, Wanted
from oncall.units import write_duration

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened

_STATES = (
    GuardState.REFUSED,
    GuardState.UNKNOWN,
    GuardState.OVERRIDDEN,
    GuardState.PASSED,
    GuardState.NOT_APPLICABLE,
)


async def shared_guards(
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
        why_act(before, wanted.address),
        await _operators(name, wanted, session, held),
    ]
    if wanted.action.name in guards.BY_NAME["cooldown"].actions:
        reports.append(times.cooled(now, audit.read(), name, wanted.action.name, service.cooldown))
    return tuple(reports)


def _pools(service: Service, before: Before, work: Work) -> tuple[GuardReport, ...]:
    """Prometheus sees more instances than the service file says: each will have a pool of the new size."""
    seen, said = before.pools, service.pool.instances if service.pool else 1
    if not work.found.grows or seen <= said:
        return ()
    text = f"Prometheus sees {seen} instances with a pool, pool.instances says {said}"
    return (pool_budget.more_instances(text),)


def why_act(before: Before, address: Sequence[str]) -> GuardReport:
    """Nothing is wrong: why act? What could not be read is no reason to hold back."""
    issues = ", ".join(d.issue for d in before.found)
    if before.severity is Severity.OK:
        look_first = shlex.join(["oncall", "diagnose", *address])
        hint = f"look first: {look_first}; or --override already-healthy --reason TEXT"
        lately = [d.summary.cause for d in before.found if was_bad_lately(d)]
        said = f"{'; '.join(lately)}. Why act now?" if lately else f"nothing is wrong with {issues}: why act?"
        return guards.refused("already-healthy", said, hint)
    if before.severity is Severity.UNKNOWN:
        return guards.passed("already-healthy", f"whether something is wrong with {issues} could not be told")
    bad = [d.issue for d in before.found if d.severity in (Severity.WARNING, Severity.CRITICAL)]
    return guards.passed("already-healthy", f"{', '.join(bad)}: {before.severity.value}")


async def _operators(
    name: str, wanted: Wanted, session: "Opened | None", held: "lock.Taken | None"
) -> GuardReport:
    """Nobody else acts on this service: this user on this machine, and anybody from where its Postgres is reached."""
    if held is not None:
        return lock.report(held)
    if session is None or isinstance(session.facts, Unavailable):
        return guards.passed(
            "concurrent-operator",
            "no other oncall of this user on this machine; no Postgres to ask for others",
        )
    if not wanted.confirm:
        return guards.passed("concurrent-operator", "no other oncall of this user on this machine")
    from oncall.clients.pg_lock import advisory_lock

    taken = await advisory_lock(session, name)
    if taken.holder:
        return guards.refused("concurrent-operator", taken.holder, "wait for them, or talk to them")
    return guards.passed(
        "concurrent-operator", taken.reason or "no other oncall here, nor by way of Postgres"
    )


def action_plan(
    name: str, service: Service, wanted: Wanted, before: Before, work: Work, shared: tuple[GuardReport, ...]
) -> ActionPlan:
    found = work.found
    plan_id = identify(wanted.action.name, name, service.environment, found.targets)
    mine = (*found.guards, *_pools(service, before, work))
    reports = _merged((*mine, *shared, *_asked_for(wanted, plan_id)))
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
    words += wanted.about
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
