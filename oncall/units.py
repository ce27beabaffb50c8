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
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_BYTES = {
    "b": 1.0,
    **{f"{p}b": 1000.0**n for n, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024.0**n for n, p in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_duration(text: str) -> Duration:
    """Seconds of `1h30m`, `90s`, `250ms`. Raises ValueError with what is allowed."""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text.strip():
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 5m, 1h30m or 7d")
    seconds = sum(float(n) * _SECONDS[u] for n, u in parts)
    if seconds <= 0:
        raise ValueError(f"{text!r}: a duration is longer than nothing")
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
    return at.replace(tzinfo=at.tzinfo or UTC)


def promql_duration(seconds: float) -> str:
    """A duration as PromQL takes it: whole seconds, or milliseconds below one."""
    return f"{round(seconds)}s" if seconds >= 1 else f"{max(1, round(seconds * 1000))}ms"
