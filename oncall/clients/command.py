"""A command of the service file, run as it stands: no shell, no terminal, what it says kept."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which
from time import perf_counter

from oncall.model import Absence, Frozen, Unavailable

_MOST_BYTES = 2**16
_TICK_S = 1.0
_PATIENCE_S = 2.0


class Ended(Frozen, frozen=True):
    """How a command ended: its exit code (negative: the signal), and the last line that it said, if any."""

    code: int
    last: str


def find(program: str) -> str | None:
    """Where the program is; None where it cannot be run. A path within the current folder is none: that folder may
    be anybody's."""
    return which(program) if Path(program).is_absolute() or "/" not in program else None


async def run_command(
    words: Sequence[str], deadline_s: float, tick: Callable[[float], None] = lambda _: None
) -> Ended | Unavailable:
    """Runs it once and waits `deadline_s` seconds; then it is ended, and what it has done is not known (TIMEOUT).

    What it says goes to a file, not a pipe: a server that it starts keeps its output, and must not hold us up.
    `tick` gets the seconds so far."""
    with tempfile.TemporaryFile() as said:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said
            )
        except (OSError, ValueError) as failed:
            why = getattr(failed, "strerror", None) or str(failed)
            reason = f"{words[0]} cannot be run: {why.lower()}"
            return Unavailable(kind=Absence.NOT_INSTALLED, reason=reason)
        try:
            code = await _wait(process, deadline_s, tick)
        finally:
            await _end(process)
        if code is None:
            reason = f"{Path(words[0]).name} did not end within {deadline_s:g} s, and was ended"
            return Unavailable(kind=Absence.TIMEOUT, reason=reason)
        size = said.seek(0, 2)
        said.seek(max(0, size - _MOST_BYTES))
        lines = said.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
    return Ended(code=code, last=next((s for line in reversed(lines) if (s := line.strip())), "")[:300])


async def _wait(
    process: asyncio.subprocess.Process, deadline_s: float, tick: Callable[[float], None]
) -> int | None:
    begun = perf_counter()
    while (spent := perf_counter() - begun) < deadline_s:
        tick(spent)
        try:
            return await asyncio.wait_for(process.wait(), min(_TICK_S, deadline_s - spent))
        except TimeoutError:
            continue
    return process.returncode


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the command itself, politely first; what it has started is left alone."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE_S)
    except TimeoutError:
        await killed(process)


async def killed(process: asyncio.subprocess.Process) -> None:
    """Kills a program that still runs, and waits until it is gone, also where that is cancelled in the middle:
    an event loop that is closed before its child has ended complains aloud."""
    stopped: asyncio.CancelledError | None = None
    if process.returncode is None:
        process.kill()
    while process.returncode is None:
        try:
            await process.wait()
        except asyncio.CancelledError as cancelled:
            stopped = cancelled
    if stopped is not None:
        raise stopped
