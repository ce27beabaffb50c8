"""Everything that was read for a diagnosis, and the names under which conditions find it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from oncall.diagnosis.along import along
from oncall.diagnosis.bounds import Bounds, own_expression, spec_of, threshold
from oncall.diagnosis.few import counted_over_s
from oncall.diagnosis.lines import LEAST
from oncall.diagnosis.quiet import as_bad_before, as_ever, quiet_until
from oncall.diagnosis.shift import ENOUGH_SAMPLES, Change, change, floor_of
from oncall.diagnosis.trend import Trend, fell_at, flat, leak
from oncall.model import Absence, Frozen, SignalReading, StepReading, Table, Unavailable, Unseen
from oncall.model_service import Service, SignalSpec
from oncall.runbook.expression import Value, bases
from oncall.runbook.loader import RATES_OVER
from oncall.runbook.model import Runbook

# What still can be told of a row that counts sessions whose state is hidden.
_VISIBLE_THOUGH_HIDDEN = frozenset({"total", "hidden", "max_connections", "available", "used", "used_ratio"})
FORMULA = "formula"
"""The source of a reading that is made of others."""
_OF_TREND = {"leaking": "leaking", "grown": "grown", "slope": "slope_per_s", "left": "limit_s"}


class DatabaseTarget(Frozen, frozen=True):
    """The database that answered, as a person names it."""

    host: str
    port: int
    database: str
    role: str
    clock: datetime
    """The server's, when it was asked."""
    in_recovery: bool = False
    pooler: bool = False

    def __str__(self) -> str:
        extra = (", replica" if self.in_recovery else "") + (", through a pooler" if self.pooler else "")
        return f"{self.host}:{self.port}/{self.database} as {self.role}{extra}"


class Gathered(Frozen, frozen=True):
    """Everything that was read for some runbooks together, each question once; times in Unix seconds."""

    at: float
    window_s: float
    baseline_s: float
    signals: Mapping[str, SignalReading]
    """Those of the metrics, by the plan's keys."""
    live: Mapping[str, float]
    answers: Mapping[str, StepReading]
    """By the key of the question."""
    asked: tuple[str, ...] = ()
    """The backends that were asked; those that did not answer at all are in `refusals`."""
    refusals: Mapping[str, Unavailable] = {}
    database: DatabaseTarget | None = None
    failed: tuple[Unseen, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    notes: Mapping[str, tuple[str, ...]] = {}
    """By backend."""
    skew_s: float = 0.0


def absence_of_backend(found: Gathered, backend: str) -> Unavailable | None:
    """Why a backend did not answer at all; None where it did."""
    if backend not in found.asked:
        return Unavailable(kind=Absence.NO_DATA, reason=f"{backend} was not asked")
    return found.refusals.get(backend)


class Readings(Frozen, frozen=True):
    """The answers of all backends for one runbook, at one moment (Unix seconds by the server's clock)."""

    at: float
    window_s: float
    baseline_s: float
    signals: Mapping[str, SignalReading]
    live: Mapping[str, float]
    """Gauges that the service itself said at the moment of asking, of a service with one instance."""
    steps: Mapping[str, StepReading]
    database: DatabaseTarget | None = None
    failed: tuple[Unseen, ...] = ()
    """Configured backends that did not answer: with one of these, nothing is healthy."""
    unseen: tuple[Unseen, ...] = ()
    """What else could not be read, without harm to the verdict."""
    notes: tuple[str, ...] = ()
    skew_s: float = 0.0


def trended(runbook: Runbook) -> bool:
    """Whether anything of a runbook asks for a trend."""
    names = {n for known in runbook.expressions.values() for n in known.names}
    return any(n.startswith("along(") or n.partition(".")[2] in _OF_TREND for n in names)


def change_of(reading: SignalReading, unit: str | None, readings: Readings, until: float) -> Change | None:
    """A signal against its baseline, which ends at `until` (Unix s); None where either side is missing."""
    if isinstance(reading.now, Unavailable):
        return None
    kept = (until - (readings.at - readings.window_s - readings.baseline_s)) / readings.baseline_s
    return change(
        reading.times,
        reading.values,
        boundary=until,
        now=reading.now,
        floor=floor_of(unit),
        samples=round(reading.baseline_samples * min(max(kept, 0.0), 1.0)),
    )


def absent(source: str, why: Unavailable) -> Value:
    return Value(None, frozenset({f"{source}: {why.reason}"}))


def _level(values: Sequence[float], floor: float) -> bool:
    """Whether the last third never rises above what was there before: then nothing leaks, and no slope is needed."""
    split = 2 * len(values) // 3
    before, after = values[:split], values[split:]
    return len(values) >= LEAST and max(after) <= max(before) + min(floor, 0.005 * abs(max(before)))


def _since(reading: SignalReading, begins: float) -> tuple[list[float], list[float]]:
    kept = [(t, v) for t, v in zip(reading.times, reading.values, strict=True) if t >= begins]
    return [t for t, _ in kept], [v for _, v in kept]


_TOO_FEW = "too few "
"""How the reason of a `given` begins that keeps a symptom from being called well."""


def _gap(found: Value) -> Absence:
    """Why a formula has no value: nobody asked for it, `given` says that it does not apply or that there are too few
    events, or a gap."""
    if found.missing and all(m.endswith("not configured") for m in found.missing):
        return Absence.NOT_CONFIGURED
    if any(m.startswith(_TOO_FEW) for m in found.missing):
        return Absence.UNDEFINED
    spoken = found.missing and all(": " not in m for m in found.missing)
    return Absence.NOT_APPLICABLE if spoken else Absence.NO_DATA


class Facts:
    """Looks up the names of a runbook's expressions in the readings."""

    def __init__(
        self, runbook: Runbook, service: Service, readings: Readings, address: tuple[str, ...] = ()
    ) -> None:
        self.runbook = runbook
        self.address = address
        """The words that name this service on a command line: ("-s", "lab")."""
        self.service = service
        self.readings = readings
        self.quiet_until = quiet_until(runbook, service, readings)
        self._changes: dict[str, Change | None] = {}
        self._trends: dict[str, Trend | None] = {}
        self._values: dict[str, Value] = {}
        self._older: Unseen | None = None
        self._judged_older = False
        self._alike: dict[str, Unseen | None] = {}

    def __call__(self, name: str) -> Value:
        """The value of a name. A name that nothing stands behind is unknown."""
        if name not in self._values:
            # A formula of a service file that needs itself finds this, and ends.
            self._values[name] = Value(None, frozenset({f"{name}: needs itself"}))
            self._values[name] = self._look(name)
        return self._values[name]

    @property
    def older(self) -> Unseen | None:
        """That the trouble is older than the baseline, where it is: see quiet.py."""
        if not self._judged_older:
            # Before it is known: what bounds a symptom may itself be compared.
            self._judged_older = True
            self._older = as_bad_before(self)
        return self._older

    @property
    def alike(self) -> tuple[Unseen, ...]:
        """The symptoms that are what is more than usual, and whose usual would be trouble if it were not usual."""
        return tuple(gap for name in self.runbook.spec.symptoms if (gap := self._as_ever(name)))

    def _as_ever(self, name: str) -> Unseen | None:
        if name not in self._alike:
            self._alike[name] = None
            self._alike[name] = as_ever(self, name)
        return self._alike[name]

    def as_they_are(self) -> None:
        """From here on, nothing is said of what the readings are compared with."""
        self._judged_older = True
        self._alike = dict.fromkeys(self.runbook.spec.symptoms)

    def bounds(self, name: str) -> Bounds:
        """The bounds in force of a signal, in its own unit, as far as they are known."""
        spec = self.spec(name)
        found = threshold(name, spec, self.service)
        if not found.share_of:
            return Bounds(warning=found.warning, critical=found.critical, below=spec.below)
        whole = self.evaluate(found.share_of).number()
        if whole is None:
            return Bounds(below=spec.below, missing=f"{found.share_of} is not known")
        warning, critical = (None if b is None else b * whole for b in (found.warning, found.critical))
        return Bounds(warning=warning, critical=critical, whole=whole, below=spec.below)

    def change(self, name: str) -> Change | None:
        """How a signal moved against its baseline; None for what is no signal or has no history."""
        if name not in self._changes:
            reading, spec = self.readings.signals.get(name), self.runbook.signals.get(name)
            self._changes[name] = (
                change_of(reading, spec.unit, self.readings, self.quiet_until) if reading and spec else None
            )
        return self._changes[name]

    def trend(self, name: str) -> Trend | None:
        """Whether a signal grows as a leak does; None where its history is too short to say."""
        if name not in self._trends:
            reading = self.readings.signals.get(name)
            self._trends[name] = self._trend(name, reading) if reading and reading.values else None
        return self._trends[name]

    def _trend(self, name: str, reading: SignalReading) -> Trend | None:
        spec, load = self.spec(name), self.readings.signals.get("request_rate")
        restarted = self._restarted(reading)
        # A process that fell at its restart climbs below what the one before it had
        if _level(_since(reading, restarted or 0.0)[1], floor_of(spec.unit)):
            return flat(reading.times[0])
        found = self.bounds(name)
        limit = found.whole or (None if found.missing else found.critical)
        return leak(
            reading.times,
            reading.values,
            limit=limit,
            floor=floor_of(spec.unit),
            restarted=restarted,
            load=(load.times, load.values) if load and load.values else None,
        )

    def _restarted(self, reading: SignalReading) -> float | None:
        """When the process began again that a number belongs to: it fell with it. One that did not fall belongs to
        another: the largest of several instances, a queue that is kept elsewhere."""
        started = self.readings.signals.get("uptime")
        at = started.now if started and isinstance(started.now, float | int) else None
        return fell_at(reading.times, reading.values, at) if at is not None else None

    def spec(self, name: str) -> SignalSpec:
        """The form in force of a signal: the service file's with the runbook's words, else the runbook's."""
        return spec_of(name, self.runbook.signals, self.service)

    def reading(self, name: str) -> SignalReading:
        """A signal as it was read; one that is a formula as it comes out."""
        if name in self.readings.signals:
            return self.readings.signals[name]
        found = self(name)
        number = found.number()
        why = "; ".join(sorted(found.missing)) or "what it is made of is not known"
        now = number if number is not None else Unavailable(kind=_gap(found), reason=why)
        return SignalReading(id=name, source=FORMULA, query=self.spec(name).value, now=now)

    def evaluate(self, text: str) -> Value:
        """The value of an expression of the runbook, or of the service file's own bounds."""
        known = self.runbook.expressions.get(text)
        return (known or own_expression(text)).evaluate(self)

    def _look(self, name: str) -> Value:
        function, _, argument = name.partition("(")
        if function == "along" and argument:
            return self._along(*bases(name))
        if argument:
            return self._of_name(function, argument.rstrip(")"))
        base, _, attribute = name.partition(".")
        if base == "limits":
            return self._limit(attribute)
        if base in self.runbook.spec.values and not attribute:
            return self.evaluate(self.runbook.spec.values[base])
        if base in self.runbook.spec.steps:
            return self._cell(base, attribute)
        return self._rates_over() if name == RATES_OVER else self._signal(base, attribute)

    def _rates_over(self) -> Value:
        """Without a reason where it is not known: what stands in for it (`first`) has its own."""
        specs = {n: self.spec(n) for n in self.readings.signals}
        return Value(counted_over_s(self.readings.signals, specs))

    def _of_name(self, function: str, name: str) -> Value:
        answer = self._answer(name)
        if function == "absence":
            return Value(answer.kind.value if isinstance(answer, Unavailable) else "")
        if isinstance(answer, Table):
            return Value(len(answer.rows))
        return self._absent_step(name)

    def _answer(self, name: str) -> object:
        if name in self.readings.steps:
            return self.readings.steps[name].answer
        reading = self.readings.signals.get(name)
        return reading.now if reading else None

    def _absent_step(self, name: str) -> Value:
        reading = self.readings.steps.get(name)
        if reading and isinstance(reading.answer, Unavailable):
            return absent(reading.source, reading.answer)
        return Value(None, frozenset({f"{name}: not asked"}))

    def _limit(self, attribute: str) -> Value:
        limit = getattr(self.service.limits, attribute)
        return Value(
            limit, frozenset() if limit is not None else frozenset({f"limits.{attribute}: not configured"})
        )

    def _cell(self, step: str, column: str) -> Value:
        """A column of the step's first row; unknown without a reason where there is no row (nothing to miss)."""
        reading = self.readings.steps.get(step)
        if reading is None or isinstance(reading.answer, Unavailable):
            return self._absent_step(step)
        table = reading.answer
        names = [c.name for c in table.columns]
        if column not in names:
            return Value(None, frozenset({f"{step}: no column {column}"}))
        if not table.rows:
            return Value(None)
        row = dict(zip(names, table.rows[0], strict=True))
        if row.get("hidden") and column not in _VISIBLE_THOUGH_HIDDEN:
            return Value(None, frozenset({f"{reading.source}: {row['hidden']} sessions hidden"}))
        return Value(row[column])

    def _signal(self, name: str, attribute: str) -> Value:
        if name not in self.readings.signals and name in self.runbook.signals and self.spec(name).value:
            return self._formula(name) if not attribute else self._no_history(name)
        reading = self.readings.signals.get(name)
        if attribute == "live":
            # Without a reason: what stands in for it (`first`) has its own.
            return Value(self.readings.live.get(name))
        if reading is None:
            return Value(None, frozenset({f"{name}: not asked"}))
        if isinstance(reading.now, Unavailable):
            return absent(reading.source, reading.now)
        return self._change(name, reading.now, attribute) if attribute else Value(reading.now)

    def _formula(self, name: str) -> Value:
        gap = self._as_ever(name) if name in self.runbook.spec.symptoms else None
        # With a source, as every gap that is none of the formula's own words
        missing = frozenset({f"{FORMULA}: {gap.reason}"} if gap else ())
        return Value(None, missing) if gap else self.evaluate(self.spec(name).value or "")

    def _change(self, name: str, now: float, attribute: str) -> Value:
        reading, moved = self.readings.signals[name], self.change(name)
        if attribute in _OF_TREND:
            return self._growth(name, attribute)
        if attribute == "peak":
            return self._peak(name, reading)
        if attribute == "last":
            return Value(reading.values[-1]) if reading.values else Value(now)
        if moved is None:
            return self._no_history(name)
        if attribute == "before":
            return Value(moved.usual, weak=moved.weak)
        if self.older is not None:
            return Value(None, frozenset({f"{reading.source}: {self.older.reason}"}))
        if attribute == "ratio":
            return Value(now / moved.usual if moved.usual > 0 else None, weak=moved.weak)
        return Value(getattr(moved, attribute), weak=moved.weak)

    def _no_history(self, name: str) -> Value:
        reading = self.readings.signals.get(name)
        source = reading.source if reading else FORMULA
        return Value(None, frozenset({f"{source}: no history of {name}"}))

    def _growth(self, name: str, attribute: str) -> Value:
        trend = self.trend(name)
        if trend is None:
            return self._no_history(name)
        weak = self.readings.signals[name].baseline_samples < ENOUGH_SAMPLES
        if attribute == "left":
            return Value(trend.limit_s if trend.leaking else None, weak=weak)
        return Value(getattr(trend, _OF_TREND[attribute]), weak=weak)

    def _along(self, one: str, other: str) -> Value:
        """How well the growth of the second goes along with that of the first, from -1 to 1."""
        for name in (one, other):
            reading = self.readings.signals.get(name)
            if reading is None or isinstance(reading.now, Unavailable) or not reading.values:
                return self._signal(name, "usual") if reading else self._no_history(name)
        # Only since the growth began: before it both are noise.
        grows = self.trend(one)
        begins = grows.begins if grows and grows.leaking else 0.0
        return Value(
            along(*_since(self.readings.signals[one], begins), *_since(self.readings.signals[other], begins))
        )

    def _peak(self, name: str, reading: SignalReading) -> Value:
        """The largest value in the window."""
        begin = self.readings.at - self.readings.window_s
        seen = [v for t, v in zip(reading.times, reading.values, strict=True) if t >= begin]
        return (
            Value(max(seen)) if seen else Value(None, frozenset({f"{reading.source}: no history of {name}"}))
        )
