"""What a dashboard can show without Prometheus: the service's own page, looked at again and again."""

import asyncio
import math
from collections.abc import Mapping

from oncall.clients.http import HttpServer
from oncall.clients.scrape import Scrape, scrape
from oncall.clients.scrape_signals import from_scrapes, scrape_names
from oncall.model import Absence, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.monitoring.board_metrics import Reading

UNREACHED = frozenset({Absence.DOWN, Absence.TIMEOUT})
_UNDEFINED = Unavailable(kind=Absence.UNDEFINED, reason="undefined: nothing happened between two scrapes")


class Pages:
    """The pages of one service: each look is compared with the one before it, which a rate needs."""

    def __init__(self, service: Service, interval_s: float, *, again: bool) -> None:
        self._service, self._interval_s = service, interval_s
        self._again = again
        """There will be no later look: where this is the first, a second one is taken at once."""
        self._server = HttpServer.of_service(service)
        self._before: dict[str, Scrape] = {}

    async def close(self) -> None:
        await self._server.__aexit__(None, None, None)

    async def look(
        self, board: str, signals: Mapping[str, SignalSpec], why: Unavailable, deadline_s: float
    ) -> tuple[dict[str, Reading], Scrape | Unavailable]:
        """Each signal of a board, and the page itself; `why` is said of what only Prometheus knows."""
        names = frozenset(n for spec in signals.values() for n in scrape_names(spec))
        first, page = self._before.get(board), await self._once(names, deadline_s)
        if first is None and self._again and isinstance(page, Scrape):
            first = page
            await asyncio.sleep(self._interval_s)
            page = await self._once(names, deadline_s)
        if isinstance(page, Unavailable):
            return {n: Reading(now=_both(why, page), source="scrape") for n in signals}, page
        self._before[board] = page
        return {n: _reading(spec, first, page, why) for n, spec in signals.items()}, page

    async def _once(self, names: frozenset[str], deadline_s: float) -> Scrape | Unavailable:
        return await scrape(self._service, names, deadline_s, self._server)


def _both(prometheus: Unavailable, page: Unavailable) -> Unavailable:
    """Why neither Prometheus nor the page gave it; not configured is not worth a word beside a fault."""
    if prometheus.kind is Absence.NOT_CONFIGURED:
        return page
    return Unavailable(
        kind=prometheus.kind, reason=f"{prometheus.reason}; /metrics: {page.reason}", hint=prometheus.hint
    )


def _reading(spec: SignalSpec, first: Scrape | None, page: Scrape, why: Unavailable) -> Reading:
    value = from_scrapes(spec, first, page)
    if isinstance(value, Unavailable):
        return Reading(now=why if value.kind is Absence.NOT_APPLICABLE else value, source="scrape")
    query = f"GET /metrics: {' or '.join(sorted(scrape_names(spec)))}"
    now = value if math.isfinite(value) else _UNDEFINED
    return Reading(now=now, source="scrape", query=query, age_s=0.0)
