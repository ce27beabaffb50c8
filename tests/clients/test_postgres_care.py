"""The questions of the weekly and monthly check, on real servers: what grows, what is unused, what runs out."""

from collections.abc import Iterator

import psycopg
import pytest

from oncall.clients.postgres import load_sql
from oncall.model import Absence
from tests.clients.pgstand import Row, Stand, asked, missing, questions, rows, standby

CARE = (
    "database_size",
    "largest_tables",
    "unused_indexes",
    "missing_indexes",
    "statistics_age",
    "sequences",
    "wraparound",
    "dead_rows",
    "statements_total",
)
ANSWERED = tuple(name for name in CARE if name != "statements_total")


@pytest.fixture(scope="module")
def filled(server: Stand) -> Iterator[Stand]:
    """Tables of known sizes, used and unused indexes, sequences that end soon; all gone afterwards."""
    admin = server.admin
    admin.execute("CREATE SCHEMA care")
    admin.execute("CREATE TABLE care.big (id int PRIMARY KEY, n int, t text, u int UNIQUE)")
    admin.execute(
        "INSERT INTO care.big SELECT i, i % 100, repeat('x', 100), i FROM generate_series(1, 40000) AS i"
    )
    admin.execute("CREATE TABLE care.small (id int)")
    admin.execute("CREATE INDEX big_n ON care.big (n)")
    admin.execute("CREATE INDEX big_t ON care.big (t)")
    admin.execute("CREATE TABLE care.parts (id int) PARTITION BY RANGE (id)")
    admin.execute("CREATE TABLE care.parts_1 PARTITION OF care.parts FOR VALUES FROM (0) TO (1000)")
    admin.execute("CREATE INDEX parts_id ON care.parts (id)")
    admin.execute("CREATE TABLE care.narrow (id serial, s smallserial, big bigserial)")
    admin.execute("ALTER SEQUENCE care.narrow_id_seq AS bigint")
    admin.execute("SELECT setval('care.narrow_id_seq', 2000000000), setval('care.narrow_s_seq', 30000)")
    admin.execute("CREATE SEQUENCE care.down INCREMENT -1 MINVALUE -100 START -1")
    admin.execute("SELECT setval('care.down', -50)")
    admin.execute("CREATE SEQUENCE care.round MAXVALUE 10 CYCLE")
    admin.execute("SELECT setval('care.round', 10)")
    admin.execute("VACUUM ANALYZE")
    admin.execute("SET enable_seqscan = off")
    admin.execute("SELECT count(*) FROM care.big WHERE n = 7")
    admin.execute("RESET enable_seqscan")
    yield server
    server.clear()
    admin.execute("DROP SCHEMA care CASCADE")


def by(found: list[Row], column: str) -> dict[str, Row]:
    return {str(row[column]): row for row in found}


def told(stand: Stand, name: str) -> list[Row]:
    return rows(stand.ask(name), name)


def flushed(stand: Stand) -> None:
    """What this session has counted is seen by others."""
    stand.admin.execute("SELECT pg_stat_force_next_flush()")


def test_each_is_one_statement_that_reads_and_waits_for_no_lock(filled: Stand) -> None:
    """While somebody holds the strongest lock on a table, everything is answered all the same."""
    holder = filled.session()
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE care.big IN ACCESS EXCLUSIVE MODE")
    holder.execute("ALTER SEQUENCE care.narrow_s_seq MINVALUE -7")
    answers = filled.ask(*CARE)
    largest = by(rows(answers, "largest_tables"), "table")
    assert largest["care.big"]["note"] == "locked now: its size at the last vacuum or analyze"
    assert largest["care.big"]["size_bytes"] > 4e6
    assert "big_t" in str(by(rows(answers, "unused_indexes"), "index"))
    sequences = by(rows(answers, "sequences"), "sequence")
    assert sequences["care.narrow_s_seq"]["last_value"] is None
    for name in ANSWERED:
        rows(answers, name)
    holder.execute("ROLLBACK")


def test_no_stronger_lock_than_that_of_a_reader_is_taken(filled: Stand) -> None:
    """Held until the end of a transaction, the locks of every question can be counted. A sequence is read under the
    lock that nextval takes."""
    link = filled.session()
    link.execute("BEGIN")
    for name in ANSWERED:
        link.execute(load_sql(name).encode())
    found = link.execute(
        "SELECT DISTINCT l.mode, c.relkind FROM pg_locks AS l LEFT JOIN pg_class AS c ON c.oid = l.relation"
        " WHERE l.pid = pg_backend_pid() AND l.locktype <> 'virtualxid'"
    ).fetchall()
    link.execute("ROLLBACK")
    assert {mode for mode, kind in found if kind not in ("S", b"S")} == {"AccessShareLock"}
    assert {mode for mode, kind in found if kind in ("S", b"S")} == {"RowExclusiveLock"}


def test_sizes(filled: Stand) -> None:
    answers = filled.ask("database_size", "largest_tables")
    (size,) = rows(answers, "database_size")
    assert size["size_bytes"] == filled.value("SELECT pg_database_size(current_database())")
    assert size["server_bytes"] > size["size_bytes"]
    assert size["untold"] == 0
    first = rows(answers, "largest_tables")[0]
    assert first["table"] == "care.big"
    assert first["size_bytes"] == filled.value("SELECT pg_total_relation_size('care.big')")
    assert first["index_bytes"] == filled.value("SELECT pg_indexes_size('care.big')")
    assert first["rows"] == 40000


def test_unused_indexes_are_those_that_nothing_needs(filled: Stand) -> None:
    flushed(filled)
    filled.until("SELECT idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname = 'big_n'")
    found = by(told(filled, "unused_indexes"), "index")
    mine = {name for name in found if name.startswith("care.")}
    # Neither the keys, nor the used one, nor that of a partition.
    assert mine == {"care.big_t"}
    row = found["care.big_t"]
    assert row["size_bytes"] == filled.value("SELECT pg_relation_size('care.big_t')")
    assert (row["table"], row["reason"], row["note"]) == ("big", "never used", None)
    assert 0 < row["since_s"] < 86400


def test_an_index_whose_build_failed_is_told(filled: Stand) -> None:
    filled.admin.execute("CREATE TABLE care.twice (n int)")
    filled.admin.execute("INSERT INTO care.twice VALUES (0), (1)")
    with pytest.raises(Exception, match="division"):
        filled.admin.execute("CREATE INDEX CONCURRENTLY broken ON care.twice ((1 / n))")
    found = by(told(filled, "unused_indexes"), "index")
    assert found["care.broken"]["reason"] == "not valid: its build failed"
    filled.admin.execute("DROP TABLE care.twice")


def test_a_large_table_that_is_read_as_a_whole(filled: Stand) -> None:
    assert "care.big" not in by(told(filled, "missing_indexes"), "table")
    filled.admin.execute(
        "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off"
    )
    for _ in range(60):
        filled.admin.execute("SELECT count(*) FROM care.big WHERE n = 7")
    filled.admin.execute("RESET ALL")
    flushed(filled)
    filled.until("SELECT seq_scan >= 60 FROM pg_stat_user_tables WHERE relname = 'big'")
    row = by(told(filled, "missing_indexes"), "table")["care.big"]
    assert row["rows_per_scan"] == pytest.approx(40000, rel=0.05)
    assert row["scans_per_day"] > 60
    assert row["by_index_ratio"] < 0.1
    assert row["reason"] == "read as a whole more often than by an index"


def test_the_size_of_a_table_that_was_never_vacuumed_is_not_nothing(filled: Stand) -> None:
    filled.admin.execute("CREATE TABLE care.raw (n int) WITH (autovacuum_enabled = false)")
    filled.admin.execute("INSERT INTO care.raw SELECT generate_series(1, 20000)")
    for _ in range(60):
        filled.admin.execute("SELECT count(*) FROM care.raw")
    flushed(filled)
    filled.until("SELECT seq_scan >= 60 FROM pg_stat_user_tables WHERE relname = 'raw'")
    row = by(told(filled, "missing_indexes"), "table")["care.raw"]
    assert (row["size_bytes"], row["rows"]) == (None, 20000)
    filled.admin.execute("DROP TABLE care.raw")


def test_sequences_by_what_their_column_can_hold(filled: Stand) -> None:
    found = by(told(filled, "sequences"), "sequence")
    narrow = found["care.narrow_id_seq"]
    assert narrow["column"] == "care.narrow.id"
    assert (narrow["last_value"], narrow["most"]) == (2000000000, 2147483647)
    assert narrow["used_ratio"] == pytest.approx(2000000000 / 2147483647)
    assert narrow["note"] == "its column is narrower than it is"
    assert found["care.narrow_s_seq"]["used_ratio"] == pytest.approx(30000 / 32767)
    assert found["care.narrow_s_seq"]["note"] is None
    assert found["care.down"]["used_ratio"] == pytest.approx(0.5)
    assert found["care.narrow_big_seq"]["used_ratio"] == 0
    assert "care.round" not in found
    assert next(iter(found)) == "care.narrow_id_seq"
    assert {(row["unreadable"], row["left_out"]) for row in found.values()} == {(0, 0)}


def test_what_a_role_without_rights_cannot_see_is_counted(filled: Stand) -> None:
    filled.admin.execute("CREATE ROLE care_nobody LOGIN PASSWORD 'x'")
    try:
        dsn = filled.dsn(user="care_nobody", password="x")
        answers = asked(dsn, questions(*ANSWERED))
        (row,) = rows(answers, "sequences")
        assert (row["sequence"], row["used_ratio"], row["left_out"]) == (None, 0, 0)
        assert row["unreadable"] >= 4
        for name in ANSWERED:
            rows(answers, name)
    finally:
        filled.clear()
        filled.admin.execute("DROP ROLE care_nobody")


def test_ages_of_transactions(filled: Stand) -> None:
    found = by(told(filled, "wraparound"), "database")
    assert {"postgres", "template0", "template1"} <= set(found)
    own = found[filled.value("SELECT current_database()")]
    age = filled.value("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    assert 0 < own["xid_age"] <= age
    assert own["behind"] == pytest.approx(own["xid_age"] / 2e8, abs=0.001)
    assert own["used_ratio"] == pytest.approx(own["xid_age"] / 2**31, abs=0.001)
    assert own["worst_ratio"] >= own["used_ratio"]
    assert own["oldest_table"]
    assert own["held_by"] is None


def test_dead_rows_that_nobody_cleans(filled: Stand) -> None:
    filled.admin.execute("CREATE TABLE care.churn (n int) WITH (autovacuum_enabled = off)")
    filled.admin.execute("INSERT INTO care.churn SELECT generate_series(1, 30000)")
    filled.admin.execute("DELETE FROM care.churn WHERE n > 1000")
    flushed(filled)
    filled.until("SELECT n_dead_tup >= 29000 FROM pg_stat_user_tables WHERE relname = 'churn'")
    row = by(told(filled, "dead_rows"), "table")["care.churn"]
    assert (row["dead"], row["live"]) == (29000, 1000)
    assert row["dead_ratio"] == pytest.approx(29 / 30)
    assert row["times_due"] > 2
    assert row["vacuumed_s"] is None
    assert row["reason"] == "autovacuum is switched off for it"
    filled.admin.execute("DROP TABLE care.churn")


def test_without_statistics_of_statements_it_says_how_to_get_them(filled: Stand) -> None:
    why = missing(filled.ask("statements_total"), "statements_total")
    assert why.kind is Absence.NOT_INSTALLED
    assert "CREATE EXTENSION pg_stat_statements" in (why.hint or "")


def test_the_statements_that_take_most_of_the_time(filled: Stand) -> None:
    """By the sum of their time: many short ones are before a few long ones. In whatever schema the extension is."""
    admin = filled.admin
    admin.execute('CREATE SCHEMA "Sta ts"')
    admin.execute('CREATE EXTENSION pg_stat_statements SCHEMA "Sta ts"')
    try:
        admin.execute('SELECT "Sta ts".pg_stat_statements_reset()')
        admin.execute("SELECT pg_sleep(0.1), 1 AS once")
        for _ in range(20):
            admin.execute("SELECT pg_sleep(0.02), n FROM generate_series(1, 2) AS n LIMIT 1")
        # Another database's are not this one's.
        with psycopg.connect(filled.dsn(dbname="template1"), autocommit=True) as other:
            other.execute("SELECT pg_sleep(0.6), 1 AS elsewhere")
        told(filled, "statements_total")
        found = told(filled, "statements_total")
    finally:
        admin.execute("DROP EXTENSION pg_stat_statements")
        admin.execute('DROP SCHEMA "Sta ts"')
    first, second = found[:2]
    assert first["query"] == "SELECT pg_sleep($1), n FROM generate_series($2, $3) AS n LIMIT $4"
    assert (first["calls"], first["rows_per_call"]) == (20, 1.0)
    assert first["total_s"] >= 0.4
    assert first["mean_ms"] == pytest.approx(first["total_s"] * 1000 / 20)
    assert second["query"] == "SELECT pg_sleep($1), $2 AS once"
    assert (second["calls"], second["mean_ms"] >= 100) == (1, True)
    assert 0.5 < first["total_ratio"] < 1
    assert second["total_ratio"] / first["total_ratio"] == pytest.approx(second["total_s"] / first["total_s"])
    queries = [str(row["query"]) for row in found]
    assert not [query for query in queries if "elsewhere" in query or "oncall:" in query]


def test_a_replica_says_that_it_is_one(server: Stand) -> None:
    with standby(server.server) as dsn:
        answers = asked(dsn, questions(*ANSWERED))
        (age,) = rows(answers, "statistics_age")
        assert age["in_recovery"] is True
        for name in ANSWERED:
            rows(answers, name)
        (seen,) = rows(server.ask("statistics_age"), "statistics_age")
        assert (seen["in_recovery"], seen["standbys"]) == (False, 1)
