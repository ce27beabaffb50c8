"""Silences as pages for a terminal: the list, and one that is made or ended."""

from rich.console import Group
from rich.text import Text

from oncall.model import Severity
from oncall.model_alerts import SilenceList, SilencePlan
from oncall.numbers import clock, day
from oncall.render.acts import told
from oncall.render.alerts import gaps
from oncall.render.command import command_lines
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, Cell, indented, labelled, line, marked, noted
from oncall.render.header import NARROW, titled
from oncall.render.inert import inert
from oncall.render.silence_words import (
    HEADS,
    MOST_HITS,
    facts,
    harmless_plan,
    headline,
    hit_told,
    more_hits,
    next_label,
    remarks,
    row,
    verdict_of,
)
from oncall.render.table import Field, table
from oncall.render.text import pack

_INDENT = 10


def silences_page(found: SilenceList, *, width: int, ascii_only: bool = False) -> Group:
    """What is silenced, what ends first in front."""
    width = page_width(width)
    found = inert(found, ascii_only=ascii_only)
    style = SEVERITY_STYLE[Severity.UNKNOWN] if found.source is None else HEADING
    head = titled(Cell(headline(found), style), (_identity(found),), Cell(), width)
    rows = [row(silence, found.at) for silence in found.silences]
    fields = [Field(name, tuple(cells[index] for cells in rows)) for index, name in enumerate(HEADS)]
    blocks = [head, table(fields, width, whole=True) if rows else []]
    blocks += [gaps([(f"{g.what}: {g.reason}", g.hint) for g in found.unseen], width)]
    blocks += [noted(remarks(found), width)]
    last = [day(found.at), found.source or "", "end one: oncall alerts expire ID" if rows else ""]
    blocks += [[line((text, FAINT)) for text in pack(last, width)]]
    return page(blocks, [], ascii_only=ascii_only, height=None)


def silence_page(plan: SilencePlan, *, width: int, ascii_only: bool = False) -> Group:
    """The silence, what it hits now, what to beware of, and the command that does it."""
    width, command = page_width(width), plan.command
    plan = harmless_plan(plan, ascii_only=ascii_only)
    word, severity = verdict_of(plan)
    style = HEADING if severity is None else SEVERITY_STYLE[severity]
    answer = titled(Cell(plan.text, style), (_identity(plan),), Cell(word, style), width)
    answer += _warnings(plan, width)
    answer += told("Hint", plan.hint, width) if plan.hint else []
    if command and plan.state in ("preview", "made"):
        label = next_label(plan)
        answer += [line((label, HEADING)), *command_lines(command, width, indent=2)]
    blocks = [answer, _facts(plan, width), _hits(plan, width)]
    last = [day(plan.at), plan.source or ""]
    blocks += [[line((text, FAINT)) for text in pack(last, width)]]
    return page(blocks, [], ascii_only=ascii_only, height=None)


def _identity(found: SilenceList | SilencePlan) -> tuple[list[str], bool]:
    return [found.service, found.environment, clock(found.at)], True


def _warnings(plan: SilencePlan, width: int) -> list[Text]:
    lines: list[Text] = []
    for text in plan.warnings:
        lines += marked("!", SEVERITY_STYLE[Severity.WARNING], indented(text, width - 2))
    return lines


def _facts(plan: SilencePlan, width: int) -> list[Text]:
    lines: list[Text] = []
    for label, text in facts(plan):
        if width < NARROW:
            lines += [line((label, HEADING)), *indented(text, width, indent=2)]
        else:
            lines += labelled(Cell(label, HEADING), Cell(text), width, indent=_INDENT)
    return lines


def _hits(plan: SilencePlan, width: int) -> list[Text]:
    lines: list[Text] = []
    for hit in plan.hits[:MOST_HITS]:
        style = FAINT if hit.quiet else SEVERITY_STYLE[hit.severity]
        lines += marked("·", style, indented(hit_told(hit, plan.at), width - 2))
    more = more_hits(plan)
    lines += indented(more, width, indent=2, style=FAINT) if more else []
    return [line(("Hits now" if plan.act == "silence" else "Heard again", HEADING)), *lines] if lines else []
