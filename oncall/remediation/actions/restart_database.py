"""`restart-database`: the unit of Postgres, or the command of the service file that restarts it."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from oncall.clients.http_options import is_loopback
from oncall.clients.postgres import Question, load_sql, parse_dsn
from oncall.clients.systemd import HERE
from oncall.errors import UsageFault
from oncall.model import Absence, Scalar, Unavailable
from oncall.model_acts import GuardReport
from oncall.model_service import PostgresAt
from oncall.remediation.action import Scene, Work
from oncall.remediation.actions.restart_command import CommandWork, command_work
from oncall.remediation.actions.restart_proofs import database_back, first_row
from oncall.remediation.actions.restart_unit import Aim, UnitWork, Unreached, unit_work
from oncall.remediation.guards import refused


@dataclass(frozen=True)
class RestartDatabase:
    """Restarts the service's Postgres. It has no options: the service file says what to restart."""

    name: str = "restart-database"
    issues: tuple[str, ...] = ("errors", "pool")
    words: tuple[str, ...] = ()

    @asynccontextmanager
    async def work(self, scene: Scene) -> AsyncIterator[Work]:
        """Raises UsageFault where the service file does not say how; ConfigError for a unit that is none."""
        at = scene.service.postgres
        if at is None or (at.restart is None and at.unit is None):
            said = f"the service file does not say how the database of {scene.name} is restarted"
            hint = "Write `unit: NAME` under postgres in the service file, or `restart: {command: [...]}`."
            raise UsageFault(said, hint=hint)
        aim = await _aim(scene)
        work: CommandWork | UnitWork | Unreached
        if at.restart is not None:
            work = command_work(at.restart.command, scene, aim)
        else:
            assert at.unit is not None
            work = await unit_work(at.unit, scene, aim)
        # What is looked at and what is restarted are two things to the service file: both are shown.
        place = (*work.found.place, *_database(scene))
        guards = (*_elsewhere(scene, at), *work.found.guards)
        work.found = replace(work.found, place=place, guards=guards, drops_session=True)
        yield work


def _elsewhere(scene: Scene, at: PostgresAt) -> tuple[GuardReport, ...]:
    """Refuses a unit of one machine for the database of another: nothing else ties the two together."""
    if at.restart is not None:
        return ()
    ssh = scene.service.ssh
    there = ssh.removeprefix("ssh://").rpartition("@")[2].partition(":")[0] if ssh else None
    given = parse_dsn(at.dsn)
    hosts = (given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "").split(",")
    if all(host == there if there else _is_here(host) for host in hosts):
        return ()
    said = f"the unit is on {there or HERE}, the database on {', '.join(hosts) or 'this machine'}"
    hint = "name what restarts that database: `restart: {command: [...]}` under postgres in the service file"
    return (refused("identity", said, hint),)


def _is_here(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or is_loopback(host) or host == socket.gethostname()


async def _aim(scene: Scene) -> Aim:
    at = scene.service.postgres
    assert at is not None
    row = await _before(scene)
    began = None if isinstance(row, Unavailable) else float(row["started"] or 0)
    notes = (f"the database was not looked at before: {row.reason}",) if isinstance(row, Unavailable) else ()
    return Aim(
        what=f"the database of {scene.name}",
        losses=_losses(row),
        proofs=(database_back(at, began),),
        identity={"postmaster_started": began},
        notes=notes,
    )


def _database(scene: Scene) -> tuple[tuple[str, str], ...]:
    facts = scene.session.facts if scene.session else None
    if facts is None or isinstance(facts, Unavailable):
        return ()
    return (("database", f"{facts.host}:{facts.port}/{facts.database} as {facts.role}"),)


async def _before(scene: Scene) -> dict[str, Scalar] | Unavailable:
    if scene.session is None:
        return Unavailable(kind=Absence.NOT_CONFIGURED, reason="not configured")
    answers = await scene.session.ask(
        [Question(id="r", sql=load_sql("restarting"))], {}, deadline_s=scene.deadline_s
    )
    return first_row(answers.by_id["r"].answer)


def _losses(row: dict[str, Scalar] | Unavailable) -> tuple[str, ...]:
    last = "the server's buffers: queries are slow until they are warm again"
    if isinstance(row, Unavailable):
        every = "every connection of every client of this server, of other services and databases too"
        return (every, "all open transactions, which are rolled back", last)
    many = f" in {row['databases']} databases" if int(row["databases"] or 0) > 1 else ""
    return (
        f"every connection of every client of this server ({row['connections']} now{many})",
        f"all open transactions ({row['transactions']} now), which are rolled back",
        last,
    )
