"""How much a server is asked: its own count of requests, and a wire that counts what is connected at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


def requests_of(prometheus: str) -> dict[str, int]:
    """Requests to each path of its API so far, as the Prometheus at that address counts them itself."""
    with urlopen(f"{prometheus}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            path = sample.labels.get("handler", "")
            if sample.name == "prometheus_http_requests_total" and path.startswith("/api/"):
                found[path] = found.get(path, 0) + round(sample.value)
    return found


def asked_between(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What came in between, by path."""
    return {path: n for path, count in after.items() if (n := count - before.get(path, 0))}


class Wire:
    """Connections to a server that go through here: open now, most at once, all."""

    def __init__(self, server: str) -> None:
        self._port = urlsplit(server).port
        self.now = self.most = self.all = 0
        self.url = ""

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.all += 1
        self.now += 1
        self.most = max(self.most, self.now)
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        # Cancelled is what the end of the test does to those that are still open
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(_pour(reader, back), _pour(there, writer))
        self.now -= 1
        for end in (writer, back):
            end.close()


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    while data := await source.read(2**16):
        into.write(data)
        await into.drain()
    into.write_eof()


@asynccontextmanager
async def counted(server: str) -> AsyncIterator[Wire]:
    """A port of its own that leads to the server."""
    wire = Wire(server)
    listening = await asyncio.start_server(wire.carry, "127.0.0.1", 0, backlog=1024)
    wire.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        listening.close()
