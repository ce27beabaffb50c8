"""Rows of any shape in the width there is: columns while they fit, else one block a record."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from oncall.render.grid import FAINT, GAP, Cell, columns, indented, line, shifted, taken
from oncall.render.text import cells, cut, pack

_LONG = 16
_WIDEST = 100


class Field(NamedTuple):
    """One column of ready text. Figures stand to the right."""

    name: str
    values: tuple[str, ...]
    figures: bool = False

    @property
    def natural(self) -> int:
        return min(_WIDEST, max(map(cells, (self.name, *self.values))))

    @property
    def least(self) -> int:
        """Figures and short words are shown whole; long text may be cut to what still tells something."""
        short = self.natural <= _LONG or self.figures
        return self.natural if short else max(_LONG, cells(self.name))


def table(fields: Sequence[Field], width: int, *, indent: int = 0, whole: bool = False) -> list[Text]:
    """The rows in columns; what does not fit is dropped from the right and named below.

    With less than half of the columns left, each record becomes a block of its own. With `whole`, long text
    is wrapped and nothing is dropped; without, it is cut to one line.
    """
    room = width - indent
    shown = list(fields) if whole else _fitting(fields, room)
    if len(shown) * 2 < len(fields) or taken([field.least for field in shown]) > room:
        return _blocks(fields, width, indent=indent, whole=whole)
    widths = _share(shown, room)
    right = {index for index, field in enumerate(shown) if field.figures}
    lines = columns([Cell(field.name, FAINT) for field in shown], widths, right=right)
    for row in zip(*(field.values for field in shown), strict=True):
        texts = row if whole else [cut(text, wide) for text, wide in zip(row, widths, strict=True)]
        lines += columns([Cell(text) for text in texts], widths, right=right)
    lines = shifted(lines, indent)
    hidden = [field.name for field in fields if field not in shown]
    if hidden:
        lines += indented(f"not shown at this width: {', '.join(hidden)}", width, indent=indent, style=FAINT)
    return lines


def _fitting(fields: Sequence[Field], room: int) -> list[Field]:
    shown = list(fields)
    while len(shown) > 1 and taken([field.least for field in shown]) > room:
        short = [field for field in shown[1:] if field.least == field.natural]
        shown.remove(short[-1] if short else shown[-1])
    return shown


def _share(shown: Sequence[Field], room: int) -> list[int]:
    """Widths: what each needs at least, and the rest to those that want more, a little at a time."""
    widths = [field.least for field in shown]
    spare = room - taken(widths)
    hungry = [index for index, field in enumerate(shown) if field.natural > widths[index]]
    while spare > 0 and hungry:
        for index in hungry[:spare]:
            widths[index] += 1
        spare -= len(hungry[:spare])
        hungry = [index for index in hungry if shown[index].natural > widths[index]]
    return widths


def _blocks(fields: Sequence[Field], width: int, *, indent: int, whole: bool) -> list[Text]:
    lines = []
    room = width - indent - GAP
    for number in range(len(fields[0].values)):
        parts = [f"{field.name} {field.values[number]}" for field in fields if field.values[number]]
        packed = pack([part if whole else cut(part, 2 * room) for part in parts], room)
        for index, text in enumerate(packed):
            lines.append(line(" " * indent, "- " if index == 0 else "  ", text))
    return lines
