"""A plan as a page for a terminal: what would be done, what is lost, the command that does it, or why it may not."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from oncall.model import Next
from oncall.model_acts import ActionPlan
from oncall.numbers import clock, day
from oncall.render.act_words import (
    IN_JSON,
    LONGEST,
    Verdict,
    capitals,
    clipped,
    exactly,
    few,
    harmless,
    measured_after,
    named,
    plan_verdict,
    rest_of_targets,
    undoing,
    unnamed_targets,
)
from oncall.render.acts import MOST, bars, facts, guards, notes, overrides, styled, told
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, Cell, indented, line
from oncall.render.header import NARROW, next_lines, titled
from oncall.render.steps import fields
from oncall.render.table import table
from oncall.render.text import cut, pack, wrap

_MOST_ROWS, _FEW_ROWS = 20, 8
_MOST_LINES = 40
_ID = 16


def plan_page(plan: ActionPlan, *, width: int, ascii_only: bool = False, height: int | None = None) -> Group:
    """The page, at most `width` cells wide; on a screen of fewer lines its answer stands once more at its end."""
    width = page_width(width)
    plan = harmless(plan, ascii_only=ascii_only)
    answer = plan_answer(plan, width)
    blocks = [answer, *plan_body(plan, width), footer(["this is a plan: nothing was changed"], plan, width)]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def about_to(plan: ActionPlan, *, width: int, ascii_only: bool = False) -> Group:
    """What is said just before the act: on what, where, and what."""
    width = page_width(width)
    plan = harmless(plan, ascii_only=ascii_only)
    lines = first_line(plan, Verdict(capitals(plan), None), width)
    lines += facts([("now", plan.title), *plan.place], width) + overrides(plan, width)
    return page([lines], lines, ascii_only=ascii_only, height=None)


def first_line(plan: ActionPlan, verdict: Verdict, width: int) -> list[Text]:
    """The verdict, on what, and the plan's id. A verdict that does not name the action is followed by it."""
    action = [] if capitals(plan) in verdict.words else [capitals(plan).lower()]
    whose = [*action, *named(plan)]
    ways = (([*whose, clock(plan.at)], True), (whose, True))
    return titled(styled(verdict), ways, Cell(f"plan {cut(plan.id, _ID)}", FAINT), width)


def plan_answer(
    plan: ActionPlan, width: int, above: Sequence[Text] = (), verdict: Verdict | None = None
) -> list[Text]:
    """What decides: what would be done, what is lost by it, and the command, or the guards that bar it.

    `above` stands right below the first line."""
    lines = [*first_line(plan, verdict or plan_verdict(plan), width), *above, *bars(plan, width)]
    lines += told("Plan", plan.title, width)
    lines += told("Lost", ", ".join(plan.losses), width) if plan.losses else []
    if plan.barred or not plan.targets:
        return lines
    return lines + next_lines("Do it", Next(command=plan.command, why=""), width)


def plan_body(plan: ActionPlan, width: int) -> list[list[Text]]:
    """Everything below the answer: on what exactly, the guards, what is sent, how it is undone."""
    return [
        _place(plan, width),
        _targets(plan, width),
        guards(plan, width),
        _exactly(plan, width),
        _undo(plan, width),
        notes(plan.notes, width),
    ]


def footer(parts: Sequence[str], plan: ActionPlan, width: int) -> list[Text]:
    return [line((text, FAINT)) for text in pack([f"{day(plan.at)} {clock(plan.at)}", *parts], width)]


def _place(plan: ActionPlan, width: int) -> list[Text]:
    """On what it acts and where, what is measured afterwards, how it is undone."""
    unnamed = unnamed_targets(plan) if plan.table is None else ""
    after, (undo, paste) = measured_after(plan), undoing(plan)
    rows = [
        *few(plan.place, MOST)[0],
        ("targets", unnamed),
        ("verify", after),
        ("undo", "" if paste else undo),
    ]
    lines = facts([(label, text) for label, text in rows if text], width)
    if plan.severity:
        for shown in lines:
            shown.highlight_words([f"{plan.severity.value} now"], SEVERITY_STYLE[plan.severity])
    return lines


def _targets(plan: ActionPlan, width: int) -> list[Text]:
    """Every target: its row, or at least its name."""
    if plan.table is None or not plan.table.rows:
        return []
    rows = plan.table.rows[: _MOST_ROWS if width >= NARROW else _FEW_ROWS]
    shown = fields(plan.table.columns, rows)
    lines = [line(("Targets", HEADING))]
    lines += table(shown, width, indent=2) if shown else [line("  ", "only empty values")]
    for note in filter(None, (rest_of_targets(plan, len(rows)), *map(clipped, plan.table.notes))):
        lines += indented(note, width, indent=2, style=FAINT)
    return lines


def _exactly(plan: ActionPlan, width: int) -> list[Text]:
    """What is sent or written, line by line as it is; a longer line goes on further to the right."""
    shown, more = few(exactly(plan), _MOST_LINES)
    lines = [line(("Exactly", HEADING))] if shown else []
    for text in shown:
        body = text.lstrip(" ")
        lead = " " * min(2 + len(text) - len(body), width // 2)
        first, *rest = wrap(cut(body, 2 * LONGEST), width - len(lead) - 2)
        lines += [line(lead, first), *(line(lead, "  ", part) for part in rest)]
    return lines + (indented(f"{more} more lines: {IN_JSON}", width, indent=2, style=FAINT) if more else [])


def _undo(plan: ActionPlan, width: int) -> list[Text]:
    text, paste = undoing(plan)
    if paste:
        return next_lines("Undo", Next(command=text, why=""), width)
    return told("Undo", text, width) if text else []
