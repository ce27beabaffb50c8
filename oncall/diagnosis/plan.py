"""What to ask for some runbooks together: every question once, however many runbooks ask it. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from oncall.diagnosis.bounds import spec_of
from oncall.diagnosis.readings import Gathered, Readings, absence_of_backend, trended
from oncall.model import Absence, Frozen, SignalReading, StepReading, Table, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.runbook.expression import bases
from oncall.runbook.model import PROBES, Runbook, StepSpec

_BACKEND = {"sql": "postgres", "promql": "prometheus", "health": "http"}
# Signals come from these two, whatever the runbook.
_METRICS = frozenset({"prometheus", "scrape"})
_CONTEXT = ("uptime", "request_rate")
"""What tells a leak from a restart or from load: asked wherever a trend is, shown or not."""


class Question(Frozen, frozen=True):
    """One question to one backend; `text` is the word, the statement or the path that the step names."""

    probe: str
    text: str
    deadline_s: float | None = None
    unit: str | None = None

    @property
    def key(self) -> str:
        return f"{self.probe}:{self.text}"

    @property
    def backend(self) -> str:
        return _BACKEND.get(self.probe, self.probe)


def question(step: StepSpec) -> Question:
    """The question of a checked step."""
    probe = next(p for p in PROBES if getattr(step, p) is not None)
    return Question(probe=probe, text=getattr(step, probe), deadline_s=step.deadline, unit=step.unit)


class Plan(Frozen, frozen=True):
    """Everything that some runbooks ask of one service."""

    runbooks: tuple[Runbook, ...]
    specs: Mapping[str, Mapping[str, SignalSpec]]
    """By issue: its signals, in the order in which they are shown."""
    context: Mapping[str, Mapping[str, SignalSpec]]
    """By issue: signals that are read for it and not shown."""
    signals: Mapping[str, SignalSpec]
    """Signals of the metrics, each once; a name alone, or NAME@ISSUE where two issues mean different things."""
    questions: Mapping[str, Question]
    """By key."""
    patterns: Mapping[str, str]

    @property
    def backends(self) -> frozenset[str]:
        return frozenset().union(*(used(r) for r in self.runbooks))

    @property
    def symptoms(self) -> frozenset[str]:
        """Keys of the signals that decide a severity."""
        return frozenset(_key(self.signals, r.issue, n) for r in self.runbooks for n in r.spec.symptoms)

    def of_symptoms(self) -> "Plan":
        """The same with no more questions than the symptoms rest on: for measuring again and again."""
        steps = (r.spec.steps[name] for r in self.runbooks for name in _needed(r))
        return msgspec.structs.replace(self, questions=_questions(steps))

    def readings(self, runbook: Runbook, found: Gathered) -> Readings:
        """What one runbook asked for, out of everything that was read."""
        specs = {**self.specs[runbook.issue], **self.context[runbook.issue]}
        steps = {n: _step(found, s) for n, s in runbook.spec.steps.items()}
        signals = {
            n: self._signal(runbook.issue, n, s, steps, found) for n, s in specs.items() if not s.value
        }
        mine = used(runbook) | _METRICS
        return Readings(
            at=found.at,
            window_s=found.window_s,
            baseline_s=found.baseline_s,
            signals=signals,
            live={
                n: found.live[k] for n in specs if (k := _key(self.signals, runbook.issue, n)) in found.live
            },
            steps=steps,
            database=found.database,
            failed=tuple(u for u in found.failed if u.what in mine),
            unseen=tuple(u for u in found.unseen if u.what in mine),
            notes=tuple(n for backend, said in found.notes.items() if backend in mine for n in said),
            skew_s=found.skew_s,
        )

    def _signal(
        self, issue: str, name: str, spec: SignalSpec, steps: Mapping[str, StepReading], found: Gathered
    ) -> SignalReading:
        if spec.up is not None:
            return SignalReading(id=name, source=spec.up, query=None, now=_answers(spec.up, found), age_s=0.0)
        if spec.step is not None:
            step, _, column = spec.step.partition(".")
            return _from_step(name, column, steps[step])
        reading = found.signals.get(_key(self.signals, issue, name))
        return msgspec.structs.replace(reading, id=name) if reading else _not_asked(name)


def plan(runbooks: Iterable[Runbook], service: Service) -> Plan:
    """The questions of some runbooks about a service, each once."""
    books = tuple(runbooks)
    specs = {r.issue: specs_of(r, service) for r in books}
    context = {r.issue: _context(r, service) for r in books}
    signals: dict[str, SignalSpec] = {}
    for issue, named in (*specs.items(), *context.items()):
        for name, spec in named.items():
            if _of_metrics(spec):
                known = signals.setdefault(name, spec)
                if _asks(known) != _asks(spec):
                    signals[f"{name}@{issue}"] = spec
    return Plan(
        runbooks=books,
        specs=specs,
        context=context,
        signals=signals,
        questions=_questions(s for r in books for s in r.spec.steps.values()),
        patterns={k: v for r in books for k, v in r.patterns.items()},
    )


def _needed(runbook: Runbook) -> set[str]:
    """The steps that the symptoms rest on, by way of formulas and bounds."""
    found: set[str] = set()
    pending, seen = list(runbook.spec.symptoms), set[str]()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        signal = runbook.signals.get(name)
        texts = [runbook.spec.values.get(name), *((signal.value, signal.share_of) if signal else ())]
        for text in filter(None, texts):
            pending += [base for n in runbook.expressions[text].names for base in bases(n)]
        # A name alone, or STEP.COLUMN.
        found |= {name, (signal.step or "").partition(".")[0] if signal else ""} & set(runbook.spec.steps)
    return found


def _asks(spec: SignalSpec) -> SignalSpec:
    """The form alone: two runbooks may give one number other words and bounds."""
    return msgspec.structs.replace(
        spec,
        title=None,
        unit=None,
        warning=None,
        critical=None,
        share_of=None,
        below=False,
        optional=False,
        goes_with=None,
    )


def _key(signals: Mapping[str, SignalSpec], issue: str, name: str) -> str:
    own = f"{name}@{issue}"
    return own if own in signals else name


def specs_of(runbook: Runbook, service: Service) -> dict[str, SignalSpec]:
    """The signals that a runbook shows; where the service file has a form of its own, with the runbook's words."""
    known = {**runbook.signals, **service.signals}
    return {
        n: spec_of(n, runbook.signals, service)
        for n in runbook.shown
        if n in known and not _of_another_form(n, runbook, service)
    }


def _of_another_form(name: str, runbook: Runbook, service: Service) -> bool:
    """Whether a signal is about the packaged form of one to which the service file gives another."""
    spec = runbook.signals.get(name)
    return spec is not None and spec.goes_with in service.signals and name not in service.signals


def _context(runbook: Runbook, service: Service) -> dict[str, SignalSpec]:
    if not trended(runbook):
        return {}
    more = (n for n in _CONTEXT if n in runbook.signals and n not in runbook.shown)
    return {n: spec for n in more if _of_metrics(spec := spec_of(n, runbook.signals, service))}


def _of_metrics(spec: SignalSpec) -> bool:
    return spec.step is None and spec.up is None and spec.value is None


def _questions(steps: Iterable[StepSpec]) -> dict[str, Question]:
    """Each question once, with the most patient of its deadlines."""
    found: dict[str, Question] = {}
    for step in steps:
        asked = question(step)
        other = found.get(asked.key, asked)
        waits = [d for d in (asked.deadline_s, other.deadline_s) if d is not None]
        longest = max(waits) if asked.deadline_s and other.deadline_s else None
        found[asked.key] = msgspec.structs.replace(asked, deadline_s=longest)
    return found


def used(runbook: Runbook) -> frozenset[str]:
    """The backends that a runbook asks besides the metrics."""
    steps = {question(s).backend for s in runbook.spec.steps.values()}
    ups = {runbook.signals[n].up or "" for n in runbook.shown if n in runbook.signals}
    return frozenset(steps | ups) - {""}


# --- from answers to signals ---------------------------------------------------------------------


def _step(found: Gathered, spec: StepSpec) -> StepReading:
    asked = question(spec)
    if asked.key in found.answers:
        return found.answers[asked.key]
    return StepReading(source=asked.backend, query=None, answer=_NOT_SAVED)


_NOT_SAVED = Unavailable(kind=Absence.NO_DATA, reason="not asked when this was saved")


def _not_asked(name: str) -> SignalReading:
    return SignalReading(id=name, source="prometheus", query=None, now=_NOT_SAVED)


def _answers(backend: str, found: Gathered) -> float | Unavailable:
    """1 for a backend that answered, 0 for one that refuses; unknown where the way to it failed."""
    why = absence_of_backend(found, backend)
    if why is None:
        return 1.0
    return 0.0 if why.kind in REFUSALS else why


# A refusal that measures the server itself, not the way to it.
REFUSALS = frozenset({Absence.DOWN, Absence.NO_SLOTS, Absence.STARTING})


def _from_step(name: str, column: str, step: StepReading) -> SignalReading:
    def reading(now: float | Unavailable) -> SignalReading:
        return SignalReading(id=name, source=step.source, query=step.query, now=now, age_s=0.0)

    if isinstance(step.answer, Unavailable):
        return reading(step.answer)
    value = _cell(step.answer, column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return reading(float(value))
    return reading(Unavailable(kind=Absence.NO_DATA, reason=f"no number in the column {column}"))


def _cell(table: Table, column: str) -> object:
    names = [c.name for c in table.columns]
    return table.rows[0][names.index(column)] if table.rows and column in names else None
