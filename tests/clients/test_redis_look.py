"""Looks at real Redis servers: what they tell, what a user may not ask."""

import threading
from collections.abc import Iterator

import pytest
from redis import Redis

from oncall.clients.redis_look import Looked
from oncall.lab.process import wait_until
from oncall.lab.servers import Server
from oncall.model import Absence, Unavailable
from tests.clients.redisstand import CANARY, WORDS, answer, execute, gap, looked, redis, rows


@pytest.fixture(scope="module", params=["distribution", "wheel"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("redis")
    with redis(folder, wheel=request.param == "wheel", password=CANARY) as server:
        yield server


@pytest.fixture
def admin(running: Server) -> Iterator[Redis]:
    with Redis.from_url(running.url) as made:
        made.flushall()
        yield made


def as_user(running: Server, admin: Redis, *rules: str) -> str:
    execute(admin, "ACL", "SETUSER", "bob", "reset", "on", f">{CANARY}", *rules)
    return f"redis://bob:{CANARY}@127.0.0.1:{running.port}/0"


def fill(admin: Redis) -> None:
    with admin.pipeline(transaction=False) as pipe:
        for at in range(300):
            pipe.set(f"cache:profile:{at}", "x" * 200)
            pipe.set(f"user:{at}:session", "x", ex=1000)
        for at in range(5):
            pipe.rpush("celery", f"job {at}")
            pipe.rpush("rq:queue:default", f"job {at} " + "x" * 200)
            pipe.xadd("events", {"n": at})
        pipe.sadd("rq:queues", "rq:queue:default")
        pipe.hset("registry", mapping={f"bot {at}": at for at in range(1500)})
        pipe.set(b"caf\xe9:\xff\x00", 1)
        pipe.execute()
    execute(admin, "XGROUP", "CREATE", "events", "workers", "0")


# --- what is told --------------------------------------------------------------------------------

COLUMNS = {
    "server": "version role uptime_s ping_ms memory memory_rss memory_max memory_ratio memory_host policy"
    " fragmentation keys keys_with_ttl ttl_share evicted evicted_per_s expired_per_s ops_per_s hits_per_s"
    " misses_per_s hit_share clients clients_max clients_ratio blocked rejected rejected_per_s used_cpu"
    " persistence_error refuses_writes memory_per_s keys_per_s looked_s memory_peak fragmentation_bytes expired"
    " evicted_share",
    "prefixes": "prefix type keys bytes bytes_each ttl_share ttl_median_s share sampled",
    "growing": "key type length per_s bytes lag idle_s",
    "slowlog": "age_s ms command client",
    "latency": "event age_s last_ms max_ms",
    "clients": "name host clients blocked idle_most_s buffers last_command",
}


def test_the_columns_are_those_that_runbooks_read(running: Server, admin: Redis) -> None:
    found = looked(running.url)
    assert {word: " ".join(c.name for c in answer(found, word).columns) for word in WORDS} == COLUMNS
    assert found.where == f"127.0.0.1:{running.port}/0"


def test_server_tells_its_state_and_no_made_up_limits(running: Server, admin: Redis) -> None:
    fill(admin)
    server = rows(looked(running.url), "server")[0]
    assert server["version"] == admin.info()["redis_version"]
    assert (server["role"], server["policy"], server["persistence_error"]) == ("master", "noeviction", "")
    assert (server["memory_max"], server["memory_ratio"]) == (None, None)
    assert (server["keys"], server["keys_with_ttl"]) == (606, 300)
    assert server["ttl_share"] == pytest.approx(300 / 606)
    assert server["memory"] > 0
    assert server["looked_s"] >= 0.1
    assert server["keys_per_s"] == server["evicted_per_s"] == server["rejected_per_s"] == 0
    assert 0 < server["clients_ratio"] < 1


def test_server_tells_what_went_by_itself_and_what_had_to(running: Server, admin: Redis) -> None:
    admin.flushall()
    execute(admin, "CONFIG", "RESETSTAT")
    for at in range(3):
        admin.set(f"gone {at}", 1, px=1)
    wait_until(lambda: admin.info("stats")["expired_keys"] == 3, "keys expire")
    server = rows(looked(running.url, ["server"]), "server")[0]
    assert (server["expired"], server["evicted"], server["evicted_share"]) == (3, 0, 0)
    assert server["memory_peak"] >= server["memory"] > 0
    assert isinstance(server["fragmentation_bytes"], int)
    execute(admin, "CONFIG", "RESETSTAT")
    assert rows(looked(running.url, ["server"]), "server")[0]["evicted_share"] is None


def test_server_tells_how_near_its_limits_it_is(running: Server, admin: Redis) -> None:
    admin.config_set("maxmemory", "100mb")
    try:
        server = rows(looked(running.url, ["server"]), "server")[0]
    finally:
        admin.config_set("maxmemory", "0")
    assert server["memory_max"] == 100 * 2**20
    assert server["memory_ratio"] == pytest.approx(server["memory"] / server["memory_max"])


def test_our_own_questions_do_not_count_as_traffic(running: Server, admin: Redis) -> None:
    fill(admin)

    def traffic() -> tuple[float, ...]:
        server = rows(looked(running.url), "server")[0]
        return server["hits_per_s"], server["misses_per_s"], server["memory_per_s"]

    # Redis takes back the buffers of what filled it in its own time; our questions come with every look.
    wait_until(lambda: traffic() == (0, 0, 0), "a look without traffic")


def test_a_small_database_is_counted_exactly(running: Server, admin: Redis) -> None:
    fill(admin)
    found = looked(running.url)
    told = {row["prefix"]: row for row in rows(found, "prefixes")}
    assert answer(found, "prefixes").notes == ()
    assert {name: (row["type"], row["keys"], row["sampled"]) for name, row in told.items()} == {
        "cache:*": ("string", 300, 300),
        "user:*": ("string", 300, 300),
        "rq:*": ("list", 2, 2),
        "celery": ("list", 1, 1),
        "events": ("stream", 1, 1),
        "registry": ("hash", 1, 1),
        "caf*:*": ("string", 1, 1),
    }
    assert (told["cache:*"]["ttl_share"], told["user:*"]["ttl_share"]) == (0, 1)
    assert 990 <= told["user:*"]["ttl_median_s"] <= 1000
    assert sum(row["share"] for row in told.values()) == pytest.approx(1)
    exact = sum(execute(admin, "MEMORY", "USAGE", key) for key in admin.scan_iter("cache:*"))
    assert told["cache:*"]["bytes"] == exact


def test_queues_and_large_collections_are_told_longest_first(running: Server, admin: Redis) -> None:
    fill(admin)
    growing = rows(looked(running.url), "growing")
    assert [(row["key"], row["type"], row["length"], row["per_s"]) for row in growing] == [
        ("registry", "hash", 1500, 0),
        ("celery", "list", 5, 0),
        ("events", "stream", 5, 0),
        ("rq:queue:default", "list", 5, 0),
    ]
    assert all(row["bytes"] > 0 for row in growing)
    lag = next(row["lag"] for row in growing if row["key"] == "events")
    assert lag == (5 if str(admin.info()["redis_version"]) >= "7" else None)


def test_a_queue_that_grows_is_seen_to_grow(running: Server, admin: Redis) -> None:
    admin.rpush("celery", *range(3))
    done = threading.Event()

    def push() -> None:
        with Redis.from_url(running.url) as app:
            while not done.is_set():
                app.rpush("celery", *["job"] * 10)

    worker = threading.Thread(target=push)
    worker.start()
    try:
        found = looked(running.url)
    finally:
        done.set()
        worker.join()
    first = rows(found, "growing")[0]
    assert (first["key"], first["type"]) == ("celery", "list")
    assert first["per_s"] > 0
    assert rows(found, "server")[0]["keys_per_s"] == 0


def test_keys_of_any_bytes_are_shown_escaped(running: Server, admin: Redis) -> None:
    admin.rpush(b"q\xff\xfe\x1b[31m", 1)
    admin.set(b"\x80\x81:1", 1)
    found = looked(running.url)
    assert rows(found, "growing")[0]["key"] == "q\\xff\\xfe\x1b[31m"
    assert {row["prefix"] for row in rows(found, "prefixes")} == {"q*\x1b[*m", "*:*"}


def test_many_keys_are_estimated_and_the_estimate_is_called_one(running: Server, admin: Redis) -> None:
    with admin.pipeline(transaction=False) as pipe:
        for at in range(8000):
            pipe.set(f"cache:{at}", "x" * 100)
        for at in range(2000):
            pipe.set(f"session:{at}", "x" * 1000)
        pipe.lpush("celery", *["x" * 1000] * 500)
        pipe.execute()
    found = looked(running.url)
    told = {row["prefix"]: row for row in rows(found, "prefixes")}
    note = answer(found, "prefixes").notes[0]
    assert note.startswith("estimated from 1,")
    assert note.endswith("of 10,001 keys")
    assert told["cache:*"]["keys"] + told["session:*"]["keys"] == pytest.approx(10_000, rel=0.01)
    assert told["session:*"]["keys"] == pytest.approx(2000, rel=0.4)
    assert told["session:*"]["bytes_each"] > 1000
    # found by its name: it stands for itself
    assert told["celery"]["keys"] == 1
    assert rows(found, "growing")[0]["length"] == 500


def test_other_databases_are_left_out(running: Server, admin: Redis) -> None:
    admin.set("a:1", 1)
    found = looked(running.url[:-1] + "3")
    assert rows(found, "server")[0]["keys"] == 0
    assert rows(found, "server")[0]["ttl_share"] is None
    assert rows(found, "prefixes") == rows(found, "growing") == []


def test_slow_commands_and_clients(running: Server, admin: Redis) -> None:
    admin.config_set("slowlog-log-slower-than", 0)
    app = Redis.from_url(running.url, client_name="bot-controller")
    app.set("slow", "[/red]")
    admin.config_set("slowlog-log-slower-than", 10_000)
    found = looked(running.url)
    app.close()
    slow = rows(found, "slowlog")
    assert ("SET slow [/red]", True) in [
        (row["command"], row["client"].startswith("bot-controller 127.0.0.1:")) for row in slow
    ]
    assert all(0 <= row["age_s"] < 60 for row in slow)
    assert answer(found, "slowlog").notes == ("commands of 10 ms and more are recorded",)
    assert "does not watch its latency" in answer(found, "latency").notes[0]
    clients = {row["name"]: row for row in rows(found, "clients")}
    bot = clients["bot-controller"]
    assert (bot["host"], bot["clients"], bot["blocked"], bot["last_command"]) == ("127.0.0.1", 1, 0, "set")


def test_latency_events(running: Server, admin: Redis) -> None:
    admin.config_set("latency-monitor-threshold", 1)
    try:
        execute(admin, "EVAL", "local t = redis.call('TIME') local n = 0 while n < 3e6 do n = n + 1 end", "0")
        found = looked(running.url, ["latency"])
    finally:
        admin.config_set("latency-monitor-threshold", 0)
    event = rows(found, "latency")[0]
    assert event["event"] == "command"
    assert event["max_ms"] >= event["last_ms"] >= 1


READS = frozenset(
    [
        "auth",
        "select",
        "ping",
        "info",
        "slowlog",
        "slowlog|get",
        "config",
        "config|get",
        "latency",
        "latency|latest",
        "client",
        "client|list",
        "client|id",
        "dbsize",
        "scan",
        "scard",
        "smembers",
        "object",
        "object|idletime",
        "llen",
        "xlen",
        "hlen",
        "zcard",
        "memory",
        "memory|usage",
        "pttl",
        "type",
        "xinfo",
        "xinfo|groups",
        "command",
    ]
)


def test_a_look_reads_and_does_nothing_else(running: Server, admin: Redis) -> None:
    fill(admin)
    before = {str(key): admin.dump(key) for key in admin.scan_iter()}
    admin.config_resetstat()
    looked(running.url)
    used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert used - READS == {"config|resetstat"} & used
    assert {str(key): admin.dump(key) for key in admin.scan_iter()} == before


# --- what may not be asked -----------------------------------------------------------------------


def test_a_word_that_is_not_allowed_is_a_gap_alone(running: Server, admin: Redis) -> None:
    fill(admin)
    found = looked(as_user(running, admin, "~*", "+@all", "-slowlog", "-client", "-info"))
    for word, command, rule in [
        ("slowlog", "SLOWLOG GET", "slowlog|get"),
        ("clients", "CLIENT LIST", "client|list"),
        ("server", "INFO", "info"),
    ]:
        why = gap(found, word)
        assert (why.kind, why.hint) == (Absence.DENIED, f"ACL SETUSER bob +{rule}")
        assert why.reason == f"user bob may not run {command}"
    assert rows(found, "growing")[0]["key"] == "registry"
    assert len(rows(found, "prefixes")) == 7


def test_the_rule_that_is_told_is_enough(running: Server, admin: Redis) -> None:
    fill(admin)
    url = as_user(running, admin, "~*", "+ping")
    for _ in range(12):
        found = looked(url)
        notes = [n for w in WORDS if w not in _gaps(found) for n in answer(found, w).notes]
        hints = [str(gap(found, word).hint) for word in _gaps(found)]
        hints += [note.partition(": ")[2] for note in notes if "ACL SETUSER" in note]
        if not hints:
            break
        for hint in hints:
            execute(admin, *hint.split())
    assert _gaps(found) == []
    assert len(rows(found, "growing")) == 4
    assert None not in [row["bytes"] for row in rows(found, "prefixes")]


def _gaps(found: Looked) -> list[str]:
    return [word for word, reading in found.by_word.items() if isinstance(reading.answer, Unavailable)]


def test_without_memory_usage_keys_are_counted_and_bytes_are_none(running: Server, admin: Redis) -> None:
    fill(admin)
    found = looked(as_user(running, admin, "~*", "+@all", "-memory"))
    first = rows(found, "prefixes")[0]
    assert (first["keys"], first["bytes"], first["bytes_each"], first["share"]) == (300, None, None, None)
    assert answer(found, "prefixes").notes == ("without MEMORY USAGE: ACL SETUSER bob +memory|usage",)


def test_keys_that_this_user_may_not_look_at_are_counted_and_told(running: Server, admin: Redis) -> None:
    fill(admin)
    found = looked(as_user(running, admin, "~cache:*", "+@all"))
    told = {row["prefix"]: row for row in rows(found, "prefixes")}
    assert told["cache:*"]["bytes"] > 0
    assert (told["user:*"]["bytes"], told["user:*"]["ttl_share"]) == (None, None)
    note = answer(found, "prefixes").notes[0]
    assert note == "306 of these keys may not be looked at by user bob: ACL SETUSER bob ~*"
