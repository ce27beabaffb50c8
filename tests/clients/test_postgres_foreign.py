"""Between us and the database: a pooler, other encodings, hostile text, rights of an extension."""

import psycopg
import pytest

from oncall.clients.postgres import Question, load_sql
from oncall.model import Absence
from tests.clients.pgstand import (
    APP,
    BUILT_IN,
    Stand,
    asked,
    begin,
    facts,
    missing,
    pgbouncer,
    questions,
    refusal,
    rows,
    table,
)

SLOW = Question(id="slow", sql="SELECT pg_sleep(30)")


def q(id: str, sql: str) -> Question:
    return Question(id=id, sql=sql)


# --- row 17: PgBouncer ---------------------------------------------------------------------------


@pytest.fixture(params=["rejects", "ignores"])
def pooled(pg: Stand, request: pytest.FixtureRequest) -> object:
    """The port of a PgBouncer that rejects startup options, or is told to drop them."""
    settings = {"ignore_startup_parameters": "options"} if request.param == "ignores" else {}
    with pgbouncer(pg.server, **settings) as port:
        yield port
        pg.clear()


def test_through_pgbouncer_everything_is_answered(pg: Stand, pooled: int) -> None:
    pg.admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    pg.session()
    answers = asked(pg.dsn(port=pooled))
    pg.admin.execute("DROP EXTENSION pg_stat_statements")
    assert facts(answers).pooler
    assert any("pooler" in note and "pids are shared" in note for note in answers.notes)
    assert rows(answers, "sessions")[0]["total"] == 1
    for name in BUILT_IN:
        table(answers, name)
    assert answers.sql_sent <= 17


def test_nothing_of_it_leaks_to_the_next_client(pg: Stand, pooled: int) -> None:
    names = "statement_timeout", "lock_timeout", "default_transaction_read_only", "jit", "datestyle"
    select = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    untouched = pg.admin.execute(select).fetchone()
    bad = [SLOW, q("bad", "SELECT FROM WHERE"), q("zero", "SELECT 1/0")]
    asking = [*questions("sessions"), *bad, q("again", load_sql("slots"))]
    answers = asked(pg.dsn(port=pooled), asking, deadline_s=1.5)
    assert missing(answers, "slow").kind == Absence.TIMEOUT
    assert missing(answers, "bad").kind == Absence.BAD_QUERY
    assert "division by zero" in missing(answers, "zero").reason
    assert rows(answers, "sessions")
    assert rows(answers, "again")
    # Every server connection of the pool, one after the other.
    with psycopg.connect(pg.dsn(port=pooled)) as one, psycopg.connect(pg.dsn(port=pooled)) as two:
        for link in (one, two):
            assert link.execute(select).fetchone() == untouched
            assert link.execute("SHOW transaction_read_only").fetchone() == ("off",)
    pg.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE state LIKE 'idle in%' AND pid <> pg_backend_pid()"
    )


def test_nothing_is_written_through_pgbouncer(pg: Stand, pooled: int) -> None:
    pg.admin.execute("CREATE TABLE mine (id int)")
    sql = "WITH x AS (INSERT INTO mine VALUES (1) RETURNING 1) SELECT * FROM x"
    answers = asked(pg.dsn(port=pooled), [q("bad", sql), *questions("slots")])
    assert "a step only reads" in missing(answers, "bad").reason
    assert rows(answers, "slots")
    assert pg.value("SELECT count(*) FROM mine") == 0
    pg.clear()
    pg.admin.execute("DROP TABLE mine")


def test_at_the_deadline_through_pgbouncer(pg: Stand, pooled: int) -> None:
    slow = [q(f"slow{i}", "SELECT pg_sleep(30)") for i in range(4)]
    answers = asked(pg.dsn(port=pooled), [*questions("sessions"), *slow], deadline_s=1)
    assert rows(answers, "sessions")
    assert missing(answers, "slow3").kind == Absence.TIMEOUT
    pg.until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'"
    )


def test_the_admin_console_is_no_database(pg: Stand, pooled: int) -> None:
    why = refusal(asked(pg.dsn(port=pooled, dbname="pgbouncer")))
    assert why.kind == Absence.CONFIG
    assert "admin console of PgBouncer" in why.reason


def test_a_pooler_that_takes_no_more_clients(pg: Stand) -> None:
    with pgbouncer(pg.server, max_client_conn=1) as port, psycopg.connect(pg.dsn(port=port)):
        why = refusal(asked(pg.dsn(port=port)))
        assert why.kind == Absence.NO_SLOTS
        assert "the pooler" in why.reason


def test_a_pooler_before_a_dead_server(pg: Stand) -> None:
    with pgbouncer(pg.server, server_connect_timeout=1, query_wait_timeout=2) as port:
        why = refusal(asked(pg.dsn(port=port, dbname="nowhere"), deadline_s=10))
        assert why.kind in (Absence.CONFIG, Absence.DOWN)


# --- row 18: foreign text ------------------------------------------------------------------------

HOSTILE = "SELECT pg_sleep(60) /* \x1b[31m \x1b]0;title\x07 \u202e [/red] \r */"


def test_hostile_text_is_kept_as_data_and_cut_marked(pg: Stand) -> None:
    begin(pg.session(), HOSTILE)
    begin(pg.session(), "SELECT pg_sleep(60), '" + "ä" * 3000 + "'")
    begin(pg.session(), "SELECT pg_sleep(60), '" + "a" * 700 + "'")
    pg.until(
        "SELECT count(*) = 3 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    )
    hostile, long, middling = (row["query"] for row in reversed(rows(pg.ask("longest"), "longest")))
    by_length = sorted((hostile, long, middling), key=len)
    assert by_length[0] == " ".join(HOSTILE.split())
    assert all(text.endswith(" …(cut)") and len(text) == 507 for text in by_length[1:])


def test_what_the_server_cut_is_marked(pg: Stand) -> None:
    # Short for us, but the server has kept only so many bytes of it: blanks are not counted here.
    begin(pg.session(), "SELECT pg_sleep(60)" + " " * 2000 + ", 1")
    pg.until(
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    )
    (seen,) = rows(pg.ask("longest"), "longest")
    assert seen["query"] == "SELECT pg_sleep(60) …(cut)"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP", "UTF8"])
def test_databases_in_other_encodings(pg: Stand, encoding: str) -> None:
    for name in ("here", "latin", "ascii"):
        pg.admin.execute(f"DROP DATABASE IF EXISTS {name}")
    pg.admin.execute(f"CREATE DATABASE here ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    pg.admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    pg.admin.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    latin = pg.session("latin", dbname="latin", client_encoding="LATIN1")
    ascii = pg.session("ascii", dbname="ascii", client_encoding="SQL_ASCII")
    utf8 = pg.session("utf8", client_encoding="UTF8")
    for link, raw in (
        (latin, "'é'".encode("latin-1")),
        (ascii, b"'\xe9\xff\xfe'"),
        (utf8, "'é ü 日本'".encode()),
    ):
        link.pgconn.send_query(b"SELECT pg_sleep(60), " + raw)
        while link.pgconn.flush():
            pass
        pg.running(link)
    try:
        answers = asked(pg.dsn(dbname="here"), questions(*BUILT_IN[:-1]), app="")
        seen = {row["application_name"]: row["query"] for row in rows(answers, "longest")}
        assert seen["utf8"] == "SELECT pg_sleep(60), 'é ü 日本'"
        assert seen["latin"].startswith("SELECT pg_sleep(60), '")
        if encoding == "LATIN1":
            assert seen["latin"] == "SELECT pg_sleep(60), 'é'"
        assert seen["ascii"].startswith("SELECT pg_sleep(60), '")
        for name in BUILT_IN[:-1]:
            table(answers, name)
    finally:
        pg.clear()
        for name in ("here", "latin", "ascii"):
            pg.admin.execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_apps_own_database_in_another_encoding(pg: Stand, encoding: str) -> None:
    pg.admin.execute(f"CREATE DATABASE here ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        link = pg.session(APP, dbname="here", client_encoding=encoding)
        link.pgconn.send_query("SELECT pg_sleep(60) AS é".encode("latin-1"))
        pg.running(link)
        asking = [*questions("working"), q("own", "SELECT 'é' AS e"), q("other", "SELECT '日' AS e")]
        answers = asked(pg.dsn(dbname="here"), asking)
        assert rows(answers, "working")[0]["query"].startswith("SELECT pg_sleep(?) AS ")
        assert rows(answers, "own") == [{"e": "é"}]
        if encoding == "LATIN1":
            assert missing(answers, "other").kind == Absence.BAD_QUERY
    finally:
        pg.clear()
        pg.admin.execute("DROP DATABASE here")


# --- rights of pg_stat_statements ----------------------------------------------------------------


def test_pg_stat_statements_that_may_not_be_read(pg: Stand) -> None:
    pg.admin.execute('CREATE SCHEMA "Sta ts"')
    pg.admin.execute('CREATE EXTENSION pg_stat_statements SCHEMA "Sta ts"')
    pg.admin.execute("CREATE ROLE poor LOGIN PASSWORD 'x'")
    try:
        absent = missing(asked(pg.dsn(user="poor", password="x"), questions("statements")), "statements")
        assert absent.kind == Absence.DENIED
        assert absent.hint is not None
        pg.admin.execute(absent.hint)
        answers = asked(pg.dsn(user="poor", password="x"), questions("statements"))
        rows(answers, "statements")
    finally:
        pg.admin.execute("DROP EXTENSION pg_stat_statements")
        pg.admin.execute('DROP SCHEMA "Sta ts"')
        pg.admin.execute("DROP ROLE poor")
