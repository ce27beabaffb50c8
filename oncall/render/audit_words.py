"""What is said of the audit log, whatever it is said in, and the same in Markdown. Imports no rich."""

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from oncall.model import Severity
from oncall.model_acts import AuditEntry, AuditList, AuditShown, AuditVerified, GuardReport, Verification, Who
from oncall.numbers import clock, day, duration
from oncall.render.act_words import (
    change_of,
    check_sign,
    clipped,
    guard_sign,
    guard_text,
    harmless,
    judged,
    result_sign,
    result_text,
)
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cells, cut, pad

HEADS = ("#", "when (UTC)", "who", "action", "service", "outcome")
OPEN = "no outcome"
STILL = "it was killed in the middle, or it still runs"
EMPTY = "The audit log is empty: nothing was done from here."
NONE_FIT = "No action of the log fits."
_PROOF = {
    "fixed": ("fixed", Severity.OK),
    "nothing_measured": ("nothing measured", Severity.OK),
    "not_fixed": ("not fixed", Severity.CRITICAL),
    "worse": ("worse", Severity.CRITICAL),
    "unknown": ("not verified", Severity.UNKNOWN),
}
_OUTCOME = {
    "done": Severity.OK,
    "partly": Severity.WARNING,
    "unchanged": Severity.WARNING,
    "failed": Severity.CRITICAL,
    "unknown": Severity.UNKNOWN,
    "refused": Severity.WARNING,
    "interrupted": Severity.UNKNOWN,
}
_MOST_OPEN = 5
_WIDEST = 40
Rows = list[tuple[str, str]]


class Did(NamedTuple):
    """One action of the log: its intent or refusal (or an outcome without either), and its outcome."""

    entry: AuditEntry
    outcome: AuditEntry | None


# --- the list --------------------------------------------------------------------------------------


def actions(found: AuditList) -> list[Did]:
    """The actions, newest first."""
    begun = [entry for entry in found.entries if entry.kind != "outcome"]
    numbers = {entry.number for entry in begun}
    outcomes = {entry.intent: entry for entry in found.entries if entry.kind == "outcome"}
    told = [Did(entry, outcomes.get(entry.number)) for entry in begun]
    told += [Did(outcome, outcome) for intent, outcome in outcomes.items() if intent not in numbers]
    return sorted(told, key=lambda did: -did.entry.number)


def row(did: Did) -> tuple[str, ...]:
    """The cells of a line, under HEADS."""
    entry = did.entry
    when = f"{day(entry.at)} {clock(entry.at).removesuffix(' UTC')}"
    return str(entry.number), when, by(entry.who), entry.action, entry.service, ended(did)[0]


def ended(did: Did) -> tuple[str, Severity]:
    """The outcome in a few words, with whether it helped."""
    entry, outcome = did
    if entry.kind == "refused":
        return "refused", Severity.WARNING
    if outcome is None or outcome.outcome is None:
        return OPEN, Severity.UNKNOWN
    severity = _OUTCOME[outcome.outcome]
    if outcome.verification is None:
        return outcome.outcome, severity
    word, proof = _PROOF[outcome.verification.result]
    return f"{outcome.outcome}, {word}", severity if proof is Severity.OK else proof


def by(who: Who) -> str:
    """Who, where: `ana@jump-1`."""
    return f"{who.login or who.user}@{who.host}"


def list_headline(found: AuditList) -> str:
    shown = len(actions(found))
    noun = "action" if shown == 1 else "actions"
    return f"{shown} {noun} of the audit log, which has {found.total} entries" if shown else nothing(found)


def nothing(found: AuditList) -> str:
    return NONE_FIT if found.total else EMPTY


def open_told(numbers: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Each intent without an outcome, and the command that shows it."""
    for number in numbers[-_MOST_OPEN:]:
        yield f"entry {number} has {OPEN}: {STILL}", f"oncall audit show {number}"
    if len(numbers) > _MOST_OPEN:
        yield f"and {len(numbers) - _MOST_OPEN} older ones have {OPEN}", "oncall audit verify"


# --- one action ------------------------------------------------------------------------------------


def safe_shown(found: AuditShown, *, ascii_only: bool = False) -> AuditShown:
    """The same, fit to be printed."""
    safer = inert(found, ascii_only=ascii_only)
    plan = found.entry.plan and harmless(found.entry.plan, ascii_only=ascii_only)
    return replace(safer, entry=replace(safer.entry, plan=plan))


def identity(found: AuditShown) -> list[str]:
    entry = found.entry
    return [entry.service, entry.environment, f"{day(entry.at)} {clock(entry.at)}"]


def facts(found: AuditShown) -> Rows:
    """Label and text of everything that is known, in the order of the questions: what, who, why, from what, then."""
    entry, outcome = found.entry, found.outcome
    plan = entry.plan
    told: Rows = [("Plan", f"{plan.title} (plan {plan.id})")] if plan else []
    told += [(label.capitalize(), text) for label, text in (plan.place if plan else ())]
    told += [("Targets", ", ".join(target.id for target in plan.targets))] if plan and plan.targets else []
    told += [("Lost", "; ".join(plan.losses))] if plan and plan.losses else []
    told += [("Outcome", _outcome(found)), *_proof(outcome.verification if outcome else None)]
    told += [("Who", _who(entry.who)), ("Typed", shlex.join(entry.argv))]
    told += [("Issue", entry.issue or ""), ("Override", ", ".join(entry.overrides))]
    told += [("Reason", entry.reason or ""), ("Evidence", entry.evidence or ""), ("Audit", _audit(found))]
    return [(label, text) for label, text in told if text]


def _outcome(found: AuditShown) -> str:
    if found.open:
        return f"{OPEN} was written: {STILL}"
    told = found.outcome or found.entry
    word = told.outcome or told.kind
    if told.text is None or told.text.startswith(word):
        return told.text or word
    return f"{word}: {told.text}"


def _proof(proof: Verification | None) -> Rows:
    return [("Verified", f"{proof.text} (after {duration(proof.waited_s)})")] if proof else []


def _who(who: Who) -> str:
    told = f"{who.login or who.user} on {who.host}"
    told += f", as {who.user} (uid {who.uid})" if who.login not in (None, who.user) else f" (uid {who.uid})"
    told += f", from {who.ssh_from}" if who.ssh_from else ""
    return told + (f", at {who.terminal}" if who.terminal else "")


def _audit(found: AuditShown) -> str:
    entry, outcome = found.entry, found.outcome
    if outcome is None or outcome is entry or outcome.number == entry.number:
        return f"entry {entry.number} ({entry.kind})"
    return f"intent {entry.number}, outcome {outcome.number} at {day(outcome.at)} {clock(outcome.at)}"


def guards_of(found: AuditShown) -> Sequence[GuardReport]:
    return found.entry.plan.guards if found.entry.plan else ()


# --- verified --------------------------------------------------------------------------------------


def verdict(found: AuditVerified) -> tuple[str, Severity]:
    """The first line."""
    if not found.whole:
        where = f", from line {found.line} on" if found.line else ""
        return f"The audit log is NOT whole{where}", Severity.CRITICAL
    if not found.entries:
        return "The audit log is empty, and whole", Severity.OK
    noun = "entry is" if found.entries == 1 else "entries are"
    return f"The audit log is whole: its {found.entries} {noun} what was written", Severity.OK


# --- markdown --------------------------------------------------------------------------------------


def audit_markdown(found: AuditList | AuditShown | AuditVerified) -> str:
    """The same as on a page, to paste."""
    if isinstance(found, AuditList):
        blocks = _list_blocks(inert(found))
    elif isinstance(found, AuditShown):
        blocks = _shown_blocks(safe_shown(found))
    else:
        blocks = _verified_blocks(inert(found))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _list_blocks(found: AuditList) -> list[str]:
    rows = [HEADS, *(tuple(cut(text, _WIDEST) for text in row(did)) for did in actions(found))]
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(pad(text, wide) for text, wide in zip(each, widths, strict=True)) for each in rows]
    table = code_block(lines) if len(rows) > 1 else ""
    return [
        f"**{inline(list_headline(found))}**",
        _open(found.open),
        table,
        _notes((*found.notes, found.path)),
    ]


def _open(numbers: Sequence[int]) -> str:
    return "\n".join(f"- {inline(text)}: `{command}`" for text, command in open_told(numbers))


def _notes(notes: Sequence[str]) -> str:
    return "\n".join(f"- {inline(clipped(note))}" for note in notes)


def _shown_blocks(found: AuditShown) -> list[str]:
    did = Did(found.entry, found.outcome)
    head = f"**{inline(found.entry.action)}**: {ended(did)[0]}\n{' · '.join(map(inline, identity(found)))}"
    told = "\n".join(f"- {label}: {inline(clipped(text))}" for label, text in facts(found))
    return [head, told, _listed("Guards", [f"{guard_sign(g)} {inline(g.name)}: {inline(guard_text(g))}"
                                           for g in guards_of(found)]), *_results(found)]  # fmt: skip


def _results(found: AuditShown) -> Iterator[str]:
    outcome = found.outcome
    results = (
        [f"{result_sign(r)[0]} {inline(r.id)}: {inline(result_text(r))}" for r in outcome.results]
        if outcome
        else []
    )
    yield _listed("Results", results)
    proof = outcome.verification if outcome else None
    if proof:
        yield _listed("Checks", [f"{check_sign(c)[0]} {inline(clipped(c.text))}" for c in proof.checks])
        yield _listed("Symptoms", [inline(clipped(symptom)) for symptom in symptoms(proof)])


def symptoms(proof: Verification) -> Iterator[str]:
    """`Pool in use: 19 → 4, critical → ok`."""
    for symptom in proof.symptoms:
        before, now = change_of(symptom)
        yield f"{symptom.title}: {before} → {now}, {judged(symptom)}"


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"**{title}**", *(f"- {text}" for text in lines)]) if lines else ""


def _verified_blocks(found: AuditVerified) -> list[str]:
    said, severity = verdict(found)
    head = f"**{inline(said)}** ({severity.value})"
    reason = inline(clipped(found.reason)) if found.reason else ""
    return [head, reason, _open(found.open), _notes((*found.notes, found.path))]
