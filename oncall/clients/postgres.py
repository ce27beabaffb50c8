"""Postgres: one read-only connection, what the server is, and the answers to a runbook's questions."""

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import perf_counter

from oncall.clients import pg_facts
from oncall.clients.pg_dsn import NoAddress, Params, parse_dsn
from oncall.clients.pg_errors import ServerError, Where, refused
from oncall.clients.pg_facts import ServerFacts, StatementsView
from oncall.clients.pg_session import Session, settings
from oncall.clients.pg_text import check_sql, fill, load_sql, variables_of
from oncall.clients.pg_values import column, query_text
from oncall.clients.pg_wire import MOST_ROWS, Refused, Rows, Wire, connect
from oncall.model import Absence, Frozen, Scalar, StepReading, Table, Unavailable
from oncall.model_service import PostgresAt

__all__ = [
    "Answers",
    "Opened",
    "Question",
    "ServerFacts",
    "StatementsView",
    "ask",
    "check_sql",
    "fill",
    "load_sql",
    "opened",
    "parse_dsn",
]

SOURCE = "postgres"


class Question(Frozen, frozen=True):
    """One statement that reads, with psql-style variables: :'name' literal, :"name" identifier, :name number."""

    id: str
    sql: str


class Answers(Frozen, frozen=True):
    """`sql_sent` counts the statements that the server got in all; `notes` are for whoever reads the answers."""

    facts: ServerFacts | Unavailable
    by_id: dict[str, StepReading]
    notes: tuple[str, ...]
    sql_sent: int


async def ask(
    at: PostgresAt, questions: Sequence[Question], variables: Mapping[str, str | float], deadline_s: float
) -> Answers:
    """Asks everything over one connection, within `deadline_s` seconds in all.

    `variables` are those of the questions besides what the server itself gives (pg_facts.variables).
    What was not answered is Unavailable in its place. Raises ConfigError for a DSN that libpq cannot read, and
    nothing else. When it returns, the connection is closed and nothing of it runs on the server any more."""
    async with opened(at, deadline_s) as found:
        if isinstance(found.facts, Unavailable):
            return _nothing(found.facts, questions, found.sent)
        return await found.ask(questions, variables)


class Opened:
    """A session that stays open for more than one round of questions; `facts` says why where there is none.

    One round at a time: who comes meanwhile waits."""

    def __init__(self, at: PostgresAt, session: Session | None, facts: ServerFacts | Unavailable) -> None:
        self.facts = facts
        self._at = at
        self._session = session
        self._turn = asyncio.Lock()

    @property
    def sent(self) -> int:
        """Statements that the server got."""
        return self._session.wire.sent if self._session else 0

    async def ask(
        self,
        questions: Sequence[Question],
        variables: Mapping[str, str | float],
        deadline_s: float | None = None,
    ) -> Answers:
        """A reading for each question, at once; each statement is a transaction of its own.

        `deadline_s` seconds from now; without it, until the time that the session was opened for."""
        if self._session is None or isinstance(self.facts, Unavailable):
            assert isinstance(self.facts, Unavailable)
            return _nothing(self.facts, questions, self.sent)
        async with self._turn:
            if deadline_s is not None:
                self._session.until = asyncio.get_running_loop().time() + deadline_s
            known = {"application_name": self._at.application_name or "", **pg_facts.variables(self.facts)}
            readings = await _read(self._session, questions, {**known, **variables}, self.facts)
        return Answers(facts=self.facts, by_id=readings, notes=pg_facts.notes(self.facts), sql_sent=self.sent)

    async def act(self, statement: str, deadline_s: float) -> StepReading:
        """Sends one statement of the program's own that acts, once, outside of any transaction; never a runbook's.

        Where the answer is a TIMEOUT or DOWN it may have acted all the same. Never through a pooler, whose pids
        and sessions are not ours: NOT_APPLICABLE."""
        return StepReading(source=SOURCE, query=statement, answer=await self._act(statement, deadline_s))

    async def _act(self, statement: str, deadline_s: float) -> Table | Unavailable:
        if self._session is None or isinstance(self.facts, Unavailable):
            assert isinstance(self.facts, Unavailable)
            return self.facts
        if self._session.pooled:
            reason = f"{self._session.where.server}: through a pooler nothing is done"
            hint = "name the server itself, not the pooler, in postgres.dsn"
            return Unavailable(kind=Absence.NOT_APPLICABLE, reason=reason, hint=hint)
        async with self._turn:
            self._session.until = asyncio.get_running_loop().time() + deadline_s
            ((answer, _),) = await self._session.answers([statement], in_recovery=self.facts.in_recovery)
        return _table(answer, self.facts) if isinstance(answer, Rows) else answer


@asynccontextmanager
async def opened(at: PostgresAt, deadline_s: float) -> AsyncIterator[Opened]:
    """Connects within `deadline_s` seconds; at the end the connection is closed. Raises as `ask` does."""
    parse_dsn(at.dsn)  # loads psycopg too, whose time is not the server's
    began = perf_counter()
    # The end of the time is kept for the cancel, which is a connection of its own.
    until = asyncio.get_running_loop().time() + deadline_s - min(0.3, deadline_s / 5)
    connected = await _open(at, until, settings(deadline_s))
    if isinstance(connected, Unavailable):
        yield Opened(at, None, connected)
        return
    wire, params, why = connected
    try:
        session = Session(wire, _where(params), settings(deadline_s), until)
        yield Opened(at, session, await session.facts((perf_counter() - began) * 1000, why))
    finally:
        await wire.close()


def _nothing(why: Unavailable, questions: Sequence[Question], sent: int) -> Answers:
    readings = {q.id: StepReading(source=SOURCE, query=q.sql, answer=why) for q in questions}
    return Answers(facts=why, by_id=readings, notes=(), sql_sent=sent)


# --- the connection ------------------------------------------------------------------------------


async def _open(
    at: PostgresAt, until: float, ours: Mapping[str, str]
) -> tuple[Wire, Params, Unavailable | None] | Unavailable:
    """The connection, and why it had to be by the reserve DSN; or why there is none."""
    params = parse_dsn(at.dsn)
    spare = parse_dsn(at.reserve_dsn, "postgres.reserve_dsn") if at.reserve_dsn else None
    why = await _try(params, until, ours, reserve=spare is not None)
    if isinstance(why, Wire):
        return why, params, None
    if spare is None or why.kind not in (Absence.NO_SLOTS, Absence.ROLE_LIMIT):
        return why
    worse = await _try(spare, until, ours, reserve=True)
    if isinstance(worse, Wire):
        return worse, spare, why
    both = f"{why.reason}; and by postgres.reserve_dsn: {worse.reason}"
    return Unavailable(kind=why.kind, reason=both, hint=worse.hint or why.hint)


async def _try(params: Params, until: float, ours: Mapping[str, str], *, reserve: bool) -> Wire | Unavailable:
    try:
        try:
            return await connect(_startup(params, ours), until)
        except Refused as refusal:
            if not _rejects_options(refusal.error):
                raise
        return await connect(_startup(params, {}), until)
    except Refused as refusal:
        where = _where(refusal.params)
        if refusal.timeout:
            return Unavailable(kind=Absence.TIMEOUT, reason=f"{where.server}: {refusal.error.message}")
        return refused(refusal.error, where, reserve=reserve)
    except NoAddress as failure:
        hint = "check the host in postgres.dsn, and the resolver; whether the database is up is not known"
        return Unavailable(kind=Absence.UNRESOLVED, reason=f"cannot resolve {failure}", hint=hint)


def _startup(params: Params, ours: Mapping[str, str]) -> Params:
    """The DSN's parameters and ours. Text comes as the bytes that it is (SQL_ASCII): the server's conversion would
    fail on the text of another database in another encoding, and the whole answer with it."""
    own = params.get("options") or os.environ.get("PGOPTIONS", "")
    options = " ".join(filter(None, [own, *(f"-c {name}={value}" for name, value in ours.items())]))
    attrs = params.get("target_session_attrs") or os.environ.get("PGTARGETSESSIONATTRS", "")
    # Our session is read-only by choice: libpq would take the primary for a server that cannot write.
    attrs = {"read-write": "primary", "read-only": "standby"}.get(attrs, attrs)
    added = {"application_name": "oncall", "client_encoding": "SQL_ASCII", "options": options}
    return {**params, **added, **({"target_session_attrs": attrs} if attrs else {})}


def _rejects_options(error: ServerError) -> bool:
    """PgBouncer takes no startup options (08P01); another proxy, or an old server, may not know one of them."""
    return error.sqlstate in ("42704", "42501", "22023", "0A000") or "startup parameter" in error.message


def _where(params: Mapping[str, str]) -> Where:
    host = params.get("host") or params.get("hostaddr") or os.environ.get("PGHOST") or "local socket"
    port = params.get("port") or os.environ.get("PGPORT") or "5432"
    role = params.get("user") or os.environ.get("PGUSER") or _login()
    database = params.get("dbname") or os.environ.get("PGDATABASE") or role
    return Where(server=f"{host}:{port}", database=database, role=role)


def _login() -> str:
    """The role that libpq takes where none is named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "?"


# --- the answers ---------------------------------------------------------------------------------


async def _read(
    session: Session, questions: Sequence[Question], known: Mapping[str, str | float], facts: ServerFacts
) -> dict[str, StepReading]:
    """A reading for each question, in their order."""
    texts = {q.id: _ready(q.sql, known, facts, session.wire.codec) for q in questions}
    asked = {id: text for id, text in texts.items() if isinstance(text, str)}
    answers = await session.answers(list(asked.values()), in_recovery=facts.in_recovery)
    found = dict(zip(asked, answers, strict=True))
    readings = {}
    for question in questions:
        text = texts[question.id]
        if isinstance(text, Unavailable):
            readings[question.id] = StepReading(source=SOURCE, query=question.sql, answer=text)
            continue
        answer, ms = found[question.id]
        table = _table(answer, facts) if isinstance(answer, Rows) else answer
        readings[question.id] = StepReading(source=SOURCE, query=text, answer=table, ms=ms)
    return readings


def _ready(
    sql: str, known: Mapping[str, str | float], facts: ServerFacts, encoding: str
) -> str | Unavailable:
    """The statement as it will be sent, ready to paste; or why it cannot be."""
    wrong = check_sql(sql)
    if wrong is not None:
        return Unavailable(kind=Absence.BAD_QUERY, reason=f"not asked: {wrong}")
    missing = variables_of(sql) - set(known)
    if isinstance(facts.statements, Unavailable) and any(name.startswith("statements_") for name in missing):
        return facts.statements
    text = fill(sql, known)
    if isinstance(text, Unavailable):
        return text
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        reason = f"not asked: it has characters that the database's encoding ({encoding}) does not have"
        return Unavailable(kind=Absence.BAD_QUERY, reason=reason)
    return text


def _table(answer: Rows, facts: ServerFacts) -> Table:
    queries = [index for index, name in enumerate(answer.names) if name == "query"]

    def tidy(row: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        cells = list(row)
        for index in queries:
            cell = cells[index]
            if isinstance(cell, str):
                cells[index] = query_text(cell, facts.track_activity_query_size)
        return tuple(cells)

    said = (f"only the first {MOST_ROWS} rows",) if answer.cut else ()
    columns = tuple(column(name) for name in answer.names)
    return Table(columns=columns, rows=tuple(tidy(row) for row in answer.rows), notes=said)
