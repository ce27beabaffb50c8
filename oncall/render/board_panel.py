"""One panel in a frame of a given size. It shrinks by leaving out what matters less; words stay whole."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from msgspec.structs import replace
from rich.text import Text

from oncall.model import Severity
from oncall.model_boards import Bar, Panel
from oncall.numbers import humane, scalar
from oncall.render.board_chart import Pen, chart, style_of
from oncall.render.board_words import asides, bounds_text, state_word, value_text
from oncall.render.grid import FAINT, SEVERITY_STYLE, line
from oncall.render.spark import spark
from oncall.render.text import ELLIPSIS, cells, pack, pad, wrap

_CORNERS, _ASCII_CORNERS = "╭╮╰╯─│", "++++-|"
_FULL, _EMPTY, _MARK = "█", "░", "┊"
_CHART_ROWS = 3
"""Rows that a course needs to be a chart, not a sparkline."""
_ROOMY = 10
"""Rows beside which there is room for what explains."""
_WIDE_TABLE = 56
_MOST = 0.95
"""Of the points of a course: then it is that of the whole range."""


def framed(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    """The panel as exactly `height` lines of exactly `width` cells. Below three lines there is no frame."""
    if height < 3:
        return [_padded(t, width) for t in _bare(panel, width, height, pen)]
    inner, rows = width - 4, height - 2
    lines = body(panel, range_s, inner, rows, pen)[:rows]
    lines += [Text()] * (rows - len(lines))
    edge = _ASCII_CORNERS if pen.ascii_only else _CORNERS
    style = (
        SEVERITY_STYLE[panel.severity] if panel.severity in (Severity.WARNING, Severity.CRITICAL) else FAINT
    )
    side = (edge[5], style)
    middle = [line(side, " ", _padded(text, inner), " ", side) for text in lines]
    bottom = line((edge[2] + edge[4] * (width - 2) + edge[3], style))
    return [_top(panel, width, edge, style), *middle, bottom]


def _top(panel: Panel, width: int, edge: str, style: str) -> Text:
    state = state_word(panel)
    room = width - 6 - (cells(state) + 3 if state else 0)
    title = shortened(panel.title, room)
    end = f" {state} " if state else ""
    dash = edge[4] * (width - 5 - cells(title) - cells(end) - (1 if state else 0))
    shown = line((edge[0] + edge[4], style), " ", (title, "bold"), " ", (dash, style))
    if state:
        shown = line(shown, (end, SEVERITY_STYLE[panel.severity]), (edge[4], style))
    return line(shown, (edge[1], style))


def _padded(text: Text, width: int) -> Text:
    return line(text, " " * max(0, width - cells(text.plain)))


def _bare(panel: Panel, width: int, height: int, pen: Pen) -> list[Text]:
    """Title and value in a line."""
    word = state_word(panel)
    said = value_text(panel) if panel.value is not None else _short(panel)
    text = shortened(
        f"{panel.title}: {said}" + (f", {word}" if word and panel.value is not None else ""), width
    )
    return [line((text, SEVERITY_STYLE[panel.severity] if panel.judged else ""))] + [Text()] * (height - 1)


def _short(panel: Panel) -> str:
    if panel.reason:
        return panel.reason
    if panel.bars:
        return f"{panel.bars[0].name} {humane(panel.bars[0].value, panel.unit)}"
    return f"{len(panel.table.rows)} rows" if panel.table is not None else " ".join(panel.notes)


# --- words ----------------------------------------------------------------------------------------------


def shortened(text: str, width: int) -> str:
    """The text in `width` cells; where it is longer, as many whole words as fit, and an ellipsis."""
    if cells(text) <= width:
        return text
    return wrap(text, max(1, width - 1))[0].rstrip(" ,;:") + ELLIPSIS if width > 1 else ELLIPSIS[:width]


def paragraph(text: str, width: int, most: int, style: str = "") -> list[Text]:
    """At most so many lines of whole words."""
    if most <= 0 or not text:
        return []
    lines = wrap(text, width)
    if len(lines) > most:
        lines = [*lines[: most - 1], shortened(" ".join(lines[most - 1 :]), width)]
    return [line((part, style)) for part in lines]


# --- bodies -----------------------------------------------------------------------------------------------


def body(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    """What stands in the frame, at most `height` lines of at most `width` cells."""
    if panel.reason is not None:
        return _empty(panel, range_s, width, height, pen)
    return _BODIES[panel.kind](panel, range_s, width, height, pen)


def _empty(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    """Why there is nothing; what is known of its past, where something is."""
    told = paragraph(panel.reason or "", width, height, SEVERITY_STYLE[Severity.UNKNOWN])
    told += paragraph(panel.hint or "", width, height - len(told), FAINT)
    left = height - len(told)
    return [*told, *chart(panel, range_s, width, left, pen)] if left >= _CHART_ROWS else told


def _source(panel: Panel) -> str:
    """Where it is from, and how old it is where that is not a matter of seconds."""
    age = f", {humane(panel.age_s, 's')} old" if panel.age_s is not None and panel.age_s >= 1 else ""
    return f"{panel.source}{age}"


def _headed(panel: Panel, text: str, width: int) -> Text:
    """The value, and at the end of the line its source, where there is room."""
    style = SEVERITY_STYLE[panel.severity] if panel.judged else "bold"
    source = _source(panel)
    spare = width - cells(text) - cells(source)
    if spare < 2:
        return line((shortened(text, width), style))
    return line((text, style), " " * spare, (source, FAINT))


def _values(panel: Panel) -> tuple[float | None, ...]:
    return panel.lines[0].values if panel.lines else ()


def _gauge(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    value = value_text(panel)
    if height == 1:
        bars = spark(_values(panel), width - cells(value) - 2, ascii_only=pen.ascii_only)
        return [line((value, SEVERITY_STYLE[panel.severity] if panel.judged else "bold"), "  ", bars)]
    found = [_headed(panel, value, width)]
    meter = _meter(panel, width, pen)
    found += [meter] if meter else []
    bounds = bounds_text(panel, width)
    if bounds and height > len(found):
        found.append(line((bounds, FAINT)))
    return [*found, *_past(panel, range_s, width, height - len(found), pen)]


def _past(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    """The course, as large as there is room, and below it what is to be known besides."""
    known = any(v is not None for v in _values(panel))
    notes = _notes(panel, width, height - (1 if known else 0))
    left = height - len(notes)
    why = paragraph(panel.bands_note or "", width, height, FAINT)
    if left - len(why) >= _ROOMY:
        notes, left = [*notes, *why], left - len(why)
    if not known or left <= 0:
        return notes
    if left >= _CHART_ROWS:
        return [*chart(panel, range_s, width, left, pen, bands=False), *notes]
    bars = spark(_values(panel), min(width, 60), ascii_only=pen.ascii_only)
    return [line((bars, style_of(0))), *notes]


def _notes(panel: Panel, width: int, most: int) -> list[Text]:
    found: list[Text] = []
    for note in panel.notes:
        found += paragraph(note, width, most - len(found), FAINT)
    return found


def _meter(panel: Panel, width: int, pen: Pen) -> Text | None:
    """How full it is, with marks where its bands begin; None where nothing says what full would be."""
    full = _full_at(panel)
    if full is None or panel.value is None:
        return None
    style = SEVERITY_STYLE[panel.severity] if panel.judged else style_of(0)
    filled = round(width * min(1.0, max(0.0, panel.value / full)))
    marks = {
        min(width - 1, int(width * bound / full))
        for bound in (panel.warning, panel.critical)
        if bound is not None and 0 < bound < full
    }
    empty, mark, block = (".", "|", "#") if pen.ascii_only else (_EMPTY, _MARK, _FULL)
    rest = "".join(mark if at in marks else empty for at in range(filled, width))
    return line((block * filled, style), (rest, FAINT))


def _full_at(panel: Panel) -> float | None:
    if panel.of is not None and panel.of > 0:
        return panel.of
    bound = panel.critical if panel.critical is not None else panel.warning
    if panel.unit == "ratio":
        return 1.0
    return bound * 1.25 if bound and not panel.below else None


def _state(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    value = value_text(panel)
    found = [_headed(panel, value, width)]
    known = [v for v in _values(panel) if v is not None]
    if known and height > 1:
        found.append(line(shortened(_up(known, len(_values(panel)), range_s), width)))
    if known and height > 2:
        found.append(_strip(_values(panel), min(width, 60), pen))
    return [*found, *_notes(panel, width, height - len(found))]


def _up(known: Sequence[float], points: int, range_s: float) -> str:
    """`up 99.7% of the last 7 d`; of the part that is known, where that is not all of it."""
    share = humane(sum(known) / len(known), "ratio")
    if len(known) >= _MOST * points:
        return f"up {share} of the last {humane(range_s, 's')}"
    return f"up {share} of the {humane(range_s * len(known) / points, 's')} that are known"


def _strip(values: Sequence[float | None], width: int, pen: Pen) -> Text:
    """When it was up: each cell the worst of its stretch, blank where nothing is known."""
    signs = "#=_" if pen.ascii_only else "█▄▁"
    shown = Text()
    edges = (
        [at * len(values) // width for at in range(width + 1)]
        if len(values) > width
        else [*range(len(values) + 1)]
    )
    for begin, end in pairwise(edges):
        worst = min((v for v in values[begin:end] if v is not None), default=None)
        if worst is None:
            shown.append(" ")
            continue
        at = 0 if worst >= 1 else 2 if worst <= 0 else 1
        shown.append(signs[at], SEVERITY_STYLE[(Severity.OK, Severity.WARNING, Severity.CRITICAL)[at]])
    return shown


def _counter(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    found = [_headed(panel, value_text(panel), width)]
    found += paragraph(bounds_text(panel, width), width, height - len(found), FAINT)
    return [*found, *_notes(panel, width, height - len(found))]


def _series(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    alone = len(panel.lines) == 1
    head = _series_head(panel, width, alone=alone) if height > 1 else []
    notes = _notes(panel, width, 1) if height - len(head) > _CHART_ROWS else []
    left = height - len(head) - len(notes)
    if alone:
        panel = replace(panel, lines=(replace(panel.lines[0], name=""),))
    drawn = chart(panel, range_s, width, left, pen) if left >= 4 else []
    return [*head, *(drawn or _sparks(panel, width, left, pen, named=not head)), *notes]


def _series_head(panel: Panel, width: int, *, alone: bool) -> list[Text]:
    """The value of the only line, and what stands beside a chart."""
    said = [value_text(panel) if panel.value is not None else ""] if alone else []
    text = ", ".join(filter(None, [*said, asides(panel)]))
    return [_headed(panel, text, width)] if text else []


def _sparks(panel: Panel, width: int, height: int, pen: Pen, *, named: bool) -> list[Text]:
    """A line each, where there is no room (or no past) for a chart."""
    found = []
    names = max((cells(one.name) for one in panel.lines), default=0)
    for index, one in enumerate(panel.lines[:height]):
        text = f"{pad(one.name, names)} {humane(one.now, panel.unit)}".strip() if named or one.name else ""
        bars = spark(one.values, width - cells(text) - 2, ascii_only=pen.ascii_only)
        found.append(
            line((shortened(text, width), style_of(index)), "  " if bars else "", (bars, style_of(index)))
        )
    return found


def _bars(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    if not panel.bars:
        return [part for note in panel.notes for part in paragraph(note, width, height)]
    shown = panel.bars if len(panel.bars) <= height else panel.bars[: max(1, height - 1)]
    values = [humane(bar.value, panel.unit) for bar in shown]
    wide = max(map(cells, values))
    names = min(max(cells(bar.name) for bar in shown), max(8, (width - wide) * 3 // 5))
    names = min(names, width - wide - 1)
    room = width - names - wide - 2
    top = max(bar.value for bar in shown)
    found = [
        _bar(bar, value, (names, room, wide), top, pen) for bar, value in zip(shown, values, strict=True)
    ]
    more = len(panel.bars) - len(shown)
    return [*found, line((shortened(f"{more} more", width), FAINT))] if more and height > 1 else found


def _bar(bar: Bar, value: str, widths: tuple[int, int, int], top: float, pen: Pen) -> Text:
    names, room, wide = widths
    name = pad(shortened(bar.name, names), names)
    style = SEVERITY_STYLE[bar.severity] if bar.severity is not Severity.OK else style_of(0)
    if room < 3:
        return line(name, " ", (pad(value, wide, right=True), style))
    filled = max(1, round(room * bar.value / top)) if top > 0 else 0
    block = ("#" if pen.ascii_only else _FULL) * filled
    return line(name, " ", (pad(block, room), style), " ", (pad(value, wide, right=True), style))


def _table(panel: Panel, range_s: float, width: int, height: int, pen: Pen) -> list[Text]:
    if panel.table is None or not panel.table.rows:
        return [part for note in panel.notes for part in paragraph(note, width, height)]
    names = [column.name for column in panel.table.columns]
    rows = [
        [scalar(cell, column.unit) for cell, column in zip(row, panel.table.columns, strict=True)]
        for row in panel.table.rows
    ]
    plain = [name.removesuffix("_ms").removesuffix("_s").removesuffix("_ratio") for name in names]
    if width >= _WIDE_TABLE and height >= 2:
        return _in_columns(plain, rows, width, height)
    return _in_pairs(plain, rows, width, height)


def _in_columns(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, height: int) -> list[Text]:
    """Figures first; the last column has what room is left."""
    widths = [max(cells(text) for text in column) for column in zip(names, *rows, strict=True)]
    room = width - sum(widths[:-1]) - 2 * (len(widths) - 1)

    def one(texts: Sequence[str], style: str = "") -> Text:
        front = "  ".join(pad(t, w, right=True) for t, w in zip(texts[:-1], widths[:-1], strict=True))
        return line((f"{front}  {shortened(texts[-1], room)}".rstrip(), style))

    shown = rows[: height - 1] if len(rows) <= height - 1 else rows[: max(1, height - 2)]
    more = len(rows) - len(shown)
    return [one(names, FAINT), *map(one, shown), *([line((f"{more} more", FAINT))] if more else [])]


def _in_pairs(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, height: int) -> list[Text]:
    """Two lines a row: the figures, then the text."""
    found = []
    for row in rows[: max(1, height // 2)]:
        figures = [f"{name} {text}" for name, text in zip(names[:-1], row[:-1], strict=True)]
        found.append(line((pack(figures, width)[0], "bold")))
        found.append(line(shortened(row[-1], width)))
    return found[:height]


Body = Callable[[Panel, float, int, int, Pen], list[Text]]
_BODIES: Mapping[str, Body] = {
    "gauge": _gauge,
    "state": _state,
    "counter": _counter,
    "series": _series,
    "bars": _bars,
    "table": _table,
}
