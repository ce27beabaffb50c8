"""`restart`: the service's unit, or the command of the service file that restarts it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from oncall.errors import UsageFault
from oncall.model import Absence
from oncall.remediation.action import Scene, Work
from oncall.remediation.actions.restart_command import command_work
from oncall.remediation.actions.restart_proofs import another_process, healthy_twice, process_started
from oncall.remediation.actions.restart_unit import Aim, unit_work

_LOSSES = (
    "requests in flight",
    "caches, sessions and background work inside the process",
    "its pool's connections and their open transactions",
)


@dataclass(frozen=True)
class Restart:
    """Restarts the service. It has no options: the service file says what to restart."""

    name: str = "restart"
    issues: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @asynccontextmanager
    async def work(self, scene: Scene) -> AsyncIterator[Work]:
        """Raises UsageFault where the service file does not say how; ConfigError for a unit that is none."""
        service = scene.service
        if service.restart is not None:
            yield command_work(service.restart.command, scene, await _by_command(scene))
        elif service.unit is not None:
            proofs = (healthy_twice(service),) if service.url else ()
            yield await unit_work(service.unit, scene, Aim(f"service {scene.name}", _LOSSES, proofs))
        else:
            said = f"the service file does not say what to restart for {scene.name}"
            hint = "Write `unit: NAME` into the service file, or `restart: {command: [PROGRAM, WORD]}`."
            raise UsageFault(said, hint=hint)


async def _by_command(scene: Scene) -> Aim:
    service, what = scene.service, f"service {scene.name}"
    if service.url is None:
        return Aim(what, _LOSSES, ())
    before = await process_started(service, scene.deadline_s)
    # Behind a balancer each look may meet another process: it is a proof, and no part of the plan's identity
    if isinstance(before, float):
        return Aim(what, _LOSSES, (healthy_twice(service), another_process(service, before)))
    # Where nobody listened, whoever answers afterwards is new
    unproven = (
        None
        if before.kind is Absence.DOWN
        else f"whether the process was replaced is not known: {before.reason}"
    )
    return Aim(what, _LOSSES, (healthy_twice(service),), unproven=unproven)
