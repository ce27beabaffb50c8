"""The guards that go by the clock: no hour of a freeze is missed, none is frozen besides; nothing twice at once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.errors import AuditUnreadable
from oncall.model_acts import AuditEntry, GuardState, Outcome
from oncall.model_service import Freeze
from oncall.remediation.times import WEEK_MIN, cooled, frozen, thaws
from oncall.units import parse_freeze, parse_weekly
from tests.remediation.auditstand import AT, intent, outcome, refusal

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
MINUTES = st.integers(0, WEEK_MIN - 1)
ZONES = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
WEEKEND = Freeze(begin="Fri 16:00", end="Mon 08:00", reason="weekend")


def weekly(minute: int) -> str:
    day, left = divmod(minute, 24 * 60)
    return f"{DAYS[day]} {left // 60:02}:{left % 60:02}"


# --- freeze --------------------------------------------------------------------------------------


@given(MINUTES, MINUTES, st.integers(-500_000, 500_000), ZONES)
def test_a_weekly_freeze_holds_in_exactly_its_minutes(begin: int, end: int, at: int, zone: timezone) -> None:
    if begin == end:
        return
    freeze = Freeze(begin=weekly(begin), end=weekly(end))
    now = (MONDAY + timedelta(minutes=at)).astimezone(zone)
    inside = {minute % WEEK_MIN for minute in range(begin, end if begin < end else end + WEEK_MIN)}
    until = thaws(now, freeze)
    assert (until is not None) == (at % WEEK_MIN in inside)
    if until is not None:
        assert now < until
        assert (until - MONDAY) % timedelta(weeks=1) == timedelta(minutes=end)
        assert thaws(until - timedelta(seconds=1), freeze) == until
        assert thaws(until, freeze) is None


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(1, 10**8), st.integers(-1, 1), ZONES
)
def test_a_freeze_of_two_moments(begin: datetime, length: int, beside: int, zone: timezone) -> None:
    first = begin.replace(tzinfo=UTC, microsecond=0)
    last = first + timedelta(seconds=length)
    freeze = Freeze(begin=first.isoformat(), end=last.astimezone(zone).isoformat())
    assert (thaws(first + timedelta(seconds=beside), freeze) is not None) == (0 <= beside < length)
    assert (thaws(last + timedelta(seconds=beside), freeze) is not None) == (beside < 0 <= length + beside)


def test_a_week_has_every_minute_of_it() -> None:
    assert [parse_weekly(weekly(minute)) for minute in range(0, WEEK_MIN, 7)] == list(range(0, WEEK_MIN, 7))


@pytest.mark.parametrize(
    ("now", "state"),
    [
        ("2026-01-02T15:59:59Z", GuardState.PASSED),
        ("2026-01-02T16:00:00Z", GuardState.REFUSED),
        ("2026-01-02T17:00:00+01:00", GuardState.REFUSED),
        ("2026-01-04T12:00:00Z", GuardState.REFUSED),
        ("2026-01-05T07:59:59Z", GuardState.REFUSED),
        ("2026-01-05T08:00:00Z", GuardState.PASSED),
        ("2026-01-07T12:00:00Z", GuardState.PASSED),
    ],
)
def test_the_weekend(now: str, state: GuardState) -> None:
    assert frozen(datetime.fromisoformat(now), [WEEKEND]).state is state


def test_a_freeze_says_why_and_until_when() -> None:
    report = frozen(datetime(2026, 1, 4, 12, tzinfo=UTC), [WEEKEND])
    assert report.text == "nothing is changed from Fri 16:00 to Mon 08:00 UTC each week: weekend"
    assert report.hint == "wait 20 h, until 2026-01-05 08:00:00 UTC"
    assert report.overridable


def test_one_of_several_is_enough() -> None:
    holidays = Freeze(begin="2026-01-07T00:00:00Z", end="2026-01-08T00:00:00Z")
    now = datetime(2026, 1, 7, 12, tzinfo=UTC)
    assert frozen(now, [WEEKEND]).state is GuardState.PASSED
    assert frozen(now, [WEEKEND, holidays]).state is GuardState.REFUSED
    assert frozen(now, []).state is GuardState.NOT_APPLICABLE


def test_a_freeze_that_cannot_be_read_bars() -> None:
    assert frozen(AT, [Freeze(begin="soon", end="later")]).state is GuardState.UNKNOWN


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("Fri", "Mon"),
        ("Fri 24:00", "Mon 08:00"),
        ("Fri 16:60", "Mon 08:00"),
        ("Fri 9:00", "Mon 08:00"),
        ("Freitag 16:00", "Mon 08:00"),
        ("٣٣ 16:00", "Mon 08:00"),
        ("2026-02-30T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-W01-1T00:00", "2026-03-01T00:00:00Z"),
        ("2026-01-01", "2026-01-02"),
        ("", ""),
    ],
)
def test_what_is_no_freeze(begin: str, end: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        parse_freeze(begin, end)


# --- cooldown ------------------------------------------------------------------------------------


def after(
    seconds: float, *entries: AuditEntry, action: str = "restart", service: str = "bot-controller"
) -> GuardState:
    """The guard so long after the time of the entries, which are given newest first."""
    return cooled(AT + timedelta(seconds=seconds), entries, service, action, 300.0).state


def test_nothing_before_needs_no_wait() -> None:
    assert after(1) is GuardState.PASSED


@given(st.floats(-1000, 1000))
def test_exactly_the_cooldown_after_the_outcome(seconds: float) -> None:
    done = outcome(1, 2, at=AT)
    expected = (
        GuardState.PASSED if timedelta(seconds=seconds) >= timedelta(seconds=300) else GuardState.REFUSED
    )
    assert after(seconds, done, intent(1)) is expected


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("done", GuardState.REFUSED),
        ("partly", GuardState.REFUSED),
        ("failed", GuardState.REFUSED),
        ("unknown", GuardState.REFUSED),
        ("interrupted", GuardState.REFUSED),
        ("refused", GuardState.PASSED),
        ("unchanged", GuardState.PASSED),
    ],
)
def test_only_what_changed_something_counts(word: Outcome, state: GuardState) -> None:
    assert after(60, outcome(1, 2, outcome=word), intent(1)) is state


def test_what_was_refused_hides_nothing_that_was_done_before() -> None:
    older = (outcome(1, 2), intent(1))
    assert after(60, refusal(5), outcome(3, 4, outcome="refused"), intent(3), *older) is GuardState.REFUSED


def test_an_open_intent_counts() -> None:
    report = cooled(AT + timedelta(seconds=60), [intent(7)], "bot-controller", "restart", 300.0)
    assert report.state is GuardState.REFUSED
    assert "begun, with no known end, 1 min ago by ana; the cooldown is 5 min" in report.text
    assert report.hint == "wait 4 min and look whether it helped; what was done: oncall audit show 7"


def test_others_do_not_count() -> None:
    assert after(60, intent(1), service="web") is GuardState.PASSED
    assert after(60, intent(1), action="flush-cache") is GuardState.PASSED
    assert after(60, intent(1, action="kill-queries"), action="kill-queries") is GuardState.NOT_APPLICABLE


def test_a_log_that_cannot_be_read_bars() -> None:
    def broken() -> Iterator[AuditEntry]:
        yield intent(2, service="web")
        raise AuditUnreadable("line 1 was changed", hint="look")

    report = cooled(AT, broken(), "bot-controller", "restart", 300.0)
    assert (report.state, report.text, report.hint) == (GuardState.UNKNOWN, "line 1 was changed", "look")
