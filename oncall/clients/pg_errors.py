"""Why Postgres gave no answer: from SQLSTATE and the server's own routine, equal in every language."""

import re

from oncall.model import Absence, Frozen, Unavailable


class Where(Frozen, frozen=True):
    """Who was asked, in words: for messages."""

    server: str
    database: str
    role: str


class ServerError(Frozen, frozen=True):
    """What Postgres, or libpq without a SQLSTATE, said. `routine` is the C function that raised it."""

    message: str
    sqlstate: str | None = None
    routine: str | None = None
    hint: str | None = None


# libpq at its verbose setting: `... failed: FATAL:  53300: text\nLOCATION:  InitProcess, proc.c:357`, the labels
# in the server's or the client's language. Of several attempts (with TLS, then without) the last one counts.
_STATED = re.compile(r".*:  (?P<state>[0-9A-Z]{5}): (?P<text>.*)", re.DOTALL)
_ROUTINE = re.compile(r"\n[^\n:]+:\s+(?P<routine>\w+), [\w./\\-]+:\d+\s*\Z")


def parse_refusal(text: str) -> ServerError:
    """The error of a connection attempt, from libpq's text at its verbose setting."""
    found = _STATED.fullmatch(text.strip())
    if found is None:
        return ServerError(message=one_line(text) or "libpq gave no reason")
    said = found["text"]
    routine = _ROUTINE.search(said)
    message = said[: routine.start()] if routine else said
    return ServerError(
        message=one_line(message),
        sqlstate=found["state"],
        routine=routine["routine"] if routine else None,
    )


def one_line(text: str) -> str:
    return " ".join(text.split())


# --- no connection -------------------------------------------------------------------------------

_RESERVE = "set postgres.reserve_dsn to a role that gets a reserved slot"


def refused(error: ServerError, where: Where, *, reserve: bool = False) -> Unavailable:
    """Why there is no connection. `reserve`: a reserve DSN is configured already."""
    state = error.sqlstate
    if state is None:
        return _unstated(error, where)
    if state == "53300":
        return _full(error, where, reserve)
    if state in ("08P01", "08000", "08006", "XX000") and error.routine is None:
        return _pooler(error, where)
    if state == "57P03":
        return _said(Absence.STARTING, "not accepting connections yet or any more", error, where, _WAIT)
    if state.startswith("28"):
        return _auth(error, where)
    if state == "3D000":
        hint = (
            f"check the database's name in postgres.dsn; `psql -l` on {where.server} lists those that exist"
        )
        return _said(Absence.CONFIG, f"there is no database {where.database}", error, where, hint)
    if state.startswith("57P"):
        return _said(Absence.DOWN, "shutting down or crashed", error, where, _WAIT)
    if state == "42501":
        hint = f'GRANT CONNECT ON DATABASE "{where.database}" TO "{where.role}";'
        return _said(Absence.DENIED, f"role {where.role} may not connect", error, where, hint)
    return _said(Absence.BAD_ANSWER, "the connection was refused", error, where, None)


_WAIT = "look at the server's log; try again in a moment"


def _said(kind: Absence, what: str, error: ServerError, where: Where, hint: str | None) -> Unavailable:
    return Unavailable(kind=kind, reason=f"{where.server}: {what}: {error.message}", hint=hint)


def _full(error: ServerError, where: Where, reserve: bool) -> Unavailable:
    """53300: of the role, of the database, of the unreserved slots, or of all."""
    if error.routine == "InitializeSessionUserId":
        reason = f"{where.server}: role {where.role} is at its own limit; the server is not full"
        hint = f'ALTER ROLE "{where.role}" CONNECTION LIMIT n; (n is how many it may have, -1: any number)'
        return Unavailable(kind=Absence.ROLE_LIMIT, reason=reason, hint=hint)
    if error.routine == "CheckMyDatabase":
        reason = f"{where.server}: database {where.database} is at its own limit; the server is not full"
        hint = f'superusers still get in; ALTER DATABASE "{where.database}" CONNECTION LIMIT n;'
        return Unavailable(kind=Absence.ROLE_LIMIT, reason=reason, hint=hint)
    then = "" if reserve else f"; for the next time {_RESERVE}"
    if error.routine == "InitPostgres" or "SUPERUSER" in error.message:
        reason = (
            f"{where.server}: no connection slots left but the reserved ones; {_who_gets_in(error.message)}"
        )
        return Unavailable(
            kind=Absence.NO_SLOTS, reason=reason, hint=f"connect as one of those and free some{then}"
        )
    reason = f"{where.server}: no connection slots left: every slot is taken, the reserved ones too"
    hint = f"nobody gets in until a session ends: stop or restart the client that holds most of them{then}"
    return Unavailable(kind=Absence.NO_SLOTS, reason=reason, hint=hint)


def _who_gets_in(message: str) -> str:
    """The names stand in the message untranslated, from PostgreSQL 16 on."""
    if "pg_use_reserved_connections" in message:
        return "superusers and members of pg_use_reserved_connections still get in"
    return "superusers still get in"


def _auth(error: ServerError, where: Where) -> Unavailable:
    hint = (
        f"check the password (PGPASSFILE, postgres.dsn) of role {where.role}, and pg_hba.conf on the server"
    )
    return _said(Absence.AUTH, f"role {where.role} was not let in", error, where, hint)


# PgBouncer raises 08P01 for nearly everything, always in English, and without a routine.
_NO_SLOT = r"no more connections allowed|too many clients|remaining connection slots"
_POOLER: tuple[tuple[Absence, str, str], ...] = (
    (Absence.NO_SLOTS, _NO_SLOT, "no slots left"),
    (
        Absence.AUTH,
        r"authentication failed|auth failed|no such user|login rejected",
        "wrong role or password",
    ),
    (Absence.CONFIG, r"no such database|does not exist|database .* disabled", "no such database"),
    (Absence.TIMEOUT, r"timeout", "it got no connection to the server in time"),
    (Absence.DOWN, r"cannot connect|server login|connect failed|server down", "it cannot reach the server"),
    (Absence.STARTING, r"shut|terminating|paus|suspend", "it takes no clients now"),
    (Absence.TLS, r"SSL|TLS", "TLS"),
)


def _pooler(error: ServerError, where: Where) -> Unavailable:
    for kind, pattern, what in _POOLER:
        if re.search(pattern, error.message, re.IGNORECASE):
            hint = "that is the pooler's answer: look at its log, and at SHOW POOLS in its admin console"
            return _said(kind, f"the pooler: {what}", error, where, hint)
    return _said(Absence.BAD_ANSWER, "the pooler refused", error, where, None)


# Without a SQLSTATE it is libpq that speaks, in English (Python leaves LC_MESSAGES alone), or the other end
# is no Postgres. Where libpq could not be told to be verbose, a server's text ends here as well.
_HOST = "check the host in postgres.dsn, and the resolver"
_NOT_POSTGRES = "something answers there, but not as Postgres does: check host and port in postgres.dsn"
_DSN = "check the options in postgres.dsn, and the service file where it names one"
_TLS = "sslmode is kept as configured: turn TLS on at the server, or mend its certificate"
_PASSWORD = "check PGPASSFILE, or the password in postgres.dsn"  # noqa: S105  # it is none
_ATTRS = "see target_session_attrs in postgres.dsn"
_DOWN = "is it running, and does it listen there? systemctl status postgresql"
_GONE = r"refused|No such file|unreachable|No route|closed the connection|reset by|timed out"
_UNSTATED: tuple[tuple[Absence, str, str | None], ...] = (
    (Absence.UNRESOLVED, r"could not translate host name", _HOST),
    (Absence.BAD_ANSWER, r"invalid response|expected authentication|unsupported .*protocol", _NOT_POSTGRES),
    (Absence.CONFIG, r"invalid \w+ value|invalid port|invalid integer|definition of service", _DSN),
    (Absence.TLS, r"SSL|TLS|certificate", _TLS),
    (Absence.AUTH, r"no password supplied|authentication", _PASSWORD),
    (Absence.NO_SLOTS, _NO_SLOT, _RESERVE),
    (Absence.ROLE_LIMIT, r"too many connections for", None),
    (Absence.STARTING, r"starting up|shutting down|recovery", _WAIT),
    (Absence.CONFIG, r"session is (?:not )?read-only|standby mode", _ATTRS),
    (Absence.DOWN, _GONE, _DOWN),
)


def _unstated(error: ServerError, where: Where) -> Unavailable:
    for kind, pattern, hint in _UNSTATED:
        if re.search(pattern, error.message):
            return Unavailable(kind=kind, reason=f"{where.server}: {_cause(error.message)}", hint=hint)
    return Unavailable(kind=Absence.BAD_ANSWER, reason=f"{where.server}: {_cause(error.message)}")


def _cause(message: str) -> str:
    """libpq's text without its address, which stands in front already, and without its question."""
    text = re.sub(r"connection to server (?:at|on socket) .*? failed: ", "", message, count=1)
    return re.sub(r" Is the server running .*\Z", "", text)


# --- no answer to a question ---------------------------------------------------------------------


def unanswered(error: ServerError, where: Where, *, in_recovery: bool) -> Unavailable:
    """Why one question has no answer."""
    state = error.sqlstate or ""
    if state == "57014":
        return _no(Absence.TIMEOUT, "canceled: it ran too long", error)
    if state == "55P03":
        return _no(Absence.TIMEOUT, "given up: it would have waited for a lock", error)
    if state == "42501":
        return _no(Absence.DENIED, f"role {where.role} may not read this", error)
    if state == "25006":
        return _no(Absence.BAD_QUERY, "refused: it would write, and a step only reads", error)
    if in_recovery and state in ("55000", "0A000"):
        return _no(Absence.NOT_APPLICABLE, "a replica does not know this: ask the primary", error)
    if state == "55000":
        return _no(Absence.NOT_INSTALLED, "not ready for this", error)
    if state.startswith(("42", "3F", "22")):
        return _no(Absence.BAD_QUERY, "the SQL does not fit this server", error)
    if state.startswith(("57P", "08")) or not state:
        return _no(Absence.DOWN, "the connection was lost", error)
    return _no(Absence.BAD_ANSWER, "an error", error)


def _no(kind: Absence, what: str, error: ServerError) -> Unavailable:
    return Unavailable(kind=kind, reason=f"{what}: {error.message}", hint=error.hint)
