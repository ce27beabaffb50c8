"""What every kind of backup comes to: when the newest ended, its size, what is ill; and the line of it."""

from collections.abc import Sequence
from statistics import median

from oncall.clients.host import is_here
from oncall.clients.systemd import HERE, SSH_FAILED, Ran, no_ssh, run
from oncall.model import WORST_FIRST, Absence, Frozen, Next, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import BackupAt, Service
from oncall.numbers import duration, size
from oncall.units import write_duration

WHY = "A backup that nobody looked at is a hope; one that is old, too small or did not end is none."
DAY_S = 86_400.0
MOST_BYTES = 4 * 2**20
"""Of what a tool says: the list of some thousand backups."""
MUCH_SMALLER, HARDLY_ANY = 0.5, 0.1
"""Shares of the usual size (the median of those before) below which a backup is doubted, and none."""
_FORMER = 7
_SKEW_S = 60.0


class Ill(Frozen, frozen=True):
    """Something that is not as it should be."""

    severity: Severity
    text: str


class Backup(Frozen, frozen=True):
    """One kind's answer. `finished`, `now`: Unix seconds by the clock of the machine that was asked; None: there is
    no finished one. `former`: sizes of those before, newest first. `said`: what to show of a good one besides."""

    source: str
    now: float
    finished: float | None = None
    name: str | None = None
    verb: str = "ended"
    size: float | None = None
    former: tuple[float, ...] = ()
    ill: tuple[Ill, ...] = ()
    running: str | None = None
    said: tuple[str, ...] = ()
    query: str | None = None
    next: Next | None = None
    detail: Table | None = None
    notes: tuple[str, ...] = ()
    aged: bool = True
    """Its age is judged."""


def within(at: BackupAt) -> float:
    """Seconds that the newest finished one may be old."""
    return float(at.within) if at.within is not None else DAY_S


def place(at: BackupAt, service: Service) -> str | None:
    """The host for ssh where the backup is looked at; None is this machine."""
    host = at.ssh or service.ssh
    return None if host is None or (at.ssh and is_here(at.ssh)) else host


async def say(
    words: Sequence[str], ssh: str | None, deadline_s: float, ended_well: Sequence[int] = (0,)
) -> Ran | Unavailable:
    """Runs a tool; one that is not there, not reached or ends with another code is Unavailable, with its words."""
    ran = await run(words, ssh, deadline_s, MOST_BYTES)
    if isinstance(ran, Unavailable) or ran.code in ended_well:
        return ran
    program, at = words[0], ssh or HERE
    if ssh and ran.code == SSH_FAILED:
        return no_ssh(ran, ssh)
    if ran.code == 127:
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=f"{at} has no {program}")
    said = ran.err or ran.out.strip()
    reason = f"{program} on {at} ended with code {ran.code}" + (f": {said[:300]}" if said else "")
    return Unavailable(kind=Absence.BAD_ANSWER, reason=reason)


# --- the line ------------------------------------------------------------------------------------


def unknown(name: str, at: BackupAt, source: str, why: Unavailable) -> CheckLine:
    """The line of a backup that could not be looked at."""
    return CheckLine(
        id=f"backups.{name}",
        title=f"Backup {name}",
        severity=Severity.UNKNOWN,
        why=WHY,
        source=source,
        target=target(at, aged=not at.postgres_archiver or at.within is not None),
        reason=why.reason,
        hint=why.hint,
        counts=why.kind is not Absence.NOT_APPLICABLE,
    )


def line(name: str, at: BackupAt, found: Backup) -> CheckLine:
    """The verdict on a backup, the worst that is said of it first. Pure."""
    age = None if found.finished is None else max(0.0, found.now - found.finished)
    ills = sorted((*found.ill, *_ills(at, found, age)), key=lambda ill: WORST_FIRST.index(ill.severity))
    severity = ills[0].severity if ills else Severity.OK
    limit = within(at) if found.aged else None
    return CheckLine(
        id=f"backups.{name}",
        title=f"Backup {name}",
        severity=severity,
        why=WHY,
        source=found.source,
        value=age,
        unit="seconds",
        text="; ".join((*(ill.text for ill in ills), *_good(found, age))),
        target=target(at, aged=found.aged),
        warning=limit,
        critical=limit and 2 * limit,
        query=found.query,
        age_s=0.0,
        next=found.next if severity is not Severity.OK else None,
        detail=found.detail,
        notes=found.notes,
    )


def target(at: BackupAt, *, aged: bool = True) -> str | None:
    """What is expected, in words."""
    parts = [f"within {write_duration(within(at))}"] if aged else []
    parts += [f"at least {size(at.least)}"] if at.least is not None else []
    return ", ".join(parts) or None


def _good(found: Backup, age: float | None) -> list[str]:
    first = [] if age is None else [f"{found.name or 'the newest'} {found.verb} {duration(age)} ago"]
    if first and found.size is not None:
        first[0] += f", {size(found.size)}"
    return [*first, *found.said, *([f"running: {found.running}"] if found.running else [])]


def _ills(at: BackupAt, found: Backup, age: float | None) -> list[Ill]:
    ills = []
    if age is not None and found.aged and age > within(at):
        severity = Severity.CRITICAL if age > 2 * within(at) else Severity.WARNING
        ills.append(Ill(severity=severity, text=f"older than {write_duration(within(at))}"))
    if found.finished is not None and found.finished > found.now + _SKEW_S:
        ahead = duration(found.finished - found.now)
        ills.append(Ill(severity=Severity.WARNING, text=f"its time is {ahead} in the future"))
    if found.size is not None:
        ills += _sizes(at.least, found.size, found.former[:_FORMER])
    elif at.least is not None and found.finished is not None:
        said = f"its size is not known: whether it is {size(at.least)} cannot be said"
        ills.append(Ill(severity=Severity.UNKNOWN, text=said))
    if at.within is not None and not found.aged and not found.ill:
        said = f"when it ended is not known: whether within {write_duration(within(at))} cannot be said"
        ills.append(Ill(severity=Severity.UNKNOWN, text=said))
    return ills


def _sizes(least: float | None, now: float, former: Sequence[float]) -> list[Ill]:
    if now == 0:
        return [Ill(severity=Severity.CRITICAL, text="it is empty")]
    if least is not None and now < least:
        return [Ill(severity=Severity.CRITICAL, text=f"smaller than {size(least)}")]
    usual = median(former) if former else 0.0
    if now >= MUCH_SMALLER * usual:
        return []
    severity = Severity.CRITICAL if now < HARDLY_ANY * usual else Severity.WARNING
    before = "the one" if len(former) == 1 else f"the {len(former)}"
    return [Ill(severity=severity, text=f"much smaller than {before} before ({size(usual)})")]
