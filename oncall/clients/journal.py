"""The journal of a unit, through the system's own journalctl: here, or by ssh where the service runs."""

import asyncio
import math
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter, thread_time

from oncall.clients import log_lines, systemd
from oncall.clients.command import killed
from oncall.clients.journal_entries import LONGEST_ENTRY, entries, line_of, records
from oncall.clients.log_file import in_thread
from oncall.clients.log_report import Seen, Span
from oncall.clients.log_scan import BUDGET, Budget
from oncall.clients.log_templates import Tally
from oncall.clients.log_times import Clock
from oncall.model import Absence, Frozen, Unavailable

_FIELDS = "--output-fields=MESSAGE,PRIORITY,_TRANSPORT,_PID"
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*")
_GROUPS = re.compile(r"[Gg]roups?((?:[^'.]{0,8}'[\w-]+')+)")
_HOSTS_WORDS = ("insufficient permissions", "not seeing messages from other users", "Permission denied")
_SHARE_OF_DEADLINE = 0.7


class _Out(Frozen, frozen=True):
    """What journalctl wrote: complete lines as far as the budget went, and why it went no further."""

    data: bytes
    err: str
    code: int
    stopped: str | None


def check_unit(unit: str) -> Unavailable | None:
    """Why a name is refused before anything is run: journalctl would take a glob or an option."""
    if _UNIT.fullmatch(unit) and not unit.startswith("-"):
        return None
    reason = f"{unit[:80]!r} is not the name of one unit"
    return Unavailable(
        kind=Absence.CONFIG, reason=reason, hint="name one unit, such as bot-controller.service"
    )


def shown(unit: str, start: float, end: float) -> str:
    """The command that a person would paste."""
    since, until = (
        datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") for t in (start, math.ceil(end))
    )
    return f"journalctl --no-pager -u {shlex.quote(unit)} --since '{since}' --until '{until}'"


async def read(
    unit: str,
    ssh: str | None,
    span: Span,
    tally: Tally,
    deadline_s: float,
    *,
    budget: Budget = BUDGET,
    more: Sequence[str] = (),
) -> Seen | Unavailable:
    """Counts the unit's error lines of the span, newest first until the budget ends."""
    refused = check_unit(unit)
    if refused is not None:
        return refused
    begun = perf_counter()
    head = ("journalctl", "--no-pager", "-o", "json", "--all", "-u", unit, *more)
    since, until = f"@{math.floor(span.start)}", f"@{math.ceil(span.end)}"
    wanted = (*head, "-r", "-p", "info", "--since", since, "--until", until, _FIELDS)
    older = (*head, "-r", "-n", "1", "--until", since, "--output-fields=PRIORITY")
    ends = deadline_s * _SHARE_OF_DEADLINE
    out, before = await asyncio.gather(
        _run(wanted, ssh, ends, budget.bytes), _run(older, ssh, ends, 2 * LONGEST_ENTRY)
    )
    if isinstance(out, Unavailable):
        return out
    fault = _fault(out, ssh)
    if fault is not None:
        return fault
    older_than = None if isinstance(before, Unavailable) else _time(before.data)
    left = max(0.05, deadline_s - (perf_counter() - begun))
    seen = await in_thread(lambda: count(out.data, out.stopped, older_than, span, tally, budget.cpu_s), left)
    if seen.lines == 0 and older_than is None:
        left = max(0.05, deadline_s - (perf_counter() - begun))
        return await _nothing(unit, ssh, left, out.stopped)
    return seen


def count(
    data: bytes, stopped: str | None, older: float | None, span: Span, tally: Tally, cpu_s: float
) -> Seen:
    """Counts the entries of an answer, newest first. `older`: when an entry before the span was written."""
    ends = thread_time() + cpu_s
    clock = Clock(end=span.end)
    lines, oldest, newest, quiet = 0, None, None, False
    for number, record in enumerate(records(entries(data))):
        first = record[0]
        lines += len(record)
        oldest = first.time if oldest is None else min(oldest, first.time)
        newest = record[-1].time if newest is None else max(newest, record[-1].time)
        quiet = quiet or span.start <= first.time < span.split
        line = line_of(record, clock)
        level = log_lines.error_level(line)
        if level is not None:
            tally.add(first.time, level, line.message)
        if number % 64 == 63 and thread_time() > ends:
            stopped = "cpu"
            break
    whole = stopped is None and older is None
    return Seen(
        lines=lines, oldest=older if oldest is None else oldest, newest=older if newest is None else newest,
        quiet_time=quiet, stopped=stopped if oldest is not None else None, whole=whole, read=len(data),
    )  # fmt: skip


# --- journalctl --------------------------------------------------------------------------------------


async def _run(words: Sequence[str], ssh: str | None, deadline_s: float, most: int) -> _Out | Unavailable:
    """Runs journalctl and reads it as it writes; it is ended at `most` bytes or at the deadline."""
    command = systemd.command_of(words, ssh, deadline_s)
    process = await systemd.started(command)
    if isinstance(process, Unavailable):
        return process
    assert process.stdout is not None
    assert process.stderr is not None
    taken, said = _Lines(most), bytearray()
    stopped = None
    try:
        async with asyncio.timeout(deadline_s):
            talk = asyncio.create_task(_take(process.stderr, said))
            try:
                while chunk := await process.stdout.read(2**16):
                    if not taken.add(chunk):
                        stopped = "bytes"
                        break
                else:
                    await talk
                    await process.wait()
            finally:
                talk.cancel()
    except TimeoutError:
        stopped = "deadline"
    finally:
        await killed(process)
    if stopped == "deadline" and not taken.whole:
        return Unavailable(
            kind=Absence.TIMEOUT, reason=f"{command[0]} gave nothing within {deadline_s:.2g} s"
        )
    err = " ".join(said.decode("utf-8", "replace").split())
    return _Out(
        data=bytes(taken.whole), err=err, code=0 if stopped else process.returncode or 0, stopped=stopped
    )


class _Lines:
    """Whole lines out of chunks; of a very long one the beginning and the end."""

    def __init__(self, most: int) -> None:
        self.whole, self._most, self._seen = bytearray(), most, 0
        self._line = bytearray()

    def add(self, chunk: bytes) -> bool:
        """Whether there is budget left."""
        chunk = chunk[: self._most - self._seen]
        self._seen += len(chunk)
        head, newline, rest = chunk.rpartition(b"\n")
        if newline:
            self.whole += self._line + head + newline
            self._line = bytearray(rest)
        else:
            self._line += chunk
            if len(self._line) > LONGEST_ENTRY:
                half = LONGEST_ENTRY // 2
                self._line = self._line[:half] + self._line[-half:]
        return self._seen < self._most


async def _take(stream: asyncio.StreamReader, into: bytearray) -> None:
    while part := await stream.read(4096):
        if len(into) < 8192:
            into += part


def _fault(out: _Out, ssh: str | None) -> Unavailable | None:
    """Why the answer is none. Without the right to read the journal, journalctl shows one's own entries and ends
    well."""
    place = ssh or "this machine"
    if any(word in out.err for word in _HOSTS_WORDS):
        found = _GROUPS.search(out.err)
        names = re.findall(r"'([\w-]+)'", found[1]) if found else []
        group = "systemd-journal" if "systemd-journal" in names or not names else names[0]
        others = [name for name in names if name != group]
        also = f" ({' or '.join(others)} does too)" if others else ""
        hint = f"sudo usermod -aG {group} $USER, then log in again{also}"
        return Unavailable(
            kind=Absence.DENIED, reason=f"this login may not read the journal of {place}", hint=hint
        )
    if out.code == 0:
        return None
    said = out.err[:200] or f"it ended with code {out.code}"
    ran = systemd.Ran(code=out.code, out="", err=said, ms=0.0)
    if ssh and out.code == 255:
        return systemd.no_ssh(ran, ssh)
    if out.code == 127 or "not found" in said:
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=f"{place} has no journalctl")
    return Unavailable(kind=Absence.BAD_ANSWER, reason=f"journalctl on {place} says: {said}")


async def _nothing(unit: str, ssh: str | None, deadline_s: float, stopped: str | None) -> Unavailable:
    """No entry at all: an unknown unit gives the same answer as a silent one, so systemd is asked."""
    place = ssh or "this machine"
    if stopped:
        return Unavailable(kind=Absence.TIMEOUT, reason=f"the journal of {place} gave no whole entry in time")
    ran = await systemd.run(("systemctl", "show", "--property=LoadState", "--", unit), ssh, deadline_s)
    load = "" if isinstance(ran, Unavailable) or ran.code else ran.out.strip().removeprefix("LoadState=")
    if load and load not in ("loaded", "stub"):
        return systemd.not_loaded(unit, load, place)
    hint = "where the service logs to a file: set logs.file in the service file"
    return Unavailable(
        kind=Absence.NO_DATA, reason=f"the journal of {place} has no line of unit {unit}", hint=hint
    )


def _time(data: bytes) -> float | None:
    return next((entry.time for entry in entries(data)), None)
