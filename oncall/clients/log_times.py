"""When a line was written: the time at its start, in any of the usual forms. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from oncall.model import Frozen

_HEAD = 400
_DAY = 86_400.0


class Clock(Frozen, frozen=True):
    """How times without a zone are read: `offset_s` east of UTC (None: as this machine); the year by `end`."""

    end: float
    offset_s: float | None = None


_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_CLOCK_TIME = r"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?"
_ISO = (
    r"(?P<y>\d{4})[-/](?P<mo>\d\d)[-/](?P<d>\d\d)[T ]"
    + _CLOCK_TIME
    + r"(?:\s?(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d)(?!\w))?"
)
_NAMED = r"(?P<d>\d\d?)[ /](?P<mo>[A-Z][a-z]{2})[ /](?P<y>\d{4})[ :]" + _CLOCK_TIME
_STARTS: tuple[re.Pattern[str], ...] = (
    re.compile(r"[\[(\"]?" + _ISO + r"[\])\"]?"),
    re.compile(r"<(?P<pri>\d{1,3})>\d " + _ISO + r" \S+ \S+ \S+ \S+ (?:-|\[[^\]]*\]) ?"),
    re.compile(
        r"(?:<(?P<pri>\d{1,3})>)?(?P<mo>[A-Z][a-z]{2})\s+(?P<d>\d\d?) "
        + _CLOCK_TIME
        + r"(?: \S+ [^\s\[:]+(?:\[\d+\])?:)?"
    ),
    re.compile(r"(?P<klog>[IWEF])(?P<mo>\d\d)(?P<d>\d\d) " + _CLOCK_TIME + r"\s+\d+ [^\]\s]*\]"),
    re.compile(r"\d+:[A-Z] " + _NAMED + r" [.\-*#]"),
    re.compile(r"\[[A-Z][a-z]{2} (?P<mo>[A-Z][a-z]{2}) +(?P<d>\d\d?) " + _CLOCK_TIME + r" (?P<y>\d{4})\]"),
    re.compile(r"\[?(?P<epoch>\d{10}(?:\.\d{1,9})?)(?![\d\w])\]?"),
)
# The form that nearly all have, read without taking each part by its name.
_USUAL = re.compile(
    r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):(\d\d(?:[.,]\d{1,9})?)(?: ?(Z|UTC|GMT|[+-]\d\d:?\d\d)(?!\w))?\]?"
)
_COMMON = re.compile(r"\[" + _NAMED + r" (?P<z>[+-]\d{4})\]")
_KLOG = {"I": "info", "W": "warning", "E": "error", "F": "critical"}
# By number: syslog counts down from 0 (emergency), pino up to 60 (fatal).
SYSLOG = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")


def start_of(text: str, clock: Clock) -> tuple[float | None, str | None, str]:
    """The time at the start of a line, a level that stands with it, and the rest."""
    usual = _USUAL.match(text)
    if usual is not None:
        minute = _usual_minute(usual[1], usual[3], clock.offset_s)
        if minute is not None:
            return minute + float(usual[2].replace(",", ".")), None, text[usual.end() :]
    for pattern in _STARTS:
        found = pattern.match(text)
        if found is None:
            continue
        parts = found.groupdict()
        time = _moment(parts, clock)
        if time is not None:
            return time, _level_with(parts), text[found.end() :]
    common = _COMMON.search(text[:_HEAD]) if "[" in text[:_HEAD] else None
    return (_moment(common.groupdict(), clock) if common else None), None, text


@lru_cache(4096)
def _usual_minute(text: str, zone: str | None, offset_s: float | None) -> float | None:
    offset = offset_s if zone is None else 0.0 if zone in ("Z", "UTC", "GMT") else offset_of(zone)
    date, hour, minute = text[:10], text[11:13], text[14:16]
    return _minute(int(date[:4]), int(date[5:7]), int(date[8:]), int(hour), int(minute), offset)


def _level_with(parts: Mapping[str, str | None]) -> str | None:
    if klog := parts.get("klog"):
        return _KLOG[klog]
    pri = parts.get("pri")
    return SYSLOG[int(pri) & 7] if pri else None


def _moment(parts: Mapping[str, str | None], clock: Clock) -> float | None:
    epoch = parts.get("epoch")
    if epoch:
        return float(epoch)
    year, month = parts.get("y"), parts["mo"] or ""
    number = _MONTHS.get(month, 0) if month.isalpha() else int(month)
    zone = _zone(parts.get("z"), clock)
    place = (number, int(parts["d"] or 0), int(parts["h"] or 0), int(parts["mi"] or 0))
    seconds = int(parts["s"] or 0) + float(f"0.{parts.get('f') or 0}")
    if year:
        minute = _minute(int(year), *place, zone)
        return None if minute is None else minute + seconds
    this_year = datetime.fromtimestamp(clock.end, UTC).year
    for guess in (this_year + 1, this_year, this_year - 1):
        minute = _minute(guess, *place, zone)
        if minute is not None and minute <= clock.end + _DAY:
            return minute + seconds
    return None


def _zone(text: str | None, clock: Clock) -> float | None:
    if not text:
        return clock.offset_s
    return 0.0 if text in ("Z", "UTC", "GMT") else offset_of(text)


def offset_of(text: str) -> float | None:
    """Seconds east of UTC of `+0200` or `+02:00`; None for anything else."""
    digits = text[1:].replace(":", "")
    if text[:1] not in ("+", "-") or len(digits) != 4 or not digits.isdigit():
        return None
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return float(-seconds if text[0] == "-" else seconds)


@lru_cache(4096)
def _minute(year: int, month: int, day: int, hour: int, minute: int, offset_s: float | None) -> float | None:
    """Unix seconds of a minute; an offset of None is the zone of this machine."""
    try:
        at = datetime(year, month, day, hour, minute)
        if offset_s is not None:
            at = at.replace(tzinfo=timezone(timedelta(seconds=offset_s)))
        return at.timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def has_zone(text: str) -> bool:
    """Whether the line's time says its zone, or needs none."""
    text = text[: 4 * _HEAD]
    return bool(
        re.search(r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)(?!\w)", text)
        or re.search(r"(?<!\d)1\d{9}(?:\d{3}){0,3}(?!\d)", text)
    )
