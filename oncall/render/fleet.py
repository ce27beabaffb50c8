"""Every service on one page: a line each, worst first, whatever the command that looked."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from oncall.model import Severity
from oncall.numbers import NONE
from oncall.render.grid import FAINT, GAP, HEADING, SEVERITY_STYLE, Cell, columns, indented, taken
from oncall.render.header import NARROW
from oncall.render.text import cells, cut, wrap

_WAYS = ((28, 16), (24, 14), (18, 11), (14, 11))
"""Most cells of a name and of an environment: less, step by step, until the worst thing has room."""
_ALERTS = 12
_LEAST = 24
HEADS = ("", "Service", "environment", "worst", "alerts")


class Row(NamedTuple):
    """One service: how bad, whose, the worst thing in words, and what fires (`2 critical`)."""

    severity: Severity
    name: str
    environment: str
    text: str
    alerts: str = ""


def fleet(rows: Sequence[Row], width: int) -> list[Text]:
    """The rows in columns; on a narrow page two lines and more a service."""
    if not rows:
        return []
    widths = _widths(rows, width)
    if widths is None:
        return [part for row in rows for part in _stacked(row, width)]
    found = columns([Cell(head, HEADING if head == "Service" else FAINT) for head in HEADS], widths)
    for row in rows:
        style = SEVERITY_STYLE[row.severity]
        well = row.severity is Severity.OK
        texts = (row.severity.value, row.name, row.environment, _two_lines(row.text, widths[3]), row.alerts)
        styles = (style, "" if well else "bold", FAINT, FAINT if well else "", "" if well else style)
        shown = [Cell(text, how) for text, how in zip(texts, styles, strict=True)]
        found += columns(shown, widths)
    return found


def _two_lines(text: str, width: int) -> str:
    """The text, cut where it would take a third line."""
    parts = wrap(text, width)
    return text if len(parts) <= 2 else f"{parts[0]} {cut(f'{parts[1]} {parts[2]}', width)}"


def _widths(rows: Sequence[Row], width: int) -> list[int] | None:
    """Widths of the columns; None where the worst thing would have too little."""
    if width < NARROW:
        return None
    for name, environment in _WAYS:
        found = [
            _most([r.severity.value for r in rows], 8),
            _most([HEADS[1], *(r.name for r in rows)], name),
            _most([HEADS[2], *(r.environment for r in rows)], environment),
            1,
            _most([HEADS[4], *(r.alerts for r in rows)], _ALERTS) if any(r.alerts for r in rows) else 0,
        ]
        room = width - taken(found) + 1
        if room >= _LEAST:
            found[3] = _most([HEADS[3], *(r.text for r in rows)], room)
            return found
    return None


def _most(texts: Sequence[str], limit: int) -> int:
    return min(limit, max(map(cells, texts)))


def _stacked(row: Row, width: int) -> list[Text]:
    style = SEVERITY_STYLE[row.severity]
    word = cells(Severity.CRITICAL.value)
    named = f"{row.name} · {row.environment}"
    found = columns([Cell(row.severity.value, style), Cell(named, "bold")], [word, width - word - GAP])
    if row.severity is not Severity.OK:
        found += indented(cut(row.text, 3 * (width - 2)), width, indent=2)
    if row.alerts not in ("", NONE):
        found += indented(f"alerts: {row.alerts}", width, indent=2)
    return found
