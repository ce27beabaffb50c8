"""Ollama: is it there?"""

import msgspec

from oncall.clients.http_json import ask_json
from oncall.model import HttpBackend, Met, Unavailable


class _Version(msgspec.Struct):
    version: str


async def meet(at: HttpBackend, deadline_s: float) -> Met | Unavailable:
    """Its version and round trip, within `deadline_s` seconds."""
    answer = await ask_json(at, "/api/version", _Version, "Ollama", deadline_s)
    return answer if isinstance(answer, Unavailable) else Met(ms=answer[1], version=answer[0].version)
