"""What a flush would remove, told without changing anything: the server, and a bounded walk through the keys."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from time import perf_counter

from oncall.clients import redis_tables as tables
from oncall.clients.redis_flush import Line, Lost, odd, refusal, scanned
from oncall.clients.redis_flush_names import JOB_FIELDS, USUAL, Rules, pattern
from oncall.clients.redis_sample import Sampled, sampled
from oncall.clients.redis_walk import walked
from oncall.clients.redis_wire import Command, Refused
from oncall.model import Frozen, Unavailable

_QUIET_S = 0.1
_COUNT = 250
_SAMPLE = 300
_PART = 100
MOST_NAMED = 5
"""Keys of a kind that are shown by name."""


class Place(Frozen, frozen=True):
    """The server and the database, as they tell of themselves. `writes`: why it takes none now."""

    run_id: str
    version: str
    role: str
    mode: str
    user: str
    keys: int | None
    memory: float | None
    master: str | None = None
    hits_per_s: float | None = None
    misses_per_s: float | None = None
    writes: Unavailable | None = None


async def place(line: Line) -> Place | Unavailable:
    """Who answers there, and how busy its cache is. Raises Lost."""
    asked: list[Command] = [("INFO",), ("PING",), ("ACL", "WHOAMI"), ("DBSIZE",)]
    begun = perf_counter()
    info, ping, whoami, size = await line.ask(asked)
    if isinstance(info, Refused):
        return refusal(info, line.place, line.user)
    first = tables.fields(info)
    # A stretch in which we ask nothing: our own questions count as hits.
    await asyncio.sleep(_QUIET_S)
    again = (await line.ask([("INFO", "stats")]))[0]
    last = first if isinstance(again, Refused) else tables.fields(again)
    pair = tables.Pair(first=first, last=last, seconds=perf_counter() - begun)
    cluster = first.get("redis_mode") == "cluster" or first.get("cluster_enabled") == "1"
    return Place(
        run_id=first.get("run_id", ""),
        version=first.get("valkey_version") or first.get("redis_version", ""),
        role=first.get("role", ""),
        mode="cluster" if cluster else first.get("redis_mode", "standalone"),
        user=tables.text(whoami) if isinstance(whoami, bytes) else line.user,
        keys=size if isinstance(size, int) else None,
        memory=tables.number(first, "used_memory_dataset") or tables.number(first, "used_memory"),
        master=f"{first['master_host']}:{first.get('master_port', '?')}" if "master_host" in first else None,
        hits_per_s=pair.per_s("keyspace_hits"),
        misses_per_s=pair.per_s("keyspace_misses"),
        # PING is refused as writes are, and changes nothing.
        writes=_no_writes(ping, line),
    )


def _no_writes(ping: object, line: Line) -> Unavailable | None:
    if not isinstance(ping, Refused) or "MISCONF" not in ping.text:
        return None
    return refusal(ping, line.place, line.user)


# --- the walk ------------------------------------------------------------------------------------


class Kept:
    """Keys of one kind: how many, and the first of them by name, each with what it is."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[tuple[bytes, str]] = []

    def add(self, key: bytes, what: str) -> None:
        self.count += 1
        if len(self.named) < MOST_NAMED:
            self.named.append((key, what))


class Walked:
    """What is under one prefix (all keys where it is empty), as far as the walk came."""

    def __init__(self, prefix: bytes, rules: Rules) -> None:
        self.prefix = prefix
        self.rules = rules
        self.keys = 0
        self.whole = False
        """The walk passed every key of the database."""
        self.cursor = b"0"
        self.types: Counter[str] = Counter()
        self.queues = Kept()
        self.odd = Kept()
        """Protected ones, types that no cache uses, keys outside of what is declared."""
        self.sample: list[Sampled] = []
        self.idle: list[int] = []
        """Seconds since the last use, of the sample."""
        self.refused: dict[str, Refused] = {}
        self.stopped: Unavailable | None = None
        """Why there is no walk, or not all of it, besides the time."""
        self._drawn: list[tuple[bytes, str]] = []
        self._random = random.Random(7)  # noqa: S311  # a sample, not a secret

    @property
    def about(self) -> int:
        """How many there are: counted, or as many as the part that was passed lets expect."""
        passed = 1.0 if self.whole else walked(self.cursor)
        return round(self.keys / passed) if passed > 0.01 else self.keys

    async def walk(self, line: Line, until: float) -> None:
        """Counts and judges every key until `until` (perf_counter). Raises Lost."""
        match = pattern(self.prefix)
        while not self.whole and self.stopped is None and (self.cursor == b"0" or perf_counter() < until):
            await self._step(line, match)
        if not self.whole and self.stopped is None:
            await self._usual(line)

    async def _step(self, line: Line, match: bytes) -> None:
        """Asks for all keys and for the strings among them, which spares a TYPE for each of most keys."""
        asked: Command = ("SCAN", self.cursor, "MATCH", match, "COUNT", str(_COUNT))
        told, of_strings = await line.ask([asked, (*asked, "TYPE", "string")])
        if isinstance(told, Refused):
            self.stopped = refusal(told, line.place, line.user)
            return
        every, strings = scanned(told), scanned(of_strings)
        if every is None:
            raise Lost(odd(line.place), done=False)
        # Redis 5 has no TYPE there; and the table may have been resized in between.
        same = strings if strings and strings[0] == every[0] else None
        kinds = dict.fromkeys(same[1] if same else (), "string")
        await self._types(line, [key for key in every[1] if key not in kinds], kinds)
        for key in dict.fromkeys(every[1]):
            self._take(key, kinds[key])
        self.cursor, self.whole = every[0], every[0] == b"0"

    async def _types(self, line: Line, keys: Sequence[bytes], kinds: dict[bytes, str]) -> None:
        if not keys:
            return
        for key, kind in zip(keys, await line.ask([("TYPE", key) for key in keys]), strict=True):
            kinds[key] = kind.decode("ascii", "replace") if isinstance(kind, bytes) else "unknown"

    def _take(self, key: bytes, kind: str) -> None:
        if kind == "none":
            return
        self.keys += 1
        self.types[kind] += 1
        if why := self.rules.queue(key, kind):
            self.queues.add(key, why)
        elif why := self.rules.odd(key, kind):
            self.odd.add(key, why)
        # Each key has the same chance to be in the sample.
        if len(self._drawn) < _SAMPLE:
            self._drawn.append((key, kind))
        elif (at := self._random.randrange(self.keys)) < _SAMPLE:
            self._drawn[at] = (key, kind)

    async def _usual(self, line: Line) -> None:
        """The usual names of queues, which the walk may not have come to."""
        names = [name for name in USUAL if name.startswith(self.prefix)]
        kinds: dict[bytes, str] = {}
        await self._types(line, names, kinds)
        known = {key for key, _ in self.queues.named}
        for key, kind in kinds.items():
            if key not in known and (why := self.rules.queue(key, kind)) and kind != "none":
                self.queues.add(key, why)

    # --- the sample ------------------------------------------------------------------------------

    async def measure(self, line: Line, until: float) -> None:
        """MEMORY USAGE, PTTL and idle time of the sample; hashes that are jobs. Raises Lost."""
        for at in range(0, len(self._drawn), _PART):
            part = self._drawn[at : at + _PART]
            # Idle time first: asking for anything else may be a use.
            each = [_measures(key, kind) for key, kind in part]
            replies = iter(await line.ask([command for asked in each for command in asked]))
            for (key, kind), asked in zip(part, each, strict=True):
                self._measured(key, kind, [next(replies) for _ in asked])
            if perf_counter() > until:
                break

    def _measured(self, key: bytes, kind: str, replies: Sequence[object]) -> None:
        idle, size, ttl, *fields = replies
        for name, reply in (("MEMORY USAGE", size), ("PTTL", ttl)):
            if isinstance(reply, Refused):
                self.refused[name] = reply
        if size is None or ttl == -2:  # it has expired, or was removed
            return
        if fields and all(one == 1 for one in fields):
            self.queues.add(key, "job of Bull, by its fields")
        if isinstance(idle, int):
            self.idle.append(idle)
        self.sample.append(sampled(key, kind, size, ttl))

    @property
    def bytes(self) -> float | None:
        """Estimated from the sample for all keys."""
        sizes = [one.bytes for one in self.sample if one.bytes is not None]
        return sum(sizes) / len(sizes) * self.about if sizes else None

    @property
    def ttl_share(self) -> float | None:
        known = [one for one in self.sample if one.ttl_known]
        return sum(one.ttl_s is not None for one in known) / len(known) if known else None


def _measures(key: bytes, kind: str) -> tuple[Command, ...]:
    asked: tuple[Command, ...] = (("OBJECT", "IDLETIME", key), ("MEMORY", "USAGE", key), ("PTTL", key))
    return asked + tuple(("HEXISTS", key, field) for field in JOB_FIELDS) if kind == "hash" else asked


async def walk_all(line: Line, found: Iterable[Walked], until: float) -> None:
    """Each prefix with its share of the time that is left. Raises Lost."""
    left = list(found)
    for at, one in enumerate(left):
        now = perf_counter()
        share = (until - now) / (len(left) - at)
        await one.walk(line, now + 0.8 * share)
        await one.measure(line, now + share)
