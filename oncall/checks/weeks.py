"""This week against the ones before, by the daily values of each signal: what changed for the worse, in words."""

from collections.abc import Sequence

from msgspec.structs import replace

from oncall.checks.days import Days, absent, days
from oncall.checks.lines import next_of, own_bounds, target
from oncall.checks.measured import Asked
from oncall.checks.model import DAY_S, LineSpec
from oncall.checks.scene import Scene, no_prometheus, unknown
from oncall.checks.specs import named
from oncall.diagnosis.bounds import Bounds, bounds
from oncall.diagnosis.shift import CLEAR_SHIFT, iqr, median, quantile
from oncall.model import Frozen, Severity, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import SignalSpec
from oncall.numbers import humane

WEEK = 7
WEEKS = 4
"""This one and three to compare with."""
_KNOWN = 5
"""Days of a week that must be known for it to count."""
_NEUTRAL = frozenset({"per_second", "bytes_per_second", "timestamp"})
"""More or less of these is another load, not another quality."""
_FLOORS = {"ratio": 0.002, "seconds": 0.005, "per_second": 0.2, "bytes": 1e6, "cores": 0.05}
_LEAST = 1.0
"""The least spread that counts as a change of a day's value, by unit and of what is counted: what was always nothing
has no spread, and has become something."""


class Weeks(Frozen, frozen=True):
    """Daily values of this week and of those before, in the signal's unit; None where too few days are known."""

    now: float | None
    """Median of this week's days."""
    now_p95: float | None
    before: float | None
    before_p95: float | None
    before_low: float | None = None
    before_high: float | None = None
    """Quartiles of the days before."""
    last_week: float | None = None
    shift: float | None = None
    """(now - before) / the spread of the days before: robust to a few mad days on either side."""
    days: int = 0


def compare(values: Sequence[float | None], unit: str | None = None) -> Weeks:
    """The last seven of daily values (oldest first, None unknown) against those before. Whole weeks, so that the
    quiet weekend is on both sides. Pure."""
    this = [v for v in values[-WEEK:] if v is not None]
    earlier = [v for v in values[:-WEEK] if v is not None]
    last = [v for v in values[-2 * WEEK : -WEEK] if v is not None]
    now = median(this) if len(this) >= _KNOWN else None
    known = now is not None and len(earlier) >= _KNOWN
    if not known or now is None:
        return Weeks(
            now=now,
            now_p95=quantile(this, 0.95) if now is not None else None,
            before=None,
            before_p95=None,
            days=len(this) + len(earlier),
        )
    usual = median(earlier)
    spread = max(iqr(earlier), _FLOORS.get(unit, _LEAST) if unit else 0.0, 0.1 * abs(usual))
    return Weeks(
        now=now,
        now_p95=quantile(this, 0.95),
        before=usual,
        before_p95=quantile(earlier, 0.95),
        before_low=quantile(earlier, 0.25),
        before_high=quantile(earlier, 0.75),
        last_week=median(last) if len(last) >= _KNOWN else None,
        shift=(now - usual) / spread if spread else 0.0,
        days=len(this) + len(earlier),
    )


def changed(found: Weeks) -> bool:
    return found.shift is not None and abs(found.shift) >= CLEAR_SHIFT


def words(found: Weeks, unit: str | None) -> str | None:
    """`rose ×2.3: a day has 0.42 s, in the weeks before 0.17 s to 0.19 s`; None where nothing clearly changed."""
    if not changed(found) or found.now is None or found.before is None:
        return None
    rose = found.now > found.before
    how = "rose" if rose else "fell"
    by = f" ×{found.now / found.before:.2g}" if found.before > 0 and found.now > 0 else ""
    usual = " to ".join(dict.fromkeys((humane(found.before_low, unit), humane(found.before_high, unit))))
    worst = f"; its worst day {humane(found.now_p95, unit)}, before {humane(found.before_p95, unit)}"
    return (
        f"{how}{by}: a day has {humane(found.now, unit)}, in the weeks before {usual}{worst if rose else ''}"
    )


def worse(found: Weeks, unit: str | None, *, below: bool) -> bool:
    """Whether it clearly changed in the direction that hurts; another load is neither."""
    if unit in _NEUTRAL or not changed(found):
        return False
    assert found.shift is not None
    return found.shift < 0 if below else found.shift > 0


# --- the look --------------------------------------------------------------------------------------


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """A line for each signal that the line is `of`: the median of this week's days, that of last week's beside it."""
    at = scene.service.prometheus
    if at is None or scene.server is None:
        return (no_prometheus(name, spec),)
    specs = named(scene, spec)
    asked = {n: Asked(spec=s, over_s=DAY_S, by=spec.by) for n, s in specs.items()}
    count = max(2 * WEEK, round(float(spec.over or WEEKS * WEEK * DAY_S) / DAY_S))
    found = await days(scene.server, asked, at.selector, scene.end, count, scene.deadline_s)
    return tuple(_line(scene, name, spec, n, s, found[n]) for n, s in specs.items())


def _line(
    scene: Scene, name: str, spec: LineSpec, signal: str, of: SignalSpec, found: Days | Unavailable
) -> CheckLine:
    limits = _bounds(scene, spec, signal, of)
    line = unknown(f"{name}.{signal}", spec, "prometheus", "")
    line = replace(line, title=of.title or signal, unit=of.unit, target=target(limits, of.unit))
    if isinstance(found, Unavailable):
        return absent(line, found, optional=spec.optional)
    line = replace(line, query=found.query, history=found.values)
    weeks = compare(found.values, of.unit)
    if weeks.now is None:
        known = sum(v is not None for v in found.values[-WEEK:])
        return replace(line, reason=f"only {known} of the last {WEEK} days are known")
    line = replace(line, value=weeks.now, week_ago=weeks.last_week, reason=found.gap)
    return _judged(scene, spec, line, weeks, limits, of)


def _bounds(scene: Scene, spec: LineSpec, signal: str, of: SignalSpec) -> Bounds:
    """Those of the signal where they stand alone: a share of a whole of now says nothing of last week's."""
    usual = bounds(signal, of, scene.service, {})
    if usual.missing is not None:
        usual = Bounds(below=usual.below)
    return own_bounds(replace(spec, warning=None, critical=None), usual)


def _judged(
    scene: Scene, spec: LineSpec, line: CheckLine, weeks: Weeks, limits: Bounds, of: SignalSpec
) -> CheckLine:
    severity = limits.severity(weeks.now)
    said = words(weeks, of.unit)
    bounded = limits.warning is not None or limits.critical is not None
    if weeks.before is None:
        # Within its bound a week is well by itself; without one there is nothing to judge it by.
        said = f"nothing to compare with: {weeks.days} days are known"
        severity = severity if bounded else Severity.UNKNOWN
    elif severity is Severity.OK and worse(weeks, of.unit, below=limits.below):
        severity = Severity.WARNING
    if line.reason is not None and severity is Severity.OK:
        severity = Severity.UNKNOWN
    return replace(
        line,
        severity=severity,
        counts=bounded or weeks.before is not None,
        warning=limits.warning,
        critical=limits.critical,
        next=next_of(scene, spec, severity),
        notes=(said,) if said else (),
    )
