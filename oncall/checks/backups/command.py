"""Backups that a command of the team's own tells of: by its exit code, and by JSON where it says any."""

import time
from datetime import UTC, datetime

import msgspec

from oncall.checks.backups.common import MOST_BYTES, Backup, Ill, place
from oncall.clients.command import find
from oncall.clients.systemd import HERE, SSH_FAILED, Ran, no_ssh, run
from oncall.model import Absence, Frozen, Severity, Unavailable
from oncall.model_service import BackupAt, Service

SOURCE = "command"
_NOT_RUN = (126, 127)
_YEARS = (1971, 9998)


class Said(Frozen, frozen=True):
    """What it may say, all of it optional: `finished` in RFC 3339 or Unix seconds, `size` in bytes."""

    finished: float | str | None = None
    size: float | None = None
    ok: bool | None = None
    error: str | None = None


async def look(at: BackupAt, service: Service, deadline_s: float) -> Backup | Unavailable:
    """Runs it once, its words as they stand: never through a shell of ours (ssh has one on its other side, for which
    they are quoted)."""
    assert at.command is not None
    ssh = place(at, service)
    if ssh is None and find(at.command[0]) is None:
        reason = f"{at.command[0]} cannot be run on {HERE}: there is no such program"
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=reason, hint="give its absolute path")
    ran = await run(at.command, ssh, deadline_s, MOST_BYTES)
    if isinstance(ran, Unavailable):
        return ran
    if ssh and ran.code == SSH_FAILED:
        return no_ssh(ran, ssh)
    if ran.code in _NOT_RUN:
        reason = f"{at.command[0]} cannot be run on {ssh or HERE}: {ran.err[:200] or f'code {ran.code}'}"
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=reason)
    return judge(ran, time.time())


def judge(ran: Ran, now: float) -> Backup | Unavailable:
    """A code of 0 is well, unless the JSON says otherwise; words that are no JSON are shown. Pure."""
    said = parse(ran.out)
    if isinstance(said, Unavailable):
        return said
    known = said or Said()
    finished = moment(known.finished)
    if isinstance(finished, Unavailable):
        return finished
    if known.size is not None and known.size < 0:
        reason = f"its JSON is not as it should be: size is {known.size:g}"
        return Unavailable(kind=Absence.BAD_ANSWER, reason=reason, hint="expected bytes")
    ills = []
    if ran.code != 0 or known.ok is False or known.error:
        told = known.error or ran.err or (_last(ran.out) if said is None else "")
        code = f"it ended with code {ran.code}" if ran.code else "it says that it is not well"
        ills.append(Ill(severity=Severity.CRITICAL, text=f"{code}: {told[:300]}" if told else code))
    good = _last(ran.out)[:200] if said is None and ran.code == 0 else ""
    return Backup(
        source=SOURCE,
        now=now,
        finished=finished,
        size=known.size,
        ill=tuple(ills),
        said=() if ills or finished is not None else (good or "it ended with code 0",),
        aged=finished is not None,
        notes=()
        if finished is not None
        else ("it does not say when the backup ended: its age is not judged",),
    )


def parse(text: str) -> Said | Unavailable | None:
    """What it says, where all of its output or its last line is a JSON object; None where neither is. Pure."""
    for part in (text.strip(), _last(text)):
        if not part.startswith("{"):
            continue
        try:
            return msgspec.json.decode(part.encode("utf-8", "replace"), type=Said)
        except msgspec.ValidationError as wrong:
            return Unavailable(
                kind=Absence.BAD_ANSWER,
                reason=f"its JSON is not as it should be: {wrong}",
                hint='expected {"finished": "2026-01-01T02:10:00Z", "size": 5000000, "ok": true}',
            )
        except msgspec.DecodeError:
            continue
    return None


def moment(said: float | str | None) -> float | Unavailable | None:
    """Unix seconds; a time without a zone is UTC. Pure."""
    if said is None:
        return None
    try:
        at = (
            datetime.fromtimestamp(said, UTC)
            if isinstance(said, int | float)
            else datetime.fromisoformat(said)
        )
    except (ValueError, OverflowError, OSError):
        at = None
    if at is None or not _YEARS[0] <= at.year <= _YEARS[1]:
        reason = f"its JSON is not as it should be: finished is {str(said)[:60]!r}"
        return Unavailable(kind=Absence.BAD_ANSWER, reason=reason, hint="expected RFC 3339, or Unix seconds")
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


def _last(text: str) -> str:
    return next((s for line in reversed(text.splitlines()) if (s := line.strip())), "")
