"""flush-cache: removes the keys of declared or named prefixes from the service's Redis; never a queue."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import urlsplit

from oncall.clients.redis_flush import Line, Lost
from oncall.clients.redis_flush_look import Walked, place, walk_all
from oncall.clients.redis_flush_names import Rules, distinct
from oncall.clients.redis_flush_rights import rights
from oncall.clients.redis_flush_sweep import Sweep
from oncall.errors import ConfigError, UsageFault
from oncall.model import Next, Scalar, Table, Unavailable
from oncall.model_acts import Check, Target, TargetResult
from oncall.model_service import RedisAt
from oncall.remediation.action import Found, Scene, Tell
from oncall.remediation.actions import flush_seen as seeing
from oncall.remediation.actions import flush_words as words
from oncall.remediation.actions.flush_seen import Seen
from oncall.remediation.guards import refused

BUDGET_S = 2.0
"""For counting the keys of prefixes; with --all each key must be seen, and all but a part of the deadline is used."""
_ALL_SHARE = 0.7
_TELL_S = 0.2
_CHECK_S = 3.0


@dataclass(frozen=True)
class FlushCache:
    """`prefixes` are literal; without any, those that the service file declares. `all`: the whole database."""

    prefixes: tuple[str, ...] = ()
    all: bool = False

    @property
    def name(self) -> str:
        return "flush-cache"

    @property
    def issues(self) -> tuple[str, ...]:
        return ("memory", "errors")

    @property
    def words(self) -> tuple[str, ...]:
        given = (f"--prefix={one}" if one.startswith("-") else one for one in self.prefixes)
        named = [word for one in given for word in ((one,) if one.startswith("-") else ("--prefix", one))]
        return (*named, "--all") if self.all else tuple(named)

    @asynccontextmanager
    async def work(self, scene: Scene) -> AsyncIterator["Flushing"]:
        """Raises UsageFault and ConfigError; a server that cannot be looked at is a guard that bars."""
        at = _redis(scene)
        prefixes = self._chosen(at)
        flushing = Flushing(self, scene, at)
        line = Line(at, scene.deadline_s)
        try:
            if wrong := self._meaningless(prefixes):
                flushing.found = await _nothing(line, wrong, at, scene)
            else:
                await flushing.look(line, prefixes)
        finally:
            await line.close()
        yield flushing

    def _chosen(self, at: RedisAt) -> tuple[str, ...]:
        """Raises UsageFault for what contradicts itself, or is no text."""
        if self.all and self.prefixes:
            raise UsageFault("--all and --prefix: one of the two", hint="--prefix is the narrower one.")
        chosen = () if self.all else self.prefixes or at.cache
        for one in chosen:
            try:
                one.encode()
            except UnicodeEncodeError:
                hint = "Name the part before the first byte that is not: its keys may hold any bytes."
                raise UsageFault("--prefix: it is not UTF-8 text", hint=hint) from None
        return chosen

    def _meaningless(self, prefixes: Sequence[str]) -> str | None:
        """Why nothing was selected."""
        if self.all:
            return None
        source = "--prefix" if self.prefixes else "redis.cache of the service file"
        for one in prefixes:
            if not one.strip("*? \t"):
                return f"{source} {one!r} would be every key"
        return None if prefixes else "no prefix was named, and the service file declares none (redis.cache)"


def _redis(scene: Scene) -> RedisAt:
    at = scene.service.redis
    if at is None:
        raise ConfigError(f"service {scene.name} names no redis", hint="Add `redis: {url: ...}` to it.")
    parsed = urlsplit(at.url)
    if parsed.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]{1,5}/?", parsed.path):
        # redis-py would silently take database 0.
        raise ConfigError(f"service {scene.name}: redis.url: expected a number as the database: /0")
    return at


async def _nothing(line: Line, wrong: str, at: RedisAt, scene: Scene) -> Found:
    """Nothing was selected; which prefixes there are."""
    from oncall.clients.redis_look import Looked, look

    hint = "name it: --prefix cache: ; or declare it in the service file: redis: {cache: ['cache:']}"
    seen = await look(at, ("prefixes",), scene.deadline_s)
    answer = seen.by_word["prefixes"].answer if isinstance(seen, Looked) else None
    return Found(
        title="removes no key: none was selected",
        place=(("redis", line.place),),
        targets=(),
        guards=(refused("empty-selection", wrong, hint),),
        table=answer if isinstance(answer, Table) else None,
    )


class Flushing:
    """One flush between its look and its proof."""

    def __init__(self, action: FlushCache, scene: Scene, at: RedisAt) -> None:
        self.found = Found(title="", place=(), targets=(), guards=())
        self._action, self._scene, self._at = action, scene, at
        self._seen: Seen | None = None
        self._sweeps: list[tuple[Walked, Sweep]] = []
        self._results: list[TargetResult] = []
        self._begun = 0.0

    # --- the look --------------------------------------------------------------------------------

    async def look(self, line: Line, prefixes: Sequence[str]) -> None:
        """Fills `found`; changes nothing."""
        try:
            seen = await self._look(line, distinct([one.encode() for one in prefixes]))
        except Lost as lost:
            seen = lost.why
        self.found = self._told(seen, line.place) if isinstance(seen, Seen) else _dark(seen, line.place)
        self._seen = seen if isinstance(seen, Seen) else None

    async def _look(self, line: Line, prefixes: tuple[bytes, ...]) -> Seen | Unavailable:
        there = await place(line)
        if isinstance(there, Unavailable):
            return there
        every = self._action.all
        rules = Rules(
            protected=tuple(one.encode() for one in self._at.protected),
            within=tuple(one.encode() for one in self._at.cache) if every else (),
        )
        may = await rights(line, there.user, (b"",) if every else prefixes, there.version, flush=every)
        walks = tuple(Walked(prefix, rules) for prefix in ((b"",) if every else prefixes))
        until = perf_counter() + self._budget_s
        await walk_all(line, walks, until)
        caches = tuple(one.encode() for one in self._at.cache)
        return Seen(line.place, there, may, walks, rules, every, caches)

    @property
    def _budget_s(self) -> float:
        deadline = self._scene.deadline_s
        return _ALL_SHARE * deadline if self._action.all else min(BUDGET_S, deadline / 3)

    def _told(self, seen: Seen, where: str) -> Found:
        there = seen.place
        place = (
            ("redis", f"{where} as {there.user}"),
            ("role", there.role or "unknown"),
            ("version", there.version or "unknown"),
        )
        identity: dict[str, Scalar] = {"redis": where, "run_id": there.run_id}
        # A prefix may well be called as a database is.
        identity |= {"all": True} if seen.all else {}
        targets = tuple(
            Target(id=name, identity={**identity, "prefix": name})
            for name in (words.target(seen, walk) for walk in seen.some)
        )
        return Found(
            title=words.title(seen),
            place=place,
            targets=targets,
            guards=seeing.guards(seen),
            table=words.table(seen),
            does=words.does(seen),
            losses=words.losses(seen),
            notes=tuple(
                f"no key begins with {words.target(seen, w)}" for w in seen.walks if not w.keys and w.whole
            ),
        )

    # --- the act ---------------------------------------------------------------------------------

    async def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        """One prefix after the other, each batch sent once; stops at the first that is not as planned."""
        seen = self._seen
        if seen is None:
            return
        self._begun = perf_counter()
        line = Line(self._at, self._scene.deadline_s, seen.place.run_id)
        try:
            for walk in seen.some:
                result = await self._flush(line, seen, walk, tell)
                self._results.append(result)
                yield result
                if result.state not in ("done", "gone"):
                    return
        finally:
            await line.close()

    async def _flush(self, line: Line, seen: Seen, walk: Walked, tell: Tell) -> TargetResult:
        sweep = Sweep(line, walk.prefix, seen.rules, scripts=seen.rights.scripts)
        self._sweeps.append((walk, sweep))
        name, begun, told = words.target(seen, walk), perf_counter(), 0.0
        if not (words.at_once(seen) and await sweep.at_once(walk.keys)):
            async for _ in sweep.steps():
                now = perf_counter()
                if now - told > _TELL_S:
                    told = now
                    tell(words.progress(name, walk.about, sweep, now - begun))
        return words.result(name, walk.about, sweep)

    def so_far(self) -> tuple[TargetResult, ...]:
        """What has happened, also when the act was interrupted: a result for each prefix that was begun."""
        if self._seen is None:
            return ()
        given = list(self._results)
        for walk, sweep in self._sweeps[len(given) :]:
            name = words.target(self._seen, walk)
            given.append(words.result(name, walk.about, sweep, ended=sweep.ended))
        return tuple(given)

    # --- the proof -------------------------------------------------------------------------------

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        """Looks whether keys of what was removed are there, and whether they are new."""
        seen = self._seen
        if seen is None:
            return ()
        tell("looking whether the keys are gone")
        line = Line(self._at, self._scene.deadline_s, seen.place.run_id)
        try:
            return tuple([
                await self._check(line, done, walk, sweep, until)
                for done, (walk, sweep) in zip(results, self._sweeps, strict=False)
                if done.state != "changed"
            ])  # fmt: skip
        finally:
            await line.close()

    async def _check(self, line: Line, done: TargetResult, walk: Walked, sweep: Sweep, until: float) -> Check:
        left = Walked(walk.prefix, Rules())
        patience = min(_CHECK_S, max(0.2, until - asyncio.get_running_loop().time()))
        since_s = perf_counter() - self._begun
        try:
            await left.walk(line, perf_counter() + patience)
            await left.measure(line, perf_counter() + patience)
        except Lost as lost:
            return Check(text=f"whether keys of {done.id} are left could not be told: {lost}", holds=None)
        if left.stopped:
            reason = left.stopped.reason
            return Check(text=f"whether keys of {done.id} are left could not be told: {reason}", holds=None)
        return words.check(done, sweep, left, since_s)

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        """Looking again, and looking for what else it may be."""
        address, about = self._scene.address, self._scene.about
        again = shlex.join(["oncall", "remediate", self._action.name, *address, *self._action.words, *about])
        whole = bool(results) and all(one.state in ("done", "gone") for one in results)
        why = (
            "the plan counts what is there now"
            if whole
            else "the plan counts what is left; look before you go on"
        )
        return (
            Next(command=again, why=why),
            Next(
                command=shlex.join(["oncall", "diagnose", "memory", *address]),
                why="what fills the memory now",
            ),
        )


def _dark(why: Unavailable, where: str) -> Found:
    """Nothing could be looked at."""
    return Found(
        title="removes cache keys: which, could not be told",
        place=(("redis", where),),
        targets=(),
        guards=seeing.unreached(why),
    )
