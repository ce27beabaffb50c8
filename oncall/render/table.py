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
    """The rows in columns, where they fit.

    Where they do not, columns that say the same in every row are said once below, and others are left out from
    the right and named. A single row, or rows with less than half of the other columns left, become blocks.
    With `whole`, long text is wrapped and nothing is left out; without, it is cut to one line.
    """
    room = width - indent
    alone = len(fields[0].values) == 1
    shown, same = list(fields), list[Field]()
    if not whole and not alone and taken([field.natural for field in fields]) > room:
        same = [field for field in fields if len(set(field.values)) == 1]
        shown = [field for field in fields if field not in same]
    kept = shown if whole or alone else _fitting(shown, room)
    if _needed(kept) > room or len(kept) * 2 < len(shown):
        return _blocks(fields, width, indent=indent, whole=whole)
    lines = shifted(_rows(kept, room, whole=whole), indent)
    said = [cut(f"{field.name} {field.values[0]}", 2 * room) for field in same]
    hidden = [field.name for field in shown if field not in kept]
    for label, parts in (("in these rows: ", said), ("not shown at this width: ", hidden)):
        lines += indented(label + ", ".join(parts), width, indent=indent, style=FAINT) if parts else []
    return lines


def _rows(shown: Sequence[Field], room: int, *, whole: bool) -> list[Text]:
    widths = _share(shown, room)
    right = {index for index, field in enumerate(shown) if field.figures}
    lines = columns([Cell(field.name, FAINT) for field in shown], widths, right=right)
    for row in zip(*(field.values for field in shown), strict=True):
        texts = row if whole else [cut(text, wide) for text, wide in zip(row, widths, strict=True)]
        lines += columns([Cell(text) for text in texts], widths, right=right)
    return lines


def _needed(fields: Sequence[Field]) -> int:
    return taken([field.least for field in fields])


def _fitting(fields: Sequence[Field], room: int) -> list[Field]:
    shown = list(fields)
    while len(shown) > 1 and _needed(shown) > room:
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
