"""A whole service as a fluid: requests, pool, database, Ollama, Redis, CPU and memory, in small steps of time.

It knows what was broken, so it is an oracle for the runbooks of errors,
latency and memory. A fault is a change of
`Knobs` for some time. What comes out are counters and gauges as a service exports them,
and the state at the end;
`service_says` puts both into the words of Prometheus, Postgres, Redis, Ollama, systemd and the log.
"""

import math
import random
from dataclasses import replace

from tests.diagnosis.service_world import (
    BUCKETS,
    LEAD_S,
    Endpoint,
    Knobs,
    Life,
    Sample,
    State,
    World,
)


def knobs_at(world: World, now: float) -> Knobs:
    """All faults that are in force at a time, together."""
    turned: dict[str, float | str] = {}
    usual = Knobs()
    for fault in world.faults:
        begin = world.ends - fault.age_s
        if begin <= now < begin + fault.lasts_s:
            for name, value in fault.knobs.items():
                before = turned.get(name, getattr(usual, name))
                if isinstance(value, str) or isinstance(before, str):
                    turned[name] = value
                else:
                    turned[name] = before * value if name.endswith("_x") else before + value
    return replace(usual, **turned)  # type: ignore[arg-type]  # each value fits its field


def simulate(world: World) -> Life:
    """Runs the world; its samples and its end."""
    dice, state = random.Random(world.seed), State()
    edges = sorted(
        {e for f in world.faults for e in (world.ends - f.age_s, world.ends - f.age_s + f.lasts_s)}
    )
    samples, knobs, passed = [], knobs_at(world, 0.0), -1
    _settle(world, state, dice)
    steps = round((world.ends + LEAD_S) / world.step_s)
    dt = (world.ends + LEAD_S) / steps
    for number in range(1, steps + 1):
        now = number * dt - LEAD_S
        crossed = sum(e <= now for e in edges)
        if crossed != passed:
            knobs, passed = knobs_at(world, now), crossed
        step(world, knobs, state, dice, now, dt)
        samples.append(
            Sample(now, dict(state.counts), _gauges(world, state, dice, now), tuple(state.buckets))
        )
    return Life(world, tuple(samples), state, knobs)


def _settle(world: World, state: State, dice: random.Random) -> None:
    """The usual state before the first sample."""
    for i in range(5):
        step(world, Knobs(), state, dice, i - 5.0, 1.0)
    state.counts = dict.fromkeys(state.counts, 1000.0)


def stretch(load: float, servers: float) -> float:
    """How much longer work takes at this utilisation of so many servers (Sakasegawa's approximation)."""
    load = min(max(load, 0.0), 0.97)
    queued: float = load ** (math.sqrt(2 * (servers + 1)) - 1)
    return 1 + queued / (servers * (1 - load))


def _arrivals(world: World, knobs: Knobs, state: State, dice: random.Random, now: float, dt: float) -> float:
    keep = math.exp(-dt / 300)
    state.walk = keep * state.walk + world.wander * math.sqrt(1 - keep * keep) * dice.gauss(0, 1)
    wave = 1 + world.wave * math.sin(2 * math.pi * (now / max(world.ends, 1) - 0.25))
    mean = world.rate * math.exp(state.walk) * wave * knobs.load_x * dt
    return poisson(dice, mean) / dt


def poisson(dice: random.Random, mean: float) -> float:
    if mean > 40:
        return max(0.0, round(dice.gauss(mean, math.sqrt(mean))))
    level, count, product = math.exp(-mean), 0, dice.random()
    while product > level:
        count, product = count + 1, product * dice.random()
    return float(count)


def step(world: World, knobs: Knobs, state: State, dice: random.Random, now: float, dt: float) -> None:
    """One step: who comes, what it finds busy, how long it takes, what it leaves behind."""
    usual = _arrivals(world, knobs, state, dice, now, dt)
    limited = usual * min(0.95, world.usual_limited + knobs.limit_share) + knobs.one_client
    scanned = knobs.scanner + usual * world.usual_other
    came = usual + knobs.one_client + knobs.scanner
    bad = (usual - limited + knobs.one_client) * min(world.usual_bad + knobs.bad, 0.95)
    rate = max(usual - (limited - knobs.one_client) - bad - usual * world.usual_other, 0.0)
    failed_input = rate * knobs.input_fails
    bugs = rate * (knobs.bug + world.usual_errors)
    now_ = {"came": came, "usual": usual, "limited": limited, "bad": bad, "other": scanned, "rate": rate}
    now_ |= {"input": failed_input, "bugs": bugs}
    state.last = now_
    cpu = _cpu(world, knobs, now_)
    database = _database(world, knobs, state, dice, rate, dt)
    model = _model(world, knobs, state, rate, dt)
    _requests(world, knobs, state, now_, cpu, database, model, dt)
    _memory(world, knobs, state, rate, dt)


def _cpu(world: World, knobs: Knobs, now: dict[str, float]) -> float:
    """CPU of the process and machine; how much longer the process's own work takes."""
    need = sum(e.share * e.cpu_s for e in world.endpoints) * now["rate"]
    need += 0.0005 * (now["came"] - now["rate"])
    ceiling = 1.0 if world.one_thread else float(world.cores)
    others = knobs.neighbour + world.idle_cpu * world.cores
    # Where more is asked than there is, each gets its share.
    wanted = need + knobs.loop + others + now.get("db", 0.0)
    room = min(ceiling, max(world.cores - others, world.cores * (need + knobs.loop) / max(wanted, 1e-9)))
    used = min(need + knobs.loop, room)
    left = max(room - knobs.loop, 0.08 * room)
    now["cpu"] = used
    now["machine"] = min(1.0, (used + others) / world.cores)
    now["wanted"] = (min(need, ceiling) + min(knobs.loop, ceiling) + others) / world.cores
    now["own_load"] = need / max(left, 1e-9)
    slower = stretch(need / max(left, 1e-9), max(left, 0.5)) * min(ceiling / max(left, 1e-9), 12)
    return slower * (1 + knobs.thrash)


def _weights(world: World, knobs: Knobs) -> list[tuple[Endpoint, float, float]]:
    """Each endpoint with its queries and how much longer each takes; the first one with queries may be broken."""
    broken = next((e.name for e in world.endpoints if e.queries), "")
    return [
        (
            e,
            e.queries * (knobs.more_queries_x if e.name == broken else 1),
            knobs.slow_x * (knobs.one_slow_x if e.name == broken else 1),
        )
        for e in world.endpoints
    ]


def _database(
    world: World, knobs: Knobs, state: State, dice: random.Random, rate: float, dt: float
) -> dict[str, float]:
    """The database and the pool in front of it: query time, hold time, wait, what times out."""
    parts, now = _weights(world, knobs), state.last
    asking = rate * sum(e.share for e, k, _ in parts if k)
    queries = rate * sum(e.share * k for e, k, _ in parts)
    found = {
        "asking": asking,
        "failed": 0.0,
        "wait": 0.0,
        "q": 0.0,
        "lock": 0.0,
        "stretch": 1.0,
        "served": 1.0,
    }
    if not asking or knobs.database:
        found["failed"] = asking if knobs.database else 0.0
        found["fail_s"] = world.patience_s if knobs.database in ("firewall", "slots") else 0.01
        now |= {"queries": 0.0, "query_s": 0.0, "active": 0.0, "running": 0.0, "locked": 0.0, "slow_s": 0.0}
        state.waiting = asking * world.patience_s if knobs.database in ("firewall", "slots") else 0.0
        if knobs.database in ("firewall", "slots"):
            now["active"] = 0.0
        return found
    work = rate * sum(e.share * k * s for e, k, s in parts) * world.query_s
    cores = world.db_cores
    if world.same_machine:
        cores = max(0.3 * cores, cores * (1 - 0.8 * min(1.0, now["wanted"])))
    longer = min(stretch(work / cores, cores), max(1.0, 1.2 * world.pool / cores))
    longer *= 1 + knobs.thrash * world.same_machine
    if work / cores > 0.97:
        longer = max(longer, world.pool / cores * 0.8)
    each = {e.name: s * world.query_s * longer for e, _, s in parts}
    lock = _locks(world, knobs, state, asking, dt)
    per_request = sum(e.share * k * each[e.name] for e, k, _ in parts) * rate / asking
    hold = per_request + lock + 0.3 * sum(e.share * e.cpu_s for e in world.endpoints)
    state.held = min(state.held + knobs.held * dt, float(world.pool))
    free = max(world.pool - state.held - state.stuck, 0.0)
    # Whoever came within a hold time is still there.
    keep = math.exp(-dt / max(hold, 1e-3))
    state.asked = keep * state.asked + (1 - keep) * asking
    need = state.asked * hold
    share = min(1.0, free / need) if need else 1.0
    _queue(world, state, found, asking, share, dt)
    running = max(min(need, free) * per_request / hold, 0.0) if hold else 0.0
    found |= {"q": per_request, "lock": lock, "stretch": longer, "served": share}
    q_mean = sum(e.share * k * each[e.name] for e, k, _ in parts) * rate / max(queries, 1e-9)
    slowest = max((each[e.name] for e, k, _ in parts if k), default=0.0)
    slow_part = sum(e.share * k * each[e.name] for e, k, _ in parts if k and each[e.name] >= 0.99 * slowest)
    now |= {
        "queries": queries * share,
        "query_s": q_mean + lock * asking / max(queries, 1e-9),
        "hold": hold,
        "active": min(need, free) + state.held + state.stuck,
        "running": running,
        "locked": state.stuck + min(need, free) * lock / hold,
        "slow_s": slowest,
        "slow_of_running": slow_part * rate / max(per_request * asking, 1e-9),
        "usual_s": world.query_s * longer,
        "db": min(work, cores) if world.same_machine else 0.0,
    }
    return found


def _locks(world: World, knobs: Knobs, state: State, asking: float, dt: float) -> float:
    """Seconds that a request waits for locks in the mean; sessions that wait for one that is never released."""
    if knobs.lock_kind == "stuck":
        state.stuck = min(state.stuck + knobs.lock_share * asking * dt, 0.97 * world.pool)
        return 0.0
    state.stuck = 0.0
    return knobs.lock_share * knobs.lock_wait_s


def _queue(
    world: World, state: State, found: dict[str, float], asking: float, share: float, dt: float
) -> None:
    """The queue in front of the pool: who waits too long is answered with 503."""
    done = asking * share
    most = done * world.patience_s + 1
    if share < 1:
        state.waiting += (asking - done) * dt
        if done < 0.02 * asking:
            most = asking * world.patience_s
        over = max(state.waiting - most, 0.0)
        state.waiting -= over
        found["failed"] = min(over / dt, asking)
    else:
        state.waiting = max(0.0, state.waiting - 0.2 * asking * dt)
    found["fail_s"] = world.patience_s
    found["wait"] = min(state.waiting / max(done, 0.02 * asking, 1e-9), world.patience_s)


def _model(world: World, knobs: Knobs, state: State, rate: float, dt: float) -> dict[str, float]:
    """Ollama: seconds of an inference, and what of them fails."""
    asking = rate * sum(e.share * e.infers for e in world.endpoints)
    state.last |= {"infers": asking, "infer_s": 0.0, "infer_failed": 0.0}
    found = {"asking": asking, "failed": 0.0, "s": 0.0, "fail_s": 0.01}
    if not asking:
        return found
    if knobs.model:
        found["failed"] = asking * (0.5 if knobs.model == "flaky" else 1.0)
        found["fail_s"] = world.patience_s if knobs.model == "silent" else 0.02
    slots = world.infer_slots * max(0.1, 1 - knobs.infer_others)
    mean = world.infer_s * knobs.infer_x
    load = asking * mean / slots
    if load > 0.95:
        state.inferring = min(state.inferring + (asking - slots / mean) * dt, slots / mean * 60)
    else:
        state.inferring = max(0.0, state.inferring - (slots / mean - asking) * dt)
    found["done"] = min(1.0, slots / mean / asking) if state.inferring else 1.0
    found["s"] = mean * stretch(load, slots) + state.inferring / max(slots / mean, 1e-9)
    okay = asking - found["failed"]
    state.last |= {
        "infers": min(asking, max(slots / mean, found["failed"])),
        "infer_s": (okay * found["s"] + found["failed"] * found["fail_s"]) / asking,
        "infer_failed": found["failed"],
    }
    return found


def _requests(
    world: World,
    knobs: Knobs,
    state: State,
    now: dict[str, float],
    slower: float,
    database: dict[str, float],
    model: dict[str, float],
    dt: float,
) -> None:
    """How long requests take and how they end, into the counters and the histogram."""
    rate, total, fives, undone = now["rate"], 0.0, now["input"] + now["bugs"], 0.0
    backlog = now["own_load"] - 1
    state.backlog = max(0.0, state.backlog + (backlog * rate * dt if backlog > 0 else -rate * dt))
    state.backlog = min(state.backlog, rate * 20)
    late = state.backlog / max(rate, 1e-9)
    db_bad = database["failed"] / max(database["asking"], 1e-9)
    llm_bad = model["failed"] / max(model["asking"], 1e-9)
    counts = state.counts
    locked = 0.0 if knobs.lock_kind == "stuck" else knobs.lock_share
    for endpoint, k, s in _weights(world, knobs):
        part = rate * endpoint.share
        own = endpoint.cpu_s * slower + endpoint.calls_s * knobs.calls_x * (1 + knobs.thrash) + late
        db = (
            (k * s * world.query_s * database["stretch"] + database["wait"]) if k and not db_bad >= 1 else 0.0
        )
        llm = endpoint.infers * model["s"]
        cache_bad = 1.0 if endpoint.cached and knobs.redis in ("refused", "loading") else 0.0
        if endpoint.cached and knobs.redis in ("oom", "misconf", "readonly"):
            cache_bad = 0.6 * endpoint.cached
        ok = part * (1 - (db_bad if k else 0)) * (1 - llm_bad * min(endpoint.infers, 1)) * (1 - cache_bad)
        fives += part - ok
        # Those that still wait at the end of the step have not been counted by anybody.
        done = min(database["served"] / max(1 - db_bad, 1e-9) if k and not knobs.database else 1.0, 1.0)
        done *= model.get("done", 1.0) if endpoint.infers and not knobs.model else 1.0
        undone += ok * (1 - done)
        failed, ok = part - ok, ok * done
        total += _spread(state, failed, own + (database.get("fail_s", 0) if k and db_bad else 0.0)
                         + (model["fail_s"] if llm_bad and endpoint.infers else 0.0), dt)  # fmt: skip
        total += _spread(state, ok * (1 - (locked if k else 0)), own + db + llm, dt)
        if k and locked:
            total += _spread(state, ok * locked, own + db + llm + knobs.lock_wait_s, dt)
        now["cache_failed"] = now.get("cache_failed", 0.0) + part * cache_bad
    total += _spread(state, now["came"] - rate, 0.002 * slower + late, dt)
    now |= {"fives": fives, "mean": total / max(now["came"], 1e-9), "db_failed": database["failed"]}
    now["flying"] = total
    for name, value in (
        ("requests", now["came"] - undone), ("5xx", fives), ("bad", now["bad"]), ("429", now["limited"]),
        ("other", now["other"]), ("duration", total), ("cpu", now["cpu"]), ("queries", now["queries"]),
        ("query_time", now["queries"] * now["query_s"]), ("infers", now["infers"]),
        ("infer_time", now["infers"] * now["infer_s"]), ("infer_failed", now["infer_failed"]), ("e_input",
        now["input"]), ("e_bug", now["bugs"]),
        ("e_db", database["failed"] if knobs.database else 0.0), ("e_llm", model["failed"]),
        ("e_pool", 0.0 if knobs.database else database["failed"]), ("e_cache", now["cache_failed"]),
        ("holds", database["asking"] * database["served"] * (1 - db_bad)),
        ("hold_time", database["asking"] * database["served"] * (1 - db_bad) * now.get("hold", 0.0)),
    ):  # fmt: skip
        counts[name] = counts.get(name, 0.0) + value * dt


def _spread(state: State, rate: float, mean: float, dt: float) -> float:
    """Adds requests that take so long in the mean (gamma, shape 2) to the histogram; requests under way."""
    if rate <= 0:
        return 0.0
    count = rate * dt
    for i, bound in enumerate(BUCKETS):
        x = 2 * bound / max(mean, 1e-4)
        state.buckets[i] += count * (1 - math.exp(-x) * (1 + x) if x < 40 else 1.0)
    state.buckets[-1] += count
    return rate * mean


def _memory(world: World, knobs: Knobs, state: State, rate: float, dt: float) -> None:
    now = state.last
    state.entries += knobs.cache_leak * rate * dt
    state.messages = (
        max(0.0, state.messages + knobs.queue_leak * rate * dt) if knobs.queue_leak else 0.9 * state.messages
    )
    state.sockets += knobs.socket_leak * rate * dt
    state.objects += (knobs.object_leak + knobs.object_each * rate) * dt
    state.redis_b += knobs.redis_leak * rate * dt
    state.list_len = (
        max(0.0, state.list_len + knobs.list_leak * rate * dt) if knobs.list_leak else 0.9 * state.list_len
    )
    now["list_rate"] = knobs.list_leak * rate
    now["redis_rate"] = knobs.redis_leak * rate


def _gauges(world: World, state: State, dice: random.Random, at: float) -> dict[str, float]:
    now = state.last
    busy = now["active"] - state.held - state.stuck
    active = min(
        poisson(dice, max(busy, 0.0)) if busy < world.pool - state.held - 1 else busy, world.pool - state.held
    )
    flying = poisson(dice, min(now["flying"], 1e6)) + state.stuck + state.held
    age = world.born_s - (world.ends - at)
    age = age if age >= 0 else 1e6  # another process, that was there before it
    rss = world.rss + world.warm_up * (1 - math.exp(-age / 120)) + world.request_b * flying
    filled = world.filling * (1 - math.exp(-age / 300))
    rss += filled + world.sawtooth * (at / 97 % 1)
    rss += state.objects + state.held * world.result_b + state.sockets * world.socket_b
    rss += (0 if world.redis_counted else state.entries) * world.entry_b + state.messages * world.message_b
    keys = (
        state.entries + filled / world.entry_b + (state.redis_b / world.entry_b if world.redis_counted else 0)
    )
    return {
        "pool_active": round(active + state.held + state.stuck),
        "pool_waiting": round(state.waiting),
        "in_flight": flying + round(state.waiting),
        "memory": rss * dice.gauss(1, 0.002),
        "cache_entries": round(keys * dice.gauss(1, 0.01)),
        "queue_depth": round(state.messages + state.list_len + poisson(dice, 3)),
        "open_files": round(40 + 0.6 * flying + world.pool + state.sockets),
        "machine": now["machine"],
        "uptime": at - age,
        "load": max(0.0, now["wanted"] * dice.gauss(1, 0.1)),
    }
