"""Why Postgres gave no answer: each fault injected into a real server."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from oncall.clients.postgres import ask
from oncall.errors import ConfigError, Exit
from oncall.lab.process import free_port, wait_until
from oncall.model import Absence, Unavailable
from oncall.model_service import PostgresAt
from tests.clients.pgstand import (
    Stand,
    asked,
    begin,
    facts,
    missing,
    questions,
    refusal,
    rows,
    stand,
    standby,
)

CANARY = "p@ss/w#rd%zz"


@pytest.fixture(scope="module", params=["distribution", "wheel", "german"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server with eight slots: three for superusers, and in the wheel's version one for a reserved role."""
    wheel = request.param == "wheel"
    settings = {"max_connections": 8, "superuser_reserved_connections": 3, "track_activity_query_size": 1500}
    if wheel:
        settings["reserved_connections"] = 1
    language = "de" if request.param == "german" else None
    with stand(tmp_path_factory.mktemp("small"), 18 if wheel else None, language, **settings) as made:
        made.admin.execute("CREATE ROLE oncall LOGIN PASSWORD 'secret-canary'")
        made.admin.execute("CREATE ROLE limited LOGIN PASSWORD 'secret-canary' CONNECTION LIMIT 0")
        made.admin.execute("CREATE ROLE spare LOGIN PASSWORD 'secret-canary'")
        if wheel:
            made.admin.execute("GRANT pg_use_reserved_connections TO spare")
        yield made


@pytest.fixture
def full(small: Stand) -> Iterator[Stand]:
    """The same, with every slot taken that an ordinary role can have."""
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            small.session("app", user="oncall", password="secret-canary")
    yield small
    small.clear()


def as_oncall(pg: Stand, **options: str | int) -> str:
    return pg.dsn(user="oncall", password="secret-canary", **options)


# --- rows 1 to 3: no slots -----------------------------------------------------------------------


def test_no_slots_but_the_reserved(full: Stand) -> None:
    others = full.server.version >= "16"

    def told() -> bool:
        """Whoever was refused last may still have a slot: then it is one of those for superusers that are left."""
        why = refusal(asked(as_oncall(full)))
        assert why.kind == Absence.NO_SLOTS
        assert "no connection slots left but the reserved ones" in why.reason
        assert "superusers" in why.reason
        assert "postgres.reserve_dsn" in (why.hint or "")
        return ("pg_use_reserved_connections" in why.reason) == others

    wait_until(told, "the slots of those who were refused")


def test_no_slots_but_those_of_superusers(full: Stand) -> None:
    if full.server.version < "16":
        return
    # The one slot for members of pg_use_reserved_connections goes as well.
    full.session("app", user="spare", password="secret-canary")
    why = refusal(asked(full.dsn(user="spare", password="secret-canary")))
    assert why.kind == Absence.NO_SLOTS
    assert why.reason.endswith("superusers still get in")


def test_no_slot_at_all(full: Stand) -> None:
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            full.session("app")
    why = refusal(asked(full.server.url, reserve_dsn=full.server.url))
    assert why.kind == Absence.NO_SLOTS
    assert "every slot is taken, the reserved ones too" in why.reason
    assert "and by postgres.reserve_dsn" in why.reason
    assert "stop or restart" in (why.hint or "")


def test_the_reserve_dsn_gets_in(full: Stand) -> None:
    answers = asked(as_oncall(full), reserve_dsn=full.server.url)
    found = facts(answers)
    assert found.reserve_used
    assert found.refused is not None
    assert found.refused.kind == Absence.NO_SLOTS
    assert answers.notes[0].startswith("asked through postgres.reserve_dsn, because 127.0.0.1:")
    assert found.track_activity_query_size == 1500
    assert (found.max_connections, found.superuser_reserved) == (8, 3)
    assert found.reserved == (1 if full.server.version >= "16" else 0)
    (slots,) = rows(answers, "slots")
    # The application's, the administrator's and this one.
    assert slots["used"] >= slots["available"]
    assert slots["top_other"] == "app"


def test_the_language_is_another(small: Stand) -> None:
    """What the tests above hold for: libpq hands on a text that no English pattern fits."""
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(small.dsn(user="nobody"))
    assert caught.value.sqlstate is None
    german = small.value("SHOW lc_messages") == "C.UTF-8"
    assert ("Passwort-Authentifizierung" in str(caught.value)) == german


# --- rows 4 and 5: the role, the database --------------------------------------------------------


def test_the_limit_of_the_role_is_not_a_full_server(small: Stand) -> None:
    why = refusal(asked(small.dsn(user="limited", password="secret-canary")))
    assert why.kind == Absence.ROLE_LIMIT
    assert "role limited is at its own limit; the server is not full" in why.reason
    assert 'ALTER ROLE "limited" CONNECTION LIMIT' in (why.hint or "")


def test_the_limit_of_the_database_is_not_a_full_server(small: Stand) -> None:
    small.admin.execute("CREATE DATABASE closed CONNECTION LIMIT 0")
    why = refusal(asked(as_oncall(small, dbname="closed")))
    assert why.kind == Absence.ROLE_LIMIT
    assert "database closed is at its own limit; the server is not full" in why.reason
    small.admin.execute("DROP DATABASE closed")


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"password": "wrong-canary"}, Absence.AUTH, "role oncall was not let in"),
        ({"user": "nobody"}, Absence.AUTH, "role nobody was not let in"),
        ({"dbname": "nowhere"}, Absence.CONFIG, "there is no database nowhere"),
        ({"dbname": "template0"}, Absence.BAD_ANSWER, "refused"),
    ],
)
def test_what_is_configured_wrong(small: Stand, options: dict[str, str], kind: Absence, words: str) -> None:
    why = refusal(asked(make_conninfo(as_oncall(small), **options)))
    assert why.kind == kind
    assert words in why.reason
    assert "canary" not in repr(why)


def test_a_role_that_may_not_connect(small: Stand) -> None:
    small.admin.execute("CREATE DATABASE private")
    small.admin.execute("REVOKE CONNECT ON DATABASE private FROM PUBLIC")
    why = refusal(asked(as_oncall(small, dbname="private")))
    small.admin.execute("DROP DATABASE private")
    assert why.kind == Absence.DENIED
    assert why.hint == 'GRANT CONNECT ON DATABASE "private" TO "oncall";'


def test_no_message_holds_the_password(small: Stand) -> None:
    for port in (small.server.port, free_port()):
        dsn = f"postgresql://oncall:{quote(CANARY, safe='')}@127.0.0.1:{port}/db?sslmode=disable"
        why = refusal(asked(dsn, reserve_dsn=dsn))
        for fragment in (CANARY, quote(CANARY, safe=""), "w#rd", "zz"):
            assert fragment not in repr(why)


# --- rows 6 to 8: the way there ------------------------------------------------------------------


def test_a_closed_port_is_down() -> None:
    port = free_port()
    why = refusal(asked(f"postgresql://u@127.0.0.1:{port}/d"))
    assert why.kind == Absence.DOWN
    assert why.reason == f"127.0.0.1:{port}: Connection refused"


def test_a_missing_socket_is_down(tmp_path: Path) -> None:
    why = refusal(asked(f"host={tmp_path} user=u"))
    assert why.kind == Absence.DOWN
    assert "No such file" in why.reason


def test_an_unknown_host_leaves_the_database_unknown() -> None:
    why = refusal(asked("postgresql://u:secret-canary@db.invalid/d"))
    assert why.kind == Absence.UNRESOLVED
    assert "cannot resolve db.invalid" in why.reason
    assert "canary" not in repr(why)


def test_tls_is_never_given_up(small: Stand) -> None:
    why = refusal(asked(small.dsn(sslmode="require")))
    assert why.kind == Absence.TLS
    assert "sslmode" in (why.hint or "")


def test_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    made = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout server.key -out server.crt"
    )
    subprocess.run(
        made.split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with stand(tmp_path / "pg") as pg:
        data = Path(str(pg.value("SHOW data_directory")))
        owner = data.stat()
        for name in ("server.key", "server.crt"):
            (data / name).write_bytes((tmp_path / name).read_bytes())
            (data / name).chmod(0o600)
            os.chown(data / name, owner.st_uid, owner.st_gid)
        pg.admin.execute("ALTER SYSTEM SET ssl = on")
        pg.admin.execute("SELECT pg_reload_conf()")
        root = tmp_path / "server.crt"
        encrypted: list[bool] = []
        while not (encrypted and encrypted[-1]):
            encrypted.append(facts(asked(pg.dsn(sslmode="prefer"), [])).ssl)
            assert len(encrypted) < 1000
        why = refusal(asked(pg.dsn(sslmode="verify-full", sslrootcert=str(root))))
        assert why.kind == Absence.TLS
        assert "certificate" in why.reason


class Deaf:
    """A port that takes connections and answers what it is told, or nothing."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer

    async def ask(self, deadline_s: float) -> Unavailable:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(8)
            if self.answer is not None:
                writer.write(self.answer)
                writer.close()
            else:
                await reader.read()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        at = PostgresAt(dsn=f"postgresql://u@127.0.0.1:{port}/d")
        answers = await ask(at, questions("sessions"), {}, deadline_s)
        server.close()
        return refusal(answers)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Absence.BAD_ANSWER),
        (b"-ERR unknown command\r\n", Absence.BAD_ANSWER),
        (b"\x15\x03\x01\x00\x02\x02\x16", Absence.BAD_ANSWER),
        (b"", Absence.DOWN),
    ],
)
def test_something_else_on_the_port(answer: bytes, kind: Absence) -> None:
    assert asyncio.run(Deaf(answer).ask(20)).kind == kind


def test_a_port_that_says_nothing_is_given_up_in_time() -> None:
    why = asyncio.run(Deaf(None).ask(1))
    assert why.kind == Absence.TIMEOUT
    assert "the port is open, but the server says nothing" in why.reason


def test_the_next_host_gets_its_share_of_the_time(small: Stand) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        ports = f"{deaf.getsockname()[1]},{small.server.port}"
        answers = asked(small.dsn(host="127.0.0.1,127.0.0.1", port=ports), deadline_s=2)
        assert facts(answers).port == small.server.port


def test_starting_up_is_not_down(tmp_path: Path) -> None:
    with stand(tmp_path / "pg") as pg:
        # A smart shutdown waits for the sessions that are there, and lets no new one in.
        os.kill(pg.server.pid, signal.SIGTERM)
        why = refusal(asked(pg.server.url))
        while why.kind is not Absence.STARTING:
            why = refusal(asked(pg.server.url))
        assert "not accepting connections" in why.reason


# --- row 9: a replica ----------------------------------------------------------------------------


def test_a_hot_standby_answers_what_it_knows(pg: Stand) -> None:
    from oncall.clients.postgres import Question

    with standby(pg.server) as dsn:
        only = Question(id="wal", sql="SELECT pg_catalog.pg_current_wal_lsn()")
        answers = asked(dsn, [*questions(), only])
        assert facts(answers).in_recovery
        assert any("replica" in note for note in answers.notes)
        assert missing(answers, "wal").kind == Absence.NOT_APPLICABLE
        assert rows(answers, "slots")[0]["used"] == 1
        for name in ("sessions", "locks", "connections", "idle_in_transaction", "working", "longest"):
            rows(answers, name)
        # A DSN of two hosts that wants the one that can be written finds it, though we never write.
        port = psycopg.conninfo.conninfo_to_dict(dsn)["port"]
        both = pg.dsn(
            host="127.0.0.1,127.0.0.1", port=f"{port},{pg.server.port}", target_session_attrs="read-write"
        )
        assert not facts(asked(both, [])).in_recovery
        assert facts(asked(make_conninfo(both, target_session_attrs="read-only"), [])).in_recovery
        alone = make_conninfo(dsn, target_session_attrs="read-write")
        assert refusal(asked(alone)).kind == Absence.CONFIG


# --- row 10: without pg_monitor ------------------------------------------------------------------


def test_without_pg_monitor_the_hidden_are_counted(pg: Stand) -> None:
    pg.admin.execute('CREATE ROLE "o\'n""call" LOGIN PASSWORD \'x\'')
    pg.admin.execute("CREATE TABLE hidden (id int)")
    try:
        links = [pg.session() for _ in range(3)]
        links[0].execute("BEGIN")
        links[0].execute("LOCK hidden")
        begin(links[1], "SELECT * FROM hidden")
        pg.waiting(links[1])
        answers = asked(pg.dsn(user="o'n\"call", password="x"))
        found = facts(answers)
        assert not found.has_pg_monitor
        # Three of the app and the administrator's.
        assert answers.notes == ('4 sessions hidden: GRANT pg_monitor TO "o\'n""call";',)
        (seen,) = rows(answers, "sessions")
        assert (seen["total"], seen["hidden"], seen["active"]) == (3, 3, 0)
        assert rows(answers, "slots")[0]["used"] == 5
        assert sum(row["hidden"] for row in rows(answers, "connections")) == 4
        # pg_locks hides nothing: who blocks whom is known all the same.
        (root,) = rows(answers, "locks")
        assert (root["pid"], root["waiting"]) == (links[0].info.backend_pid, 1)
        pg.admin.execute('GRANT pg_monitor TO "o\'n""call"')
        again = asked(pg.dsn(user="o'n\"call", password="x"))
        assert again.notes == ()
        assert facts(again).has_pg_monitor
        assert not facts(again).can_signal
        assert rows(again, "sessions")[0]["lock_waiting"] == 1
    finally:
        pg.clear()
        pg.admin.execute("DROP TABLE hidden")
        pg.admin.execute('DROP ROLE "o\'n""call"')


# --- row 19: secrets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://oncall:{CANARY}@localhost/db",
        "postgresql://oncall:p@ss/w#rd@localhost/db",
        "postgresql://oncall:p/ss@localhost/db",
        f"host=localhost password={CANARY} x",
        "host=localhost pasword=w#rd",
        f"postgresql://localhost/db?passwort={quote(CANARY)}",
    ],
)
def test_a_dsn_that_cannot_be_read_is_not_shown(dsn: str) -> None:
    for at in (PostgresAt(dsn=dsn), PostgresAt(dsn="postgresql://u@127.0.0.1:1/d", reserve_dsn=dsn)):
        with pytest.raises(ConfigError) as caught:
            asyncio.run(ask(at, questions("sessions"), {}, 5))
        error = caught.value
        assert error.exit_code == Exit.CONFIG
        assert str(error).startswith("postgres.")
        for fragment in ("p@ss", "w#rd", "zz", "ss@", "p/ss"):
            assert fragment not in f"{error} {error.hint} {error.__cause__}"
