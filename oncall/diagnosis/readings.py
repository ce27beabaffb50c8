"""Everything that was read for a diagnosis, and the names under which conditions find it."""

from collections.abc import Mapping
from datetime import datetime

from oncall.diagnosis.shift import Change, change, rose_at
from oncall.errors import ConfigError
from oncall.model import Frozen, Service, SignalReading, StepReading, Table, Unavailable, Unseen
from oncall.runbook.expression import Expression, Value
from oncall.runbook.model import Runbook

# What still can be told of a row that counts sessions whose state is hidden.
_VISIBLE_THOUGH_HIDDEN = frozenset({"total", "hidden", "max_connections", "available", "used", "used_ratio"})
# The least spread that counts as a change, by unit.
_FLOORS = {"ratio": 0.005, "seconds": 0.002, "per_second": 0.2, "bytes": 1e6}


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


class Readings(Frozen, frozen=True):
    """The answers of all backends, at one moment (Unix seconds by the server's clock)."""

    at: float
    window_s: float
    baseline_s: float
    signals: Mapping[str, SignalReading]
    live: Mapping[str, float]
    """Gauges that the service itself said at the moment of asking, of a service with one instance."""
    steps: Mapping[str, StepReading]
    database: DatabaseTarget | None = None
    postgres: Unavailable | None = None
    """Why Postgres did not answer; None where it did, or was not asked."""
    failed: tuple[Unseen, ...] = ()
    """Configured backends that did not answer: with one of these, nothing is healthy."""
    unseen: tuple[Unseen, ...] = ()
    """What else could not be read, without harm to the verdict."""
    notes: tuple[str, ...] = ()
    skew_s: float = 0.0


def floor_of(unit: str | None) -> float:
    return _FLOORS.get(unit or "", 1.0)


def quiet_until(runbook: Runbook, readings: Readings) -> float:
    """Where the baseline ends (Unix s): at the window, or where a symptom rose already before it.

    A baseline that holds most of the incident would call the incident usual."""
    ends = [readings.at - readings.window_s]
    for name in runbook.spec.symptoms:
        reading = readings.signals.get(name)
        if reading and (
            began := rose_at(reading.times, reading.values, floor_of(runbook.signals[name].unit))
        ):
            ends.append(began - 1e-3)
    return min(ends)


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


def own_expression(text: str) -> Expression:
    """An expression that a service file brings. Raises ConfigError."""
    try:
        return Expression(text)
    except ValueError as error:
        raise ConfigError(f"share_of of a threshold in the service file: {error}") from None


class Facts:
    """Looks up the names of a runbook's expressions in the readings."""

    def __init__(self, runbook: Runbook, service: Service, readings: Readings) -> None:
        self.runbook = runbook
        self.service = service
        self.readings = readings
        self.quiet_until = quiet_until(runbook, readings)
        self.changes = {
            name: change_of(reading, runbook.signals[name].unit, readings, self.quiet_until)
            for name, reading in readings.signals.items()
            if name in runbook.signals
        }
        self._values: dict[str, Value] = {}

    def __call__(self, name: str) -> Value:
        """The value of a name. A name that nothing stands behind is unknown."""
        if name not in self._values:
            self._values[name] = self._look(name)
        return self._values[name]

    def evaluate(self, text: str) -> Value:
        """The value of an expression of the runbook, or of the service file's own bounds."""
        known = self.runbook.expressions.get(text)
        return (known or own_expression(text)).evaluate(self)

    def _look(self, name: str) -> Value:
        function, _, argument = name.partition("(")
        if argument:
            return self._of_name(function, argument.rstrip(")"))
        base, _, attribute = name.partition(".")
        if base == "limits":
            return self._limit(attribute)
        if base in self.runbook.spec.values and not attribute:
            return self.evaluate(self.runbook.spec.values[base])
        if base in self.runbook.spec.steps:
            return self._cell(base, attribute)
        return self._signal(base, attribute)

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
        reading = self.readings.signals.get(name)
        if attribute == "live":
            # Without a reason: what stands in for it (`first`) has its own.
            return Value(self.readings.live.get(name))
        if reading is None:
            return Value(None, frozenset({f"{name}: not asked"}))
        if isinstance(reading.now, Unavailable):
            return absent(reading.source, reading.now)
        return self._change(name, reading.now, attribute) if attribute else Value(reading.now)

    def _change(self, name: str, now: float, attribute: str) -> Value:
        reading, moved = self.readings.signals[name], self.changes.get(name)
        if attribute == "peak":
            return self._peak(name, reading)
        if attribute == "last":
            return Value(reading.values[-1]) if reading.values else Value(now)
        if moved is None:
            return Value(None, frozenset({f"{reading.source}: no history of {name}"}))
        if attribute == "ratio":
            return Value(now / moved.usual if moved.usual > 0 else None, weak=moved.weak)
        return Value(getattr(moved, attribute), weak=moved.weak)

    def _peak(self, name: str, reading: SignalReading) -> Value:
        """The largest value in the window."""
        begin = self.readings.at - self.readings.window_s
        seen = [v for t, v in zip(reading.times, reading.values, strict=True) if t >= begin]
        return (
            Value(max(seen)) if seen else Value(None, frozenset({f"{reading.source}: no history of {name}"}))
        )
