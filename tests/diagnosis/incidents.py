"""Incidents drawn at random: a usual life, and one thing that breaks, as `pool_sim` plays them."""

import random
from dataclasses import replace

import msgspec

from oncall.diagnosis.plan import specs_of
from oncall.diagnosis.report import diagnosis
from oncall.model import Absence, Diagnosis, SignalReading, Unavailable
from oncall.model_service import Limits, Service
from oncall.runbook.loader import library
from tests.diagnosis.pool_sim import World, readings

BOOK = library().runbook("pool")

TRUTH = {
    "slow": "pool.slow_queries",
    "slow_some": "pool.slow_queries",
    "leak": "pool.connection_leak",
    "leak_idle": "pool.connection_leak",
    "load": "pool.too_many_requests",
    "lock": "pool.lock_contention",
    "small": "pool.too_small",
    "slots": "pool.server_slots_exhausted",
}
CALM = ("healthy", "burst")


def usual(seed: int) -> World:
    """A service in good health: sizes, rates, times, scrape intervals and windows of all kinds."""
    dice = random.Random(seed)
    size = dice.choice([5, 10, 20, 20, 30, 50])
    busy = dice.uniform(0.08, 0.45) * size
    query, work = 10 ** dice.uniform(-2.5, -1), 10 ** dice.uniform(-2.5, -1)
    rate = busy / (query + work)
    if rate > 300:
        query, work, rate = query * rate / 300, work * rate / 300, 300.0
    interval = dice.choice([1, 1, 2, 5])
    return World(
        seed=seed,
        size=size,
        rate=rate,
        query_s=query,
        work_s=work,
        cores=max(2.0, busy * query / (query + work) * dice.choice([2, 3, 6])),
        interval_s=interval,
        window_s=max(dice.choice([15, 30, 60]), 4 * interval),
        baseline_s=max(dice.choice([120, 300]), 60 * interval),
        lasts_s=dice.uniform(25, 120),
    )


def broken(kind: str, world: World, seed: int) -> World:
    """The world with one thing broken, hard enough to exhaust the pool."""
    dice = random.Random(seed + 1)
    busy = world.rate * (world.query_s + world.work_s)
    room = world.size / busy
    ramp = min(20.0, world.lasts_s - 15)
    changes: dict[str, dict[str, object]] = {
        "healthy": {},
        "burst": {"late_burst": dice.uniform(3, 10)},
        "slow": {"slow": dice.uniform(3, 10) * room},
        "slow_some": {"slow": dice.uniform(10, 30) * room, "slow_share": dice.uniform(0.1, 0.4)},
        "leak": {"leak": dice.uniform(1.2, 4) * world.size / (world.rate * ramp)},
        "leak_idle": {"leak": dice.uniform(1.2, 4) * world.size / (world.rate * ramp), "leak_idle": True},
        "load": {"load": dice.uniform(1, 2) * room},
        "lock": {"locked": dice.uniform(1.5, 5) * world.size / (world.rate * 15)},
        "small": {"small": max(1, int(busy * dice.uniform(0.5, 1.0)))},
        "slots": {"slots_left": max(1, int(busy * dice.uniform(0.4, 0.9)))},
    }
    return replace(world, **changes[kind])  # type: ignore[arg-type]  # each value fits its field


def diagnosed(world: World, *, postgres: bool = True, history: bool = True) -> Diagnosis:
    """The pool's runbook over what the world's backends say."""
    service = Service(limits=Limits(pool=world.size))
    specs = specs_of(BOOK, service)
    seen = readings(world, postgres=postgres, history=history)
    none = Unavailable(kind=Absence.NO_DATA, reason="no data")
    signals = {
        n: seen.signals.get(n) or SignalReading(id=n, source="prometheus", query=None, now=none)
        for n in specs
    }
    whole = msgspec.structs.replace(seen, signals=signals)
    return diagnosis("sim", service, BOOK, dict(specs), whole, duration_ms=1)


def confirmed(found: Diagnosis) -> set[str]:
    return {c.id for c in found.causes if c.confidence == "confirmed"}


def sure(found: Diagnosis) -> set[str]:
    return {c.id for c in found.causes if c.confidence in ("confirmed", "likely")}
