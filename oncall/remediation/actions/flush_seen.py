"""What the look before a flush saw; the guards that are told from it. Pure but for types."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oncall.clients.redis_flush_look import Kept, Place, Walked
from oncall.clients.redis_flush_names import Rules, pattern
from oncall.clients.redis_flush_rights import Rights
from oncall.clients.redis_sample import shown
from oncall.model import Unavailable
from oncall.model_acts import GuardReport
from oncall.remediation.guards import passed, refused, unknown


@dataclass(frozen=True)
class Seen:
    """`where` is host:port/database; `walks` one for each prefix, or the one of the whole database with `all`;
    `caches`: the prefixes that the service file declares."""

    where: str
    place: Place
    rights: Rights
    walks: tuple[Walked, ...]
    rules: Rules
    all: bool = False
    caches: tuple[bytes, ...] = ()

    @property
    def undeclared(self) -> tuple[bytes, ...]:
        """The prefixes that lie outside of the declared caches; all that was asked for where none are declared."""
        return () if self.all else tuple(w.prefix for w in self.walks if not w.prefix.startswith(self.caches))

    @property
    def keys(self) -> int:
        return sum(walk.about for walk in self.walks)

    @property
    def whole(self) -> bool:
        return all(walk.whole for walk in self.walks)

    @property
    def some(self) -> tuple[Walked, ...]:
        """The prefixes that have keys."""
        return tuple(walk for walk in self.walks if walk.keys)


def guards(seen: Seen) -> tuple[GuardReport, ...]:
    return (
        _selection(seen),
        _rights(seen),
        _protected(seen),
        _queues(seen),
        _replica(seen),
        _cluster(seen),
    )


def named(seen: Seen) -> str:
    """The prefixes as a person names them."""
    return "the database" if seen.all else ", ".join(shown(walk.prefix) for walk in seen.walks)


def _selection(seen: Seen) -> GuardReport:
    name = "empty-selection"
    if seen.some:
        text = "the whole database" if seen.all else ", ".join(shown(walk.prefix) for walk in seen.some)
        return passed(name, text)
    if not seen.whole:
        return unknown(
            name,
            f"no key of {named(seen)} was met among those that could be looked at",
            "try a longer --timeout",
        )
    if seen.all:
        return refused(name, f"{seen.where} holds no key", "check the number of the database in redis.url")
    starred = [shown(walk.prefix).rstrip("*") for walk in seen.walks if walk.prefix.endswith(b"*")]
    hint = (
        f"a prefix is taken literally, without a star: --prefix {starred[0]}"
        if starred and starred[0]
        else "see which there are: oncall diagnose memory"
    )
    return refused(name, f"no key begins with {named(seen)}", hint)


def _replica(seen: Seen) -> GuardReport:
    place = seen.place
    if place.role == "master":
        return passed("replica", "it is a master")
    if place.role != "slave":
        return unknown("replica", "it does not tell whether it is a master", "see INFO replication")
    master = place.master or "another server"
    return refused(
        "replica",
        f"{seen.where} is a replica (READONLY) of {master}",
        f"name the master in redis.url: {master}",
    )


def _cluster(seen: Seen) -> GuardReport:
    if seen.place.mode == "cluster":
        text = f"{seen.where} is a node of a Redis Cluster: a flush would empty its own keys only"
        return refused("cluster", text, "flush by the service's own means, node by node")
    if seen.place.mode != "standalone":
        return refused("cluster", f"{seen.where} runs as {seen.place.mode}: it holds no keys of the service")
    return passed("cluster", "no cluster")


def _rights(seen: Seen) -> GuardReport:
    name, user, rights = "rights", seen.place.user, seen.rights
    stopped = next((walk.stopped for walk in seen.walks if walk.stopped), None)
    if rights.missing:
        denied = ", ".join(map(_plain, rights.missing))
        return refused(
            name, f"user {user} may not: {denied}", f"ACL SETUSER {user} {' '.join(rights.missing)}"
        )
    if stopped:
        return unknown(name, stopped.reason, stopped.hint)
    if rights.gone:
        text = f"{seen.where} does not have {', '.join(rights.gone)}: renamed, taken away, or too old"
        return refused(name, text, _GONE if rights.gone == ("FLUSHDB",) else None)
    if seen.place.writes:
        return refused(name, seen.place.writes.reason, seen.place.writes.hint)
    if rights.unsure:
        text = f"whether user {user} may {', '.join(rights.unsure)} could not be told"
        return unknown(name, text, "by --prefix it is not needed; Redis 7 tells it (ACL DRYRUN)")
    way = "by scripts" if rights.scripts else "by transactions (WATCH, MULTI): it may not run scripts"
    return passed(name, f"user {user} may remove these keys, {way}")


_GONE = "whoever took FLUSHDB away meant it; remove by --prefix what may go"


def _plain(rule: str) -> str:
    return f"keys {rule[1:]}" if rule.startswith("~") else rule[1:].replace("|", " ").upper()


def _protected(seen: Seen) -> GuardReport:
    name = "protected-keys"
    if seen.caches and seen.undeclared:
        others, caches = (", ".join(map(shown, found)) for found in (seen.undeclared, seen.caches))
        said = f"{others} is in none of the declared caches ({caches}): it may hold the only copy"
        return refused(
            name, said, f"where it is a cache, add it to redis.cache of the service file: {others}"
        )
    odd = [walk.odd for walk in seen.walks if walk.odd.count]
    if odd:
        return refused(name, f"{_listed(odd)} must stay", _narrower(seen))
    return _as_far(seen, name, "no protected key, and no type that caches do not use")


def _queues(seen: Seen) -> GuardReport:
    name = "queue-in-cache"
    queues = [walk.queues for walk in seen.walks if walk.queues.count]
    if queues:
        there = "in this database" if seen.all else f"under {named(seen)}"
        return refused(name, f"{_listed(queues)}: no cache, {there}", _narrower(seen))
    return _as_far(seen, name, "no queue, list, stream or set")


def _as_far(seen: Seen, name: str, none: str) -> GuardReport:
    """Nothing was met; that holds for what was looked at."""
    if seen.whole:
        return passed(name, f"{none} among {seen.keys:,} keys")
    counted = sum(walk.keys for walk in seen.walks)
    if seen.all:
        text = f"only {counted:,} of about {seen.keys:,} keys could be looked at in time"
        return unknown(
            name, text, "remove by --prefix, where each key is checked as it goes; or give --timeout 1m"
        )
    text = (
        f"{none} among the first {counted:,} of about {seen.keys:,} keys; the others are checked as they go"
    )
    return passed(name, text)


def _narrower(seen: Seen) -> str:
    if seen.all:
        return "remove by --prefix what may go: oncall diagnose memory shows the prefixes"
    return "name a narrower --prefix that holds nothing but cache"


def _listed(kept: Sequence[Kept]) -> str:
    """The first ones by name, and how many there are."""
    count = sum(one.count for one in kept)
    names = ", ".join(f"{shown(key)} ({what})" for key, what in _first(kept))
    more = count - len(tuple(_first(kept)))
    return f"{names} and {more:,} more" if more else names


def _first(kept: Sequence[Kept], most: int = 5) -> Iterator[tuple[bytes, str]]:
    every = (pair for one in kept for pair in one.named)
    return (pair for pair, _ in zip(every, range(most), strict=False))


def patterns(seen: Seen) -> tuple[str, ...]:
    """What SCAN is given, ready to read."""
    return tuple(shown(pattern(walk.prefix)) for walk in seen.some)


def unreached(why: Unavailable) -> tuple[GuardReport, ...]:
    """Nothing could be looked at."""
    return (unknown("rights", why.reason, why.hint),)
