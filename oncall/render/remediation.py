"""What became of an action, as a page for a terminal: whether it was done and whether it helped, then the proof."""

from rich.console import Group
from rich.text import Text

from oncall.model_acts import Remediation
from oncall.numbers import humane
from oncall.render.act_words import (
    MOST_NEXT,
    NOTHING_CHANGED,
    act_sentence,
    clipped,
    few,
    harmless_outcome,
    outcome_verdict,
    ranked_symptoms,
    result_sign,
    result_text,
    told_results,
    untouched,
    verify_sentence,
)
from oncall.render.acts import checks, facts, notes, overrides, symptoms, told
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import GAP, HEADING, SEVERITY_STYLE, Cell, columns, indented, line, marked
from oncall.render.header import NARROW, next_lines
from oncall.render.plan import first_line, footer, plan_answer, plan_body
from oncall.render.text import cells, cut

_NAME = 32


def remediation_page(
    r: Remediation, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """The page, at most `width` cells wide; on a screen of fewer lines its answer stands once more at its end."""
    width = page_width(width)
    r = harmless_outcome(r, ascii_only=ascii_only)
    answer = _answer(r, width)
    refused = r.outcome == "refused"
    blocks = [answer, _results(r, width), *_proof(r, width, "->" if ascii_only else "→")]
    blocks += plan_body(r.plan, width) if refused else [overrides(r.plan, width)]
    blocks += [notes(r.notes, width), _kept(r, width), _footer(r, width)]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _answer(r: Remediation, width: int) -> list[Text]:
    said = act_sentence(r)
    nothing = indented(NOTHING_CHANGED, width, style=HEADING) if untouched(r) else []
    if r.outcome == "refused" and r.plan.barred:
        lines = plan_answer(r.plan, width, nothing, outcome_verdict(r))
        lines += told("Act", said, width) if said else []
    else:
        lines = [*first_line(r.plan, outcome_verdict(r), width), *nothing]
        lines += told("Act", said, width) if said else []
    lines += told("Verify", proof, width) if (proof := verify_sentence(r)) else []
    shown, _ = few(r.next, MOST_NEXT)
    for index, step in enumerate(shown):
        lines += next_lines("Or" if index else "Next", step, width)
    return lines


def _results(r: Remediation, width: int) -> list[Text]:
    """What is not done, target by target; what is done as a count where there is much of it."""
    listed, others = told_results(r)
    if not listed and not others:
        return []
    lines = [line(("Targets", HEADING))]
    column = min(_NAME, max((cells(result.id) for result in listed), default=0))
    for result in listed:
        sign, severity = result_sign(result)
        if width < NARROW:
            body = indented(f"{cut(result.id, _NAME)}: {result_text(result)}", width - 2)
        else:
            row = [Cell(cut(result.id, column)), Cell(result_text(result))]
            body = columns(row, [column, width - column - GAP - 2])
        lines += marked(sign, SEVERITY_STYLE[severity], body)
    for text in others:
        lines += indented(text, width, indent=2)
    return lines


def _proof(r: Remediation, width: int, arrow: str) -> list[list[Text]]:
    if r.verification is None:
        return []
    proven = checks(r.verification.checks, width)
    head = [line(("Checks", HEADING))] if proven else []
    return [[*head, *proven], symptoms(ranked_symptoms(r.verification.symptoms), width, arrow=arrow)]


def _kept(r: Remediation, width: int) -> list[Text]:
    """Where the trace is."""
    rows = [("evidence", r.evidence)] if r.evidence else []
    rows += [("audit", f"{r.audit}: oncall audit show {r.audit}")] if r.audit is not None else []
    return facts([(label, clipped(text)) for label, text in rows], width)


def _footer(r: Remediation, width: int) -> list[Text]:
    parts = [f"took {humane(r.duration_ms, 'ms')}"]
    if r.verification:
        parts.append(f"watched for {humane(r.verification.waited_s, 'seconds')}")
    return footer(parts, r.plan, width)
