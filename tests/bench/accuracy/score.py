"""What the runs add up to: by issue, and in all. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.accuracy.drawn import Case
from tests.bench.accuracy.stage import Played

SURE = ("confirmed", "likely")
# Consequences that are true in another issue's words: what makes the pool wait makes the latency, and so on.
FAMILY = {
    "pool.slow_queries": {"latency.slow_queries"},
    "pool.lock_contention": {"latency.lock_contention"},
    "pool.too_many_requests": {"latency.too_many_requests"},
    "pool.connection_leak": {"memory.connection_leak"},
    "latency.slow_queries": {"pool.slow_queries"},
    "latency.lock_contention": {"pool.lock_contention"},
    "latency.too_many_requests": {"pool.too_many_requests"},
    "memory.connection_leak": {"pool.connection_leak"},
    "errors.cache_unavailable": {"memory.cache_growth"},
    "memory.cache_growth": {"errors.cache_unavailable"},
    "memory.queue_backlog": {"errors.cache_unavailable"},
}
# A pool that gives nothing is a database that the service cannot reach.
_NO_CONNECTION = {"errors.database_unavailable"}


def true_of(case: Case) -> set[str]:
    """Every cause that may be confirmed in this case, in whatever issue."""
    broken = {b.cause for b in case.breaks}
    more = set().union(*(FAMILY.get(c, set()) for c in broken)) if broken else set()
    exhausts = any(c.startswith(("pool.", "latency.")) for c in broken)
    return broken | more | (_NO_CONNECTION if exhausts else set())


def sure(diagnosis: Mapping[str, Any], *kinds: str) -> list[str]:
    return [c["id"] for c in diagnosis["causes"] if c["confidence"] in (kinds or SURE)]


def wrong(case: Case, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Causes that were confirmed and are not there."""
    said = {c for d in found.values() for c in sure(d, "confirmed")}
    return sorted(said - true_of(case))


@dataclass
class Tally:
    """One issue: so many incidents with a symptom, and how they were told."""

    incidents: int = 0
    first: int = 0
    three: int = 0
    wrong: int = 0
    with_evidence: int = 0
    misses: list[str] = field(default_factory=list)

    def take(self, played: Played, cause: str, found: Mapping[str, Any]) -> None:
        named = [c["id"] for c in found["causes"] if c["confidence"] in (*SURE, "possible")]
        self.incidents += 1
        self.first += bool(named) and named[0] == cause and cause in sure(found)
        self.three += cause in named[:3]
        self.wrong += bool(wrong(played.case, {found["issue"]: found}))
        self.with_evidence += any(
            c["id"] == cause and any(e["holds"] for e in c["evidence"]) for c in found["causes"]
        )
        if not named or named[0] != cause or cause not in sure(found):
            said = ", ".join(f"{c['id']} {c['confidence']}" for c in found["causes"][:2])
            self.misses.append(f"{played.case.name} (seed {played.case.seed}): {found['severity']}, {said}")


def by_issue(runs: Iterable[Played]) -> dict[str, Tally]:
    """Single faults whose symptom showed and was seen."""
    found: dict[str, Tally] = {}
    for played in runs:
        if len(played.case.breaks) != 1 or not played.found:
            continue
        (broken,) = played.case.breaks
        diagnosis = played.found[broken.issue]
        if played.shown.get(broken.issue) and diagnosis["severity"] in ("warning", "critical"):
            found.setdefault(broken.issue, Tally()).take(played, broken.cause, diagnosis)
    return found


def recalled(runs: Iterable[Played]) -> tuple[int, int]:
    """Of pairs whose symptoms showed: so many causes are among the first three of their issue, of so many."""
    hit = of = 0
    for played in runs:
        for broken in played.case.breaks if len(played.case.breaks) == 2 and played.found else ():
            diagnosis = played.found[broken.issue]
            if played.shown.get(broken.issue) and diagnosis["severity"] in ("warning", "critical"):
                named = [c["id"] for c in diagnosis["causes"] if c["confidence"] in (*SURE, "possible")]
                of += 1
                hit += broken.cause in named[:3]
    return hit, of


def percentile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0
