"""A live look at Redis: the server, what fills it, what grows, what is slow, who is connected.

One connection, nothing written, some six round trips and a wait of a sixth of a second between the two looks that
growth and rates are told from. What it costs does not grow with the data (redis_walk.py)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter

from oncall.clients import redis_tables as tables
from oncall.clients.redis import fault, where
from oncall.clients.redis_answers import MOST_CLIENTS, Came
from oncall.clients.redis_walk import Batch
from oncall.clients.redis_wire import MOST_BYTES, TooMuch, Wire, connections, open_wire, why_lost
from oncall.errors import ConfigError
from oncall.model import Absence, Frozen, StepReading, Unavailable
from oncall.model_service import RedisAt

BUDGET_S = 0.12
"""For the sample of keys, in seconds."""
_SEARCH_S = 0.04
_APART_S = 0.15
_QUIET_S = 0.1


class Looked(Frozen, frozen=True):
    """The answers by word. `notes`: what kind of server this is; `where`: host:port/database."""

    by_word: Mapping[str, StepReading]
    notes: tuple[str, ...]
    where: str


async def look(
    at: RedisAt, words: Sequence[str], deadline_s: float, *, budget_s: float = BUDGET_S
) -> Looked | Unavailable:
    """Answers `words` (the keys of redis_answers.QUERIES) by `deadline_s`. Unavailable is about the whole server.

    A word that this user may not ask, or the server does not know, is Unavailable alone; so is what was not
    answered in time. `budget_s` bounds the sample of keys."""
    connections()  # loaded before the clock starts: it would be taken for a slow server
    from redis.exceptions import RedisError

    came = Came(where(at.url), deadline_s)
    looking = _Look(came, frozenset(words), min(budget_s, deadline_s / 4))
    try:
        async with asyncio.timeout(deadline_s):
            await looking.go(at)
    except TimeoutError:
        if came.info is None:
            return came.silent()
    except ConfigError as wrong:
        return Unavailable(kind=Absence.CONFIG, reason=str(wrong), hint=wrong.hint)
    except TooMuch:
        reason = f"{came.place} sent more than {MOST_BYTES // 2**20} MiB"
        return Unavailable(kind=Absence.BAD_ANSWER, reason=reason)
    except (RedisError, OSError) as failed:
        return await _failed(at, came.wire, fault(failed, came.place), deadline_s)
    finally:
        if came.wire:
            await came.wire.close()
    return Looked(by_word=came.answers(words), notes=came.notes(), where=came.place)


async def _failed(at: RedisAt, wire: Wire | None, why: Unavailable, deadline_s: float) -> Unavailable:
    """The reason with what else the server is ready to tell about it."""
    try:
        async with asyncio.timeout(min(0.5, deadline_s)):
            if why.kind is Absence.STARTING and wire:
                return await _progress(wire, why)
            if why.kind is Absence.DOWN and "connection lost" in why.reason:
                return await why_lost(at, why)
    except Exception:
        return why  # the first reason is the one that counts
    return why


async def _progress(wire: Wire, why: Unavailable) -> Unavailable:
    """How far loading is: INFO answers meanwhile."""
    told = tables.fields((await wire.ask([("INFO", "persistence")]))[0])
    share, left = told.get("loading_loaded_perc"), told.get("loading_eta_seconds")
    if share is None:
        return why
    said = f"{why.reason} ({float(share):.0f} %, about {left} s left)"
    return Unavailable(kind=why.kind, reason=said, hint=why.hint)


class _Look:
    """The order in which things are asked."""

    def __init__(self, came: Came, words: frozenset[str], budget_s: float) -> None:
        self.came = came
        self.words = words
        self._budget_s = budget_s
        self._apart_s = min(_APART_S, came.deadline_s / 4)
        self._begun = perf_counter()

    async def go(self, at: RedisAt) -> None:
        self.came.wire = wire = await open_wire(at)
        sent = perf_counter()
        await wire.ask([("PING",)])
        self.came.ping_ms = (perf_counter() - sent) * 1000
        await self._first(wire)
        if self.words & {"clients"}:
            await self._clients(wire)
        if self.came.walk.started and not self.came.walk.scan:
            await self._keys(wire)
        elif "growing" in self.words:
            await self.came.walk.look(wire)
        if self.words & {"server", "growing"}:
            await self._second(wire)

    async def _first(self, wire: Wire) -> None:
        """What is there at once."""
        batch, at = Batch(), perf_counter()
        batch.add(self._take("INFO"), "INFO")
        if "slowlog" in self.words:
            batch.add(self._take("SLOWLOG GET"), "SLOWLOG", "GET", str(tables.MOST_ROWS))
            batch.add(self._take("slower"), "CONFIG", "GET", "slowlog-log-slower-than")
        if "latency" in self.words:
            batch.add(self._take("LATENCY LATEST"), "LATENCY", "LATEST")
            batch.add(self._take("threshold"), "CONFIG", "GET", "latency-monitor-threshold")
        if "clients" in self.words:
            batch.add(self._take("id"), "CLIENT", "ID")
        if self.words & {"prefixes", "growing"}:
            self.came.walk.begin(batch, queues="growing" in self.words)
        await batch.run(wire)
        self.came.info = self.came.replies["INFO"]
        self.came.looks = [(at, self.came.info)]
        self._done("slowlog", "latency")
        if self.came.walk.started:
            self.came.walk.begun(plain=self._plain)

    def _take(self, name: str) -> Callable[[object], None]:
        return partial(self.came.replies.__setitem__, name)

    @property
    def _plain(self) -> bool:
        """No module adds types of its own, as far as that is known."""
        return isinstance(self.came.info, bytes) and b"\nmodule:name=" not in self.came.info

    async def _clients(self, wire: Wire) -> None:
        many = tables.number(tables.fields(self.came.info), "connected_clients") if self.came.told else None
        if (many or 0) <= MOST_CLIENTS:
            self.came.replies["CLIENT LIST"] = (await wire.ask([("CLIENT", "LIST")]))[0]
        self._done("clients")

    async def _keys(self, wire: Wire) -> None:
        """The first look at queues as early as can be, then the sample, then a search for more queues."""
        walk, until = self.came.walk, perf_counter() + self._budget_s
        if "growing" in self.words:
            await walk.look(wire)
        await walk.more(wire, until, plain=self._plain)
        await walk.measure(wire, until)
        self._done("prefixes")
        if "growing" in self.words:
            await walk.look_at_large(wire)
            await walk.search(wire, min(until, perf_counter() + min(_SEARCH_S, self._budget_s)))
        if self.words & {"server"}:
            at = perf_counter()
            self.came.looks = [(at, (await wire.ask([("INFO",)]))[0])]

    async def _second(self, wire: Wire) -> None:
        """After a stretch in which we ask nothing, so that the counters tell of others."""
        quiet = _QUIET_S if self.came.walk.started else _APART_S
        ends = self.came.looks[0][0] + min(quiet, self._apart_s)
        ends = max(ends, (self.came.walk.looked_at or 0.0) + self._apart_s)
        await asyncio.sleep(ends - perf_counter())
        batch, at = Batch(), perf_counter()
        if "server" in self.words:
            batch.add(lambda reply: self.came.looks.append((at, reply)), "INFO")
        if "growing" in self.words:
            self.came.walk.look_again(batch)
        await batch.run(wire)
        self._done("server", "growing")

    def _done(self, *words: str) -> None:
        self.came.took |= dict.fromkeys(words, (perf_counter() - self._begun) * 1000)
