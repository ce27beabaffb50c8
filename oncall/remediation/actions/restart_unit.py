"""The restart of a systemd unit: looked at, guarded, queued once, followed to its end, watched for a while."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from oncall.clients import unit_acting
from oncall.clients.systemd import HERE, SSH_FAILED, Ran
from oncall.clients.unit import full_name
from oncall.clients.unit_acting import Unit
from oncall.errors import ConfigError
from oncall.model import Absence, Next, Scalar, Unavailable
from oncall.model_acts import Check, GuardReport, Target, TargetResult
from oncall.numbers import duration, humane
from oncall.remediation.action import Found, Scene, Tell
from oncall.remediation.actions import restart_guards as judge
from oncall.remediation.actions.restart_proofs import Proof, left

WATCH_S = 5.0
CAP_S = 180.0
"""The longest wait for a job; a longer timeout of the unit ends in `unknown`."""
_SLACK_S = 5.0


@dataclass(frozen=True)
class Aim:
    """What both actions say of their target: what is lost by it, and what proves that it took hold.

    `identity` adds to that of the unit or command; `unproven` is what of it no proof can tell."""

    what: str
    losses: tuple[str, ...]
    proofs: tuple[Proof, ...]
    identity: Mapping[str, Scalar] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unproven: str | None = None


async def unit_work(name: str, scene: Scene, aim: Aim) -> "UnitWork | Unreached":
    """Looks at the unit. Raises ConfigError for a name that is none, and a unit that could not be started."""
    service, deadline = scene.service, scene.deadline_s
    unit = await unit_acting.look(name, service.ssh, deadline)
    if isinstance(unit, Unavailable):
        if unit.kind is Absence.CONFIG:
            raise ConfigError(unit.reason, hint=unit.hint)
        return Unreached(_not_found(name, service.ssh, unit, aim))
    may, along, counted = await asyncio.gather(
        unit_acting.may_restart(unit, service.ssh, deadline),
        unit_acting.dependents(unit, service.ssh, deadline),
        _counted(unit, service.ssh, deadline),
    )
    guards = (
        *judge.own(unit),
        judge.rights(unit, may),
        judge.start_limit(unit, counted),
        judge.cooldown(unit, service.cooldown),
        judge.dependents(unit, along),
    )
    return UnitWork(
        _found(unit, service.ssh, aim, guards, along), unit, service.ssh, deadline, aim, scene.address
    )


async def _counted(unit: Unit, ssh: str | None, deadline_s: float) -> int | Unavailable | None:
    """Only where the unit's own times do not already say that no start counts."""
    if not unit.burst or unit.limit_s == 0 or judge.quiet(unit):
        return None
    return await unit_acting.starts(unit, ssh, deadline_s)


# --- the plan ------------------------------------------------------------------------------------


def _found(
    unit: Unit,
    ssh: str | None,
    aim: Aim,
    guards: tuple[GuardReport, ...],
    along: tuple[str, ...] | Unavailable,
) -> Found:
    place = f"on {unit.place}" + (f" ({unit.node})" if ssh else "")
    others = () if isinstance(along, Unavailable) else along
    lost = (f"what {', '.join(others)} do: they restart or stop along with it",) if others else ()
    return Found(
        title=f"restarts {aim.what}: {unit.name} {place}",
        place=(("unit", f"{unit.name} {place}"), ("state", _state(unit))),
        targets=(Target(id=unit.name, identity=_identity(unit, ssh) | dict(aim.identity)),),
        guards=guards,
        does=(shown(unit_acting.restart_words(unit.name), ssh),),
        losses=(*aim.losses, *lost),
        notes=(*aim.notes, *_notes(unit)),
    )


def _not_found(name: str, ssh: str | None, why: Unavailable, aim: Aim) -> Found:
    unit, place = full_name(name) or name, ssh or HERE
    return Found(
        title=f"restarts {aim.what}: {unit} on {place}",
        place=(("unit", f"{unit} on {place}"), ("state", "not known")),
        targets=(Target(id=unit, identity={"unit": unit, "host": place}),),
        guards=judge.unreachable(why),
        does=(shown(unit_acting.restart_words(unit), ssh),),
        losses=aim.losses,
    )


def _identity(unit: Unit, ssh: str | None) -> dict[str, Scalar]:
    # A unit that was started again since the plan is another one: somebody else acted, or it crashed
    return {"unit": unit.name, "host": ssh or HERE, "node": unit.node, "invocation": unit.invocation}


def _state(unit: Unit) -> str:
    restarts = f"{unit.restarts} restart{'' if unit.restarts == 1 else 's'} by systemd"
    if unit.active in ("active", "reloading"):
        since = (
            "" if unit.entered is None else f" since {humane(unit.entered, 'timestamp')} ({_ago(unit)} ago)"
        )
        return f"{unit.active}{since}, {restarts}"
    how = f" ({unit.sub}, {unit.result})" if unit.crashed else f" ({unit.sub})"
    return f"{unit.active}{how}, {restarts}"


def _ago(unit: Unit) -> str:
    return duration(round(max(0.0, unit.now - (unit.entered or unit.now))))


def _notes(unit: Unit) -> tuple[str, ...]:
    said = []
    if not unit.runs:
        said.append(f"{unit.name} does not run ({unit.active}): the restart starts it")
    if unit.sub == "auto-restart":
        said.append(f"it keeps crashing ({unit.result}): another restart hardly helps, see its journal")
    if unit.type == "oneshot":
        said.append(f"{unit.name} is a oneshot: it does its work and ends, nothing stays to be watched")
    if unit.file_changed:
        said.append("its unit file has changed since it was loaded: systemctl daemon-reload comes first")
    if unit.job:
        said.append(f"a job of systemd is under way for it: number {unit.job}")
    return tuple(said)


def shown(words: Sequence[str], ssh: str | None) -> str:
    """The command line as it is run, ready to paste."""
    line = shlex.join(words)
    return shlex.join(["ssh", "-o", "BatchMode=yes", "--", ssh, line]) if ssh else line


# --- the act -------------------------------------------------------------------------------------


@dataclass
class Unreached:
    """A unit that could not be looked at: the plan says why, and nothing is done."""

    found: Found

    async def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        for target in self.found.targets:
            yield TargetResult(
                id=target.id, state="changed", text=f"{target.id} was not looked at: not touched"
            )

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        return ()

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        return ()


@dataclass
class UnitWork:
    """A unit that is about to be restarted; `unit` is how the look found it."""

    found: Found
    unit: Unit
    ssh: str | None
    deadline_s: float
    aim: Aim
    address: tuple[str, ...]
    cap_s: float = CAP_S
    watch_s: float = WATCH_S
    _sent: bool = False
    _result: TargetResult | None = None

    async def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        now = await unit_acting.look(self.unit.name, self.ssh, self.deadline_s)
        changed = self._changed(now)
        if changed is not None:
            yield TargetResult(id=self.unit.name, state="changed", text=f"{changed}: nothing was sent")
            return
        tell(f"restarts {self.unit.name}")
        self._sent = True
        refusal = _refused(self.unit.name, await unit_acting.restart(self.unit, self.ssh, self.deadline_s))
        self._result = refusal or await self._followed(tell)
        yield self._result

    def so_far(self) -> list[TargetResult]:
        """What has happened when somebody interrupts: the job goes on without us."""
        if self._result is not None:
            return [self._result]
        text = f"the restart of {self.unit.name} was sent, and goes on: how it ends was not awaited"
        return [TargetResult(id=self.unit.name, state="unknown", text=text)] if self._sent else []

    def _changed(self, now: Unit | Unavailable) -> str | None:
        if isinstance(now, Unavailable):
            return f"{self.unit.name} cannot be looked at again ({now.reason})"
        if now.node != self.unit.node:
            return f"{self.unit.place} is now {now.node}, not {self.unit.node}"
        if now.invocation != self.unit.invocation:
            return f"{self.unit.name} was started by somebody else since the plan"
        return None

    async def _followed(self, tell: Tell) -> TargetResult:
        """Looks until no job is left, as long as the unit may take to stop and to start."""
        loop = asyncio.get_running_loop()
        begun, limit = loop.time(), self._patience()
        last: Unit | Unavailable = self.unit
        while (spent := loop.time() - begun) < limit:
            last = await unit_acting.look(self.unit.name, self.ssh, min(self.deadline_s, limit))
            if isinstance(last, Unit):
                if not last.job:
                    return _ended(self.unit, last)
                tell(
                    f"{last.name} is {last.active} ({last.sub}): {duration(spent)} of at most {duration(limit)}"
                )
            await asyncio.sleep(self._pause())
        state = last.reason if isinstance(last, Unavailable) else f"it is {last.active} ({last.sub})"
        late = f"the restart of {self.unit.name} did not end within {duration(limit)}"
        text = f"{late}: {state}, and its job still runs"
        return TargetResult(id=self.unit.name, state="unknown", text=text)

    def _patience(self) -> float:
        unit = self.unit
        if unit.stop_s is None or unit.start_s is None:
            return self.cap_s
        # SIGTERM has its time, and SIGKILL after it
        return min(self.cap_s, 2 * unit.stop_s + unit.start_s + _SLACK_S)

    def _pause(self) -> float:
        return 1.0 if self.ssh else 0.2

    # --- the proof -------------------------------------------------------------------------------

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        if not self._sent:
            return ()
        proofs = (self._steady(until, tell), *(prove(until, tell) for prove in self.aim.proofs))
        return tuple(await asyncio.gather(*proofs))

    async def _steady(self, until: float, tell: Tell) -> Check:
        """Active in a new invocation, and the same for `watch_s` seconds: rc 0 of systemctl says nothing."""
        loop = asyncio.get_running_loop()
        first: Unit | None = None
        since = loop.time()
        while True:
            now = await unit_acting.look(
                self.unit.name, self.ssh, max(1.0, min(self.deadline_s, left(until)))
            )
            sure = self._judged(now, first)
            if sure is not None:
                return sure
            settled = isinstance(now, Unit) and now.active == "active" and self._is_new(now)
            if settled and isinstance(now, Unit):
                first, since = (now, loop.time()) if first is None else (first, since)
            else:
                first = None
            watched = loop.time() - since if first else 0.0
            if watched >= self.watch_s or (first and left(until) == 0 and watched >= 1):
                text = f"{self.unit.name} is active, the same invocation for {duration(watched)}"
                return Check(text=text, holds=True)
            if left(until) == 0:
                return self._late(now)
            tell(f"{self.unit.name}: {_seen(now)}")
            await asyncio.sleep(min(self._pause(), left(until)))

    def _judged(self, now: Unit | Unavailable, first: Unit | None) -> Check | None:
        """What is sure already."""
        if isinstance(now, Unavailable):
            return None
        again = first is not None and (now.invocation, now.restarts) != (first.invocation, first.restarts)
        if now.crashed and (self._is_new(now) or not now.job):
            return Check(text=f"{now.name} {_crashed(now)}", holds=False)
        if again:
            return Check(text=f"{now.name} was started again within seconds", holds=False)
        if now.type == "oneshot" and now.active == "inactive" and now.result == "success" and not now.job:
            return Check(text=f"{now.name} ran to its end, success", holds=True)
        return None

    def _is_new(self, now: Unit) -> bool:
        return now.invocation != self.unit.invocation

    def _late(self, now: Unit | Unavailable) -> Check:
        if isinstance(now, Unavailable):
            return Check(text=f"{self.unit.name} could not be looked at: {now.reason}", holds=None)
        if now.active == "active":
            old = not self._is_new(now)
            text = "still runs as it was before" if old else "is active, and had no time to prove it"
            return Check(text=f"{now.name} {text}", holds=False if old else None)
        return Check(text=f"{now.name} is {_seen(now)}", holds=False)

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        unit, refused = self.unit.name, any("start-limit-hit" in r.text for r in results)
        journal = ("journalctl", "--no-pager", "-n", "50", "-u", unit)
        start = (
            shlex.join(["systemctl", "reset-failed", unit])
            + " && "
            + shlex.join(["systemctl", "start", unit])
        )
        again = shlex.join(["ssh", "--", self.ssh, start]) if self.ssh else start
        return (
            *(
                (Next(command=again, why="it is stopped: forget its starts, and start it"),)
                if refused
                else ()
            ),
            Next(command=shown(journal, self.ssh), why=f"what {unit} said when it came up"),
            Next(command=shlex.join(["oncall", "diagnose", *self.address]), why="what is still wrong"),
        )


def _refused(unit: str, ran: Ran | Unavailable) -> TargetResult | None:
    """What came of it where systemd did not queue the restart, or nobody knows whether it did."""
    if isinstance(ran, Unavailable):
        sent = ran.kind is not Absence.NOT_INSTALLED
        text = f"{ran.reason}: whether {unit} is restarted is not known" if sent else ran.reason
        return TargetResult(id=unit, state="unknown" if sent else "failed", text=text)
    if ran.code == 0:
        return None
    lost = ran.code == SSH_FAILED
    said = ran.err[:200] or f"code {ran.code}"
    text = (
        f"ssh ended: whether {unit} is restarted is not known: {said}" if lost else f"systemctl says: {said}"
    )
    return TargetResult(id=unit, state="unknown" if lost else "failed", text=text)


def _ended(before: Unit, now: Unit) -> TargetResult:
    """How the job ended, which systemd does not say: the unit itself does."""
    if now.result == "start-limit-hit":
        text = f"{now.name} was stopped, and systemd does not start it again (start-limit-hit)"
        return TargetResult(id=now.name, state="failed", text=text)
    if now.crashed:
        ready = "was not ready in time" if now.result == "timeout" else "ended at once"
        text = f"{now.name} was restarted and {ready} ({now.result})"
        return TargetResult(id=now.name, state="failed", text=text)
    oneshot = now.type == "oneshot" and now.result == "success"
    if now.active in ("active", "reloading") or oneshot:
        if now.invocation == before.invocation and not (oneshot and not now.invocation):
            return TargetResult(
                id=now.name, state="unchanged", text=f"{now.name} still runs as it was before"
            )
        return TargetResult(id=now.name, state="done", text=f"restarted {now.name}")
    return TargetResult(id=now.name, state="unknown", text=f"{now.name} is {_seen(now)} after the restart")


def _crashed(now: Unit) -> str:
    if now.result == "start-limit-hit":
        return "is stopped, and systemd does not start it again (start-limit-hit)"
    code = f" (status {now.status})" if now.status and now.result == "exit-code" else ""
    return f"crashed again, {now.result}{code}"


def _seen(now: Unit | Unavailable) -> str:
    if isinstance(now, Unavailable):
        return now.reason
    if now.active == "activating":
        return f"activating ({now.sub}): it has not said that it is ready"
    if now.active == "deactivating":
        return f"deactivating ({now.sub}): it has not ended yet"
    return f"{now.active} ({now.sub})"
