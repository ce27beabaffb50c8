"""Alertmanager: is it there, and is its cluster whole?"""

import msgspec

from oncall.clients.http_json import ask_json
from oncall.model import HttpBackend, Met, Unavailable


class _Version(msgspec.Struct):
    version: str


class _Cluster(msgspec.Struct):
    status: str
    peers: list[object] = msgspec.field(default_factory=list)


class _Status(msgspec.Struct):
    version_info: _Version = msgspec.field(name="versionInfo")
    cluster: _Cluster


async def meet(at: HttpBackend, deadline_s: float) -> Met | Unavailable:
    """Its version and round trip, within `deadline_s` seconds."""
    answer = await ask_json(at, "/api/v2/status", _Status, "Alertmanager", deadline_s)
    if isinstance(answer, Unavailable):
        return answer
    status, ms = answer
    settling = status.cluster.status == "settling"
    notes = ("its cluster is still settling: alerts may come twice",) if settling else ()
    return Met(ms=ms, version=status.version_info.version, notes=notes)
