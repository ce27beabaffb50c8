"""The guards that go by the clock: freeze windows, and the time that an act needs to show. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from oncall.errors import AuditUnreadable
from oncall.model_acts import AuditEntry, GuardReport
from oncall.model_service import Freeze
from oncall.numbers import clock, day, duration
from oncall.remediation.guards import BY_NAME, passed, refused, skipped, unknown
from oncall.units import parse_freeze

FREEZE, COOLDOWN = "freeze", "cooldown"
WEEK_MIN = 7 * 24 * 60
_CHANGED_NOTHING = ("refused", "unchanged")


# --- freeze windows ------------------------------------------------------------------------------


def frozen(now: datetime, freezes: Sequence[Freeze]) -> GuardReport:
    """The guard `freeze`: refused within a window (its begin belongs to it, its end does not)."""
    if not freezes:
        return skipped(FREEZE, "the service file has no freeze windows")
    for freeze in freezes:
        try:
            until = thaws(now, freeze)
        except ValueError as wrong:
            return unknown(FREEZE, f"a freeze window cannot be read: {wrong}")
        if until is not None:
            why = f": {freeze.reason}" if freeze.reason else ""
            said = f"nothing is changed from {freeze.begin} to {freeze.end}{_zone(freeze)}{why}"
            left = duration((until - now).total_seconds())
            return refused(FREEZE, said, f"wait {left}, until {day(until)} {clock(until)}")
    count = "1 freeze window" if len(freezes) == 1 else f"{len(freezes)} freeze windows"
    return passed(FREEZE, f"not within the {count} of the service file")


def thaws(now: datetime, freeze: Freeze) -> datetime | None:
    """When the window ends that `now` lies in; None where it lies in none. Raises ValueError."""
    begin, end = parse_freeze(freeze.begin, freeze.end)
    if isinstance(begin, datetime) and isinstance(end, datetime):
        return end if begin <= now < end else None
    assert isinstance(begin, int)
    assert isinstance(end, int)
    # The window that began last: it lasts less than a week, so no other can hold now.
    begun = _monday(now) + timedelta(minutes=begin)
    begun -= timedelta(weeks=1) if begun > now else timedelta()
    until = begun + timedelta(minutes=(end - begin) % WEEK_MIN)
    return until if now < until else None


def _monday(now: datetime) -> datetime:
    """The begin of the week, in UTC: which has no summer time."""
    at = now.astimezone(UTC)
    return at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=at.weekday())


def _zone(freeze: Freeze) -> str:
    return " UTC each week" if freeze.begin[:1].isalpha() else ""


# --- cooldown ------------------------------------------------------------------------------------


def cooled(
    now: datetime, entries: Iterable[AuditEntry], service: str, action: str, cooldown_s: float
) -> GuardReport:
    """The guard `cooldown`: refused until `cooldown_s` seconds after the same action last changed the same service.

    `entries` come newest first. An intent without an outcome counts: what it did is not known."""
    if action not in BY_NAME[COOLDOWN].actions:
        return skipped(COOLDOWN, f"{action} needs no time to show")
    try:
        last = _last_change(entries, service, action)
    except AuditUnreadable as broken:
        return unknown(COOLDOWN, str(broken), broken.hint)
    if last is None:
        return passed(COOLDOWN, f"the audit log has no earlier {action} of {service}")
    ago_s = (now - last.at).total_seconds()
    if ago_s >= cooldown_s:
        return passed(COOLDOWN, f"the last {action} was {duration(ago_s)} ago")
    return refused(COOLDOWN, _too_soon(last, ago_s, action, cooldown_s), _wait(cooldown_s - ago_s, last))


def _last_change(entries: Iterable[AuditEntry], service: str, action: str) -> AuditEntry | None:
    """The newest entry that changed something, or may have."""
    harmless: set[int | None] = set()
    for entry in entries:
        if entry.service != service or entry.action != action or entry.kind == "refused":
            continue
        if entry.kind == "outcome" and entry.outcome in _CHANGED_NOTHING:
            harmless.add(entry.intent)
        elif entry.number not in harmless:
            return entry
    return None


def _too_soon(last: AuditEntry, ago_s: float, action: str, cooldown_s: float) -> str:
    by = last.who.login or last.who.user
    what = "begun, with no known end, " if last.kind == "intent" else ""
    when = f"{duration(ago_s)} ago" if ago_s >= 0 else "in the future, by this machine's clock"
    return f"the last {action} was {what}{when} by {by}; the cooldown is {duration(cooldown_s)}"


def _wait(left_s: float, last: AuditEntry) -> str:
    return (
        f"wait {duration(left_s)} and look whether it helped; what was done: oncall audit show {last.number}"
    )
