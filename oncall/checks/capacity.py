"""How long until a limit: from the daily peaks of weeks, with the spread of their trend.

The slope is the median of all slopes between two days (Theil 1950, Sen 1968), and the range is that of its interval
of 95 %: one mad day, or four in two weeks, do not move it. It is what happens if things go on as they do; a year is
as far as that is carried."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from oncall.checks.days import Days, absent, days
from oncall.checks.lines import own_bounds
from oncall.checks.measured import Asked
from oncall.checks.model import DAY_S, WEEK_S, LineSpec
from oncall.checks.scene import Scene, no_prometheus, unknown
from oncall.checks.specs import named, spec_of, wholes
from oncall.clients.many import instants
from oncall.clients.prometheus import Vector
from oncall.diagnosis.bounds import Bounds, bounds
from oncall.diagnosis.shift import median
from oncall.diagnosis.trend import theil_sen
from oncall.model import Frozen, Severity, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import SignalSpec
from oncall.numbers import humane
from oncall.signals import to_promql

LEAST_DAYS = 7
"""Fewer do not hold a week's rhythm."""
DAYS = 56
YEAR_S = 365 * DAY_S
_MONTH_S = YEAR_S / 12
_SOON_S, _CLOSE_S = 30 * DAY_S, 7 * DAY_S

State = Literal["short", "steady", "shrinks", "grows", "passed"]


class Outlook(Frozen, frozen=True):
    """What a number will do. Levels in its unit, slopes in its unit a day; where lower is worse, growth is a fall."""

    state: State
    days: int
    """How many are known."""
    level: float | None = None
    """Where the trend is at the end."""
    per_day: float = 0.0
    low: float = 0.0
    high: float = 0.0
    likely_s: float | None = None
    """Seconds until the limit by the middle slope; None where it is not reached, or there is none."""
    soonest_s: float | None = None
    latest_s: float | None = None
    """By the steepest and the flattest slope; None: never."""


def outlook(
    times: Sequence[float], values: Sequence[float], *, limit: float | None, below: bool = False
) -> Outlook:
    """From a value for each day (Unix seconds, ascending) to when it meets the limit. `below`: by falling to it.

    Growth is what its interval of 95 % says without a doubt; else it is steady, and `soonest_s` is what the steepest
    slope of the interval would do. Pure."""
    sign = -1 if below else 1
    values = [sign * v for v in values]
    found = theil_sen(times, values) if len(values) >= LEAST_DAYS else None
    if found is None:
        return Outlook(state="short", days=len(values))
    level = median([v + found.per_s * (times[-1] - t) for t, v in zip(times, values, strict=True)])
    low, high = found.low, found.high
    left = None if limit is None else sign * limit - level
    passed = left is not None and left <= 0
    state: State = "passed" if passed else "grows" if low > 0 else "shrinks" if high < 0 else "steady"
    return Outlook(
        state=state,
        days=len(values),
        level=sign * level,
        per_day=found.per_s * DAY_S,
        low=low * DAY_S,
        high=high * DAY_S,
        likely_s=_until(left, found.per_s),
        soonest_s=_until(left, high),
        latest_s=_until(left, low),
    )


def _until(left: float | None, slope: float) -> float | None:
    if left is None:
        return None
    return 0.0 if left <= 0 else left / slope if slope > 0 else None


# --- in words -------------------------------------------------------------------------------------


def when(found: Outlook) -> str:
    """`in 5 to 9 weeks`, `not within a year`."""
    soonest, latest = found.soonest_s, found.latest_s
    if soonest is None or soonest > YEAR_S:
        return "not within a year"
    size, name = _unit(soonest)
    low = max(1, round(soonest / size))
    if latest is None or latest > YEAR_S:
        return f"in {_counted(low, name)} at the earliest"
    high = max(1, round(latest / size))
    return f"in about {_counted(low, name)}" if high == low else f"in {low} to {_counted(high, name)}"


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 2 * WEEK_S:
        return DAY_S, "day"
    return (WEEK_S, "week") if seconds < 17 * WEEK_S else (_MONTH_S, "month")


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def words(found: Outlook, limit: float | None, unit: str | None, *, below: bool) -> str:
    """`820 MB, +12 MB a day: 1.9 GB in 11 to 14 weeks`."""
    level = humane(found.level, unit)
    bound = humane(limit, unit)
    if found.state == "passed":
        return f"{level}: {'below' if below else 'beyond'} {bound} already"
    if found.state in ("steady", "shrinks"):
        more = "does not fall" if below else "does not grow"
        near = found.soonest_s is not None and found.soonest_s < _SOON_S
        doubt = f", though the spread allows {bound} {when(found)}" if near else ""
        return f"{level}, {more}{doubt}"
    moved = f"{level}, {'-' if below else '+'}{humane(found.per_day, unit)} a day"
    return f"{moved}; no limit is set" if limit is None else f"{moved}: {bound} {when(found)}"


def severity(found: Outlook, warning_s: float, critical_s: float) -> Severity:
    """Warning where it may be soon; critical where it surely is, or has been."""
    if found.state == "short":
        return Severity.UNKNOWN
    if found.state == "passed":
        return Severity.CRITICAL
    if found.state != "grows" or found.soonest_s is None:
        return Severity.OK
    if found.latest_s is not None and found.latest_s < critical_s:
        return Severity.CRITICAL
    return Severity.WARNING if found.soonest_s < warning_s else Severity.OK


# --- the look --------------------------------------------------------------------------------------


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """A line for each signal that the line is `of`: how long until its bound."""
    at = scene.service.prometheus
    if at is None or scene.server is None:
        return (no_prometheus(name, spec),)
    specs = named(scene, spec)
    asked = {n: Asked(spec=s, over_s=DAY_S, by="min" if s.below else "max") for n, s in specs.items()}
    count = max(LEAST_DAYS, round(float(spec.over or DAYS * DAY_S) / DAY_S))
    found, values = await asyncio.gather(
        days(scene.server, asked, at.selector, scene.end, count, scene.deadline_s), _values(scene, specs)
    )
    return tuple(
        _line(name, spec, n, s, bounds(n, s, scene.service, values), found[n]) for n, s in specs.items()
    )


async def _values(scene: Scene, specs: Mapping[str, SignalSpec]) -> dict[str, float]:
    """The present values of what the bounds are shares of."""
    assert scene.server is not None
    assert scene.service.prometheus is not None
    names = {whole for n, s in specs.items() for whole in wholes(scene, n, s)}
    window = float(scene.service.windows.rate)
    selector = scene.service.prometheus.selector
    asked = {n: to_promql(spec_of(scene, n), selector, window).text for n in names}
    answers = await instants(scene.server, asked, scene.at, scene.deadline_s)
    return {n: a.samples[0].value for n, a in answers.items() if isinstance(a, Vector) and a.samples}


def _line(
    name: str, spec: LineSpec, signal: str, of: SignalSpec, usual: Bounds, found: Days | Unavailable
) -> CheckLine:
    title = f"Ahead: {of.title or signal}"
    line = unknown(f"{name}.{signal}", spec, "prometheus", "")
    line = replace(line, title=title, target=None)
    if isinstance(found, Unavailable):
        return absent(line, found, optional=spec.optional)
    limit = usual.critical if usual.critical is not None else usual.warning
    ahead = outlook(*found.points, limit=limit, below=usual.below)
    own = own_bounds(spec, Bounds(warning=_SOON_S, critical=_CLOSE_S, below=True))
    soon, close = own.warning or _SOON_S, own.critical or _CLOSE_S
    line = replace(line, query=found.query, history=found.values, unit="seconds")
    if ahead.state == "short":
        said = f"history too short: {_counted(ahead.days, 'day')}, {LEAST_DAYS} are needed"
        return replace(line, reason=said)
    found_so, reason = severity(ahead, soon, close), usual.missing or found.gap
    untold = usual.missing is not None or (reason is not None and found_so is Severity.OK)
    return replace(
        line,
        severity=Severity.UNKNOWN if untold else found_so,
        reason=reason,
        value=ahead.likely_s if ahead.state in ("grows", "passed") else None,
        text=words(ahead, limit, of.unit, below=usual.below),
        warning=soon,
        critical=close,
        notes=_notes(ahead),
    )


def _notes(ahead: Outlook) -> tuple[str, ...]:
    if ahead.state == "grows" and ahead.days < 14:
        return (f"by {ahead.days} days only: one week's rhythm can look like growth",)
    return ()
