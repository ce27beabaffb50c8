"""SQL and error texts as text; a real server judges the quoting."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncall.clients.pg_errors import ServerError as Said
from oncall.clients.pg_errors import Where, parse_refusal, refused, unanswered
from oncall.clients.pg_text import check_sql, fill, identifier, literal, load_sql
from oncall.clients.pg_values import CUT, codec, query_text
from oncall.model import Absence, Unavailable
from tests.clients.pgstand import BUILT_IN, Stand

WHERE = Where(server="db-1:5432", database="d", role="r")
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT | st.text("'\\\"$E;-", max_size=10), on=st.sampled_from(["on", "off"]))
def test_the_server_reads_back_what_was_quoted(pg: Stand, text: str, on: str) -> None:
    pg.admin.execute(f"SET standard_conforming_strings = {on}")
    pg.admin.execute("SET escape_string_warning = off")
    filled = fill("""SELECT :'t' AS "t", x."n" FROM (SELECT 1) AS x ("n") """, {"t": text})
    assert isinstance(filled, str)
    assert pg.value(filled) == text
    pg.admin.execute("RESET standard_conforming_strings")
    if 0 < len(text.encode()) < 60:
        described = pg.admin.execute(f"SELECT 1 AS {identifier(text)}").description
        assert described is not None
        assert described[0].name == text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ':n', ':''n', E'\\':n', \":n\", $$:n$$, $t$:n$t$, 1::int, x[1:2], /* :n /* :n */ :n */ 1 -- :n",
        "SELECT e':n\\\\', U&':n', B'1', $1 + 1, a$b$:c, ':n",
        "/* :n",
        "",
    ],
)
def test_what_is_quoted_stays(sql: str) -> None:
    assert fill(sql, {"n": 1, "c": 2}) == sql.replace("a$b$:c", "a$b$2")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(3, "3"), (-3, "(-3)"), (0.5, "0.5"), (1e-7, "1e-07"), (-1e300, "(-1e+300)"), (2**70, str(2**70))],
)
def test_numbers_are_finite_numbers(value: float, shown: str) -> None:
    assert fill("SELECT x -:n", {"n": value}) == f"SELECT x -{shown}"


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        (":v", "1"),
        (":v", "1; DROP TABLE x"),
        (":v", float("nan")),
        (":v", float("inf")),
        (":'v'", "a\0b"),
        (':"v"', ""),
        (':"v"', "pg_terminate_backend"),
        (":other", 1),
    ],
)
def test_what_does_not_fit_is_refused(sql: str, value: str | float) -> None:
    answer = fill(f"SELECT {sql}", {"v": value})
    assert isinstance(answer, Unavailable)
    assert answer.kind == Absence.BAD_QUERY
    assert sql in answer.reason


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_questions_only_read(name: str) -> None:
    assert check_sql(load_sql(name)) is None
    assert "include" not in load_sql(name).replace("included", "")


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        " ( SELECT 1 ) ; ; -- done",
        "/* a; b */ WITH x AS (SELECT ';') TABLE x",
        "VALUES (1), (2)",
        "SHOW work_mem",
        "SELECT $x$;$x$, 'it''s; fine'",
        "SELECT setval FROM pg_replication_slots, pg_file_settings, pg_backup_start",
    ],
)
def test_statements_that_read(sql: str) -> None:
    assert check_sql(sql) is None


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "-- SELECT 1",
        "; SELECT 1",
        "SELECT 1; SELECT 2",
        "SELECT 1;;SELECT 2",
        "EXPLAIN ANALYZE DELETE FROM x",
        "COPY x TO PROGRAM 'sh'",
        "SET ROLE postgres",
        "DO $$ BEGIN END $$",
        "select PG_CANCEL_BACKEND ( 1 )",
        'SELECT pg_catalog . "pg_terminate_backend" /* */ (1)',
        'SELECT U&"pg\\005fterminate_backend"(1)',
        "SELECT set_config('default_transaction_read_only', 'off', false)",
        "SELECT pg_advisory_lock(1)",
        "SELECT query_to_xml('DELETE FROM x', true, true, '')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_stat_statements_reset()",
    ],
)
def test_statements_that_do_more(sql: str) -> None:
    assert check_sql(sql)


@given(st.text(max_size=60) | st.text("'\"$:;/*-Ee\\ ab\n", max_size=40))
def test_any_text_is_read_to_its_end(text: str) -> None:
    answer = fill(text, {})
    assert answer == text or isinstance(answer, Unavailable)
    assert check_sql(text) is None or isinstance(check_sql(text), str)


# --- errors --------------------------------------------------------------------------------------

AT = 'connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "state", "routine", "message"),
    [
        (
            AT + "FATAL:  53300: sorry, too many clients already\nLOCATION:  InitProcess, proc.c:357\n",
            "53300",
            "InitProcess",
            "sorry, too many clients already",
        ),
        (
            AT + "ВАЖНО:  53300: превышен лимит подключений\nПОЛОЖЕНИЕ:  InitPostgres, postinit.c:886",
            "53300",
            "InitPostgres",
            "превышен лимит подключений",
        ),
        (
            AT
            + 'FATAL:  53300: ロール"r"からの接続が多すぎます\n場所:  InitializeSessionUserId, miscinit.c:842',
            "53300",
            "InitializeSessionUserId",
            'ロール"r"からの接続が多すぎます',
        ),
        (
            AT + "FATAL:  28000: no encryption: x\nLOCATION:  A, a.c:1\n"
            f"{AT}FATAL:  3D000: no\n  such thing\nDETAIL:  more: of it\nLOCATION:  CheckMyDatabase, /b/p.c:2\n",
            "3D000",
            "CheckMyDatabase",
            "no such thing DETAIL: more: of it",
        ),
        (AT + "FATAL:  08P01: no such user", "08P01", None, "no such user"),
        ("FATAL:  53300 is not a state here", None, None, "FATAL: 53300 is not a state here"),
        ("", None, None, "libpq gave no reason"),
    ],
)
def test_state_and_routine_in_any_language(
    text: str, state: str | None, routine: str | None, message: str
) -> None:
    assert parse_refusal(text) == Said(message=message, sqlstate=state, routine=routine)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said(message="x", sqlstate="53300", routine="InitProcess"), Absence.NO_SLOTS),
        (Said(message="x", sqlstate="53300", routine="ProcessStartupPacket"), Absence.NO_SLOTS),
        (Said(message="x", sqlstate="53300", routine="InitPostgres"), Absence.NO_SLOTS),
        (Said(message="x", sqlstate="53300", routine="InitializeSessionUserId"), Absence.ROLE_LIMIT),
        (Said(message="x", sqlstate="53300", routine="CheckMyDatabase"), Absence.ROLE_LIMIT),
        (Said(message="x", sqlstate="57P03", routine="BackendInitialize"), Absence.STARTING),
        (Said(message="x", sqlstate="57P01", routine="ProcessInterrupts"), Absence.DOWN),
        (Said(message="x", sqlstate="XX000", routine="Boom"), Absence.BAD_ANSWER),
        (Said(message="pgbouncer cannot connect to server", sqlstate="08P01"), Absence.DOWN),
        (Said(message="query_wait_timeout", sqlstate="08P01"), Absence.TIMEOUT),
        (Said(message="password authentication failed", sqlstate="08P01"), Absence.AUTH),
        (Said(message='no such database: "d"', sqlstate="08P01"), Absence.CONFIG),
        (Said(message="something new", sqlstate="08P01"), Absence.BAD_ANSWER),
        (Said(message='definition of service "x" not found'), Absence.CONFIG),
        (Said(message='invalid sslmode value: "x"'), Absence.CONFIG),
        (Said(message="something new"), Absence.BAD_ANSWER),
    ],
)
def test_each_refusal_has_its_kind(said: Said, kind: Absence) -> None:
    why = refused(said, WHERE)
    assert why.kind == kind
    assert why.reason.startswith("db-1:5432: ")


@pytest.mark.parametrize(
    ("state", "in_recovery", "kind"),
    [
        ("57014", False, Absence.TIMEOUT),
        ("55P03", False, Absence.TIMEOUT),
        ("42501", False, Absence.DENIED),
        ("42P01", False, Absence.BAD_QUERY),
        ("22P02", False, Absence.BAD_QUERY),
        ("25006", True, Absence.BAD_QUERY),
        ("55000", True, Absence.NOT_APPLICABLE),
        ("55000", False, Absence.NOT_INSTALLED),
        ("57P01", False, Absence.DOWN),
        (None, False, Absence.DOWN),
        ("XX000", False, Absence.BAD_ANSWER),
    ],
)
def test_each_missing_answer_has_its_kind(state: str | None, in_recovery: bool, kind: Absence) -> None:
    assert unanswered(Said(message="x", sqlstate=state), WHERE, in_recovery=in_recovery).kind == kind


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("UTF8", "utf-8"),
        ("SQL_ASCII", "utf-8"),
        ("", "utf-8"),
        ("LATIN1", "iso8859-1"),
        ("LATIN9", "iso8859-15"),
        ("WIN1251", "cp1251"),
        ("KOI8R", "koi8-r"),
        ("EUC_JP", "euc_jp"),
        ("ISO_8859_5", "iso8859-5"),
        ("MULE_INTERNAL", "utf-8"),
    ],
)
def test_encodings_by_pythons_name(name: str, python: str) -> None:
    assert codec(name) == python


def test_a_statement_on_one_line_says_when_it_is_cut() -> None:
    assert query_text("SELECT\n\t 1", 1024) == "SELECT 1"
    assert query_text("x" * 600, 4096) == "x" * 500 + CUT
    # The server keeps size - 1 bytes, fewer where a character would be cut.
    assert query_text("ä" * 511, 1024) == ("ä" * 511)[:500] + CUT
    assert query_text("a" * 95, 100) == "a" * 95
    assert query_text("a" * 99, 100) == "a" * 99 + CUT


def test_literal_of_plain_text_is_plain() -> None:
    assert literal("it's") == "'it''s'"
