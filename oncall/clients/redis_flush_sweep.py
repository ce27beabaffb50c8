"""One pass over the keys of a prefix, removing them in batches so small that other clients hardly wait."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from time import perf_counter

from oncall.clients.redis_flush import (
    Line,
    Lost,
    Other,
    Removed,
    flush,
    odd,
    refusal,
    remove,
    remove_watched,
    scan,
    scanned,
)
from oncall.clients.redis_flush_names import Rules, pattern
from oncall.clients.redis_wire import Refused
from oncall.model import Absence, Unavailable

LEAST, MOST = 25, 200
"""Keys of a batch."""
_MOST_COUNT = 2000
_LONG_S, _SHORT_S = 0.004, 0.002
"""The server's work for one batch: longer than that and batches get smaller, shorter and they grow."""
_LONGEST_PAUSE_S = 0.1
_END_S = 5.0


class Sweep:
    """What was done so far can be read at any time, also after it was cancelled."""

    def __init__(self, line: Line, prefix: bytes, rules: Rules, *, scripts: bool) -> None:
        self.line, self.prefix, self.rules = line, prefix, rules
        self.removed = 0
        self.unsure = 0
        """Keys of a batch that was sent, and of which no answer came."""
        self.ended = False
        """It came to its end: every key that was there when it began was seen."""
        self.others: tuple[Other, ...] = ()
        """What it met that is no cache, and stopped at."""
        self.busy = 0
        """Keys that were left because somebody wrote to them each time."""
        self.failed: Unavailable | None = None
        self.elsewhere = False
        """Another server answers there now."""
        self._remove = remove if scripts else remove_watched
        self._size = MOST
        self._count = MOST
        self._cursor = b"0"

    async def at_once(self, keys: int) -> bool:
        """Empties the database of about `keys` in one atomic step; False where it holds too many for that."""
        try:
            done = await self._sent(flush(self.line, self.rules), keys)
        except Lost as lost:
            self._lost(lost)
            return True
        self.others, self.failed = done.others, done.refused
        self.ended = done.many is None and not (self.others or self.failed)
        return done.many is None

    async def steps(self) -> AsyncIterator[None]:
        """Goes on to the end, or to the first thing that is not as planned; a step for each batch.

        When cancelled it ends with the batch that is on its way."""
        try:
            while not (self.ended or self.others or self.failed):
                async for _ in self._step():
                    yield
        except Lost as lost:
            self._lost(lost)

    def _lost(self, lost: Lost) -> None:
        self.failed = lost.why
        self.elsewhere = lost.why.kind is Absence.STALE
        if lost.done is False:
            self.unsure = 0

    async def _step(self) -> AsyncIterator[None]:
        begun = perf_counter()
        reply = (await self.line.ask([scan(self._cursor, pattern(self.prefix), self._count)]))[0]
        took = perf_counter() - begun
        if isinstance(reply, Refused):
            self.failed = refusal(reply, self.line.place, self.line.user)
            return
        found = scanned(reply)
        if found is None:
            raise Lost(odd(self.line.place), done=False)
        self._cursor, keys = found
        self._aim(len(keys))
        self._judge(keys)
        await self._pause(max(0.0, took - self.line.quickest_s))
        while keys and not (self.others or self.failed):
            batch, keys = keys[: self._size], keys[self._size :]
            await self._batch(batch)
            yield
        self.ended = self._cursor == b"0" and not (self.others or self.failed)

    def _aim(self, found: int) -> None:
        """Where few keys are of this prefix, a step passes more of the others: about a batch each."""
        wanted = self._count * MOST // max(1, found)
        self._count = max(MOST, min(_MOST_COUNT, wanted))

    def _judge(self, keys: Sequence[bytes]) -> None:
        """By their names, which never change: nothing of a step is removed that holds one that must stay."""
        found = ((key, self.rules.why_not(key)) for key in keys)
        self.others = tuple(Other(key=key, kind=why) for key, why in found if why)

    async def _batch(self, keys: Sequence[bytes]) -> None:
        begun = perf_counter()
        done = await self._sent(self._remove(self.line, keys), len(keys))
        self.others, self.failed = done.others, done.refused
        self.busy += len(keys) if done.busy else 0
        took = max(0.0, perf_counter() - begun - self.line.quickest_s)
        if took > _LONG_S:
            self._size = max(LEAST, self._size // 2)
        elif took < _SHORT_S:
            self._size = min(MOST, self._size * 5 // 4)
        await self._pause(took)

    async def _sent(self, removing: Coroutine[None, None, Removed], keys: int) -> Removed:
        """What is on its way is waited for, also when cancelled: half an answer is no answer."""
        self.unsure = keys
        task = asyncio.ensure_future(removing)
        try:
            done = await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=_END_S)
            if task.done() and not task.cancelled() and task.exception() is None:
                self._took(task.result())
            task.cancel()
            raise
        self._took(done)
        return done

    def _took(self, done: Removed) -> None:
        self.removed += done.keys
        self.unsure = 0

    async def _pause(self, took_s: float) -> None:
        """As long as the server worked for us, others have it to themselves."""
        await asyncio.sleep(min(took_s, _LONGEST_PAUSE_S))
