"""Services drawn at random, and what breaks in them: each cause in the ways in which it really happens."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from oncall.model import Absence, Unavailable
from tests.diagnosis.service_says import ALL, CORE, LINES, Told
from tests.diagnosis.service_world import Endpoint, Fault, World

Turned = Mapping[str, float | str]


@dataclass(frozen=True)
class Incident:
    """A world with what is told of it, and the cause that is true in each issue; '' where nothing is broken."""

    world: World
    told: Told
    truth: frozenset[str]
    variant: str = ""

    @property
    def allowed(self) -> frozenset[str]:
        """What is true besides: a Redis that is filled to the brim takes no writes."""
        full = {"redis", "list"} & set(self.variant.split("+"))
        return self.truth | ({"errors.cache_unavailable"} if full else frozenset())


def usual(dice: random.Random) -> tuple[World, Told]:
    """A service in good health: sizes, rates, times, intervals, windows, exports and configurations of all kinds."""
    has_model, has_cache = dice.random() < 0.6, dice.random() < 0.7
    rate = 10 ** dice.uniform(0.3, 2.7)
    query_s = 10 ** dice.uniform(-2.7, -1.3)
    endpoints = _endpoints(dice, has_model, has_cache)
    infer_s = 10 ** dice.uniform(-0.5, 0.5)
    cpu = rate * sum(e.share * e.cpu_s for e in endpoints)
    one_thread = cpu < 0.5 and dice.random() < 0.6
    cores = max(dice.choice([1, 2, 2, 4, 8, 16, 32, 64]), 1 + int(cpu / dice.uniform(0.15, 0.5)))
    work = rate * query_s * sum(e.share * e.queries for e in endpoints)
    hold = work + rate * cpu / max(rate, 1) * 0.3
    pool = max(5, dice.choice([5, 10, 20, 20, 50]), int(hold / dice.uniform(0.08, 0.4)) + 1)
    interval = dice.choice([1, 2, 5, 10, 15, 15, 30])
    window = max(float(dice.choice([15, 30, 60, 300, 300, 300])), 4.0 * interval)
    baseline = dice.choice([120.0, 600.0, 1800.0, 3600.0, 3600.0, 3600.0])
    infers = rate * sum(e.share * e.infers for e in endpoints)
    world = World(
        seed=dice.randrange(10**9), rate=rate, endpoints=endpoints, query_s=query_s, infer_s=infer_s,
        infer_slots=max(1.0, infers * infer_s / dice.uniform(0.1, 0.5)), pool=pool,
        db_cores=max(2.0, work * dice.choice([2.0, 3.0, 6.0])), cores=cores, one_thread=one_thread,
        same_machine=dice.random() < 0.15 and cores >= 2 * (work + cpu), interval_s=float(interval),
        window_s=window,
        baseline_s=baseline, patience_s=dice.choice([3.0, 5.0, 10.0, 30.0]), wander=dice.uniform(0.02, 0.15),
        usual_errors=dice.choice([0.0, 0.0005, 0.003]), usual_bad=dice.choice([0.0, 0.01, 0.05, 0.12]),
        usual_other=dice.uniform(0, 0.05), usual_limited=dice.choice([0.0, 0.0, 0.002, 0.01]),
        idle_cpu=dice.uniform(0.01, 0.25), rss=10 ** dice.uniform(7.9, 9.0), machine_b=dice.choice([8e9,
        16e9, 64e9]),
        redis_max=dice.choice([None, 2e8, 1e9, 4e9]), redis_policy=dice.choice(["noeviction",
        "allkeys-lru", "volatile-lru"]),
        redis_used=dice.uniform(0.05, 0.6), redis_counted=dice.random() < 0.3, sawtooth=dice.choice([0.0,
        0.0, 2e7]),
        request_b=10 ** dice.uniform(4, 5.5), entry_b=10 ** dice.uniform(2.7, 4.2),
        message_b=10 ** dice.uniform(2.7, 4.2),
    )  # fmt: skip
    return world, _told(dice, world, has_model, has_cache)


def _endpoints(dice: random.Random, has_model: bool, has_cache: bool) -> tuple[Endpoint, ...]:
    def own() -> float:
        return 10 ** dice.uniform(-3.3, -1.8)

    calls = dice.choice([0.0, 0.0, 0.02, 0.1])
    found = [
        Endpoint("/api/search", dice.uniform(0.2, 0.5), queries=dice.choice([1, 2, 5]), cpu_s=own()),
        Endpoint("/api/orders", dice.uniform(0.2, 0.5), queries=dice.choice([1, 3]),
                 cached=float(has_cache), cpu_s=own(), calls_s=calls),
        Endpoint("/api/static", dice.uniform(0.05, 0.3), cpu_s=own()),
    ]  # fmt: skip
    if has_cache:
        found.append(Endpoint("/api/session", dice.uniform(0.1, 0.3), cached=1.0, cpu_s=own()))
    if has_model:
        found.append(Endpoint("/api/chat", dice.uniform(0.05, 0.2), queries=1, infers=1.0, cpu_s=own()))
    whole = sum(e.share for e in found)
    return tuple(replace(e, share=e.share / whole) for e in found)


def _told(dice: random.Random, world: World, has_model: bool, has_cache: bool) -> Told:
    kind = dice.random()
    exports = (
        ALL if kind < 0.55 else CORE if kind < 0.8 else CORE | {g for g in sorted(ALL) if dice.random() < 0.6}
    )
    return Told(
        exports=frozenset(exports),
        named=dice.random() < 0.75,
        redis=has_cache,
        ollama=has_model,
        unit=dice.random() < 0.7,
        host=dice.random() < 0.75,
        logs=dice.random() < 0.75,
        health=dice.choice(["json", "json", "json", "missing", "silent"]),
        words=dice.choice(["python", "java", "go", "node"]),
        logs_bad_input=dice.random() < 0.3,
        unit_limit=None,
    )


# --- what breaks -------------------------------------------------------------------------------------

Maker = Callable[[random.Random, World], tuple[str, Turned]]


def _database(dice: random.Random, world: World) -> tuple[str, Turned]:
    how = dice.choice(["refused", "auth", "firewall", "slots"])
    return how, {"database": how}


def _ollama(dice: random.Random, world: World) -> tuple[str, Turned]:
    how = dice.choice(["refused", "silent", "missing", "flaky"])
    return how, {"model": how}


def _cache(dice: random.Random, world: World) -> tuple[str, Turned]:
    how = dice.choice(["refused", "oom", "misconf", "loading", "readonly"])
    return how, {"redis": how}


def _input(dice: random.Random, world: World) -> tuple[str, Turned]:
    if dice.random() < 0.5:
        return "handled", {"bad": dice.uniform(0.08, 0.5)}
    return "unhandled", {"input_fails": dice.uniform(0.03, 0.4)}


def _limited(dice: random.Random, world: World) -> tuple[str, Turned]:
    if dice.random() < 0.5:
        return "client", {"one_client": world.rate * dice.uniform(0.2, 4)}
    return "lowered", {"limit_share": dice.uniform(0.05, 0.5)}


def _shares(world: World) -> tuple[float, float, float]:
    """The first endpoint's share, its queries, and the queries of a request in the mean."""
    first = next(e for e in world.endpoints if e.queries)
    return first.share, first.queries, sum(e.share * e.queries for e in world.endpoints)


def _slow_queries(dice: random.Random, world: World) -> tuple[str, Turned]:
    _, queries, _ = _shares(world)
    how = dice.choice(["index", "loop", "plan"])
    goal = dice.uniform(1.0, 6.0)
    if how == "index":
        return how, {"one_slow_x": max(4.0, goal / (queries * world.query_s))}
    if how == "loop":
        return how, {"more_queries_x": max(5.0, goal / (queries * world.query_s))}
    return how, {"slow_x": max(4.0, goal / (queries * world.query_s) * dice.uniform(0.5, 1))}


def _exhausted(dice: random.Random, world: World) -> tuple[str, Turned]:
    how = dice.choice(["loop", "neighbour", "memory"])
    if how == "loop":
        ceiling = 1.0 if world.one_thread else float(world.cores)
        return how, {"loop": ceiling * dice.uniform(0.97, 1.5)}
    if how == "neighbour":
        return how, {"neighbour": world.cores * dice.uniform(0.95, 3)}
    return how, {"thrash": dice.uniform(5, 60)}


def _near_its_end(dice: random.Random, world: World) -> World:
    """A crowd of a few times the usual load is enough for it, as in life; what Ollama can do is not what ends."""
    busy = world.rate * (
        world.query_s * _shares(world)[2] + 0.3 * sum(e.share * e.cpu_s for e in world.endpoints)
    )
    most = max(3, int(busy * dice.uniform(3, 8)) + 1)
    return replace(world, pool=min(world.pool, most), infer_slots=4 * world.infer_slots)


def _crowd(dice: random.Random, world: World) -> tuple[str, Turned]:
    """Until the pool, the database's cores or the CPU is full."""
    asked = world.rate * world.query_s * _shares(world)[2]
    cpu = world.rate * sum(e.share * e.cpu_s for e in world.endpoints)
    ceiling = 1.0 if world.one_thread else world.cores * (1 - world.idle_cpu)
    room = min(ceiling / cpu, world.db_cores / asked, world.pool / (asked + 0.3 * cpu))
    return "crowd", {"load_x": room * dice.uniform(1.0, 2.0)}


def _ollama_slow(dice: random.Random, world: World) -> tuple[str, Turned]:
    how = dice.choice(["slow", "queue", "spilled"])
    if how == "queue":
        infers = world.rate * sum(e.share * e.infers for e in world.endpoints)
        load = infers * world.infer_s / world.infer_slots
        return how, {"infer_others": min(0.9, 1 - load / dice.uniform(1.0, 1.6))}
    slower = {"infer_x": max(2.5, dice.uniform(2, 10) / world.infer_s)}
    return how, slower | ({"spilled": dice.uniform(0.15, 0.9)} if how == "spilled" else {})


def _locks(dice: random.Random, world: World) -> tuple[str, Turned]:
    how = dice.choice(["burst", "row", "stuck"])
    share = dice.uniform(0.15, 0.7)
    return how, {"lock_kind": how, "lock_share": share, "lock_wait_s": dice.uniform(0.8, 4)}


def _growth(
    knob: str, unit: Callable[[World], float]
) -> Callable[[random.Random, World, float, float], Turned]:
    """A leak that reaches `target` bytes within `age` seconds; units a request."""

    def turned(dice: random.Random, world: World, target: float, age: float) -> Turned:
        return {knob: target / age / world.rate / unit(world)}

    return turned


_GROWTHS: Mapping[str, tuple[tuple[str, Callable[[random.Random, World, float, float], Turned]], ...]] = {
    "memory.cache_growth": (
        ("process", _growth("cache_leak", lambda w: w.entry_b)),
        ("redis", _growth("redis_leak", lambda w: 1.0)),
    ),
    "memory.queue_backlog": (
        ("process", _growth("queue_leak", lambda w: w.message_b)),
        ("list", _growth("list_leak", lambda w: w.message_b)),
    ),
    "memory.connection_leak": (
        ("sockets", _growth("socket_leak", lambda w: w.socket_b)),
        ("database", lambda d, w, target, age: {"held": 0.9 * w.pool / age}),
    ),
    "memory.unexplained_growth": (
        ("objects", lambda d, w, target, age: {"object_leak": target / age}),
        ("by_request", _growth("object_each", lambda w: 1.0)),
    ),
}
MAKERS: Mapping[str, Maker] = {
    "errors.database_unavailable": _database,
    "errors.ollama_down": _ollama,
    "errors.cache_unavailable": _cache,
    "errors.rate_limited": _limited,
    "errors.invalid_input": _input,
    "latency.slow_queries": _slow_queries,
    "latency.resource_exhaustion": _exhausted,
    "latency.too_many_requests": _crowd,
    "latency.ollama_slow": _ollama_slow,
    "latency.lock_contention": _locks,
}
CAUSES = (*MAKERS, *_GROWTHS)


def incident(cause: str, seed: int) -> Incident:
    """A service in which that cause began some time ago (20 s to 20 min)."""
    dice = random.Random(f"{cause}:{seed}")
    while True:
        world, told = usual(dice)
        if fits(cause, told):
            break
    return broken(dice, world, told, cause)


def fits(cause: str, told: Told) -> bool:
    """Whether the service has what is to break."""
    if "ollama" in cause and not told.ollama:
        return False
    return "cache_unavailable" not in cause or told.redis


def broken(dice: random.Random, world: World, told: Told, cause: str) -> Incident:
    """One thing more is broken in that world."""
    age = 20 * 60 ** dice.random()
    if cause == "latency.too_many_requests":
        world = _near_its_end(dice, world)
    if cause in _GROWTHS:
        return _leaking(dice, world, told, cause, max(age, 60.0))
    variant, knobs = MAKERS[cause](dice, world)
    fault = Fault(age_s=age, knobs=knobs)
    if variant == "readonly" or (variant == "oom" and world.redis_policy.startswith("allkeys")):
        world = replace(world, redis_policy="noeviction")
    return Incident(replace(world, faults=(*world.faults, fault)), told, frozenset({cause}), variant)


def _leaking(dice: random.Random, world: World, told: Told, cause: str, age: float) -> Incident:
    variant, make = dice.choice(_GROWTHS[cause])
    while variant in ("redis", "list") and not told.redis:
        variant, make = dice.choice(_GROWTHS[cause])
    age = min(max(age, 0.12 * world.ends), 0.8 * world.ends)
    limit = world.rss * dice.uniform(2.5, 6)
    target = limit * dice.uniform(0.15, 0.9)
    if variant in ("redis", "list"):
        full = world.redis_max or world.machine_b
        target = full * dice.uniform(0.3, 0.95)
        policy = dice.choice(["noeviction", "volatile-lru"])
        world = replace(world, redis_policy=policy, redis_used=dice.uniform(0.02, 0.2))
    if variant == "database":
        world = replace(world, result_b=target / world.pool)
    told = replace(
        told,
        limit=limit if dice.random() < 0.7 else None,
        unit_limit=limit * 1.05 if dice.random() < 0.6 else None,
    )
    fault = Fault(age_s=age, knobs=make(dice, world, target, age))
    world = replace(world, faults=(*world.faults, fault))
    return Incident(world, told, frozenset({cause}), variant)


# --- what only looks broken ---------------------------------------------------------------------------

Calm = Callable[[random.Random, World], World]


def _brief(dice: random.Random, world: World) -> World:
    """A burst that has passed, longer ago than a rate looks back."""
    ago = dice.uniform(130, 600)
    return replace(world, faults=(Fault(age_s=ago + 20, lasts_s=20, knobs={"load_x": 1.6}),))


def _since(dice: random.Random, world: World, knobs: Turned) -> World:
    """A change of the last minutes that is no fault."""
    return replace(world, faults=(Fault(age_s=dice.uniform(60, 600), knobs=knobs),))


CALM: Mapping[str, Calm] = {
    "idle": lambda d, w: replace(w, rate=d.uniform(0.02, 0.5)),
    "quiet": lambda d, w: w,
    "busy": lambda d, w: _since(d, replace(w, infer_slots=3 * w.infer_slots), {"load_x": 1.6}),
    "analytics": lambda d, w: _since(d, w, {"analytics": d.randint(1, 3)}),
    "warming": lambda d, w: replace(w, born_s=d.uniform(60, 900), warm_up=w.rss * d.uniform(0.3, 0.8)),
    "burst": _brief,
    "wave": lambda d, w: replace(w, wave=d.uniform(0.2, 0.4), request_b=1e6),
    "sawtooth": lambda d, w: replace(w, sawtooth=w.rss * d.uniform(0.1, 0.5)),
    "filling": lambda d, w: replace(w, born_s=d.uniform(900, 3000), filling=w.rss * d.uniform(0.2, 0.6)),
    "scanner": lambda d, w: _since(d, w, {"scanner": w.rate * d.uniform(0.2, 1)}),
    "lru": lambda d, w: replace(w, redis_policy="allkeys-lru", redis_max=1e9, redis_used=1.0),
    "limited": lambda d, w: replace(w, usual_limited=0.03),
}  # fmt: skip


def calm(kind: str, seed: int) -> Incident:
    dice = random.Random(f"{kind}:{seed}")
    world, told = usual(dice)
    told = replace(told, unit_limit=world.rss * 4)
    return Incident(CALM[kind](dice, world), told, frozenset(), kind)


GONE = Unavailable(kind=Absence.TIMEOUT, reason="no answer within 5 s")


def dimmed(found: Incident, backend: str) -> Incident:
    """The same incident with a backend taken away; `prometheus` leaves two scrapes, `metrics` nothing of them."""
    told = found.told
    whole = "prometheus" if backend == "metrics" else backend
    dark = replace(told, dark={**told.dark, whole: GONE})
    return replace(found, told=replace(dark, url=False) if backend == "metrics" else dark)


def tellable(found: Incident, locked: int) -> bool:
    """Whether anything that is configured and exported shows what is broken; `locked` sessions were seen waiting."""
    told, cause, how = found.told, next(iter(found.truth)), found.variant
    has, lines = told.exports, LINES[told.words]
    return {
        "auth": told.health == "json" or told.named or "query" in has or (told.logs and told.words != "node"),
        "silent": "model" in has or told.logs,
        "missing": "model" in has or told.logs,
        "flaky": "model" in has or told.logs,
        "unhandled": told.logs
        and any(w in lines["e_input"] for w in ("ValueError", "NumberFormat", "Unexpected")),
        "loop": "cpu" in has or cause == "latency.slow_queries",
        "neighbour": told.host or "node" in has,
        "memory": told.host,
        "slow": "model" in has,
        "queue": "model" in has,
        "spilled": "model" in has,
        "burst": locked >= 2,
        "row": locked >= 2,
        "sockets": "files" in has,
        "objects": {"cache", "queue", "files"} <= has,
        "by_request": {"cache", "queue", "files"} <= has,
        "process": ("queue" if "queue" in cause else "cache") in has
        and ("queue" in cause or not found.world.redis_counted),
    }.get(how, True)
