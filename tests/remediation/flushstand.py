"""`flush-cache` looked at, let act and proven on real Redis servers; one that loses the answers on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis

from oncall.model_acts import BARS, Check, GuardReport, GuardState, TargetResult
from oncall.model_service import RedisAt, Service
from oncall.remediation.action import Found, Scene
from oncall.remediation.actions.flush_cache import FlushCache, Flushing
from tests.clients.redisstand import execute

ADDRESS = ("-s", "bot")


def scene(url: str, deadline_s: float = 20, **redis: Any) -> Scene:  # noqa: ANN401  # keys of the service file
    return Scene("bot", Service(redis=RedisAt(url=url, **redis)), None, deadline_s, ADDRESS)


def looked(at: Scene, *prefixes: str, everything: bool = False) -> Found:
    """The plan's part of the action."""

    async def run() -> Found:
        async with FlushCache(prefixes, everything).work(at) as work:
            return work.found

    return asyncio.run(run())


@dataclass(frozen=True)
class Flushed:
    found: Found
    results: tuple[TargetResult, ...]
    checks: tuple[Check, ...]
    told: tuple[str, ...]
    so_far: tuple[TargetResult, ...]

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.results]

    @property
    def text(self) -> str:
        return " | ".join(one.text for one in self.results)


def flushed(
    at: Scene,
    *prefixes: str,
    everything: bool = False,
    between: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> Flushed:
    """Look, `between`, act, `after`, checks."""

    async def run() -> Flushed:
        told: list[str] = []
        async with FlushCache(prefixes, everything).work(at) as work:
            assert not barred(work.found), barred(work.found)
            await asyncio.to_thread(between)
            results = [one async for one in work.apply(told.append)]
            await asyncio.to_thread(after)
            checks = await work.checks(results, asyncio.get_running_loop().time() + 20, told.append)
            return Flushed(work.found, tuple(results), checks, tuple(told), work.so_far())

    return asyncio.run(run())


def guard(found: Found, name: str) -> GuardReport:
    return next(one for one in found.guards if one.name == name)


def barred(found: Found) -> dict[str, str]:
    return {one.name: one.text for one in found.guards if one.state in BARS}


def is_refused(found: Found, name: str) -> str:
    """What a guard says that refuses; it is one that nobody overrides."""
    report = guard(found, name)
    assert report.state is GuardState.REFUSED, report
    assert not report.overridable
    return f"{report.text} → {report.hint}"


_FILL = """\
for at = ARGV[2], ARGV[3] do
  if at % 4 == 0 then redis.call('SET', ARGV[1] .. at, ARGV[4])
  else redis.call('SET', ARGV[1] .. at, ARGV[4], 'EX', 3600) end
end"""


def fill(admin: Redis, prefix: str, count: int) -> None:
    """Keys of 20 bytes, three of four with a TTL. Does not count in `calls`."""
    execute(admin, "EVAL", _FILL, "0", prefix, "0", str(count - 1), "x" * 20)
    admin.config_resetstat()


def calls(admin: Redis, command: str) -> int:
    """How often the server has run a command, by whomever."""
    said: Any = admin.info("commandstats")
    return int(said.get(f"cmdstat_{command}", {}).get("calls", 0))


def user(admin: Redis, url: str, *rules: str) -> str:
    """The address of a user with these rights; looking is always allowed."""
    looking = ("+info", "+ping", "+dbsize", "+acl|whoami", "+acl|dryrun", "+object", "+pttl", "+memory")
    execute(admin, "ACL", "SETUSER", "pager", "reset", "on", ">canary-4711", *looking, *rules)
    return url.replace("redis://", "redis://pager:canary-4711@", 1)


# --- a network that loses answers ----------------------------------------------------------------


@dataclass
class Swallower:
    """Passes everything on; loses the answer to a request that holds `mark`, then hangs up or is silent."""

    mark: bytes
    hang_up: bool
    target: int
    port: int = 0
    arrived: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        lost = False

        async def answers() -> None:
            while data := await there.read(65536):
                if not lost:
                    writer.write(data)
                    await writer.drain()
                elif self.hang_up:
                    writer.close()
                    return

        task = asyncio.create_task(answers())
        try:
            while data := await reader.read(2**22):
                if self.mark in data:
                    lost = True
                    self.arrived += 1
                back.write(data)
                await back.drain()
        except ConnectionError:
            pass
        finally:
            back.close()
            writer.close()
            task.cancel()


@asynccontextmanager
async def swallowing(target: int, mark: bytes, *, hang_up: bool) -> AsyncIterator[Swallower]:
    made = Swallower(mark, hang_up, target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def working(at: Scene, *prefixes: str, everything: bool = False) -> AsyncIterator[Flushing]:
    async with FlushCache(prefixes, everything).work(at) as work:
        yield work
