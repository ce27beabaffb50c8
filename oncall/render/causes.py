"""Causes with what speaks for and against them, the one to act on first."""

from rich.text import Text

from oncall.model import CauseReport, Confidence, Diagnosis
from oncall.render.grid import (
    CONFIDENCE_STYLE,
    GAP,
    HEADING,
    Cell,
    columns,
    indented,
    labelled,
    line,
    marked,
    shifted,
    side_by_side,
    taken,
)
from oncall.render.header import NARROW, next_lines
from oncall.render.text import cells
from oncall.render.words import (
    AGAINST,
    CONFIDENCE_WORD,
    FOR,
    UNREAD,
    best_against,
    is_live,
    missing,
    points,
    ranked_causes,
)

_MARK_STYLE = {FOR: "bold", AGAINST: "", UNREAD: "magenta"}
_CAUSE_MARK = {Confidence.RULED_OUT: AGAINST, Confidence.UNKNOWN: UNREAD}
_TITLE = 26
_ROOM = 36
"""Evidence needs this much beside the names of the causes; else it stands below."""


def causes(d: Diagnosis, width: int) -> list[Text]:
    """All of them: those that may hold with their evidence, the rest in a line each."""
    ranked = ranked_causes(d.causes)
    if not ranked:
        return []
    title = min(max(_TITLE, width // 3), max(cells(cause.title) for cause in ranked))
    word = max(cells(CONFIDENCE_WORD[cause.confidence]) for cause in ranked)
    lines = [line(("Causes", HEADING))]
    start = 2 + taken([title, word]) + GAP
    beside = width - start >= _ROOM
    said = ""
    for cause in ranked:
        body = _body(cause, width - (start if beside else 2), said)
        if beside:
            lines += side_by_side(_names(cause, title, word), body, start)
        else:
            lines += [*_name(cause, width), *shifted(body, 2)]
        lines += _acting(d, cause, width) if is_live(cause) else []
        said = missing(cause)
    return lines


def _names(cause: CauseReport, title: int, word: int) -> list[Text]:
    style = CONFIDENCE_STYLE[cause.confidence]
    names = [
        Cell(cause.title, style if is_live(cause) else ""),
        Cell(CONFIDENCE_WORD[cause.confidence], style),
    ]
    return marked(_sign(cause), style, columns(names, [title, word]))


def _name(cause: CauseReport, width: int) -> list[Text]:
    style = CONFIDENCE_STYLE[cause.confidence]
    head = indented(f"{cause.title}, {CONFIDENCE_WORD[cause.confidence]}", width - 2, style=style)
    return marked(_sign(cause), style, head)


def _sign(cause: CauseReport) -> str:
    return _CAUSE_MARK.get(cause.confidence, FOR)


def _body(cause: CauseReport, width: int, said: str) -> list[Text]:
    """The evidence; what is missing only where the cause before did not say the same."""
    if cause.confidence is Confidence.RULED_OUT:
        return indented(best_against(cause), width)
    if cause.confidence is Confidence.UNKNOWN:
        return indented("missing: the same" if missing(cause) == said else missing(cause), width)
    lines = []
    for point, text in points(cause):
        lines += marked(point, _MARK_STYLE[point], indented(text, width - 2))
    return lines


def _acting(d: Diagnosis, cause: CauseReport, width: int) -> list[Text]:
    """How it makes the symptom, what else to run, what mends it for good."""
    lines = _aside("How", cause.why, width) if cause.why else []
    for step in cause.next:
        if step != d.summary.next:
            lines += next_lines("Then", step, width, at=2)
    for advice in cause.advice:
        lines += _aside("Later", advice, width) if advice != d.summary.look else []
    return lines


def _aside(label: str, text: str, width: int) -> list[Text]:
    if width < NARROW:
        return indented(f"{label}: {text}", width, indent=2)
    return shifted(labelled(Cell(label, HEADING), Cell(text), width - 2, indent=8), 2)
