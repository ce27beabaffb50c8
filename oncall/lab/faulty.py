"""What faulty releases of the sample service do besides their work: they keep things, or compute for nothing."""

import os
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import redis

from oncall.lab.place import MEMORY_LIMIT, REDIS_LIMIT, Growth, ServiceKnobs

if TYPE_CHECKING:
    from redis.connection import ConnectionInterface

MOST = int(1.3 * MEMORY_LIMIT)
"""Bytes of the service at which every growth ends: a lab must not endanger its machine."""
REDIS_MOST = int(0.92 * REDIS_LIMIT)
"""Bytes at which growth inside Redis ends: full is a fault of its own."""
ENTRY = 32_000
MESSAGE = 64_000
REPLY = 1_000_000
WARM_S = 20
CATALOGUE = "cache:catalogue"
OUTBOUND = "queue:outbound"


def resident() -> int:
    """The memory of this process, in bytes."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123  # on the path of every request
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import psutil

        return int(psutil.Process().memory_info().rss)


class Hoard:
    """What is kept and never given back, in the ways in which services do that."""

    def __init__(self, cache_url: str) -> None:
        self.entries: dict[str, bytes] = {}
        self.waiting: deque[bytes] = deque()
        self.redis_full = False
        self._forgotten: list[bytes] = []
        self._warm: list[bytes] = []
        self._sessions: list[tuple[ConnectionInterface, bytes]] = []
        self._pool = redis.ConnectionPool.from_url(
            cache_url, socket_timeout=2, client_name="bot-controller", max_connections=100_000
        )
        self._serial = random.getrandbits(32)

    def request(self, growth: Growth, cache: "redis.Redis") -> None:
        """What one request leaves behind."""
        if growth == Growth():
            return
        if growth.redis_cache and not self.redis_full:
            self._render_into(cache, growth.redis_cache)
        if resident() >= MOST:
            return
        if growth.forgotten:
            self._forgotten.append(b"x" * growth.forgotten)
        for _ in range(growth.process_cache // ENTRY):
            self.entries[self._key()] = b"x" * ENTRY
        if random.random() < growth.sockets:
            self._open_another(cache)

    def message(self, growth: Growth, cache: "redis.Redis", bot: int) -> None:
        """What one message of a user puts into the queue: one to deliver, or many with what is attached."""
        if growth.process_queue:
            if resident() < MOST:
                self.waiting.extend(b"x" * MESSAGE for _ in range(growth.process_queue // MESSAGE))
            return
        cache.rpush(OUTBOUND, bot)
        if growth.redis_queue and not self.redis_full:
            cache.rpush(OUTBOUND, *[b"x" * MESSAGE for _ in range(growth.redis_queue // MESSAGE)])

    def warm(self, size: int) -> None:
        """Loads so many bytes over `WARM_S` seconds, as a service does that has just started."""
        for _ in range(WARM_S * 4):
            self._warm.append(b"x" * (size // WARM_S // 4))
            time.sleep(0.25)

    def look_at(self, cache: "redis.Redis") -> None:
        """Notes whether Redis is as full as a growth may make it."""
        self.redis_full = dict(cache.info("memory"))["used_memory"] >= REDIS_MOST

    def _key(self) -> str:
        self._serial += 1
        return f"cache:render:{self._serial:x}"

    def _render_into(self, cache: "redis.Redis", size: int) -> None:
        with cache.pipeline(transaction=False) as pipeline:
            for _ in range(max(1, size // ENTRY)):
                pipeline.set(self._key(), b"x" * min(size, ENTRY))
            pipeline.execute()

    def _open_another(self, cache: "redis.Redis") -> None:
        """A client for this request alone, that nobody closes; it keeps the reply that it has read."""
        if not cache.exists(CATALOGUE):
            cache.set(CATALOGUE, b"x" * REPLY, ex=600)
        connection = self._pool.get_connection()
        connection.send_command("GET", CATALOGUE)  # type: ignore[no-untyped-call]  # of redis-py
        self._sessions.append((connection, bytes(connection.read_response() or b"")))


class Burner:
    """A thread that computes again and again, in one go each time: nothing else runs in the meantime."""

    PIECE_S = 0.1
    PAUSE_S = 0.12

    def __init__(self) -> None:
        self._seconds = 0.0
        self._running = False

    def settle(self, knobs: ServiceKnobs) -> None:
        """Lets each computation take as long as the knobs say; 0 ends the thread."""
        self._seconds = knobs.burn_s
        if self._seconds and not self._running:
            self._running = True
            threading.Thread(target=self._burn, daemon=True).start()

    def _burn(self) -> None:
        began = time.thread_time()
        sum(range(1_000_000))
        each = max(time.thread_time() - began, 1e-4)
        while self._seconds:
            until = time.monotonic() + self._seconds
            while time.monotonic() < until:
                # One call into C, as a large document that is serialised: it does not let other threads run.
                sum(range(int(1_000_000 * self.PIECE_S / each)))
            time.sleep(self.PAUSE_S)
        self._running = False
