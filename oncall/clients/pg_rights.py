"""Whether Postgres is there, and which rights this role lacks, each with the exact GRANT."""

from collections.abc import Iterator

from msgspec.structs import replace

from oncall.clients.pg_facts import ServerFacts
from oncall.clients.pg_text import identifier
from oncall.clients.postgres import Answers, Question, ask
from oncall.model import Absence, Met, Right, Table, Unavailable
from oncall.model_service import PostgresAt

_ROUND_TRIP = Question(id="round_trip", sql="SELECT 1 AS one")
# The role exists from PostgreSQL 16 on.
_RESERVED = Question(
    id="reserved",
    sql="SELECT pg_catalog.bool_or(pg_catalog.pg_has_role(oid, 'USAGE')) AS may FROM pg_catalog.pg_roles"
    " WHERE rolname = 'pg_use_reserved_connections'",
)


async def meet(at: PostgresAt, deadline_s: float) -> Met | Unavailable:
    """Version, round trip and missing rights by `dsn` alone. Raises ConfigError for a DSN that cannot be read."""
    answers = await ask(replace(at, reserve_dsn=None), (_ROUND_TRIP,), {}, deadline_s)
    if isinstance(answers.facts, Unavailable):
        return answers.facts
    return _met(answers, answers.facts, tuple(_missing(answers.facts)))


async def meet_reserve(dsn: str, deadline_s: float) -> Met | Unavailable:
    """The same for the reserve DSN, which is for the hour when no slot is left: does this role get one then?"""
    answers = await ask(PostgresAt(dsn=dsn), (_ROUND_TRIP, _RESERVED), {}, deadline_s)
    if isinstance(answers.facts, Unavailable):
        return answers.facts
    return _met(answers, answers.facts, tuple(_no_slot(answers, answers.facts)))


def _met(answers: Answers, facts: ServerFacts, missing: tuple[Right, ...]) -> Met:
    ms = answers.by_id[_ROUND_TRIP.id].ms
    where = f"{facts.host}:{facts.port}/{facts.database} as {facts.role}"
    # How many sessions are hidden stands with the right that shows them.
    notes = [note for note in answers.notes if "hidden: GRANT" not in note]
    if isinstance(facts.statements, Unavailable) and facts.statements.kind is not Absence.DENIED:
        notes.append(f"{facts.statements.reason}: {facts.statements.hint}")
    version = facts.version.split(" ")[0]
    return Met(
        ms=facts.connect_ms if ms is None else ms,
        where=where,
        version=version,
        missing=missing,
        notes=tuple(notes),
    )


def _missing(facts: ServerFacts) -> Iterator[Right]:
    role = identifier(facts.role)
    if not facts.has_pg_monitor:
        now = f" ({facts.hidden} now)" if facts.hidden else ""
        what = f"what other roles' sessions do is hidden{now}"
        yield Right(what=what, grant=f"GRANT pg_monitor TO {role};")
    if isinstance(facts.statements, Unavailable) and facts.statements.kind is Absence.DENIED:
        yield Right(what=facts.statements.reason, grant=facts.statements.hint or "")
    if not facts.can_signal:
        what = "queries and sessions of other roles cannot be ended"
        yield Right(what=what, grant=f"GRANT pg_signal_backend TO {role};", acting=True)


def _no_slot(answers: Answers, facts: ServerFacts) -> Iterator[Right]:
    """Superusers always get one; from PostgreSQL 16 on members of a role do, where slots are reserved for it."""
    if facts.is_superuser:
        return
    if facts.version_num < 160000:
        what = "before PostgreSQL 16 a reserved slot is for superusers alone"
        yield Right(what=what, grant=f"ALTER ROLE {identifier(facts.role)} SUPERUSER;")
        return
    answer = answers.by_id[_RESERVED.id].answer
    if isinstance(answer, Table) and answer.rows[0][0] is not True:
        what = f"role {facts.role} gets no reserved slot"
        yield Right(what=what, grant=f"GRANT pg_use_reserved_connections TO {identifier(facts.role)};")
    if facts.reserved < 1:
        what = "no slot is reserved for it (a restart is needed)"
        yield Right(what=what, grant="ALTER SYSTEM SET reserved_connections = 3;")
