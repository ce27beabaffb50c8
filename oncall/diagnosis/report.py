"""From readings to the report: signals against thresholds, severity, verdict, the first three lines. Pure."""

from datetime import UTC, datetime

from oncall.diagnosis.bounds import own_expression, threshold
from oncall.diagnosis.commands import command_lines
from oncall.diagnosis.evidence import cases, origin, say
from oncall.diagnosis.few import Requests, beyond_chance, counted, rate_s_of
from oncall.diagnosis.ranking import rank
from oncall.diagnosis.readings import FORMULA, Facts, Readings
from oncall.diagnosis.shift import CLEAR_SHIFT
from oncall.diagnosis.trend import even
from oncall.model import (
    WORST_FIRST,
    Absence,
    CauseReport,
    Confidence,
    Diagnosis,
    Frozen,
    Next,
    Severity,
    SignalReading,
    SignalReport,
    StepReading,
    StepReport,
    Summary,
    Table,
    Unavailable,
    Unseen,
    Verdict,
    worst,
)
from oncall.model_service import Service, SignalSpec
from oncall.numbers import clock, duration, humane
from oncall.runbook.model import Runbook

SPARK_POINTS = 60
SKEW_WARNING_S = 30.0

# Absences that take nothing from the verdict: nobody asked for it, or it is not for this server or moment.
_HARMLESS = frozenset({Absence.NOT_CONFIGURED, Absence.NOT_APPLICABLE, Absence.PRESENT_ONLY})
# A signal but the first may be absent where the service does not export it.
_TOLERATED = _HARMLESS | {Absence.NO_DATA}


def signal_report(name: str, facts: Facts, specs: dict[str, SignalSpec]) -> SignalReport:
    """One signal: now, usual, bounds in its own unit, severity."""
    spec, reading = specs[name], facts.reading(name)
    bounds, share_of = facts.bounds(name), threshold(name, spec, facts.service).share_of
    moved = facts.change(name)
    value = None if isinstance(reading.now, Unavailable) else reading.now
    source, query = (
        origin(facts, reading.query or "") if reading.source == FORMULA else (reading.source, reading.query)
    )
    since = moved.onset if moved and moved.onset and abs(moved.shift) >= CLEAR_SHIFT else None
    if since and even(reading.times, reading.values, since):
        since = _first_seen(reading, facts.readings)
    return SignalReport(
        id=name,
        title=spec.title or name,
        value=value,
        unit=spec.unit,
        baseline=moved.usual if moved else None,
        warning=bounds.warning,
        critical=bounds.critical,
        severity=bounds.severity(value),
        source=source,
        query=query,
        age_s=reading.age_s,
        reason=_reason(reading),
        since=datetime.fromtimestamp(since, UTC) if since else None,
        history=_spark(reading.values),
        symptom=name in facts.runbook.spec.symptoms,
        of=bounds.whole if share_of and _same_unit(share_of, spec, facts) else None,
    )


def _first_seen(reading: SignalReading, readings: Readings) -> float:
    """Since when a number moves that has moved in all of its history: the start of what was looked at, which stands
    for any time before it, or when the number itself began."""
    start = readings.at - readings.window_s - readings.baseline_s
    step = (readings.window_s + readings.baseline_s) / len(reading.times)
    return start if reading.times[0] <= start + 2 * step else reading.times[0]


def _reason(reading: SignalReading) -> str | None:
    """Why there is no value; that a formula does not apply is no gap, and says so."""
    if not isinstance(reading.now, Unavailable):
        return None
    spoken = reading.source == FORMULA and reading.now.kind is Absence.NOT_APPLICABLE
    return f"does not apply: {reading.now.reason}" if spoken else reading.now.reason


def _same_unit(share_of: str, spec: SignalSpec, facts: Facts) -> bool:
    """Whether a signal is a part of the whole that bounds it: connections of connections, not requests of them."""
    names = (facts.runbook.expressions.get(share_of) or own_expression(share_of)).names
    units = {facts.runbook.signals[n].unit for n in names if n in facts.runbook.signals}
    return units == {spec.unit}


def _spark(values: tuple[float, ...]) -> tuple[float, ...]:
    """At most 60 points: the largest of each stretch, so that a peak stays to be seen."""
    size = max(1, -(-len(values) // SPARK_POINTS))
    return tuple(max(values[i : i + size]) for i in range(0, len(values), size))


def step_report(name: str, reading: StepReading, runbook: Runbook) -> StepReport:
    spec, answer = runbook.spec.steps[name], reading.answer
    table = answer if isinstance(answer, Table) else Table(columns=(), rows=())
    skipped = isinstance(answer, Unavailable) and answer.kind in _HARMLESS | {Absence.NOT_INSTALLED}
    return StepReport(
        id=name,
        title=spec.title,
        probe=reading.source,
        status="ok" if isinstance(answer, Table) else "skipped" if skipped else "failed",
        reason=answer.reason if isinstance(answer, Unavailable) else None,
        query=reading.query,
        columns=table.columns,
        rows=table.rows,
        ms=reading.ms,
        why=spec.why,
        notes=table.notes,
    )


# --- severity ----------------------------------------------------------------------------------


def overall(facts: Facts, signals: dict[str, SignalReport]) -> Severity:
    """The worst symptom; where none is bad, ok only if everything that decides was read."""
    symptoms = facts.runbook.spec.symptoms
    found = worst(signals[s].severity for s in symptoms)
    if found in (Severity.CRITICAL, Severity.WARNING):
        return found
    if signals[symptoms[0]].severity is not Severity.OK or _gaps(facts):
        return Severity.UNKNOWN
    if any(_decides(facts, s) for s in symptoms if signals[s].severity is Severity.UNKNOWN):
        return Severity.UNKNOWN
    return Severity.WARNING if abs(facts.readings.skew_s) > SKEW_WARNING_S else Severity.OK


def _decides(facts: Facts, symptom: str) -> bool:
    """Whether a symptom's absence keeps the verdict from being healthy."""
    now = facts.reading(symptom).now
    return not (isinstance(now, Unavailable) and now.kind in _TOLERATED)


def _gaps(facts: Facts) -> bool:
    """A configured backend that did not answer, a step that failed, or rows that hide their state."""
    needed = [r.answer for n, r in facts.readings.steps.items() if not facts.runbook.spec.steps[n].optional]
    unread = any(isinstance(a, Unavailable) and a.kind not in _HARMLESS for a in needed)
    hidden = any(facts(f"{n}.hidden").value for n in facts.readings.steps)
    return bool(facts.readings.failed) or unread or hidden


# --- the whole -----------------------------------------------------------------------------------


def diagnosis(
    name: str,
    service: Service,
    runbook: Runbook,
    specs: dict[str, SignalSpec],
    readings: Readings,
    *,
    duration_ms: int,
    address: tuple[str, ...] = (),
) -> Diagnosis:
    """The report of one issue. `address` are the words that name the service on a command line."""
    facts = Facts(runbook, service, readings, address)
    signals = {n: signal_report(n, facts, specs) for n in specs}
    severity = overall(facts, signals)
    # Where only a gap keeps it from healthy and the symptom itself is well, there is nothing to be sure of.
    calm = severity is Severity.UNKNOWN and signals[runbook.spec.symptoms[0]].severity is Severity.OK
    causes = rank(cases(facts), Severity.OK if calm else severity)
    verdict = _verdict(severity, causes)
    return Diagnosis(
        service=name,
        issue=runbook.issue,
        at=datetime.fromtimestamp(round(readings.at), UTC),
        duration_ms=duration_ms,
        severity=severity,
        verdict=verdict,
        summary=_summary(facts, severity, verdict, causes, signals),
        environment=service.environment,
        target=str(readings.database) if readings.database else None,
        window_s=readings.window_s,
        baseline_s=readings.baseline_s,
        signals=tuple(s for n, s in signals.items() if not _passed_over(specs[n], s)),
        steps=tuple(step_report(n, r, runbook) for n, r in readings.steps.items()),
        causes=causes,
        unseen=_unseen(facts, signals, causes),
        notes=readings.notes,
    )


def _passed_over(spec: SignalSpec, signal: SignalReport) -> bool:
    return spec.optional and signal.value is None


def _verdict(severity: Severity, causes: tuple[CauseReport, ...]) -> Verdict:
    if severity is Severity.OK:
        return Verdict.HEALTHY
    found = causes and causes[0].confidence in (Confidence.CONFIRMED, Confidence.LIKELY)
    return Verdict.CAUSES if found else Verdict.INCONCLUSIVE


def _headline(facts: Facts, severity: Severity) -> str:
    heads = facts.runbook.spec.headlines
    assert heads is not None
    if severity is not Severity.OK:
        for special in heads.special:
            if facts.evaluate(special.when).truth():
                return special.text
    return str(getattr(heads, severity.value))


def _summary(
    facts: Facts,
    severity: Severity,
    verdict: Verdict,
    causes: tuple[CauseReport, ...],
    signals: dict[str, SignalReport],
) -> Summary:
    headline = _headline(facts, severity)
    if verdict is Verdict.HEALTHY:
        return _calm(facts, headline, signals)
    if verdict is Verdict.CAUSES:
        top = causes[0]
        look = top.advice[0] if top.advice else facts.runbook.spec.look
        return Summary(
            headline=headline,
            cause=_cause_line(causes),
            next=top.next[0] if top.next else None,
            look=None if top.next else look,
        )
    return _inconclusive(facts, headline, causes, signals, severity)


def _cause_line(causes: tuple[CauseReport, ...]) -> str:
    top, *others = [c for c in causes if c.confidence in (Confidence.CONFIRMED, Confidence.LIKELY)]
    line = f"{top.title} ({top.confidence.value})"
    line += f": {top.evidence[0].text}" if top.evidence else ""
    return line + "".join(f"; also {c.title} ({c.confidence.value})" for c in others)


def _calm(facts: Facts, headline: str, signals: dict[str, SignalReport]) -> Summary:
    """Healthy, in numbers: the symptoms as they stand, and which of them was bad a moment ago."""
    stand = _symptoms(facts, signals)
    specs = {n: facts.spec(n) for n in facts.readings.signals}
    requests = Requests(facts.readings.signals, rate_s_of(facts.readings.signals, specs))
    spells = [spell for s in facts.runbook.spec.symptoms if (spell := _spell(facts, s, requests))]
    if not spells:
        return Summary(
            headline=headline, cause=f"nothing to explain: {stand}", next=None, look="nothing to do"
        )
    worst_of = min(spells, key=lambda spell: (WORST_FIRST.index(spell.severity), -spell.share))
    cause = f"well now: {stand}; {_was_bad(facts, worst_of)}: it may come again"
    return Summary(headline=headline, cause=cause, next=None, look=AGAIN)


AGAIN = "look again in a minute: it comes and goes, or is just over"


def was_bad_lately(found: Diagnosis) -> bool:
    """Whether a diagnosis calls well what was not well a moment ago; its summary says so."""
    return found.summary.look == AGAIN


_ODD_SCRAPES = 2
"""So many samples of a gauge may be odd: they do not make the median of five that is its present."""


class _Spell(Frozen, frozen=True):
    """A symptom that was beyond a bound lately: by which, in what share of the time, until when (Unix s)."""

    name: str
    severity: Severity
    share: float
    until: float


def _spell(facts: Facts, name: str, requests: Requests) -> _Spell | None:
    """Whether a symptom with history was bad within the service's rate window before now, and not by chance."""
    reading, bounds, spec = facts.readings.signals.get(name), facts.bounds(name), facts.spec(name)
    if reading is None:
        return None
    begins = facts.readings.at - facts.service.windows.rate
    found = [p for p in zip(reading.times, reading.values, strict=True) if p[0] > begins]
    events = counted(spec)
    told = [(t, v) for t, v in found if not events or beyond_chance(spec, bounds, v, requests.at(t))]
    enough = 1 if events else _ODD_SCRAPES + 1
    for severity, reached in ((Severity.CRITICAL, _BAD[:1]), (Severity.WARNING, _BAD)):
        times = [t for t, v in told if bounds.severity(v) in reached]
        if len(times) >= enough:
            return _Spell(name, severity, len(times) / len(found), times[-1])
    return None


_BAD = (Severity.CRITICAL, Severity.WARNING)


def _was_bad(facts: Facts, spell: _Spell) -> str:
    """`error ratio was beyond 5% in 40% of the last 5 min, until 03:12:41 UTC`"""
    spec, bounds = facts.spec(spell.name), facts.bounds(spell.name)
    bound = bounds.critical if spell.severity is Severity.CRITICAL else bounds.warning
    way = "below" if bounds.below else "beyond"
    until = clock(datetime.fromtimestamp(spell.until, UTC))
    return (
        f"{(spec.title or spell.name).lower()} was {way} {humane(bound, spec.unit)} in {100 * spell.share:.0f}%"
        f" of the last {duration(facts.service.windows.rate)}, until {until}"
    )


def _symptoms(facts: Facts, signals: dict[str, SignalReport]) -> str:
    shown = [signals[s] for s in facts.runbook.spec.symptoms if signals[s].value is not None]
    return ", ".join(f"{s.title.lower()} {_of(s)}" for s in shown if s.unit != "yes_no")


def _of(signal: SignalReport) -> str:
    now = humane(signal.value, signal.unit)
    return f"{now} of {humane(signal.of, signal.unit)}" if signal.of is not None else now


def _inconclusive(
    facts: Facts,
    headline: str,
    causes: tuple[CauseReport, ...],
    signals: dict[str, SignalReport],
    severity: Severity,
) -> Summary:
    every = _unseen(facts, signals, causes)
    blind = [u for u in every if "not configured" not in u.reason] or every
    possible = [c.title for c in causes if c.confidence is Confidence.POSSIBLE]
    calm = severity is Severity.UNKNOWN and signals[facts.runbook.spec.symptoms[0]].severity is Severity.OK
    line = (
        f"looks well as far as it could be seen: {_symptoms(facts, signals)}" if calm else "none stands out"
    )
    if possible:
        line += f"; possible: {', '.join(possible)}"
    if blind:
        line += f"; {blind[0].what}: {blind[0].reason}"
    hint = next((u.hint for u in blind if u.hint), None)
    pointer = None if calm else _pointer(facts)
    if pointer is not None:
        return Summary(headline=headline, cause=line, next=pointer[1], look=pointer[0])
    return Summary(headline=headline, cause=line, next=None, look=hint or facts.runbook.spec.look)


def _pointer(facts: Facts) -> tuple[str, Next | None] | None:
    """Where to go on by hand, by the first pointer of the runbook that holds: its text, and its command."""
    for pointer in facts.runbook.spec.pointers:
        if facts.evaluate(pointer.when).truth():
            text, command = (
                say(facts, pointer.text)[0],
                say(facts, pointer.command or "", command_lines(facts))[0],
            )
            return text, Next(command=command, why=text) if command else None
    return None


def _lacked(signal: SignalReading) -> str:
    return f"{signal.source}: {signal.now.reason}" if isinstance(signal.now, Unavailable) else ""


def _unseen(
    facts: Facts, signals: dict[str, SignalReport], causes: tuple[CauseReport, ...]
) -> tuple[Unseen, ...]:
    """What could not be seen, worst first, each reason once; not what another reading stood in for."""
    signals = {n: s for n, s in signals.items() if not _passed_over(facts.spec(n), s)}
    lacking = {m for c in causes for m in c.missing}
    found = [*facts.readings.failed, *filter(None, [facts.older, *facts.alike])]
    told = {u.reason for u in found}

    def add(what: str, why: Unavailable) -> None:
        if why.reason not in told or why.kind in _HARMLESS:
            found.append(Unseen(what=what, reason=why.reason, hint=why.hint))
            told.add(why.reason)

    for name, reading in facts.readings.steps.items():
        if isinstance(reading.answer, Unavailable):
            shared = reading.answer.kind in _HARMLESS
            add(reading.source if shared else f"{reading.source}: {name}", reading.answer)
    for name, signal in facts.readings.signals.items():
        replaced = name in signals and not signals[name].symptom and _lacked(signal) not in lacking
        if name in signals and isinstance(signal.now, Unavailable) and not replaced:
            add(signal.source if signal.now.kind in _HARMLESS else signals[name].title, signal.now)
    unique = {(u.what, u.reason): u for u in (*found, *facts.readings.unseen)}
    return tuple(unique.values())
