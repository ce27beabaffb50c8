"""Whether there is a backup: a line for each that the service file names, all asked at once."""

import asyncio
from collections.abc import Mapping
from importlib import import_module

from oncall.checks.backups.common import WHY, line, unknown
from oncall.errors import REPORT, bug_text
from oncall.model import Absence, Severity, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import BACKUP_KINDS, NO_BACKUPS, BackupAt, Service

_MODULES: Mapping[str, str] = {
    "file": "oncall.checks.backups.file",
    "pgbackrest": "oncall.checks.backups.pgbackrest",
    "barman": "oncall.checks.backups.barman",
    "postgres_archiver": "oncall.checks.backups.archiver",
    "command": "oncall.checks.backups.command",
}
_HOW = (
    "set `backups` of the service: {nightly: {file: /backup/*.dump}}, or {none: the reason why there is none}"
)


async def look(service: Service, deadline_s: float) -> tuple[CheckLine, ...]:
    """One line a backup, in the order of the file, within `deadline_s` seconds. Raises nothing.

    Where none is named: unknown, and it counts as soon as there is a Postgres that could be lost."""
    if not service.backups:
        return (_not_configured(service),)
    # Whoever waits for us has the same deadline: ours ends a little before, so that each line has its own reason
    own_s = 0.9 * deadline_s
    looks = (_look(name, at, service, own_s) for name, at in service.backups.items())
    return tuple(await asyncio.gather(*looks))


async def _look(name: str, at: BackupAt | str, service: Service, deadline_s: float) -> CheckLine:
    if isinstance(at, str):
        return _nothing_to_keep(at)
    kind = next(kind for kind in BACKUP_KINDS if getattr(at, kind) is not None)
    module = import_module(_MODULES[kind])
    source: str = module.SOURCE
    try:
        async with asyncio.timeout(1.05 * deadline_s):
            found = await module.look(at, service, deadline_s)
    except TimeoutError:
        found = Unavailable(kind=Absence.TIMEOUT, reason=f"no answer within {deadline_s:g} s")
    except Exception as bug:
        # One backup that we fail to read must not hide the others; healthy it is not.
        found = Unavailable(kind=Absence.BAD_ANSWER, reason=bug_text(bug), hint=REPORT)
    if not isinstance(found, Unavailable):
        return line(name, at, found)
    return unknown(name, at, source, found)


def _not_configured(service: Service) -> CheckLine:
    lost = service.postgres is not None
    reason = "not configured: nobody looks whether the database is backed up" if lost else "not configured"
    return CheckLine(
        id="backups",
        title="Backups",
        severity=Severity.UNKNOWN,
        why=WHY,
        source="file",
        target="within 1d",
        reason=reason,
        hint=_HOW,
        counts=lost,
    )


def _nothing_to_keep(reason: str) -> CheckLine:
    return CheckLine(
        id=f"backups.{NO_BACKUPS}",
        title="Backups",
        severity=Severity.OK,
        why=WHY,
        source="file",
        text=f"none, as the service file says: {reason}",
        counts=False,
    )
