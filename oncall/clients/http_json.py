"""One question to a server that answers with JSON of a known shape."""

from typing import TypeVar

import msgspec

from oncall.clients.http import Fetched, HttpServer
from oncall.clients.http_faults import bad, status_fault
from oncall.model import Unavailable
from oncall.model_service import HttpBackend

T = TypeVar("T")
_CAP_BYTES = 2**20
_JSON = "application/json"


async def ask_json(
    at: HttpBackend, path: str, shape: type[T], what: str, deadline_s: float
) -> tuple[T, float] | Unavailable:
    """The answer, and the milliseconds of a round trip. `what` is expected to answer, for messages."""
    async with HttpServer.of_backend(at) as server:
        got = await get(server, path, deadline_s)
        if not isinstance(got, Unavailable):
            # Once more: the first time it connected as well, and that is no round trip.
            got = await get(server, path, deadline_s)
    if isinstance(got, Unavailable):
        return got
    read = read_json(got, shape, what, server.place)
    return read if isinstance(read, Unavailable) else (read, got.ms)


async def get(server: HttpServer, path: str, deadline_s: float) -> Fetched | Unavailable:
    """Asks for JSON of at most 1 MiB."""
    return await server.fetch(path, deadline_s=deadline_s, accept=_JSON, cap_bytes=_CAP_BYTES)


def read_json(got: Fetched | Unavailable, shape: type[T], what: str, place: str) -> T | Unavailable:
    """The answer in its shape, or why there is none: a status, a redirect, another server, a cut answer."""
    if isinstance(got, Unavailable):
        return got
    refused = status_fault(got.status, got.headers.get("location", ""), place)
    if refused is not None:
        return refused
    try:
        return msgspec.json.decode(got.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bad(f"{place} answers, but not as {what} does", "check the url and its base path")
