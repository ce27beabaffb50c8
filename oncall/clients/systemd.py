"""systemd, through the system's own systemctl: here, or by the system's own ssh where the service runs."""

import asyncio
import contextlib
import math
import shlex
from collections.abc import Sequence
from time import perf_counter

from oncall.clients.command import killed
from oncall.model import Absence, Frozen, Met, Unavailable

HERE = "this machine"
SSH_FAILED = 255
_NOT_FOUND = 127
_PATIENCE_S = 2.0
_PIECE = 2**16
_DENIED = ("access denied", "permission denied", "interactive authentication required")
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "NRestarts")


class Ran(Frozen, frozen=True):
    """A command that ended; its texts as far as they are UTF-8."""

    code: int
    out: str
    err: str
    ms: float


async def meet(unit: str, ssh: str | None, deadline_s: float) -> Met | Unavailable:
    """Whether the unit is known there. `show` answers 0 for any name: LoadState alone tells."""
    words = ("systemctl", "show", "--no-pager", f"--property={','.join(_PROPERTIES)}", "--", unit)
    ran = await run(words, ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    place = ssh or HERE
    if ran.code != 0:
        return refusal(ran, place)
    found = dict(line.split("=", 1) for line in ran.out.splitlines() if "=" in line)
    load = found.get("LoadState", "")
    if load not in ("loaded", "stub"):
        return not_loaded(unit, load, place)
    state = f"{found.get('ActiveState', '?')} ({found.get('SubState', '?')})"
    return Met(ms=ran.ms, notes=() if found.get("ActiveState") == "active" else (f"the unit is {state}",))


async def run(
    words: Sequence[str], ssh: str | None, deadline_s: float, most: int | None = None
) -> Ran | Unavailable:
    """Runs a command, by ssh where a host is given, without a terminal: nothing can ask for a password.

    `most`: bytes of each text that are kept, for a command that may say anything."""
    command = command_of(words, ssh, deadline_s)
    begun = perf_counter()
    process = await started(command)
    if isinstance(process, Unavailable):
        return process
    try:
        async with asyncio.timeout(deadline_s):
            out, err = await _said(process, most)
    except TimeoutError:
        program = next(w for w in command if w != "env" and "=" not in w)
        reason = f"{program} did not end within {deadline_s:g} s"
        return Unavailable(kind=Absence.TIMEOUT, reason=reason)
    finally:
        await killed(process)
    ms = (perf_counter() - begun) * 1000
    return Ran(code=process.returncode or 0, out=out.decode("utf-8", "replace"), err=_text(err), ms=ms)


def command_of(words: Sequence[str], ssh: str | None, deadline_s: float) -> list[str]:
    """The words themselves, or those of ssh that has them run on that host."""
    if not ssh:
        return list(words)
    wait = max(1, math.floor(deadline_s))
    return ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={wait}", "--", ssh, shlex.join(words)]


async def started(command: Sequence[str]) -> asyncio.subprocess.Process | Unavailable:
    """A program that runs, with nothing to read and both of its texts to be taken.

    Where that is cancelled in the middle, the program is gone first: asyncio's own wait for that ends with the next
    cancel, and a loop that is closed before its child has ended complains aloud."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=pipe)
    )
    try:
        await asyncio.wait([starting])
    except asyncio.CancelledError:
        await _gone(starting)
        raise
    try:
        return starting.result()
    except OSError as failed:
        reason = f"not available here, because {command[0]} cannot be run: {(failed.strerror or '').lower()}"
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=reason)


async def _gone(starting: "asyncio.Future[asyncio.subprocess.Process]") -> None:
    """Ends a program that is about to run, whatever is cancelled meanwhile; one that hangs on its way (a file that
    lies on a dead server) is left."""
    ends = perf_counter() + _PATIENCE_S
    while not starting.done() and (left := ends - perf_counter()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([starting], timeout=left)
    if starting.done() and not starting.cancelled() and starting.exception() is None:
        await killed(starting.result())


async def _said(process: asyncio.subprocess.Process, most: int | None) -> tuple[bytes, bytes]:
    """Both texts to their end; beyond `most` bytes they are read and dropped."""
    if most is None:
        return await process.communicate()

    async def first(stream: asyncio.StreamReader | None) -> bytes:
        kept = bytearray()
        while stream and (piece := await stream.read(_PIECE)):
            kept += piece[: max(0, most - len(kept))]
        return bytes(kept)

    out, err = await asyncio.gather(first(process.stdout), first(process.stderr))
    await process.wait()
    return out, err


def _text(data: bytes) -> str:
    return " ".join(data.decode("utf-8", "replace").split())


def refusal(ran: Ran, place: str) -> Unavailable:
    """Why systemctl, or ssh on its way to `place`, ended with an error."""
    if ran.code == SSH_FAILED and place != HERE:
        return no_ssh(ran, place)
    said = ran.err[:200] or f"it ended with code {ran.code}"
    if ran.code == _NOT_FOUND or ("systemctl" in said and "not found" in said):
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=f"{place} has no systemctl")
    if any(words in said.lower() for words in _DENIED):
        # Who may not ask does not know: this must not pass for a machine without systemd.
        hint = f"ask as a user who may: systemctl status, on {place}"
        return Unavailable(
            kind=Absence.DENIED, reason=f"{place} does not tell: systemctl says: {said}", hint=hint
        )
    return Unavailable(
        kind=Absence.NOT_APPLICABLE, reason=f"not available on {place}, because systemctl says: {said}"
    )


def no_ssh(ran: Ran, host: str) -> Unavailable:
    """ssh itself failed: the host was not reached, or did not let us in."""
    said = ran.err[:200] or f"it ended with code {ran.code}"
    hint = f"try by hand: ssh {host} true (a key is needed: no password is asked for)"
    return Unavailable(kind=Absence.DOWN, reason=f"no ssh to {host}: {said}", hint=hint)


def not_loaded(unit: str, load: str, place: str) -> Unavailable:
    """What LoadState says where a unit is not there: masked, not-found, bad-setting, error."""
    if load == "masked":
        return Unavailable(
            kind=Absence.CONFIG,
            reason=f"unit {unit} is masked on {place}: it cannot start",
            hint=f"systemctl unmask {unit}, or name the right unit in the service file",
        )
    if load in ("bad-setting", "error"):
        reason = f"unit {unit} on {place} cannot be loaded: its file has a mistake ({load})"
        hint = f"see what is wrong: systemd-analyze verify {unit}"
        return Unavailable(kind=Absence.CONFIG, reason=reason, hint=hint)
    hint = "see the units there: systemctl list-units --type=service"
    return Unavailable(
        kind=Absence.CONFIG, reason=f"there is no unit {unit} on {place} ({load or 'no answer'})", hint=hint
    )
