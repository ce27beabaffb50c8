"""A bounded walk through the keys of a Redis: a sample of them, and its queues at two moments.

Nothing here reads a value, or takes the server longer the more it holds: SCAN in small steps, MEMORY USAGE with its
few samples, and lengths, which Redis keeps."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from time import perf_counter

from msgspec.structs import replace

from oncall.clients.redis_growing import (
    KNOWN,
    LENGTH,
    MOST_REGISTERED,
    QUEUES,
    REGISTRIES,
    Again,
    Seen,
    bull_names,
    first_look,
    lag,
    worth_telling,
)
from oncall.clients.redis_sample import Sampled, sampled
from oncall.clients.redis_wire import Command, Refused, Wire, Word

ENOUGH_KEYS = 1000
_COUNT = "1000"
_PART = 250
"""Keys that are asked for in one go: some 30 kB, twice that on their way at most."""
_MOST_QUEUES = 200
_MOST_COLLECTIONS = 20
_MOST_SIZES = 20
_MOST_STREAMS = 10

Take = Callable[[object], None]


class Batch:
    """Commands that go out together, each with what takes its reply."""

    def __init__(self) -> None:
        self._asked: list[tuple[Command, Take]] = []

    def add(self, take: Take, *command: Word) -> None:
        self._asked.append((command, take))

    async def run(self, wire: Wire) -> None:
        if self._asked:
            replies = await wire.ask([command for command, _ in self._asked])
            for (_, take), reply in zip(self._asked, replies, strict=True):
                take(reply)


class _Step:
    """One step of SCAN, asked for all keys and for those of each type, which spares a TYPE for each key."""

    def __init__(self, cursor: bytes) -> None:
        self.cursor = cursor
        self.all: object = None
        self.typed: dict[str, object] = {}

    def ask(self, batch: Batch) -> None:
        scan = ("SCAN", self.cursor, "COUNT", _COUNT)
        batch.add(partial(setattr, self, "all"), *scan)
        for kind in LENGTH:
            batch.add(partial(self.typed.__setitem__, kind), *scan, "TYPE", kind)

    def types(self, *, plain: bool) -> dict[bytes, str | None]:
        """Keys and their types; None where that must be asked. `plain`: there are no types but Redis's own."""
        after, keys = _cursor(self.all)
        if any(_cursor(reply)[0] != after for reply in self.typed.values()):
            return dict.fromkeys(keys)  # Redis 5, or the table was resized in between
        found: dict[bytes, str | None] = dict.fromkeys(keys, "string" if plain else None)
        for kind, reply in self.typed.items():
            found.update((key, kind) for key in _cursor(reply)[1] if key in found)
        return found


def _cursor(reply: object) -> tuple[bytes | None, list[bytes]]:
    """Where SCAN goes on, and the keys; no cursor where it was refused."""
    match reply:
        case [bytes(cursor), list(keys)] if cursor.isdigit():
            return cursor, [key for key in keys if isinstance(key, bytes)]
    return None, []


def walked(cursor: bytes) -> float:
    """How much of the keys a SCAN has passed, from 0 to 1: Redis counts its cursor from the highest bit down."""
    at = int(cursor or 0) & (2**64 - 1)
    return int(f"{at:064b}"[::-1], 2) / 2**64


class Walk:
    """What was found on the way. Times are those of perf_counter."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.scan: Refused | None = None
        """Why there is no SCAN."""
        self.types: dict[bytes, str | None] = {}
        self.measured: list[Sampled] = []
        self.cursor = b"0"
        self.whole = False
        """The walk passed all keys."""
        self.counted = False
        """All keys are in the sample."""
        self.refused: dict[str, Refused] = {}
        """By command, what this user or server refuses."""
        self.hidden = 0
        """Keys of the sample that this user may not look at."""
        self.seen: dict[bytes, Seen] = {}
        self.again: dict[bytes, Again] = {}
        self.looked_at: float | None = None
        self.started = False
        self._registered: list[bytes] = []
        self._step = _Step(b"0")

    # --- the first round trip --------------------------------------------------------------------

    def begin(self, batch: Batch, *, queues: bool) -> None:
        """DBSIZE and the first step; with `queues`, names that are known beforehand."""
        self.started = True
        batch.add(self._total, "DBSIZE")
        self._step.ask(batch)
        if queues:
            for key, form in REGISTRIES:
                batch.add(partial(self._registry, key, form), "SCARD", key)

    def _total(self, reply: object) -> None:
        self.total = reply if isinstance(reply, int) else None

    def _registry(self, key: bytes, form: bytes, reply: object) -> None:
        if isinstance(reply, int) and 0 < reply <= MOST_REGISTERED:
            self._registered.append(key)

    def begun(self, *, plain: bool) -> None:
        """Takes the step that has been answered. `plain`: the server has no modules with types of their own."""
        if isinstance(self._step.all, Refused):
            self.scan = self._step.all
            return
        self.cursor = _cursor(self._step.all)[0] or b"0"
        self.whole = self.cursor == b"0"
        self.types.update(self._step.types(plain=plain))

    async def more(self, wire: Wire, until: float, *, plain: bool) -> None:
        """Further steps, until there are enough keys (a table may be nearly empty) or no time."""
        while not (self.whole or self.scan) and len(self.types) < ENOUGH_KEYS and perf_counter() < until:
            batch = Batch()
            self._step = _Step(self.cursor)
            self._step.ask(batch)
            await batch.run(wire)
            self.begun(plain=plain)

    # --- queues ----------------------------------------------------------------------------------

    async def look(self, wire: Wire) -> None:
        """The first look at the length of each queue that is known so far and was not looked at yet."""
        names = list(KNOWN) + await self._names(wire) + bull_names(self.types)
        names += [(kind, key) for key, kind in self.types.items() if kind in QUEUES]
        await self._look(wire, names[:_MOST_QUEUES])

    async def _names(self, wire: Wire) -> list[tuple[str, bytes]]:
        """The queues that libraries keep a list of."""
        batch, found = Batch(), list[tuple[str, bytes]]()
        for key, form in REGISTRIES:
            if key in self._registered:
                batch.add(partial(_registered, found, form), "SMEMBERS", key)
        self._registered = []
        await batch.run(wire)
        return found

    async def look_at_large(self, wire: Wire) -> None:
        """The same for the largest collections of the sample, now that their sizes are known."""
        large = sorted(
            (one for one in self.measured if one.type in LENGTH), key=lambda one: -(one.bytes or 0)
        )
        others = [(one.type, one.key) for one in large if one.type not in QUEUES][:_MOST_COLLECTIONS]
        queues = [(one.type, one.key) for one in large if one.type in QUEUES][:_MOST_QUEUES]
        await self._look(wire, queues + others)

    async def _look(self, wire: Wire, names: Iterable[tuple[str, bytes]]) -> None:
        batch, idle, at = Batch(), dict[bytes, object](), perf_counter()
        for kind, key in names:
            if key not in self.seen:
                asks_idle, asks_length = first_look(key, kind)
                batch.add(partial(idle.__setitem__, key), *asks_idle)
                batch.add(partial(self._length, key, kind, at, idle), *asks_length)
        self.looked_at = self.looked_at or at
        await batch.run(wire)

    def _length(self, key: bytes, kind: str, at: float, idle: dict[bytes, object], reply: object) -> None:
        if isinstance(reply, Refused) and (reply.denied or reply.unknown):
            self.refused[LENGTH[kind]] = reply
        elif isinstance(reply, int):
            since = idle.get(key)
            idle_s = since if isinstance(since, int) else None
            self.seen[key] = Seen(key=key, type=kind, length=reply, at=at, idle_s=idle_s)

    async def search(self, wire: Wire, until: float) -> None:
        """Looks for further lists and streams where the sample ended, until there is no time left."""
        found: list[tuple[str, bytes]] = []
        while not (self.whole or self.scan) and perf_counter() < until and len(found) < _MOST_QUEUES:
            scan = ("SCAN", self.cursor, "COUNT", _COUNT, "TYPE")
            replies = await wire.ask([(*scan, kind) for kind in QUEUES])
            after = {_cursor(reply)[0] for reply in replies}
            if None in after or len(after) > 1:
                break
            found += [(kind, key) for kind, r in zip(QUEUES, replies, strict=True) for key in _cursor(r)[1]]
            self.cursor = after.pop() or b"0"
            self.whole = self.cursor == b"0"
        await self._look(wire, found)

    def look_again(self, batch: Batch) -> None:
        """The second look: lengths, sizes of the longest, the lag of streams."""
        told, at = worth_telling(self.seen.values()), perf_counter()
        for one in told:
            batch.add(partial(self._length_again, one.key, at), LENGTH[one.type], one.key)
        for one in told[:_MOST_SIZES]:
            batch.add(partial(self._size, one.key), "MEMORY", "USAGE", one.key)
        for one in islice((one for one in told if one.type == "stream"), _MOST_STREAMS):
            batch.add(partial(self._lag, one.key), "XINFO", "GROUPS", one.key)

    def _length_again(self, key: bytes, at: float, reply: object) -> None:
        self.again[key] = Again(length=reply if isinstance(reply, int) else None, at=at)

    def _size(self, key: bytes, reply: object) -> None:
        before = self.again[key]
        size = reply if isinstance(reply, int) else None
        self.again[key] = Again(length=before.length, at=before.at, bytes=size)

    def _lag(self, key: bytes, reply: object) -> None:
        before = self.again[key]
        self.again[key] = Again(length=before.length, at=before.at, bytes=before.bytes, lag=lag(reply))

    # --- sizes -----------------------------------------------------------------------------------

    async def measure(self, wire: Wire, until: float) -> None:
        """MEMORY USAGE and PTTL of each key of the sample (TYPE, where that is open), until there is no time left."""
        drawn = list(self.types)[:ENOUGH_KEYS]
        keys, asked = iter(drawn), 0
        waiting: deque[list[bytes]] = deque()
        while part := list(islice(keys, _PART)):
            await wire.send(command for key in part for command in self._measures(key))
            waiting.append(part)
            asked += len(part)
            if len(waiting) > 1:
                await self._measured(wire, waiting.popleft())
            if perf_counter() > until:
                break
        while waiting:
            await self._measured(wire, waiting.popleft())
        self.counted = self.whole and asked == len(self.types)

    def _measures(self, key: bytes) -> tuple[Command, ...]:
        asked: tuple[Command, ...] = (("MEMORY", "USAGE", key), ("PTTL", key))
        return asked if self.types[key] is not None else (*asked, ("TYPE", key))

    async def _measured(self, wire: Wire, keys: Sequence[bytes]) -> None:
        for key in keys:
            size, ttl, *told = await wire.replies(len(self._measures(key)))
            kind = self.types[key] or (told[0].decode() if told and isinstance(told[0], bytes) else "unknown")
            if size is None or ttl == -2 or kind == "none":  # it has expired, or was removed
                continue
            self._note(size, ttl)
            self.measured.append(sampled(key, kind, size, ttl))

    def _note(self, size: object, ttl: object) -> None:
        if isinstance(size, Refused) and size.denied_key:
            self.hidden += 1
        elif isinstance(size, Refused):
            self.refused["MEMORY USAGE"] = size
        if isinstance(ttl, Refused) and not ttl.denied_key:
            self.refused["PTTL"] = ttl

    def sample(self) -> list[Sampled]:
        """What was measured, and the queues that were found by name instead of by chance."""
        drawn = {one.key for one in self.measured}
        known = {key for _, key in KNOWN}
        named = [
            Sampled(
                key=key, type=self.seen[key].type, bytes=again.bytes, ttl_s=None, ttl_known=False, single=True
            )
            for key, again in self.again.items()
            if key not in drawn and again.bytes is not None
        ]
        return [replace(one, single=one.key in known) for one in self.measured] + named


def _registered(found: list[tuple[str, bytes]], form: bytes, reply: object) -> None:
    if isinstance(reply, list):
        found += [("list", form + name) for name in reply if isinstance(name, bytes)]
