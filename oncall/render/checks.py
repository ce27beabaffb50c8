"""A check as a page for a terminal: a line each, the worst first, and what to run where one is not well."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from oncall.model import Severity
from oncall.model_checks import CheckLine, CheckReport
from oncall.numbers import NONE, humane
from oncall.render.check_words import (
    FEW_ROWS,
    HEADS,
    before,
    facts,
    headline,
    identity,
    merged,
    remarks,
    spoken,
    state,
    value,
)
from oncall.render.command import command_lines
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import (
    FAINT,
    GAP,
    HEADING,
    SEVERITY_STYLE,
    Cell,
    columns,
    indented,
    line,
    noted,
    taken,
)
from oncall.render.header import NARROW, verdict
from oncall.render.inert import inert
from oncall.render.spark import spark
from oncall.render.steps import fields
from oncall.render.table import table
from oncall.render.text import cells, cut, pack

_STATE, _TITLE, _BARS = 8, 30, 24
_ALL_ROWS = 20


def checks_page(
    reports: Sequence[CheckReport], *, width: int, ascii_only: bool = False, details: bool = False
) -> Group:
    """The page, at most `width` cells wide; several reports below a line each, worst first."""
    width = page_width(width)
    safe = [inert(report, ascii_only=ascii_only) for report in reports]
    shown = safe if details else [merged(report) for report in safe]
    blocks = [_fleet(shown, width)] if len(shown) > 1 else []
    for report in shown:
        if len(shown) == 1 or report.severity is not Severity.OK:
            blocks += _report(report, width, details)
    return page(blocks, [], ascii_only=ascii_only, height=None)


def _fleet(reports: Sequence[CheckReport], width: int) -> list[Text]:
    """A line a service."""
    name = min(_TITLE, max(cells(r.service) for r in reports))
    room = max(10, width - taken([_STATE, name]) - GAP)
    found = []
    for r in reports:
        row = [Cell(r.severity.value, SEVERITY_STYLE[r.severity]), Cell(r.service, "bold")]
        found += columns([*row, Cell(cut(r.summary, room))], [_STATE, name, room])
    return found


def _report(report: CheckReport, width: int, details: bool) -> list[list[Text]]:
    name, environment, when = identity(report)
    head = verdict(headline(report), report.severity, (name, environment, "", when), width)
    widths = _widths(report, width)
    lines = _stacked(report, width) if widths is None else _columns(report, widths, width)
    blocks = [head, lines, *_worth_saying(report, width)]
    blocks += _details(report, width, full=details)
    return [
        *blocks,
        noted(report.notes, width),
        [line((text, FAINT)) for text in pack(facts(report), width)],
    ]


# --- the lines ------------------------------------------------------------------------------------


def _row(each: CheckLine) -> list[str]:
    return [state(each), each.title, value(each), each.target or "", *before(each)]


def _widths(report: CheckReport, width: int) -> list[int] | None:
    """Widths of the columns, the course last; None where they do not fit."""
    numbers = [_row(n) for n in report.lines if not spoken(n)]
    natural = [max(map(cells, column)) for column in zip(HEADS, *numbers, strict=True)]
    natural[0] = max(cells(state(n)) for n in report.lines)
    natural[1] = min(_TITLE, max(cells(n.title) for n in report.lines))
    if not any(n.day_ago is not None or n.week_ago is not None for n in report.lines):
        natural[4] = natural[5] = 0
    points = max(len(n.history) for n in report.lines)
    for bars in (min(_BARS, points), min(8, points), 0):
        if taken([*natural, bars]) <= width:
            return [*natural, bars]
    return None


def _columns(report: CheckReport, widths: list[int], width: int) -> list[Text]:
    found = columns([Cell(head, FAINT) for head in (*HEADS, "")], widths)
    for each in report.lines:
        style = _style(each)
        bad = style if each.severity is not Severity.OK else ""
        head = [Cell(state(each), style), Cell(each.title)]
        if spoken(each):
            found += columns([*head, Cell(value(each), bad)], [*widths[:2], width - taken(widths[:2]) - GAP])
            continue
        cells_ = [Cell(value(each), bad), *(Cell(t, FAINT) for t in (each.target or "", *before(each)))]
        found += columns([*head, *cells_, Cell(spark(each.history, widths[-1]))], widths)
    return found


def _stacked(report: CheckReport, width: int) -> list[Text]:
    found = []
    for each in report.lines:
        found += columns(
            [Cell(state(each), _style(each)), Cell(each.title, "bold")], [_STATE, width - _STATE - GAP]
        )
        said = [value(each), f"target {each.target}" if each.target else ""]
        said += [f"yesterday {before(each)[0]}"] if each.day_ago is not None else []
        said += [f"last week {before(each)[1]}"] if each.week_ago is not None else []
        found += [line("  ", text) for text in pack([t for t in said if t], width - 2, between=", ")]
    return found


def _style(each: CheckLine) -> str:
    return FAINT if state(each) == NONE else SEVERITY_STYLE[each.severity]


# --- what is to be said besides ----------------------------------------------------------------------


def _worth_saying(report: CheckReport, width: int) -> list[list[Text]]:
    """A block for each line that is not well or has a remark; those with the same to say share one."""
    groups: dict[tuple[str, ...], list[CheckLine]] = {}
    for each in report.lines:
        command = each.next.command if each.next else ""
        if said := (*remarks(each), *filter(None, [command])):
            groups.setdefault(said, []).append(each)
    return [_block(lines, width) for lines in groups.values()]


def _block(lines: Sequence[CheckLine], width: int) -> list[Text]:
    first = lines[0]
    titles = ", ".join(each.title for each in lines)
    body = [part for text in remarks(first) for part in indented(text, width, indent=2)]
    if first.next is not None:
        body += command_lines(first.next.command, width, indent=2)
    return [*indented(titles, width, style=_style(first) or HEADING), *body]


def _details(report: CheckReport, width: int, *, full: bool) -> list[list[Text]]:
    """The rows behind a line: of what is not well, and of a check that is read for its rows; all with `full`."""
    blocks = []
    for each in report.lines:
        wanted = full or each.severity is not Severity.OK or report.check != "daily"
        if each.detail is not None and wanted:
            blocks.append(_rows(each, width, _ALL_ROWS if full else FEW_ROWS))
        if full:
            blocks.append(_asked(each, width))
    return [block for block in blocks if block]


def _rows(each: CheckLine, width: int, most: int) -> list[Text]:
    assert each.detail is not None
    rows = each.detail.rows[:most]
    shown = fields(each.detail.columns, rows)
    body = (
        table(shown, width, indent=2) if shown and width >= NARROW else table(shown, width) if shown else []
    )
    more = len(each.detail.rows) - len(rows)
    notes = [f"{more} more: --details, or --output json"] if more else []
    for note in [*notes, *each.detail.notes]:
        body += indented(note, width, indent=2, style=FAINT)
    return [*indented(each.title, width, style=HEADING), *body] if body else []


def _asked(each: CheckLine, width: int) -> list[Text]:
    age = f", {humane(each.age_s, 'seconds')} old" if each.age_s else ""
    query = f": {each.query}" if each.query else ""
    return indented(f"{each.title}: {each.source}{age}{query}", width, style=FAINT)
