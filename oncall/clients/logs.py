"""The service's log, a file or the journal of its unit: error lines by template, now against the baseline."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

from oncall.clients import journal, log_file, log_report, log_there
from oncall.clients.log_file import Extent
from oncall.clients.log_report import Seen, Span
from oncall.clients.log_scan import BUDGET, Budget, Scan
from oncall.clients.log_templates import Tally
from oncall.clients.log_times import Clock
from oncall.model import Absence, Frozen, StepReading, Table, Unavailable

__all__ = ["Budget", "LogSource", "Span", "look"]

WORDS = ("errors", "templates")
_TABLES: Mapping[str, Callable[[Tally, Seen, Span], Table]] = {
    "errors": log_report.errors,
    "templates": log_report.templates,
}
_GREP = "error|exception|traceback|fatal|critical|panic|failed|refused|timeout"
# What is read is used even where the deadline comes first.
_SHARE_OF_DEADLINE = 0.7


class LogSource(Frozen, frozen=True):
    """Where the log is: a file, else the journal of a unit; on this machine, or on `ssh`."""

    file: str | None = None
    unit: str | None = None
    ssh: str | None = None


async def look(
    source: LogSource,
    span: Span,
    patterns: Mapping[str, str],
    words: Sequence[str],
    deadline_s: float,
    *,
    budget: Budget = BUDGET,
    more: Sequence[str] = (),
) -> dict[str, StepReading] | Unavailable:
    """The tables that `words` name, within `deadline_s` seconds. Reads only.

    `patterns` (name to expression, matched without case) count error lines of a kind. `more` are further words
    for journalctl, such as `-D FOLDER`."""
    begun = perf_counter()
    try:
        tally = Tally(span.start, span.split, span.end, patterns)
    except re.error as wrong:
        return Unavailable(kind=Absence.BAD_QUERY, reason=f"not an expression: {wrong}")
    if not source.file and not source.unit:
        hint = "set logs.file, or unit, in the service file"
        return Unavailable(
            kind=Absence.NOT_CONFIGURED, reason="neither logs nor unit is configured", hint=hint
        )
    try:
        seen = await _seen(source, span, tally, deadline_s, budget, more)
    except TimeoutError:
        reason = f"the log could not be read within {deadline_s:g} s"
        return Unavailable(kind=Absence.TIMEOUT, reason=reason)
    if isinstance(seen, Unavailable):
        return seen
    ms = (perf_counter() - begun) * 1000
    name, query = ("logs" if source.file else "journal"), query_of(source, span, budget)
    return {
        word: StepReading(source=name, query=query, answer=_TABLES[word](tally, seen, span), ms=ms)
        for word in words
        if word in _TABLES
    }


def query_of(source: LogSource, span: Span, budget: Budget = BUDGET) -> str:
    """What a person would paste to see the same lines."""
    if source.file:
        shown = f"tail -c {max(1, budget.bytes // 2**20)}M -- {shlex.quote(source.file)}"
    else:
        shown = journal.shown(source.unit or "", span.start, span.end)
    if source.ssh:
        shown = f"ssh {shlex.quote(source.ssh)} {shlex.quote(shown)}"
    return f"{shown} | grep -iE '{_GREP}'"


async def _seen(
    source: LogSource, span: Span, tally: Tally, deadline_s: float, budget: Budget, more: Sequence[str]
) -> Seen | Unavailable:
    if not source.file:
        return await journal.read(
            source.unit or "", source.ssh, span, tally, deadline_s, budget=budget, more=more
        )
    clock = Clock(end=span.end)
    make = partial(_scan, tally=tally, budget=budget)
    if source.ssh:
        found = await log_there.read_there(source.ssh, source.file, make, clock, budget, deadline_s)
    else:
        path, ends = source.file, perf_counter() + deadline_s * _SHARE_OF_DEADLINE
        found = await log_file.in_thread(
            lambda: log_file.read_here(path, make, clock, budget, ends), deadline_s
        )
    if isinstance(found, Unavailable):
        return found
    scan, extent = found
    return _judged(source.file, scan, extent, span, tally)


def _scan(clock: Clock, tally: Tally, budget: Budget) -> Scan:
    return Scan(clock, tally, budget.cpu_s)


def _judged(path: str, scan: Scan, extent: Extent, span: Span, tally: Tally) -> Seen | Unavailable:
    """What was read of a file, or why it says nothing about the window."""
    if scan.lines == 0 or scan.bytes == 0:
        return Unavailable(kind=Absence.NO_DATA, reason=f"{path} is empty")
    if extent.stopped and scan.oldest is not None and scan.oldest > span.end:
        reason = f"what was read of {path} begins after the window"
        return Unavailable(kind=Absence.NO_DATA, reason=reason, hint="look at a time nearer to now")
    if scan.oldest is None and extent.written is not None and extent.written < span.split:
        tally.forget()  # Undated lines, but none of them was written in the window.
    return Seen(
        lines=scan.lines, oldest=scan.oldest, newest=scan.newest, quiet_time=scan.quiet_time,
        stopped=extent.stopped, whole=extent.whole, read=extent.read, size=extent.size,
        written=extent.written, notes=extent.notes,
    )  # fmt: skip
