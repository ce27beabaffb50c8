"""What a flush would do, what it would cost, and what became of it, in words. Pure."""

from collections.abc import Iterator
from typing import Literal

from oncall.clients.redis_flush import MOST_ATOMIC
from oncall.clients.redis_flush_look import Walked
from oncall.clients.redis_flush_sweep import MOST, Sweep
from oncall.clients.redis_sample import shown
from oncall.model import Column, Scalar, Table
from oncall.model_acts import Check, TargetResult
from oncall.numbers import duration, humane
from oncall.remediation.actions.flush_seen import Seen, patterns

_State = Literal["done", "unchanged", "gone", "changed", "failed", "unknown"]

UNKNOWN = "sent once; the answer did not come: look again"
COLUMNS = (
    Column(name="prefix"),
    Column(name="keys"),
    Column(name="about"),
    Column(name="bytes", unit="bytes"),
    Column(name="ttl_share", unit="ratio"),
    Column(name="types"),
    Column(name="idle_most_s", unit="seconds"),
)
_SIGNED_IN = (b"sess", b"token", b"auth", b"login")
# Up to this share of what was removed, what is there again is the cache filling.
_REFILLED = 0.05
# The server's clock for idle times ticks in seconds.
_TICKS_S = 3.0


def target(seen: Seen, walk: Walked) -> str:
    return f"database {seen.where.rpartition('/')[2]}" if seen.all else shown(walk.prefix)


# --- the plan ------------------------------------------------------------------------------------


def title(seen: Seen) -> str:
    if seen.all:
        return f"empties the Redis database {seen.where}: {_many(seen.walks)} keys"
    some = seen.some
    which = f"that begin with {shown(some[0].prefix)}" if len(some) == 1 else f"of {len(some)} prefixes"
    return f"removes {_many(some)} keys {which}"


def _many(walks: tuple[Walked, ...]) -> str:
    """How many keys; where the walk ended before the keys did, at least how many."""
    counted, about = sum(w.keys for w in walks), sum(w.about for w in walks)
    return f"{counted:,}" if all(w.whole for w in walks) else f"at least {counted:,}, about {about:,}"


def table(seen: Seen) -> Table:
    rows = tuple(_row(seen, walk) for walk in seen.walks)
    sampled, every = sum(len(w.sample) for w in seen.walks), sum(w.keys for w in seen.walks)
    notes = [f"bytes, TTLs and idle times are estimated from {sampled:,} keys"] if sampled < every else []
    notes += [
        f"{target(seen, walk)}: at least {walk.keys:,} keys: the time to count was over; about {walk.about:,},"
        " by the part of the database that was passed"
        for walk in seen.walks
        if not walk.whole and not walk.stopped
    ]
    refused = sorted({name for walk in seen.walks for name in walk.refused})
    grant = f": ACL SETUSER {seen.place.user} " + " ".join("+" + n.lower().replace(" ", "|") for n in refused)
    notes += [f"without {', '.join(refused)}{grant}"] if refused else []
    return Table(columns=COLUMNS, rows=rows, notes=tuple(notes))


def _row(seen: Seen, walk: Walked) -> tuple[Scalar, ...]:
    return (
        target(seen, walk),
        walk.keys,
        walk.about,
        None if walk.bytes is None else round(walk.bytes),
        walk.ttl_share,
        ", ".join(f"{kind} {count:,}" for kind, count in walk.types.most_common()),
        max(walk.idle, default=None),
    )


def at_once(seen: Seen) -> bool:
    """A database that is small enough to be looked at and emptied in one step."""
    return seen.all and seen.rights.scripts and (seen.place.keys or seen.keys) <= MOST_ATOMIC


def does(seen: Seen) -> tuple[str, ...]:
    """Each thing that is sent."""
    if at_once(seen):
        check = (
            "EVAL: DBSIZE; SCAN, and the name and TYPE of every key; FLUSHDB ASYNC if all of them are cache"
        )
        return (f"{check}, in one atomic step, sent once",)
    how = "EVAL" if seen.rights.scripts else "WATCH"
    step = f"{how}: TYPE of each key of a batch; UNLINK of all if each is a string or hash and no job"
    scans = [f"SCAN 0 MATCH {one} COUNT {MOST}, to the end" for one in patterns(seen)]
    return (*scans, f"{step}, atomic, at most {MOST} keys each, with a pause as long as the batch took")


def losses(seen: Seen) -> tuple[str, ...]:
    return tuple(_losses(seen))


def _losses(seen: Seen) -> Iterator[str]:
    if not seen.some:
        return
    size = sum(walk.bytes or 0.0 for walk in seen.some)
    heavy = f", some {humane(size, 'bytes')}" if size else ""
    yield f"{_many(seen.some)} keys{heavy}: the service has to compute again what it still needs"
    if not seen.caches:
        what = "the database" if seen.all else ", ".join(target(seen, walk) for walk in seen.some)
        yield f"for good, whatever of {what} is no cache: the service file declares none (redis.cache), so make sure"
    for walk in seen.some:
        if walk.ttl_share is not None and walk.ttl_share < 1:
            lasting = humane(1 - walk.ttl_share, "ratio")
            yield (
                f"{lasting} of the keys of {target(seen, walk)} have no TTL: written to last, and perhaps only once;"
                " nobody may write them again by itself"
            )
        if any(word in walk.prefix.lower() for word in _SIGNED_IN):
            yield f"{target(seen, walk)} looks like sessions: whoever is signed in through it is signed out"
    yield _herd(seen)


def _herd(seen: Seen) -> str:
    hits = seen.place.hits_per_s
    if not hits:
        return "whatever the cache answered goes to the database until it has filled again"
    rate = humane(hits, "per_second")
    return f"it answers {rate} reads now (of all prefixes): they miss, and go to the database, until it has filled"


# --- what became of it ---------------------------------------------------------------------------


def result(name: str, about: int, sweep: Sweep, *, ended: bool = True) -> TargetResult:
    """What one sweep came to; with `ended` False as far as it came when it was interrupted."""
    state, text = _came_to(name, about, sweep, ended=ended)
    return TargetResult(id=name, state=state, text=text)


def _came_to(name: str, about: int, sweep: Sweep, *, ended: bool) -> tuple[_State, str]:
    so_far = f"removed {sweep.removed:,} of about {max(about, sweep.removed):,} keys of {name}"
    if sweep.unsure:
        why = f" ({sweep.failed.reason})" if sweep.failed else ""
        return "unknown", f"{so_far}; then a step for {sweep.unsure:,} keys was {UNKNOWN}{why}"
    if sweep.others:
        met = f"{shown(sweep.others[0].key)} ({sweep.others[0].kind})"
        if not sweep.removed:
            return "changed", f"{met} is no cache: nothing was removed"
        return "failed", f"{so_far}, then met {met}, which is no cache: it and the rest are left"
    if sweep.failed:
        if sweep.elsewhere and not sweep.removed:
            return "changed", f"{sweep.failed.reason}: nothing was removed"
        return "failed", f"{so_far}; then: {sweep.failed.reason}"
    if not ended:
        return ("failed" if sweep.removed else "unchanged"), f"interrupted: {so_far}"
    if not sweep.removed and not sweep.busy:
        return "gone", f"no key of {name} was there any more"
    left = f"; {sweep.busy:,} were left, for they were written to each time" if sweep.busy else ""
    return "done", f"removed {sweep.removed:,} keys of {name}{left}"


def progress(name: str, about: int, sweep: Sweep, elapsed_s: float) -> str:
    rate = sweep.removed / elapsed_s if elapsed_s > 0 else 0.0
    return (
        f"{name}: removed {sweep.removed:,} of about {max(about, sweep.removed):,} keys, {rate:,.0f} a second"
    )


def check(done: TargetResult, sweep: Sweep, left: Walked, since_s: float) -> Check:
    """Whether the keys are gone. `left` is a new look; the act began `since_s` seconds before it.

    A pass that came to its end has seen every key that was there (that is what SCAN promises): what is there now was
    written since. A key that was last used before the act shows the contrary."""
    name = done.id
    if not left.keys:
        return Check(text=f"no key of {name} is left", holds=True if left.whole else None)
    many = f"{left.keys:,}" if left.whole else f"at least {left.keys:,}"
    if not sweep.ended:
        return Check(
            text=f"{many} keys of {name} are there", holds=None if done.state == "unknown" else False
        )
    oldest = max(left.idle, default=None)
    if oldest is not None and oldest > since_s + _TICKS_S:
        return Check(text=f"{many} keys of {name} are left, one unused for {duration(oldest)}", holds=False)
    share = left.about / max(1, sweep.removed)
    text = f"{many} keys of {name} were written since ({humane(share, 'ratio')} of what was removed): it fills again"
    if sweep.busy:
        text = f"{text}, or were left because they were being written"
    known = share <= _REFILLED or oldest is not None
    return Check(text=text, holds=True if known else None)
