"""What fills a Redis, told from a sample of its keys. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from oncall.model import Column, Frozen, Scalar, Table

COLUMNS = (
    Column(name="prefix"),
    Column(name="type"),
    Column(name="keys"),
    Column(name="bytes", unit="bytes"),
    Column(name="bytes_each", unit="bytes"),
    Column(name="ttl_share", unit="ratio"),
    Column(name="ttl_median_s", unit="seconds"),
    Column(name="share", unit="ratio"),
    Column(name="sampled"),
)
MOST_ROWS = 15
OTHERS = "(other keys)"
_DEEPEST = 4
# From this share of all keys on, a prefix is told in more detail.
_COVERS = 0.9
# More sub-prefixes than this are names of things, not of kinds of things.
_MOST_KINDS = 20
_MOST_GROUPS = 30
_LONGEST_KEY = 200

_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}(?![0-9A-Za-z])")
# Base62 and the like: long, with digits and letters.
_TOKEN = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[A-Za-z])(?=[A-Za-z]*[0-9])[0-9A-Za-z]{20,}(?![0-9A-Za-z])")
_BYTES = re.compile(r"(?:\\x[0-9a-f]{2})+")
_NUMBER = re.compile(r"[0-9]+")
_STARS = re.compile(r"\*(?:[-_.~|/]?\*)+")


class Sampled(Frozen, frozen=True):
    """One key that was looked at. `bytes` is None where that may not be asked; `ttl_s` where it has no TTL."""

    key: bytes
    type: str
    bytes: int | None
    ttl_s: float | None
    ttl_known: bool = True
    single: bool = False
    """Found by its name, not by chance: it stands for itself alone."""


def sampled(key: bytes, kind: str, size: object, ttl: object) -> Sampled:
    """From the replies to MEMORY USAGE and PTTL, which may be refusals."""
    return Sampled(
        key=key,
        type=kind,
        bytes=size if isinstance(size, int) else None,
        ttl_s=ttl / 1000 if isinstance(ttl, int) and ttl >= 0 else None,
        ttl_known=isinstance(ttl, int),
    )


class Group(Frozen, frozen=True):
    """Keys of one prefix: estimated for the whole database, but for `sampled`."""

    prefix: str
    type: str
    keys: float
    bytes: float | None
    ttl_share: float | None
    ttl_median_s: float | None
    sampled: int


def shown(key: bytes) -> str:
    """A key as text: bytes that are no UTF-8 as \\xNN; cut where it is very long."""
    text = key.decode("utf-8", "backslashreplace")
    return text if len(text) <= _LONGEST_KEY else text[:_LONGEST_KEY] + "…"


# --- prefixes ------------------------------------------------------------------------------------


def masked(part: str) -> str:
    """One part of a key with numbers, ids, UUIDs, hashes and raw bytes as `*`."""
    for pattern in (_BYTES, _UUID, _HEX, _TOKEN):
        part = pattern.sub("*", part)
    return _STARS.sub("*", _NUMBER.sub("*", part))


def prefix(key: str, depth: int) -> str:
    """The first `depth` parts of a key, masked, as a pattern: `cache:*`. The whole of a key with no more parts."""
    parts = key.split(":", depth)
    head = ":".join(map(masked, parts[:depth]))
    whole = head + ":*" if len(parts) > depth else head
    while whole.endswith(":*:*"):
        whole = whole[:-2]
    return whole


def prefixes(keys: Sequence[str]) -> list[str]:
    """The prefix of each key: up to its first `:`, and further where that covers nearly all keys."""
    named = [prefix(key, 1) for key in keys]
    for depth in range(2, _DEEPEST + 1):
        most, count = Counter(named).most_common(1)[0] if named else ("", 0)
        finer = {at: prefix(keys[at], depth) for at, name in enumerate(named) if name == most}
        if count < _COVERS * len(keys) or len(set(finer.values())) > _MOST_KINDS:
            break
        named = [finer.get(at, name) for at, name in enumerate(named)]
    return named


# --- estimates -----------------------------------------------------------------------------------


def weights(sample: Sequence[Sampled], total: int, memory: float | None) -> list[float]:
    """For how many keys of the database each of the sample stands.

    total / sampled, of those met by chance; but never for more than would fit into its memory (bytes): one huge
    queue that came into the sample by chance stands for itself, not for a thousand of its size."""
    drawn = sum(not one.single for one in sample)
    each = max(1.0, (total - len(sample) + drawn) / drawn) if drawn else 1.0

    def weight(one: Sampled) -> float:
        if one.single:
            return 1.0
        fits = memory / one.bytes if memory and one.bytes else each
        return min(each, max(1.0, fits))

    return [weight(one) for one in sample]


def groups(sample: Sequence[Sampled], total: int, memory: float | None) -> list[Group]:
    """The prefixes of a sample out of `total` keys, most bytes first (most keys, where bytes are not known)."""
    named = prefixes([shown(one.key) for one in sample])
    heavy = weights(sample, total, memory)
    by_prefix: dict[str, list[tuple[Sampled, float]]] = defaultdict(list)
    for name, one, weight in zip(named, sample, heavy, strict=True):
        by_prefix[name].append((one, weight))
    found = [_group(name, members) for name, members in _without_singles(by_prefix).items()]
    return sorted(found, key=lambda g: (-(g.bytes or 0.0), -g.keys, g.prefix))


def _without_singles(
    found: Mapping[str, list[tuple[Sampled, float]]],
) -> Mapping[str, list[tuple[Sampled, float]]]:
    """Names that occur once, together, where there are many: they are no prefixes. Large ones stay by name."""
    if len(found) <= _MOST_GROUPS:
        return found
    total = sum((one.bytes or 0) * weight for members in found.values() for one, weight in members)
    kept: dict[str, list[tuple[Sampled, float]]] = defaultdict(list)
    for name, members in found.items():
        size = sum((one.bytes or 0) * weight for one, weight in members)
        kept[name if len(members) > 1 or size > 0.01 * total else OTHERS].extend(members)
    return kept


def _group(name: str, members: Sequence[tuple[Sampled, float]]) -> Group:
    keys = sum(weight for _, weight in members)
    sized = [(one.bytes, weight) for one, weight in members if one.bytes is not None]
    measured = sum(weight for _, weight in sized)
    by_type: Counter[str] = Counter()
    for one, weight in members:
        by_type[one.type] += round((one.bytes or 1) * weight)
    ttls = [one.ttl_s for one, _ in members if one.ttl_s is not None]
    with_ttl = sum(weight for one, weight in members if one.ttl_s is not None)
    known = sum(weight for one, weight in members if one.ttl_known)
    return Group(
        prefix=name,
        type=by_type.most_common(1)[0][0],
        keys=keys,
        bytes=sum(size * weight for size, weight in sized) * keys / measured if measured else None,
        ttl_share=with_ttl / known if known else None,
        ttl_median_s=median(ttls) if ttls else None,
        sampled=len(members),
    )


# --- the table -----------------------------------------------------------------------------------


def table(found: Sequence[Group], notes: Iterable[str]) -> Table:
    everything = sum(group.bytes or 0.0 for group in found)
    rows = tuple(_row(group, everything) for group in found[:MOST_ROWS])
    rest = sum(group.bytes or 0.0 for group in found[MOST_ROWS:])
    cut = len(found) - len(rows)
    more = (
        f"{cut} more prefixes are not shown, with {rest / everything if everything else 0:.0%} of the bytes"
    )
    return Table(columns=COLUMNS, rows=rows, notes=(*notes, *((more,) if cut else ())))


def _row(group: Group, everything: float) -> tuple[Scalar, ...]:
    size = group.bytes
    return (
        group.prefix,
        group.type,
        round(group.keys),
        None if size is None else round(size),
        None if size is None else round(size / group.keys, 1),
        group.ttl_share,
        group.ttl_median_s,
        None if size is None or not everything else size / everything,
        group.sampled,
    )
