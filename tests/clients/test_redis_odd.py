"""Redis servers that are no plain masters: replicas, nodes of a cluster, Sentinels, ones with less commands."""

import asyncio
from pathlib import Path

from redis import Redis

from oncall.clients.redis_look import Looked, look
from oncall.lab.process import end as end_process
from oncall.lab.process import free_port, identity, spawn, wait_until
from oncall.lab.servers import find_redis
from oncall.model import Absence
from oncall.model_service import RedisAt
from tests.clients.redisstand import await_that, execute, gap, looked, redis, rows


def test_commands_that_were_taken_away_are_gaps_alone(tmp_path: Path) -> None:
    taken = {"rename-command SLOWLOG": '""', "rename-command LATENCY": '""', "rename-command MEMORY": "M"}
    with redis(tmp_path, taken) as server:
        with Redis.from_url(server.url) as admin:
            admin.rpush("celery", 1)
        found = looked(server.url)
    assert gap(found, "slowlog").kind is gap(found, "latency").kind is Absence.NOT_INSTALLED
    assert "does not know SLOWLOG GET" in gap(found, "slowlog").reason
    assert rows(found, "prefixes")[0]["bytes"] is None
    assert rows(found, "growing")[0]["length"] == 1
    assert rows(found, "server")[0]["keys"] == 1


def test_a_replica_says_what_it_is(tmp_path: Path) -> None:
    with redis(tmp_path, {"replicaof": f"127.0.0.1 {free_port()}"}) as server:
        found = looked(server.url)
    assert found.notes == ("a replica: it can be read, not written; its link to the master is down",)
    assert rows(found, "server")[0]["role"] == "slave"


def test_a_replica_that_answers_nothing_without_its_master_is_told_by_word(tmp_path: Path) -> None:
    with redis(tmp_path) as server, Redis.from_url(server.url) as admin:
        admin.config_set("replica-serve-stale-data", "no")
        admin.replicaof("127.0.0.1", str(free_port()))
        found = looked(server.url)
    assert gap(found, "prefixes").kind is gap(found, "growing").kind is Absence.DOWN
    assert "a replica without its master" in gap(found, "prefixes").reason
    assert rows(found, "server")[0]["role"] == "slave"


def test_a_node_of_a_cluster_with_and_without_its_slots(tmp_path: Path) -> None:
    with redis(tmp_path, {"cluster-enabled": "yes"}) as server, Redis.from_url(server.url) as admin:
        found = looked(server.url)
        assert found.notes == ("a node of a Redis Cluster: these are its own keys only",)
        assert rows(found, "prefixes") == rows(found, "growing") == []
        execute(admin, "CLUSTER", "ADDSLOTS", *map(str, range(16384)))
        await_that(lambda: b"cluster_state:ok" in execute(admin, "CLUSTER", "INFO"))
        admin.rpush("celery", 1)
        assert rows(looked(server.url), "growing")[0]["key"] == "celery"


def test_a_sentinel_is_told_as_one(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "s.conf").write_text(f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n")
    child = spawn([find_redis(), tmp_path / "s.conf", "--sentinel"], tmp_path, tmp_path / "log")
    created = identity(child.pid)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        wait_until(lambda: _answers(url), "sentinel", child=child)
        found = looked(url)
    finally:
        end_process(child.pid, created)
    assert "a Sentinel: it holds no keys" in found.notes[0]
    assert gap(found, "prefixes").kind is gap(found, "growing").kind is Absence.NOT_INSTALLED
    assert rows(found, "server")[0]["version"]


def _answers(url: str) -> bool:
    return isinstance(asyncio.run(look(RedisAt(url=url), [], 5)), Looked)
