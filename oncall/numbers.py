"""Numbers as people read them, by their unit; times in UTC."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from oncall.model import Scalar

NONE = "–"
_SECONDS = frozenset({"s", "sec", "second", "seconds"})
_MILLISECONDS = frozenset({"ms", "millisecond", "milliseconds"})
_BYTES = frozenset({"b", "byte", "bytes"})
_RATIO = frozenset({"ratio", "share", "fraction"})
_PERCENT = frozenset({"%", "percent"})
_YES_NO = "yes_no"
_TIMESTAMP = "timestamp"
_LONG_COUNT = 100_000
_NEARLY, _MOST_NINES = 0.99, 4


def humane(value: float | None, unit: str | None = None) -> str:
    """A number in its unit: seconds (4.2 s, 3 min 32 s), bytes (1.9 GB), ratio (3.2%), `X per second` (41/s).

    `yes_no` is 1 or 0, `timestamp` Unix seconds (2026-01-01 03:12 UTC). Any other unit counts things (19):
    its name belongs to the title. A dash where there is no number.
    """
    if value is None:
        return NONE
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if unit == _YES_NO:
        return "yes" if value else "no"
    if unit == _TIMESTAMP:
        return _date(value)
    if value < 0:
        return "-" + humane(-value, unit)
    return _by_unit(float(value), (unit or "").strip().lower())


def _by_unit(value: float, unit: str) -> str:
    for ending in ("/s", " per second", "_per_second", "per second", "per_second"):
        if unit.endswith(ending):
            whole = unit.removesuffix(ending).strip()
            return f"{_by_unit(value, whole if whole in _BYTES else '')}/s"
    if unit in _SECONDS:
        return duration(value)
    if unit in _MILLISECONDS:
        return duration(value / 1000)
    if unit in _BYTES:
        return size(value)
    if unit in _RATIO:
        return f"{_nines(value) if _NEARLY <= value < 1 else figures(value * 100)}%"
    return f"{figures(value)}%" if unit in _PERCENT else count(value)


def _nines(share: float) -> str:
    """A share of nearly all, by what it lacks: 99.86, 99.97. Such a one that is called 100 is a lie."""
    lack = 100 * (1 - share)
    digits = min(_MOST_NINES, max(1, 1 - math.floor(math.log10(lack))))
    return f"{100 - lack:.{digits}f}".rstrip("0").rstrip(".")


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 ms, 180 ms, 4.2 s, 3 min 32 s, 2 h 5 min, 3 d 4 h."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{figures(seconds * 1000)} ms"
    if seconds < 59.5:
        return f"{figures(seconds)} s" if seconds < 9.95 else f"{round(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _two(minutes, "min", rest, "s")
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return _two(hours, "h", minutes, "min")
    days, hours = divmod(round(seconds / 3600), 24)
    if days >= 1000:
        return f"{count(days)} d"
    return _two(days, "d", hours, "h")


def size(value: float) -> str:
    """Bytes in decimal units: 512 B, 64 kB, 1.9 GB."""
    return _scaled(value, ("B", "kB", "MB", "GB", "TB", "PB"))


def count(value: float) -> str:
    """A number of things: exact up to 99 999, then 123 k, 4.5 M."""
    return figures(value) if value < _LONG_COUNT else _scaled(value / 1000, ("k", "M", "G"))


def _scaled(value: float, names: Sequence[str]) -> str:
    step = 0
    while value >= 999.5 and step < len(names) - 1:
        value, step = value / 1000, step + 1
    return f"{figures(value)} {names[step]}"


def figures(value: float) -> str:
    """A number that is not negative, in as many figures as help: 0.0042, 0.18, 4.2, 42.5, 19, 420."""
    if value >= 1e15:
        return f"{value:.1e}"
    if value == 0 or value >= 99.95:
        return str(round(value))
    if value >= 9.95:
        return f"{value:.1f}".removesuffix(".0")
    if value < 1e-9:
        return f"{value:.1e}"
    digits = max(1, 1 - math.floor(math.log10(value)))
    shown = f"{value:.{digits}f}"
    return shown.rstrip("0").rstrip(".")


def scalar(value: Scalar, unit: str | None = None) -> str:
    """A cell of a table. Whole numbers without a unit stay exact: they may be a pid."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int) and (unit is None or abs(value) >= 2**53):
        return str(value)
    return humane(value, unit)


def clock(at: datetime) -> str:
    """The time of day: `03:12:41 UTC`."""
    return _utc(at).strftime("%H:%M:%S UTC")


def day(at: datetime) -> str:
    """The date: `2026-01-01`."""
    return _utc(at).strftime("%Y-%m-%d")


def since(at: datetime, now: datetime) -> str:
    """When something began, as short as it is clear: `03:04`, or with the date where that is another."""
    at, now = _utc(at), _utc(now)
    return at.strftime("%H:%M") if at.date() == now.date() else at.strftime("%m-%d %H:%M")


def _date(timestamp: float) -> str:
    try:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return figures(abs(timestamp))


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _two(big: int, big_name: str, small: int, small_name: str) -> str:
    return f"{big} {big_name} {small} {small_name}" if small else f"{big} {big_name}"
