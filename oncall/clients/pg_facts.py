"""What a Postgres server is, and what a role may see of it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from oncall.clients.pg_text import identifier
from oncall.clients.pg_wire import Rows, Wire
from oncall.model import Absence, Frozen, Scalar, Unavailable


class StatementsView(Frozen, frozen=True):
    """Where pg_stat_statements is, and what its version calls the mean and the total time (ms)."""

    schema: str
    mean: str
    total: str


class ServerFacts(Frozen, frozen=True):
    """What answered, and what this role may see. `reserved` is reserved_connections (PostgreSQL 16+), else 0;
    `hidden` is how many sessions hide their state from this role; `refused` is why the reserve DSN was needed."""

    version_num: int
    version: str
    host: str
    port: int
    database: str
    role: str
    is_superuser: bool
    in_recovery: bool
    max_connections: int
    superuser_reserved: int
    reserved: int
    has_pg_monitor: bool
    can_signal: bool
    pooler: bool
    statements: StatementsView | Unavailable
    track_activities: bool
    track_activity_query_size: int
    clock: datetime
    connect_ms: float
    ssl: bool
    hidden: int = 0
    reserve_used: bool = False
    refused: Unavailable | None = None


def read_facts(
    rows: Rows, wire: Wire, *, pooler: bool, connect_ms: float, refused: Unavailable | None
) -> ServerFacts:
    """The answer to facts.sql, typed."""
    row = dict(zip(rows.names, rows.rows[0], strict=True))
    return ServerFacts(
        version_num=_int(row, "version_num"),
        version=str(row["version"]),
        host=wire.host,
        port=wire.port,
        database=str(row["database"]),
        role=str(row["role"]),
        is_superuser=bool(row["is_superuser"]),
        in_recovery=bool(row["in_recovery"]),
        max_connections=_int(row, "max_connections"),
        superuser_reserved=_int(row, "superuser_reserved"),
        reserved=_int(row, "reserved"),
        has_pg_monitor=bool(row["has_pg_monitor"]),
        can_signal=bool(row["can_signal"]),
        pooler=pooler,
        statements=_statements(row),
        track_activities=bool(row["track_activities"]),
        track_activity_query_size=_int(row, "track_activity_query_size"),
        clock=datetime.fromtimestamp(float(row["clock"] or 0), UTC),
        connect_ms=connect_ms,
        ssl=wire.ssl,
        hidden=_int(row, "hidden"),
        reserve_used=refused is not None,
        refused=refused,
    )


def _int(row: Mapping[str, Scalar], name: str) -> int:
    return int(row[name] or 0)


def _statements(row: Mapping[str, Scalar]) -> StatementsView | Unavailable:
    """The view, or which command would make it readable."""
    schema = row["statements_schema"]
    if schema is None:
        reason = f"pg_stat_statements is not installed in database {row['database']}"
        hint = "CREATE EXTENSION pg_stat_statements;"
        if not row["statements_loaded"]:
            hint = (
                f"shared_preload_libraries = 'pg_stat_statements' in postgresql.conf, a restart, then {hint}"
            )
        return Unavailable(kind=Absence.NOT_INSTALLED, reason=reason, hint=hint)
    if not row["statements_loaded"]:
        hint = "shared_preload_libraries = 'pg_stat_statements' in postgresql.conf, then a restart"
        return Unavailable(
            kind=Absence.NOT_INSTALLED, reason="pg_stat_statements is not preloaded", hint=hint
        )
    if not row["statements_readable"]:
        name, role = identifier(str(schema)), identifier(str(row["role"]))
        hint = f"GRANT USAGE ON SCHEMA {name} TO {role}; GRANT SELECT ON {name}.pg_stat_statements TO {role};"
        reason = f"role {row['role']} may not read pg_stat_statements"
        return Unavailable(kind=Absence.DENIED, reason=reason, hint=hint)
    mean, total = str(row["statements_mean"]), str(row["statements_total"])
    return StatementsView(schema=str(schema), mean=mean, total=total)


def variables(facts: ServerFacts) -> dict[str, str | float]:
    """What the facts give to the questions' SQL."""
    found: dict[str, str | float] = {"version_num": facts.version_num}
    if isinstance(facts.statements, StatementsView):
        view = facts.statements
        found |= {
            "statements_schema": view.schema,
            "statements_mean": view.mean,
            "statements_total": view.total,
        }
    return found


def notes(facts: ServerFacts) -> tuple[str, ...]:
    """What the reader of the answers must know besides."""
    found = []
    if facts.reserve_used and facts.refused is not None:
        found.append(f"asked through postgres.reserve_dsn, because {facts.refused.reason}")
    if facts.in_recovery:
        found.append("a replica: what only the primary knows is not applicable here")
    if facts.pooler:
        found.append(
            "through a pooler: pids are shared by its clients, and those waiting in the pooler are not seen here"
        )
    if facts.hidden:
        sessions = "session" if facts.hidden == 1 else "sessions"
        found.append(f"{facts.hidden} {sessions} hidden: GRANT pg_monitor TO {identifier(facts.role)};")
    if not facts.track_activities:
        found.append("track_activities is off: sessions do not say what they do")
    return tuple(found)
