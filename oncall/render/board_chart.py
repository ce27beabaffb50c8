"""Lines over time in the cells of a terminal: eight dots to a cell, one in ASCII. A gap in the data is a gap.

Drawn here, after plotext 6.1 was tried in its place: it saves fifty lines, but a NaN aborts the process and None is
an error, so that gaps need an adapter; it writes labels that share a row over one another, has one figure for the
whole process and no types; its import takes a quarter of a second, and as a C++ library without a wheel for musl it
would keep the whole tool off an Alpine jump host. 5.3 is pure Python, but of the interface that 6 replaced."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from msgspec.structs import replace
from rich.text import Text

from oncall.model import Severity
from oncall.model_boards import Line, Panel
from oncall.numbers import humane
from oncall.render.grid import FAINT, SEVERITY_STYLE, line
from oncall.render.text import cells, pack, pad

STYLES = ("cyan", "magenta", "blue", "green", "yellow")
_SIGNS = "*+ox#"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_LEAST = 14
"""Columns of a chart that still tells something."""
Known = Sequence[float | None]


class Pen(NamedTuple):
    """What can be drawn with."""

    ascii_only: bool = False

    @property
    def across(self) -> int:
        return 1 if self.ascii_only else 2

    @property
    def down(self) -> int:
        return 1 if self.ascii_only else 4

    @property
    def level(self) -> str:
        return "-" if self.ascii_only else "┄"


def chart(
    panel: Panel, range_s: float, width: int, height: int, pen: Pen, *, bands: bool = True
) -> list[Text]:
    """The lines of a panel, at most so many cells; where nothing fits, or nothing is known, no lines.

    `bands`: the scale always holds the bounds; without, they are drawn where they fall into it."""
    shown = [one for one in map(_finite, panel.lines) if any(v is not None for v in one.values)]
    if not shown or height < 2:
        return []
    labels = [_label(one, panel.unit, index, pen) for index, one in enumerate(shown)]
    scale = _Scale.of(shown, panel, bands=bands)
    ends = max(map(cells, labels), default=0)
    axis = max(map(cells, scale.labels(panel.unit)))
    room = width - axis - 1 - (ends + 1 if ends else 0)
    above: list[Text] = []
    if ends and room < _LEAST:
        # No room beside it: what the lines are stands above.
        above = [line(part) for part in pack(labels, width)][: height - 2]
        ends, room = 0, width - axis - 1
    if room < 4:
        return []
    below = [_times(range_s, axis + 1, room)] if height - len(above) >= 5 else []
    rows = height - len(above) - len(below)
    drawn = _draw(shown, scale, room, rows, pen)
    left = _left(scale, panel, rows, axis)
    right = _right(shown, labels, scale, rows) if ends else [Text()] * rows
    return [
        *above,
        *(line(a, " ", b, " " if c else "", c) for a, b, c in zip(left, drawn, right, strict=True)),
        *below,
    ]


def _finite(one: Line) -> Line:
    """What is not a number is a gap as well."""
    values = tuple(v if v is not None and math.isfinite(v) else None for v in one.values)
    return replace(one, values=values)


def style_of(index: int) -> str:
    return STYLES[index % len(STYLES)]


def _label(one: Line, unit: str | None, index: int, pen: Pen) -> str:
    """Name and value; where there are no colours, what the line is drawn with."""
    sign = f"{_SIGNS[index % len(_SIGNS)]} " if pen.ascii_only else ""
    return f"{sign}{one.name} {humane(one.now, unit)}" if one.name else ""


class _Scale(NamedTuple):
    low: float
    top: float
    bounds: tuple[tuple[float, Severity], ...]

    @classmethod
    def of(cls, lines: Sequence[Line], panel: Panel, *, bands: bool) -> "_Scale":
        known = [v for one in lines for v in one.values if v is not None]
        given = ((panel.warning, Severity.WARNING), (panel.critical, Severity.CRITICAL))
        bounds = [(bound, severity) for bound, severity in given if bound is not None]
        tops = [max(known), *((b for b, _ in bounds) if bands else ())]
        low, top = min(0.0, *known), max(tops)
        top = top if top > low else low + 1.0
        return cls(low, top, tuple((b, s) for b, s in bounds if low < b <= top))

    def share(self, value: float) -> float:
        # Halves, so that the distance of two huge numbers is one as well.
        height = self.top / 2 - self.low / 2
        return min(1.0, max(0.0, (value / 2 - self.low / 2) / height)) if height else 0.5

    def labels(self, unit: str | None) -> list[str]:
        return [humane(v, unit) for v in (self.low, self.top, *(b for b, _ in self.bounds))]

    def row(self, value: float, rows: int) -> int:
        """From the top."""
        return rows - 1 - round(self.share(value) * (rows - 1))


def _left(scale: _Scale, panel: Panel, rows: int, width: int) -> list[Text]:
    """The foot and the top of the scale, and its bounds where they have a row of their own."""
    told: dict[int, tuple[str, str]] = {}
    for bound, severity in scale.bounds:
        told[scale.row(bound, rows)] = (humane(bound, panel.unit), SEVERITY_STYLE[severity])
    for value in (scale.low, scale.top):
        told.setdefault(scale.row(value, rows), (humane(value, panel.unit), FAINT))
    blank = ("", "")
    return [
        line((pad(text, width, right=True), style))
        for text, style in (told.get(r, blank) for r in range(rows))
    ]


def _right(lines: Sequence[Line], labels: Sequence[str], scale: _Scale, rows: int) -> list[Text]:
    """Each line's name and value at the height where it ends; those that meet there are moved apart."""
    ends = [(scale.row(_end(one), rows), index) for index, one in enumerate(lines)]
    found = [Text()] * rows
    taken = set[int]()
    for wanted, index in sorted(ends, key=lambda end: (-end[0], end[1])):
        free = [row for row in range(rows) if row not in taken]
        if free:
            row = min(free, key=lambda r: (abs(r - wanted), r))
            taken.add(row)
            found[row] = line((labels[index], style_of(index)))
    return found


def _end(one: Line) -> float:
    if one.now is not None:
        return one.now
    return next((v for v in reversed(one.values) if v is not None), 0.0)


def _times(range_s: float, indent: int, width: int) -> Text:
    begin, end = f"{humane(range_s, 's')} ago", "now"
    spare = width - cells(begin) - cells(end)
    text = f"{begin}{' ' * spare}{end}" if spare >= 2 else pad(end, width, right=True)
    return line(" " * indent, (text, FAINT))


# --- dots ---------------------------------------------------------------------------------------------


def _draw(lines: Sequence[Line], scale: _Scale, width: int, rows: int, pen: Pen) -> list[Text]:
    """Rows of cells. Where two lines meet, the cell has the style of the first, the dots of both."""
    bits = [[0] * width for _ in range(rows)]
    owner = [[-1] * width for _ in range(rows)]
    for index, one in reversed(list(enumerate(lines))):
        dots = _course(one.values, width * pen.across)

        def mark(x: int, y: int, index: int = index) -> None:
            row, column = rows - 1 - y // pen.down, x // pen.across
            bits[row][column] |= _DOTS[x % 2][3 - y % 4] if not pen.ascii_only else 1
            owner[row][column] = index

        _trace(dots, scale, rows * pen.down, mark)
    levels = {scale.row(bound, rows): SEVERITY_STYLE[severity] for bound, severity in scale.bounds}
    return [_cells(bits[row], owner[row], levels.get(row), pen) for row in range(rows)]


def _trace(dots: Known, scale: _Scale, height: int, mark: Callable[[int, int], None]) -> None:
    before: int | None = None
    for x, value in enumerate(dots):
        if value is None:
            before = None
            continue
        y = round(scale.share(value) * (height - 1))
        start = y if before is None else before
        for between in range(min(start, y), max(start, y) + 1):
            # The dot of the column before is there already.
            if between == y or between != start:
                mark(x, between)
        before = y


def _course(values: Known, columns: int) -> list[float | None]:
    """The values on so many columns: the highest of a stretch, so that peaks stay; straight lines in between."""
    count = len(values)
    if count > columns:
        edges = [index * count // columns for index in range(columns + 1)]
        return [_highest(values[a:b]) for a, b in pairwise(edges)]
    return [_between(values, x * (count - 1) / max(1, columns - 1)) for x in range(columns)]


def _highest(stretch: Known) -> float | None:
    return max((v for v in stretch if v is not None), default=None)


def _between(values: Known, at: float) -> float | None:
    first, last = values[math.floor(at)], values[math.ceil(at)]
    if first is None or last is None:
        near = values[round(at)]
        return near if first is not None or last is not None else None
    return first + (last - first) * (at - math.floor(at))


def _cells(bits: Sequence[int], owner: Sequence[int], level: str | None, pen: Pen) -> Text:
    """One row, runs of one style together."""
    shown = Text()
    run, style = "", ""
    for dots, index in zip(bits, owner, strict=True):
        mine = style_of(index) if index >= 0 else level or ""
        sign = _sign(dots, index, pen) if index >= 0 else pen.level if level else " "
        if mine != style:
            shown.append(run, style)
            run, style = "", mine
        run += sign
    shown.append(run, style)
    return shown


def _sign(dots: int, index: int, pen: Pen) -> str:
    return _SIGNS[index % len(_SIGNS)] if pen.ascii_only else chr(0x2800 + dots)
