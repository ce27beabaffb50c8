"""A diagnosis to paste into an incident channel: short, and the same in Slack and on GitHub.

Tables are code blocks, since Slack has no tables. Text from elsewhere that either of them would turn into a
link, a mention or markup becomes a code span, where both show it as it is. Imports no rich.
"""

import re
from collections.abc import Sequence

from oncall.model import CauseReport, Confidence, Diagnosis, Severity, SignalReport
from oncall.numbers import clock, day, humane
from oncall.render.inert import inert
from oncall.render.several import Line, counts, lines, pages
from oncall.render.text import safe
from oncall.render.words import (
    AGAINST,
    CONFIDENCE_WORD,
    FOR,
    began,
    best_against,
    bounds,
    is_live,
    missing,
    points,
    ranked_causes,
    ranked_signals,
    shown_value,
    state,
    unseen,
)

MOST_EVIDENCE = 4
_LONGEST = 300
_POINT_WORD = {FOR: "for", AGAINST: "against"}
# Letters, figures and the punctuation that neither Slack nor GitHub reads as markup; `_` only within a word.
_PLAIN = re.compile(r"(?:[\w\s.,;()/%+='\"×→≥≤−–·…$?!-]|:(?=\s|$|\d))*")
_MARKUP = re.compile(r"(?<!\w)_|_(?!\w)|__|www\.|//|:\w+:|!\[", re.IGNORECASE)
_MENTION = re.compile(r"<(?=[!@#])")
_HEADS = ("Signal", "now", "usual", "warn", "crit", "", "since")


def diagnosis_markdown(d: Diagnosis) -> str:
    """The report in Markdown: headline, cause, next command, signals, causes, what could not be seen."""
    d = inert(d)
    return "\n\n".join(block for block in _blocks(d) if block) + "\n"


def _blocks(d: Diagnosis, *, alone: bool = True) -> list[str]:
    return [_head(d, alone=alone), _next(d), _signals(d), _causes(d), _unseen(d), _notes(d)]


def diagnoses_markdown(found: Sequence[Diagnosis], *, origin: str | None = None) -> str:
    """All issues, given worst first: a line each, the one next command, then the reports of what is not well."""
    top = f"{inline(safe(origin))}\n\n" if origin else ""
    if len(found) == 1:
        return top + diagnosis_markdown(found[0])
    shown = lines([inert(d) for d in found])
    first = shown[0].d
    blocks = [f"**{counts(found)}** ({first.severity.value})\n{_identity(first)}", _list(shown), _next(first)]
    for part in pages(shown):
        blocks += _blocks(part.d, alone=False)
    return top + "\n\n".join(block for block in blocks if block) + "\n"


def _list(shown: Sequence[Line]) -> str:
    return "\n".join(
        f"- {each.d.severity.value}: **{_bold(each.d.summary.headline)}**, {inline(each.text)}"
        for each in shown
    )


def inline(text: str) -> str:
    """Safe text inside a line: as it is where nothing in it can be taken for markup, else as a code span."""
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"
    text = text.strip()
    if _PLAIN.fullmatch(text) and not _MARKUP.search(text):
        return text
    shown = _defused(text).replace("`", "'")
    return f"`{shown}`"


def code_block(lines: Sequence[str]) -> str:
    """Lines as they are, in a fence that nothing in them can close."""
    shown = (_defused(line).replace("```", "'''").rstrip() for line in lines)
    return "\n".join(["```", *shown, "```"])


def _defused(text: str) -> str:
    # Slack reads <!here> and <@U123> even inside code when a program posts it.
    return _MENTION.sub("‹", text)


def _head(d: Diagnosis, *, alone: bool) -> str:
    cause = d.summary.cause or "not found"
    identity = f"\n{_identity(d)}" if alone else ""
    headline = f"**{_bold(d.summary.headline)}** ({d.severity.value}){identity}"
    return f"{headline}\n\n**Cause:** {inline(cause)}"


def _identity(d: Diagnosis) -> str:
    parts = [inline(part) for part in (d.service, d.environment, d.target or "") if part]
    return " · ".join([*parts, f"{day(d.at)} {clock(d.at)}"])


def _bold(text: str) -> str:
    """Between the stars stands what cannot close them."""
    return re.sub(r"[^\w\s,;()%+='-]", "", text).replace("_", " ").strip() or "no headline"


def _next(d: Diagnosis) -> str:
    step = d.summary.next
    if step is None:
        healthy = "nothing to do" if d.severity is Severity.OK else "no command is known to be safe here"
        return f"**Next:** {inline(d.summary.look or healthy)}"
    return f"**Next:** {inline(step.why)}".rstrip() + f"\n{code_block([step.command])}"


def _signals(d: Diagnosis) -> str:
    if not d.signals:
        return ""
    rows = [_HEADS, *(_row(signal, d) for signal in ranked_signals(d.signals))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True) if width) for row in rows
    ]
    return code_block(lines)


def _row(signal: SignalReport, d: Diagnosis) -> tuple[str, ...]:
    if signal.value is None:
        return (signal.title, "unknown", *[""] * (len(_HEADS) - 2))
    numbers = (humane(number, signal.unit) for number in (signal.baseline, *bounds(signal)))
    return (signal.title, shown_value(signal), *numbers, state(signal), began(signal, d))


def _causes(d: Diagnosis) -> str:
    lines = ["**Causes**"] if d.causes else []
    for cause in ranked_causes(d.causes):
        lines += _cause(cause)
    return "\n".join(lines)


def _cause(cause: CauseReport) -> list[str]:
    head = f"- {inline(cause.title)}, {CONFIDENCE_WORD[cause.confidence]}"
    if not is_live(cause):
        text = best_against(cause) if cause.confidence is Confidence.RULED_OUT else missing(cause)
        return [f"{head}: {inline(text)}" if text else head]
    known = points(cause)
    shown = [
        f"  - {_POINT_WORD.get(sign, 'not read')}: {inline(text)}" for sign, text in known[:MOST_EVIDENCE]
    ]
    return [head, *shown]


def _unseen(d: Diagnosis) -> str:
    found = unseen(d)
    lines = ["**Could not be seen**"] if found else []
    for gap in found:
        lines.append(f"- {inline(gap.what)}: {inline(gap.reason)}")
        lines += [f"  - {inline(gap.hint)}"] if gap.hint else []
    return "\n".join(lines)


def _notes(d: Diagnosis) -> str:
    return "\n".join(["**Notes**", *(f"- {inline(note)}" for note in d.notes)]) if d.notes else ""
