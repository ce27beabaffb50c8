"""What changed, as a page for a terminal: the answer first, then the series, furthest moved first."""

from rich.console import Group
from rich.text import Text

from oncall.model import Severity
from oncall.model_changes import Changes
from oncall.numbers import humane
from oncall.render.change_words import (
    ASCII_BORDER,
    BARS,
    BORDER,
    Line,
    bars,
    began,
    facts,
    harmless,
    headline,
    identity,
    lines,
    more_of,
    moved,
    remarks,
    title,
)
from oncall.render.diagnosis import NARROWEST, WIDEST
from oncall.render.grid import (
    FAINT,
    GAP,
    HEADING,
    SEVERITY_STYLE,
    Cell,
    columns,
    indented,
    line,
    marked,
    plain_ascii,
    taken,
)
from oncall.render.text import cells, pack, safe

_HEADS = ("", "Series", "usual", "now", "", "", "since")
_SERIES, _TREND, _SINCE = 1, 5, 6
_LEAST_SERIES = 24
"""A name of a metric with one label: below, a block each is better to read."""
_LESS = ((BARS, True), (9, True), (9, False), (0, False))
"""Bars, and how long ago: what is given up, step by step, for the names."""


def changes_page(found: Changes, *, width: int, ascii_only: bool = False, height: int | None = None) -> Group:
    """The page, at most `width` cells wide; on a screen of fewer lines its answer stands once more at its end."""
    width = min(WIDEST, max(NARROWEST, width))
    found = harmless(found, ascii_only=ascii_only)
    page = _Page(found, width, ascii_only)
    blocks = [page.head(), page.table(), page.unseen(), page.notes(), page.footer()]
    if height is not None and sum(len(block) + 1 for block in blocks if block) > height:
        blocks.append(page.head())
    shown = [text for block in blocks if block for text in (Text(), *block)][1:]
    for text in shown:
        text.rstrip()
    return Group(*(map(plain_ascii, shown) if ascii_only else shown))


class _Page:
    """The blocks of one report at one width."""

    def __init__(self, found: Changes, width: int, ascii_only: bool) -> None:
        self.found, self.width, self.ascii_only = found, width, ascii_only

    def _say(self, text: str) -> str:
        return safe(text, ascii_only=self.ascii_only)

    def head(self) -> list[Text]:
        style = SEVERITY_STYLE[Severity.UNKNOWN] if self.found.reason else HEADING
        told = indented(self._say(headline(self.found)), self.width, style=style)
        return told + [line(text) for text in pack(identity(self.found), self.width)]

    def table(self) -> list[Text]:
        shown = lines(self.found)
        if not shown:
            return []
        for least in (self.width, _LEAST_SERIES):
            for most_bars, ago in _LESS:
                rows = [self._row(row, most_bars, ago) for row in shown]
                widths = self._widths(rows, least)
                if widths is not None and (most_bars or least < self.width):
                    return self._columns(shown, rows, widths)
        return self._stacked(shown)

    def _row(self, row: Line, most_bars: int, ago: bool) -> list[str]:
        change = row.change
        shape = bars(change, self.found, most_bars, ASCII_BORDER if self.ascii_only else BORDER)
        move = moved(change) + (" weak" if change.weak else "")
        numbers = (humane(number, change.unit) for number in (change.before, change.now))
        start = began(change, self.found.at, ago=ago)
        told = [str(row.place), title(change, self.found.common), *numbers, move]
        return [*map(self._say, told), shape if most_bars else "", start]

    def _widths(self, rows: list[list[str]], least: int) -> list[int] | None:
        """Widths of the columns; None where the names would have less than they or `least` need."""
        natural = [max(map(cells, column)) for column in zip(_HEADS, *rows, strict=True)]
        if not any(row[_TREND] for row in rows):
            natural[_TREND] = 0
        longest, natural[_SERIES] = natural[_SERIES], 1
        room = self.width - taken(natural) + 1
        if room < min(longest, least):
            return None
        natural[_SERIES] = min(longest, room)
        return natural

    def _columns(self, shown: list[Line], rows: list[list[str]], widths: list[int]) -> list[Text]:
        heads = [Cell(head, HEADING if head == "Series" else FAINT) for head in _HEADS]
        found = columns(heads, widths, right={0})
        for row, texts in zip(shown, rows, strict=True):
            if cells(texts[_SERIES]) > widths[_SERIES]:
                # Folded between the metric and its labels, which PromQL reads as well
                texts[_SERIES] = texts[_SERIES].replace("{", " {", 1)
            styles = [FAINT, "", "", "bold", FAINT if row.change.weak else "", "", ""]
            found += columns([Cell(t, s) for t, s in zip(texts, styles, strict=True)], widths, right={0})
            found += self._more(row, widths[0] + 2)
        return found

    def _more(self, row: Line, indent: int) -> list[Text]:
        text = self._say(more_of(row))
        return indented(text, self.width, indent=indent, style=FAINT) if row.more else []

    def _stacked(self, shown: list[Line]) -> list[Text]:
        found = []
        for row in shown:
            place, name, before, now, move, shape, start = self._row(row, BARS, True)
            told = [self._say(f"{before} → {now}"), move, f"since {start}" if start else ""]
            label = f"{place}."
            room = self.width - len(label) - GAP
            found += columns([Cell(label, FAINT), Cell(name, "bold")], [len(label), room])
            found += [line("  ", text) for text in pack([t for t in told if t], self.width - 2, between=", ")]
            found += [line("  ", shape)] if shape else []
            found += self._more(row, 2)
        return found

    def unseen(self) -> list[Text]:
        if not self.found.reason:
            return []
        if not self.found.compared:
            # The headline has the reason
            return indented(self.found.hint, self.width) if self.found.hint else []
        style = SEVERITY_STYLE[Severity.UNKNOWN]
        found = [line(("Could not be seen", HEADING))]
        found += marked("?", style, indented(self.found.reason, self.width - 2))
        return found + (indented(self.found.hint, self.width, indent=4) if self.found.hint else [])

    def notes(self) -> list[Text]:
        told = [self._say(note) for note in remarks(self.found)]
        found = [line(("Notes", HEADING))] if told else []
        for note in told:
            found += marked("·", "", indented(note, self.width - 2))
        return found

    def footer(self) -> list[Text]:
        return [line((text, FAINT)) for text in pack(list(map(self._say, facts(self.found))), self.width)]
