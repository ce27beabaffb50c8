"""From what was read to what is shown: values against bands, lines, bars, rows, and why one is empty. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec.structs import replace

from oncall.diagnosis.bounds import Bounds, bounds, judge, own_expression, threshold
from oncall.model import Absence, Severity, StepReading, Table, Unavailable, worst
from oncall.model_boards import Aside, Bar, Line, Panel
from oncall.model_service import Service, SignalSpec
from oncall.monitoring.board_metrics import Measured, Reading, banded
from oncall.monitoring.board_model import BoardSpec, PanelSpec
from oncall.monitoring.board_rows import reading_of, sql_value
from oncall.monitoring.golden import GOLDEN
from oncall.numbers import duration

# Nobody asked for it, the service does not export it, or it is not for this moment: the verdict does without.
_HARMLESS = frozenset({
    Absence.NOT_CONFIGURED, Absence.NOT_APPLICABLE, Absence.PRESENT_ONLY, Absence.NO_DATA, Absence.NOT_INSTALLED,
})  # fmt: skip
_SAME_SHARE = 0.1


@dataclass(frozen=True)
class Scene:
    """Everything that one refresh brought."""

    board: BoardSpec
    service: Service
    specs: Mapping[str, SignalSpec]
    measured: Measured
    rows: Mapping[str, StepReading] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    """By panel: how fast its counter in Postgres grew."""
    courses: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """By panel: the course of its answers of Postgres, as far as they were seen."""
    range_s: float = 3600.0

    def reading(self, name: str) -> Reading:
        return self.measured.signals[name]

    @property
    def values(self) -> dict[str, float]:
        """What bounds of others are shares of."""
        now = {n: r.now for n, r in self.measured.signals.items()}
        return {n: v for n, v in now.items() if not isinstance(v, Unavailable)}


@dataclass(frozen=True)
class Judged:
    """A panel, and the absence that keeps it empty."""

    panel: Panel
    absent: Absence | None = None
    basic: bool = False
    """Every service has it, as in `oncall status`: that it is not exported is no reason to do without."""

    @property
    def decides(self) -> bool:
        return self.absent not in _HARMLESS or (self.basic and self.absent is Absence.NO_DATA)

    @property
    def read(self) -> bool:
        return self.absent is None


def panels(scene: Scene) -> tuple[tuple[Panel, ...], Severity]:
    """Every panel in the order of the file, and the verdict of the whole."""
    judged = [_MAKERS[spec.kind](name, spec, scene) for name, spec in scene.board.panels.items()]
    return tuple(j.panel for j in judged), verdict(judged)


def verdict(judged: list[Judged]) -> Severity:
    """The worst band shown; unknown where nothing could be read, or where what decides could not.

    What a service need not export or a file does not configure is said in its panel, and decides nothing."""
    banded = [j for j in judged if j.panel.judged]
    if not any(j.read for j in banded or judged):
        return Severity.UNKNOWN
    found = [j for j in banded if j.decides]
    return worst((j.panel.severity for j in found), Severity.OK)


def _empty(name: str, spec: PanelSpec, unit: str | None = None) -> Panel:
    return Panel(
        id=name,
        title=spec.title,
        kind=spec.kind,
        severity=Severity.UNKNOWN,
        judged=False,
        why=spec.why,
        unit=unit,
    )


def _bounded(name: str, spec: PanelSpec, scene: Scene) -> tuple[Bounds, bool]:
    """The bounds in force of a panel's first signal, and whether there are any."""
    signal = spec.signals[0]
    mine = banded(spec, scene.specs[signal])
    written = threshold(signal, mine, scene.service)
    has = written.warning is not None or written.critical is not None
    return bounds(signal, mine, scene.service, scene.values), has


def _whole(spec: PanelSpec, scene: Scene, found: Bounds) -> float | None:
    """What the value is a part of: connections of connections, bytes of bytes, not requests of connections."""
    signal = spec.signals[0]
    mine = banded(spec, scene.specs[signal])
    text = threshold(signal, mine, scene.service).share_of
    if text is None or found.whole is None:
        return None
    units = {_unit(n, scene) for n in own_expression(text).names}
    return found.whole if units <= {mine.unit, None} else None


def _unit(name: str, scene: Scene) -> str | None:
    return scene.board.signals[name].unit if name in scene.board.signals else None


def _with_value(panel: Panel, name: str, spec: PanelSpec, scene: Scene, reading: Reading) -> Judged:
    """The value against its bands; without one, the reason."""
    found, has = _bounded(name, spec, scene)
    panel = replace(
        panel,
        judged=has,
        warning=found.warning,
        critical=found.critical,
        below=found.below,
        of=_whole(spec, scene, found),
        source=reading.source,
        queries=(*panel.queries, reading.query) if reading.query else panel.queries,
        age_s=reading.age_s,
        bands_note=_why_bands(spec, scene),
    )
    if isinstance(reading.now, Unavailable):
        basic = spec.kind == "state" or spec.signals[0] in GOLDEN
        return Judged(
            replace(panel, reason=reading.now.reason, hint=reading.now.hint), reading.now.kind, basic
        )
    panel = replace(panel, value=reading.now)
    if not has:
        return Judged(replace(panel, severity=Severity.OK))
    if found.missing is not None:
        note = f"without bands: {found.missing}"
        return Judged(replace(panel, judged=False, notes=(*panel.notes, note)))
    return Judged(replace(panel, severity=found.severity(reading.now)))


def _why_bands(spec: PanelSpec, scene: Scene) -> str | None:
    """Why its bands are not those of the alerts; nothing where the service file has its own."""
    own = spec.signals and scene.service.thresholds.get(spec.signals[0])
    return spec.bands.why if spec.bands is not None and not own else None


# --- gauges, states, counters -----------------------------------------------------------------------


def _gauge(name: str, spec: PanelSpec, scene: Scene) -> Judged:
    signal = scene.specs[spec.signals[0]]
    measured = scene.reading(spec.signals[0])
    reading, note = _chosen(name, spec, scene, measured)
    panel = replace(_empty(name, spec, signal.unit), lines=_course(measured, reading), notes=note)
    return _with_value(panel, name, spec, scene, reading)


def _course(measured: Reading, shown: Reading) -> tuple[Line, ...]:
    """The course of a value, where it is that of the same thing: an exporter may tell of another database."""
    known = [v for v in measured.values if v is not None]
    now = shown.now
    far = shown.source != measured.source and not isinstance(now, Unavailable)
    if not isinstance(now, Unavailable) and known:
        far = far and abs(known[-1] - now) > _SAME_SHARE * abs(now)
    values = shown.values if far else measured.values
    return (Line(name="", values=values),) if any(v is not None for v in values) else ()


def _chosen(name: str, spec: PanelSpec, scene: Scene, measured: Reading) -> tuple[Reading, tuple[str, ...]]:
    """The signal or the answer of Postgres: the preferred one that has a value; else why neither has."""
    step = scene.rows.get(name)
    if step is None:
        return measured, ()
    asked = reading_of(step, sql_value(spec, step, scene.rates.get(name)), scene.courses.get(name, ()))
    ways = [(measured, ()), (asked, (spec.note,) if spec.note else ())]
    for reading, note in ways if spec.prefer == "signals" else ways[::-1]:
        if not isinstance(reading.now, Unavailable):
            return reading, note
    return _neither(measured, asked), ()


def _neither(measured: Reading, asked: Reading) -> Reading:
    assert isinstance(measured.now, Unavailable)
    assert isinstance(asked.now, Unavailable)
    harmless = measured.now.kind in _HARMLESS
    # The graver of the two decides the verdict, and both are said.
    worse = asked.now if harmless else measured.now
    told = asked.now.reason.removeprefix("postgres: ")
    reason = f"{measured.now.reason}; postgres: {told}"
    return replace(measured, now=replace(worse, reason=reason))


def _state(name: str, spec: PanelSpec, scene: Scene) -> Judged:
    return _gauge(name, spec, scene)


def _counter(name: str, spec: PanelSpec, scene: Scene) -> Judged:
    """How long ago a moment was, where the signal is one; how often it moved within the range."""
    signal, reading = scene.specs[spec.signals[0]], scene.reading(spec.signals[0])
    unit = signal.unit
    panel = _empty(name, spec, unit)
    if unit == "timestamp":
        known = [v for v in reading.values if v is not None]
        moves = sum(after > before + 1 for before, after in pairwise(known))
        said = f"{moves} restart{'s' if moves != 1 else ''} within {duration(scene.range_s)}"
        panel = replace(panel, unit="seconds", notes=(said,) if known else ())
        if not isinstance(reading.now, Unavailable):
            reading = replace(reading, now=max(0.0, scene.measured.end - reading.now))
    return _with_value(panel, name, spec, scene, reading)


# --- series -------------------------------------------------------------------------------------------


def _series(name: str, spec: PanelSpec, scene: Scene) -> Judged:
    readings = [scene.reading(signal) for signal in spec.signals]
    names = spec.names or tuple(scene.specs[s].title or s for s in spec.signals)
    first, note = _chosen(name, spec, scene, readings[0])
    readings[0] = first
    lines = tuple(
        Line(name=label, values=r.values, now=None if isinstance(r.now, Unavailable) else r.now)
        for label, r in zip(names, readings, strict=True)
    )
    asides = tuple(
        Aside(name=spec_of.title or signal, value=_value(scene.reading(signal)), unit=spec_of.unit)
        for signal in spec.beside
        if (spec_of := scene.specs[signal])
    )
    panel = _empty(name, spec, scene.specs[spec.signals[0]].unit)
    queries = tuple(r.query for r in readings[1:] if r.query)
    decides = next((r for r in readings if not isinstance(r.now, Unavailable)), readings[0])
    decides = readings[0] if _bounded(name, spec, scene)[1] else decides
    panel = replace(panel, lines=lines, asides=asides, queries=queries, notes=note)
    return _with_value(panel, name, spec, scene, decides)


def _value(reading: Reading) -> float | None:
    return None if isinstance(reading.now, Unavailable) else reading.now


# --- bars and tables ------------------------------------------------------------------------------------


def _bars(name: str, spec: PanelSpec, scene: Scene) -> Judged:
    signal = scene.specs[spec.signals[0]]
    panel = _empty(name, spec, signal.unit)
    split = scene.measured.splits.get(name)
    if split is None:
        now = scene.reading(spec.signals[0])
        why = now.now
        if not isinstance(why, Unavailable):
            why = Unavailable(
                kind=Absence.NOT_APPLICABLE, reason=f"by {spec.by} it is known to Prometheus only"
            )
        return Judged(replace(panel, reason=why.reason, hint=why.hint, source=now.source), why.kind)
    panel = replace(panel, queries=(split.query,), source="prometheus")
    if isinstance(split.found, Unavailable):
        return Judged(replace(panel, reason=split.found.reason, hint=split.found.hint), split.found.kind)
    found, _ = _bounded(name, spec, scene)
    bars = tuple(
        Bar(
            name=label or f"(no {spec.by})",
            value=value,
            severity=judge(value, found.warning, found.critical, below=found.below),
        )
        for label, value in split.found
    )
    if not bars and split.missing:
        reason, hint = f"no data for {split.missing}", "does the service export it, does the selector fit?"
        return Judged(replace(panel, reason=reason, hint=hint), Absence.NO_DATA)
    said = () if bars else (spec.empty or f"nothing by {spec.by} within the rate window",)
    panel = replace(panel, bars=bars, warning=found.warning, critical=found.critical, notes=said)
    return Judged(replace(panel, severity=Severity.OK))


def _table(name: str, spec: PanelSpec, scene: Scene) -> Judged:
    panel = replace(_empty(name, spec), source="postgres")
    step = scene.rows[name]
    panel = replace(panel, queries=(step.query,) if step.query else ())
    if isinstance(step.answer, Unavailable):
        why = step.answer
        return Judged(replace(panel, reason=why.reason, hint=why.hint), why.kind)
    table: Table = step.answer
    said = () if table.rows else (spec.empty or "no rows",)
    return Judged(replace(panel, table=table, severity=Severity.OK, notes=(*said, *table.notes), age_s=0.0))


_MAKERS: Mapping[str, Callable[[str, PanelSpec, Scene], Judged]] = {
    "gauge": _gauge,
    "state": _state,
    "counter": _counter,
    "series": _series,
    "bars": _bars,
    "table": _table,
}
