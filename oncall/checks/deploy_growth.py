"""Whether a signal grows without end since a deploy, and whether it did before. Pure."""

from msgspec.structs import replace

from oncall.checks.deploy_judge import STEADY, Reading
from oncall.checks.deploy_rules import Rule
from oncall.diagnosis.lines import Line
from oncall.diagnosis.trend import leak
from oncall.numbers import duration, humane

_LEAST = {"ratio": 0.001}
"""The least growth that counts: errors that rise to their target, half a percent, are to be found before."""
_CALM = {
    "flat": STEADY,
    "slowing down": "its growth slows down",
    "falls back": "it falls back by itself",
    "follows the load": "it follows the load",
    "restarted inside": "restarted too lately to tell",
}
Course = tuple[Line, Line]
"""The signal and the load over the same time."""


def grown(
    rule: Rule, reading: Reading, after: Course, before: Course, *, floor: float, memory: float | None
) -> Reading:
    """The reading with what is known of its growth. `floor` is the least that counts of this unit; `memory` the
    service's limit in bytes, if it has one."""
    limit = memory if rule.unit == "bytes" else None
    least = _LEAST.get(rule.unit or "", floor)
    leaking, growth = _trend(rule, after, least, limit)
    leaked, _ = _trend(rule, before, least, limit)
    return replace(reading, leaking=leaking, leaked=leaked, growth=growth)


def _trend(rule: Rule, course: Course, least: float, limit: float | None) -> tuple[bool | None, str | None]:
    part, load = course
    found = leak(part.x, part.y, limit=limit, floor=least, restarted=None, load=load if load.x else None)
    if found is None or found.reason == "too short":
        return None, None
    if not found.leaking:
        return False, _CALM.get(found.reason, found.reason)
    left = f", at its limit in {duration(found.limit_s)}" if found.limit_s is not None else ""
    risen = humane(found.grown, rule.unit)
    return True, f"it grows without end: {risen} in {duration(part.x[-1] - found.begins)}{left}"
