"""Entries of the journal as journalctl writes them in JSON: decoded, and put together to records. Pure."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from oncall.clients import log_lines
from oncall.clients.log_lines import Line, Trace
from oncall.clients.log_times import Clock
from oncall.model import Frozen

LONGEST_ENTRY = 2**18
"""Bytes of one entry; of a longer one the beginning and the end are kept."""
_PRIORITIES = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_NAMES = {
    "time": "__REALTIME_TIMESTAMP",
    "priority": "PRIORITY",
    "message": "MESSAGE",
    "transport": "_TRANSPORT",
    "pid": "_PID",
}


class _Entry(Frozen, frozen=True, rename=_NAMES):
    time: str
    # A field that an entry has twice is a list.
    message: str | list[str | int | list[int] | None] | None = None
    priority: str | list[str] | None = None
    transport: str | list[str] | None = None
    pid: str | list[str] | None = None


class Entry(Frozen, frozen=True):
    """An entry of the journal, decoded. `time` in Unix seconds; `told`: its priority was chosen by the program."""

    time: float
    priority: int | None
    told: bool
    pid: str
    message: str


def entries(data: bytes) -> Iterator[Entry]:
    """The entries of `-o json`: what cannot be read is left out, but for a line too long for its kind."""
    decoder = msgspec.json.Decoder(_Entry)
    for text in data.split(b"\n"):
        if not text.strip():
            continue
        try:
            found = decoder.decode(text)
            yield Entry(
                time=int(found.time) / 1e6, priority=_priority(_one(found.priority)), message=_decoded(found.message),
                told=_one(found.transport) != "stdout", pid=_one(found.pid) or "",
            )  # fmt: skip
        except (msgspec.DecodeError, ValueError):
            cut = _of_cut(text)
            if cut is not None:
                yield cut


def line_of(record: Sequence[Entry], clock: Clock) -> Line:
    """What a record says. An error by its priority is one; a priority that nobody chose says nothing: systemd gives
    all that a program prints `info`."""
    head, *more = record
    first, *rest = head.message.split("\n")
    line = log_lines.whole(first, [*rest, *(entry.message for entry in more)], clock)
    level = line.level
    if head.priority is not None and (head.priority <= 3 or (level is None and head.told)):
        # A level in the text may be the graver one.
        by_priority = _PRIORITIES[head.priority]
        level = line.level if head.priority <= 3 and line.level == "critical" else by_priority
    return Line(time=head.time, level=level, message=line.message)


def records(found: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Entries, newest first, with those that belong to the one before (of the same process) put to it."""
    waiting: dict[str, list[Entry]] = {}
    for entry in found:
        newer = waiting.setdefault(entry.pid, [])
        newer.append(entry)
        if (
            len(newer) < 200
            and not entry.told
            and (log_lines.continues(entry.message) or _may_end(entry.message))
        ):
            continue
        yield from _split(newer[::-1])
        waiting[entry.pid] = []
    for newer in waiting.values():
        if newer:
            yield from _split(newer[::-1])


def _may_end(text: str) -> bool:
    return log_lines.raises(text) and log_lines.read_line(text, Clock(end=0.0)).level is None


def _split(older_first: Sequence[Entry]) -> list[list[Entry]]:
    """Records of a run of entries, newest first."""
    records: list[list[Entry]] = []
    trace = Trace()
    for entry in older_first:
        if records and trace.takes(entry.message):
            records[-1].append(entry)
            continue
        trace = Trace()
        trace.takes(entry.message)
        records.append([entry])
    return records[::-1]


def _decoded(message: str | list[str | int | list[int] | None] | None) -> str:
    """MESSAGE as text: a string, bytes as numbers, several, or nothing (longer than journalctl shows)."""
    if message is None:
        return "(a message without text)"
    if isinstance(message, str):
        return message
    numbers = [n for n in message if isinstance(n, int)]
    if len(numbers) == len(message):
        return bytes(n & 255 for n in numbers).decode("utf-8", "replace")
    return "\n".join(part if isinstance(part, str) else _decoded(_bytes_of(part)) for part in message)


def _bytes_of(part: int | list[int] | None) -> list[str | int | list[int] | None] | None:
    return [*part] if isinstance(part, list) else None


def _one(value: str | list[str] | None) -> str | None:
    return value[0] if isinstance(value, list) and value else value if isinstance(value, str) else None


def _priority(text: str | None) -> int | None:
    return int(text) if text in ("0", "1", "2", "3", "4", "5", "6", "7") else None


_CUT_TIME = re.compile(rb'"__REALTIME_TIMESTAMP"\s*:\s*"(\d{1,20})"')
_CUT_PRIORITY = re.compile(rb'"PRIORITY"\s*:\s*"([0-7])"')
_CUT_TEXT = re.compile(rb'"MESSAGE"\s*:\s*"((?:[^"\\]|\\.)*)')
_CUT_BYTES = re.compile(rb'"MESSAGE"\s*:\s*\[((?:\s*\d{1,3}\s*,)*)')


def _of_cut(text: bytes) -> Entry | None:
    """An entry that lost its middle: its time, its priority and how its message begins."""
    time, priority = _CUT_TIME.search(text), _CUT_PRIORITY.search(text)
    if time is None:
        return None
    said = "(a message that could not be read)"
    if found := _CUT_TEXT.search(text[:LONGEST_ENTRY]):
        try:
            said = msgspec.json.decode(b'"' + found[1][:20_000].rpartition(b"\\")[0] + b'"', type=str)
        except msgspec.DecodeError:
            said = found[1][:20_000].decode("utf-8", "replace")
        said = said or found[1][:20_000].decode("utf-8", "replace")
    elif found := _CUT_BYTES.search(text[:LONGEST_ENTRY]):
        said = bytes(int(n) & 255 for n in found[1].split(b",")[:20_000] if n.strip()).decode(
            "utf-8", "replace"
        )
    grade = int(priority[1]) if priority else None
    return Entry(time=int(time[1]) / 1e6, priority=grade, told=True, pid="", message=said)
