"""Error lines of a log that is read from its end: whole lines backward, and the few of them that may be errors."""

import re
from collections.abc import Callable, Iterator
from time import thread_time

from oncall.clients import log_lines
from oncall.clients.log_lines import Trace
from oncall.clients.log_templates import Tally
from oncall.clients.log_times import Clock
from oncall.model import Frozen

# What an error line holds, in lower case: only lines with one of these are taken apart. A search for a literal
# costs a tenth of what an expression does. `err` is looked at once more: it stands in many other words.
_MARKS = (
    b"err", b"exception", b"traceback", b"fata", b"panic", b"failed", b"refused", b"timeout", b"crit", b"alert",
    b"emerg", b"severe", b"ftl", b'" 5',
)  # fmt: skip
# Levels that are told in another way, where the log is of that kind: klog, syslog's number, a status alone.
_KINDS: tuple[tuple[re.Pattern[bytes], tuple[bytes, ...]], ...] = (
    (re.compile(rb"\n[iwef]\d{4} "), (b"\ne0", b"\ne1", b"\nf0", b"\nf1")),
    (re.compile(rb"\n<\d"), (b"\n<",)),
    (re.compile(rb'"status(?:_code)?": ?\d'), (b'status":5', b'status": 5', b'_code":5', b'_code": 5')),
)
# A line that begins so is no part of the one before.
_OWN = frozenset(b"0123456789{[<")
_NUMBERED = re.compile(rb'"(?:level|severity|lvl)"\s*:\s*"?\d')
_NUMBERED_ERROR = re.compile(rb'"(?:level|severity|lvl)"\s*:\s*"?(?:[0-3]|[5-9]\d)(?!\d)')
_MOST_MORE = 200
_MOST_CARRIED = 32_768
_LONGEST_LINE = log_lines.LONGEST + 1


class Budget(Frozen, frozen=True):
    """How much may be read: bytes, processor time in seconds, and how many bytes at once."""

    bytes: int = 4 * 2**20
    cpu_s: float = 0.15
    block: int = 2**17


BUDGET = Budget()


def backward(read: Callable[[int, int], bytes], size: int, block: int) -> Iterator[bytes]:
    """The bytes [0, size) as pieces of whole lines, the last one first; joined in reverse they are what was read.

    `read(at, count)` gives the bytes at a place; a short answer (the file was truncated) is taken as it is."""
    parts: list[bytes] = []  # Of a line whose start is not read yet, the last part first.
    at = size
    while at > 0:
        start = max(0, at - block)
        data = read(start, at - start)
        at = start
        cut = 0 if start == 0 else data.find(b"\n") + 1
        if start > 0 and cut == 0:
            parts.append(data)
            continue
        piece = b"".join([data[cut:], *reversed(parts)])
        parts = [data[:cut]] if cut else []
        if piece:
            yield piece


class Scan:
    """Takes pieces of whole lines, newest first, and counts their error lines. Times in Unix seconds."""

    def __init__(self, clock: Clock, tally: Tally, cpu_s: float) -> None:
        self.clock, self.tally = clock, tally
        self.lines = self.bytes = 0
        self.oldest: float | None = None
        self.newest: float | None = None
        self.quiet_time = False
        """Whether there is a line in the baseline at all."""
        self._carried = b""
        self._ends = thread_time() + cpu_s

    @property
    def spent(self) -> bool:
        return thread_time() > self._ends

    @property
    def reached(self) -> bool:
        """Whether what was read goes back to before the baseline."""
        return self.oldest is not None and self.oldest < self.tally.start

    def piece(self, data: bytes) -> None:
        """The next older piece. Lines at its start that may belong to an older one wait for that."""
        self.bytes += len(data)
        self.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        joined = data + self._carried if data.endswith(b"\n") else data + b"\n" + self._carried
        cut = self._first_of_its_own(joined)
        self._carried = joined[:cut]
        self._read(joined[cut:])

    def end(self) -> None:
        """Nothing older comes."""
        if self._carried:
            carried, self._carried = self._carried, b""
            self._read(carried)

    def _first_of_its_own(self, data: bytes) -> int:
        """Where the first line with a time begins; in a long piece without one near, the first that stands alone."""
        plain = None
        for text, begin in _lines(data, 0, min(len(data), _MOST_CARRIED)):
            if log_lines.time_of(text, self.clock) is not None:
                return begin
            if plain is None and not (log_lines.continues(text) or log_lines.raises(text)):
                plain = begin
        if len(data) <= _MOST_CARRIED:
            return len(data)
        return plain if plain is not None else _MOST_CARRIED

    def _read(self, data: bytes) -> None:
        if not data:
            return
        first, last = self._time_after(data, 0), self._time_before(data, len(data))
        self._span(data, first, last)
        done, known = 0, None
        for start in _suspects(data):
            if start < done:
                continue
            head, done, more = _record(data, start, done)
            line = log_lines.whole(_text(data, head), more, self.clock)
            level = log_lines.error_level(line)
            if level is None:
                continue
            time = line.time if line.time is not None else self._time_before(data, head, known)
            known = (head, time if time is not None else first)
            self.tally.add(known[1], level, line.message)

    def _span(self, data: bytes, first: float | None, last: float | None) -> None:
        if first is None or last is None:
            return
        self.oldest = first if self.oldest is None else min(self.oldest, first)
        self.newest = last if self.newest is None else max(self.newest, last)
        start, split = self.tally.start, self.tally.split
        if self.quiet_time or last < start or first >= split:
            return
        if start <= first or last < split:
            self.quiet_time = True
            return
        # The piece holds all of the baseline: the last line before the window tells.
        low, high, found = 0, len(data), first
        while high - low > 64:
            middle = (low + high) // 2
            time = self._time_before(data, data.rfind(b"\n", 0, middle) + 1)
            if time is not None and time < split:
                low, found = middle, max(found, time)
            else:
                high = middle
        self.quiet_time = found >= start

    def _time_after(self, data: bytes, at: int) -> float | None:
        for text, _ in _lines(data, at, min(len(data), at + _MOST_CARRIED)):
            time = log_lines.time_of(text, self.clock)
            if time is not None:
                return time
        return None

    def _time_before(
        self, data: bytes, at: int, known: tuple[int, float | None] | None = None
    ) -> float | None:
        """The time of the nearest line before a place; not beyond a place where it is known already."""
        stop, time = known or (0, None)
        for _ in range(_MOST_MORE):
            if at <= stop:
                return time
            at = data.rfind(b"\n", 0, at - 1) + 1
            found = log_lines.time_of(_text(data, at), self.clock)
            if found is not None:
                return found
        return time


def _suspects(data: bytes) -> list[int]:
    """Where the lines begin that may be errors, in order."""
    low = b"\n" + data.lower()
    sample = low[:4000] + low[-4000:]
    found: set[int] = set()
    for mark in (*_MARKS, *(mark for kind, marks in _KINDS if kind.search(sample) for mark in marks)):
        at = low.find(mark)
        while at >= 0:
            if mark == b"err" and not _is_level(low, at):
                at = low.find(mark, at + 3)
                continue
            found.add(
                low.rfind(b"\n", 0, at + 1)
            )  # Shifted by one: the place of the break is the line's own.
            at = low.find(b"\n", at + 1)
            at = low.find(mark, at) if at >= 0 else -1
    if _NUMBERED.search(sample):
        found.update(low.rfind(b"\n", 0, match.start()) for match in _NUMBERED_ERROR.finditer(low))
    found.discard(len(data))
    return sorted(found)


def _is_level(low: bytes, at: int) -> bool:
    """`error` anywhere, or `err` as a word."""
    return low[at + 3 : at + 4] == b"o" or not (low[at - 1 : at].isalpha() or low[at + 3 : at + 4].isalpha())


def _record(data: bytes, start: int, floor: int) -> tuple[int, int, list[str]]:
    """The record that the line at `start` belongs to: where it begins and ends, and its lines but the first."""
    head = start
    for _ in range(_MOST_MORE):
        if head <= floor or data[head] in _OWN or not _belongs(data, head):
            break
        head = data.rfind(b"\n", 0, head - 1) + 1
    end, more = _rest(data, head)
    if end <= start:  # It only looked like the rest of what stands before it.
        head = start
        end, more = _rest(data, head)
    return head, end, more


def _rest(data: bytes, head: int) -> tuple[int, list[str]]:
    """Where the record that begins at `head` ends, and its lines but the first."""
    more: list[str] = []
    trace, end = Trace(), _after(data, head)
    if end == len(data) or data[end] in _OWN:
        return end, more
    trace.takes(_text(data, head))
    while end < len(data) and len(more) < _MOST_MORE:
        text = _text(data, end)
        if not trace.takes(text):
            break
        more.append(text)
        end = _after(data, end)
    return end, more


def _belongs(data: bytes, at: int) -> bool:
    """Whether the line belongs to the one before: it looks so, or it ends a traceback."""
    text = _text(data, at)
    if log_lines.continues(text):
        return True
    before = data.rfind(b"\n", 0, at - 1) + 1
    return data[before : before + 2] == b"  " and log_lines.raises(text)


def _lines(data: bytes, at: int, stop: int) -> Iterator[tuple[str, int]]:
    while at < stop:
        yield _text(data, at), at
        at = _after(data, at)


def _after(data: bytes, at: int) -> int:
    end = data.find(b"\n", at)
    return len(data) if end < 0 else end + 1


def _text(data: bytes, at: int) -> str:
    """The line at a place, without its end."""
    end = data.find(b"\n", at)
    end = len(data) if end < 0 else end
    return data[at : min(end, at + _LONGEST_LINE)].decode("utf-8", "replace").rstrip("\r")
