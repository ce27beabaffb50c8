"""A unit as a restart needs it: who it is, what stands in the way, the restart itself. Here, or by ssh."""

import os
import pwd
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from oncall.clients.systemd import HERE, Ran, not_loaded, refusal, run
from oncall.clients.unit import full_name
from oncall.model import Absence, Frozen, Unavailable

RUNS = ("active", "activating", "reloading", "refreshing")
_PROPERTIES = (
    "Id,InvocationID,LoadState,ActiveState,SubState,Result,Type,Job,MainPID,User,NRestarts,NeedDaemonReload,"
    "ActiveEnterTimestamp,InactiveExitTimestamp,ExecMainStartTimestamp,ConditionTimestamp,ExecMainStatus,"
    "FragmentPath,CanStart,CanStop,RefuseManualStart,RefuseManualStop,TimeoutStartUSec,TimeoutStopUSec,"
    "StartLimitIntervalUSec,StartLimitIntervalSec,StartLimitInterval,StartLimitBurst,"
    "RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo"
)
_TAKEN_ALONG = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_STARTS = ("InactiveExitTimestamp", "ActiveEnterTimestamp", "ExecMainStartTimestamp", "ConditionTimestamp")
# Its names of today, before systemd 236 and before 230
_INTERVALS = ("StartLimitIntervalUSec", "StartLimitIntervalSec", "StartLimitInterval")
_ROUNDS, _MOST_UNITS = 6, 200
_SPAN = re.compile(r"(\d+)(us|ms|s|min|h|d|w|month|y)")
_SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
    "month": 2629800.0, "y": 31557600.0,
}  # fmt: skip
_DENIED = ("access denied", "permission denied", "authentication required", "not permitted", "not authorized")
# What systemd's manager logs of a unit: starting, started, failed to start
_STARTED = (
    "MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5",
    "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf",
    "MESSAGE_ID=be02cf6855d2428ba40df7e9d022f03d",
)


class Unit(Frozen, frozen=True):
    """One look at a unit. Times are Unix seconds by the clock there (`now`), cut to whole seconds.

    `started`: the last start, also one that failed. `job`: the number of a job that is under way.
    `along`: units that stop or restart with it. An interval or a timeout of None is infinite, or unknown."""

    name: str
    place: str
    node: str
    login: str
    root: bool
    active: str
    sub: str
    result: str
    type: str
    invocation: str
    restarts: int
    job: str
    pid: int
    status: int
    now: float
    entered: float | None
    started: float | None
    refuses_by_hand: bool
    file_changed: bool
    limit_s: float | None
    burst: int
    start_s: float | None
    stop_s: float | None
    along: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        return self.active in RUNS

    @property
    def crashed(self) -> bool:
        """It ended by itself, or was not ready in time; systemd has given up, or will start it again."""
        return self.active == "failed" or self.sub == "auto-restart"


async def look(unit: str, ssh: str | None, deadline_s: float) -> Unit | Unavailable:
    """The unit as it is, within `deadline_s` seconds.

    CONFIG: a name that is none, and a unit that could not be started (not found, masked, a mistake in its file)."""
    name = full_name(unit)
    if name is None:
        reason = (
            f"{unit[:80]!r} is not the plain name of one systemd unit: no path, pattern, blank, `..` or `;`"
        )
        return Unavailable(kind=Absence.CONFIG, reason=reason, hint="name one unit, such as bot.service")
    # Times are printed in the zone of whoever asks; the clock to compare them with is the one there
    words = ("systemctl", "show", "--no-pager", f"--property={_PROPERTIES}", "--", name)
    script = (
        f"TZ=UTC {shlex.join(words)} && echo Now=$(date +%s) Uid=$(id -u) Login=$(id -un) Node=$(uname -n)"
    )
    ran = await run(("sh", "-c", script) if ssh else ("env", "TZ=UTC", *words), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    place = ssh or HERE
    if ran.code != 0:
        return refusal(ran, place)
    *lines, last = ran.out.splitlines() or [""]
    there = last.split() if ssh else _here()
    shown = dict(_pairs([*(lines if ssh else [*lines, last]), *there]))
    load = shown.get("LoadState", "")
    # One that runs although its file is gone would be stopped, and not started again
    return _unit(shown, name, place) if load == "loaded" else not_loaded(name, load, place)


def _here() -> list[str]:
    return [f"Now={time.time()}", f"Uid={os.geteuid()}", f"Login={_login()}", f"Node={os.uname().nodename}"]


def _login() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(os.geteuid())


def _pairs(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def _unit(shown: Mapping[str, str], name: str, place: str) -> Unit:
    moments = [moment(shown.get(each, "")) for each in _STARTS]
    return Unit(
        name=shown.get("Id") or name,
        place=place,
        node=shown.get("Node", ""),
        login=shown.get("Login", "?"),
        root=shown.get("Uid") == "0",
        active=shown.get("ActiveState", "?"),
        sub=shown.get("SubState", "?"),
        result=shown.get("Result", "?"),
        type=shown.get("Type", ""),
        invocation=shown.get("InvocationID", ""),
        restarts=_number(shown, "NRestarts"),
        job="" if shown.get("Job", "0") == "0" else shown["Job"],
        pid=_number(shown, "MainPID"),
        status=_number(shown, "ExecMainStatus"),
        now=float(shown.get("Now") or time.time()),
        entered=moment(shown.get("ActiveEnterTimestamp", "")),
        started=max((at for at in moments if at is not None), default=None),
        refuses_by_hand="yes" in (shown.get("RefuseManualStart"), shown.get("RefuseManualStop"))
        or shown.get("CanStart") == "no",
        file_changed=shown.get("NeedDaemonReload") == "yes",
        limit_s=span(next((shown[each] for each in _INTERVALS if each in shown), "")),
        burst=_number(shown, "StartLimitBurst") if "StartLimitBurst" in shown else 1,
        start_s=span(shown.get("TimeoutStartUSec", "")),
        stop_s=span(shown.get("TimeoutStopUSec", "")),
        along=tuple(dict.fromkeys(u for each in _TAKEN_ALONG for u in shown.get(each, "").split())),
    )


def _number(shown: Mapping[str, str], name: str) -> int:
    text = shown.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else 0


def moment(text: str) -> float | None:
    """Unix seconds of a time such as `Mon 2026-01-05 03:12:41 UTC`; None where there is none."""
    try:
        at = datetime.strptime(" ".join(text.split()[1:3]), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return at.replace(tzinfo=UTC).timestamp()


def span(text: str) -> float | None:
    """Seconds of a time span as systemd prints it (`16min 40s`, `0`); None where it is infinite or not known."""
    parts = _SPAN.findall(text)
    if "".join(n + u for n, u in parts) != text.replace(" ", ""):
        return 0.0 if text == "0" else None
    return sum(int(n) * _SECONDS[u] for n, u in parts) if parts else None


# --- what stands in the way ----------------------------------------------------------------------


async def may_restart(unit: Unit, ssh: str | None, deadline_s: float) -> Unavailable | None:
    """Why this login may not restart the unit; None where it may. Nothing is changed, no password asked for.

    The manager is asked for a restart in a mode that it has for stops only: it looks at the rights (root, polkit with
    the unit and the verb), and then refuses the mode. pkcheck cannot tell: only root may name the unit to it."""
    if unit.root:
        return None
    words = ("systemctl", "--no-ask-password", "--job-mode=triggering", "restart", "--", unit.name)
    ran = await run(words, ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    said = ran.err.lower()
    if ran.code != 0 and "only valid for stop" in said:
        return None
    if any(words in said for words in _DENIED):
        reason = f"{unit.login} may not restart {unit.name} on {unit.place}: {ran.err[:120]}"
        return Unavailable(kind=Absence.DENIED, reason=reason)
    reason = f"whether {unit.login} may restart {unit.name} on {unit.place} cannot be told: {ran.err[:120]}"
    return Unavailable(kind=Absence.BAD_ANSWER, reason=reason)


async def starts(unit: Unit, ssh: str | None, deadline_s: float) -> int | Unavailable:
    """How often the unit was started in the interval of its start limit, by what systemd wrote to the journal.

    One too many at most. A journal that lacks the last start (no right to read it, rotated) tells nothing."""
    since = f"--since=@{0 if unit.limit_s is None else int(unit.now - unit.limit_s)}"
    words = ("journalctl", "--no-pager", "-o", "json", "-n", "1000", "-u", unit.name, since)
    ran = await run((*words, "--output-fields=INVOCATION_ID", *_STARTED), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    found = set(re.findall(r'"INVOCATION_ID"\s*:\s*"([0-9a-f]{32})"', ran.out))
    if unit.invocation not in found:
        reason = f"the journal of {unit.place} does not tell of the last start of {unit.name}"
        return Unavailable(kind=Absence.NO_DATA, reason=reason)
    return len(found)


async def dependents(unit: Unit, ssh: str | None, deadline_s: float) -> tuple[str, ...] | Unavailable:
    """The units that run and restart or stop along with it, and those along with these; targets and slices not."""
    seen, new, found = {unit.name}, set(unit.along) - {unit.name}, []
    for _ in range(_ROUNDS):
        if not new or len(seen) > _MOST_UNITS:
            break
        seen |= new
        properties = f"--property=Id,ActiveState,{','.join(_TAKEN_ALONG)}"
        ran = await run(("systemctl", "show", "--no-pager", properties, "--", *sorted(new)), ssh, deadline_s)
        if isinstance(ran, Unavailable):
            return ran
        if ran.code != 0:
            return refusal(ran, unit.place)
        running = [u for u in map(dict, map(_pairs, _blocks(ran.out))) if u.get("ActiveState") in RUNS]
        found += [u.get("Id", "?") for u in running]
        new = {name for u in running for each in _TAKEN_ALONG for name in u.get(each, "").split()} - seen
    return tuple(sorted(name for name in found if not name.endswith((".target", ".slice"))))


def _blocks(text: str) -> list[list[str]]:
    return [block.splitlines() for block in text.split("\n\n") if block.strip()]


# --- the restart ---------------------------------------------------------------------------------


def restart_words(unit: str) -> tuple[str, ...]:
    """The command. It only queues the job: killing a systemctl that waits would not cancel it either."""
    return ("systemctl", "--no-ask-password", "--no-block", "restart", "--", unit)


async def restart(unit: Unit, ssh: str | None, deadline_s: float) -> Ran | Unavailable:
    """Sends the restart, once. Code 0 says that it is queued, and nothing of how it ends."""
    return await run(restart_words(unit.name), ssh, deadline_s)
