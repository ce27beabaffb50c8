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
