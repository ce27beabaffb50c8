"""A dashboard on a screen of a given size: panels in columns, as high as there is room, nothing below the fold."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from oncall.model_boards import Board, Panel
from oncall.render.board_chart import Pen
from oncall.render.board_panel import framed, paragraph
from oncall.render.board_words import facts, identity, is_banded, verdict_word
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, Cell, line, plain_ascii
from oncall.render.header import titled
from oncall.render.inert import inert
from oncall.render.text import pack

NARROWEST = 20
_TWO, _THREE = 64, 108
"""Columns of the screen from which there are two, and three, columns of panels."""
_LOW, _HIGH = 8, 12
"""Lines of a panel where no screen sets them: of one number, and of one with lines or rows."""
_MOST_NOTES = 2


def board_page(
    found: Board,
    *,
    width: int,
    height: int | None = None,
    ascii_only: bool = False,
    foot: Sequence[str] = (),
) -> Group:
    """The dashboard, at most `width` cells wide, and exactly `height` lines high where that is given.

    `foot`: what the last line says instead of when and how fast was asked: the keys of a live screen. Of its parts
    as many are shown as fit."""
    width = max(NARROWEST, width)
    found = inert(found, ascii_only=ascii_only)
    pen = Pen(ascii_only)
    head = _head(found, width)
    notes = [part for note in found.notes for part in paragraph(note, width, _MOST_NOTES, FAINT)]
    last = [line((text, FAINT)) for text in pack(list(foot or facts(found)), width)[:1]]
    if height is not None and height < 10:
        notes = []
    room = None if height is None else max(1, height - len(head) - len(notes) - len(last))
    lines = [*head, *notes, *_grid(found, width, room, pen), *last]
    if height is not None:
        lines = lines[:height]
    for text in lines:
        text.rstrip()
    return Group(*(map(plain_ascii, lines) if ascii_only else lines))


def _head(found: Board, width: int) -> list[Text]:
    """Whose, and the worst band."""
    banded = is_banded(found)
    style = SEVERITY_STYLE[found.severity] if banded else FAINT
    service, environment, span, when = identity(found)
    parts = ((service, environment, span, when), (service, span, when), (service, when), (service,))
    last = Cell(verdict_word(found), style)
    head = Cell(found.title.upper(), style if banded else HEADING)
    return titled(head, [(named, True) for named in parts], last, width)


def _grid(found: Board, width: int, room: int | None, pen: Pen) -> list[Text]:
    across = min(len(found.panels) or 1, 3 if width >= _THREE else 2 if width >= _TWO else 1)
    rows = [found.panels[at : at + across] for at in range(0, len(found.panels), across)]
    heights = [_natural(row) for row in rows] if room is None else _shared(len(rows), room)
    lines: list[Text] = []
    for row, high in zip(rows, heights, strict=True):
        lines += _row(row, found.range_s, _widths(len(row), width), high, pen) if high else []
    return lines


def _natural(row: Sequence[Panel]) -> int:
    return _HIGH if any(panel.kind in ("series", "bars", "table") for panel in row) else _LOW


def _shared(rows: int, room: int) -> list[int]:
    """The lines of a screen among rows; the first have one more where it does not come out even."""
    low, more = divmod(room, max(1, rows))
    return [low + (at < more) for at in range(rows)]


def _widths(count: int, width: int) -> list[int]:
    low, more = divmod(width, count)
    return [low + (at < more) for at in range(count)]


def _row(row: Sequence[Panel], range_s: float, widths: Sequence[int], height: int, pen: Pen) -> list[Text]:
    blocks = [framed(panel, range_s, wide, height, pen) for panel, wide in zip(row, widths, strict=True)]
    return [line(*parts) for parts in zip(*blocks, strict=True)]


def keys_line(names: Sequence[str], shown: str, range_text: str, *, paused: bool) -> list[str]:
    """The keys of a live screen, most needed first; with the document's names it fits 80 columns."""
    boards = [f"[{at} {name}]" if name == shown else f"{at} {name}" for at, name in enumerate(names, 1)]
    return ["q quit", "p PAUSED" if paused else "p pause", f"+ - {range_text}", " ".join(boards)]
