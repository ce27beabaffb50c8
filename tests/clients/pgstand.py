"""Real Postgres servers for tests: sessions made to order, a pooler before one, a hot standby behind one."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from oncall.clients.postgres import Answers, Question, ServerFacts, ask, load_sql
from oncall.lab.postgres import start_postgres
from oncall.lab.process import Server, end, free_port, identity, spawn, stop, wait_until
from oncall.model import Table, Unavailable
from oncall.model_service import PostgresAt

BUILT_IN = (
    "sessions",
    "working",
    "longest",
    "idle_in_transaction",
    "locks",
    "connections",
    "slots",
    "statements",
)
APP = "bot-controller"
Row = dict[str, Any]  # the values of its columns: each test knows their types
Link = psycopg.Connection[tuple[Any, ...]]


def questions(*names: str) -> list[Question]:
    """Built-in questions by name; all of them without one."""
    return [Question(id=name, sql=load_sql(name)) for name in names or BUILT_IN]


def asked(
    dsn: str,
    asking: Sequence[Question] | None = None,
    variables: Mapping[str, str | float] | None = None,
    *,
    app: str | None = APP,
    deadline_s: float = 20,
    reserve_dsn: str | None = None,
) -> Answers:
    at = PostgresAt(dsn=dsn, application_name=app, reserve_dsn=reserve_dsn)
    return asyncio.run(ask(at, questions() if asking is None else asking, variables or {}, deadline_s))


def table(answers: Answers, name: str) -> Table:
    answer = answers.by_id[name].answer
    assert isinstance(answer, Table), answer
    return answer


def rows(answers: Answers, name: str) -> list[Row]:
    """The rows of an answer, each by the names of its columns."""
    found = table(answers, name)
    return [dict(zip((c.name for c in found.columns), row, strict=True)) for row in found.rows]


def missing(answers: Answers, name: str) -> Unavailable:
    answer = answers.by_id[name].answer
    assert isinstance(answer, Unavailable), answer
    return answer


def facts(answers: Answers) -> ServerFacts:
    assert isinstance(answers.facts, ServerFacts), answers.facts
    return answers.facts


def refusal(answers: Answers) -> Unavailable:
    """Why nothing was answered; every question says the same."""
    assert isinstance(answers.facts, Unavailable), answers.facts
    assert all(reading.answer == answers.facts for reading in answers.by_id.values())
    return answers.facts


@dataclass
class Stand:
    """A server with an administrator's connection; sessions made here are ended by `clear`."""

    server: Server
    admin: Link
    links: list[Link] = field(default_factory=list)

    def dsn(self, **options: str | int) -> str:
        return make_conninfo(self.server.url, **{k: str(v) for k, v in options.items()})

    def session(self, app: str = APP, **options: str | int) -> Link:
        """A session in autocommit; the server knows it by this application name."""
        link = psycopg.connect(self.dsn(application_name=app, **options), autocommit=True)
        self.links.append(link)
        return link

    def ask(self, *names: str, **options: Any) -> Answers:  # noqa: ANN401  # handed on to `asked`
        return asked(self.server.url, questions(*names), **options)

    def value(self, statement: str, *values: object) -> Any:  # noqa: ANN401  # whatever the statement gives
        row = self.admin.execute(sql.SQL(statement), values or None).fetchone()
        return None if row is None else row[0]

    def until(self, statement: str, *values: object, seconds: float = 20) -> None:
        """Waits until the administrator's statement is true."""
        ready: Callable[[], bool] = lambda: bool(self.value(statement, *values))  # noqa: E731
        wait_until(ready, statement, seconds=seconds)

    def waiting(self, link: Link) -> None:
        """Waits until that session waits for a lock."""
        self.until(
            "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", link.info.backend_pid
        )

    def running(self, link: Link, seconds: float = 0) -> None:
        """Waits until that session's statement has run so long, by the server's clock."""
        self.until(
            "SELECT state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'"
            " AND clock_timestamp() - query_start > make_interval(secs => %s)"
            " FROM pg_stat_activity WHERE pid = %s",
            seconds,
            link.info.backend_pid,
        )

    def idle(self, link: Link, seconds: float = 0) -> None:
        """Waits until that session has done nothing for so long, in a transaction or not."""
        self.until(
            "SELECT state LIKE 'idle%%' AND clock_timestamp() - state_change > make_interval(secs => %s)"
            " FROM pg_stat_activity WHERE pid = %s",
            seconds,
            link.info.backend_pid,
        )

    def clear(self) -> None:
        """Ends every session but the administrator's, and every prepared transaction."""
        for link in self.links:
            link.close()
        self.links.clear()
        others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        self.admin.execute(sql.SQL(f"SELECT pg_terminate_backend(pid) {others}"))
        self.until(f"SELECT count(*) = 0 {others}")
        for (gid,) in self.admin.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            self.admin.execute(sql.SQL("ROLLBACK PREPARED {}").format(gid))


def begin(link: Link, statement: str) -> None:
    """Sends a statement and does not wait for its end."""
    link.pgconn.send_query(statement.encode())
    while link.pgconn.flush():
        pass


@contextmanager
def stand(
    folder: Path, version: int | None = None, language: str | None = None, **settings: str | int
) -> Iterator[Stand]:
    """A new server. `language`: what its messages are in (gettext heeds LANGUAGE in every locale but C)."""
    if language:
        settings["lc_messages"] = "C.UTF-8"
    given = {name: str(value) for name, value in settings.items()}
    with environment(LANGUAGE=language):
        server = start_postgres(
            folder, version=version, settings={"max_prepared_transactions": "10", **given}
        )
    try:
        with psycopg.connect(server.url, autocommit=True, application_name="admin") as admin:
            yield Stand(server, admin)
    finally:
        stop(server)


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update({name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that Postgres's own user may use (root's temporary folders are closed to it)."""
    folder = Path(tempfile.mkdtemp(prefix="oncall-test-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server_user() -> tuple[int, int] | None:
    """Who runs Postgres and PgBouncer, which refuse root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("postgres")
    return entry.pw_uid, entry.pw_gid


@contextmanager
def pgbouncer(primary: Server, **settings: str | int) -> Iterator[int]:
    """PgBouncer before a server, in transaction mode, with few server connections; gives its port."""
    port = free_port()
    with open_folder() as folder:
        password = psycopg.conninfo.conninfo_to_dict(primary.url)["password"]
        (folder / "users.txt").write_text(f'"postgres" "{password}"\n')
        values = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": folder / "users.txt",
            "admin_users": "postgres",
            "pool_mode": "transaction",
            "default_pool_size": 2,
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in values.items()]
        config = folder / "pgbouncer.ini"
        databases = f"[databases]\n* = host=127.0.0.1 port={primary.port}\n"
        config.write_text(databases + "[pgbouncer]\n" + "\n".join(lines) + "\n")
        with running(["pgbouncer", config], folder, partial(_accepts, port)):
            yield port


@contextmanager
def standby(primary: Server) -> Iterator[str]:
    """A hot standby of a server, that has caught up; gives its DSN."""
    assert primary.binaries is not None
    port = free_port()
    with open_folder() as folder:
        data = folder / "data"
        user = server_user()
        subprocess.run(
            [
                primary.binaries / "pg_basebackup",
                "-d",
                primary.url,
                "-D",
                data,
                "-R",
                "-c",
                "fast",
                "--no-sync",
            ],
            check=True,
            user=user[0] if user else None,
            group=user[1] if user else None,
            cwd=folder,
        )
        command: list[str | Path] = [
            primary.binaries / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-c",
            "hot_standby=on",
        ]
        dsn = make_conninfo(primary.url, port=port)
        with running(command, folder, partial(_answers, dsn)):
            yield dsn


@contextmanager
def running(command: list[str | Path], folder: Path, ready: Callable[[], bool]) -> Iterator[int]:
    """A program that is ended at the end; gives its pid."""
    log = folder / "log.txt"
    child = spawn(command, folder, log, user=server_user())
    created = identity(child.pid)
    try:
        wait_until(ready, str(command[0]), child=child, log=log)
        yield child.pid
    finally:
        end(child.pid, created)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(dsn: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(dsn, connect_timeout=2):
        return True
    return False
