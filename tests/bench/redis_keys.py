"""Does a look at Redis cost the same, however much it holds? `python -m tests.bench.redis_keys [KEYS]`.

Fills a small Redis (600 keys) and one of KEYS (two million unless told), looks at both in turn in fresh processes,
and prints the wall and CPU time of a look with the loading of the library, and large / small, for which 1.3 is the
limit. By hand: it takes a minute, and a gigabyte of memory."""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

from redis import Redis

from oncall.lab.servers import start_redis, stop

SMALL, LARGE = 600, 2_000_000
_TURNS = 15
_PIPE = 20_000
_LIMIT = 1.3
_LOOK = """
import sys, time
begun, used = time.perf_counter(), time.process_time()
import asyncio
from oncall.model import RedisAt
from oncall.clients.redis_look import Looked, look
words = ["server", "prefixes", "growing", "slowlog", "latency", "clients"]
found = asyncio.run(look(RedisAt(url=sys.argv[1]), words, 10))
assert isinstance(found, Looked), found
print((time.perf_counter() - begun) * 1000, (time.process_time() - used) * 1000)
"""


def fill(url: str, keys: int) -> None:
    """Keys of three prefixes, a third of them with a TTL, and two queues."""
    with Redis.from_url(url) as admin:
        for begin in range(0, keys, _PIPE):
            pipe = admin.pipeline(transaction=False)
            for at in range(begin, min(keys, begin + _PIPE)):
                name = ("cache:profile", "cache:page", "session")[at % 3]
                pipe.set(f"{name}:{at}", "x" * 100, ex=3600 if at % 3 == 2 else None)
            pipe.execute()
        admin.rpush("celery", *range(1000))
        admin.xadd("events", {"n": 1})


def once(url: str) -> tuple[float, float]:
    """Wall and CPU time of one look in a process of its own, in ms; without the start of the interpreter."""
    done = subprocess.run([sys.executable, "-c", _LOOK, url], capture_output=True, text=True, check=True)
    wall, used = map(float, done.stdout.split())
    return wall, used


def main(keys: int) -> int:
    """Prints the figures; 1 where the limit is broken."""
    with tempfile.TemporaryDirectory() as folder:
        servers = {n: start_redis(Path(folder) / str(n), password="") for n in (SMALL, keys)}
        try:
            for count, server in servers.items():
                fill(server.url, count)
            taken: dict[int, list[tuple[float, float]]] = {n: [] for n in servers}
            for _ in range(_TURNS):
                for count, server in servers.items():
                    taken[count].append(once(server.url))
        finally:
            for server in servers.values():
                stop(server)
    for count, times in taken.items():
        walls, used = [wall for wall, _ in times], [cpu for _, cpu in times]
        most = quantiles(walls, n=20)[-1]
        print(
            f"{count:>9,} keys   median {median(walls):5.0f} ms   least {min(walls):5.0f}   p95 {most:5.0f}"
            f"   CPU {median(used):5.0f} ms"
        )
    ratio = median(w for w, _ in taken[keys]) / median(w for w, _ in taken[SMALL])
    print(f"large / small   {ratio:.2f}   (limit {_LIMIT})")
    return int(ratio > _LIMIT)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else LARGE))
