"""What is said of a plan and of its outcome, whatever it is said in. Pure; imports no rich."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from oncall.model import (
    WORST_FIRST,
    Severity,
)
from oncall.model_acts import (
    ActionPlan,
    Check,
    GuardInfo,
    GuardReport,
    GuardState,
    Helped,
    Remediation,
    SymptomChange,
    TargetResult,
)
from oncall.numbers import NONE, humane
from oncall.render.inert import inert
from oncall.render.text import cut, safe_lines

HOLDS, FAILS, UNTOLD, OVERRIDDEN, LEFT = "✓", "✗", "?", "!", "−"
LONGEST = 400
"""Text from elsewhere is shown up to here; JSON has all of it."""
IN_JSON = "--output json has them all"
NOTHING_CHANGED = "Nothing was changed."
MOST_NEXT = 6
_NAME = 60
_MOST_IDS = 100
_FEW_DONE = 3
_MOST_RESULTS = 12
_UNTOUCHED = ("gone", "changed")
# A statement or command to paste, alone or after a few words that introduce it.
_STATEMENT = re.compile(r"(?:GRANT|ALTER|CREATE|REVOKE|ACL|sudo|setfacl|chmod|chown|systemctl|loginctl) ")
_VALUE = re.compile(r"'[^']*'|\d+|\bNULL\b")
_OURS = re.compile(r"oncall (?:remediate|diagnose|audit|config|changes|runbook|lab) ?")

T = TypeVar("T")


class Verdict(NamedTuple):
    """The first words of a page, and how bad that is (None: neither)."""

    words: str
    severity: Severity | None


# --- made safe -----------------------------------------------------------------------------------


def harmless(plan: ActionPlan, *, ascii_only: bool = False) -> ActionPlan:
    """The plan with all foreign text safe to print. What is sent, and hints, keep their lines."""

    def lines(text: str) -> str:
        return "\n".join(safe_lines(text.strip("\n"), ascii_only=ascii_only))

    safer = inert(plan, ascii_only=ascii_only)
    guards = (
        replace(clean, hint=lines(raw.hint) if raw.hint else None)
        for clean, raw in zip(safer.guards, plan.guards, strict=True)
    )
    return replace(safer, guards=tuple(guards), does=tuple(map(lines, plan.does)))


def harmless_outcome(r: Remediation, *, ascii_only: bool = False) -> Remediation:
    """The same of what became of it."""
    return replace(inert(r, ascii_only=ascii_only), plan=harmless(r.plan, ascii_only=ascii_only))


def clipped(text: str) -> str:
    """Safe text, cut to what a person reads of it."""
    return cut(text, LONGEST)


def few(items: Sequence[T], most: int) -> tuple[Sequence[T], int]:
    """The first of them, and how many are left out."""
    return items[:most], max(0, len(items) - most)


# --- a plan --------------------------------------------------------------------------------------


def named(plan: ActionPlan) -> tuple[str, str]:
    """Service and environment, not longer than a name is."""
    return cut(plan.service, _NAME), cut(plan.environment, _NAME)


def plan_verdict(plan: ActionPlan) -> Verdict:
    """WOULD BE REFUSED, NOTHING TO DO, or WOULD RESTART: nobody may take a plan for what was done."""
    if plan.barred:
        return Verdict("WOULD BE REFUSED", Severity.CRITICAL)
    if not plan.targets:
        return Verdict("NOTHING TO DO", Severity.UNKNOWN)
    return Verdict(f"WOULD {capitals(plan)}", None)


def capitals(plan: ActionPlan) -> str:
    """`KILL QUERIES`."""
    return cut(plan.action, _NAME).replace("-", " ").upper()


def guards_told(plan: ActionPlan) -> list[str]:
    """`11 hold: identity, freeze, …`, a line each for those that hold, do not apply or bar."""
    words: Mapping[GuardState, tuple[str, str]] = {
        GuardState.PASSED: ("holds", "hold"),
        GuardState.NOT_APPLICABLE: ("does not apply", "do not apply"),
        GuardState.REFUSED: ("refuses", "refuse"),
        GuardState.UNKNOWN: ("cannot be checked", "cannot be checked"),
    }
    lines = []
    for state, (one, many) in words.items():
        names = [cut(guard.name, _NAME) for guard in in_state(plan, state)]
        lines += [f"{len(names)} {one if len(names) == 1 else many}: {', '.join(names)}"] if names else []
    return lines


def in_state(plan: ActionPlan, state: GuardState) -> list[GuardReport]:
    return [guard for guard in plan.guards if guard.state is state]


def guard_sign(guard: GuardReport) -> str:
    return {GuardState.REFUSED: FAILS, GuardState.UNKNOWN: UNTOLD, GuardState.OVERRIDDEN: OVERRIDDEN}.get(
        guard.state, HOLDS
    )


def guard_text(guard: GuardReport) -> str:
    """What was found; that it is overridden is said in words."""
    return clipped(f"overridden: {guard.text}" if guard.state is GuardState.OVERRIDDEN else guard.text)


def hints(guard: GuardReport) -> Iterator[tuple[str, bool]]:
    """What to do about a guard that bars, line by line, and whether a line is there to be pasted as it stands."""
    for text in (guard.hint or "").split("\n"):
        lead, found, statement = _split(text)
        if lead:
            yield clipped(lead), False
        if found:
            yield statement, True
    if guard.overridable and "--override" not in (guard.hint or ""):
        yield f"to do it all the same: --override {cut(guard.name, _NAME)} --reason TEXT", False


def _split(text: str) -> tuple[str, bool, str]:
    """Words, whether a statement follows, the statement: only what ends the line and is all of one piece."""
    before, colon, after = text.partition(": ")
    for lead, rest in (("", text.strip()), (before + colon.rstrip(), after.strip())):
        alone = _STATEMENT.match(rest) or (not lead and _OURS.match(rest))
        if alone and "; or " not in rest and len(rest) <= 2 * LONGEST:
            return lead, True, rest
    return text.strip(), False, ""


def undoing(plan: ActionPlan) -> tuple[str, bool]:
    """How it is undone, and whether that is a command to paste."""
    lead, paste, command = _split(plan.undo or "")
    return (command, True) if paste and not lead else (clipped(plan.undo or ""), False)


def measured_after(plan: ActionPlan) -> str:
    """Whose symptoms tell afterwards whether it helped, and how bad they are now."""
    if not plan.issues:
        return ""
    now = f": {plan.severity.value} now" if plan.severity else ""
    return cut(f"symptoms of {', '.join(plan.issues)}", LONGEST) + now


def rest_of_targets(plan: ActionPlan, shown: int) -> str:
    """The targets whose rows had no room, by name; where rows are not targets, how many they are."""
    rows = len(plan.table.rows) if plan.table else 0
    if rows > shown and len(plan.targets) == rows:
        return f"and {rows - shown} more: {_ids([target.id for target in plan.targets[shown:]])}"
    return f"{rows - shown} more rows: {IN_JSON}" if rows > shown else ""


def unnamed_targets(plan: ActionPlan) -> str:
    """The targets by name, where neither the title nor a place has named them all."""
    said = " ".join([plan.title, *(text for _, text in plan.place)])
    ids = [target.id for target in plan.targets]
    return "" if all(name in said for name in ids) else _ids(ids)


def _ids(ids: Sequence[str]) -> str:
    shown, more = few(ids, _MOST_IDS)
    return ", ".join(cut(name, _NAME) for name in shown) + (f" and {more} more: {IN_JSON}" if more else "")


def exactly(plan: ActionPlan) -> list[str]:
    """What is sent or written, line by line; long statements that differ in their values only are shown once."""
    lines: list[str] = []
    for _, alike in groupby(plan.does, key=lambda text: _VALUE.sub("?", text)):
        first, *others = alike
        lines += first.split("\n")
        if others and "\n" in first:
            lines.append(f"(and the same for {len(others)} more, with their own values: {IN_JSON})")
        else:
            lines += others
    return lines


# --- what became of it ---------------------------------------------------------------------------


def helped(r: Remediation) -> Helped | None:
    """What its proof says. A check that fails is no fix, one that could not be told is no proof. None: no proof."""
    if r.verification is None:
        return None
    result, holds = r.verification.result, [check.holds for check in r.verification.checks]
    if result not in ("fixed", "nothing_measured"):
        return result
    if False in holds:
        return "not_fixed"
    return "unknown" if None in holds else result


def outcome_verdict(r: Remediation) -> Verdict:
    """The first words: DONE AND FIXED only where all was done, every check holds and the symptoms are gone."""
    proof = helped(r)
    if r.outcome == "done" and not _whole(r):
        return _PARTLY.get(proof, Verdict("PARTLY DONE", Severity.WARNING))
    if r.outcome == "partly":
        return _PARTLY.get(proof, Verdict("PARTLY DONE", Severity.WARNING))
    return _DONE[proof] if r.outcome == "done" else _OTHER[r.outcome]


_DONE: Mapping[Helped | None, Verdict] = {
    "fixed": Verdict("DONE AND FIXED", Severity.OK),
    "not_fixed": Verdict("DONE, NOT FIXED", Severity.CRITICAL),
    "worse": Verdict("DONE, WORSE", Severity.CRITICAL),
    "unknown": Verdict("DONE, NOT VERIFIED", Severity.UNKNOWN),
    "nothing_measured": Verdict("DONE, NOTHING MEASURED", Severity.WARNING),
    None: Verdict("DONE, NOT VERIFIED", Severity.UNKNOWN),
}
_PARTLY: Mapping[Helped | None, Verdict] = {
    "fixed": Verdict("PARTLY DONE, FIXED", Severity.WARNING),
    "not_fixed": Verdict("PARTLY DONE, NOT FIXED", Severity.CRITICAL),
    "worse": Verdict("PARTLY DONE, WORSE", Severity.CRITICAL),
}
_OTHER: Mapping[str, Verdict] = {
    "unchanged": Verdict("NOTHING DONE", Severity.WARNING),
    "failed": Verdict("FAILED", Severity.CRITICAL),
    "unknown": Verdict("UNKNOWN WHETHER DONE", Severity.UNKNOWN),
    "refused": Verdict("REFUSED", Severity.CRITICAL),
    "interrupted": Verdict("INTERRUPTED", Severity.UNKNOWN),
}


def _whole(r: Remediation) -> bool:
    """Whether nothing in the results speaks against `done`."""
    return all(result.state == "done" or result.state in _UNTOUCHED for result in r.results)


def untouched(r: Remediation) -> bool:
    """Whether it is certain that nothing was changed."""
    return r.outcome == "refused" and all(result.state in _UNTOUCHED for result in r.results)


def act_sentence(r: Remediation) -> str:
    """The one sentence of what was done, and to what; of a refusal only what its guards do not say."""
    if r.outcome == "refused" and any(guard.name in r.text for guard in r.plan.barred):
        return ""
    alone = _alone(r)
    return clipped(f"{cut(alone.id, _NAME)}: {r.text}" if alone and alone.id not in r.text else r.text)


def _alone(r: Remediation) -> TargetResult | None:
    """The only result, where the sentence says what it says."""
    return r.results[0] if len(r.results) == 1 and r.results[0].text == r.text else None


def verify_sentence(r: Remediation) -> str:
    """The one sentence of whether it helped; where a check speaks against it, that too."""
    if r.verification is None:
        return ""
    text = clipped(r.verification.text)
    if helped(r) == r.verification.result:
        return text
    against = [check.text for check in r.verification.checks if check.holds is False]
    untold = [check.text for check in r.verification.checks if check.holds is None]
    return f"{text}; but: {clipped((against or untold)[0])}"


def told_results(r: Remediation) -> tuple[list[TargetResult], list[str]]:
    """The results to list (what is not done, and a few that are), and what is said of the others."""
    done = [result for result in r.results if result.state == "done"]
    counted = len(done) > _FEW_DONE
    listed, more = few([x for x in r.results if not (counted and x.state == "done")], _MOST_RESULTS)
    said = [f"{len(done)} done"] if counted else []
    said += [f"{more} more: {IN_JSON}"] if more else []
    said += [f"no result for: {_ids(missing)}"] if (missing := _missing(r)) else []
    return [] if _alone(r) else list(listed), said


def _missing(r: Remediation) -> list[str]:
    """Planned targets of which nothing is known, where the results speak of targets at all."""
    planned, known = [target.id for target in r.plan.targets], {result.id for result in r.results}
    if r.outcome == "refused" or not known <= set(planned):
        return []
    return [name for name in planned if name not in known]


def result_text(result: TargetResult) -> str:
    """What happened to it, its state in front where the text does not begin with that."""
    begins = result.state == "done" or result.text.lower().startswith(result.state)
    return clipped(result.text if begins else f"{result.state}: {result.text}")


def result_sign(result: TargetResult) -> tuple[str, Severity]:
    if result.state == "done":
        return HOLDS, Severity.OK
    if result.state in _UNTOUCHED:
        return LEFT, Severity.WARNING
    return (UNTOLD, Severity.UNKNOWN) if result.state == "unknown" else (FAILS, Severity.CRITICAL)


def check_sign(check: Check) -> tuple[str, Severity]:
    if check.holds is None:
        return UNTOLD, Severity.UNKNOWN
    return (HOLDS, Severity.OK) if check.holds else (FAILS, Severity.CRITICAL)


# --- symptoms ------------------------------------------------------------------------------------


def ranked_symptoms(symptoms: Sequence[SymptomChange]) -> list[SymptomChange]:
    """Worst first."""
    return sorted(symptoms, key=lambda symptom: WORST_FIRST.index(symptom.severity))


def change_of(symptom: SymptomChange) -> tuple[str, str]:
    """Before and now, in the symptom's unit; what could not be read is unknown, what no longer applies is nothing."""
    now = "unknown" if symptom.now is None else humane(symptom.now, symptom.unit)
    before = "unknown" if symptom.before is None else humane(symptom.before, symptom.unit)
    return before, NONE if symptom.now is None and symptom.severity is Severity.OK else now


def limits(symptom: SymptomChange) -> tuple[str, str]:
    """Warning and critical; none for yes or no, where they say nothing that the state does not say."""
    if symptom.unit == "yes_no":
        return NONE, NONE
    return humane(symptom.warning, symptom.unit), humane(symptom.critical, symptom.unit)


def judged(symptom: SymptomChange, arrow: str = "→") -> str:
    """`critical → ok`, or `still critical`."""
    before, now = symptom.severity_before, symptom.severity
    if before is now:
        return now.value if now is Severity.OK else f"still {now.value}"
    return f"{before.value} {arrow} {now.value}"


def unread(symptoms: Sequence[SymptomChange]) -> Iterator[str]:
    """Why some could not be read now, each reason once."""
    gaps = [s for s in symptoms if s.now is None]
    for reason in dict.fromkeys(s.reason or "no reason known" for s in gaps):
        titles = ", ".join(s.title for s in gaps if (s.reason or "no reason known") == reason)
        yield clipped(f"{cut(titles, 2 * _NAME)}: {reason}")


# --- the guards, explained -----------------------------------------------------------------------


def guards_headline(guards: Sequence[GuardInfo]) -> str:
    yielding = sum(guard.overridable for guard in guards)
    return f"{len(guards)} guards; {yielding} can be overridden, each by its name and with a reason"


def applies_to(guard: GuardInfo, every: Sequence[str]) -> str:
    """The actions that it guards, in a word where it is all of them."""
    return "every action" if set(guard.actions) >= set(every) else ", ".join(guard.actions)


def every_action(guards: Sequence[GuardInfo]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(action for guard in guards for action in guard.actions))
