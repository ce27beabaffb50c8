"""Rows 1-10 and 16-19 of the matrix of faults, as the engineer sees them: message, exit code, what stays."""

import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from oncall.errors import Exit
from oncall.lab.process import free_port
from tests.cli.page import served
from tests.cli.program import Program, Said, cause, rows, signal, step
from tests.clients.pgstand import APP, Stand, begin, pgbouncer, stand, standby
from tests.conftest import Varied

CANARY = "p@ss/w#rd%zz"
ONE = pytest.mark.parametrize("postgres", [18], indirect=True)
"""Where the version is the client's matter, and tested there."""
SECRET = "secret-canary"


def diagnosed(program: Program, *words: str) -> Said:
    said = program.run("diagnose", "pool", *words)
    assert "canary" not in said.all
    return said


def the_rest_is_there(said: Said) -> None:
    """What the other backends of the lab say, whatever became of Postgres."""
    report = said.json
    assert signal(report, "pool_active")["source"] == "prometheus"
    assert isinstance(signal(report, "pool_active")["value"], int | float)
    assert isinstance(signal(report, "request_rate")["value"], int | float)
    assert step(report, "health")["status"] == "ok"
    assert len(report["causes"]) == 6


# --- rows 1 to 5: slots and rights -------------------------------------------------------------------


@pytest.fixture(scope="module", params=["15", "18", "german"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Eight slots, three of them for superusers; in 18 one more for those who may use reserved ones."""
    settings = {"max_connections": 8, "superuser_reserved_connections": 3}
    if request.param == "18":
        settings["reserved_connections"] = 1
    version = 18 if request.param == "18" else 15
    language = "de" if request.param == "german" else None
    with stand(tmp_path_factory.mktemp("small"), version, language, **settings) as made:
        made.admin.execute("CREATE ROLE oncall LOGIN PASSWORD 'secret-canary'")
        made.admin.execute("GRANT pg_monitor TO oncall")
        yield made


@pytest.fixture
def full(small: Stand) -> Iterator[Stand]:
    """Every slot is taken that an ordinary role can have."""
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            small.session("app", user="oncall", password=SECRET)
    yield small
    small.clear()


def as_oncall(pg: Stand, **options: str | int) -> str:
    return pg.dsn(user="oncall", password=SECRET, **options)


def test_row_1_and_3_all_slots_but_the_reserved(full: Stand, varied: Varied) -> None:
    program = varied(postgres__dsn=as_oncall(full))
    said = diagnosed(program)
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("NO CONNECTION SLOTS LEFT   bot")
    assert "no connection slots left but the reserved ones" in said.out
    assert "superusers" in said.out
    assert "reserve_dsn" in said.out
    as_json = diagnosed(program, "--output", "json")
    assert as_json.code == Exit.CRITICAL
    the_rest_is_there(as_json)
    assert signal(as_json.json, "database")["value"] == 0
    assert cause(as_json.json, "pool.server_slots_exhausted")["confidence"] == "confirmed"
    assert step(as_json.json, "locks")["status"] == "failed"
    assert "no connection slots left" in step(as_json.json, "locks")["reason"]


def test_row_1_the_reserve_dsn_is_used_where_it_is_set(full: Stand, varied: Varied) -> None:
    program = varied(postgres__dsn=as_oncall(full), postgres__reserve_dsn=full.server.url)
    said = diagnosed(program, "--output", "json")
    assert said.code == Exit.CRITICAL
    the_rest_is_there(said)
    report = said.json
    assert report["summary"]["headline"] == "NO CONNECTION SLOTS LEFT"
    assert any("reserve_dsn" in note for note in report["notes"])
    (slots,) = rows(report, "slots")
    assert slots["used"] >= slots["available"]
    assert cause(report, "pool.server_slots_exhausted")["confidence"] == "confirmed"


def test_row_2_every_slot_taken(full: Stand, varied: Varied) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            full.session("app")
    program = varied(postgres__dsn=as_oncall(full), postgres__reserve_dsn=full.server.url)
    said = diagnosed(program)
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("NO CONNECTION SLOTS LEFT")
    assert "every slot is taken, the reserved ones too" in " ".join(said.out.split())
    assert "stop or restart" in " ".join(said.out.split())


@ONE
def test_row_4_the_limit_of_the_role_is_not_a_full_server(postgres: Stand, varied: Varied) -> None:
    postgres.admin.execute("CREATE ROLE limited LOGIN PASSWORD 'secret-canary' CONNECTION LIMIT 0")
    program = varied(postgres__dsn=postgres.dsn(user="limited", password=SECRET))
    said = diagnosed(program)
    assert said.code == Exit.UNKNOWN
    assert "NO CONNECTION SLOTS" not in said.out
    assert "role limited is at its own limit; the server is not full" in said.out
    assert 'ALTER ROLE "limited" CONNECTION LIMIT' in said.out
    the_rest_is_there(diagnosed(program, "--output", "json"))


@ONE
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"password": "wrong-canary"}, "role oncall was not let in"),
        ({"user": "nobody"}, "role nobody was not let in"),
        ({"dbname": "nowhere"}, "there is no database nowhere"),
    ],
)
def test_row_5_not_let_in_is_not_down(
    postgres: Stand, varied: Varied, options: dict[str, str], words: str
) -> None:
    program = varied(postgres__dsn=make_conninfo(as_oncall(postgres), **options))
    said = diagnosed(program)
    assert said.code == Exit.UNKNOWN
    assert words in said.out
    assert "DOWN" not in said.out
    assert "confirmed" not in said.out
    the_rest_is_there(diagnosed(program, "--output", "json"))


# --- rows 6 to 8: the way there ------------------------------------------------------------------


def test_row_6_a_closed_port_is_down(varied: Varied) -> None:
    program = varied(postgres__dsn=f"postgresql://u:{SECRET}@127.0.0.1:{free_port()}/d")
    said = diagnosed(program)
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("DATABASE DOWN   bot")
    assert "Connection refused" in said.out
    the_rest_is_there(diagnosed(program, "--output", "json"))


def test_row_7_a_name_that_does_not_resolve(varied: Varied) -> None:
    program = varied(postgres__dsn=f"postgresql://u:{SECRET}@db.invalid/d")
    said = diagnosed(program)
    assert said.code == Exit.UNKNOWN
    assert "cannot resolve db.invalid" in said.out
    assert "DOWN" not in said.out
    as_json = diagnosed(program, "--output", "json")
    assert signal(as_json.json, "database")["severity"] == "unknown"
    the_rest_is_there(as_json)


@ONE
def test_row_8_tls_is_never_given_up(postgres: Stand, varied: Varied) -> None:
    program = varied(postgres__dsn=as_oncall(postgres, sslmode="require"))
    said = diagnosed(program)
    assert said.code == Exit.UNKNOWN
    assert "TLS" in said.out
    as_json = diagnosed(program, "--output", "json")
    the_rest_is_there(as_json)
    assert step(as_json.json, "sessions")["status"] == "failed"


# --- rows 9 and 10: a replica, few rights --------------------------------------------------------


def test_row_9_a_replica(postgres: Stand, varied: Varied) -> None:
    with standby(postgres.server) as dsn:
        program = varied(postgres__dsn=make_conninfo(dsn, user="oncall", password=SECRET))
        said = diagnosed(program)
        assert said.code in (Exit.OK, Exit.UNKNOWN)
        assert "replica" in said.first[0]
        the_rest_is_there(diagnosed(program, "--output", "json"))


def test_row_10_without_pg_monitor(postgres: Stand, varied: Varied) -> None:
    postgres.admin.execute("CREATE ROLE plain LOGIN PASSWORD 'secret-canary'")
    try:
        for _ in range(3):
            postgres.session()
        program = varied(postgres__dsn=postgres.dsn(user="plain", password=SECRET))
        said = diagnosed(program)
        assert said.code == Exit.UNKNOWN
        assert "sessions hidden" in said.out
        assert 'GRANT pg_monitor TO "plain";' in said.out
        the_rest_is_there(diagnosed(program, "--output", "json"))
    finally:
        postgres.clear()
        postgres.admin.execute("DROP ROLE plain")


# --- row 16: a prepared transaction --------------------------------------------------------------


def test_row_16_the_blocker_is_a_prepared_transaction(postgres: Stand, program: Program) -> None:
    postgres.admin.execute("CREATE TABLE stock (id int PRIMARY KEY, left_over int)")
    postgres.admin.execute("INSERT INTO stock VALUES (1, 5)")
    try:
        with postgres.session("deploy") as holder:
            holder.execute("BEGIN")
            holder.execute("UPDATE stock SET left_over = 4")
            holder.execute("PREPARE TRANSACTION 'forgotten-42'")
        links = [postgres.session() for _ in range(9)]
        for link in links:
            begin(link, "UPDATE stock SET left_over = 3")
        for link in links:
            postgres.waiting(link)
        postgres.running(links[-1], seconds=1)
        with served(active=18, waiting=4) as page:
            program.services(
                bot={"url": page.url, "postgres": {"dsn": as_oncall(postgres), "application_name": APP}}
            )
            said = diagnosed(program, "--interval", "200ms")
            as_json = diagnosed(program, "--interval", "200ms", "--output", "json")
    finally:
        postgres.clear()
        postgres.admin.execute("DROP TABLE stock")
    assert said.code == as_json.code == Exit.CRITICAL
    assert "forgotten-42" in said.out
    top = as_json.json["causes"][0]
    assert (top["id"], top["confidence"]) == ("pool.lock_contention", "confirmed")
    assert "forgotten-42" in top["next"][0]["command"]
    (root,) = rows(as_json.json, "locks")
    assert root["xact_s"] >= 1


# --- row 17: a pooler ----------------------------------------------------------------------------


def test_row_17_through_pgbouncer(postgres: Stand, varied: Varied) -> None:
    with pgbouncer(postgres.server) as port:
        program = varied(postgres__dsn=postgres.dsn(port=port))
        said = diagnosed(program)
        as_json = diagnosed(program, "--output", "json")
    assert said.code in (Exit.OK, Exit.UNKNOWN)
    assert "pooler" in said.out
    assert any("pool" in note for note in as_json.json["notes"])
    the_rest_is_there(as_json)


# --- row 18: foreign text ------------------------------------------------------------------------

HOSTILE = "SELECT pg_sleep(60) /* \x1b[31m \x1b]0;owned\x07 \u202e [/red] j->'[i]' %s {} */"


@ONE
def test_row_18_hostile_text_is_inert(postgres: Stand, program: Program) -> None:
    postgres.admin.execute(
        "CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        latin = postgres.session(dbname="latin", client_encoding="LATIN1")
        begin_bytes(latin, f"SELECT pg_sleep(60) /* caf\xe9 {'x' * 3000} */".encode("latin-1"))
        hostile = postgres.session(client_encoding="UTF8")
        begin_bytes(hostile, HOSTILE.encode())
        postgres.running(hostile, seconds=1.1)
        postgres.running(latin, seconds=1.1)
        with served() as page:
            program.services(bot={"url": page.url, "postgres": {"dsn": as_oncall(postgres)}})
            said = diagnosed(program, "--interval", "200ms")
            as_json = diagnosed(program, "--interval", "200ms", "--output", "json")
            as_text = diagnosed(program, "--interval", "200ms", "--output", "markdown")
            at_terminal, code = program.at_terminal("diagnose", "pool", "--interval", "200ms")
    finally:
        postgres.clear()
        postgres.admin.execute("DROP DATABASE latin")
    assert said.code == as_json.code == as_text.code == code == Exit.OK
    for text in (said.out, as_text.out, at_terminal):
        assert not [bad for bad in ("\x1b]0;owned", "\x1b[31m \x1b", "\x07", "\u202e") if bad in text]
    assert "[/red]" in said.out
    assert "\x1b" not in said.out + as_text.out
    queries = [row["query"] for row in rows(as_json.json, "longest")]
    assert any("[/red] j->'[i]' %s {}" in query for query in queries)


def begin_bytes(link: psycopg.Connection[tuple[object, ...]], statement: bytes) -> None:
    link.pgconn.send_query(statement)
    while link.pgconn.flush():
        pass


# --- row 19: secrets -----------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["table", "json", "markdown"])
def test_row_19_a_password_that_was_not_encoded(program: Program, output: str) -> None:
    path = program.write(f"services:\n  bot:\n    postgres:\n      dsn: postgresql://u:{CANARY}@h/d\n")
    said = program.run("diagnose", "pool", "--output", output)
    assert said.code == Exit.CONFIG
    assert f"{path}:4: services.bot.postgres.dsn" in said.err
    assert not [part for part in ("p@ss", "w#rd", "zz") if part in said.all]


@ONE
@pytest.mark.parametrize("output", ["table", "json", "markdown"])
def test_row_19_no_part_of_a_password_is_shown(postgres: Stand, varied: Varied, output: str) -> None:
    postgres.admin.execute(
        sql.SQL("CREATE ROLE careful LOGIN PASSWORD {}").format(sql.Literal("p@ss/w#rd%zz"))
    )
    try:
        for given in (CANARY, CANARY + "wrong"):
            port = postgres.server.port
            dsn = f"postgresql://careful:{quote(given, safe='')}@127.0.0.1:{port}/postgres"
            said = diagnosed(varied(postgres__dsn=dsn), "--output", output)
            assert said.code == Exit.UNKNOWN
            assert not [part for part in ("p@ss", "w#rd", "%25zz", "p%40ss") if part in said.all]
    finally:
        postgres.admin.execute("DROP ROLE careful")
