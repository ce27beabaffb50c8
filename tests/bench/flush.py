"""How long do others wait while a cache is flushed? `python -m tests.bench.flush [KEYS]`.

Fills a Redis with KEYS keys of a prefix (a million unless told) and as many tenths of others. Another process reads a
key over and over; the longest it waits is told for a quiet stretch, for the plan, and for the flush, for which 20 ms
are the limit. On a busy machine it also waits for a core: the server's own longest command is told besides.
By hand: it takes two minutes."""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

from redis import Redis

from oncall.lab.servers import start_redis, stop
from oncall.model_service import RedisAt, Service
from oncall.remediation.action import Scene
from oncall.remediation.actions.flush_cache import FlushCache

MANY = 1_000_000
_LIMIT_MS = 20.0
_QUIET_S = 30.0
_STEP = 100_000
_FILL = "for at = ARGV[2], ARGV[3] do redis.call('SET', ARGV[1] .. at, string.rep('x', 100)) end"
# A connection that reads one key at a time, as fast as it is answered.
_WATCH = """
import os, sys, time, threading
from redis import Redis
client = Redis.from_url(sys.argv[1])
waits, on = [], True
def stop():
    global on
    sys.stdin.read()
    on = False
threading.Thread(target=stop, daemon=True).start()
client.get("other:1")
print("ready", flush=True)
while on:
    begun = time.perf_counter()
    client.get("other:1")
    waits.append((time.perf_counter() - begun) * 1000)
    time.sleep(0.0005)
print(*waits)
"""


@contextlib.contextmanager
def watching(url: str, waits: list[float]) -> Iterator[None]:
    """Fills `waits` (ms) with how long each read took within the block."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WATCH, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        said, _ = child.communicate()
        waits += map(float, said.split())


def fill(url: str, keys: int) -> None:
    with Redis.from_url(url) as admin:
        run = admin.register_script(_FILL)
        for prefix, many in (("cache:", keys), ("other:", keys // 10)):
            for begin in range(0, many, _STEP):
                run(args=[prefix, begin, min(many, begin + _STEP) - 1])


def longest_command(url: str) -> float:
    """The server's longest command since the last call, in ms (0 where all took less than one)."""
    with Redis.from_url(url) as admin:
        admin.config_set("slowlog-log-slower-than", 1000)
        admin.config_set("slowlog-max-len", 100_000)
        entries: Any = admin.slowlog_get(100_000)
        admin.slowlog_reset()
    return max((entry["duration"] / 1000 for entry in entries), default=0.0)


def told(name: str, waits: list[float], url: str, more: str = "") -> float:
    """Prints the line; the longest wait."""
    more = f"longest command {longest_command(url):5.1f} ms   {more}"
    over = sum(wait > _LIMIT_MS for wait in waits)
    p99 = quantiles(waits, n=100)[-1]
    late = f"{over} of {len(waits):,} over the limit"
    print(f"{name:<6} longest wait {max(waits):6.1f} ms   p99 {p99:5.2f} ms   {late}   {more}")
    return max(waits)


async def flush(url: str) -> float:
    """Plan, then act, each watched; the longest wait of the act in ms."""
    planning: list[float] = []
    acting: list[float] = []
    scene = Scene("bench", Service(redis=RedisAt(url=url)), None, 10)
    with contextlib.ExitStack() as stack:
        stack.enter_context(watching(url, planning))
        begun = time.perf_counter()
        async with FlushCache(("cache:",)).work(scene) as work:
            took = time.perf_counter() - begun
            stack.close()
            told("plan", planning, url, f"{took:.1f} s: {work.found.title}")
            with watching(url, acting):
                begun = time.perf_counter()
                results = [one async for one in work.apply(lambda _: None)]
                took = time.perf_counter() - begun
    return told("flush", acting, url, f"{took:.1f} s: {results[0].text}")


def main(keys: int) -> int:
    """Prints the figures; 1 where the limit is broken."""
    with tempfile.TemporaryDirectory() as folder:
        server = start_redis(Path(folder), password="")
        try:
            fill(server.url, keys)
            longest_command(server.url)
            quiet: list[float] = []
            with watching(server.url, quiet):
                time.sleep(_QUIET_S)
            told("quiet", quiet, server.url)
            longest = asyncio.run(flush(server.url))
        finally:
            stop(server)
    print(f"limit        {_LIMIT_MS:g} ms")
    return int(longest > _LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MANY))
