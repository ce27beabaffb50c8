"""Several issues of one service at once: their order, which share a cause, what need not be said twice. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from oncall.model import (
    WORST_FIRST,
    CauseReport,
    Confidence,
    Diagnosis,
    Severity,
    StepReport,
    Unseen,
)
from oncall.render.words import CONFIDENCE_WORD

_SURE = (Confidence.CONFIRMED, Confidence.LIKELY)
_NOT_CONFIGURED = "not configured"


class Line(NamedTuple):
    """One issue: its report, and what is said of it in a line."""

    d: Diagnosis
    text: str
    same: bool = False
    """Its cause is that of the line before."""


class Page(NamedTuple):
    """What one issue adds to those shown before it; `above` names the tables that stand there already."""

    d: Diagnosis
    above: tuple[str, ...]


def counts(found: Sequence[Diagnosis]) -> str:
    """`1 CRITICAL, 1 WARNING, 2 OK`, or ALL WELL."""
    severities = [d.severity for d in found]
    if set(severities) == {Severity.OK}:
        return "ALL WELL"
    told = [(severities.count(severity), severity.value.upper()) for severity in WORST_FIRST]
    return ", ".join(f"{number} {word}" for number, word in told if number)


def lines(found: Sequence[Diagnosis]) -> list[Line]:
    """One an issue, in the order given (worst first), those with the same cause together."""
    left, told = list(found), list[Line]()
    while left:
        first = left.pop(0)
        told.append(Line(first, _said(first)))
        sure = {_mechanism(cause) for cause in first.causes if cause.confidence in _SURE}
        for other in list(left):
            top = other.causes[0] if other.causes else None
            if top and top.confidence in _SURE and _mechanism(top) in sure:
                left.remove(other)
                text = f"same cause: {top.title} ({CONFIDENCE_WORD[top.confidence]})"
                told.append(Line(other, text, same=True))
    return told


def _mechanism(cause: CauseReport) -> str:
    """`latency.slow_queries` and `pool.slow_queries` are one thing that goes wrong."""
    return cause.id.rpartition(".")[2]


def _said(d: Diagnosis) -> str:
    """The top cause with its best evidence; where nothing was configured to be asked, just that."""
    missing = dict.fromkeys(gap.what for gap in d.unseen if gap.reason == _NOT_CONFIGURED)
    if blank(d) and missing and len(missing) == len(d.unseen):
        return f"not configured: {', '.join(missing)}"
    return d.summary.cause or "not found"


def blank(d: Diagnosis) -> bool:
    """Whether nothing at all was read."""
    return not any(s.value is not None for s in d.signals) and not any(s.status == "ok" for s in d.steps)


def pages(shown: Sequence[Line]) -> list[Page]:
    """What is to be read below the lines: every issue that is not well, without what was said before it."""
    steps: list[StepReport] = []
    gaps: set[tuple[str, str]] = set()
    notes: set[str] = set()
    commands: set[str] = set()
    found = []
    for d in (line.d for line in shown if line.d.severity is not Severity.OK):
        page = Page(_rest(d, steps, gaps, notes, commands), _above(d, steps))
        steps += d.steps
        gaps |= {(gap.what, gap.reason) for gap in d.unseen}
        notes |= set(d.notes)
        commands |= {d.summary.next.command} if d.summary.next else set()
        # Of an issue about which nothing is known and nothing new is to be said, its line says enough.
        if not blank(d) or page.d.unseen or page.d.notes:
            found.append(page)
    return found


def _rest(
    d: Diagnosis,
    steps: Sequence[StepReport],
    gaps: set[tuple[str, str]],
    notes: set[str],
    commands: set[str],
) -> Diagnosis:
    summary = d.summary
    if summary.next and summary.next.command in commands:
        summary = replace(summary, next=None, look="the same as above")
    unseen: tuple[Unseen, ...] = tuple(g for g in d.unseen if (g.what, g.reason) not in gaps)
    told = {reason for _, reason in gaps}
    left = tuple(s for s in d.steps if not _shown(s, steps) and not (s.status != "ok" and s.reason in told))
    rest = replace(
        d, summary=summary, steps=left, unseen=unseen, notes=tuple(n for n in d.notes if n not in notes)
    )
    if blank(d):
        return replace(rest, signals=(), causes=(), steps=(), summary=replace(summary, cause=_said(d)))
    return rest


def _above(d: Diagnosis, steps: Sequence[StepReport]) -> tuple[str, ...]:
    return tuple(s.title for s in d.steps if s.status == "ok" and s.rows and _shown(s, steps))


def _shown(step: StepReport, steps: Sequence[StepReport]) -> bool:
    """Whether the same question's answer was shown: two runbooks may give it other titles."""
    return any((step.probe, step.query, step.columns, step.rows) == (s.probe, s.query, s.columns, s.rows)
               and step.status == s.status for s in steps)  # fmt: skip
