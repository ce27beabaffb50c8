"""What the built-in questions answer, against sessions made to order on real servers."""

import subprocess
from pathlib import Path

import pytest

from oncall.clients.postgres import Question, load_sql
from oncall.lab.process import wait_until
from oncall.model import Absence
from tests.clients.pgstand import (
    APP,
    BUILT_IN,
    Link,
    Stand,
    asked,
    begin,
    facts,
    missing,
    questions,
    rows,
    table,
)


@pytest.fixture(autouse=True)
def things(pg: Stand) -> None:
    pg.admin.execute("DROP TABLE IF EXISTS things")
    pg.admin.execute("CREATE TABLE things (id int PRIMARY KEY, n int)")
    pg.admin.execute("INSERT INTO things SELECT i, 0 FROM generate_series(1, 100) AS i")


def sooner(name: str) -> Question:
    """A question whose ages of 10, 30 and 60 seconds are 0.2 to 0.4: nobody waits a minute in a test."""
    text = load_sql(name).replace("> 10)", "> 0.2)").replace("> 30)", "> 0.3)").replace("> 60)", "> 0.4)")
    return Question(id=name, sql=text)


def test_nothing_to_see_is_rows_of_nothing(pg: Stand) -> None:
    answers = pg.ask()
    (sessions,) = rows(answers, "sessions")
    assert {sessions[name] for name in ("total", "active", "in_xact", "lock_waiting", "hidden")} == {0}
    assert sessions["running_longest_s"] is None
    assert [table(answers, name).rows for name in ("working", "longest", "locks")] == [(), (), ()]


def test_sessions_counts_each_state_and_its_ages(pg: Stand) -> None:
    idle, in_xact, aborted, asleep, holder, waiter = (pg.session() for _ in range(6))
    in_xact.execute("BEGIN")
    aborted.execute("BEGIN")
    with pytest.raises(Exception, match="division"):
        aborted.execute("SELECT 1/0")
    holder.execute("BEGIN")
    holder.execute("UPDATE things SET n = 1 WHERE id = 1")
    begin(asleep, "SELECT pg_sleep(60)")
    begin(waiter, "UPDATE things SET n = 2 WHERE id = 1")
    pg.waiting(waiter)
    pg.session("another one").execute("SELECT 1")
    begin(pg.session("another one"), "SELECT pg_sleep(60)")
    pg.running(asleep, 1.1)
    for link in (idle, in_xact, aborted, holder):
        pg.idle(link, 0.5)
    (seen,) = rows(asked(pg.server.url, [sooner("sessions")]), "sessions")
    counts = {name: value for name, value in seen.items() if not name.endswith("_s")}
    assert counts == {
        "named": True,
        "total": 6,
        "active": 2,
        "idle": 1,
        "in_xact": 3,
        "lock_waiting": 1,
        "standing_by": 0,
        "sync_waiting": 0,
        "client_waiting": 0,
        "running": 1,
        "running_over_1s": 1,
        "running_over_5s": 0,
        "in_xact_over_10s": 3,
        "in_xact_over_30s": 3,
        "in_xact_over_60s": 3,
        "idle_over_10s": 1,
        "idle_over_30s": 1,
        "idle_over_60s": 1,
        "io_waiting": 0,
        "hidden": 0,
        "others_active": 1,
    }
    assert seen["running_longest_s"] == seen["running_median_s"]
    ages = {name: value for name, value in seen.items() if name.endswith("_s")}
    # Made in this order, and nothing here takes a minute.
    assert all(isinstance(age, float) and 0.4 < age < 60 for age in ages.values()), ages
    assert ages["newest_backend_s"] < ages["oldest_backend_s"]


def test_who_waits_for_a_standby_or_for_the_client_runs_nothing(pg: Stand) -> None:
    pg.admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    pg.admin.execute("SELECT pg_reload_conf()")
    try:
        committed, reads, writes = (pg.session() for _ in range(3))
        committed.execute("SET synchronous_commit = on")
        committed.execute("BEGIN")
        committed.execute("UPDATE things SET n = 1 WHERE id = 1")
        begin(committed, "COMMIT")
        begin(reads, "COPY things FROM STDIN")
        begin(writes, "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
        wait_until(lambda: waits(pg) == {"SyncRep", "ClientRead", "ClientWrite"}, "each waits")
        (seen,) = rows(pg.ask("sessions"), "sessions")
    finally:
        pg.admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        pg.admin.execute("SELECT pg_reload_conf()")
    names = ("active", "sync_waiting", "client_waiting", "running", "running_longest_s")
    assert [seen[name] for name in names] == [3, 1, 2, 0, None]


def waits(pg: Stand) -> set[str]:
    """What the active sessions wait for."""
    found = pg.admin.execute(
        "SELECT wait_event FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    return {event for (event,) in found.fetchall()}


def test_who_stands_by_for_an_advisory_lock_is_no_contention(pg: Stand) -> None:
    """The second in a leader election. Here "for minutes" is a fifth of a second."""
    leader, second, request = (pg.session() for _ in range(3))
    leader.execute("SELECT pg_advisory_lock(7)")
    leader.execute("BEGIN")
    leader.execute("LOCK things")
    begin(second, "SELECT pg_advisory_lock(7)")
    begin(request, "UPDATE things SET n = 2")
    pg.waiting(second)
    pg.waiting(request)
    wait_until(lambda: waited(pg, second) > 0.3, "it waits for long")
    text = load_sql("sessions").replace("interval '5 minutes'", "interval '200 milliseconds'")
    (seen,) = rows(asked(pg.server.url, [Question(id="sessions", sql=text)]), "sessions")
    assert (seen["standing_by"], seen["lock_waiting"], seen["running"]) == (1, 1, 0)


def waited(pg: Stand, link: Link) -> float:
    """Seconds since a session's statement began."""
    return float(
        pg.value(
            "SELECT extract(epoch FROM clock_timestamp() - query_start)::float FROM pg_stat_activity"
            f" WHERE pid = {link.info.backend_pid}"
        )
    )


def test_a_wait_for_a_lock_counts_from_its_own_beginning(pg: Stand) -> None:
    holder, waiter = pg.session(), pg.session()
    holder.execute("BEGIN")
    holder.execute("LOCK things")
    begin(waiter, "SELECT pg_sleep(1); UPDATE things SET n = 2")
    pg.waiting(waiter)
    (seen,) = rows(pg.ask("sessions"), "sessions")
    waited = pg.value(
        "SELECT extract(epoch FROM clock_timestamp() - waitstart)::float FROM pg_locks WHERE NOT granted"
    )
    assert isinstance(seen["lock_wait_longest_s"], float)
    assert seen["lock_wait_longest_s"] <= waited
    assert seen["running_longest_s"] is None


@pytest.mark.parametrize(
    ("named", "mine"),
    [
        ("bot-*", {"bot-1", "bot-2"}),
        ("bot-1", {"bot-1"}),
        ("", {"bot-1", "bot-2", "other", ""}),
        ("none", set()),
    ],
)
def test_which_sessions_are_the_apps(pg: Stand, named: str, mine: set[str]) -> None:
    for name in ("bot-1", "bot-2", "other", "", "psql", "pgAdmin 4 - DB:postgres", "DBeaver 24", "oncall"):
        pg.session(name)
    answers = pg.ask("sessions", "connections", app=named)
    # The administrator's session has a name of no tool that is known: without a name to go by it is the app's.
    expected = mine | ({"admin"} if named == "" else set())
    assert {row["application_name"] for row in rows(answers, "connections") if row["app"]} == expected
    assert rows(answers, "sessions")[0]["total"] == len(expected)


def test_connections_groups_the_whole_server(pg: Stand) -> None:
    pg.admin.execute("DROP DATABASE IF EXISTS elsewhere")
    pg.admin.execute("CREATE DATABASE elsewhere")
    for _ in range(3):
        pg.session()
    pg.session().execute("BEGIN")
    pg.session(dbname="elsewhere")
    seen = rows(pg.ask("connections"), "connections")
    first = seen[0]
    assert first.pop("oldest_s") is not None
    assert first == {
        "application_name": APP,
        "usename": "postgres",
        "client": "127.0.0.1",
        "datname": "postgres",
        "sessions": 4,
        "active": 0,
        "in_xact": 1,
        "idle": 3,
        "hidden": 0,
        "app": True,
    }
    assert [(r["datname"], r["sessions"], r["app"]) for r in seen if r["application_name"] == APP][1:] == [
        ("elsewhere", 1, False)
    ]


def test_slots_counts_what_is_left_for_the_app(pg: Stand) -> None:
    for _ in range(2):
        pg.session()
    for _ in range(3):
        pg.session("report")
    (seen,) = rows(pg.ask("slots"), "slots")
    most, reserved = seen["max_connections"], 3
    assert most == pg.value("SELECT setting::int FROM pg_settings WHERE name = 'max_connections'")
    # Two of the app, three reports, the administrator and the one that asks.
    assert (seen["used"], seen["app"], seen["others"]) == (7, 2, 4)
    assert (seen["superuser_reserved"], seen["reserved"], seen["available"]) == (3, 0, most - reserved)
    assert seen["used_ratio"] == pytest.approx(7 / (most - reserved))
    assert (seen["top_other"], seen["top_other_sessions"], seen["idle_others"]) == ("report", 3, 4)


def test_longest_names_who_blocks(pg: Stand) -> None:
    holder, waiter, asleep = pg.session(), pg.session(), pg.session("report")
    begin(asleep, "SELECT pg_sleep(60)  ,\n\t1")
    pg.running(asleep)
    holder.execute("BEGIN")
    holder.execute("LOCK things")
    begin(waiter, "SELECT * FROM things")
    pg.waiting(waiter)
    first, second = rows(pg.ask("longest"), "longest")
    assert (first["pid"], first["app"], first["blocked_by"]) == (asleep.info.backend_pid, False, None)
    assert first["query"] == "SELECT pg_sleep(60) , 1"
    assert first["wait"] == "Timeout:PgSleep"
    assert (second["pid"], second["app"]) == (waiter.info.backend_pid, True)
    assert (second["wait"], second["blocked_by"]) == ("Lock:relation", str(holder.info.backend_pid))
    assert first["running_s"] > second["running_s"]


def test_working_groups_statements_by_their_shape(pg: Stand) -> None:
    holder = pg.session()
    holder.execute("BEGIN")
    holder.execute("UPDATE things SET n = 1")
    for i in range(3):
        begin(pg.session(), f"UPDATE things SET n = {i}  WHERE id = {i + 1} AND 'it''s {i}' <> ''")
    begin(pg.session(), "SELECT t1.id, pg_sleep(60) FROM things AS t1 LIMIT 1.5")
    begin(pg.session("another one"), "SELECT pg_sleep(60)")
    pg.until("SELECT count(*) = 5 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()")
    pg.until("SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    first, second = rows(pg.ask("working"), "working")
    assert first["query"] == "UPDATE things SET n = ? WHERE id = ? AND ? <> ?"
    assert (first["sessions"], first["lock_waiting"]) == (3, 3)
    assert second["query"] == "SELECT t1.id, pg_sleep(?) FROM things AS t1 LIMIT ?"
    assert (second["sessions"], second["lock_waiting"]) == (1, 0)
    assert second["longest_s"] == second["median_s"]


def chain(pg: Stand) -> tuple[int, int, list[int]]:
    """Two roots: behind the first a chain of three and a fourth beside it, behind the second one of the four."""
    first, second = pg.session("migration"), pg.session()
    links = [pg.session() for _ in range(4)]
    first.execute("BEGIN")
    first.execute("UPDATE things SET n = 1 WHERE id = 1")
    second.execute("BEGIN")
    second.execute("SELECT * FROM things WHERE id = 4 FOR UPDATE")
    for index, link in enumerate(links[:3]):
        link.execute("BEGIN")
        # Each holds a row of its own, and waits for the row of the one before.
        link.execute(f"UPDATE things SET n = 1 WHERE id = {10 + index}")
        begin(link, f"UPDATE things SET n = 2 WHERE id = {1 if index == 0 else 9 + index}")
        pg.waiting(link)
    begin(links[3], "UPDATE things SET n = 3 WHERE id = 4")
    pg.waiting(links[3])
    return first.info.backend_pid, second.info.backend_pid, [link.info.backend_pid for link in links]


def test_locks_finds_the_roots_and_who_waits_behind_them(pg: Stand) -> None:
    first, second, _ = chain(pg)
    one, two = rows(pg.ask("locks"), "locks")
    assert (one["pid"], one["waiting"], one["app_waiting"]) == (first, 3, 3)
    assert (one["app"], one["kind"], one["state"]) == (False, "session", "idle in transaction")
    assert one["who"] == f"pid {first} (migration)"
    assert one["query"] == "UPDATE things SET n = 1 WHERE id = 1"
    assert one["wants"] == "ShareLock on a row of things"
    assert (two["pid"], two["waiting"], two["app"], two["gid"]) == (second, 1, True, None)
    for row in (one, two):
        assert 0 <= row["longest_wait_s"] < 60
        assert 0 < row["state_s"] <= row["xact_s"] < 60


def test_who_waits_behind_two_roots_is_freed_by_neither(pg: Stand) -> None:
    readers = [pg.session() for _ in range(2)]
    for reader in readers:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM things")
    readers[0].execute("UPDATE things SET n = 1 WHERE id = 1")
    table_wide, row = pg.session(), pg.session()
    begin(row, "UPDATE things SET n = 2 WHERE id = 1")
    pg.waiting(row)
    begin(table_wide, "ALTER TABLE things ADD COLUMN m int")
    pg.waiting(table_wide)
    found = {r["pid"]: (r["waiting"], r["freed"]) for r in rows(pg.ask("locks"), "locks")}
    # The row alone is free when the first is gone; for the table both have to go
    assert found == {readers[0].info.backend_pid: (2, 1), readers[1].info.backend_pid: (1, 0)}


def test_idle_in_transaction_says_how_many_wait_behind_each(pg: Stand) -> None:
    first, second, _ = chain(pg)
    alone = pg.session("report")
    alone.execute("BEGIN")
    seen = {row["pid"]: row for row in rows(pg.ask("idle_in_transaction"), "idle_in_transaction")}
    assert {pid: row["blocks"] for pid, row in seen.items()} == {
        first: 3,
        second: 1,
        alone.info.backend_pid: 0,
    }
    assert seen[first]["query"] == "UPDATE things SET n = 1 WHERE id = 1"
    assert next(iter(seen)) == first, "the oldest comes first"


def test_a_queue_for_one_table_has_one_root(pg: Stand) -> None:
    reader = pg.session()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM things")
    begin(pg.session("migration"), "ALTER TABLE things ADD COLUMN more int")
    pg.until("SELECT count(*) = 1 FROM pg_locks WHERE NOT granted")
    for _ in range(5):
        begin(pg.session(), "SELECT * FROM things")
    pg.until("SELECT count(*) = 6 FROM pg_locks WHERE NOT granted")
    (root,) = rows(pg.ask("locks"), "locks")
    assert (root["pid"], root["waiting"], root["app_waiting"]) == (reader.info.backend_pid, 6, 5)
    assert root["wants"] == "AccessExclusiveLock on things"


def test_a_deadlock_is_no_endless_loop(pg: Stand) -> None:
    one, two = pg.session(), pg.session()
    for link, row in ((one, 1), (two, 2)):
        link.execute("SET deadlock_timeout = '60s'")
        link.execute("BEGIN")
        link.execute(f"UPDATE things SET n = 1 WHERE id = {row}")
    begin(one, "UPDATE things SET n = 1 WHERE id = 2")
    pg.waiting(one)
    begin(two, "UPDATE things SET n = 1 WHERE id = 1")
    pg.waiting(two)
    behind = pg.session()
    begin(behind, "UPDATE things SET n = 1 WHERE id = 1")
    pg.waiting(behind)
    answers = pg.ask("locks", "sessions")
    assert rows(answers, "locks") == []
    assert rows(answers, "sessions")[0]["lock_waiting"] == 3


@pytest.mark.parametrize(
    ("taken", "wanted", "wants"),
    [
        (
            "UPDATE things SET n = 1 WHERE id = 1",
            "UPDATE things SET n = 2 WHERE id = 1",
            "ShareLock on a row of things",
        ),
        ("LOCK things IN SHARE MODE", "UPDATE things SET n = 2 WHERE id = 1", "RowExclusiveLock on things"),
        (
            "SELECT pg_advisory_xact_lock(7)",
            "SELECT pg_advisory_xact_lock(7)",
            "ExclusiveLock on advisory lock 0,7",
        ),
    ],
)
def test_a_prepared_transaction_as_root(pg: Stand, taken: str, wanted: str, wants: str) -> None:
    for gid, statement in (("it's 'mine'", taken), ("bystander", "SELECT * FROM things")):
        link = pg.session("queue")
        link.execute("BEGIN")
        link.execute(statement)
        quoted = gid.replace("'", "''")
        link.execute(f"PREPARE TRANSACTION '{quoted}'")
        link.close()
    one, two = pg.session(), pg.session()
    for link in (one, two):
        begin(link, wanted)
        pg.waiting(link)
    (root,) = rows(pg.ask("locks"), "locks")
    assert (root["pid"], root["kind"], root["gid"], root["state"]) == (
        0,
        "prepared",
        "it's 'mine'",
        "prepared",
    )
    assert root["who"] == "prepared transaction it's 'mine'"
    assert (root["usename"], root["datname"], root["waiting"], root["app_waiting"]) == (
        "postgres",
        "postgres",
        2,
        2,
    )
    assert wants in str(root["wants"])
    assert 0 < root["xact_s"] < 60


def test_statements_by_mean_time_in_any_schema(pg: Stand) -> None:
    pg.admin.execute('CREATE SCHEMA "Sta ts"')
    pg.admin.execute('CREATE EXTENSION pg_stat_statements SCHEMA "Sta ts"')
    try:
        pg.admin.execute('SELECT "Sta ts".pg_stat_statements_reset()')
        for _ in range(6):
            pg.admin.execute("SELECT pg_sleep(0.02), 1 AS slow")
            pg.admin.execute("SELECT count(*) FROM generate_series(1, 3)")
        pg.ask()
        answers = pg.ask("statements")
        first = rows(answers, "statements")[0]
        assert first["query"] == "SELECT pg_sleep($1), $2 AS slow"
        assert (first["calls"], first["rows_per_call"]) == (6, 1.0)
        assert first["mean_ms"] >= 20
        assert 0.5 < first["total_ratio"] <= 1
        assert not [row for row in rows(answers, "statements") if "oncall:" in str(row["query"])]
        units = {column.name: column.unit for column in table(answers, "statements").columns}
        assert units["mean_ms"] == "ms"
        assert units["total_ratio"] == "ratio"
    finally:
        pg.admin.execute("DROP EXTENSION pg_stat_statements")
        pg.admin.execute('DROP SCHEMA "Sta ts"')


def test_without_pg_stat_statements_the_command_is_given(pg: Stand) -> None:
    answers = pg.ask("sessions", "statements")
    absent = missing(answers, "statements")
    assert absent.kind == Absence.NOT_INSTALLED
    assert absent.hint == "CREATE EXTENSION pg_stat_statements;"
    assert answers.by_id["statements"].query == load_sql("statements")
    assert facts(answers).statements == absent
    assert rows(answers, "sessions")


def test_what_is_shown_is_what_can_be_pasted(pg: Stand) -> None:
    pg.admin.execute("CREATE EXTENSION pg_stat_statements")
    try:
        answers = pg.ask(app="it's \\ here")
        for name in BUILT_IN:
            text = answers.by_id[name].query
            assert text is not None
            heading = psql(pg, "-c", text).splitlines()[0]
            assert heading.split("|") == [column.name for column in table(answers, name).columns]
    finally:
        pg.admin.execute("DROP EXTENSION pg_stat_statements")


def psql(pg: Stand, *arguments: str) -> str:
    assert pg.server.binaries is not None
    command: list[str | Path] = [
        pg.server.binaries / "psql",
        pg.server.url,
        "-X",
        "-A",
        "-v",
        "ON_ERROR_STOP=1",
        *arguments,
    ]
    return str(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_a_search_path_cannot_fool_them(pg: Stand) -> None:
    pg.admin.execute("CREATE SCHEMA trap")
    pg.admin.execute("CREATE ROLE fooled SUPERUSER LOGIN PASSWORD 'fooled'")
    try:
        pg.admin.execute("CREATE VIEW trap.pg_stat_activity AS SELECT 1 AS pid")
        pg.admin.execute("CREATE VIEW trap.pg_locks AS SELECT 1 AS pid")
        pg.admin.execute("CREATE TYPE trap.text AS (x int)")
        pg.admin.execute("CREATE FUNCTION trap.count() RETURNS int LANGUAGE sql AS 'SELECT 1/0'")
        pg.admin.execute("CREATE FUNCTION trap.host(inet) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$")
        pg.admin.execute("ALTER ROLE fooled SET search_path = trap, pg_catalog")
        pg.session()
        answers = asked(pg.dsn(user="fooled", password="fooled"), questions(*BUILT_IN[:-1]))
        assert rows(answers, "sessions")[0]["total"] == 1
        assert rows(answers, "connections")[0]["client"] == "127.0.0.1"
        for name in BUILT_IN[:-1]:
            table(answers, name)
    finally:
        pg.clear()
        pg.admin.execute("DROP SCHEMA trap CASCADE")
        pg.admin.execute("DROP ROLE fooled")
