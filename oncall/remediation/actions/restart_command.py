"""The restart by a command of the service file, where systemd does not run the service."""

import shlex
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from oncall.clients.command import Ended, find, run_command
from oncall.clients.systemd import HERE
from oncall.model import Absence, Next, Unavailable
from oncall.model_acts import Check, GuardReport, Target, TargetResult
from oncall.model_service import Service
from oncall.numbers import duration
from oncall.remediation.action import Found, Scene, Tell
from oncall.remediation.actions.restart_unit import Aim
from oncall.remediation.guards import passed, refused, skipped
from oncall.scrub import scrub, secrets_of

DEADLINE_S = 90.0
_OWN = "a command restarts it: what it does is its own affair"


def command_work(words: tuple[str, ...], scene: Scene, aim: Aim) -> "CommandWork":
    """Looks for the program; the command itself says nothing before it runs."""
    line = scrub(shlex.join(words), secrets_of(scene.service))
    found = Found(
        title=f"restarts {aim.what} by its own command",
        place=(("command", f"{line} on {HERE}"),),
        targets=(Target(id="command", identity={"command": line} | dict(aim.identity)),),
        guards=_guards(words[0]),
        does=(line,),
        losses=aim.losses,
        notes=aim.notes,
        unproven=aim.unproven,
    )
    return CommandWork(found, words, scene.service, aim, scene.address)


def _guards(program: str) -> tuple[GuardReport, ...]:
    where = find(program)
    hint = "name the program by its whole path in restart.command, or install it here"
    return (
        passed("rights", f"{program} can be run here{'' if where == program else f': {where}'}")
        if where
        else refused("rights", f"{program} cannot be run on {HERE}: it is not there, or no program", hint),
        skipped("empty-selection", "one command of the service file"),
        *(skipped(name, _OWN) for name in ("start-limit", "cooldown", "dependents")),
    )


@dataclass
class CommandWork:
    """A command that is about to be run."""

    found: Found
    words: tuple[str, ...]
    service: Service
    aim: Aim
    address: tuple[str, ...]
    deadline_s: float = DEADLINE_S
    _sent: bool = False
    _result: TargetResult | None = None

    async def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        def tick(spent: float) -> None:
            tell(f"{self.words[0]} runs: {duration(round(spent, 1))} of at most {duration(self.deadline_s)}")

        self._sent = True
        self._result = self._judged(await run_command(self.words, self.deadline_s, tick))
        yield self._result

    def so_far(self) -> list[TargetResult]:
        """What has happened when somebody interrupts: the command was ended half-way."""
        if self._result is not None:
            return [self._result]
        text = f"{self.words[0]} was ended half-way: what it has done is not known"
        return [TargetResult(id="command", state="unknown", text=text)] if self._sent else []

    def _judged(self, ran: Ended | Unavailable) -> TargetResult:
        secrets = secrets_of(self.service)
        if isinstance(ran, Unavailable):
            late = ran.kind is Absence.TIMEOUT
            text = f"{scrub(ran.reason, secrets)}{': what it has done is not known' if late else ''}"
            return TargetResult(id="command", state="unknown" if late else "failed", text=text)
        if ran.code == 0:
            return TargetResult(id="command", state="done", text=f"{self.words[0]} ended with code 0")
        how = f"was ended by signal {-ran.code}" if ran.code < 0 else f"ended with code {ran.code}"
        said = scrub(f": {ran.last}" if ran.last else "", secrets)
        return TargetResult(id="command", state="failed", text=f"{self.words[0]} {how}{said}")

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        import asyncio

        if not self._sent:
            return ()
        if not self.aim.proofs:
            text = "whether it is up again cannot be told: the service file has no url to ask"
            return (Check(text=text, holds=None),)
        return tuple(await asyncio.gather(*(prove(until, tell) for prove in self.aim.proofs)))

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        again = self.found.does[0]
        failed = any(r.state in ("failed", "unknown") for r in results)
        look = Next(command=shlex.join(["oncall", "diagnose", *self.address]), why="what is still wrong")
        return (Next(command=again, why="by hand, to see all that it says"), look) if failed else (look,)
