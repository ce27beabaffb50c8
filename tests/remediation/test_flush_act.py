"""flush-cache acts: the cache goes, nothing else does, and what is sent is sent once (rows 21, 22 of the matrix)."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from redis import Redis

from oncall.clients.redis_flush import MOST_ATOMIC, Line, Removed, remove_watched
from oncall.clients.redis_wire import Command
from oncall.lab.process import free_port
from oncall.lab.servers import Server
from oncall.model_service import RedisAt
from tests.clients.redisstand import await_that, execute, redis
from tests.remediation.flushstand import (
    barred,
    calls,
    fill,
    flushed,
    guard,
    is_refused,
    looked,
    scene,
    swallowing,
    user,
    working,
)


@pytest.fixture(scope="module", params=["distribution", "wheel"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis"), wheel=request.param == "wheel") as made:
        yield made


@pytest.fixture
def admin(server: Server) -> Iterator[Redis]:
    with Redis.from_url(server.url) as made:
        made.flushall()
        made.config_set("maxmemory", 0)
        made.config_resetstat()
        yield made


def test_the_prefix_goes_and_the_rest_stays(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 3000)
    admin.hset("cache:h", "a", "1")
    admin.set(b"cache:\xff", 1)
    fill(admin, "cached", 10)
    admin.rpush("celery", 1, 2, 3)
    admin.xadd("events", {"n": 1})
    done = flushed(scene(server.url), "cache:")
    assert done.states == ["done"]
    assert done.text == "removed 3,002 keys of cache:"
    assert admin.dbsize() == 12
    assert admin.llen("celery") == 3
    assert [(check.text, check.holds) for check in done.checks] == [("no key of cache: is left", True)]
    assert done.so_far == done.results


def test_each_prefix_has_its_result(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 10)
    fill(admin, "page:", 20)
    done = flushed(scene(server.url, cache=("cache:", "page:")))
    assert [(one.id, one.text) for one in done.results] == [
        ("cache:", "removed 10 keys of cache:"),
        ("page:", "removed 20 keys of page:"),
    ]


def test_out_of_memory_is_no_hindrance(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 1000)
    admin.config_set("maxmemory", 1)
    assert flushed(scene(server.url), "cache:").states == ["done"]
    admin.config_set("maxmemory", 0)


def test_a_small_database_goes_at_once(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 500)
    admin.hset("page:1", "data", "x")
    done = flushed(scene(server.url, protected=("lock:*",)), everything=True)
    assert done.text == "removed 501 keys of database 0"
    assert admin.dbsize() == 0
    assert calls(admin, "flushdb") == 1
    assert done.checks[0].holds is True


def test_a_large_database_goes_in_batches(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", MOST_ATOMIC + 500)
    done = flushed(scene(server.url), everything=True)
    assert done.text == f"removed {MOST_ATOMIC + 500:,} keys of database 0"
    assert admin.dbsize() == 0
    assert calls(admin, "flushdb") == 0


def test_a_database_that_grew_meanwhile_is_not_held_up(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 10)
    done = flushed(scene(server.url), everything=True, between=lambda: fill(admin, "cache:", MOST_ATOMIC + 1))
    assert done.states == ["done"]
    assert (admin.dbsize(), calls(admin, "flushdb")) == (0, 0)


# --- what comes between plan and act (row 21) ----------------------------------------------------


def push(admin: Redis, key: str) -> None:
    admin.rpush(key, "job")


def add_job(admin: Redis, key: str) -> None:
    admin.hset(key, mapping={"name": "a", "data": "{}", "opts": "{}", "timestamp": "1"})


def result_of_celery(admin: Redis, key: str) -> None:
    admin.set(f"{key}:celery-task-meta-1", "result")


@pytest.mark.parametrize("make", [push, add_job, result_of_celery])
@pytest.mark.parametrize("everything", [True, False])
def test_a_job_that_came_meanwhile_is_not_lost(
    server: Server, admin: Redis, make: object, *, everything: bool
) -> None:
    fill(admin, "cache:", 20)
    assert callable(make)
    prefixes = () if everything else ("cache:",)
    done = flushed(
        scene(server.url), *prefixes, everything=everything, between=lambda: make(admin, "cache:jobs")
    )
    assert done.states == ["changed"]
    assert "cache:jobs" in done.text
    assert "is no cache: nothing was removed" in done.text
    assert admin.dbsize() == 21
    # the next plan names it
    assert "cache:jobs" in is_refused(looked(scene(server.url), "cache:"), "queue-in-cache")


def test_a_key_that_became_a_queue_stays(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 3000)

    def become() -> None:
        admin.delete("cache:7")
        admin.rpush("cache:7", "job")

    done = flushed(scene(server.url), "cache:", between=become)
    assert admin.lrange("cache:7", 0, -1) == [b"job"]
    assert done.states[0] in ("failed", "changed")
    assert "cache:7 (list)" in done.text
    # the rest is left as well, and said to be
    assert admin.dbsize() > 1
    assert all(check.holds is False for check in done.checks)


def test_protected_keys_that_came_meanwhile_stay(server: Server, admin: Redis) -> None:
    for everything in (True, False):
        fill(admin, "cache:", 10)
        done = flushed(
            scene(server.url, protected=("cache:keep*",)),
            *(() if everything else ("cache:",)),
            everything=everything,
            between=lambda: admin.set("cache:keep:1", 1),
        )
        assert done.states == ["changed"]
        assert admin.dbsize() == 11
        admin.flushall()


def test_undeclared_keys_that_came_meanwhile_stay(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 10)
    at = scene(server.url, cache=("cache:",))
    done = flushed(at, everything=True, between=lambda: admin.set("user:1", 1))
    assert done.states == ["changed"]
    assert admin.dbsize() == 11


def test_keys_that_went_meanwhile_are_gone(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 10)
    done = flushed(scene(server.url), "cache:", between=admin.flushall)
    assert done.states == ["gone"]


def test_another_server_in_its_place_is_left_alone(tmp_path: Path) -> None:
    """The address answers with another server: nothing is sent to it."""

    async def run() -> None:
        async with swallowing(here.port, b"no such mark", hang_up=False) as proxy:
            at = scene(f"redis://127.0.0.1:{proxy.port}/0")
            async with working(at, "cache:") as work:
                proxy.target = there.port
                results = [one async for one in work.apply(lambda _: None)]
        assert [one.state for one in results] == ["changed"]
        assert "another server answers" in results[0].text

    with redis(tmp_path / "a") as here, redis(tmp_path / "b") as there, Redis.from_url(there.url) as other:
        with Redis.from_url(here.url) as one:
            fill(one, "cache:", 5)
        fill(other, "cache:", 5)
        asyncio.run(run())
        assert other.dbsize() == 5


# --- answers that are lost (row 22) --------------------------------------------------------------


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize(("everything", "mark"), [(True, b"FLUSHDB"), (False, b"UNLINK")])
def test_a_lost_answer_is_unknown_and_nothing_is_sent_twice(
    server: Server, admin: Redis, *, everything: bool, mark: bytes, hang_up: bool
) -> None:
    fill(admin, "cache:", 100)

    async def run() -> None:
        async with swallowing(server.port, b"redis.call('" + mark, hang_up=hang_up) as proxy:
            at = scene(f"redis://127.0.0.1:{proxy.port}/0", 3)
            async with working(at, *(() if everything else ("cache:",)), everything=everything) as work:
                assert not barred(work.found)
                results = [one async for one in work.apply(lambda _: None)]
                checks = await work.checks(results, asyncio.get_running_loop().time() + 10, lambda _: None)
            assert proxy.arrived == 1
        assert [one.state for one in results] == ["unknown"]
        assert "sent once; the answer did not come: look again" in results[0].text
        assert checks[0].holds is True  # it did happen: a new look tells
        assert "remediate flush-cache -s bot" in work.offers(results)[0].command

    asyncio.run(run())
    assert admin.dbsize() == 0
    assert calls(admin, "eval") <= 3
    assert calls(admin, "flushdb") == int(everything)


# --- no scripts ----------------------------------------------------------------------------------


def test_without_scripts_a_transaction_does_it(tmp_path: Path) -> None:
    with redis(tmp_path) as server, Redis.from_url(server.url) as admin:
        fill(admin, "cache:", 1500)
        rules = ("~cache:*", "+scan", "+type", "+hexists", "+unlink", "+watch", "+unwatch", "+multi", "+exec")
        at = scene(user(admin, server.url, *rules))
        assert "by transactions" in guard(looked(at, "cache:"), "rights").text
        assert flushed(at, "cache:").text == "removed 1,500 keys of cache:"
        assert calls(admin, "eval") == 0
        fill(admin, "cache:", 20)
        done = flushed(at, "cache:", between=lambda: admin.rpush("cache:jobs", 1))
        assert done.states == ["changed"]
        assert admin.dbsize() == 21
        execute(admin, "ACL", "SETUSER", "pager", "-exec")
        assert "+eval" in is_refused(looked(at, "cache:"), "rights")


class Meddled(Line):
    """Somebody writes to a key just before each transaction."""

    def __init__(self, at: RedisAt, admin: Redis) -> None:
        super().__init__(at, 20)
        self._admin = admin

    async def ask(self, commands: Sequence[Command], *, goes_on: bool = False) -> list[object]:
        if commands == [("MULTI",)]:
            self._admin.set("cache:1", "another")
        return await super().ask(commands, goes_on=goes_on)


def test_keys_that_are_written_each_time_after_they_were_looked_at_are_left(tmp_path: Path) -> None:
    async def run(line: Line) -> Removed:
        try:
            return await remove_watched(line, [b"cache:1", b"cache:2"])
        finally:
            await line.close()

    with redis(tmp_path) as server, Redis.from_url(server.url) as admin:
        fill(admin, "cache:", 3)
        assert asyncio.run(run(Meddled(RedisAt(url=server.url), admin))) == Removed(busy=True)
        assert admin.dbsize() == 3


# --- Ctrl-C, and the proof -----------------------------------------------------------------------


def test_ctrl_c_stops_between_batches_and_says_how_far_it_came(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 200_000)

    async def run() -> str:
        async with working(scene(server.url), "cache:") as work:
            told: list[str] = []
            some = asyncio.Event()

            def tell(line: str) -> None:
                told.append(line)
                some.set()

            async def act() -> None:
                async for _ in work.apply(tell):
                    pass

            task = asyncio.create_task(act())
            await some.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert told[0].startswith("cache:: removed ")
            (one,) = work.so_far()
            assert one.state == "failed"
            return one.text

    text = asyncio.run(run())
    left = admin.dbsize()
    assert 0 < left < 200_000
    assert text.startswith(f"interrupted: removed {200_000 - left:,} of about ")
    # nothing goes on behind our back
    assert admin.dbsize() == left


def test_a_cache_that_fills_again_is_told_from_keys_that_stayed(server: Server, admin: Redis) -> None:
    fill(admin, "cache:", 1000)
    done = flushed(scene(server.url), "cache:", after=lambda: fill(admin, "cache:", 300))
    assert done.checks[0].holds is True
    assert "300 keys of cache: were written since (30% of what was removed)" in done.checks[0].text


def test_a_server_that_fails_meanwhile_is_told_by_name(tmp_path: Path) -> None:
    with redis(tmp_path) as server, Redis.from_url(server.url) as admin:
        fill(admin, "cache:", 5)

        def demote() -> None:
            admin.replicaof("127.0.0.1", str(free_port()))
            await_that(lambda: admin.info("replication")["role"] == "slave")

        done = flushed(scene(server.url), "cache:", between=demote)
        assert done.states == ["failed"]
        assert "it is a replica (READONLY)" in done.text
        assert admin.dbsize() == 5
