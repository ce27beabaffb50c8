"""Queues and large collections: which there are, how long, and how fast they grow. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from oncall.clients.redis_sample import shown
from oncall.clients.redis_wire import Command
from oncall.model import Column, Frozen, Scalar, Table

COLUMNS = (
    Column(name="key"),
    Column(name="type"),
    Column(name="length"),
    Column(name="per_s", unit="per_second"),
    Column(name="bytes", unit="bytes"),
    Column(name="lag"),
    Column(name="idle_s", unit="seconds"),
)
MOST_ROWS = 15
LENGTH: Mapping[str, str] = {
    "list": "LLEN",
    "stream": "XLEN",
    "set": "SCARD",
    "zset": "ZCARD",
    "hash": "HLEN",
}
"""The command that tells the length of each type, without reading the value."""
QUEUES = ("list", "stream")
# Collections are no queues: only large ones are told.
_LARGE = 1000
# Names that are looked at in any database: the default queues of Celery.
KNOWN: tuple[tuple[str, bytes], ...] = (("list", b"celery"), ("list", b"default"))
# Sets in which a library keeps the names of its queues, and how it makes a key of each: RQ, Sidekiq, Resque.
REGISTRIES: tuple[tuple[bytes, bytes], ...] = (
    (b"rq:queues", b""),
    (b"queues", b"queue:"),
    (b"resque:queues", b"resque:queue:"),
)
MOST_REGISTERED = 50
# What Bull keeps beside the jobs of a queue, by type.
_BULL = (("list", b":wait"), ("zset", b":delayed"), ("zset", b":failed"), ("zset", b":completed"))
_MOST_BULL = 8
_SHORTEST_S = 0.04


class Seen(Frozen, frozen=True):
    """A collection at the first look: its length at `at` (seconds of our clock), seconds since its last use."""

    key: bytes
    type: str
    length: int
    at: float
    idle_s: int | None = None


class Again(Frozen, frozen=True):
    """The same at the second look; None where it was not told."""

    length: int | None
    at: float
    bytes: int | None = None
    lag: int | None = None


def first_look(key: bytes, kind: str) -> tuple[Command, Command]:
    """Idle time before length: asking the length is a use."""
    return ("OBJECT", "IDLETIME", key), (LENGTH[kind], key)


def bull_names(keys: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """The lists and sets of each Bull queue of which some key was seen."""
    parts = (key.split(b":", 2) for key in keys if key.startswith(b"bull:"))
    queues = sorted({words[1] for words in parts if len(words) == 3})[:_MOST_BULL]
    return [(kind, b"bull:" + queue + ending) for queue in queues for kind, ending in _BULL]


def worth_telling(found: Iterable[Seen]) -> list[Seen]:
    """Queues with something in them and large collections, longest first."""
    kept = [one for one in found if one.length >= (1 if one.type in QUEUES else _LARGE)]
    return sorted(kept, key=lambda one: (-one.length, one.key))


def lag(groups: object) -> int | None:
    """The largest lag of a stream's groups, from XINFO GROUPS (Redis 7); None where it is not told."""
    lags = []
    for group in groups if isinstance(groups, list) else ():
        pairs = zip(group[::2], group[1::2], strict=False) if isinstance(group, list) else ()
        lags += [value for name, value in pairs if name == b"lag" and isinstance(value, int)]
    return max(lags, default=None)


def table(found: Sequence[Seen], again: Mapping[bytes, Again], notes: Iterable[str]) -> Table:
    """Longest first, by the second look where there was one."""
    rows = sorted(
        (_row(one, again.get(one.key)) for one in found), key=lambda row: (-_length(row), str(row[0]))
    )
    cut = len(rows) - MOST_ROWS
    more = (f"{cut} shorter ones are not shown",) if cut > 0 else ()
    return Table(columns=COLUMNS, rows=tuple(rows[:MOST_ROWS]), notes=(*notes, *more))


def _length(row: tuple[Scalar, ...]) -> int:
    return int(row[2] or 0)


def _row(one: Seen, again: Again | None) -> tuple[Scalar, ...]:
    length = one.length if again is None or again.length is None else again.length
    return (
        shown(one.key),
        one.type,
        length,
        _per_s(one, again),
        again.bytes if again else None,
        again.lag if again else None,
        one.idle_s,
    )


def _per_s(one: Seen, again: Again | None) -> float | None:
    """Negative where it shrinks; None where the looks were too close to tell."""
    if again is None or again.length is None or again.at - one.at < _SHORTEST_S:
        return None
    return (again.length - one.length) / (again.at - one.at)
