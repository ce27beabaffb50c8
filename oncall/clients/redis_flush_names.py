"""What a key's name says of it: is it under a prefix, protected, or of a tool that keeps its jobs in Redis? Pure."""

import re
from collections.abc import Mapping, Sequence

from oncall.clients.redis_growing import KNOWN, REGISTRIES
from oncall.model import Frozen

CACHE_TYPES = frozenset({"string", "hash"})
"""What caches are kept in. Queues are lists, streams, sets and sorted sets."""
QUEUE_TYPES = frozenset({"list", "stream", "set", "zset"})
# Strings and hashes in which job queues keep jobs, results and counters. A name that begins with the text...
STARTS: Mapping[bytes, str] = {
    b"rq:": "RQ",
    b"bull:": "Bull",
    b"bq:": "Bee-Queue",
    b"queue:": "Sidekiq or Resque",
    b"queues:": "Laravel",
    b"arq:": "arq",
    b"huey.": "huey",
    b"asynq:": "asynq",
}
# ...or holds it anywhere: these tools put a namespace of the user's own in front.
WITHIN: Mapping[bytes, str] = {
    b"celery-task-meta-": "Celery",
    b"celery-taskset-meta-": "Celery",
    b"_kombu.": "Celery",
    b"unacked": "Celery",
    b":bull:": "Bull",
    b"resque:": "Resque",
    b"sidekiq": "Sidekiq",
    b"dramatiq:": "dramatiq",
    b"horizon:": "Laravel Horizon",
}
USUAL: tuple[bytes, ...] = (*(key for _, key in KNOWN), *(key for key, _ in REGISTRIES))
"""Names of queues that are asked for one by one, where a walk does not come to its end."""
JOB_FIELDS = (b"opts", b"data", b"timestamp")
"""A hash with all of these is a job of Bull, whatever prefix it was given."""
_MARKS = re.compile(
    b"^(" + b"|".join(map(re.escape, STARTS)) + b")|" + b"|".join(map(re.escape, WITHIN)), re.DOTALL
)
_SPECIAL = re.compile(rb"[*?\[\]\\^]")


def pattern(prefix: bytes) -> bytes:
    """The pattern of MATCH for keys that begin with exactly these bytes."""
    return _SPECIAL.sub(rb"\\\g<0>", prefix) + b"*"


def tool_of(key: bytes) -> str | None:
    """The job queue whose key this is, by its name."""
    found = _MARKS.search(key)
    if found is None:
        return None
    return STARTS[found[1]] if found[1] else WITHIN[found[0]]


class Rules(Frozen, frozen=True):
    """What may be removed. `protected`: patterns that never may; `within`: prefixes, or any key where empty."""

    protected: tuple[bytes, ...] = ()
    within: tuple[bytes, ...] = ()

    def protects(self, key: bytes) -> bool:
        return any(matches(one, key) for one in self.protected)

    def queue(self, key: bytes, kind: str | None) -> str | None:
        """Why it is no cache but another tool's; None where it is not. `kind` None: its type is not known yet."""
        if tool := tool_of(key):
            return f"{kind or 'key'} of {tool}"
        return kind if kind in QUEUE_TYPES else None

    def odd(self, key: bytes, kind: str | None) -> str | None:
        """Why it is no cache of ours for another reason; None where there is none."""
        if self.protects(key):
            return "protected"
        if self.within and not key.startswith(self.within):
            return "under none of the declared prefixes"
        known = kind is None or kind in CACHE_TYPES or kind in QUEUE_TYPES
        return None if known else f"of type {kind}"

    def why_not(self, key: bytes, kind: str | None = None) -> str | None:
        """Why it must stay; None where it may go."""
        return self.odd(key, kind) or self.queue(key, kind)


# --- the patterns of Redis -----------------------------------------------------------------------


def matches(glob: bytes, key: bytes) -> bool:
    """As MATCH of Redis does: `*`, `?`, `[a-c]`, `[^a]`, and a backslash before what is meant literally."""
    return re.fullmatch(_regex(glob), key, re.DOTALL) is not None


def _regex(glob: bytes) -> bytes:
    made, at = b"", 0
    while at < len(glob):
        one, at = glob[at : at + 1], at + 1
        if one == b"*":
            made += b".*"
        elif one == b"?":
            made += b"."
        elif one == b"[":
            part, at = _class(glob, at)
            made += part
        else:
            if one == b"\\" and at < len(glob):
                one, at = glob[at : at + 1], at + 1
            made += re.escape(one)
    return made


def _class(glob: bytes, at: int) -> tuple[bytes, int]:
    """The characters of `[...]`, and where the pattern goes on: an end that is missing is taken as there."""
    negated = glob[at : at + 1] == b"^"
    at += negated
    chosen: set[int] = set()
    while at < len(glob) and glob[at : at + 1] != b"]":
        if glob[at : at + 1] == b"\\" and at + 1 < len(glob):
            chosen.add(glob[at + 1])
            at += 2
        elif glob[at + 1 : at + 2] == b"-" and at + 2 < len(glob):
            low, high = sorted((glob[at], glob[at + 2]))
            chosen.update(range(low, high + 1))
            at += 3
        else:
            chosen.add(glob[at])
            at += 1
    return _one_of(chosen, negated=negated), at + 1


def _one_of(chosen: set[int], *, negated: bool) -> bytes:
    if not chosen:
        return b"." if negated else b"(?!)"
    listed = b"".join(re.escape(bytes([one])) for one in sorted(chosen))
    return b"[" + (b"^" if negated else b"") + listed + b"]"


def distinct(prefixes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Without those that another one covers: no key is counted twice."""
    kept: list[bytes] = []
    for one in sorted(set(prefixes), key=len):
        if not one.startswith(tuple(kept)):
            kept.append(one)
    return tuple(sorted(kept, key=list(prefixes).index))
