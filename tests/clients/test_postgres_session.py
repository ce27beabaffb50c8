"""How questions are put: read-only, in time, one failing alone."""

import asyncio

import pytest

from oncall.clients.postgres import Question, ask
from oncall.model import Absence
from oncall.model_service import PostgresAt
from tests.clients.pgstand import (
    Stand,
    asked,
    missing,
    questions,
    refusal,
    rows,
    table,
)
from tests.processes import frozen

SLOW = Question(id="slow", sql="SELECT pg_sleep(30)")


def q(id: str, sql: str) -> Question:
    return Question(id=id, sql=sql)


# --- one connection, few statements, nothing written ----------------------------------------------


def test_one_connection_and_at_most_fifteen_statements(pg: Stand) -> None:
    pg.admin.execute("ALTER SYSTEM SET log_statement = 'all'")
    pg.admin.execute("ALTER SYSTEM SET log_connections = 'on'")
    pg.admin.execute("SELECT pg_reload_conf()")
    try:
        pg.until("SELECT current_setting('log_statement') = 'all'")
        mark = pg.server.log.stat().st_size
        answers = pg.ask()
        log = pg.server.log.read_bytes()[mark:].decode(errors="replace")
        ours = [line for line in log.splitlines() if "oncall" in line]
        statements = [
            line for line in log.splitlines() if "LOG:  execute" in line or "LOG:  statement" in line
        ]
        assert len(statements) == answers.sql_sent <= 15
        assert sum("connection authorized" in line for line in ours) == 1
    finally:
        pg.admin.execute("ALTER SYSTEM RESET ALL")
        pg.admin.execute("SELECT pg_reload_conf()")


def test_what_it_is_known_as_and_what_holds_for_it(pg: Stand) -> None:
    names = (
        "application_name",
        "transaction_read_only",
        "lock_timeout",
        "statement_timeout",
        "jit",
    )
    select = ", ".join(f"pg_catalog.current_setting('{name}') AS {name}" for name in names)
    (seen,) = rows(asked(pg.server.url, [q("seen", f"SELECT {select}")], deadline_s=10), "seen")
    assert tuple(seen.values()) == ("oncall", "on", "50ms", "4s", "off")


def test_options_of_the_dsn_are_kept(pg: Stand) -> None:
    dsn = pg.dsn(options="-c work_mem=7MB")
    (seen,) = rows(asked(dsn, [q("seen", "SELECT pg_catalog.current_setting('work_mem') AS m")]), "seen")
    assert seen == {"m": "7MB"}


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("WITH x AS (INSERT INTO mine VALUES (1) RETURNING 1) SELECT * FROM x", "a step only reads"),
        ("SELECT writes()", "a step only reads"),
        ("SELECT * FROM mine FOR UPDATE", "a step only reads"),
        ("SELECT nextval('counter')", "calls nextval"),
        ("SELECT pg_catalog.lo_create(0)", "calls lo_create"),
        ("SELECT pg_terminate_backend(1)", "calls pg_terminate_backend"),
        ("SELECT 1; DROP TABLE mine", "more than one statement"),
        ("DROP TABLE mine", "starts with DROP"),
        ("SELECT sneaky()", "a step only reads"),
    ],
)
def test_nothing_is_written(pg: Stand, sql: str, words: str) -> None:
    pg.admin.execute("CREATE TABLE mine (id int)")
    pg.admin.execute("CREATE SEQUENCE counter")
    pg.admin.execute("CREATE FUNCTION writes() RETURNS void LANGUAGE sql AS $$INSERT INTO mine VALUES (1)$$")
    pg.admin.execute(
        "CREATE FUNCTION sneaky() RETURNS bigint LANGUAGE sql AS $$SELECT pg_catalog.nextval('counter')$$"
    )
    try:
        answers = asked(pg.server.url, [q("bad", sql), *questions("slots")])
        assert missing(answers, "bad").kind == Absence.BAD_QUERY
        assert words in missing(answers, "bad").reason
        assert rows(answers, "slots")
        assert pg.value("SELECT count(*) FROM mine") == 0
        assert pg.value("SELECT is_called FROM counter") is False
    finally:
        pg.clear()
        pg.admin.execute("DROP FUNCTION writes, sneaky")
        pg.admin.execute("DROP TABLE mine")
        pg.admin.execute("DROP SEQUENCE counter")


def test_one_that_fails_takes_no_other_down(pg: Stand) -> None:
    pg.admin.execute("CREATE ROLE poor LOGIN PASSWORD 'x'")
    pg.admin.execute("CREATE TABLE secret (id int)")
    try:
        asking = [
            q("syntax", "SELECT FROM WHERE"),
            *questions("sessions"),
            q("unknown", "SELECT nothing_like_it FROM pg_catalog.pg_class"),
            q("denied", "SELECT * FROM secret"),
            q("division", "SELECT 1/0"),
            q("variable", "SELECT :'nobody_gave_it'"),
            *questions("slots"),
        ]
        answers = asked(pg.dsn(user="poor", password="x"), asking)
        kinds = {name: missing(answers, name).kind for name in ("syntax", "unknown", "denied", "variable")}
        assert kinds == {
            "syntax": Absence.BAD_QUERY,
            "unknown": Absence.BAD_QUERY,
            "denied": Absence.DENIED,
            "variable": Absence.BAD_QUERY,
        }
        assert "division by zero" in missing(answers, "division").reason
        assert "nobody_gave_it" in missing(answers, "variable").reason
        assert list(answers.by_id) == [question.id for question in asking]
        assert rows(answers, "sessions")
        assert rows(answers, "slots")
    finally:
        pg.admin.execute("DROP TABLE secret")
        pg.admin.execute("DROP ROLE poor")


def test_variables_of_every_kind(pg: Stand) -> None:
    sql = """SELECT :'text' AS t, :number + 1 AS n, x::int AS "a:b", ':number' AS s
        FROM (SELECT '7') AS :"name" (x)"""
    variables: dict[str, str | float] = {"text": 'it\'s \\ "x"; --', "number": -2, "name": 'we"ird'}
    answers = asked(pg.server.url, [q("seen", sql)], variables)
    assert rows(answers, "seen") == [{"t": 'it\'s \\ "x"; --', "n": -1, "a:b": 7, "s": ":number"}]


def test_values_become_plain(pg: Stand) -> None:
    sql = """SELECT 1::bigint AS i, 1.50::numeric AS f, 12::numeric AS w, 'NaN'::float8 AS nan, true AS b,
        ARRAY['a', 'b "c"', NULL] AS a, ARRAY[1,2] AS n, NULL AS z, '{"x": 1}'::jsonb AS j,
        '2026-01-01 03:12:00.5+02'::timestamptz AS t, 'infinity'::timestamptz AS e, '1 day'::interval AS iv,
        'Infinity'::numeric AS inf, 1::numeric / 3 AS third_s"""
    (seen,) = rows(asked(pg.server.url, [q("seen", sql)]), "seen")
    assert seen.pop("third_s") == pytest.approx(1 / 3)
    assert seen == {
        "i": 1,
        "f": 1.5,
        "w": 12,
        "nan": None,
        "b": True,
        "a": 'a, b "c", NULL',
        "n": "1, 2",
        "z": None,
        "j": '{"x": 1}',
        "t": "2026-01-01T01:12:00.500000Z",
        "e": "infinity",
        "iv": "1 day",
        "inf": None,
    }


def test_what_the_server_remarks_goes_nowhere(pg: Stand, capfd: pytest.CaptureFixture[str]) -> None:
    body = "BEGIN RAISE WARNING 'careful'; RETURN 1; END"
    pg.admin.execute(f"CREATE FUNCTION loud() RETURNS int LANGUAGE plpgsql AS $${body}$$")
    try:
        assert rows(asked(pg.server.url, [q("loud", "SELECT loud()")]), "loud") == [{"loud": 1}]
        assert capfd.readouterr() == ("", "")
    finally:
        pg.admin.execute("DROP FUNCTION loud")


def test_many_rows_are_cut_and_that_is_said(pg: Stand) -> None:
    asking = [
        q("many", "SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) AS i"),
        *questions("slots"),
    ]
    answers = asked(pg.server.url, asking)
    found = table(answers, "many")
    assert (len(found.rows), found.notes) == (500, ("only the first 500 rows",))
    assert rows(answers, "slots")


# --- in time -------------------------------------------------------------------------------------


def gone(pg: Stand) -> None:
    """Waits until no session of ours is left, by the server's own word; nothing has been ended for it."""
    pg.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'oncall'", seconds=5)


def asleep(pg: Stand) -> int:
    """Waits until a session runs SLOW; its pid."""
    at = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'"
    pg.until(f"SELECT count(*) > 0 {at}")
    return int(pg.value(f"SELECT pid {at}"))


def test_a_slow_one_is_stopped_by_the_server(pg: Stand) -> None:
    answers = asked(pg.server.url, [SLOW, *questions("sessions")], deadline_s=1)
    assert missing(answers, "slow").kind == Absence.TIMEOUT
    assert "ran too long" in missing(answers, "slow").reason
    assert rows(answers, "sessions")
    gone(pg)


def test_at_the_deadline_what_is_there_is_kept_and_the_rest_canceled(pg: Stand) -> None:
    # Left to statement_timeout (0.4 s each) they would take longer than `gone` waits.
    slow = [q(f"slow{i}", SLOW.sql) for i in range(20)]
    answers = asked(pg.server.url, [*questions("sessions"), *slow], deadline_s=1)
    assert rows(answers, "sessions")
    assert missing(answers, "slow19").kind == Absence.TIMEOUT
    assert missing(answers, "slow19").reason.endswith("no answer in time")
    gone(pg)


def test_a_lock_is_not_waited_for(pg: Stand) -> None:
    pg.admin.execute("CREATE TABLE held (id int)")
    holder = pg.session()
    holder.execute("BEGIN")
    holder.execute("LOCK held")
    answers = asked(pg.server.url, [q("held", "SELECT * FROM held"), *questions("sessions")])
    assert missing(answers, "held").kind == Absence.TIMEOUT
    assert "wait" in missing(answers, "held").reason
    assert rows(answers, "sessions")
    holder.execute("ROLLBACK")
    pg.admin.execute("DROP TABLE held")


def test_a_frozen_server(pg: Stand) -> None:
    with frozen(pg.server.pid):
        why = refusal(asked(pg.server.url, deadline_s=1))
    assert why.kind == Absence.TIMEOUT
    assert "says nothing" in why.reason


def test_a_server_that_freezes_in_the_middle(pg: Stand) -> None:
    async def work() -> None:
        at = PostgresAt(dsn=pg.server.url)
        asking = [*questions("sessions"), SLOW, *questions("slots")]
        running = asyncio.create_task(ask(at, asking, {}, 1.5))
        pid = await asyncio.to_thread(asleep, pg)
        with frozen(pid), frozen(pg.server.pid):
            answers = await running
        assert rows(answers, "sessions")
        assert missing(answers, "slow").kind == missing(answers, "slots").kind == Absence.TIMEOUT

    asyncio.run(work())
    gone(pg)


def test_a_server_that_dies_in_the_middle(pg: Stand) -> None:
    async def work() -> None:
        at = PostgresAt(dsn=pg.server.url)
        running = asyncio.create_task(ask(at, [*questions("sessions"), SLOW, *questions("slots")], {}, 20))
        pid = await asyncio.to_thread(asleep, pg)
        pg.value("SELECT pg_terminate_backend(%s)", pid)
        answers = await running
        assert rows(answers, "sessions")
        assert missing(answers, "slow").kind == missing(answers, "slots").kind == Absence.DOWN

    asyncio.run(work())


def test_interrupted_nothing_is_left_running(pg: Stand) -> None:
    async def work() -> None:
        asking = [q("one", SLOW.sql), q("two", SLOW.sql)]
        running = asyncio.create_task(ask(PostgresAt(dsn=pg.server.url), asking, {}, 60))
        await asyncio.to_thread(asleep, pg)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(work())
    # Left to statement_timeout (5 s each) they would take longer than `gone` waits.
    gone(pg)
