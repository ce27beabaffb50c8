"""Signals against their thresholds, worst first."""

from collections.abc import Iterator
from typing import Protocol

from rich.text import Text

from oncall.model import CauseReport, Severity, SignalReport
from oncall.numbers import humane
from oncall.render.grid import FAINT, GAP, HEADING, SEVERITY_STYLE, Cell, columns, indented, line, taken
from oncall.render.spark import spark
from oncall.render.text import cells
from oncall.render.words import Looked, began, bounds, ranked_signals, shown_value, state

_OLD_S = 60.0
_TITLE = 24
_NARROW_TITLE = 14
_BARS = 24
_FEW_BARS = 8
_HEADS = ("Signal", "now", "usual", "warn", "crit", "", "", "since")
_TREND = 5


class Measured(Looked, Protocol):
    """What is needed of a report: a diagnosis, or a status, which has no causes."""

    @property
    def signals(self) -> tuple[SignalReport, ...]: ...

    @property
    def causes(self) -> tuple[CauseReport, ...]: ...


def signals(d: Measured, width: int) -> list[Text]:
    """A table; below the width that it needs, two lines a signal."""
    ranked = ranked_signals(d.signals)
    read = [signal for signal in ranked if signal.value is not None]
    unread = [signal for signal in ranked if signal.value is None and _missed(signal, d)]
    ranked = [signal for signal in ranked if signal.value is not None or signal in unread]
    if not ranked:
        return []
    rows = [_row(signal, d) for signal in read]
    widths = _widths(
        rows, [signal.title for signal in ranked], width, max((len(s.history) for s in read), default=0)
    )
    if widths is None:
        return [line(("Signals", HEADING)), *_stacked(read, unread, d, width), *_old(read, width)]
    table = _table(read, rows, widths) if read else [line(("Signals", HEADING))]
    return [*table, *_unread(unread, widths[0], width), *_old(read, width)]


def _missed(signal: SignalReport, d: Measured) -> bool:
    """Whether anything lacks it: a metric that is not there, where another reading stood in, is not worth a line."""
    reason = signal.reason or ""
    optional = not signal.symptom and reason.startswith(("no data for", "/metrics has no"))
    return not optional or any(reason in gap for cause in d.causes for gap in cause.missing)


def _row(signal: SignalReport, d: Measured) -> list[str]:
    numbers = [humane(number, signal.unit) for number in (signal.baseline, *bounds(signal))]
    return [signal.title, shown_value(signal), *numbers, "", state(signal), began(signal, d)]


def _widths(rows: list[list[str]], titles: list[str], width: int, points: int) -> list[int] | None:
    """Widths of the columns: bars shrink, then titles wrap, then bars go; None where that is too wide."""
    natural = [max([cells(head), *(cells(row[index]) for row in rows)]) for index, head in enumerate(_HEADS)]
    if not any(row[-1] for row in rows):
        natural[-1] = 0
    longest = max(cells(_HEADS[0]), *map(cells, titles))
    for title, bars in ((_TITLE, _FEW_BARS), (_NARROW_TITLE, _FEW_BARS), (_TITLE, 0), (_NARROW_TITLE, 0)):
        natural[0] = min(title, longest)
        natural[_TREND] = min(bars, points)
        spare = width - taken(natural)
        if spare >= 0:
            natural[_TREND] = min(_BARS, points, natural[_TREND] + spare) if bars else 0
            return natural
    return None


def _table(read: list[SignalReport], rows: list[list[str]], widths: list[int]) -> list[Text]:
    lines = columns([Cell(_HEADS[0], HEADING), *(Cell(head, FAINT) for head in _HEADS[1:])], widths)
    for signal, row in zip(read, rows, strict=True):
        style = SEVERITY_STYLE[signal.severity]
        bad = style if signal.severity is not Severity.OK else ""
        row[_TREND] = spark(signal.history, widths[_TREND])
        styles = ["", bad, "", "", "", bad, style, ""]
        lines += columns([Cell(text, how) for text, how in zip(row, styles, strict=True)], widths)
    return lines


def _unread(unread: list[SignalReport], title: int, width: int) -> list[Text]:
    lines = []
    for signal, reason in _reasons(unread):
        row = [Cell(signal.title), Cell(reason, SEVERITY_STYLE[Severity.UNKNOWN])]
        lines += columns(row, [title, width - title - GAP])
    return lines


def _reasons(unread: list[SignalReport]) -> Iterator[tuple[SignalReport, str]]:
    """Why each could not be read; not twice in a row."""
    said = None
    for signal in unread:
        reason = "the same" if signal.reason == said else signal.reason
        applies = not (reason or "").startswith("does not apply")
        yield signal, f"unknown: {reason}" if reason and applies else reason or "unknown"
        said = signal.reason


def _old(read: list[SignalReport], width: int) -> list[Text]:
    """Readings that are not of this minute."""
    old = [
        f"{s.title} {humane(s.age_s, 'seconds')}" for s in read if s.age_s is not None and s.age_s >= _OLD_S
    ]
    return indented(f"old readings: {', '.join(old)}", width, style=FAINT) if old else []


def _stacked(read: list[SignalReport], unread: list[SignalReport], d: Measured, width: int) -> list[Text]:
    lines = []
    for signal in read:
        style = SEVERITY_STYLE[signal.severity]
        head = filter(None, [signal.title, shown_value(signal), state(signal)])
        lines += indented("  ".join(head), width, style=style)
        named = zip(("usual", "warn", "crit"), (signal.baseline, *bounds(signal)), strict=True)
        known = [f"{name} {humane(number, signal.unit)}" for name, number in named if number is not None]
        known += [f"since {when}"] if (when := began(signal, d)) else []
        lines += indented(", ".join(known) or "nothing to compare with", width, indent=2)
    for signal, reason in _reasons(unread):
        lines += indented(f"{signal.title}  {reason}", width, style=SEVERITY_STYLE[Severity.UNKNOWN])
    return lines
