"""How the lab's memory comes to run out."""

from pathlib import Path

import msgspec

from oncall.lab.faults_errors import drop
from oncall.lab.faulty import CATALOGUE, OUTBOUND
from oncall.lab.kinds import Kind, Others, cache, turned
from oncall.lab.place import Fault, Leak, LoadKnobs, ServiceKnobs

PROCESS_PER_S = 13_000_000
"""Bytes a second by which the service grows: 80 % of its limit within half a minute."""
REDIS_PER_S = 8_000_000
ROWS = 80_000
"""Rows of the big table that a leaked connection keeps: about 23 MB."""
_RATE = LoadKnobs().rate
_MESSAGES = 0.15 * _RATE


def _grown(knobs: ServiceKnobs, **more: float) -> ServiceKnobs:
    return turned(knobs, growth=msgspec.structs.replace(knobs.growth, **more))


def _cache(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    if fault.variant == "in_process":
        return _grown(knobs, process_cache=int(PROCESS_PER_S / _RATE * fault.intensity))
    return _grown(knobs, redis_cache=int(REDIS_PER_S / _RATE * fault.intensity))


def _queue(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    if fault.variant == "in_process":
        return _grown(knobs, process_queue=int(PROCESS_PER_S / _MESSAGES * fault.intensity))
    size = int(REDIS_PER_S / _MESSAGES * fault.intensity)
    return turned(_grown(knobs, redis_queue=size), worker=False)


def _connections(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    if fault.variant == "clients":
        return _grown(knobs, sockets=min(1.0, PROCESS_PER_S / _RATE / 1_000_000 * fault.intensity))
    share = min(1.0, 0.6 * fault.intensity)
    return turned(knobs, leak=Leak(share=share, in_transaction=True, rows=ROWS))


def _forgotten(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    return _grown(knobs, forgotten=int(PROCESS_PER_S / _RATE * fault.intensity))


def _flush(folder: Path, fault: Fault, _others: Others) -> None:
    """The keys that this fault has made; the service's own cache fills again."""
    with cache(folder) as client:
        if fault.variant == "redis_no_ttl":
            drop(client, "cache:render:*")
        elif fault.variant == "redis":
            drop(client, OUTBOUND)
        elif fault.variant == "clients":
            drop(client, CATALOGUE)


KINDS: dict[str, Kind] = {
    "memory.cache_growth": Kind(
        {
            "redis_no_ttl": "a release caches what it renders under ever new keys, for ever, in Redis",
            "in_process": "a release caches what it renders inside the process and never evicts it",
        },
        "how fast it grows",
        undo=_flush,
        service=_cache,
        restarts=frozenset({"in_process"}),
    ),
    "memory.queue_backlog": Kind(
        {
            "redis": "the worker that delivers messages has stopped; they pile up in Redis",
            "in_process": "the thread that delivers messages has died; they pile up inside the process",
        },
        "how fast it grows",
        undo=_flush,
        service=_queue,
        restarts=frozenset({"in_process"}),
    ),
    "memory.connection_leak": Kind(
        {
            "clients": "each third request opens a connection to Redis of its own, and nobody closes it",
            "database": "/api/export keeps its connection to the database, with all that it has read",
        },
        "how fast it leaks",
        undo=_flush,
        service=_connections,
        restarts=frozenset({"clients", "database"}),
    ),
    "memory.unexplained_growth": Kind(
        {"leak": "each request leaves something behind that nothing counts"},
        "how fast it grows",
        service=_forgotten,
        restarts=frozenset({"leak"}),
    ),
}
