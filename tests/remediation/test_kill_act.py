"""What `kill-queries` does, and proves: fault rows 13, 14 and 15 on real servers; the lock of one operator."""

import asyncio
import re
import shlex
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from oncall.clients.pg_lock import Held, advisory_lock
from oncall.clients.pg_text import check_sql, load_sql
from oncall.model import Unavailable
from oncall.remediation.actions.kill_queries import KillQueries, KillWork, parse_pid
from oncall.remediation.planning import identify
from tests.clients.pgstand import Stand, begin, pgbouncer, stand
from tests.processes import frozen
from tests.remediation import killstand
from tests.remediation.killstand import done, dsn, error, idling, named, pid, planned, session, targets


def there(pg: Stand, number: int) -> bool:
    return bool(pg.value("SELECT true FROM pg_stat_activity WHERE pid = %s", number))


# --- cancel, then terminate ------------------------------------------------------------------------


def test_a_statement_is_canceled_and_that_is_proven(pg: Stand) -> None:
    link = killstand.running(pg)
    other = killstand.running(pg)
    end = done(dsn(pg), KillQueries(pids=named(link)))
    assert end.states == ["done"]
    assert [(c.text, c.holds) for c in end.checks] == [(f"pid {pid(link)}: its statement has ended", True)]
    assert end.offers == ()
    assert error(link) == "57014"
    assert pg.value("SELECT state FROM pg_stat_activity WHERE pid = %s", pid(other)) == "active"


def test_row_14_a_cancel_of_one_idle_in_transaction_offers_the_end(pg: Stand) -> None:
    link = idling(pg)
    pg.idle(link, 0.2)
    end = done(dsn(pg), KillQueries(idle_in_transaction_s=0.1))
    assert end.states == ["unchanged"]
    assert "it was not signalled" in end.results[0].text
    # Nor could it be: what it might begin in that moment is no target.
    assert pg.admin.execute(end.found.does[0].encode()).fetchall() == []
    assert [c.holds for c in end.checks] == [False]
    assert "a cancel does not end that" in end.checks[0].text
    assert there(pg, pid(link))
    (offer,) = end.offers
    words = shlex.split(offer.command)
    assert words[:4] == ["oncall", "remediate", "kill-queries", "--pid"]
    assert words[5:] == ["-s", "bot", "--issue", "pool", "--terminate", "--confirm"]
    action = KillQueries(pids=(parse_pid(words[4]),), terminate=True)
    ended = done(dsn(pg), action)
    assert ended.states == ["done"]
    assert [(c.text, c.holds) for c in ended.checks] == [(f"pid {pid(link)}: the session is gone", True)]
    assert any("57P01" in loss for loss in ended.found.losses)
    assert not there(pg, pid(link))


def test_to_cancel_and_to_end_are_two_plans(pg: Stand) -> None:
    link = idling(pg)
    cancel, end = (planned(dsn(pg), KillQueries(pids=named(link), terminate=t)) for t in (False, True))
    ids = [identify("kill-queries", "bot", "production", found.targets) for found in (cancel, end)]
    assert ids[0] != ids[1]


def test_a_session_without_a_transaction_loses_its_connection_only(pg: Stand) -> None:
    link = session(pg)
    found = planned(dsn(pg), KillQueries(pids=named(link), terminate=True))
    assert found.losses[0] == f"pid {pid(link)}: its connection"


def test_interrupted_while_the_signal_is_on_its_way(pg: Stand) -> None:
    """Nobody knows whether it arrived: never that nothing was done."""
    link = killstand.running(pg)

    async def interrupted() -> KillWork:
        async with killstand.scene(dsn(pg)) as here, KillQueries(pids=named(link)).work(here) as work:
            assert work.so_far() == []
            act = work.apply(killstand.silent)
            sending = asyncio.ensure_future(anext(act))
            await asyncio.sleep(0)
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            return work

    (result,) = asyncio.run(interrupted()).so_far()
    assert (result.id, result.state) == (f"pid {pid(link)}", "unknown")
    assert "it may have been signalled" in result.text


def test_the_end_of_a_blocker_frees_those_behind_it(pg: Stand) -> None:
    holder = idling(pg, "UPDATE things SET n = 1 WHERE id = 1")
    waiter = session(pg)
    begin(waiter, "UPDATE things SET n = 2 WHERE id = 1")
    pg.waiting(waiter)
    end = done(dsn(pg), KillQueries(blockers=True, terminate=True))
    assert end.states == ["done"]
    assert error(waiter) is None
    assert not there(pg, pid(holder))


def test_row_15_a_backend_that_does_not_end(pg: Stand) -> None:
    link = killstand.running(pg)
    with frozen(pid(link)):
        end = done(dsn(pg), KillQueries(pids=named(link), terminate=True), wait_s=0.5)
    assert end.states == ["done"]
    assert [c.holds for c in end.checks] == [False]
    assert "sent, still present after" in end.checks[0].text
    assert [shlex.split(n.command) for n in end.offers] == [["oncall", "diagnose", "latency", "-s", "bot"]]


def test_an_index_build_that_was_overridden_leaves_what_the_plan_said(pg: Stand) -> None:
    idling(pg, "INSERT INTO things VALUES (0, 0)")
    builder = session(pg)
    begin(builder, "CREATE INDEX CONCURRENTLY by_n ON things (n)")
    pg.waiting(builder)

    async def act() -> tuple[list[str], tuple[str, ...]]:
        action = KillQueries(pids=named(builder))
        async with killstand.scene(dsn(pg)) as here, action.work(here) as work:
            return [r.state for r in await killstand.applied(work)], work.found.losses

    states, losses = asyncio.run(act())
    assert states == ["done"]
    assert "an invalid index stays behind" in losses[0]
    assert error(builder) == "57014"
    assert pg.value("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = 'app.by_n'::regclass")


# --- only those that were planned ------------------------------------------------------------------


def test_of_twenty_the_oldest_three(pg: Stand) -> None:
    links = [killstand.running(pg) for _ in range(20)]
    pg.running(links[-1], 0.1)
    end = done(dsn(pg), KillQueries(older_than_s=0.05, most=3))
    oldest = pg.admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND usename = 'app'"
    ).fetchall()
    assert targets(end.found) == [pid(link) for link in links[:3]]
    assert end.states == ["done"] * 3
    assert len(oldest) == 17
    assert "the oldest 3 of 20" in killstand.guard(end.found, "max-targets").text
    assert [error(link) for link in links[:3]] == ["57014"] * 3


def test_row_13_gone_changed_and_still_there(pg: Stand) -> None:
    gone, changed, ended, same = links = [killstand.running(pg) for _ in range(4)]
    pids = [pid(link) for link in links]

    def between() -> None:
        gone.close()
        for number in pids[:3]:
            pg.admin.execute("SELECT pg_cancel_backend(%s)", (number,))
        pg.until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", pids[0])
        for link in (changed, ended):
            assert error(link) == "57014"
            assert link.pgconn.get_result() is None
        begin(changed, "SELECT pg_sleep(60)")
        pg.running(changed)

    end = done(dsn(pg), KillQueries(pids=named(gone, changed, ended, same)), between)
    states = {r.id: r.state for r in end.results}
    becomes = ("gone", "changed", "changed", "done")
    assert states == {f"pid {number}": state for number, state in zip(pids, becomes, strict=True)}
    assert len(end.checks) == 1
    # One statement a victim, and one more look for each of the three that were not what they had been.
    assert end.sent[1] - end.sent[0] == 4 + 3
    assert pg.value("SELECT state FROM pg_stat_activity WHERE pid = %s", pid(changed)) == "active"


@pytest.mark.parametrize("rights", ["SUPERUSER", "REPLICATION"])
def test_a_role_that_rose_meanwhile_is_left_alone(pg: Stand, rights: str) -> None:
    link = killstand.running(pg)
    try:
        end = done(
            dsn(pg),
            KillQueries(pids=named(link), terminate=True),
            lambda: pg.admin.execute(f"ALTER ROLE app {rights}"),
        )
    finally:
        pg.admin.execute(f"ALTER ROLE app NO{rights}")
    assert end.states == ["changed"]
    assert there(pg, pid(link))


def test_it_stops_at_the_first_error(pg: Stand) -> None:
    links = [killstand.running(pg) for _ in range(3)]
    try:
        end = done(
            dsn(pg),
            KillQueries(pids=named(*links)),
            lambda: pg.admin.execute("REVOKE pg_signal_backend FROM pager"),
        )
    finally:
        pg.admin.execute("GRANT pg_signal_backend TO pager")
    assert end.states == ["failed"]
    assert end.checks == ()
    assert all(there(pg, pid(link)) for link in links)


def test_a_connection_that_is_lost_is_unknown_and_nothing_more_is_sent(pg: Stand) -> None:
    links = [killstand.running(pg) for _ in range(2)]

    def cut() -> None:
        pg.admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'oncall'"
        )
        pg.until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'oncall')")

    end = done(dsn(pg), KillQueries(pids=named(*links)), cut, wait_s=0.2)
    assert end.states == ["unknown"]
    assert "may have been signalled" in end.results[0].text
    assert [c.holds for c in end.checks] == [None]


def test_a_server_that_stands_still_is_unknown_and_its_late_answer_is_no_other_ones(pg: Stand) -> None:
    """The answer that comes after its deadline must not pass for that of the next question."""
    link = killstand.running(pg)

    async def act() -> tuple[object, object]:
        async with killstand.scene(dsn(pg)) as here:
            assert here.session is not None
            (own,) = pg.admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'oncall'"
            ).fetchall()
            with frozen(own[0]):
                late = await here.session.act("SELECT 1 AS late", 0.2)
            async with KillQueries(pids=named(link)).work(here) as work:
                return late.answer, targets(work.found)

    late, found = asyncio.run(act())
    assert isinstance(late, Unavailable)
    assert found == [pid(link)]


def test_no_step_of_a_runbook_can_signal() -> None:
    for name in ("signal_cancel", "signal_terminate"):
        assert "does more than read" in (check_sql(load_sql(name)) or "")
    assert check_sql(load_sql("victims")) is None
    assert check_sql(load_sql("signalled")) is None


# --- five hundred sessions -------------------------------------------------------------------------


def test_five_hundred_sessions_one_query_and_one_statement_a_victim(tmp_path: Path) -> None:
    with stand(tmp_path / "pg", 18, max_connections=540, scram_iterations=1) as pg:
        killstand.furnish(pg)
        for number in range(500):
            link = session(pg)
            if number < 240:
                link.execute("BEGIN")
            elif number < 250:
                begin(link, "SELECT pg_sleep(120)")
        pg.until("SELECT count(*) = 10 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        before = pg.value("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
        end = done(dsn(pg), KillQueries(older_than_s=0.001))
        assert end.states == ["done"] * 5
        # The look: what the server is, and one query; the act: one statement for each of the five.
        assert end.sent == (2, 7)
        assert all(c.holds for c in end.checks)
        pg.admin.execute("SELECT pg_stat_clear_snapshot()")
        pg.until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'oncall')")
        pg.until("SELECT sessions >= %s FROM pg_stat_database WHERE datname = current_database()", before + 1)
        assert (
            pg.value("SELECT sessions FROM pg_stat_database WHERE datname = current_database()") == before + 1
        )
        wide = planned(dsn(pg), KillQueries(idle_in_transaction_s=0.001, most=1))
        assert "the oldest 1 of 240" in killstand.guard(wide, "max-targets").text


# --- one operator at a time ------------------------------------------------------------------------


def test_the_lock_is_one_operators_until_its_connection_ends(pg: Stand) -> None:
    async def two() -> tuple[Held, Held, Held]:
        async with killstand.scene(dsn(pg)) as second:
            async with killstand.scene(dsn(pg)) as first:
                assert first.session is not None
                assert second.session is not None
                ours = await advisory_lock(first.session, "bot")
                theirs = await advisory_lock(second.session, "bot")
                other = await advisory_lock(second.session, "another service")
                assert other.granted
            pg.until("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'oncall'")
            return ours, theirs, await advisory_lock(second.session, "bot")

    ours, theirs, later = asyncio.run(two())
    assert ours == Held(granted=True)
    assert theirs.granted is False
    said = r"oncall of pager from 127\.0\.0\.1 \(pid \d+\), connected since 2\d{3}-.*Z"
    assert re.fullmatch(said, theirs.holder or "")
    assert later.granted


def test_through_a_pooler_there_is_no_lock(pg: Stand) -> None:
    async def one(at: str) -> Held:
        async with killstand.scene(at) as here:
            assert here.session is not None
            return await advisory_lock(here.session, "bot")

    with pgbouncer(pg.server) as port:
        held = asyncio.run(one(pg.dsn(port=port)))
    assert held.granted is None
    assert "a pooler keeps no advisory lock" in (held.reason or "")
    nowhere = asyncio.run(one(psycopg.conninfo.make_conninfo(dsn(pg), dbname="nowhere")))
    assert nowhere.granted is None
    assert "nowhere" in (nowhere.reason or "")
