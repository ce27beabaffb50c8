"""Asks Prometheus and Alertmanager what fires, pends and is silenced; a server of several services is asked once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from oncall.clients.alertmanager import Alertmanager, Held, Quiet
from oncall.clients.prom_alerts import Rules, raised_alerts
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import HttpBackend, PrometheusAt, Service

AT_ONCE = 16
"""Servers that are asked at the same time."""
_LEAST_S = 0.1
_CLOCKS_AGREE_S = 2.0
Progress = Callable[[str, str], None]
T = TypeVar("T")
B = TypeVar("B", bound=HttpBackend)


class Kept(Frozen, frozen=True):
    """What one Alertmanager holds. `skew_s`: its clock minus ours."""

    place: str
    held: tuple[Held, ...]
    silences: tuple[Quiet, ...] | Unavailable
    skew_s: float | None = None


@dataclass(frozen=True)
class Seen:
    """The answers of both servers of a service; the same objects for services that share a server."""

    rules: Rules | Unavailable
    kept: Kept | Unavailable

    @property
    def skew_s(self) -> float:
        """The servers' clock minus ours, where that is more than the second that a Date is cut to."""
        told = [a.skew_s for a in (self.rules, self.kept) if not isinstance(a, Unavailable)]
        skew = next((s for s in told if s is not None), 0.0)
        return skew if abs(skew) > _CLOCKS_AGREE_S else 0.0


def not_configured(key: str) -> Unavailable:
    return Unavailable(
        kind=Absence.NOT_CONFIGURED, reason="not configured", hint=f"set {key}: {{url: ...}} of the service"
    )


async def ask(services: Mapping[str, Service], deadline_s: float, progress: Progress) -> dict[str, Seen]:
    """Every server of these services, once, all at the same time; by the name of the service."""
    asking = _Asking(deadline_s, progress)
    proms = {_key(s.prometheus): s.prometheus for s in services.values() if s.prometheus}
    managers = {_key(s.alertmanager): s.alertmanager for s in services.values() if s.alertmanager}
    rules, kept = await asyncio.gather(
        asking.all("prometheus", proms, raised_alerts), asking.all("alertmanager", managers, _kept)
    )
    return {
        name: Seen(
            rules=rules[_key(s.prometheus)] if s.prometheus else not_configured("prometheus"),
            kept=kept[_key(s.alertmanager)] if s.alertmanager else not_configured("alertmanager"),
        )
        for name, s in services.items()
    }


class _Asking:
    """One deadline for all, and so many servers at a time."""

    def __init__(self, deadline_s: float, progress: Progress) -> None:
        self._until = time.monotonic() + deadline_s
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._progress = progress

    async def all(
        self, name: str, servers: Mapping[bytes, B], work: Callable[[B, float], Awaitable[T | Unavailable]]
    ) -> dict[bytes, T | Unavailable]:
        async def one(at: B) -> T | Unavailable:
            async with self._turns:
                return await work(at, max(_LEAST_S, round(self._until - time.monotonic(), 1)))

        if not servers:
            return {}
        self._progress(name, "asked")
        found = await asyncio.gather(*map(one, servers.values()))
        dead = all(isinstance(answer, Unavailable) for answer in found)
        self._progress(name, "failed" if dead else "answered")
        return dict(zip(servers, found, strict=True))


async def _kept(at: HttpBackend, deadline_s: float) -> Kept | Unavailable:
    async with Alertmanager(at) as server:
        held, silences = await asyncio.gather(server.alerts(deadline_s), server.silences(deadline_s))
        if isinstance(held, Unavailable):
            return held
        return Kept(place=server.place, held=held, silences=silences, skew_s=server.skew_s)


def _key(at: HttpBackend) -> bytes:
    """What makes a server the same one: all but the labels of the service."""
    plain = replace(at, selector={}) if isinstance(at, PrometheusAt) else at
    return msgspec.json.encode(plain)
