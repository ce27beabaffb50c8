"""A pool of connections, simulated event by event: an oracle that knows what was broken.

Requests arrive (Poisson), take a connection or wait for one, run a query, do some work with the connection in
hand, and give it back. Incidents change one thing at a time. What comes out is what Prometheus and Postgres
would have said: gauges and counters sampled at an interval, and the sessions at the end.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from oncall.diagnosis.readings import Readings
from oncall.model import Absence, Column, Scalar, SignalReading, StepReading, Table, Unavailable

PATIENCE_S = 5.0


@dataclass(frozen=True)
class World:
    """Usual life, and what changes at `breaks_at` seconds."""

    seed: int = 1
    size: int = 20
    rate: float = 40.0
    query_s: float = 0.04
    work_s: float = 0.03
    cores: float = 8.0
    interval_s: float = 1.0
    window_s: float = 15.0
    baseline_s: float = 120.0
    lasts_s: float = 45.0
    load: float = 1.0
    slow: float = 1.0
    slow_share: float = 1.0
    leak: float = 0.0
    leak_idle: bool = False
    leaks: int = 10**6
    locked: float = 0.0
    small: int | None = None
    slots_left: int | None = None
    """So many connections more may be opened on the server; the app's are recycled at the break."""
    late_burst: float = 0.0
    """A burst of this many times the load, that is over before the end."""

    @property
    def breaks_at(self) -> float:
        return self.baseline_s + 3 * self.window_s

    @property
    def ends_at(self) -> float:
        return self.breaks_at + self.lasts_s


@dataclass
class Session:
    state: str = "idle"
    since: float = 0.0
    used: bool = False
    taken: float = 0.0
    query: float = 0.0


@dataclass
class Tally:
    """Counters and gauges, as the service exports them."""

    requests: int = 0
    held_sum: float = 0.0
    held_count: int = 0
    query_sum: float = 0.0
    query_count: int = 0
    active: int = 0
    waiting: int = 0
    size: int = 0


@dataclass
class Pool:
    world: World
    dice: random.Random
    sessions: list[Session] = field(default_factory=list)
    queue: deque[tuple[float, int]] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)
    leaked: int = 0
    limit: int = 0
    busy: int = 0
    """Sessions whose statement runs."""


def simulate(world: World) -> tuple[list[tuple[float, Tally]], list[Session], float]:
    """Runs the world; samples of the service, the sessions at the end, and the time of the end."""
    dice = random.Random(world.seed)
    pool = Pool(world, dice, limit=world.size)
    pool.sessions = [Session() for _ in range(world.size)]
    events: list[tuple[float, int, str, int]] = [(0.0, 0, "arrive", 0), (world.interval_s, 1, "sample", 0)]
    breaks_at, ends_at = world.breaks_at, world.ends_at
    events.append((breaks_at, 2, "break", 0))
    number, samples = 3, []

    def push(at: float, kind: str, which: int) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (at, number, kind, which))

    while events:
        now, _, kind, which = heapq.heappop(events)
        if now > ends_at:
            break
        broken = now >= breaks_at
        if kind == "arrive":
            pool.tally.requests += 1
            pool.queue.append((now, number))
            _serve(pool, now, broken, push)
            push(now + dice.expovariate(world.rate * _load(world, now, breaks_at)), "arrive", 0)
        elif kind == "sample":
            _drop_impatient(pool, now)
            samples.append((now, _sample(pool)))
            push(now + world.interval_s, "sample", 0)
        elif kind == "break":
            _break(pool)
        elif kind == "worked":
            session = pool.sessions[which]
            session.state, session.since = "in_xact", now
            pool.busy -= 1
            push(now + dice.expovariate(1 / world.work_s), "done", which)
        elif kind == "done":
            _give_back(pool, now, which)
            _serve(pool, now, broken, push)
    return samples, pool.sessions, ends_at


def _load(world: World, now: float, breaks_at: float) -> float:
    if world.late_burst and breaks_at <= now < breaks_at + 6:
        return world.late_burst
    return world.load if now >= breaks_at else 1.0


def _break(pool: Pool) -> None:
    if pool.world.small is not None:
        pool.limit = pool.world.small
    if pool.world.slots_left is not None:
        pool.limit = pool.world.slots_left
    # Those above the limit go when they are given back; free ones at once.
    for session in pool.sessions[pool.limit :]:
        if not session.used:
            session.state = "closed"


def _serve(pool: Pool, now: float, broken: bool, push: Callable[[float, str, int], None]) -> None:
    world, dice = pool.world, pool.dice
    while pool.queue:
        arrived, _ = pool.queue[0]
        if now - arrived > PATIENCE_S:
            pool.queue.popleft()
            continue
        which = _free(pool)
        if which is None:
            return
        pool.queue.popleft()
        session = pool.sessions[which]
        session.used, session.taken = True, now
        if broken and pool.leaked < world.leaks and dice.random() < world.leak:
            pool.leaked += 1
            session.state, session.since = ("idle" if world.leak_idle else "in_xact"), now
            continue
        if broken and dice.random() < world.locked:
            session.state, session.since = "lock", now
            continue
        pool.busy += 1
        slow = world.slow if broken and dice.random() < world.slow_share else 1.0
        query = dice.expovariate(1 / (world.query_s * slow)) * max(1.0, pool.busy / world.cores)
        session.state, session.since, session.query = "active", now, query
        push(now + query, "worked", which)


def _free(pool: Pool) -> int | None:
    for which in range(pool.limit):
        if not pool.sessions[which].used:
            return which
    return None


def _give_back(pool: Pool, now: float, which: int) -> None:
    session, tally = pool.sessions[which], pool.tally
    tally.held_sum += now - session.taken
    tally.held_count += 1
    tally.query_sum += session.query
    tally.query_count += 1
    session.used, session.since = False, now
    session.state = "idle" if which < pool.limit else "closed"


def _drop_impatient(pool: Pool, now: float) -> None:
    while pool.queue and now - pool.queue[0][0] > PATIENCE_S:
        pool.queue.popleft()


def _sample(pool: Pool) -> Tally:
    shown = pool.limit if pool.world.small is not None else pool.world.size
    used = sum(s.used for s in pool.sessions)
    return replace(pool.tally, active=used, waiting=len(pool.queue), size=shown)


# --- as the backends would say it ------------------------------------------------------------------


def readings(world: World, *, postgres: bool = True, history: bool = True) -> Readings:
    """The world as Prometheus and Postgres show it at its end."""
    samples, sessions, end = simulate(world)
    start = end - world.window_s - world.baseline_s
    signals = {name: _signal(world, name, samples, start, end, history) for name in SIGNALS}
    steps = {
        n: StepReading(source="postgres", query=f"-- {n}", answer=t)
        for n, t in _steps(world, sessions, end).items()
    }
    if not postgres:
        dark = Unavailable(kind=Absence.AUTH, reason="password authentication failed")
        steps = {n: StepReading(source="postgres", query=None, answer=dark) for n in steps}
    slots = steps["slots"].answer
    up = SignalReading(id="database", source="postgres", query=None, now=1.0)
    used = SignalReading(id="server_slots", source="postgres", query=None, now=0.3)
    if isinstance(slots, Unavailable):
        up = used = SignalReading(id="database", source="postgres", query=None, now=slots)
    else:
        used = SignalReading(
            id="server_slots", source="postgres", query=None, now=float(slots.rows[0][5] or 0)
        )
    health = StepReading(
        source="http", query=None, answer=Unavailable(kind=Absence.NOT_CONFIGURED, reason="not configured")
    )
    live = {"pool_active": float(samples[-1][1].active), "pool_waiting": float(samples[-1][1].waiting)}
    return Readings(
        at=end,
        window_s=world.window_s,
        baseline_s=world.baseline_s,
        signals={**signals, "database": up, "server_slots": used},
        live=live if postgres else {},
        steps={**steps, "health": health},
    )


SIGNALS = (
    "pool_active",
    "pool_waiting",
    "pool_size",
    "request_rate",
    "checkout_rate",
    "pool_hold",
    "db_query",
)


def _signal(
    world: World, name: str, samples: list[tuple[float, Tally]], start: float, end: float, history: bool
) -> SignalReading:
    points = [(t, _value(world, name, samples, i)) for i, (t, _) in enumerate(samples) if start <= t <= end]
    known = [(t, v) for t, v in points if v is not None and math.isfinite(v)]
    tail = [v for _, v in known[-5:]]
    now: float | Unavailable = (
        sorted(tail)[len(tail) // 2] if tail else Unavailable(kind=Absence.UNDEFINED, reason="NaN")
    )
    if not history:
        known = []
    return SignalReading(
        id=name,
        source="prometheus" if history else "scrape",
        query=f"{name}[{world.window_s:g}s]",
        now=now,
        times=tuple(t for t, _ in known),
        values=tuple(v for _, v in known),
        age_s=0.5,
        baseline_samples=round(world.baseline_s / world.interval_s) if history else 0,
        instances=1,
    )


def _value(world: World, name: str, samples: list[tuple[float, Tally]], at: int) -> float | None:
    tally = samples[at][1]
    if name.startswith("pool_") and name != "pool_hold":
        return float(
            {"pool_active": tally.active, "pool_waiting": tally.waiting, "pool_size": tally.size}[name]
        )
    back = max(0, at - max(1, round(world.window_s / world.interval_s)))
    before, elapsed = samples[back][1], samples[at][0] - samples[back][0]
    if not elapsed:
        return None
    if name == "request_rate":
        return (tally.requests - before.requests) / elapsed
    if name == "checkout_rate":
        return (tally.held_count - before.held_count) / elapsed
    count = tally.held_count - before.held_count
    total = tally.held_sum - before.held_sum if name == "pool_hold" else tally.query_sum - before.query_sum
    return total / count if count else None


def _row(**cells: Scalar) -> Table:
    return Table(columns=tuple(Column(name=n) for n in cells), rows=(tuple(cells.values()),))


def _steps(world: World, sessions: list[Session], end: float) -> dict[str, Table]:
    there = [s for s in sessions if s.state != "closed"]
    ages = {
        k: sorted(end - s.since for s in there if s.state == k) for k in ("idle", "active", "in_xact", "lock")
    }

    def over(kind: str, seconds: float) -> int:
        return sum(a > seconds for a in ages[kind])

    active, locked = ages["active"], ages["lock"]
    app = len(there)
    others = 5 if world.slots_left is None else 97 - app
    sessions_row = _row(
        named=True,
        total=app,
        active=len(active) + len(locked),
        idle=len(ages["idle"]),
        in_xact=len(ages["in_xact"]),
        lock_waiting=len(locked),
        running=len(active),
        running_over_1s=over("active", 1),
        running_median_s=active[len(active) // 2] if active else None,
        running_longest_s=active[-1] if active else 0.0,
        in_xact_over_10s=over("in_xact", 10),
        in_xact_over_30s=over("in_xact", 30),
        in_xact_over_60s=over("in_xact", 60),
        in_xact_longest_s=ages["in_xact"][-1] if ages["in_xact"] else 0.0,
        idle_over_10s=over("idle", 10),
        idle_over_30s=over("idle", 30),
        idle_over_60s=over("idle", 60),
        lock_wait_longest_s=locked[-1] if locked else 0.0,
        hidden=0,
    )
    blocked = len(locked)
    locks = _row(
        pid=4711,
        kind="session",
        who="pid 4711 (psql)",
        state="idle in transaction",
        xact_s=world.lasts_s,
        xact_start="2026-01-05T03:12:41.250Z",
        waiting=blocked,
        app_waiting=blocked,
        gid=None,
        superuser=False,
    )
    nothing = Table(columns=(Column(name="pid"), Column(name="app"), Column(name="running_s")), rows=())
    slots = _row(
        max_connections=100,
        superuser_reserved=3,
        reserved=0,
        used=app + others,
        available=97,
        used_ratio=(app + others) / 97,
        app=app,
        others=others,
        top_other="reporting",
        top_other_sessions=others,
    )
    return {
        "sessions": sessions_row,
        "working": nothing,
        "longest": nothing,
        "idle_in_transaction": nothing,
        "locks": locks if blocked else replace_rows(locks),
        "connections": nothing,
        "slots": slots,
        "statements": nothing,
    }


def replace_rows(table: Table) -> Table:
    return Table(columns=table.columns, rows=())
