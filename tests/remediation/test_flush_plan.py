"""flush-cache looks: what is under a prefix, and every reason to refuse (rows 20, 23, 24, 26 of the matrix)."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from oncall.clients.redis import where
from oncall.clients.redis_flush_look import Walked
from oncall.clients.redis_flush_names import Rules
from oncall.errors import ConfigError, Exit, UsageFault
from oncall.lab.process import free_port
from oncall.lab.servers import Server
from oncall.model_acts import GuardState
from oncall.model_service import Service
from oncall.remediation.action import Scene
from oncall.remediation.actions.flush_cache import FlushCache
from tests.clients.redisstand import await_that, execute, redis, running_a_script
from tests.remediation.flushstand import barred, calls, fill, guard, is_refused, looked, scene, user


@pytest.fixture(scope="module", params=["distribution", "wheel"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis"), wheel=request.param == "wheel") as made:
        yield made


@pytest.fixture
def admin(server: Server) -> Iterator[Redis]:
    with Redis.from_url(server.url) as made:
        made.flushall()
        made.config_resetstat()
        yield made


def test_the_plan_counts_keys_bytes_ttls_and_types(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 400)
    admin.hset("cache:h", "a", "1")
    fill(admin, "other:", 50)
    found = looked(scene(server.url), "cache:")
    assert not barred(found)
    assert found.title == "removes 401 keys that begin with cache:"
    assert [target.id for target in found.targets] == ["cache:"]
    identity = found.targets[0].identity
    assert identity["redis"] == f"127.0.0.1:{server.port}/0"
    assert identity["run_id"] == admin.info("server")["run_id"]
    assert found.table is not None
    row: dict[str, Any] = dict(zip([c.name for c in found.table.columns], found.table.rows[0], strict=True))
    assert (row["keys"], row["about"], row["types"]) == (401, 401, "string 400, hash 1")
    assert 401 * 40 < row["bytes"] < 401 * 200
    assert 0.5 < row["ttl_share"] < 0.9
    assert any("are estimated from 300 keys" in note for note in found.table.notes)
    assert any("have no TTL" in loss for loss in found.losses)
    assert found.does[0] == r"SCAN 0 MATCH cache:* COUNT 200, to the end"


def test_a_prefix_outside_the_declared_caches_is_refused(server: Server, admin: Redis) -> None:
    """Data of record may look as a cache does: the service file is what tells them apart."""
    fill(admin, "account:", 20)
    fill(admin, "cache:", 5)
    at = scene(server.url, cache=("cache:",))
    found = looked(at, "account:")
    assert barred(found) == {
        "protected-keys": "account: is in none of the declared caches (cache:): it may hold the only copy"
    }
    hint = "where it is a cache, add it to redis.cache of the service file: account:"
    assert guard(found, "protected-keys").hint == hint
    assert not guard(found, "protected-keys").overridable
    assert "account:" in barred(looked(at, "cache:", "account:"))["protected-keys"]
    assert not barred(looked(at, "cache:user:", "cache:"))


def test_where_no_cache_is_declared_the_plan_says_what_may_be_lost_for_good(
    server: Server, admin: Redis
) -> None:
    fill(admin, "account:", 20)
    said = "for good, whatever of account: is no cache: the service file declares none (redis.cache), so make sure"
    assert said in looked(scene(server.url), "account:").losses
    assert said not in looked(scene(server.url, cache=("account:",)), "account:").losses


def test_the_database_that_is_shown_is_the_one_that_is_meant(server: Server, admin: Redis) -> None:
    """However the address writes it: another database is another plan."""
    fill(admin, "cache:", 3)
    url = f"redis://127.0.0.1:{server.port}/?db=1"
    with Redis.from_url(url) as other:
        fill(other, "cache:", 2)
    found = looked(scene(url), everything=True)
    assert found.title == f"empties the Redis database 127.0.0.1:{server.port}/1: 2 keys"
    assert [target.id for target in found.targets] == ["database 1"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("unix:///run/redis.sock?db=3", "/run/redis.sock/3"),
        ("unix:///run/redis.sock", "/run/redis.sock/0"),
        ("redis://[::1]:6380/2", "[::1]:6380/2"),
        ("redis://u:canary@host", "host:6379/0"),
        ("rediss://host?db=4", "host:6379/4"),
    ],
)
def test_an_address_is_shown_with_its_database(url: str, shown: str) -> None:
    assert where(url) == shown


def test_a_prefix_may_be_called_as_the_database_is(server: Server, admin: Redis) -> None:
    fill(admin, "database 0", 2)
    prefix, whole = looked(scene(server.url), "database 0"), looked(scene(server.url), everything=True)
    assert [t.id for t in prefix.targets] == [t.id for t in whole.targets]
    assert prefix.targets != whole.targets


def test_a_look_changes_nothing(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 10)
    looked(scene(server.url), "cache:")
    looked(scene(server.url), everything=True)
    assert admin.dbsize() == 10
    assert calls(admin, "flushdb") == calls(admin, "del") == calls(admin, "set") == 0


def test_without_a_prefix_those_of_the_service_file_are_meant(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    fill(admin, "page:", 5)
    found = looked(scene(server.url, cache=("cache:", "page:", "cache:user:", "gone:")))
    assert not barred(found)
    assert [target.id for target in found.targets] == ["cache:", "page:"]
    assert found.notes == ("no key begins with gone:",)


@pytest.mark.parametrize("prefix", ["", "*", " ", "**", "?"])
def test_what_would_be_every_key_is_refused(server: Server, admin: Redis, prefix: str) -> None:
    fill(admin, "cache:", 5)
    for found in (looked(scene(server.url), prefix), looked(scene(server.url, cache=(prefix,)))):
        assert found.targets == ()
        assert "would be every key" in is_refused(found, "empty-selection")


def test_no_selection_at_all_is_refused_and_says_how(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    found = looked(scene(server.url))
    said = is_refused(found, "empty-selection")
    assert "no prefix was named" in said
    assert "--prefix cache:" in said
    assert found.table is not None
    assert found.table.rows[0][0] == "cache:*"


def test_a_prefix_that_nothing_begins_with_is_refused(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    assert "no key begins with nothing:" in is_refused(
        looked(scene(server.url), "nothing:"), "empty-selection"
    )
    starred = is_refused(looked(scene(server.url), "cache:*"), "empty-selection")
    assert "a prefix is taken literally, without a star: --prefix cache:" in starred


def test_what_contradicts_itself_or_is_no_address_is_said(server: Server) -> None:
    with pytest.raises(UsageFault, match="one of the two"):
        looked(scene(server.url), "cache:", everything=True)
    with pytest.raises(UsageFault, match="not UTF-8"):
        looked(scene(server.url), "cache:\udcff")
    with pytest.raises(ConfigError, match="a number as the database") as wrong:
        looked(scene(server.url.replace("/0", "/abc")), "cache:")
    assert wrong.value.exit_code is Exit.CONFIG
    with pytest.raises(ConfigError, match="names no redis"):
        looked(Scene("bot", Service(), None, 5), "cache:")


def test_the_words_repeat_the_action() -> None:
    assert FlushCache(("cache:", "-x")).words == ("--prefix", "cache:", "--prefix=-x")
    assert FlushCache(all=True).words == ("--all",)


# --- queues (row 20) -----------------------------------------------------------------------------


def celery(admin: Redis, at: str) -> None:
    admin.rpush(f"{at}celery", "job")
    admin.sadd(f"{at}_kombu.binding.celery", "celery")
    admin.hset(f"{at}unacked", "tag", "job")


def rq(admin: Redis, at: str) -> None:
    admin.hset(f"{at}rq:job:1", "data", "job")


def bull(admin: Redis, at: str) -> None:
    admin.hset(f"{at}mails:1", mapping={"name": "a", "data": "{}", "opts": "{}", "timestamp": "1"})
    admin.set(f"{at}mails:id", 1)


def stream(admin: Redis, at: str) -> None:
    admin.xadd(f"{at}events", {"n": 1})


def other_set(admin: Redis, at: str) -> None:
    admin.zadd(f"{at}ranking", {"a": 1})


QUEUES = [
    (celery, "celery (list"),
    (rq, "rq:job:1 (hash"),
    (bull, "mails:1 (job of Bull, by its fields)"),
    (stream, "events (stream"),
    (other_set, "ranking (zset"),
]


@pytest.mark.parametrize(("make", "said"), QUEUES)
def test_a_queue_under_the_prefix_is_named_and_refused(
    server: Server, admin: Redis, make: object, said: str
) -> None:
    prefix = "rq:" if make is rq else "cache:"
    fill(admin, "cache:", 50)
    assert callable(make)
    make(admin, "" if make is rq else prefix)
    assert said in is_refused(looked(scene(server.url), prefix), "queue-in-cache")


@pytest.mark.parametrize(("make", "said"), QUEUES)
def test_a_queue_anywhere_in_the_database_refuses_all(
    server: Server, admin: Redis, make: object, said: str
) -> None:
    fill(admin, "cache:", 50)
    assert not barred(looked(scene(server.url), everything=True))
    assert callable(make)
    make(admin, "")
    assert said in is_refused(looked(scene(server.url), everything=True), "queue-in-cache")
    assert not barred(looked(scene(server.url), "cache:"))


def test_many_queues_are_counted_and_the_first_named(server: Server, admin: Redis) -> None:
    for at in range(12):
        admin.rpush(f"cache:q{at}", 1)
    said = is_refused(looked(scene(server.url), "cache:"), "queue-in-cache")
    assert " and 7 more: no cache" in said


def test_protected_and_undeclared_keys_stay(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 20)
    admin.set("cache:lock:1", 1)
    found = looked(scene(server.url, protected=("cache:lock:*", "x[")), "cache:")
    assert "cache:lock:1 (protected) must stay" in is_refused(found, "protected-keys")
    admin.set("session:1", 1)
    found = looked(scene(server.url, cache=("cache:",)), everything=True)
    assert "session:1 (under none of the declared prefixes)" in is_refused(found, "protected-keys")


def test_keys_that_are_no_utf8_are_named_with_escaped_bytes(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    admin.set(b"cache:\xff\x1b[31m", 1)
    assert not barred(looked(scene(server.url), "cache:"))
    admin.rpush(b"cache:\xfe", 1)
    assert "cache:\\xfe (list)" in is_refused(looked(scene(server.url), "cache:"), "queue-in-cache")


# --- a walk that does not come to its end --------------------------------------------------------


def test_where_the_time_was_over_it_says_at_least(
    server: Server, admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(admin, "cache:", 8000)
    monkeypatch.setattr("oncall.remediation.actions.flush_cache.BUDGET_S", 0.0)
    monkeypatch.setattr("oncall.remediation.actions.flush_cache._ALL_SHARE", 0.0)
    found = looked(scene(server.url), "cache:")
    assert not barred(found)
    assert "at least " in found.title
    assert "the others are checked as they go" in guard(found, "queue-in-cache").text
    assert found.table is not None
    assert any("the time to count was over" in note for note in found.table.notes)
    everything = looked(scene(server.url), everything=True)
    assert guard(everything, "queue-in-cache").state is GuardState.UNKNOWN
    # names that queues usually have are asked for, wherever the walk ended
    admin.rpush("celery", 1)
    fill(admin, "cel", 8000)
    assert "celery (list)" in is_refused(looked(scene(server.url), "c"), "queue-in-cache")


def test_what_was_passed_tells_how_many_there_are() -> None:
    walk = Walked(b"cache:", Rules())
    walk.keys, walk.cursor = 100, b"2"
    assert walk.about == 400


# --- where it cannot be done (row 26), and who may not -------------------------------------------


def test_a_replica_names_its_master(tmp_path: Path, server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    with (
        redis(tmp_path, {"replicaof": f"127.0.0.1 {server.port}"}) as copy,
        Redis.from_url(copy.url) as there,
    ):
        await_that(lambda: there.dbsize() == 5)
        said = is_refused(looked(scene(copy.url), "cache:"), "replica")
    assert f"is a replica (READONLY) of 127.0.0.1:{server.port}" in said


def test_a_node_of_a_cluster_is_refused(tmp_path: Path) -> None:
    with redis(tmp_path, {"cluster-enabled": "yes"}) as node, Redis.from_url(node.url) as there:
        execute(there, "CLUSTER", "ADDSLOTS", *map(str, range(16384)))
        await_that(lambda: b"cluster_state:ok" in execute(there, "CLUSTER", "INFO"))
        there.set("cache:1", 1)
        for found in (looked(scene(node.url), "cache:"), looked(scene(node.url), everything=True)):
            assert "a node of a Redis Cluster" in is_refused(found, "cluster")


@pytest.mark.parametrize("wheel", [False, True])
def test_flushdb_that_was_renamed_refuses_all_and_no_prefix(tmp_path: Path, *, wheel: bool) -> None:
    with (
        redis(tmp_path, {"rename-command FLUSHDB": '""'}, wheel=wheel) as bare,
        Redis.from_url(bare.url) as a,
    ):
        a.set("cache:1", 1)
        said = is_refused(looked(scene(bare.url), everything=True), "rights")
        assert "does not have FLUSHDB: renamed" in said
        assert not barred(looked(scene(bare.url), "cache:"))


def test_a_user_who_may_not_is_told_the_exact_grant(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    url = user(admin, server.url, "~cache:*", "+scan", "+type", "+hexists", "+eval")
    found = looked(scene(url), "cache:")
    said = is_refused(found, "rights")
    assert said == "user pager may not: UNLINK → ACL SETUSER pager +unlink"
    assert "canary" not in repr(found)
    execute(admin, "ACL", "SETUSER", "pager", "+unlink")
    assert not barred(looked(scene(url), "cache:"))


def test_keys_that_a_user_may_not_touch_are_part_of_the_grant(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    url = user(admin, server.url, "~other:*", "+scan", "+type", "+hexists", "+eval", "+unlink")
    said = is_refused(looked(scene(url), "cache:"), "rights")
    assert said.endswith("ACL SETUSER pager ~cache:*")


def test_all_needs_every_key_and_flushdb(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 5)
    url = user(admin, server.url, "~cache:*", "+scan", "+type", "+hexists", "+eval", "+unlink", "+flushdb")
    # ~cache:* +flushdb would wipe everything
    assert "~*" in is_refused(looked(scene(url), everything=True), "rights")


def test_a_server_that_cannot_save_refuses_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    with redis(folder, {"save": '"3600 100000"'}) as server, Redis.from_url(server.url) as admin:
        admin.set("cache:1", 1)
        shutil.rmtree(folder)
        admin.bgsave()
        await_that(lambda: admin.info()["rdb_last_bgsave_status"] == "err")
        said = is_refused(looked(scene(server.url), "cache:"), "rights")
        admin.config_set("save", "")
    assert "(MISCONF)" in said


def test_a_server_that_is_not_there_bars_and_is_named() -> None:
    found = looked(scene(f"redis://:canary-4711@127.0.0.1:{free_port()}/0"), "cache:")
    assert found.targets == ()
    report = guard(found, "rights")
    assert report.state is GuardState.UNKNOWN
    assert "connection refused" in report.text
    assert "canary" not in repr(found)


def test_a_server_that_is_busy_with_a_script_bars_and_the_script_goes_on(
    server: Server, admin: Redis
) -> None:
    admin.set("cache:1", 1)
    with running_a_script(server, admin):
        report = guard(looked(scene(server.url), "cache:"), "rights")
    assert report.state is GuardState.UNKNOWN
    assert "it is busy with a script" in report.text
