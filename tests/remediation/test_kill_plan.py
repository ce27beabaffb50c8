"""What `kill-queries` plans, and whom it refuses: fault rows 11, 12, 13, 16 and 17 on real servers."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from oncall.errors import ConfigError, UsageFault
from oncall.lab.process import wait_until
from oncall.model_acts import GuardState
from oncall.model_service import Service
from oncall.remediation.action import Scene
from oncall.remediation.actions.kill_queries import KillQueries, PidAt, parse_pid
from tests.clients.pgstand import APP, Link, Stand, begin, pgbouncer, standby
from tests.remediation import killstand
from tests.remediation.killstand import barred, dsn, guard, idling, named, pid, planned, session, targets


def plan_of(pg: Stand, *links: Link, role: str = "pager") -> tuple[dict[str, str], list[int]]:
    """What bars a kill of these sessions, and who would be signalled."""
    found = planned(dsn(pg, role), KillQueries(pids=named(*links)))
    return barred(found), targets(found)


# --- what is planned ------------------------------------------------------------------------------


def test_the_plan_says_whom_how_and_what_is_lost(pg: Stand) -> None:
    link = killstand.running(pg, statement="SELECT pg_sleep(60) /* [/red] \x1b[31m */")
    pg.running(link, 0.3)
    found = planned(dsn(pg), KillQueries(older_than_s=0.2))
    assert targets(found) == [pid(link)]
    assert not barred(found)
    assert found.title == "cancels the statement of 1 session running a statement for over 0.2s"
    role = f"127.0.0.1:{pg.server.port}/{pg.admin.info.dbname} as pager"
    assert found.place == (("database", role),)
    (does,) = found.does
    assert f"a.pid = {pid(link)}" in does
    assert "pg_cancel_backend(a.pid)" in does
    identity = found.targets[0].identity
    assert list(identity) == ["pid", "backend_start", "query_start", "xact_start", "state"]
    assert all(f"'{identity[name]}'" in does for name in list(identity)[1:])
    assert found.table is not None
    (row,) = found.table.rows
    assert (row[0], row[1], row[2], row[3]) == (pid(link), "bot-controller", "app", "active")
    assert "57014" in found.losses[-1]
    assert {g.name for g in found.guards if g.state is GuardState.PASSED} == {g.name for g in found.guards}


def test_who_waits_for_a_lock_is_shown_with_who_holds_it(pg: Stand) -> None:
    holder = idling(pg, "UPDATE things SET n = 1 WHERE id = 1")
    waiter, second = session(pg), session(pg)
    for link in (waiter, second):
        begin(link, "UPDATE things SET n = 2 WHERE id = 1")
        pg.waiting(link)
    pg.running(waiter, 0.2)
    found = planned(dsn(pg), KillQueries(older_than_s=0.1, most=1))
    assert targets(found) == [pid(waiter)]
    held = f"pid {pid(waiter)}: only waits for a lock, held back by {pid(holder)}; see --blockers"
    assert held in found.notes
    assert any("not among the oldest 1" in note and str(pid(second)) in note for note in found.notes)
    roots = planned(dsn(pg), KillQueries(blockers=True))
    assert targets(roots) == [pid(holder)]
    assert f"pid {pid(holder)}: frees 2 waiting sessions" in roots.notes
    canceled = f"pid {pid(holder)}: idle in transaction: a cancel changes nothing there"
    assert any(note.startswith(canceled) for note in roots.notes)
    assert not roots.losses


def test_a_state_alone_means_the_services_own_and_strangers_are_named(pg: Stand) -> None:
    ours, other = killstand.running(pg), killstand.running(pg, "reporting")
    pg.running(other, 0.2)
    slow = planned(dsn(pg), KillQueries(older_than_s=0.1))
    assert targets(slow) == [pid(ours)]
    left = (
        f"pid {pid(other)} (reporting): not of bot-controller, left alone; to have them: --application NAME"
    )
    assert any(note.startswith(left) for note in slow.notes)
    assert targets(planned(dsn(pg), KillQueries(older_than_s=0.1, application="report*"))) == [pid(other)]
    both = planned(dsn(pg), KillQueries(pids=named(ours, other)))
    assert f"pid {pid(other)}: not of bot-controller, the application of this service" in both.notes


def test_where_nobody_says_whose_sessions_are_the_services_tools_are_left_alone(pg: Stand) -> None:
    """The diagnosis counts them neither. A backup is the oldest of all: it was cancelled first."""
    backup, ours = killstand.running(pg, "pg_dump"), killstand.running(pg, "worker")
    pg.running(ours, 0.2)
    slow = planned(dsn(pg), KillQueries(older_than_s=0.1), app=None)
    assert targets(slow) == [pid(ours)]
    assert any(note.startswith(f"pid {pid(backup)} (pg_dump): not of the service") for note in slow.notes)
    assert any("postgres.application_name would say which" in note for note in slow.notes)
    pg.admin.execute("SELECT pg_terminate_backend(%s)", [pid(ours)])
    pg.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s", pid(ours))
    alone = planned(dsn(pg), KillQueries(older_than_s=0.1), app=None)
    assert "of others are, left alone" in barred(alone)["empty-selection"]


# --- a commit that waits for its synchronous standby: done here, and no signal undoes it --------------


@pytest.fixture
def committing(pg: Stand) -> Iterator[Link]:
    """A session whose COMMIT waits for a standby that is away."""
    _standbys(pg, "away")
    link = session(pg)
    link.execute("SET synchronous_commit = on")
    link.execute("BEGIN")
    link.execute("UPDATE app.things SET n = 7 WHERE id = 1")
    begin(link, "COMMIT")
    wait_until(lambda: _waits_for(pg, link) == "SyncRep", "the commit waits", seconds=10)
    yield link
    _standbys(pg, "")


def _standbys(pg: Stand, names: str) -> None:
    pg.admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    pg.admin.execute("SELECT pg_reload_conf()")
    wait_until(lambda: pg.value("SHOW synchronous_standby_names") == names, "the setting", seconds=10)


def _waits_for(pg: Stand, link: Link) -> object:
    return pg.value("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", pid(link))


def test_a_filter_leaves_a_commit_that_waits_for_a_standby_alone(pg: Stand, committing: Link) -> None:
    found = planned(dsn(pg), KillQueries(older_than_s=0.001))
    assert targets(found) == []
    assert any(f"pid {pid(committing)}: waits for a synchronous standby" in note for note in found.notes)


@pytest.mark.parametrize("terminate", [False, True])
def test_a_commit_that_waits_for_a_standby_is_refused_by_name(
    pg: Stand, committing: Link, terminate: bool
) -> None:
    bars = barred(planned(dsn(pg), KillQueries(pids=named(committing), terminate=terminate)))
    assert "committed here, so a signal would roll nothing back, never signalled" in bars["replication"]
    assert "synchronous_standby_names" in bars["replication"]


def test_a_commit_that_began_to_wait_since_the_plan_is_not_signalled(pg: Stand) -> None:
    """One statement, which first works and then waits: the same query, the same transaction."""
    _standbys(pg, "away")
    try:
        link = session(pg)
        link.execute("SET synchronous_commit = on")
        begin(link, "UPDATE app.things SET n = 7 FROM pg_sleep(2) WHERE id = 1")
        pg.running(link)

        def wait() -> None:
            wait_until(lambda: _waits_for(pg, link) == "SyncRep", "the commit waits", seconds=10)

        done = killstand.done(dsn(pg), KillQueries(pids=named(link)), wait)
        assert done.states == ["changed"]
        assert _waits_for(pg, link) == "SyncRep"
    finally:
        _standbys(pg, "")


# --- rows 11 to 13: rights, the protected, the gone ------------------------------------------------


def test_row_11_without_pg_signal_backend(pg: Stand) -> None:
    bars, _ = plan_of(pg, killstand.running(pg), role="seer")
    assert list(bars) == ["rights"]
    assert 'GRANT pg_signal_backend TO "seer";' in bars["rights"]


def test_ones_own_role_needs_no_grant(pg: Stand) -> None:
    link = killstand.running(pg)
    bars, aims = plan_of(pg, link, role="app")
    assert (bars, aims) == ({}, [pid(link)])


def test_what_is_hidden_is_not_known_and_bars(pg: Stand) -> None:
    link = killstand.running(pg)
    pg.admin.execute("REVOKE pg_monitor FROM seer")
    bars, aims = plan_of(pg, link, role="seer")
    assert aims == []
    assert 'GRANT pg_monitor TO "seer";' in bars["identity"]
    assert 'GRANT pg_signal_backend TO "seer";' in bars["rights"]
    swept = planned(dsn(pg, "seer"), KillQueries(older_than_s=0.001))
    assert targets(swept) == []
    assert "hidden" in barred(swept)["empty-selection"]


def test_row_12_each_kind_that_is_never_signalled(pg: Stand) -> None:
    pg.admin.execute("SELECT 1")
    boss = killstand.running(pg, "boss", "chief")
    copier = killstand.running(pg, "copier", "repl")
    sender = session(pg, "sender", "repl", replication="true")
    launcher = PidAt(
        pid=pg.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'autovacuum launcher'")
    )
    for link, name, words in (
        (boss, "superuser", "of a superuser (chief)"),
        (copier, "replication", "of a role with REPLICATION (repl)"),
        (sender, "replication", "a walsender"),
    ):
        bars, aims = plan_of(pg, link)
        assert aims == []
        assert f"pid {pid(link)}: {words}, never signalled" in bars[name]
    daemon = planned(dsn(pg), KillQueries(pids=(launcher,)))
    assert "autovacuum launcher, of the server itself" in barred(daemon)["autovacuum"]
    assert guard(daemon, "autovacuum").overridable is False
    pg.running(copier, 0.2)
    swept = planned(dsn(pg), KillQueries(older_than_s=0.1))
    assert targets(swept) == []
    assert f"pid {pid(boss)}: of a superuser (chief), never signalled" in swept.notes
    assert guard(swept, "superuser").state is GuardState.PASSED


def test_row_12_its_own_session(pg: Stand) -> None:
    async def look() -> dict[str, str]:
        async with killstand.scene(dsn(pg)) as here:
            assert here.session is not None
            own = pg.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'oncall'")
            async with KillQueries(pids=(PidAt(pid=own),)).work(here) as work:
                return barred(work.found)

    bars = asyncio.run(look())
    assert "oncall's own session, never signalled" in bars["own-backend"]


def test_row_12_another_database(pg: Stand) -> None:
    if not pg.value("SELECT true FROM pg_database WHERE datname = 'other'"):
        pg.admin.execute("CREATE DATABASE other")
    link = session(pg, dbname="other")
    begin(link, "SELECT pg_sleep(60)")
    pg.running(link, 0.2)
    bars, aims = plan_of(pg, link)
    assert aims == []
    assert f"pid {pid(link)}: in another database (other), never signalled" in bars["identity"]
    swept = planned(dsn(pg), KillQueries(older_than_s=0.1))
    assert targets(swept) == []
    assert any("in another database" in note for note in swept.notes)


def test_row_12_an_index_build_only_by_name_and_override(pg: Stand) -> None:
    idling(pg, "INSERT INTO things VALUES (0, 0)")
    builder = session(pg)
    begin(builder, "CREATE INDEX CONCURRENTLY by_n ON things (n)")
    pg.waiting(builder)
    swept = planned(dsn(pg), KillQueries(older_than_s=0.001))
    assert pid(builder) not in targets(swept)
    assert any(f"name it: --pid {pid(builder)}" in note for note in swept.notes)
    chosen = planned(dsn(pg), KillQueries(pids=named(builder)))
    assert targets(chosen) == [pid(builder)]
    assert list(barred(chosen)) == ["index-build"]
    assert guard(chosen, "index-build").overridable


def test_row_13_gone_or_changed_before_the_look(pg: Stand) -> None:
    link = idling(pg)
    began = pg.value("SELECT xact_start FROM pg_stat_activity WHERE pid = %s", pid(link))
    written = parse_pid(f"{pid(link)}@{began.isoformat(timespec='seconds')}")
    same = planned(dsn(pg), KillQueries(pids=(written,)))
    assert (barred(same), targets(same)) == ({}, [pid(link)])
    old = parse_pid(f"{pid(link)}@2020-01-01T00:00:00Z")
    bars = barred(planned(dsn(pg), KillQueries(pids=(old,))))
    assert "has changed" in bars["identity"]
    link.close()
    pg.until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", written.pid)
    bars = barred(planned(dsn(pg), KillQueries(pids=(written,))))
    assert f"pid {written.pid} is gone" in bars["identity"]


# --- rows 16 and 17, and the replica ---------------------------------------------------------------


def test_row_16_a_prepared_transaction_is_named_not_signalled(pg: Stand) -> None:
    gid = "it's \\ mine"
    owner = idling(pg, "UPDATE things SET n = 1 WHERE id = 1")
    owner.execute(psycopg.sql.SQL("PREPARE TRANSACTION {}").format(gid))
    waiter = session(pg)
    begin(waiter, "UPDATE things SET n = 2 WHERE id = 1")
    pg.waiting(waiter)
    found = planned(dsn(pg), KillQueries(blockers=True))
    assert targets(found) == []
    said = barred(found)["empty-selection"]
    assert f"{gid} of app" in said
    assert "holds back 1" in said
    assert "ROLLBACK PREPARED" in said
    assert "psql -h 127.0.0.1" in said


def test_row_17_through_pgbouncer(pg: Stand) -> None:
    link = killstand.running(pg)
    with pgbouncer(pg.server) as port:
        found = planned(pg.dsn(port=port), KillQueries(pids=named(link)))
        assert list(barred(found)) == ["pooler"]
        assert not guard(found, "pooler").overridable

        async def act() -> list[str]:
            action = KillQueries(pids=named(link))
            async with killstand.scene(pg.dsn(port=port)) as here, action.work(here) as work:
                return [r.state for r in await killstand.applied(work)]

        assert asyncio.run(act()) == ["failed"]
    assert pg.value("SELECT state FROM pg_stat_activity WHERE pid = %s", pid(link)) == "active"


def test_a_replica_is_said_and_its_own_sessions_can_be_canceled(pg: Stand) -> None:
    with standby(pg.server) as there:
        at = psycopg.conninfo.make_conninfo(there, user="app", password=killstand.PASSWORD)
        with closing(psycopg.connect(at, autocommit=True, application_name=APP)) as link:
            begin(link, "SELECT pg_sleep(60)")
            action = KillQueries(older_than_s=0.001)
            pager = psycopg.conninfo.make_conninfo(there, user="pager", password=killstand.PASSWORD)
            while not targets(found := planned(pager, action)):
                pass
            assert ("replica", "yes") in found.place
            assert "a replica" in guard(found, "replica").text
            done = killstand.done(pager, action)
            assert done.states == ["done"]
            assert [c.holds for c in done.checks] == [True]
            assert killstand.error(link) == "57014"


# --- nothing selected, nothing there ---------------------------------------------------------------


@pytest.mark.parametrize("action", [KillQueries(), KillQueries(application="bot-controller")])
def test_without_a_filter_it_is_refused_unseen(pg: Stand, action: KillQueries) -> None:
    killstand.running(pg)

    async def look() -> tuple[dict[str, str], int]:
        async with killstand.scene(dsn(pg)) as here, action.work(here) as work:
            assert here.session is not None
            assert not work.found.targets
            return barred(work.found), here.session.sent

    bars, sent = asyncio.run(look())
    assert list(bars) == ["empty-selection"]
    assert sent == 1


def test_more_named_than_allowed_is_refused(pg: Stand) -> None:
    links = [session(pg) for _ in range(3)]
    bars = barred(planned(dsn(pg), KillQueries(pids=named(*links), most=2)))
    assert bars == {"max-targets": "3 were named, at most 2 --max 3"}


def test_no_postgres_configured_and_none_reached(pg: Stand) -> None:
    async def look(here: Scene) -> None:
        async with KillQueries(older_than_s=60).work(here):
            pass

    with pytest.raises(ConfigError, match="not configured") as raised:
        asyncio.run(look(Scene("bot", Service(), None, 5)))
    assert "postgres.dsn" in (raised.value.hint or "")
    found = planned(dsn(pg, "app", dbname="nowhere"), KillQueries(older_than_s=60))
    assert set(barred(found)) == {"identity", "rights"}
    assert "there is no database nowhere" in barred(found)["identity"]
    assert killstand.PASSWORD not in repr(found)


@pytest.mark.parametrize(
    "action",
    [KillQueries(older_than_s=0), KillQueries(idle_in_transaction_s=float("nan")), KillQueries(most=0)],
)
def test_numbers_that_mean_nothing(action: KillQueries) -> None:
    async def look() -> None:
        async with action.work(Scene("bot", Service(), None, 5)):
            pass

    with pytest.raises(UsageFault):
        asyncio.run(look())
