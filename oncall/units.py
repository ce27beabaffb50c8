"""Durations, sizes and times as people write them, to numbers and back."""

import re
from datetime import UTC, datetime, timedelta


class Duration(float):
    """A length of time in seconds, written `90s`, `5m`, `1h30m`, `7d`."""

    __slots__ = ()


class Size(float):
    """A number of bytes, written `2GB` (decimal) or `512MiB` (binary)."""

    __slots__ = ()


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST = 100 * 366 * 86400.0
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|[smhdw])")
_BYTES = {
    "b": 1.0,
    **{f"{p}b": 1000.0**n for n, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024.0**n for n, p in enumerate("kmgt", 1)},
}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)}) ([01][0-9]|2[0-3]):([0-5][0-9])", re.IGNORECASE | re.ASCII)
# A date alone does not say whether its day belongs to the freeze.
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}", re.ASCII)
_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,15})?)\s*([A-Za-z]{1,3})\s*")


def parse_duration(text: str) -> Duration:
    """Seconds of `1h30m`, `90s`, `250ms`. Raises ValueError with what is allowed."""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text.strip():
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 5m, 1h30m or 7d")
    seconds = sum(float(n) * _SECONDS[u] for n, u in parts)
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{text!r}: a duration is longer than nothing and shorter than 100 years")
    return Duration(seconds)


def parse_size(text: str) -> Size:
    """Bytes of `2GB` (10^9) or `2GiB` (2^30). Raises ValueError with what is allowed."""
    found = _SIZE.fullmatch(text)
    if not found or found[2].lower() not in _BYTES:
        raise ValueError(f"{text!r} is not a size: write it like 512MB, 2GB or 2GiB")
    return Size(float(found[1]) * _BYTES[found[2].lower()])


def parse_time(text: str, now: datetime) -> datetime:
    """An RFC 3339 time, or a duration ago (`2h`). A time without a zone is UTC. Raises ValueError."""
    try:
        return now - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: write 2026-01-01T03:12:00Z, or a duration ago such as 2h"
        ) from None
    if not 1970 < at.year < 9999:
        raise ValueError(f"{text!r}: the year must be from 1971 to 9998")
    return at.replace(tzinfo=at.tzinfo or UTC)


def parse_weekly(text: str) -> int:
    """Minutes since Monday 00:00 of `Fri 16:00`. Raises ValueError with what is allowed."""
    found = _WEEKLY.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a time of the week: write it like Fri 16:00 (UTC)")
    return (_DAYS.index(found[1].lower()) * 24 + int(found[2])) * 60 + int(found[3])


def parse_freeze(begin: str, end: str) -> tuple[datetime, datetime] | tuple[int, int]:
    """A freeze: two moments of RFC 3339 (without a zone: UTC), or two times of each week (`Fri 16:00`), in minutes
    since Monday 00:00 UTC, of which the second may come first. Raises ValueError with what is allowed."""
    moments = [_moment(text) for text in (begin, end)]
    if moments[0] and moments[1]:
        if moments[0] >= moments[1]:
            raise ValueError(f"the freeze ends at {end}, which is not after its begin at {begin}")
        return moments[0], moments[1]
    for text, moment in zip((begin, end), moments, strict=True):
        if moment is None and not _WEEKLY.fullmatch(text.strip()):
            raise ValueError(
                f"{text!r} is not a time: write 2026-12-24T00:00:00Z, or Fri 16:00 for each week (UTC)"
            )
    if moments[0] or moments[1]:
        raise ValueError(f"{begin} and {end} are of two kinds: write two dates, or two times of the week")
    weekly = parse_weekly(begin), parse_weekly(end)
    if weekly[0] == weekly[1]:
        raise ValueError(f"the freeze begins and ends at {begin}: is it never, or always?")
    return weekly


def _moment(text: str) -> datetime | None:
    if not _MOMENT.match(text.strip()):
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC) if 1970 < at.year < 9999 else None


def write_duration(seconds: float) -> str:
    """A duration as people write it, such that `parse_duration` reads the same: 5m, 1h30m, 1.5s."""
    left, text = float(seconds), ""
    for unit in ("d", "h", "m"):
        whole, left = divmod(left, _SECONDS[unit])
        text += f"{whole:.0f}{unit}" if whole else ""
    return text + (f"{left:.15f}".rstrip("0").rstrip(".") + "s" if left or not text else "")


def write_size(size: float) -> str:
    """Bytes as people write them, such that `parse_size` reads the same: 2GB, 512MiB, 100B."""
    for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "kB", "KiB"):
        if size and size % _BYTES[unit.lower()] == 0:
            return f"{size / _BYTES[unit.lower()]:.0f}{unit}"
    return f"{size:.15f}".rstrip("0").rstrip(".") + "B"


def promql_duration(seconds: float) -> str:
    """A duration as PromQL takes it: whole seconds, or milliseconds below one."""
    return f"{round(seconds)}s" if seconds >= 1 else f"{max(1, round(seconds * 1000))}ms"
