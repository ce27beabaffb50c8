"""What proves that a restart took hold beyond the unit: healthy answers, another process, a database that answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from oncall.model import Absence, Scalar, Table, Unavailable
from oncall.model_acts import Check
from oncall.model_service import PostgresAt, Service
from oncall.remediation.action import Tell

Proof = Callable[[float, Tell], Awaitable[Check]]
"""Awaits one proof, until the loop's time at most."""

_PAUSE_S = 1.0
_ASK_S = 5.0
_CONNECT_S = 5.0
_SLACK_S = 1.0
# Nobody answers yet: that is the service's state. Any other absence is a gap in what we know
_ILL = (Absence.DOWN, Absence.TIMEOUT, Absence.STARTING, Absence.BAD_ANSWER)


def left(until: float) -> float:
    """Seconds until then, not below nothing."""
    return max(0.0, until - asyncio.get_running_loop().time())


def healthy_twice(service: Service) -> Proof:
    """Two healthy answers of /health in a row, a second apart."""

    async def prove(until: float, tell: Tell) -> Check:
        from oncall.clients.http import health

        row = 0
        while True:
            reading = await health(service, "/health", max(0.5, min(_ASK_S, left(until))))
            holds, said = _verdict(reading.answer)
            row = row + 1 if holds else 0
            if row == 2:
                return Check(text="/health: healthy twice in a row, a second apart", holds=True)
            if left(until) < _PAUSE_S:
                said = "healthy once, and no time was left for a second look" if row else said
                return Check(text=f"/health: {said}", holds=None if row else holds)
            tell(f"/health: {said}")
            await asyncio.sleep(_PAUSE_S)

    return prove


def _verdict(answer: Table | Unavailable) -> tuple[bool | None, str]:
    if isinstance(answer, Unavailable):
        return (False if answer.kind in _ILL else None), answer.reason
    row = dict(zip((c.name for c in answer.columns), answer.rows[0], strict=True))
    if row["healthy"]:
        return True, "healthy"
    detail = f": {row['detail']}" if row["detail"] else ""
    return (None if row["healthy"] is None else False), f"not healthy ({row['verdict']}{detail})"


def another_process(service: Service, before: float) -> Proof:
    """process_start_time_seconds of /metrics is another than `before`."""

    async def prove(until: float, tell: Tell) -> Check:
        while True:
            now = await process_started(service, max(0.5, min(_ASK_S, left(until))))
            if isinstance(now, float) and now != before:
                return Check(text="another process answers (process_start_time_seconds)", holds=True)
            if left(until) < _PAUSE_S:
                break
            tell("the process from before still answers" if isinstance(now, float) else "no /metrics yet")
            await asyncio.sleep(_PAUSE_S)
        if isinstance(now, Unavailable):
            return Check(text=f"whether it is another process is not known: {now.reason}", holds=None)
        return Check(text="the process from before still answers (process_start_time_seconds)", holds=False)

    return prove


async def process_started(service: Service, deadline_s: float) -> float | Unavailable:
    """When the process behind /metrics began (Unix seconds)."""
    from oncall.clients.scrape import scrape

    page = await scrape(service, (), deadline_s)
    if isinstance(page, Unavailable):
        return page
    if page.started is None:
        reason = "/metrics does not say when one process began"
        return Unavailable(kind=Absence.NO_DATA, reason=reason)
    return page.started


def database_back(at: PostgresAt, before: float | None) -> Proof:
    """A connection by the service's DSN opens, and the server began after `before`; where that was not to be read,
    after the moment that this proof was prepared in."""
    prepared = time.monotonic()

    def is_new(began: float, up_s: float) -> bool:
        return began > before if before is not None else up_s < time.monotonic() - prepared + _SLACK_S

    async def prove(until: float, tell: Tell) -> Check:
        while True:
            now = await _server_began(at, max(1.0, min(_CONNECT_S, left(until))))
            if not isinstance(now, Unavailable) and is_new(*now):
                text = "the database lets us in, and the server is a new one (pg_postmaster_start_time)"
                return Check(text=text, holds=True)
            if left(until) < _PAUSE_S:
                break
            tell(now.reason if isinstance(now, Unavailable) else "the server from before still answers")
            await asyncio.sleep(_PAUSE_S / 2)
        if isinstance(now, Unavailable):
            return Check(text=f"no connection: {now.reason}", holds=False if now.kind in _ILL else None)
        return Check(text="the server from before still answers (pg_postmaster_start_time)", holds=False)

    return prove


async def _server_began(at: PostgresAt, deadline_s: float) -> tuple[float, float] | Unavailable:
    """When the server began (Unix seconds by its clock), and how many seconds ago."""
    from oncall.clients.postgres import Question, load_sql, opened

    async with opened(at, deadline_s) as session:
        answers = await session.ask([Question(id="r", sql=load_sql("restarting"))], {})
    row = first_row(answers.by_id["r"].answer)
    return row if isinstance(row, Unavailable) else (float(row["started"] or 0), float(row["up_s"] or 0))


def first_row(answer: Table | Unavailable) -> dict[str, Scalar] | Unavailable:
    """The first row by the names of its columns."""
    if isinstance(answer, Unavailable):
        return answer
    if not answer.rows:
        return Unavailable(kind=Absence.NO_DATA, reason="the answer has no row")
    return dict(zip((c.name for c in answer.columns), answer.rows[0], strict=True))
