"""The users: `python -m oncall.lab.load FOLDER`. They come at random, whether or not others were answered."""

import asyncio
import math
import random
import signal
import sys
import time
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


def request(chance: random.Random, weights: dict[str, float]) -> bytes:
    """One request; one in a hundred is a user's mistake."""
    mix = {**USUAL, **weights}
    method, path = chance.choices(list(mix), list(mix.values()))[0].split()
    number = "x" if chance.random() < 0.01 else str(chance.randint(1, LARGEST.get(path, 200)))
    body = "&body=where+is+my+order" if method == "POST" else ""
    head = f"{method} {path}?id={number}{body} HTTP/1.0\r\nHost: lab\r\nContent-Length: 0\r\n\r\n"
    return head.encode()


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


async def drive(folder: Path, record: Record) -> None:
    """Poisson arrivals at the rate that load.json says, until the end of the process."""
    at = urlsplit(record.part("service").url or "")
    chance = random.Random(record.seed)
    wander = Wander(chance)
    under_way: set[asyncio.Task[None]] = set()
    knobs, read_at, due = LoadKnobs(), 0.0, time.monotonic()
    while True:
        now = time.monotonic()
        if now - read_at > 0.5:
            knobs, read_at = read(folder / "load.json", LoadKnobs) or LoadKnobs(), now
        due += chance.expovariate(max(0.1, knobs.rate * wander.now()))
        # After a pause of the machine the missed arrivals are not made up for all at once.
        due = max(due, now - 0.5)
        if due > now:
            await asyncio.sleep(due - now)
        if len(under_way) < OUTSTANDING:
            task = asyncio.create_task(send(at.hostname or "", at.port or 0, request(chance, knobs.weights)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)


def main(folder: Path) -> None:
    """Sends requests until it is told to end."""
    allow_many_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(drive(folder, read(folder / "lab.json", Record) or running(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
