"""Redis in trouble: each trouble by its name, on real servers (rows 25 and 27 of the matrix of faults)."""

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from oncall.clients import redis_wire
from oncall.clients.redis_look import Looked, look
from oncall.lab.process import free_port
from oncall.lab.servers import Server
from oncall.model import Absence, Table, Unavailable
from oncall.model_service import RedisAt
from tests.clients.redisstand import (
    CANARY,
    WORDS,
    await_that,
    execute,
    gap,
    looked,
    redis,
    refused,
    rows,
    running_a_script,
)
from tests.processes import frozen


@pytest.fixture(scope="module", params=["distribution", "wheel"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("redis")
    with redis(folder, wheel=request.param == "wheel", password=CANARY) as server:
        yield server


@pytest.fixture
def admin(running: Server) -> Iterator[Redis]:
    with Redis.from_url(running.url) as made:
        yield made


@pytest.mark.parametrize(
    ("old", "new", "kind", "said"),
    [
        (f":{CANARY}@", "", Absence.AUTH, "it asks for a password"),
        (CANARY, f"x{CANARY}", Absence.AUTH, "user name or password is wrong"),
        (f":{CANARY}@", f"nobody:{CANARY}@", Absence.AUTH, "user name or password is wrong"),
        ("/0", "/9999", Absence.CONFIG, "it has no such database"),
        ("127.0.0.1", "nowhere.invalid", Absence.UNRESOLVED, "cannot resolve the host"),
        ("/0", "/0?colour=red", Absence.CONFIG, "an option that redis-py does not know"),
    ],
)
def test_refusals_at_the_door_are_told_by_their_name(
    running: Server, old: str, new: str, kind: Absence, said: str
) -> None:
    why = refused(running.url.replace(old, new, 1))
    assert why.kind is kind
    assert said in why.reason


def test_a_closed_port_is_down() -> None:
    why = refused(f"redis://:{CANARY}@127.0.0.1:{free_port()}/0")
    assert why.kind is Absence.DOWN
    assert "connection refused" in why.reason


def test_a_script_that_runs_is_told_and_not_killed(running: Server, admin: Redis) -> None:
    with running_a_script(running, admin):
        why = refused(running.url)
    assert why.kind is Absence.DOWN
    assert "it is busy with a script" in why.reason


def test_no_connection_left_is_told_each_time(running: Server, admin: Redis) -> None:
    execute(admin, "CONFIG", "SET", "maxclients", "1")
    try:
        for url in [running.url] * 10 + [running.url.replace(f":{CANARY}@", "")] * 10:
            why = refused(url)
            assert why.kind is Absence.NO_SLOTS
            assert "no connection left (maxclients)" in why.reason
    finally:
        execute(admin, "CONFIG", "SET", "maxclients", "1000")


def test_a_frozen_server_is_no_answer_by_the_deadline(running: Server) -> None:
    with frozen(running.pid):
        why = refused(running.url, deadline_s=0.3)
    assert why.kind is Absence.TIMEOUT
    assert why.reason.startswith("no answer from 127.0.0.1:")


def test_a_server_that_cannot_save_is_looked_at_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    with redis(folder, {"save": '"3600 100000"'}) as server, Redis.from_url(server.url) as admin:
        admin.set("cache:1", 1)
        shutil.rmtree(folder)
        admin.bgsave()
        await_that(lambda: admin.info()["rdb_last_bgsave_status"] == "err")
        with pytest.raises(ResponseError, match="MISCONF"):
            admin.set("cache:2", 1)
        found = looked(server.url)
        # it would not end without saving
        admin.config_set("save", "")
    error = rows(found, "server")[0]["persistence_error"]
    # Redis refuses a PING too then, ours among them
    assert error == "the last RDB save failed; writes are refused (MISCONF, 2 so far)"
    assert rows(found, "prefixes")[0]["keys"] == 1


def test_a_server_that_loads_its_data_is_starting(tmp_path: Path) -> None:
    slowly = {"loading-process-events-interval-bytes": "1024", "enable-debug-command": "yes"}
    with redis(tmp_path, slowly) as server, Redis.from_url(server.url) as admin:
        execute(admin, "DEBUG", "POPULATE", "3000", "cache", "100")
        execute(admin, "CONFIG", "SET", "key-load-delay", "2000")
        reload = threading.Thread(target=_reload, args=(server.url,))
        reload.start()
        await_that(lambda: _loads(admin))
        why = refused(server.url)
        # it would load for seconds more
        os.kill(server.pid, signal.SIGKILL)
        reload.join()
    assert why.kind is Absence.STARTING
    assert "it is loading its data (" in why.reason


def _loads(admin: Redis) -> bool:
    return bool(admin.info("persistence")["loading"])


def _reload(url: str) -> None:
    with Redis.from_url(url) as admin:
        try:
            execute(admin, "DEBUG", "RELOAD")
        except Exception:
            return


# --- who is no Redis -----------------------------------------------------------------------------


def answered_by(replies: bytes, *, endless: bool = False, deadline_s: float = 10) -> Unavailable:
    """What a look at a server says that answers everything with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(4096):
                writer.write(replies)
                await writer.drain()
                while endless:
                    writer.write(b"x" * 65536)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def run() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await look(RedisAt(url=f"redis://127.0.0.1:{port}/0"), WORDS, deadline_s)

    found = asyncio.run(run())
    assert isinstance(found, Unavailable)
    return found


def test_another_protocol_is_a_bad_answer() -> None:
    why = answered_by(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert why.kind is Absence.BAD_ANSWER
    assert "does not answer as Redis does" in why.reason


def test_what_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_wire, "MOST_BYTES", 2**20)
    why = answered_by(b"$99999999999\r\n", endless=True)
    assert why.kind is Absence.BAD_ANSWER
    assert "more than" in why.reason


def test_a_line_that_never_ends_is_cut_off() -> None:
    assert answered_by(b"+", endless=True).kind is Absence.BAD_ANSWER


def test_nonsense_is_no_crash() -> None:
    for nonsense in (
        b":1\r\n",
        b"*2\r\n:1\r\n*1\r\n:7\r\n",
        b"*2\r\n$1\r\n0\r\n*2\r\n*0\r\n$1\r\nx\r\n",
        b"$-1\r\n",
    ):
        found = looked_at_one_that_says(nonsense)
        assert set(found.by_word) == set(WORDS)


def looked_at_one_that_says(reply: bytes) -> Looked:
    """A look at a server that gives the same reply to each command."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.readline():
            if said.startswith(b"*"):
                writer.write(reply)
        writer.close()

    async def run() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await look(RedisAt(url=f"redis://127.0.0.1:{port}/0"), WORDS, 20)

    found = asyncio.run(run())
    assert isinstance(found, Looked), found
    return found


def test_a_server_that_stops_answering_leaves_what_it_said() -> None:
    """As many replies as the first questions need, then none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = 18
        while said := await reader.readline():
            if said.startswith(b"*") and left:
                left -= 1
                writer.write(b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nx\r\n")
        writer.close()

    async def run() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await look(RedisAt(url=f"redis://127.0.0.1:{port}/0"), WORDS, 2)

    found = asyncio.run(run())
    assert isinstance(found, Looked), found
    assert gap(found, "prefixes").kind is gap(found, "growing").kind is Absence.TIMEOUT
    assert isinstance(found.by_word["slowlog"].answer, Table)


def test_a_server_that_goes_away_in_the_middle_is_down() -> None:
    assert answered_by(b"", deadline_s=0.3).kind is Absence.TIMEOUT
