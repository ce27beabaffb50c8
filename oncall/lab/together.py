"""Which faults cannot be in force at once, because one takes away what the other happens in."""

from oncall.lab.place import Fault
from oncall.lab.runaway import REPORTS

_DATABASE = "errors.database_unavailable"
_CACHE = "errors.cache_unavailable"
_STOPPED = ("stopped", "crashed")

# A fault (cause, variants; none: all) and what cannot happen beside it.
Some = tuple[str, tuple[str, ...]]
_APART: tuple[tuple[Some, tuple[Some, ...]], ...] = (
    (
        (_DATABASE, _STOPPED),
        (
            ("pool.lock_contention", ()),
            ("pool.slow_queries", ()),
            ("pool.connection_leak", ()),
            ("pool.server_slots_exhausted", ()),
            ("latency.slow_queries", ()),
            ("latency.lock_contention", ()),
            ("memory.connection_leak", ("database",)),
        ),
    ),
    (
        (_DATABASE, ("password_changed",)),
        (
            # The service has no session left in which this could happen.
            ("pool.slow_queries", ()),
            ("pool.connection_leak", ()),
            ("latency.slow_queries", ()),
            ("latency.lock_contention", ("hot_row",)),
            ("memory.connection_leak", ("database",)),
        ),
    ),
    (
        (_CACHE, ("stopped", "password_changed")),
        (
            ("memory.cache_growth", ("redis_no_ttl",)),
            ("memory.queue_backlog", ("redis",)),
            ("memory.connection_leak", ("clients",)),
        ),
    ),
    (
        (_CACHE, ("full", "readonly")),
        (("memory.cache_growth", ("redis_no_ttl",)), ("memory.queue_backlog", ("redis",))),
    ),
    (("errors.ollama_down", ()), (("latency.ollama_slow", ()),)),
    # An index is dropped once.
    (("pool.slow_queries", ("dropped_index",)), (("latency.slow_queries", ("dropped_index",)),)),
    (("pool.slow_queries", ("heavy_export",)), (("latency.slow_queries", ("heavy_export",)),)),
    # One pool has no room for twice as many.
    (("pool.slow_queries", (REPORTS,)), (("latency.slow_queries", (REPORTS,)),)),
)


def apart(one: Fault, other: Fault) -> bool:
    """Whether these two cannot be in force at once."""
    if one.cause == other.cause:
        return True
    return any(
        (_is(one, some) and any(_is(other, beside) for beside in besides))
        or (_is(other, some) and any(_is(one, beside) for beside in besides))
        for some, besides in _APART
    )


def _is(fault: Fault, some: Some) -> bool:
    return fault.cause == some[0] and (not some[1] or fault.variant in some[1])
