"""Causes with what speaks for and against them, the one to act on first."""

from rich.text import Text

from oncall.model import CauseReport, Confidence, Diagnosis, EvidenceReport
from oncall.render.grid import (
    CONFIDENCE_STYLE,
    CONFIDENCE_WORD,
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

FOR, AGAINST, UNREAD = "+", "−", "?"
_MARK_STYLE = {FOR: "bold", AGAINST: "", UNREAD: "magenta"}
_CAUSE_MARK = {Confidence.RULED_OUT: AGAINST, Confidence.UNKNOWN: UNREAD}
_ORDER = list(Confidence)
_TITLE = 26
_ROOM = 36
"""Evidence needs this much beside the names of the causes; else it stands below."""


def causes(d: Diagnosis, width: int) -> list[Text]:
    """All of them: those that may hold with their evidence, the rest in a line each."""
    # Sorting is stable: among equals the first is still the one to act on.
    ranked = sorted(d.causes, key=lambda cause: rank(cause.confidence))
    if not ranked:
        return []
    title = min(_TITLE, max(cells(cause.title) for cause in ranked))
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


def rank(confidence: Confidence) -> int:
    """Order on the page: confirmed, likely, possible; then unknown, which may hold still; ruled out last."""
    order = [c for c in _ORDER if c is not Confidence.RULED_OUT]
    return order.index(confidence) if confidence in order else len(order)


def is_live(cause: CauseReport) -> bool:
    """Whether something was found that speaks for it."""
    return cause.confidence in (Confidence.CONFIRMED, Confidence.LIKELY, Confidence.POSSIBLE)


def mark(evidence: EvidenceReport) -> str | None:
    """`+` for, `−` against (what should be there is not, or what speaks against is), `?` unread.

    None where a counter-argument was looked for and not found: that is no evidence for anything.
    """
    if evidence.holds is None:
        return UNREAD
    if evidence.holds:
        return FOR if evidence.supports else AGAINST
    return AGAINST if evidence.supports else None


def best_against(cause: CauseReport) -> str:
    """The one reason why it is not this, in words."""
    against = [evidence for evidence in cause.evidence if mark(evidence) == AGAINST]
    decisive = [evidence for evidence in against if evidence.decisive]
    # What speaks against by itself says more than the absence of what would speak for.
    spoken = [evidence for evidence in against if not evidence.supports]
    return (decisive or spoken or against)[0].text if against else ""


def missing(cause: CauseReport) -> str:
    """What would have to be readable to tell."""
    unread = [evidence.text for evidence in cause.evidence if mark(evidence) == UNREAD]
    parts = cause.missing or tuple(unread)
    return f"missing: {'; '.join(parts)}" if parts else "nothing could be read that tells"


def points(cause: CauseReport) -> list[tuple[str, str]]:
    """Mark and text of each piece of evidence: for, against, unread; decisive ones first in each."""
    order = [FOR, AGAINST, UNREAD]
    signed = [(mark(evidence), evidence) for evidence in cause.evidence]
    known = [(sign, evidence) for sign, evidence in signed if sign is not None]
    known.sort(key=lambda item: (order.index(item[0]), not item[1].decisive))
    unread = {evidence.text for sign, evidence in known if sign == UNREAD}
    needs = [(UNREAD, f"missing: {text}") for text in cause.missing if text not in unread]
    return [(sign, evidence.text) for sign, evidence in known] + needs


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
        lines += _aside("Mend", advice, width)
    return lines


def _aside(label: str, text: str, width: int) -> list[Text]:
    if width < NARROW:
        return indented(f"{label}: {text}", width, indent=2)
    return shifted(labelled(Cell(label, HEADING), Cell(text), width - 2, indent=8), 2)
