"""The users: `python -m oncall.lab.load FOLDER`. They come at random, whether or not others were answered."""

import asyncio
import math
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from oncall.lab.place import LoadKnobs, Record, read, running
from oncall.lab.process import allow_many_files

USUAL = {
    "GET /api/bots": 20.0,
    "GET /api/users": 6.0,
    "GET /api/messages": 24.0,
    "POST /api/messages": 15.0,
    "GET /api/search": 12.0,
    "GET /api/export": 5.0,
    "GET /api/chat": 9.0,
    "GET /api/cache": 9.0,
}
"""Requests in a hundred, by endpoint."""
LARGEST = {"/api/search": 160000, "/api/bots": 2000, "/api/users": 2000, "/api/cache": 500}
"""The largest id that each endpoint knows; 200 (the bots) for the others."""
OUTSTANDING = 800
"""Users have patience, machines have limits: more requests than this are not begun."""
PATIENCE = 12.0
CLIENTS = 40
"""Programs that the users come with; each says who it is."""
MALFORMED = ("undefined", "null", "NaN", "%5Bobject%20Object%5D", "6f1c9a2e-0b7d-4c11-9f52-1b8e4d7a3c90", "")
"""What a client sends as an id after a release that nobody tried."""


class Wander:
    """A rate that wanders around 1: an Ornstein-Uhlenbeck process of its logarithm (10 %, 20 s)."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._x = 0.0
        self._at = time.monotonic()

    def now(self) -> float:
        now = time.monotonic()
        keep = math.exp(-(now - self._at) / 20)
        self._at = now
        self._x = self._x * keep + 0.1 * math.sqrt(1 - keep * keep) * self._chance.gauss(0, 1)
        return math.exp(self._x)


def request(chance: random.Random, knobs: LoadKnobs) -> bytes:
    """One request; one in a hundred is a user's mistake."""
    mix = {**USUAL, **knobs.weights}
    endpoint = chance.choices(list(mix), list(mix.values()))[0]
    path = endpoint.split()[1]
    number = "x" if chance.random() < 0.01 else str(chance.randint(1, LARGEST.get(path, 200)))
    if knobs.malformed and chance.random() < knobs.malformed:
        number = chance.choice(MALFORMED)
    more = {"POST /api/messages": "&body=where+is+my+order", "GET /api/search": f"&days={knobs.search_days}"}
    return _head(endpoint, f"id={number}{more.get(endpoint, '')}", chance.randint(1, CLIENTS))


def _head(endpoint: str, query: str, client: int) -> bytes:
    lines = (
        f"{endpoint}?{query} HTTP/1.0",
        "Host: lab",
        f"X-Client: client-{client:02}",
        "Content-Length: 0",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def poll(chance: random.Random) -> bytes:
    """One request of the client that asks again and again."""
    return _head("GET /api/messages", f"id={chance.randint(1, 200)}", 17)


async def send(host: str, port: int, data: bytes) -> None:
    """One request, its answer read and thrown away. A service that does not answer is no reason to stop."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(data)
                while await reader.read(65536):
                    pass
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return


class Crowd:
    """All users: what they do follows load.json; requests that are under way are counted."""

    def __init__(self, folder: Path, record: Record) -> None:
        self.knobs = LoadKnobs()
        self._folder = folder
        at = urlsplit(record.part("service").url or "")
        self._host, self._port = at.hostname or "", at.port or 0
        self._chance = random.Random(record.seed)
        self._wander = Wander(self._chance)
        self._under_way: set[asyncio.Task[None]] = set()

    async def follow(self) -> None:
        """Reads the knobs twice a second, without end."""
        while True:
            self.knobs = read(self._folder / "load.json", LoadKnobs) or LoadKnobs()
            await asyncio.sleep(0.5)

    async def stream(self, rate: Callable[[], float], one: Callable[[], bytes]) -> None:
        """Poisson arrivals at a rate (a second), without end; a rate of 0 is a pause."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            wanted = rate()
            if wanted <= 0:
                await asyncio.sleep(0.25)
                due = time.monotonic()
                continue
            # After a pause of the machine the missed arrivals are not made up for all at once.
            due = max(due + self._chance.expovariate(wanted), now - 0.5)
            if due > now:
                await asyncio.sleep(due - now)
            if len(self._under_way) < OUTSTANDING:
                task = asyncio.create_task(send(self._host, self._port, one()))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    def rate(self) -> float:
        """Requests a second of all users now."""
        burst = self.knobs.burst if time.time() < self.knobs.burst_until else 1.0
        return max(0.1, self.knobs.rate * burst * self._wander.now())

    def one(self) -> bytes:
        return request(self._chance, self.knobs)

    def again(self) -> bytes:
        return poll(self._chance)


async def drive(folder: Path, record: Record) -> None:
    """The users, and the one client that never stops asking, until the end of the process."""
    crowd = Crowd(folder, record)
    await asyncio.gather(
        crowd.follow(),
        crowd.stream(crowd.rate, crowd.one),
        crowd.stream(lambda: crowd.knobs.hammer, crowd.again),
    )


def main(folder: Path) -> None:
    """Sends requests until it is told to end."""
    allow_many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(drive(folder, read(folder / "lab.json", Record) or running(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
