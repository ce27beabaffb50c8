"""One operator at a time: an advisory lock in the service's Postgres, freed when the connection closes."""

import hashlib

from oncall.clients.postgres import Opened, Question
from oncall.model import Absence, Frozen, Table, Unavailable

_WAIT_S = 2.0
_TRY = "SELECT pg_catalog.pg_try_advisory_lock({0}, {1}) AS granted"
_WHO = Question(
    id="holder",
    sql="SELECT a.pid, a.application_name, a.usename, pg_catalog.host(a.client_addr) AS client, a.backend_start"
    " FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d"
    " WHERE d.datname = pg_catalog.current_database())"
    # pg_locks shows the two numbers without their sign.
    " AND l.classid::bigint = :high AND l.objid::bigint = :low",
)


class Held(Frozen, frozen=True):
    """Whether the lock is ours: True; False, and `holder` has it; None, and `reason` says why that is not known."""

    granted: bool | None
    holder: str | None = None
    reason: str | None = None


def lock_key(service: str) -> tuple[int, int]:
    """The two signed 32-bit numbers that stand for a service: the same from every machine."""
    high, low = (hashlib.sha256(text.encode()).digest()[:4] for text in ("oncall", service))
    return int.from_bytes(high, signed=True), int.from_bytes(low, signed=True)


async def advisory_lock(session: Opened, service: str) -> Held:
    """Takes the lock of a service on this session, without waiting. Raises nothing."""
    high, low = lock_key(service)
    answer = (await session.act(_TRY.format(high, low), _WAIT_S)).answer
    if isinstance(answer, Unavailable):
        why = "a pooler keeps no advisory lock" if answer.kind is Absence.NOT_APPLICABLE else answer.reason
        return Held(granted=None, reason=f"other operators cannot be told by way of Postgres: {why}")
    if answer.rows[0][0] is True:
        return Held(granted=True)
    unsigned = {"high": high % 2**32, "low": low % 2**32}
    found = (await session.ask([_WHO], unsigned, _WAIT_S)).by_id[_WHO.id].answer
    return Held(granted=False, holder=_holder(found))


def _holder(found: Table | Unavailable) -> str:
    if isinstance(found, Unavailable):
        return f"another session holds the lock; which one is not known: {found.reason}"
    if not found.rows:
        return "another session held the lock a moment ago"
    pid, application, user, client, since = found.rows[0]
    at = f"from {client}" if client else "over the local socket, or hidden"
    who = f"{application or 'a session'} of {user} {at} (pid {pid})"
    return f"{who}, connected since {since or 'a time that is hidden'}"
