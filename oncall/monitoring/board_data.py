"""A dashboard's data: everything asked at once, over connections that stay open from refresh to refresh."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from oncall.clients.prometheus import Prometheus
from oncall.diagnosis.asks import NO_LOOK_BACK
from oncall.model import Absence, Frozen, Severity, StepReading, Unavailable
from oncall.model_boards import Board, Panel
from oncall.model_service import Service, SignalSpec
from oncall.monitoring.board_judge import Scene, panels
from oncall.monitoring.board_metrics import (
    POINTS,
    Measured,
    Reading,
    Wanted,
    Window,
    measure,
    signals_of,
    wanted,
)
from oncall.monitoring.board_model import BoardSpec
from oncall.monitoring.board_pages import UNREACHED, Pages
from oncall.monitoring.board_rows import Asker, sql_value
from oncall.numbers import duration
from oncall.scrub import scrub, secrets_of

MOST_KEPT = 4000
"""Values of a signal that are kept while it is watched, where nobody else keeps them."""


class Looking(Frozen, frozen=True):
    """How to look. `at`: Unix seconds, None is now; `live`: again and again, every `interval_s` seconds."""

    at: float | None = None
    live: bool = False
    interval_s: float = 2.0
    timeout_s: float = 10.0
    fresh_s: float = 4.0
    """An answer of Postgres younger than this is not asked for again: the size of a large database has its price."""

    @property
    def deadline_s(self) -> float:
        """Of one backend: what stands in for one that hangs needs time too."""
        return min(3.0 if self.live else 5.0, 0.6 * self.timeout_s)


class Source:
    """One service, asked for one dashboard after another. Use as `async with`; one refresh at a time."""

    def __init__(self, name: str, service: Service, looking: Looking) -> None:
        self._name, self._service, self._looking = name, service, looking
        self._server = Prometheus(service.prometheus) if service.prometheus else None
        present = looking.at is None
        self._pages = (
            Pages(service, looking.interval_s, again=not looking.live) if service.url and present else None
        )
        at = service.postgres if present else None
        self._asker = Asker(at, looking.deadline_s, looking.fresh_s) if at else None
        self._skew_s = 0.0
        self._wanted: dict[tuple[str, float], Wanted] = {}
        self._kept: dict[str, deque[tuple[float, float]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in (self._asker, self._pages):
            if part is not None:
                await part.close()
        if self._server is not None:
            await self._server.__aexit__(kind, error, trace)

    async def look(self, board: BoardSpec, range_s: float) -> Board:
        """The dashboard as it is now (or was, `at`), over the last `range_s` seconds. One dead backend is a reason in
        the panels that need it; the others are there."""
        begun = time.monotonic()
        window = Window(range_s=range_s, at=self._looking.at)
        specs = signals_of(board, self._service)
        (measured, notes), rows = await asyncio.gather(self._metrics(board, specs, window), self._rows(board))
        rows = await self._grown(board, measured, rows)
        rates = {
            n: rate
            for n in board.panels
            if self._asker and (rate := self._asker.rate(board.name, n)) is not None
        }
        courses = self._courses(board, rows, rates, window, measured.end)
        scene = Scene(board, self._service, specs, measured, rows, rates, courses, range_s)
        shown, severity = panels(scene)
        return self._board(board, scene, window, (shown, severity), notes, begun)

    def _board(
        self,
        board: BoardSpec,
        scene: Scene,
        window: Window,
        judged: tuple[tuple[Panel, ...], Severity],
        notes: tuple[str, ...],
        begun: float,
    ) -> Board:
        secrets = secrets_of(self._service)
        shown = tuple(_clean(panel, secrets) for panel in judged[0])
        return Board(
            service=self._name,
            environment=self._service.environment,
            dashboard=board.name,
            title=board.title,
            at=datetime.fromtimestamp(scene.measured.end, UTC),
            duration_ms=round((time.monotonic() - begun) * 1000),
            severity=judged[1],
            range_s=window.range_s,
            step_s=window.step_s,
            panels=shown,
            notes=tuple(scrub(note, secrets) for note in notes),
        )

    # --- metrics ------------------------------------------------------------------------------------

    async def _metrics(
        self, board: BoardSpec, specs: Mapping[str, SignalSpec], window: Window
    ) -> tuple[Measured, tuple[str, ...]]:
        told = await self._prometheus(board, window)
        if isinstance(told, Measured):
            self._skew_s = told.skew_s
            return told, _skew_note(told.skew_s)
        found = await self._stand_in(board, specs, told)
        end = window.at if window.at is not None else time.time()
        signals = {n: self._remembered(n, r, window, end) for n, r in found.items()}
        return Measured(signals=signals, splits={}, end=end), (self._note(told, found),)

    async def _prometheus(self, board: BoardSpec, window: Window) -> Measured | Unavailable:
        if self._server is None:
            return _not_configured("prometheus")
        key = (board.name, window.step_s)
        if key not in self._wanted:
            self._wanted[key] = wanted(board, self._service, window)
        return await measure(
            self._server, self._wanted[key], window, time.time(), self._skew_s, self._looking.deadline_s
        )

    async def _stand_in(
        self, board: BoardSpec, specs: Mapping[str, SignalSpec], why: Unavailable
    ) -> dict[str, Reading]:
        """From the service's own page; `why` Prometheus gave nothing is the reason where there is none."""
        if self._pages is None:
            past = self._looking.at is not None and why.kind is Absence.NOT_CONFIGURED
            return {n: Reading(now=NO_LOOK_BACK if past else why, source="prometheus") for n in specs}
        found, page = await self._pages.look(board.name, specs, why, self._looking.deadline_s)
        for panel in board.panels.values():
            if panel.kind != "state":
                continue
            down = isinstance(page, Unavailable) and page.kind in UNREACHED
            if down or not isinstance(page, Unavailable):
                # What Prometheus calls up is that its scrape is answered: so is ours.
                up = Reading(now=0.0 if down else 1.0, source="scrape", query="GET /metrics", age_s=0.0)
                found[panel.signals[0]] = up
        return found

    def _note(self, told: Unavailable, found: Mapping[str, Reading]) -> str:
        configured = self._service.prometheus is not None
        why = (
            f"Prometheus could not be read ({told.reason})" if configured else "Prometheus is not configured"
        )
        if any(r.source == "scrape" and not isinstance(r.now, Unavailable) for r in found.values()):
            return f"{why}: the numbers are from the service's own /metrics, without their past"
        return why

    def _remembered(self, name: str, reading: Reading, window: Window, end: float) -> Reading:
        """Without Prometheus, what was seen since the watch began is the course."""
        return replace(reading, values=self._seen(name, reading.now, window, end))

    def _courses(
        self,
        board: BoardSpec,
        rows: Mapping[str, StepReading],
        rates: Mapping[str, float],
        window: Window,
        end: float,
    ) -> dict[str, tuple[float | None, ...]]:
        """The same for what Postgres gave, by panel."""
        values = {
            n: sql_value(p, rows[n], rates.get(n)) for n, p in board.panels.items() if n in rows and p.signals
        }
        return {n: self._seen(f"{board.name}/{n}", value, window, end) for n, value in values.items()}

    def _seen(
        self, key: str, now: float | Unavailable, window: Window, end: float
    ) -> tuple[float | None, ...]:
        """Every value of a watch until now, on the grid of the board; of several at one point the highest."""
        if not self._looking.live or isinstance(now, Unavailable):
            return ()
        kept = self._kept.setdefault(key, deque(maxlen=MOST_KEPT))
        kept.append((end, now))
        slots: list[float | None] = [None] * (POINTS + 1)
        for moment, value in kept:
            at = POINTS - round((end - moment) / window.step_s)
            if at >= 0:
                before = slots[at]
                slots[at] = value if before is None else max(value, before)
        return tuple(slots)

    # --- rows -----------------------------------------------------------------------------------------

    async def _rows(self, board: BoardSpec) -> Mapping[str, StepReading]:
        asked = {n: p.sql for n, p in board.panels.items() if p.sql is not None}
        if not asked:
            return {}
        if self._asker is None:
            why = NO_LOOK_BACK if self._service.postgres else _not_configured("postgres")
            return {n: StepReading(source="postgres", query=sql, answer=why) for n, sql in asked.items()}
        return await self._asker.rows(board)

    async def _grown(
        self, board: BoardSpec, measured: Measured, rows: Mapping[str, StepReading]
    ) -> Mapping[str, StepReading]:
        """Looks a second time at what grows, where a single look is all there will be and nobody else knows it."""
        if self._asker is None or self._looking.live:
            return rows
        unknown = [
            n
            for n, p in board.panels.items()
            if p.counter and isinstance(measured.signals[p.signals[0]].now, Unavailable)
        ]
        if any(not isinstance(rows[n].answer, Unavailable) for n in unknown):
            return await self._asker.again(board, min(1.0, self._looking.interval_s))
        return rows


def _not_configured(what: str) -> Unavailable:
    hint = f"set `{what}` of the service in the service file"
    return Unavailable(kind=Absence.NOT_CONFIGURED, reason=f"{what}: not configured", hint=hint)


def _skew_note(skew_s: float) -> tuple[str, ...]:
    if not skew_s:
        return ()
    way = "ahead of" if skew_s > 0 else "behind"
    said = f"the clock of Prometheus is {duration(abs(skew_s))} {way} this machine's; its own clock is used"
    return (said,)


def _clean(panel: Panel, secrets: tuple[str, ...]) -> Panel:
    """Without the service's own secrets: a reason may hold the address that could not be reached."""
    if panel.reason is None and panel.hint is None:
        return panel
    return replace(
        panel,
        reason=panel.reason and scrub(panel.reason, secrets),
        hint=panel.hint and scrub(panel.hint, secrets),
    )
