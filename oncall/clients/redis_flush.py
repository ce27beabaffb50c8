"""Removes cache keys of a Redis, batch by batch, each looked at and removed in one atomic step.

A batch goes as one script: it asks the TYPE of each key (and whether a hash is a job) and removes all of them, or
none where one is no cache. Nobody's command comes in between: a job pushed meanwhile is seen, not lost. Where scripts
are not allowed, WATCH does the same: what changes between the question and EXEC makes EXEC do nothing.

Whatever is sent is sent once. A reply that does not come leaves it unknown whether the command was done."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from oncall.clients.redis import fault, where
from oncall.clients.redis_flush_names import CACHE_TYPES, JOB_FIELDS, STARTS, WITHIN, Rules
from oncall.clients.redis_tables import fields
from oncall.clients.redis_wire import (
    MOST_BYTES,
    Command,
    Refused,
    TooMuch,
    Wire,
    Word,
    connections,
    open_wire,
)
from oncall.errors import ConfigError
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import RedisAt

MOST_ATOMIC = 5000
"""Keys that one atomic step looks at before FLUSHDB: some 4 µs each, in which nobody else is served."""
_TRIES = 3

REMOVE = """\
local others = {}
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key)['ok']
  local job = kind == 'hash'
  for _, field in ipairs(ARGV) do
    job = job and redis.call('HEXISTS', key, field) == 1
  end
  if job or (kind ~= 'string' and kind ~= 'hash' and kind ~= 'none') then
    table.insert(others, key)
    table.insert(others, job and 'job' or kind)
  end
end
if #others > 0 then return {0, others} end
return {redis.call('UNLINK', unpack(KEYS)), others}"""

FLUSH = """\
local lists, at = {}, 2
for which = 1, 5 do
  local count = tonumber(ARGV[at])
  lists[which] = {}
  for one = 1, count do lists[which][one] = ARGV[at + one] end
  at = at + count + 1
end
local starts, within, fields, declared, protected = unpack(lists)
local function begins(key, list)
  for _, text in ipairs(list) do
    if string.sub(key, 1, #text) == text then return true end
  end
  return false
end
local function why(key)
  local kind = redis.call('TYPE', key)['ok']
  if kind ~= 'string' and kind ~= 'hash' and kind ~= 'none' then return kind end
  if begins(key, starts) then return 'queue' end
  for _, text in ipairs(within) do
    if string.find(key, text, 1, true) then return 'queue' end
  end
  if #declared > 0 and not begins(key, declared) then return 'undeclared' end
  local job = kind == 'hash'
  for _, field in ipairs(fields) do
    job = job and redis.call('HEXISTS', key, field) == 1
  end
  return job and 'job'
end
local function each(check, ...)
  local cursor = '0'
  repeat
    local step = redis.call('SCAN', cursor, 'COUNT', 1000, ...)
    cursor = step[1]
    for _, key in ipairs(step[2]) do
      local said = check(key)
      if said then return {'other', key, said} end
    end
  until cursor == '0'
end
local size = redis.call('DBSIZE')
if size > tonumber(ARGV[1]) then return {'many', size} end
for _, one in ipairs(protected) do
  local kept = each(function() return 'protected' end, 'MATCH', one)
  if kept then return kept end
end
local other = each(why)
if other then return other end
redis.call('FLUSHDB', 'ASYNC')
return {'flushed', size}"""


class Lost(Exception):
    """There is no reply. `done`: False where it is known that nothing was done, None where it may have been."""

    def __init__(self, why: Unavailable, *, done: bool | None) -> None:
        super().__init__(why.reason)
        self.why = why
        self.done = done


class Other(Frozen, frozen=True):
    """A key that is no cache, and what it is."""

    key: bytes
    kind: str


class Removed(Frozen, frozen=True):
    """What one atomic step did: how many keys it removed, or what it met and therefore left with all the rest."""

    keys: int = 0
    others: tuple[Other, ...] = ()
    many: int | None = None
    """Of a flush: so many keys that it did not look at them."""
    busy: bool = False
    """They were written to each time that they were looked at."""
    refused: Unavailable | None = None


# --- one connection to one certain server --------------------------------------------------------


class Line:
    """A connection that is opened anew where it has brought much, and then to the same server, or not at all."""

    def __init__(self, at: RedisAt, deadline_s: float, run_id: str | None = None) -> None:
        self._at, self._deadline_s, self._run_id = at, deadline_s, run_id
        self._wire: Wire | None = None
        self._left = 0
        self.place = where(at.url)
        self.quickest_s = float("inf")
        """The shortest round trip so far: what is longer is the server's work."""

    async def ask(self, commands: Sequence[Command], *, goes_on: bool = False) -> list[object]:
        """A reply or Refused for each, within the deadline. Raises Lost.

        `goes_on`: only on the very connection of the last question, which the server remembers something of."""
        if goes_on and self._wire is None:
            raise Lost(Unavailable(kind=Absence.DOWN, reason=f"connection lost to {self.place}"), done=False)
        if not goes_on and (self._wire is None or self._left < 0):
            await self.close()
            await self._open()
        return await self._asked(commands)

    async def _asked(self, commands: Sequence[Command]) -> list[object]:
        wire = self._wire
        assert wire is not None  # opened by ask
        begun = perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s):
                replies = await wire.ask(commands)
        except BaseException as failed:
            # Replies may be on their way still: nobody may read them as answers to something else.
            self._wire = None
            await wire.close()
            raise self._lost(failed) or failed from failed
        self.quickest_s = min(self.quickest_s, perf_counter() - begun)
        self._left -= sum(map(_weight, replies))
        return replies

    async def _open(self) -> None:
        connections()  # loaded before the clock starts
        try:
            async with asyncio.timeout(self._deadline_s):
                self._wire = await open_wire(self._at)
        except ConfigError as wrong:
            why = Unavailable(kind=Absence.CONFIG, reason=str(wrong), hint=wrong.hint)
            raise Lost(why, done=False) from None
        except Exception as failed:
            lost = self._lost(failed)
            raise Lost(lost.why, done=False) if lost else failed from None
        self._left = MOST_BYTES // 2
        if self._run_id is not None:
            await self._same()

    async def _same(self) -> None:
        told = fields((await self._asked([("INFO", "server")]))[0])
        if told.get("run_id") != self._run_id:
            await self.close()
            reason = f"another server answers at {self.place} now"
            raise Lost(Unavailable(kind=Absence.STALE, reason=reason, hint="look again"), done=False)

    def _lost(self, failed: BaseException) -> Lost | None:
        """The failure as ours; None where it is none of a server (Ctrl-C, a bug)."""
        from redis.exceptions import BusyLoadingError, RedisError, ResponseError

        if isinstance(failed, TimeoutError):
            reason = f"no answer from {self.place} within {self._deadline_s:g} s"
            return Lost(Unavailable(kind=Absence.TIMEOUT, reason=reason), done=None)
        if isinstance(failed, TooMuch):
            return Lost(Unavailable(kind=Absence.BAD_ANSWER, reason=f"{self.place}: {failed}"), done=None)
        if isinstance(failed, RedisError | OSError):
            said = isinstance(failed, ResponseError | BusyLoadingError)
            return Lost(fault(failed, self.place), done=False if said else None)
        return None

    async def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    @property
    def user(self) -> str:
        return self._wire.user if self._wire else "default"

    @property
    def db(self) -> int:
        return self._wire.db if self._wire else 0


def _weight(reply: object) -> int:
    """About how many bytes a reply took on the wire."""
    if isinstance(reply, list):
        return sum(map(_weight, reply))
    return len(reply) + 16 if isinstance(reply, bytes) else 16


def refusal(refused: Refused, place: str, user: str) -> Unavailable:
    """Why the server did not do it, by its name."""
    text = refused.text
    for mark, kind, said, hint in _REFUSALS:
        if mark.lower() in text.lower():
            return Unavailable(kind=kind, reason=f"{place}: {said}", hint=hint)
    if refused.denied or refused.denied_key:
        reason = f"{place}: user {user} may not do that: {text[:200]}"
        return Unavailable(kind=Absence.DENIED, reason=reason, hint="look again: the plan names the grant")
    return fault(RuntimeError(text), place)


_REFUSALS: tuple[tuple[str, Absence, str, str | None], ...] = (
    (
        "MISCONF",
        Absence.DOWN,
        "it refuses every write, removing keys too, because it cannot save (MISCONF)",
        "mend what it saves to (its disk); or, for the moment: CONFIG SET stop-writes-on-bgsave-error no",
    ),
    ("read only replica", Absence.NOT_APPLICABLE, "it is a replica (READONLY)", "name its master in redis.url"),
    ("READONLY", Absence.NOT_APPLICABLE, "it is a replica (READONLY)", "name its master in redis.url"),
    (
        "good replicas to write",
        Absence.DOWN,
        "it refuses writes: too few of its replicas are in touch (NOREPLICAS)",
        "see INFO replication, min-replicas-to-write",
    ),
    (
        "command not allowed when used memory",
        Absence.DENIED,
        "it is out of memory (OOM), and refuses a transaction then",
        "let the user run scripts: +eval",
    ),
)  # fmt: skip


# --- the steps -----------------------------------------------------------------------------------


def scan(cursor: bytes, match: bytes, count: int) -> Command:
    return ("SCAN", cursor, "MATCH", match, "COUNT", str(count))


def scanned(reply: object) -> tuple[bytes, list[bytes]] | None:
    """Where SCAN goes on, and the keys; None where that is no answer of SCAN."""
    match reply:
        case [bytes(cursor), list(keys)] if cursor.isdigit():
            return cursor, [key for key in keys if isinstance(key, bytes)]
    return None


async def remove(line: Line, keys: Sequence[bytes]) -> Removed:
    """Removes these keys in one atomic step, or none of them. Raises Lost."""
    reply = (await line.ask([("EVAL", REMOVE, str(len(keys)), *keys, *JOB_FIELDS)]))[0]
    match reply:
        case [int(removed), list(others)]:
            return Removed(keys=removed, others=_others(others))
        case Refused():
            return Removed(refused=refusal(reply, line.place, line.user))
    raise Lost(odd(line.place), done=None)


def _others(pairs: Sequence[object]) -> tuple[Other, ...]:
    words = [one for one in pairs if isinstance(one, bytes)]
    return tuple(
        Other(key=key, kind=kind.decode("ascii", "replace"))
        for key, kind in zip(words[::2], words[1::2], strict=False)
    )


async def remove_watched(line: Line, keys: Sequence[bytes]) -> Removed:
    """The same without a script: EXEC does nothing where one of the keys was written since WATCH. Raises Lost."""
    for _ in range(_TRIES):
        others = await _watched(line, keys)
        if isinstance(others, Unavailable):
            return Removed(refused=others)
        if others:
            await line.ask([("UNWATCH",)], goes_on=True)
            return Removed(others=others)
        done = await _transaction(line, keys)
        if done is not None:
            return done
    return Removed(busy=True)


async def _transaction(line: Line, keys: Sequence[bytes]) -> Removed | None:
    """None where EXEC did nothing, because of somebody's write.

    UNLINK goes only after MULTI was taken: else it would be done at once."""
    begun = (await line.ask([("MULTI",)], goes_on=True))[0]
    if isinstance(begun, Refused):
        return Removed(refused=refusal(begun, line.place, line.user))
    match await line.ask([("UNLINK", *keys), ("EXEC",)], goes_on=True):
        case [_, [int(removed)]]:
            return Removed(keys=removed)
        case [Refused() as refused, _] | [_, Refused() as refused]:
            return Removed(refused=refusal(refused, line.place, line.user))
        case [_, [Exception() as failed]]:
            return Removed(refused=refusal(Refused(text=str(failed)), line.place, line.user))
        case [_, None]:
            return None
    raise Lost(odd(line.place), done=None)


async def _watched(line: Line, keys: Sequence[bytes]) -> tuple[Other, ...] | Unavailable:
    """What of these keys is no cache; from here on a write to any of them makes EXEC do nothing."""
    asked: list[Command] = [("WATCH", *keys), *(("TYPE", key) for key in keys)]
    asked += [("HEXISTS", key, field) for key in keys for field in JOB_FIELDS]
    replies = await line.ask(asked)
    types, told = replies[1 : len(keys) + 1], replies[len(keys) + 1 :]
    for reply in (replies[0], *types):
        if isinstance(reply, Refused):
            return refusal(reply, line.place, line.user)
    return tuple(_no_cache(keys, types, told))


def _no_cache(keys: Sequence[bytes], types: Sequence[object], told: Sequence[object]) -> list[Other]:
    found = []
    for at, (key, kind) in enumerate(zip(keys, types, strict=True)):
        name = kind.decode("ascii", "replace") if isinstance(kind, bytes) else "unknown"
        marks = told[at * len(JOB_FIELDS) : (at + 1) * len(JOB_FIELDS)]
        if name == "hash" and all(mark == 1 for mark in marks):
            found.append(Other(key=key, kind="job"))
        elif name not in CACHE_TYPES and name != "none":
            found.append(Other(key=key, kind=name))
    return found


async def flush(line: Line, rules: Rules, most: int = MOST_ATOMIC) -> Removed:
    """Looks at every key and empties the database, in one atomic step; nothing where one is no cache. Raises Lost."""
    lists: tuple[tuple[bytes, ...], ...] = (
        tuple(STARTS),
        tuple(WITHIN),
        JOB_FIELDS,
        rules.within,
        rules.protected,
    )
    words: list[Word] = []
    for one in lists:
        words += [str(len(one)), *one]
    reply = (await line.ask([("EVAL", FLUSH, "0", str(most), *words)]))[0]
    match reply:
        case [b"flushed", int(size)]:
            return Removed(keys=size)
        case [b"many", int(size)]:
            return Removed(many=size)
        case [b"other", bytes(key), bytes(kind)]:
            return Removed(others=(Other(key=key, kind=kind.decode("ascii", "replace")),))
        case Refused():
            return Removed(refused=refusal(reply, line.place, line.user))
    raise Lost(odd(line.place), done=None)


def odd(place: str) -> Unavailable:
    """It answers, but with what no Redis answers."""
    return Unavailable(kind=Absence.BAD_ANSWER, reason=f"{place} does not answer as Redis does")
