"""A TCP proxy that puts a server further away: `python -m tests.bench.delay MS PORT...`.

The distance is a round trip of MS milliseconds: half of it for what goes there and half for what comes back, and
one whole round trip before the first byte, since a real connection has to be opened over the same distance
(this proxy is on loopback, where opening takes no time). It prints one line, its own ports in the order of the
ports that were given, and runs until its standard input ends."""

import asyncio
import contextlib
import sys

_PIECE = 2**16


async def _carry(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float, first_s: float
) -> None:
    """Passes bytes on, each piece `delay_s` after it came, in order; several pieces are on their way at once."""
    loop = asyncio.get_running_loop()
    opened = loop.time() + first_s
    way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, piece = await way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not piece:
                break
            sink.write(piece)
            await sink.drain()

    delivery = asyncio.create_task(deliver())
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(_PIECE):
            way.put_nowait((max(loop.time(), opened) + delay_s, piece))
    way.put_nowait((loop.time() + delay_s, b""))
    with contextlib.suppress(ConnectionError):
        await delivery
        if sink.can_write_eof():
            sink.write_eof()


async def _serve(port: int, round_trip_s: float) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        # At the end of the program whoever is still connected is let go without a word.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                _carry(reader, back, round_trip_s / 2, round_trip_s),
                _carry(there, writer, round_trip_s / 2, 0.0),
                return_exceptions=True,
            )
        for end in (back, writer):
            end.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


async def main(round_trip_s: float, ports: list[int]) -> None:
    """Serves until standard input ends, as it does when whoever started this has gone."""
    servers = [await _serve(port, round_trip_s) for port in ports]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) / 1000, [int(word) for word in sys.argv[2:]]))
