"""Lines of a page: styled cells in columns.

Not rich.table: it fills every line with blanks to the full width (which then get pasted), and it cannot let a
reason run over several columns.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.text import Text

from oncall.model import Confidence, Severity
from oncall.render.spark import ASCII_BARS, BARS
from oncall.render.text import ELLIPSIS, cells, pad, wrap

GAP = 2
HEADING = "bold"
FAINT = "dim"
COMMAND = "bold cyan"
SEVERITY_STYLE = {
    Severity.CRITICAL: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.OK: "green",
    Severity.UNKNOWN: "bold magenta",
}
CONFIDENCE_STYLE = {
    Confidence.CONFIRMED: "bold red",
    Confidence.LIKELY: "bold yellow",
    Confidence.POSSIBLE: "yellow",
    Confidence.RULED_OUT: FAINT,
    Confidence.UNKNOWN: "magenta",
}
_ASCII = str.maketrans(BARS + "–−·✓✗" + ELLIPSIS, ASCII_BARS + "---+x~")


class Cell(NamedTuple):
    """Text that is already safe, and its style."""

    text: str = ""
    style: str = ""


def line(*parts: str | Text | tuple[str, str]) -> Text:
    """One line of plain or styled parts; nothing in them is markup."""
    return Text.assemble(*parts)


def indented(text: str, width: int, *, indent: int = 0, style: str = "") -> list[Text]:
    """A paragraph of whole words, every line indented."""
    return [line(" " * indent, (part, style)) for part in wrap(text, width - indent)]


def labelled(label: Cell, text: Cell, width: int, *, indent: int) -> list[Text]:
    """A paragraph beside its label; all of its lines start at the same column."""
    return columns([label, text], [indent - GAP, width - indent])


def columns(row: Sequence[Cell], widths: Sequence[int], *, right: Collection[int] = ()) -> list[Text]:
    """One row of a grid as lines: each cell wrapped to its column, nothing behind the last word of a line.

    A column of width 0 is left out.
    """
    kept = [index for index, width in enumerate(widths) if width > 0]
    wrapped = [wrap(row[index].text, widths[index]) for index in kept]
    lines = []
    for parts in zip_longest(*wrapped, fillvalue=""):
        shown = Text()
        for index, part in zip(kept, parts, strict=True):
            padded = pad(part, widths[index], right=index in right)
            shown.append(" " * GAP if index != kept[0] else "")
            shown.append(padded, row[index].style)
        shown.rstrip()
        lines.append(shown)
    return lines


def marked(sign: str, style: str, body: list[Text]) -> list[Text]:
    """The lines behind a sign of one cell, which stands before the first of them."""
    return [line((sign if index == 0 else " ", style), " ", shown) for index, shown in enumerate(body)]


def noted(texts: Iterable[str], width: int) -> list[Text]:
    """The notes of a report, below their heading; nothing where there is none."""
    lines = [part for text in texts for part in marked("·", "", indented(text, width - 2))]
    return [line(("Notes", HEADING)), *lines] if lines else []


def side_by_side(left: list[Text], right: list[Text], start: int) -> list[Text]:
    """Two blocks of lines, the right one starting at column `start`."""
    lines = []
    for near, far in zip_longest(left, right):
        near = near or Text()
        blanks = " " * (start - cells(near.plain)) if far else ""
        lines.append(line(near, blanks, far or ""))
    return lines


def shifted(lines: list[Text], indent: int) -> list[Text]:
    """The same lines, moved to the right."""
    return [line(" " * indent, shown) for shown in lines] if indent else lines


def taken(widths: Sequence[int]) -> int:
    """Cells that columns of these widths take, with the gaps between them; a column of none is not there."""
    shown = [width for width in widths if width > 0]
    return sum(shown) + GAP * (len(shown) - 1)


def plain_ascii(text: Text) -> Text:
    """The line with the signs that this program draws itself as ASCII, one for one."""
    shown = text.copy()
    shown.plain = text.plain.translate(_ASCII)
    return shown
