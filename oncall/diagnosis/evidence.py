"""Judges readings for and against each cause of a runbook. Pure."""

from oncall.diagnosis.commands import command_lines
from oncall.diagnosis.quiet import began
from oncall.diagnosis.readings import Facts
from oncall.model import EvidenceReport, Frozen, Next
from oncall.numbers import humane
from oncall.runbook.expression import Expression, Value, bases
from oncall.runbook.loader import COMMANDS
from oncall.runbook.model import CauseSpec, EvidenceSpec
from oncall.runbook.template import fill, places

_NEARLY_ALL, _MOST = 0.99, 0.999
_COMMAND_NAMES = {name: Expression(name) for name in COMMANDS}


class Judged(Frozen, frozen=True):
    """One item of evidence, judged."""

    report: EvidenceReport
    weight: int
    firm: bool
    """It may decide: it rests neither on too short a history nor on a change later than the symptom, and nothing
    else that was read explains it."""
    missing: frozenset[str]


class Case(Frozen, frozen=True):
    """A cause with its evidence judged, before it is ranked."""

    id: str
    spec: CauseSpec
    items: tuple[Judged, ...]
    explains: float | None
    """Its share (0 to 1) of what the issue has to explain; None where it claims none or that is unknown."""
    next: tuple[Next, ...]
    advice: tuple[str, ...]


def cases(facts: Facts) -> tuple[Case, ...]:
    """Every cause of the runbook, judged."""
    return tuple(_case(facts, name, spec) for name, spec in facts.runbook.spec.causes.items())


def _case(facts: Facts, name: str, spec: CauseSpec) -> Case:
    return Case(
        id=f"{facts.runbook.issue}.{name}",
        spec=spec,
        items=tuple(_judge(facts, item) for item in spec.evidence),
        explains=_share(facts, spec),
        next=_next(facts, spec),
        advice=tuple(text for text, complete in (say(facts, a) for a in spec.advice) if complete),
    )


def _share(facts: Facts, spec: CauseSpec) -> float | None:
    whole = facts.runbook.spec.explain
    if not spec.explains or not whole:
        return None
    part, total = facts.evaluate(spec.explains).number(), facts.evaluate(whole).number()
    return min(max(part / total, 0.0), 1.0) if part is not None and total else None


def _judge(facts: Facts, item: EvidenceSpec) -> Judged:
    result = facts.evaluate(item.when)
    holds = result.truth()
    late = bool(holds) and item.onset_of is not None and _later_than_symptom(facts, item.onset_of)
    source, query = origin(facts, item.when)
    value, baseline = _numbers(facts, item)
    report = EvidenceReport(
        id=item.id,
        text=_text(facts, item, result) + (" (but only after the symptom began)" if late else ""),
        value=value,
        baseline=baseline,
        holds=holds,
        supports=not item.against,
        source=source,
        query=query,
        decisive=item.decisive,
    )
    explained = item.unless is not None and facts.evaluate(item.unless).truth() is not False
    return Judged(
        report=report,
        weight=item.weight,
        firm=not late and not result.weak and not explained,
        missing=result.missing if holds is None else frozenset(),
    )


def _text(facts: Facts, item: EvidenceSpec, result: Value) -> str:
    """What was found. What could not be read is said so (`missing` says why), whatever the text would claim."""
    truth = result.truth()
    if truth is None:
        return f"{item.id.replace('_', ' ')}: could not be told"
    # Never the words of the other case, whatever cannot be filled in
    return say(facts, (item.otherwise or item.text) if truth is False else item.text)[0]


def _numbers(facts: Facts, item: EvidenceSpec) -> tuple[float | None, float | None]:
    """The number behind a text (its first place, unless the runbook says which) and its usual."""
    found = places(item.text)
    source = item.value or (found[0].expression if found else None)
    value = facts.evaluate(source).number() if source and source not in COMMANDS else None
    if item.baseline:
        return value, facts.evaluate(item.baseline).number()
    usual = facts.change(source or "")
    return value, usual.usual if usual else None


def _later_than_symptom(facts: Facts, signal: str) -> bool:
    """A cause does not start after its symptom; a rate shows a step up to its window late."""
    onsets, changed = began(facts, but=signal), facts.change(signal)
    if not onsets or changed is None or changed.onset is None:
        return False
    readings = facts.readings
    step = (readings.window_s + readings.baseline_s) / 120
    return changed.onset > min(onsets) + readings.window_s + 2 * step


def rests_on(facts: Facts, text: str, seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """Steps and signals that an expression rests on, through values."""
    found: set[str] = set()
    known = facts.runbook.expressions.get(text)
    for base in {b for n in (known.names if known else ()) for b in bases(n)}:
        signal = facts.runbook.signals.get(base)
        formula = facts.runbook.spec.values.get(base) or (signal.value if signal else None)
        if formula and base not in seen:
            found |= rests_on(facts, formula, seen | {base})
        else:
            found.add(base)
    return frozenset(found)


def origin(facts: Facts, text: str) -> tuple[str, str | None]:
    """Where an item of evidence comes from: a live step before a signal, in the runbook's order."""
    names = rests_on(facts, text)
    for step in facts.runbook.spec.steps:
        if step in names and (reading := facts.readings.steps.get(step)):
            return reading.source, reading.query
    for signal in facts.runbook.signals:
        if signal in names and (found := facts.readings.signals.get(signal)):
            return found.source, found.query
    return "service file", None


def _next(facts: Facts, spec: CauseSpec) -> tuple[Next, ...]:
    """The commands whose condition holds and which can be said in full."""
    lines = command_lines(facts)
    found = []
    for item in spec.next:
        if item.when and not facts.evaluate(item.when).truth():
            continue
        command, complete = say(facts, item.command, lines)
        if complete and command.strip():
            found.append(Next(command=command, why=say(facts, item.why)[0]))
    return tuple(found)


def say(facts: Facts, text: str, lines: dict[str, str] | None = None) -> tuple[str, bool]:
    """A template filled in; whether all of it was known."""

    def lookup(name: str) -> Value:
        return Value((lines or {}).get(name)) if name in COMMANDS else facts(name)

    return fill(
        text, {**facts.runbook.expressions, **_COMMAND_NAMES}, lookup, lambda v, u, e: _show(facts, v, u, e)
    )


def _show(facts: Facts, value: object, unit: str | None, expression: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    assert isinstance(value, int | float)
    if isinstance(value, int) and expression.endswith(".pid"):
        return str(value)
    signal = facts.runbook.signals.get(expression.partition(".")[0])
    own = signal.unit if signal and not expression.endswith((".ratio", ".shift", ".samples")) else None
    if (unit or own) == "ratio" and _NEARLY_ALL <= value < 1:
        # Three figures, and never all of it where it is not
        value = min(round(value, 3), _MOST)
    return humane(value, unit or own)
