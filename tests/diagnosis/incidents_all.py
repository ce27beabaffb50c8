"""How well errors, latency and memory tell their causes apart: `python -m tests.diagnosis.incidents_all [n] [seed]`.

Incidents of services that were never seen before, as `service_sim` plays them: single, two at once, in a dark
place, and controls in which nothing is broken. No backend is asked; the runbooks judge what the oracle says.
"""

import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from oncall.diagnosis.plan import plan
from oncall.diagnosis.report import diagnosis
from oncall.model import Diagnosis
from oncall.model_service import Limits, Service
from oncall.runbook.loader import library
from tests.diagnosis.service_faults import (
    CALM,
    CAUSES,
    Incident,
    broken,
    calm,
    dimmed,
    fits,
    incident,
    tellable,
)
from tests.diagnosis.service_says import gathered
from tests.diagnosis.service_sim import simulate

ISSUES = ("errors", "latency", "memory")
LIBRARY = library()
SURE = ("confirmed", "likely")


def diagnosed(found: Incident, issues: Iterable[str] = ISSUES) -> dict[str, Diagnosis]:
    """Each issue's report on an incident."""
    told, world = found.told, found.world
    limits = Limits(pool=world.pool, memory=told.limit) if told.limit else Limits(pool=world.pool)  # type: ignore[arg-type]
    service = Service(limits=limits, unit="app" if told.unit else None)
    books = [LIBRARY.runbook(i) for i in issues]
    asked = plan(books, service)
    seen = gathered(simulate(world), told, asked)
    return {
        b.issue: diagnosis(
            "sim", service, b, dict(asked.specs[b.issue]), asked.readings(b, seen), duration_ms=1
        )
        for b in books
    }


def confirmed(found: Diagnosis) -> set[str]:
    return {c.id for c in found.causes if c.confidence == "confirmed"}


def sure(found: Diagnosis) -> set[str]:
    return {c.id for c in found.causes if c.confidence in SURE}


def slower(found: Diagnosis) -> bool:
    """Whether the incident made the symptom: a service may always be slower than the bound."""
    p95 = next((s for s in found.signals if s.id == "latency_p95" and s.symptom), None)
    return p95 is None or p95.value is None or p95.baseline is None or p95.value >= 1.3 * p95.baseline


def named(found: Diagnosis) -> list[str]:
    """The causes that the report holds to be possible, in its order."""
    return [c.id for c in found.causes if c.confidence in (*SURE, "possible")]


def waiting_for_locks(found: Diagnosis) -> int:
    """The app's sessions that wait for a lock, as the report saw them."""
    for step in found.steps:
        if step.id == "sessions" and step.rows:
            return int(step.rows[0][[c.name for c in step.columns].index("lock_waiting")] or 0)
    return 0


def visible(found: Incident) -> bool:
    """Whether there is a quiet time in the history to compare with."""
    oldest = max((f.age_s for f in found.world.faults), default=0.0)
    return oldest <= 0.7 * found.world.ends and bool(found.told.prometheus)


@dataclass
class Score:
    """Counts, and the seeds of what went wrong."""

    n: int = 0
    symptom: int = 0
    hidden: int = 0
    """There is a symptom, but nothing that could be asked shows what is broken."""
    first: int = 0
    three: int = 0
    sure: int = 0
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    ruled_out: list[str] = field(default_factory=list)


def judge(score: Score, name: str, found: Incident, reports: dict[str, Diagnosis]) -> None:
    """One incident of one cause."""
    score.n += 1
    cause = next(iter(found.truth))
    issue = cause.partition(".")[0]
    wrong = set().union(*(confirmed(r) for r in reports.values())) - found.allowed
    if wrong:
        score.wrong.append(f"{name} {found.variant}: {', '.join(sorted(wrong))}")
    own = reports[issue]
    ruled_out = {c.id for c in own.causes if c.confidence == "ruled_out"}
    if own.severity in ("ok", "unknown") or not visible(found) or not slower(own):
        return
    if not tellable(found, waiting_for_locks(own)):
        score.hidden += 1
        if cause in ruled_out:
            score.ruled_out.append(f"{name} {found.variant}")
        return
    score.symptom += 1
    order = named(own)
    score.first += order[:1] == [cause]
    score.three += cause in order[:3]
    score.sure += cause in sure(own)
    if order[:1] != [cause]:
        score.missed.append(f"{name} {found.variant} ({own.severity}): {order[:1] or 'none'}")


def singles(n: int, seed: int) -> dict[str, Score]:
    scores: dict[str, Score] = defaultdict(Score)
    for cause in CAUSES:
        for i in range(seed, seed + n):
            found = incident(cause, i)
            judge(scores[cause], f"{cause}:{i}", found, diagnosed(found))
    return scores


def controls(n: int, seed: int) -> tuple[int, list[str], list[str]]:
    """So many; those with a likely or confirmed cause; those whose severity is neither ok nor warning."""
    alarms, severe, count = [], [], 0
    for kind in CALM:
        for i in range(seed, seed + n):
            found = calm(kind, i)
            for issue, report in diagnosed(found).items():
                count += 1
                if sure(report):
                    alarms.append(f"{kind}:{i} {issue} {report.severity}: {sorted(sure(report))}")
                blind = issue == "memory" and not (found.told.unit or found.told.host or found.told.limit)
                if report.severity not in ("ok", "warning") and not blind:
                    severe.append(f"{kind}:{i} {issue} {report.severity}")
    return count, alarms, severe


NEEDS = {
    "postgres": ("errors.database_unavailable", "latency.lock_contention"),
    "redis": ("errors.cache_unavailable",),
    "ollama": ("errors.ollama_down",),
}


def ablations(n: int, seed: int) -> tuple[int, list[str], list[str]]:
    """So many; wrong confirmed; causes that need the backend and do not name it."""
    wrong, unnamed, count = [], [], 0
    for backend in (
        "prometheus",
        "metrics",
        "postgres",
        "redis",
        "ollama",
        "host",
        "systemd",
        "logs",
        "http",
    ):
        for cause in CAUSES:
            for i in range(seed, seed + n):
                found = dimmed(incident(cause, i), backend)
                reports = diagnosed(found)
                count += 1
                bad = set().union(*(confirmed(r) for r in reports.values())) - found.allowed
                if bad:
                    wrong.append(f"-{backend} {cause}:{i}: {sorted(bad)}")
                unnamed += [f"-{backend} {cause}:{i}: {c}" for c in _unnamed(backend, reports)]
    return count, wrong, unnamed


def _unnamed(backend: str, reports: dict[str, Diagnosis]) -> list[str]:
    return [
        c.id
        for r in reports.values()
        for c in r.causes
        if c.id in NEEDS.get(backend, ()) and c.confidence != "confirmed"
        and not any(m.startswith(backend) for m in c.missing)
    ]  # fmt: skip


def pair(one: str, other: str, seed: int) -> Incident:
    """Two causes of one issue in one service."""
    dice = random.Random(f"{one}+{other}:{seed}")
    found = incident(one, dice.randrange(10**6))
    while not fits(other, found.told):
        found = incident(one, dice.randrange(10**6))
    both = broken(dice, found.world, found.told, other)
    return replace(both, truth=found.truth | both.truth, variant=f"{found.variant}+{both.variant}")


def pairs(n: int, seed: int) -> tuple[int, int, list[str], list[str]]:
    """How many true causes there were; how many are in the first three; wrong confirmed; missed."""
    there, found_, wrong, missed = 0, 0, [], []
    for issue in ISSUES:
        own = [c for c in CAUSES if c.startswith(issue)]
        for one in own:
            for other in own:
                for i in range(seed, seed + n) if one < other else ():
                    two = pair(one, other, i)
                    report = diagnosed(two, [issue])[issue]
                    bad = confirmed(report) - two.allowed
                    wrong += [f"{one}+{other}:{i} {two.variant}: {sorted(bad)}"] if bad else []
                    if report.severity == "ok" or not visible(two):
                        continue
                    three = set(named(report)[:3])
                    can = {
                        c
                        for c, how in zip((one, other), two.variant.split("+"), strict=True)
                        # Beside another growth, one that nothing explains cannot be told.
                        if c != "memory.unexplained_growth"
                        and tellable(
                            replace(two, truth=frozenset({c}), variant=how), waiting_for_locks(report)
                        )
                    }
                    there += len(can)
                    found_ += len(three & can)
                    if not can <= three:
                        missed.append(f"{one}+{other}:{i} {two.variant}: -{sorted(can - three)}")
    return there, found_, wrong, missed


def main(n: int, seed: int) -> None:
    began = time.monotonic()
    few = max(1, n // 5)
    print(f"{'cause':32} {'n':>4} {'told':>5} {'hid':>4} {'first':>6} {'three':>6} {'sure':>6} wrong")
    scores = singles(n, seed)
    for cause, s in scores.items():
        of = max(s.symptom, 1)
        parts = " ".join(f"{x / of:6.3f}" for x in (s.first, s.three, s.sure))
        print(f"{cause:32} {s.n:4} {s.symptom:5} {s.hidden:4} {parts} {len(s.wrong)}")
    for s in scores.values():
        _tell("  wrong confirmed", s.wrong)
        _tell("  not first", s.missed)
        _tell("  hidden, yet ruled out", s.ruled_out)
    count, alarms, severe = controls(few * 2, seed)
    print(f"controls {count}: likely or confirmed {len(alarms)}, severe {len(severe)}")
    _tell("  alarm", alarms)
    _tell("  severe", severe)
    count, wrong, unnamed = ablations(max(1, few // 5), seed)
    print(f"ablations {count}: wrong confirmed {len(wrong)}, not named {len(unnamed)}")
    _tell("  wrong", wrong)
    _tell("  unnamed", unnamed)
    there, hit, wrong, missed = pairs(max(1, few // 2), seed)
    print(
        f"pairs: {hit}/{there} ({hit / max(there, 1):.3f}) in the first three, wrong confirmed {len(wrong)}"
    )
    _tell("  wrong", wrong)
    _tell("  missed", missed)
    print(f"{time.monotonic() - began:.0f} s")


def _tell(title: str, said: list[str], most: int = 12) -> None:
    for one in said[:most]:
        print(f"{title}: {one}")
    if len(said) > most:
        print(f"{title}: … {len(said) - most} more")


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    main(*(given + [20, 1][len(given) :]))
