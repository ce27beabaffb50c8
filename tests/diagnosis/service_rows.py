"""The live looks at a simulated service: rows of Postgres, Redis, Ollama, systemd, the machine and /health."""

import random

from oncall.model import Scalar, Table
from tests.diagnosis.service_says import Told, row
from tests.diagnosis.service_sim import poisson
from tests.diagnosis.service_world import Life


def rows(life: Life, told: Told, dice: random.Random) -> dict[str, dict[str, Table]]:
    """The answer of each backend, by the words of its steps."""
    return {
        "postgres": _postgres(life, told, dice),
        "redis": _redis(life, dice),
        "ollama": _ollama(life, dice),
        "systemd": {"state": _unit(life, told)},
        "host": {"state": _host(life, dice)},
        "http": _health(life, told),
        "network": {"backends": row(backend="postgres", host="db-1", port=5432, connect_ms=0.4,
        status="ok", address="10.0.0.5")},
        "prometheus": {},
    }  # fmt: skip


def none_of(table: Table) -> Table:
    return Table(columns=table.columns, rows=())


# --- Postgres ---------------------------------------------------------------------------------------


def _postgres(life: Life, told: Told, dice: random.Random) -> dict[str, Table]:
    world, knobs, now, state = life.world, life.knobs, life.state.last, life.state
    age = max((f.age_s for f in world.faults), default=0.0)
    room = max(world.pool - state.held - state.stuck, 0)
    running = int(min(poisson(dice, now["running"]), room))
    slow_of = now.get("slow_of_running", 1.0)
    # How long those have run that run at a moment: exponential, as their times are.
    ages = [
        dice.expovariate(1 / max(now["slow_s"] if dice.random() < slow_of else now["usual_s"], 1e-6))
        for _ in range(running)
    ]
    over = {s: sum(a > s for a in ages) for s in (1, 5)}
    locked, wait = _locked(life, dice, age)
    others = knobs.analytics
    mine = 0 if told.named else others
    longest = max([*ages, *[600.0] * mine], default=0.0)
    held = int(state.held)
    gone = knobs.database in ("auth", "refused", "slots")
    total = 0 if gone and age > 5 else world.pool
    active = 0 if total == 0 else min(running + locked, total - held)
    locked = min(locked, active)
    in_xact = held + int(min(poisson(dice, 0.1 * active), total - held - active)) if total else 0
    sessions = row(
        named=told.named, total=total + mine, active=active + mine,
        idle=max(total - active - in_xact, 0), in_xact=in_xact, lock_waiting=locked,
        running=active - locked + mine, running_over_1s=over[1] + mine, running_over_5s=over[5] + mine,
        running_median_s=now["usual_s"] if running else None,
        running_longest_s=longest if running or mine else None,
        in_xact_over_10s=held if age > 10 else 0, in_xact_over_30s=held if age > 30 else 0,
        in_xact_over_60s=held if age > 60 else 0, in_xact_longest_s=age if held else 0.0,
        idle_over_10s=max(total - active - in_xact, 0) // 2, idle_over_30s=0, idle_over_60s=0,
        idle_median_s=1.0,
        lock_wait_longest_s=wait if locked else None, io_waiting=0, hidden=0,
        others_active=others - mine, newest_backend_s=100.0, oldest_backend_s=900.0,
    )  # fmt: skip
    root = row(pid=4711, kind="session", who="pid 4711 (batch)", gid=None, app=False,
               state="idle in transaction",
               xact_s=max(wait * 1.2, 0.2), waiting=locked, app_waiting=locked, superuser=False,
               xact_start="2026-01-05T03:12:41.250Z",
               usename="batch",
               datname="deia", application_name="batch", state_s=wait, longest_wait_s=wait, wants="a row",
               query="UPDATE")  # fmt: skip
    work = row(sessions=active, lock_waiting=locked, longest_s=longest, median_s=0.1, query="SELECT")
    long = row(pid=12, app=True, application_name="app", usename="app", client="local", datname="deia",
               running_s=longest, wait=None, blocked_by=None, query="SELECT")  # fmt: skip
    slots = row(max_connections=100, superuser_reserved=3, reserved=0, used=total + 5, available=97,
                used_ratio=(total + 5) / 97, app=total, others=5, top_other="x", top_other_sessions=5,
                idle_others=1)  # fmt: skip
    return {
        "sessions": sessions,
        "locks": root if locked else none_of(root),
        "working": work if active else none_of(work),
        "longest": long if running or mine else none_of(long),
        "statements": none_of(work),
        "slots": slots,
        "idle_in_transaction": none_of(long),
        "connections": none_of(work),
    }


def _locked(life: Life, dice: random.Random, age: float) -> tuple[int, float]:
    """Sessions that wait for a lock at this moment, and the longest wait."""
    world, knobs, now = life.world, life.knobs, life.state.last
    if knobs.lock_kind == "stuck":
        return int(life.state.stuck), age
    if not knobs.lock_share:
        # Everyday life: rarely one waits a few milliseconds for a row.
        return int(dice.random() < 0.02 and now["running"] >= 1), 0.004
    if knobs.lock_kind == "row":
        return int(min(poisson(dice, now["locked"]), world.pool)), knobs.lock_wait_s * dice.uniform(1, 2.5)
    # In bursts: held for a time twice the mean wait, again and again; those who came since it began wait.
    since = dice.uniform(-0.3, 1.0) * 2 * knobs.lock_wait_s
    if since <= 0:
        return 0, 0.0
    rate = now["queries"] / max(sum(e.share * e.queries for e in world.endpoints), 1e-9) * knobs.lock_share
    came = poisson(dice, rate * since * 1.3)
    return int(min(came, 0.95 * world.pool)), since


# --- Redis -------------------------------------------------------------------------------------------


def _redis(life: Life, dice: random.Random) -> dict[str, Table]:
    world, knobs, state = life.world, life.knobs, life.state
    maximum = world.redis_max
    whole = maximum or 8e9
    list_b = state.list_len * world.message_b
    base = world.redis_used * whole * (1 if maximum else 0.2)
    used = base + state.redis_b + list_b
    if knobs.redis == "oom":
        used = whole * dice.uniform(0.995, 1.02)
        maximum = maximum or whole
    evicts = world.redis_policy.startswith("allkeys")
    used = min(used, (1.0 if evicts else 1.01) * whole) if maximum else used
    share_free = state.redis_b / used if used else 0.0
    ttl = world.redis_ttl * (1 - share_free)
    if knobs.redis == "oom":
        ttl = 0.01 if world.redis_policy != "noeviction" else ttl
    server = row(
        version="7.0.15", role="slave" if knobs.redis == "readonly" else "master", uptime_s=1e6, ping_ms=0.3,
        memory=used, memory_rss=used * 1.1, memory_max=maximum,
        memory_ratio=used / maximum if maximum else None,
        memory_host=world.machine_b, policy=world.redis_policy, fragmentation=1.1,
        keys=int(used / world.entry_b) + 1,
        keys_with_ttl=int(ttl * used / world.entry_b), ttl_share=ttl, evicted=0,
        evicted_per_s=50.0 if evicts and used >= 0.99 * whole else 0.0,
        expired_per_s=3.0, ops_per_s=world.rate, hits_per_s=world.rate * 0.8,
        misses_per_s=world.rate * 0.2, hit_share=0.8,
        clients=int(10 + state.sockets * (state.sockets > 5) * 0.5), clients_max=10000, clients_ratio=0.01,
        blocked=0, rejected=0, rejected_per_s=0.0,
        used_cpu=1.0, persistence_error="rdb_last_bgsave_status:err" if knobs.redis == "misconf" else "",
        refuses_writes=knobs.redis == "misconf",
        memory_per_s=state.last["redis_rate"] + dice.gauss(0, 100.0),
        keys_per_s=state.last["redis_rate"] / world.entry_b + dice.gauss(0, 0.3) * world.rate * 0.05,
        looked_s=2.0, memory_peak=used, fragmentation_bytes=0.1 * used, expired=1000,
        evicted_share=0.0,
    )  # fmt: skip
    own = [("session", "string", base * 0.5, world.redis_ttl), ("page", "hash", base * 0.4, world.redis_ttl)]
    if state.redis_b:
        own.append(("report", "string", state.redis_b, 0.0))
    if list_b > 1e5:
        own.append(("queue", "list", list_b, 0.0))
    sampled = sum(b for _, _, b, _ in own) or 1.0
    tables = [row(prefix=p, type=t, keys=int(b / world.entry_b) if t != "list" else 1, bytes=b,
                  bytes_each=world.entry_b,
                  ttl_share=s, ttl_median_s=300.0 if s else None, share=b / sampled, sampled=1000)
              for p, t, b, s in sorted(own, key=lambda o: -o[2])]  # fmt: skip
    prefixes = Table(columns=tables[0].columns, rows=tuple(t.rows[0] for t in tables))
    length = int(state.list_len + poisson(dice, 3))
    growing = row(key="queue:outbound", type="list", length=length,
                  per_s=state.last["list_rate"] + dice.gauss(0, 0.5),
                  bytes=length * world.message_b, lag=None, idle_s=0.0)  # fmt: skip
    clients = row(name="", host="10.0.0.3", clients=int(10 + 0.5 * state.sockets * (state.sockets > 5)),
                  blocked=0,
                  idle_most_s=300.0 if state.sockets > 5 else 20.0, buffers=1e5,
                  last_command="get")  # fmt: skip
    return {
        "server": server, "prefixes": prefixes, "growing": growing if length else none_of(growing),
        "clients": clients,
        "slowlog": none_of(row(age_s=0.0, ms=0.0, command="", client="")),
        "latency": none_of(row(event="", age_s=0.0, last_ms=0.0, max_ms=0.0)),
    }  # fmt: skip


# --- the rest ----------------------------------------------------------------------------------------


def _ollama(life: Life, dice: random.Random) -> dict[str, Table]:
    knobs = life.knobs
    gone = knobs.model == "missing"
    models = dice.choice([0, 0, 1, 3]) if gone else dice.choice([1, 2, 5])
    share = 1 - knobs.spilled
    server = row(version="0.5.1", ms=dice.uniform(1, 20) * (1 + 5 * (knobs.infer_others > 0)), models=models,
                 loaded=min(models, 1), vram_share=share if models else None, loaded_bytes=4e9)  # fmt: skip
    one = row(
        model="llama3",
        bytes=4e9,
        loaded=True,
        vram_share=share,
        expires_in_s=200.0,
        parameters="8B",
        quantization="Q4",
    )
    return {"server": server, "models": one if models else none_of(one)}


def _unit(life: Life, told: Told) -> Table:
    world = life.world
    memory, limit = life.samples[-1].gauges["memory"] * 1.05, told.unit_limit
    return row(
        unit="app.service", load="loaded", state="active", sub="running", result="success", restarts=0,
        active_s=world.born_s, pid=100, memory=memory, memory_max=limit, memory_high=None,
        memory_ratio=memory / limit if limit else None, memory_peak=memory, swap=0, cpu_s=100.0, tasks=20,
        tasks_max=4000, oom_kills=0, restart_policy="on-failure",
    )  # fmt: skip


def _host(life: Life, dice: random.Random) -> Table:
    world, now, knobs = life.world, life.state.last, life.knobs
    wanted = now["wanted"] + now.get("db", 0.0) / world.cores
    # Somebody waits for a CPU where more is asked for than there is, now and then also before that.
    waits = min(0.95, max(0.0, wanted - 1) + 0.25 * max(0.0, wanted - 0.75)) if wanted < 3 else 0.95
    free = 0.02 * dice.random() if knobs.thrash else dice.uniform(0.3, 0.6)
    used = min(1.0, now["machine"] + now.get("db", 0.0) / world.cores)
    return row(
        cores=world.cores, cpu_used=used, iowait=0.3 if knobs.thrash else 0.01, steal=0.0,
        load_1m=wanted * world.cores, load_per_core=wanted, cpu_pressure=waits,
        memory_pressure=min(0.6, 0.1 + 0.1 * knobs.thrash) if knobs.thrash else 0.0, io_pressure=0.01,
        memory_total=world.machine_b, memory_available=free * world.machine_b, available_share=free,
        swap_used=0, uptime_s=1e6,
    )  # fmt: skip


def _health(life: Life, told: Told) -> dict[str, Table]:
    knobs, state, world = life.knobs, life.state, life.world
    slow = state.held + state.stuck >= 0.97 * world.pool
    ill = {
        "/health": False,
        "/health/db": bool(knobs.database) or slow,
        "/health/cache": knobs.redis in ("refused", "loading"),
    }
    return {path: _one_health(path, bad, told) for path, bad in ill.items()}


def _one_health(path: str, bad: bool, told: Told) -> Table:
    if told.health == "missing" and path != "/health":
        return row(
            endpoint=path, status=404, verdict="bad answer", healthy=False, ms=1.0, detail="404 Not Found"
        )
    healthy: Scalar = not bad
    if told.health == "silent":
        healthy = None
    verdict = "unhealthy" if healthy is False else "ok"
    return row(endpoint=path, status=503 if healthy is False else 200, verdict=verdict, healthy=healthy,
               ms=2.0,
               detail="error=refused" if bad else None)  # fmt: skip
