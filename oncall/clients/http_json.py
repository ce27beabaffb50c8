"""One question to a server that answers with JSON of a known shape."""

from typing import TypeVar

import msgspec

from oncall.clients.http import HttpServer
from oncall.clients.http_faults import bad, status_fault
from oncall.model import HttpBackend, Unavailable

T = TypeVar("T")
_CAP_BYTES = 2**20
_JSON = "application/json"


async def ask_json(
    at: HttpBackend, path: str, shape: type[T], what: str, deadline_s: float
) -> tuple[T, float] | Unavailable:
    """The answer, and the milliseconds of a round trip. `what` is expected to answer, for messages."""
    async with HttpServer.of_backend(at) as server:
        got = await server.fetch(path, deadline_s=deadline_s, accept=_JSON, cap_bytes=_CAP_BYTES)
        if not isinstance(got, Unavailable):
            # Once more: the first time it connected as well, and that is no round trip.
            got = await server.fetch(path, deadline_s=deadline_s, accept=_JSON, cap_bytes=_CAP_BYTES)
    if isinstance(got, Unavailable):
        return got
    refused = status_fault(got.status, got.headers.get("location", ""), server.place)
    if refused is not None:
        return refused
    try:
        return msgspec.json.decode(got.body, type=shape), got.ms
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bad(f"{server.place} answers, but not as {what} does", "check the url and its base path")
