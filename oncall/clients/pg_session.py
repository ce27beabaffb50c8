"""A session on Postgres: questions put so that one which fails, or is slow, takes no other down."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from time import perf_counter

from oncall.clients.pg_errors import ServerError, Where, unanswered
from oncall.clients.pg_facts import ServerFacts, read_facts
from oncall.clients.pg_text import load_sql
from oncall.clients.pg_wire import Lost, Rows, Wire
from oncall.model import Absence, Unavailable

LOCK_TIMEOUT_MS = 50
Stream = AsyncGenerator[Rows | ServerError, None]


def settings(deadline_s: float) -> dict[str, str]:
    """Looking does no harm: nothing written, nothing that runs long, waits for a lock or takes helpers."""
    return {
        "default_transaction_read_only": "on",
        "statement_timeout": str(round(1000 * max(0.1, min(5.0, deadline_s * 0.4)))),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": "10000",
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
        "datestyle": "ISO",
        "standard_conforming_strings": "on",
    }


class Session:
    """Pipelined; or, where clients share server connections, in transactions that carry their own settings.

    `until` is the loop's time after which nothing is waited for."""

    def __init__(self, wire: Wire, where: Where, settings: Mapping[str, str], until: float) -> None:
        self.wire = wire
        self.where = where
        self.settings = settings
        self.until = until
        self.pooled = False

    async def facts(self, connect_ms: float, refused: Unavailable | None) -> ServerFacts | Unavailable:
        """What the server is. That a pooler dropped our settings is found out here."""
        if self.wire.parameter("server_version").endswith("/bouncer"):
            reason = f"{self.where.server}: this is the admin console of PgBouncer, not a database"
            hint = "name the application's database in postgres.dsn"
            return Unavailable(kind=Absence.CONFIG, reason=reason, hint=hint)
        ((answer, _),) = await self._collect([load_sql("facts")], self.wire.pipeline)
        if isinstance(answer, Unavailable):
            return answer
        row = dict(zip(answer.names, answer.rows[0], strict=True))
        asked = (self.wire.conn.backend_pid, "on", f"{LOCK_TIMEOUT_MS}ms")
        self.pooled = (row["pid"], row["read_only"], row["lock_timeout"]) != asked
        return read_facts(answer, self.wire, pooler=self.pooled, connect_ms=connect_ms, refused=refused)

    async def answers(
        self, statements: Sequence[str], *, in_recovery: bool
    ) -> list[tuple[Rows | Unavailable, float | None]]:
        """For each statement its answer, and the milliseconds after the answer before."""
        way = self._transactions if self.pooled else self.wire.pipeline
        return await self._collect(statements, way, in_recovery=in_recovery)

    async def _collect(
        self, statements: Sequence[str], way: Callable[[Sequence[str]], Stream], *, in_recovery: bool = False
    ) -> list[tuple[Rows | Unavailable, float | None]]:
        """Whatever comes in time is kept."""
        answers: list[tuple[Rows | Unavailable, float | None]] = []
        began = perf_counter()
        try:
            async with asyncio.timeout_at(self.until), aclosing(way(statements)) as stream:
                await self.wire.settle()
                async for answer in stream:
                    before, began = began, perf_counter()
                    answers.append((self._judged(answer, in_recovery), (began - before) * 1000))
            rest = Unavailable(kind=Absence.BAD_ANSWER, reason=f"{self.where.server}: no answer")
        except TimeoutError:
            rest = Unavailable(kind=Absence.TIMEOUT, reason=f"{self.where.server}: no answer in time")
        except Lost as lost:
            reason = f"{self.where.server}: the connection was lost: {lost}"
            rest = Unavailable(kind=Absence.DOWN, reason=reason)
        return answers + [(rest, None)] * (len(statements) - len(answers))

    def _judged(self, answer: Rows | ServerError, in_recovery: bool) -> Rows | Unavailable:
        return answer if isinstance(answer, Rows) else unanswered(answer, self.where, in_recovery=in_recovery)

    async def _transactions(self, statements: Sequence[str]) -> Stream:
        """All in one transaction, a single round trip; after one that fails, the others in one each."""
        done = 0
        together = True
        while done < len(statements):
            group = statements[done:] if together else statements[done : done + 1]
            async with aclosing(self._transaction(group)) as stream:
                async for answer in stream:
                    yield answer
                    done += 1
            together = False

    async def _transaction(self, statements: Sequence[str]) -> Stream:
        """One message that carries its settings: what a pooler keeps of them would hit other clients."""
        before = ["BEGIN READ ONLY", f"SELECT {self._local()}"]
        index = -len(before)
        async with aclosing(self.wire.message([*before, *statements, "COMMIT"])) as stream:
            async for answer in stream:
                # An error in front of several comes from a message that cannot be parsed: it is not known whose.
                alone = isinstance(answer, ServerError) and len(statements) == 1
                if 0 <= index < len(statements) or (alone and index < 0):
                    yield answer
                index += 1
        await self._roll_back()

    def _local(self) -> str:
        own = {name: value for name, value in self.settings.items() if not name.startswith("default_")}
        return ", ".join(f"pg_catalog.set_config('{name}', '{value}', true)" for name, value in own.items())

    async def _roll_back(self) -> None:
        """After an error the transaction is still open, and the pooler's server connection with it."""
        from psycopg.pq import TransactionStatus

        if self.wire.conn.transaction_status != TransactionStatus.IDLE:
            async with aclosing(self.wire.message(["ROLLBACK"])) as stream:
                async for _ in stream:
                    pass
