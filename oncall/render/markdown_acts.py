"""A plan, its outcome and the guards, to paste into an incident channel: the same in Slack and on GitHub.

Foreign text is handled as in `markdown`. Imports no rich."""

from collections.abc import Sequence

from oncall.model import Next, Table
from oncall.model_acts import ActionPlan, Check, GuardReport, Guards, GuardState, Remediation, SymptomChange
from oncall.numbers import clock, day, humane, scalar
from oncall.render.act_words import (
    IN_JSON,
    LONGEST,
    MOST_NEXT,
    NOTHING_CHANGED,
    Verdict,
    act_sentence,
    applies_to,
    capitals,
    change_of,
    check_sign,
    every_action,
    exactly,
    few,
    guard_sign,
    guard_text,
    guards_headline,
    guards_told,
    harmless,
    harmless_outcome,
    hints,
    in_state,
    judged,
    limits,
    measured_after,
    named,
    outcome_verdict,
    plan_verdict,
    ranked_symptoms,
    rest_of_targets,
    result_sign,
    result_text,
    told_results,
    undoing,
    unnamed_targets,
    unread,
    untouched,
    verify_sentence,
)
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.spark import spark
from oncall.render.text import cut, wrap

_MOST_ROWS, _MOST_LINES, _MOST = 20, 40, 12
_WIDEST, _PAGE = 60, 100
_BARS = 16


def plan_markdown(plan: ActionPlan) -> str:
    """The plan: what would be done, what is lost, the command or the guards that bar it, then the rest."""
    plan = harmless(plan)
    return _joined([_first(plan, plan_verdict(plan)), *_decides(plan), *_below(plan)])


def remediation_markdown(r: Remediation) -> str:
    """What became of it: the verdict, one sentence each of act and proof, the next command, then the proof."""
    r = harmless_outcome(r)
    refused = r.outcome == "refused"
    blocks = [_first(r.plan, outcome_verdict(r)), NOTHING_CHANGED if untouched(r) else "", _said(r)]
    blocks += _decides(r.plan) if refused and r.plan.barred else []
    blocks += [_next("Or" if index else "Next", step) for index, step in enumerate(few(r.next, MOST_NEXT)[0])]
    blocks.append(_results(r))
    if r.verification:
        blocks += [_checks(r.verification.checks), *_symptoms(r.verification.symptoms)]
    blocks += _below(r.plan) if refused else ["\n".join(_overridden(r.plan))]
    return _joined([*blocks, _list("Notes", [inline(note) for note in r.notes]), _kept(r)])


def guards_markdown(found: Guards) -> str:
    """Every guard: what it protects, how, for which actions, whether it yields."""
    guards = inert(found).guards
    every = every_action(guards)
    lines = [f"**{guards_headline(guards)}**"]
    for guard in guards:
        yields = "can be overridden" if guard.overridable else "never overridden"
        lines.append(f"- {inline(guard.name)}: protects {inline(guard.protects)}")
        lines += [f"  - {inline(guard.how)}", f"  - {inline(applies_to(guard, every))}; {yields}"]
    return "\n".join(lines) + "\n"


def _joined(blocks: Sequence[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


# --- a plan --------------------------------------------------------------------------------------


def _first(plan: ActionPlan, verdict: Verdict) -> str:
    action = [] if capitals(plan) in verdict.words else [capitals(plan).lower()]
    whose = [inline(part) for part in (*action, *named(plan))]
    head = f"**{verdict.words}**" if plan.action.replace("-", "").isalnum() else inline(verdict.words)
    return f"{head} (plan {inline(cut(plan.id, _WIDEST))})\n" + " · ".join(
        [*whose, f"{day(plan.at)} {clock(plan.at)}"]
    )


def _decides(plan: ActionPlan) -> list[str]:
    bars = "\n".join(part for guard in plan.barred for part in _guard(guard))
    told = [f"**Plan:** {inline(plan.title)}"]
    told += [f"**Lost:** {inline(', '.join(plan.losses))}"] if plan.losses else []
    go = "" if plan.barred or not plan.targets else f"**Do it:**\n{code_block([plan.command])}"
    return [bars, "\n".join(told), go]


def _guard(guard: GuardReport) -> list[str]:
    lines = [f"- {guard_sign(guard)} **{inline(guard.name)}** {inline(guard_text(guard))}"]
    if guard.state is GuardState.OVERRIDDEN:
        return lines
    for text, paste in hints(guard):
        lines += [code_block([text])] if paste else [f"  - {inline(text)}"]
    return lines


def _below(plan: ActionPlan) -> list[str]:
    place = [f"- {inline(label)}: {inline(text)}" for label, text in plan.place]
    place += ["- targets:", code_block(wrap(names, _PAGE))] if (names := _bare(plan)) else []
    place += [f"- verify: {inline(measured_after(plan))}"] if plan.issues else []
    blocks = ["\n".join(place), _table(plan)]
    guards = ["**Guards**", *(f"- {inline(text)}" for text in guards_told(plan)), *_overridden(plan)]
    blocks.append("\n".join(guards))
    return [*blocks, _exactly(plan), _undo(plan), _list("Notes", [inline(note) for note in plan.notes])]


def _bare(plan: ActionPlan) -> str:
    return "" if plan.table and plan.table.rows else unnamed_targets(plan)


def _overridden(plan: ActionPlan) -> list[str]:
    return [part for guard in in_state(plan, GuardState.OVERRIDDEN) for part in _guard(guard)]


def _table(plan: ActionPlan) -> str:
    if plan.table is None or not plan.table.rows:
        return ""
    shown = plan.table.rows[:_MOST_ROWS]
    rest = rest_of_targets(plan, len(shown))
    lines = [*_aligned(_cells(plan.table, len(shown))), *(wrap(rest, _PAGE) if rest else [])]
    notes = "".join(f"\n{inline(note)}" for note in plan.table.notes)
    return code_block(lines) + notes


def _cells(table: Table, rows: int) -> list[list[str]]:
    heads = [column.name for column in table.columns]
    units = [column.unit for column in table.columns]
    found = [[scalar(v, unit) for v, unit in zip(row, units, strict=True)] for row in table.rows[:rows]]
    return [[cut(text, _WIDEST) for text in row] for row in (heads, *found)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(wide) for text, wide in zip(row, widths, strict=True) if wide).rstrip()
        for row in rows
    ]


def _exactly(plan: ActionPlan) -> str:
    lines, more = few(exactly(plan), _MOST_LINES)
    if not lines:
        return ""
    left = f"\n{more} more lines: {IN_JSON}" if more else ""
    return f"**Exactly:**\n{code_block([cut(text, LONGEST) for text in lines])}{left}"


def _undo(plan: ActionPlan) -> str:
    text, paste = undoing(plan)
    if paste:
        return f"**Undo:**\n{code_block([text])}"
    return f"**Undo:** {inline(text)}" if text else ""


def _list(title: str, texts: Sequence[str]) -> str:
    shown, more = few(texts, _MOST)
    told = [f"- {text}" for text in shown] + ([f"- {more} more: {IN_JSON}"] if more else [])
    return "\n".join([f"**{title}**", *told]) if told else ""


# --- what became of it ---------------------------------------------------------------------------


def _said(r: Remediation) -> str:
    said = act_sentence(r)
    lines = [f"**Act:** {inline(said)}"] if said else []
    lines += [f"**Verify:** {inline(proof)}"] if (proof := verify_sentence(r)) else []
    return "\n".join(lines)


def _next(label: str, step: Next) -> str:
    return f"**{label}:** {inline(step.why)}".rstrip() + f"\n{code_block([step.command])}"


def _results(r: Remediation) -> str:
    listed, others = told_results(r)
    lines = [f"{result_sign(x)[0]} {inline(cut(x.id, _WIDEST))}: {inline(result_text(x))}" for x in listed]
    return _list("Targets", [*lines, *map(inline, others)])


def _checks(checks: Sequence[Check]) -> str:
    return _list("Checks", [f"{check_sign(check)[0]} {inline(check.text)}" for check in checks])


def _symptoms(symptoms: Sequence[SymptomChange]) -> list[str]:
    if not symptoms:
        return []
    shown, more = few(ranked_symptoms(symptoms), _MOST)
    rows = [["Symptom", "before", "now", "warn", "crit", "", ""]]
    for symptom in shown:
        numbers = [*change_of(symptom), *limits(symptom)]
        rows.append([cut(symptom.title, _WIDEST), *numbers, spark(symptom.history, _BARS), judged(symptom)])
    gaps = "".join(f"\n- ? {inline(reason)}" for reason in unread(shown))
    return [code_block(_aligned(rows)) + gaps, f"{more} more symptoms: {IN_JSON}" if more else ""]


def _kept(r: Remediation) -> str:
    parts = [f"evidence {inline(r.evidence)}"] if r.evidence else []
    parts += [f"audit {r.audit}"] if r.audit is not None else []
    parts.append(f"took {humane(r.duration_ms, 'ms')}")
    parts += [f"watched for {humane(r.verification.waited_s, 'seconds')}"] if r.verification else []
    return " · ".join(parts)
