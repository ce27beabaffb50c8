"""The first three lines: what is wrong, why, and the one command to run next."""

from collections.abc import Sequence

from rich.text import Text

from oncall.model import Diagnosis, Next, Severity, Verdict
from oncall.numbers import clock
from oncall.render.command import command_lines
from oncall.render.grid import (
    COMMAND,
    GAP,
    HEADING,
    SEVERITY_STYLE,
    Cell,
    columns,
    indented,
    labelled,
    line,
    shifted,
    side_by_side,
)
from oncall.render.text import cells, pack

NARROW = 60
"""Below this width labels stand above their text instead of beside it."""
_LABEL = 8
_BESIDE = 24


def header(d: Diagnosis, width: int, *, alone: bool = True) -> list[Text]:
    """Verdict, cause and next command, in this order, whatever the width; whose they are only where it is `alone`."""
    identity = identity_of(d) if alone else ("", "", "", "")
    shown = verdict(d.summary.headline, d.severity, identity, width)
    return [*shown, *_cause(d, width), *next_of(d, width)]


def next_lines(label: str, step: Next, width: int, *, at: int = 0) -> list[Text]:
    """A labelled command and why: beside it where there is room for words, else below."""
    indent = at + (_LABEL if width >= NARROW else 2)
    why = indented(step.why, width, indent=indent) if step.why else []
    wide, needed = cells(step.command), cells(step.why)
    if width < NARROW or indent + wide > width >= wide:
        return [line(" " * at, (label, HEADING)), *command_lines(step.command, width, indent=indent), *why]
    if wide > width:
        body = command_lines(step.command, width - indent)
        return [*side_by_side([line(" " * at, (label, HEADING))], body, indent), *why]
    row = [Cell(label, HEADING), Cell(step.command, COMMAND)]
    free = width - indent - wide - 3
    if free >= needed or (free >= _BESIDE and free * 2 >= needed):
        lines = columns([*row, Cell(step.why)], [_LABEL - GAP, wide + 1, max(free, 1)])
        return shifted(lines, at)
    return [*shifted(columns(row, [_LABEL - GAP, wide]), at), *why]


def verdict(headline: str, severity: Severity, identity: tuple[str, str, str, str], width: int) -> list[Text]:
    """What is wrong, with whom (service, environment, target, time; empty ones are left out), how bad."""
    style = SEVERITY_STYLE[severity]
    service, environment, _, time = identity
    ways = ((identity, True), (identity, False), ((service, environment, time), True))
    return titled(Cell(headline, style), ways, Cell(severity.value, style), width)


def titled(head: Cell, ways: Sequence[tuple[Sequence[str], bool]], last: Cell, width: int) -> list[Text]:
    """A first line: the head, whose it is, at the end of the line the last word.

    `ways` are the parts to name, and whether the last word stands with them: the first that fits is taken. Where
    none does, the first way's parts stand below."""
    for parts, ended in ways:
        named = " · ".join(filter(None, parts))
        end = last.text if ended else ""
        spare = width - cells(head.text) - cells(named) - cells(end) - 3
        if spare >= (2 if end else 0):
            return [
                line((head.text, head.style), "   ", named, " " * spare if end else "", (end, last.style))
            ]
    spare = max(2, width - cells(head.text) - cells(last.text))
    if cells(head.text) + spare + cells(last.text) <= width:
        first = [line((head.text, head.style), " " * spare, (last.text, last.style))]
    else:
        first = [part for cell in (head, last) for part in indented(cell.text, width, style=cell.style)]
    return first + [line(text) for text in pack(list(filter(None, ways[0][0])), width)]


def identity_of(d: Diagnosis) -> tuple[str, str, str, str]:
    return d.service, d.environment, d.target or "", clock(d.at)


def left_out(d: Diagnosis, shown: list[Text]) -> list[str]:
    """What the first line had no room for: the severity, or the database that was asked."""
    text = "\n".join(part.plain for part in shown)
    severity = [] if text.split("\n")[0].endswith(d.severity.value) else [f"severity {d.severity.value}"]
    return severity + ([f"target {d.target}"] if d.target and d.target not in text else [])


def _cause(d: Diagnosis, width: int) -> list[Text]:
    text = d.summary.cause or ("none" if d.verdict is Verdict.HEALTHY else "not found")
    if width < NARROW:
        return [line(("Cause", HEADING)), *indented(text, width, indent=2)]
    return labelled(Cell("Cause", HEADING), Cell(text), width, indent=_LABEL)


def next_of(d: Diagnosis, width: int) -> list[Text]:
    """The one command to run next, else where to look."""
    if d.summary.next:
        return next_lines("Next", d.summary.next, width)
    healthy = d.severity is Severity.OK
    text = d.summary.look or ("nothing to do" if healthy else "no command is known to be safe here: read on")
    if width < NARROW:
        return [line(("Next", HEADING)), *indented(text, width, indent=2)]
    return labelled(Cell("Next", HEADING), Cell(text), width, indent=_LABEL)
