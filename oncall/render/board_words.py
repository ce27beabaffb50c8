"""What a dashboard says, in words: shared by its screen and its markdown. Imports no rich."""

from collections.abc import Sequence

from oncall.model import Severity
from oncall.model_boards import Board, Panel
from oncall.numbers import clock, day, humane, scalar
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cells, cut

_NAME, _MOST_ROWS = 48, 10


def value_text(panel: Panel) -> str:
    """The value, of the whole that it is a part of; for a state, a word."""
    if panel.value is None:
        return "no data"
    if panel.kind == "state":
        if panel.value in (0, 1):
            return "UP" if panel.value else "DOWN"
        return f"{humane(panel.value, 'ratio')} of the instances up"
    value = humane(panel.value, panel.unit)
    if panel.of is None or not 0 <= panel.value <= panel.of:
        return value
    whole = humane(panel.of, panel.unit)
    return f"{value}/{whole}" if " " not in whole else f"{value} of {whole}"


def state_word(panel: Panel) -> str:
    """The verdict as a word; nothing where there are no bands to judge by."""
    if panel.reason is not None:
        return "no data"
    return panel.severity.value if panel.judged else ""


def verdict_word(found: Board) -> str:
    """The worst band, or that there are none; and how many panels have nothing to show, which is not well either."""
    word = found.severity.value if is_banded(found) else "no bands"
    dark = sum(panel.reason is not None for panel in found.panels)
    return f"{word}, {dark} of {len(found.panels)} no data" if dark else word


def is_banded(found: Board) -> bool:
    return found.severity is not Severity.OK or any(panel.judged for panel in found.panels)


def bounds_text(panel: Panel, width: int | None = None) -> str:
    """`warning above 500 ms, critical above 2 s`; shorter where that is wider than `width`."""
    if panel.kind == "state":
        return ""
    way, sign = ("below", "<") if panel.below else ("above", ">")
    bounds = ((panel.warning, "warning", "warn"), (panel.critical, "critical", "crit"))
    given = [(humane(bound, panel.unit), name, short) for bound, name, short in bounds if bound is not None]
    ways = (
        ", ".join(f"{name} {way} {bound}" for bound, name, _ in given),
        ", ".join(f"{name} {sign} {bound}" for bound, name, _ in given),
        ", ".join(f"{short} {sign} {bound}" for bound, _, short in given),
    )
    return next((text for text in ways if width is None or cells(text) <= width), "")


def asides(panel: Panel) -> str:
    return ", ".join(f"{humane(a.value, a.unit)} {a.name}" for a in panel.asides if a.value is not None)


def identity(found: Board) -> tuple[str, str, str, str]:
    return found.service, found.environment, f"last {humane(found.range_s, 's')}", clock(found.at)


def facts(found: Board) -> list[str]:
    return [day(found.at), f"asked in {humane(found.duration_ms, 'ms')}"]


# --- markdown -------------------------------------------------------------------------------------------


def board_markdown(found: Board) -> str:
    """The dashboard to paste into a channel: a line a panel, then what has rows."""
    found = inert(found)
    service, environment, span, when = identity(found)
    head = f"**{inline(found.title)}** ({verdict_word(found)})"
    blocks = [f"{head}\n{inline(service)} · {inline(environment)} · {span} · {day(found.at)} {when}"]
    blocks.append(code_block(_aligned([_row(panel) for panel in found.panels])))
    for panel in found.panels:
        rows = _rows(panel)
        blocks += [f"**{inline(panel.title)}**\n\n" + code_block(_aligned(rows))] if rows else []
    blocks += [f"- {inline(panel.title)}: {inline(panel.reason)}" for panel in found.panels if panel.reason]
    blocks += [f"- {inline(note)}" for note in found.notes]
    return "\n\n".join(blocks) + "\n"


def _row(panel: Panel) -> list[str]:
    return [state_word(panel) or "–", panel.title, _said(panel), bounds_text(panel)]


def _said(panel: Panel) -> str:
    """The panel in a few words."""
    if panel.reason is not None:
        return "no data"
    if panel.kind == "bars":
        return _first(panel) if panel.bars else "; ".join(panel.notes)
    if panel.kind == "table":
        rows = panel.table.rows if panel.table else ()
        return f"{len(rows)} rows" if rows else "; ".join(panel.notes)
    if panel.kind == "series" and len(panel.lines) > 1:
        return ", ".join(f"{one.name} {humane(one.now, panel.unit)}" for one in panel.lines)
    return ", ".join(filter(None, [value_text(panel), asides(panel)]))


def _first(panel: Panel) -> str:
    return f"{cut(panel.bars[0].name, _NAME)} {humane(panel.bars[0].value, panel.unit)}"


def _rows(panel: Panel) -> list[list[str]]:
    if panel.bars:
        return [[humane(bar.value, panel.unit), _word(bar.severity), cut(bar.name, 80)] for bar in panel.bars]
    if panel.table is None or not panel.table.rows:
        return []
    rows = [
        [cut(scalar(cell, column.unit), 100) for cell, column in zip(row, panel.table.columns, strict=True)]
        for row in panel.table.rows[:_MOST_ROWS]
    ]
    return [[column.name for column in panel.table.columns], *rows]


def _word(severity: Severity) -> str:
    return "" if severity is Severity.OK else severity.value


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(cells(text) for text in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text + " " * (wide - cells(text)) for text, wide in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
