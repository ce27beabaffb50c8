"""A deployment watch as a page for a terminal: the verdict first, then each rule before and after the deploy."""

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group
from rich.text import Text

from oncall.model_deploy import Decision, DeployLine, DeployReport
from oncall.render.command import command_lines
from oncall.render.deploy_words import (
    HEADS,
    OTHER_DAYS,
    SEVERITY,
    deployed,
    facts,
    headline,
    identity,
    numbers,
    other_days,
    phase,
    remarks,
    spoken,
    state,
)
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import (
    FAINT,
    GAP,
    HEADING,
    SEVERITY_STYLE,
    Cell,
    columns,
    indented,
    labelled,
    line,
    noted,
    taken,
)
from oncall.render.header import NARROW, next_lines, titled
from oncall.render.inert import inert
from oncall.render.spark import spark
from oncall.render.steps import fields
from oncall.render.table import table
from oncall.render.text import cells, pack

_LABEL, _STATE, _TITLE = 8, 9, 24
_BARS = (24, 14, 9, 0)


def deploy_page(
    report: DeployReport,
    *,
    width: int,
    ascii_only: bool = False,
    height: int | None = None,
    live: str | None = None,
) -> Group:
    """The page, at most `width` cells wide; on a screen that it does not fit, its answer stands at its end too.

    `live` says how long it is still watched."""
    width = page_width(width)
    report = inert(report, ascii_only=ascii_only)
    answer = _answer(report, width)
    answer += indented(live, width, style=FAINT) if live else []
    blocks = [
        answer,
        _lines(report, width, ascii_only=ascii_only),
        *_worth_saying(report, width),
        noted(report.notes, width),
    ]
    blocks.append([line((text, FAINT)) for text in pack([f for f in facts(report) if f], width)])
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _answer(report: DeployReport, width: int) -> list[Text]:
    """Verdict, what decided, when it was deployed, what to run."""
    name, environment, when = identity(report)
    style = SEVERITY_STYLE[SEVERITY[report.verdict]]
    ways = (((name, environment, when), True), ((name, environment, when), False), ((name, when), True))
    found = titled(Cell(headline(report), style), ways, Cell(phase(report), style), width)
    found += _labelled("Why", report.summary, width)
    if report.mark.at is not None:
        found += _labelled("Deploy", deployed(report), width)
    if report.mark.hint:
        found += _labelled("Next", report.mark.hint, width)
    elif report.next is not None:
        found += next_lines("Next", report.next, width)
    return found


def _labelled(label: str, text: str, width: int) -> list[Text]:
    if width < NARROW:
        return [line((label, HEADING)), *indented(text, width, indent=2)]
    return labelled(Cell(label, HEADING), Cell(text), width, indent=_LABEL)


# --- the lines -------------------------------------------------------------------------------------


def _lines(report: DeployReport, width: int, *, ascii_only: bool) -> list[Text]:
    if not report.lines:
        return []
    widths = _widths(report, width)
    return (
        _stacked(report.lines, width) if widths is None else _columns(report.lines, widths, width, ascii_only)
    )


def _widths(report: DeployReport, width: int) -> list[int] | None:
    """Widths of the columns, the course last: it goes first where there is no room, then the other days."""
    lines = report.lines
    rows = [("", "", *numbers(n)) for n in lines if not spoken(n)]
    natural = [max(map(cells, column)) for column in zip(HEADS, *rows, strict=True)]
    natural[0] = max(cells(state(n)) for n in lines)
    natural[1] = min(_TITLE, max(cells(n.title) for n in lines))
    for index, known in zip(OTHER_DAYS, other_days(report), strict=True):
        natural[index] = natural[index] if known else 0
    without = [0 if i in OTHER_DAYS else wide for i, wide in enumerate(natural)]
    drawn = any(n.history for n in lines)
    for kept in (natural, without):
        for bars in _BARS if drawn else (0,):
            if taken([*kept, bars]) <= width:
                return [*kept, bars]
    return None


def _columns(lines: Sequence[DeployLine], widths: list[int], width: int, ascii_only: bool) -> list[Text]:
    found = columns([Cell(head, FAINT) for head in (*HEADS, "")], widths)
    for each in lines:
        style = _style(each)
        head = [Cell(state(each), style), Cell(each.title)]
        if spoken(each):
            room = [*widths[:2], max(10, width - taken(widths[:2]) - GAP)]
            found += columns([*head, Cell(each.text, "" if each.decision is Decision.KEEP else style)], room)
            continue
        target, before, *rest = numbers(each)
        bad = style if each.decision is not Decision.KEEP else ""
        row = [*head, Cell(target, FAINT), Cell(before, FAINT), Cell(rest[0], bad), Cell(rest[1], bad)]
        found += columns(
            [*row, *(Cell(t, FAINT) for t in rest[2:]), Cell(bars(each, widths[-1], ascii_only=ascii_only))],
            widths,
        )
    return found


def bars(each: DeployLine, width: int, *, ascii_only: bool = False) -> str:
    """The course, with a line where the deploy was; one scale for both sides."""
    if width <= 2 or not each.history:
        return ""
    room, split = width - 1, each.history_before
    left = min(room - 1, max(1, round(room * split / len(each.history))))
    # Each side by itself, so that no bar stands for both
    points = [*_slots(each.history[:split], left), *_slots(each.history[split:], room - left)]
    drawn = spark(points, room)
    return f"{drawn[:left]}{'|' if ascii_only else '│'}{drawn[left:]}" if drawn else ""


def _slots(values: Sequence[float | None], count: int) -> list[float | None]:
    """So many values for all: the highest of each stretch."""
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    parts = [[v for v in values[a : max(b, a + 1)] if v is not None] for a, b in pairwise(edges)]
    return [max(part, default=None) for part in parts]


def _stacked(lines: Sequence[DeployLine], width: int) -> list[Text]:
    found = []
    for each in lines:
        head = [Cell(state(each), _style(each)), Cell(each.title, "bold")]
        found += columns(head, [_STATE, max(8, width - _STATE - GAP)])
        if spoken(each):
            found += indented(each.text, width, indent=2)
            continue
        target, before, after, now, *_ = numbers(each)
        said = [f"{before} before, {after} after", f"now {now}", f"target {target}"]
        found += [line("  ", text) for text in pack(said, width - 2, between=", ")]
    return found


def _style(each: DeployLine) -> str:
    return FAINT if state(each) == "–" else SEVERITY_STYLE[SEVERITY[each.decision]]


# --- what is to be said besides -----------------------------------------------------------------------


def _worth_saying(report: DeployReport, width: int) -> list[list[Text]]:
    """A block for what is to be said of each line, and its rows."""
    rows = {n.title: _rows(n, width) for n in report.lines if n.detail is not None}
    found = []
    for titles, decision, said in remarks(report):
        style = SEVERITY_STYLE[SEVERITY[decision]]
        body = [part for text in said for part in indented(text, width, indent=2)]
        below = [*_commands(report, titles, width), *rows.pop(titles, [])]
        found.append([*indented(titles, width, style=style), *body, *below])
    return found + [[line((title, HEADING)), *body] for title, body in rows.items() if body]


def _commands(report: DeployReport, titles: str, width: int) -> list[Text]:
    """What to run for these lines, where the answer above does not say it already."""
    commands = [n.next.command for n in report.lines if n.title in titles.split(", ") and n.next]
    known = report.next.command if report.next else ""
    others = dict.fromkeys(command for command in commands if command != known)
    return [part for command in others for part in command_lines(command, width, indent=2)]


def _rows(each: DeployLine, width: int) -> list[Text]:
    assert each.detail is not None
    shown = fields(each.detail.columns, each.detail.rows)
    return table(shown, width, indent=2 if width >= NARROW else 0) if shown else []
