"""Which sessions are meant: pure, without a server."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from oncall.clients.pg_lock import lock_key
from oncall.remediation.actions.kill_queries import KillQueries, PidAt, parse_pid
from oncall.remediation.actions.kill_selection import Filters, Victim, matches, protection, select
from oncall.remediation.actions.kill_words import described

SEEN = "2026-11-25T03:12:41.500000Z"
SESSION = Victim(
    pid=12,
    backend_type="client backend",
    application_name="bot",
    app=True,
    usename="app",
    datname="d",
    state="active",
    backend_start=SEEN,
    xact_start=SEEN,
    query_start=SEEN,
    query_s=90.0,
    state_s=90.0,
    xact_s=90.0,
)
IDLE = changed(SESSION, pid=13, state="idle in transaction", root=True, blocks=3)
ROWS = (SESSION, IDLE)


@st.composite
def sessions(draw: st.DrawFn) -> Victim:
    ages = st.none() | st.floats(0, 1e6)
    return Victim(
        pid=draw(st.integers(1, 50)),
        gid=draw(st.none() | st.just("g")),
        named=draw(st.booleans()),
        backend_type=draw(st.sampled_from([None, "client backend", "walsender", "autovacuum worker"])),
        application_name=draw(st.sampled_from([None, "", "bot", "psql"])),
        state=draw(st.sampled_from([None, "active", "idle", "idle in transaction", "disabled"])),
        backend_start=draw(st.none() | st.just(SEEN)),
        xact_start=draw(st.none() | st.just(SEEN)),
        query_s=draw(ages),
        state_s=draw(ages),
        root=draw(st.booleans()),
        blocks=draw(st.integers(0, 9)),
        own=draw(st.booleans()),
        superuser=draw(st.booleans()),
        replication=draw(st.booleans()),
        elsewhere=draw(st.booleans()),
        committed=draw(st.booleans()),
        app=draw(st.booleans()),
        index_build=draw(st.none() | st.booleans()),
    )


ANY = st.lists(sessions(), max_size=20)
FILTERS = st.builds(
    Filters,
    older_than_s=st.none() | st.floats(0.001, 1e5),
    pids=st.lists(st.integers(1, 50).map(lambda n: PidAt(pid=n)), max_size=4).map(tuple),
    blockers=st.booleans(),
    idle_in_transaction_s=st.none() | st.floats(0.001, 1e5),
    application=st.none() | st.sampled_from(["bot", "b*"]),
)


@given(ANY, st.none() | st.sampled_from(["bot", "*", ""]), st.integers(1, 50))
def test_without_a_filter_nothing_is_ever_selected(
    rows: list[Victim], application: str | None, most: int
) -> None:
    filters = Filters(application=application)
    chosen = select(rows, filters, most)
    assert not chosen.targets
    assert not chosen.over
    assert not any(matches(v, filters) for v in rows)


@given(ANY, FILTERS, st.integers(1, 50))
def test_a_target_is_meant_and_unprotected_and_within_the_cap(
    rows: list[Victim], filters: Filters, most: int
) -> None:
    chosen = select(rows, filters, most)
    for v in chosen.targets:
        assert matches(v, filters)
        assert protection(v) is None
        assert v.gid is None
        assert v.app or filters.by_name or filters.application
        assert (v.backend_type, v.own, v.superuser, v.replication, v.elsewhere) == (
            "client backend",
            False,
            False,
            False,
            False,
        )
    assert len(chosen.targets) <= most or filters.pids


@given(ANY, FILTERS)
def test_each_further_kind_of_filter_narrows(rows: list[Victim], filters: Filters) -> None:
    wide = {id(v) for v in rows if matches(v, filters)}
    any_state = replace(filters, older_than_s=None, idle_in_transaction_s=None)
    for without in (replace(filters, application=None), any_state, replace(filters, pids=(), blockers=False)):
        if not without.empty:
            assert wide <= {id(v) for v in rows if matches(v, without)}


@pytest.mark.parametrize(
    ("filters", "pids"),
    [
        (Filters(older_than_s=60), [12]),
        (Filters(older_than_s=91), []),
        (Filters(idle_in_transaction_s=60), [13]),
        (Filters(older_than_s=60, idle_in_transaction_s=60), [12, 13]),
        (Filters(blockers=True), [13]),
        (Filters(blockers=True, older_than_s=60), []),
        (Filters(pids=(PidAt(pid=12),), blockers=True), [12, 13]),
        (Filters(pids=(PidAt(pid=12),), idle_in_transaction_s=60), []),
        (Filters(older_than_s=60, application="psql"), []),
        (Filters(older_than_s=60, application="b*"), [12]),
    ],
)
def test_of_one_kind_any_may_hold_and_kinds_narrow_each_other(filters: Filters, pids: list[int]) -> None:
    assert [v.pid for v in select(ROWS, filters, 5).targets] == pids


def test_the_oldest_come_first_and_what_was_named_is_not_cut() -> None:
    rows = [changed(SESSION, pid=n, query_s=60.0 + n) for n in range(1, 10)]
    chosen = select(rows, Filters(older_than_s=60), 3)
    assert [v.pid for v in chosen.targets] == [9, 8, 7]
    assert len(chosen.over) == 6
    everyone = tuple(PidAt(pid=v.pid) for v in rows)
    assert len(select(rows, Filters(pids=everyone), 3).targets) == 9


@pytest.mark.parametrize(("off_s", "same"), [(-0.5, True), (0.5, True), (1.5, False), (-3600, False)])
def test_the_moment_tells_one_transaction_from_the_next(off_s: float, same: bool) -> None:
    at = datetime.fromisoformat(SEEN) + timedelta(seconds=off_s)
    chosen = select(ROWS, Filters(pids=(PidAt(pid=12, at=at),)), 5)
    assert [v.pid for v in chosen.targets] == ([12] if same else [])
    assert bool(chosen.changed) is not same


@pytest.mark.parametrize(("off_ms", "same"), [(0, True), (0.4, True), (-40, False), (400, False)])
def test_a_moment_with_a_fraction_is_that_transaction_alone(off_ms: float, same: bool) -> None:
    """The next transaction of a busy session begins within the same second."""
    at = datetime.fromisoformat(SEEN) + timedelta(milliseconds=off_ms)
    chosen = select(ROWS, Filters(pids=(PidAt(pid=12, at=at),)), 5)
    assert [v.pid for v in chosen.targets] == ([12] if same else [])


def test_a_moment_without_a_transaction_now_is_a_change() -> None:
    idle = changed(SESSION, state="idle", xact_start=None)
    chosen = select([idle], Filters(pids=(parse_pid("12@2026-11-25T03:12:41Z"),)), 5)
    assert chosen.changed
    assert not chosen.targets


def test_the_text_of_a_pid_reads_back() -> None:
    at = datetime(2026, 11, 25, 3, 12, 41, tzinfo=UTC)
    assert parse_pid("12@2026-11-25T03:12:41Z") == PidAt(pid=12, at=at)
    assert parse_pid("12@2026-11-25T04:12:41+01:00") == PidAt(pid=12, at=at)
    assert str(PidAt(pid=12, at=at)) == "12@2026-11-25T03:12:41Z"
    assert parse_pid("12@2026-11-25T03:12:41") == PidAt(pid=12, at=at)


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "12@", "12@now", "12@2h", "9999999999", "1;2", "١"])
def test_what_is_no_pid(text: str) -> None:
    with pytest.raises(ValueError, match=r"PID|pid 0"):
        parse_pid(text)


def test_words_repeat_the_options() -> None:
    action = KillQueries(
        older_than_s=90,
        pids=(parse_pid("12@2026-11-25T03:12:41Z"),),
        blockers=True,
        idle_in_transaction_s=300,
        application="a b",
        terminate=True,
        most=7,
    )
    assert action.words == (
        *("--older-than", "1m30s", "--idle-in-transaction", "5m", "--pid", "12@2026-11-25T03:12:41Z"),
        *("--blockers", "--application", "a b", "--terminate", "--max", "7"),
    )
    assert KillQueries(older_than_s=60).words == ("--older-than", "1m")
    assert "running a statement for over 1m30s or idle in transaction" in described(action.filters)


def test_the_lock_of_a_service_is_its_own() -> None:
    assert lock_key("a")[0] == lock_key("b")[0]
    assert lock_key("a")[1] != lock_key("b")[1]
    assert all(-(2**31) <= n < 2**31 for n in lock_key("bot"))
