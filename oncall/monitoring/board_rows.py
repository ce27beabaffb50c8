"""What a dashboard asks of Postgres: all questions over one connection, which stays open from look to look."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from oncall.clients import postgres as client
from oncall.model import Absence, StepReading, Table, Unavailable
from oncall.model_service import PostgresAt
from oncall.monitoring.board_metrics import Reading
from oncall.monitoring.board_model import BoardSpec, PanelSpec

AGAIN_S = 10.0
"""A server that refused is tried again after so long: one without free slots must not be knocked at all the time."""

Answers = Mapping[str, StepReading]


class Asker:
    """One connection to one server, and the last answers of each board."""

    def __init__(self, at: PostgresAt, deadline_s: float, fresh_s: float) -> None:
        self._at, self._deadline_s, self._fresh_s = at, deadline_s, fresh_s
        self._stack = AsyncExitStack()
        self._opened: client.Opened | None = None
        self._refused_at = 0.0
        self._kept: dict[str, tuple[float, Answers]] = {}
        self._counted: dict[tuple[str, str], tuple[float, float]] = {}
        self._rates: dict[tuple[str, str], float] = {}

    async def close(self) -> None:
        self._opened = None
        await self._stack.aclose()

    async def rows(self, board: BoardSpec) -> Answers:
        """The answers by panel, asked anew unless the last ones are fresh."""
        asked = {n: p for n, p in board.panels.items() if p.sql is not None}
        at, kept = self._kept.get(board.name, (0.0, {}))
        if kept and time.monotonic() - at < self._fresh_s:
            return kept
        return await self._ask(board.name, asked)

    async def again(self, board: BoardSpec, interval_s: float) -> Answers:
        """A second look at what only grows, so that one look alone can tell a rate."""
        await asyncio.sleep(interval_s)
        return await self._ask(board.name, {n: p for n, p in board.panels.items() if p.sql and p.counter})

    def rate(self, board: str, panel: str) -> float | None:
        """How fast a counter grew between the last two looks, per second."""
        return self._rates.get((board, panel))

    async def _ask(self, board: str, asked: Mapping[str, PanelSpec]) -> Answers:
        opened = await self._open()
        questions = [client.Question(id=name, sql=panel.sql or "") for name, panel in asked.items()]
        answers = await opened.ask(questions, {}, self._deadline_s)
        found = answers.by_id
        if any(isinstance(r.answer, Unavailable) and r.answer.kind is Absence.DOWN for r in found.values()):
            await self._lost()
        self._kept[board] = (time.monotonic(), {**self._kept.get(board, (0.0, {}))[1], **found})
        for name, panel in asked.items():
            self._count((board, name), panel, found[name])
        return self._kept[board][1]

    async def _open(self) -> client.Opened:
        refused = self._opened is not None and isinstance(self._opened.facts, Unavailable)
        if refused and time.monotonic() - self._refused_at > AGAIN_S:
            await self._lost()
        if self._opened is None:
            self._opened = await self._stack.enter_async_context(client.opened(self._at, self._deadline_s))
            self._refused_at = time.monotonic()
        return self._opened

    async def _lost(self) -> None:
        """The next look connects anew."""
        await self.close()
        self._stack = AsyncExitStack()

    def _count(self, key: tuple[str, str], panel: PanelSpec, reading: StepReading) -> None:
        value = number(reading)
        if not panel.counter or isinstance(value, Unavailable):
            self._rates.pop(key, None)
            return
        now = time.monotonic()
        then, before = self._counted.get(key, (now, value))
        self._counted[key] = (now, value)
        if now > then and value >= before:
            self._rates[key] = (value - before) / (now - then)
        else:
            self._rates.pop(key, None)


def number(reading: StepReading) -> float | Unavailable:
    """The column `value` of the only row."""
    answer = reading.answer
    if isinstance(answer, Unavailable):
        return answer
    cell = _cell(answer)
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return Unavailable(kind=Absence.NO_DATA, reason="the answer has no number in the column `value`")
    return float(cell)


def _cell(table: Table) -> object:
    names = [column.name for column in table.columns]
    return table.rows[0][names.index("value")] if table.rows and "value" in names else None


def sql_value(panel: PanelSpec, step: StepReading, rate: float | None) -> float | Unavailable:
    """The number that Postgres gave; of a counter how fast it grows, which two looks tell."""
    value = number(step)
    if not panel.counter or isinstance(value, Unavailable):
        return value
    if rate is None:
        return Unavailable(kind=Absence.NO_DATA, reason="a rate needs two looks, one after the other")
    return rate


def reading_of(
    step: StepReading, value: float | Unavailable, course: tuple[float | None, ...] = ()
) -> Reading:
    return Reading(now=value, source="postgres", query=step.query, values=course, age_s=0.0)
