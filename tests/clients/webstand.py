"""Small HTTP servers for tests that answer exactly what a test wants, well-behaved or not."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Asked:
    """A request as it came. `form` holds the fields of its query and of its body."""

    method: str
    target: str
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, str]
    body: bytes = b""


TLS_HELLO = b"\x16"

Answer = bytes | AsyncIterator[bytes]


def reply(body: bytes | str = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; header names take _ for -."""
    content = body.encode() if isinstance(body, str) else body
    given = {"Content-Length": str(len(content)), "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return head(status, given) + content


def head(status: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


class Stand:
    """Serves on 127.0.0.1 as `async with`, in the loop of the test; bytes of an answer go out as they are."""

    def __init__(self, answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None) -> None:
        self._answer, self._tls = answer, tls
        self._open: set[asyncio.Task[None]] = set()
        self.asked: list[Asked] = []
        self.came = asyncio.Semaphore(0)
        """Acquired once for each request that has come."""
        self.connections = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        # Cancelled is what __aexit__ does to those that still wait
        with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
            while (asked := await _request(reader)) is not None:
                self.asked.append(asked)
                self.came.release()
                if not await _send(self._answer(asked), writer):
                    break
            if asked is None:
                writer.write(reply(status="400 Bad Request"))
        writer.close()
        self._open.discard(task)


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        if (first := await reader.readexactly(1)) == TLS_HELLO:
            return None
        top = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = top[0].split(" ", 2)
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in top[1:-1])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    fields = parse_qs(query, keep_blank_values=True) | parse_qs(body.decode(), keep_blank_values=True)
    return Asked(method, target, path, headers, {k: v[0] for k, v in fields.items()}, body)


async def _send(answer: Answer, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection stays open: only after a whole answer."""
    if isinstance(answer, bytes):
        writer.write(answer)
        await writer.drain()
        return b"Content-Length" in answer[:2000] and b"Connection: close" not in answer[:2000]
    async for piece in answer:
        writer.write(piece)
        await writer.drain()
    return False


async def forever(first: bytes, again: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    """An answer without end: `first`, then `again` and again, with a pause before each."""
    yield first
    while True:
        await asyncio.sleep(pause_s)
        yield again


async def silence() -> AsyncIterator[bytes]:
    """No answer at all."""
    await asyncio.Event().wait()
    yield b""


async def times(first: bytes, again: bytes, count: int) -> AsyncIterator[bytes]:
    yield first
    for _ in range(count):
        yield again
