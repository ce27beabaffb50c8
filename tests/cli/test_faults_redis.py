"""Rows 24, 25 and 27 of the matrix of faults, as the engineer sees them: Redis in its troubles, on real servers."""

import os
import shutil
import signal as signals
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from oncall.errors import Exit
from oncall.lab.servers import Server
from tests.cli.bright import Bright
from tests.cli.program import Program, Said, cause, rows, signal, step, unseen
from tests.clients.redisstand import CANARY, await_that, execute, redis, running_a_script

WAIT = ("--timeout", "60s", "--interval", "200ms")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis"), password=CANARY) as made:
        yield made


@pytest.fixture
def admin(server: Server) -> Iterator[Redis]:
    with Redis.from_url(server.url) as made:
        yield made


def diagnosed(program: Program, issue: str, *words: str) -> Said:
    said = program.run("diagnose", issue, *WAIT, *words, timeout=120)
    assert "canary" not in said.all
    return said


def as_json(program: Program, issue: str = "errors") -> tuple[Said, dict[str, Any]]:
    said = diagnosed(program, issue, "--output", "json")
    return said, said.json


def both(program: Program, issue: str = "errors") -> tuple[Said, dict[str, Any]]:
    """What is read, and the same as JSON; with the same exit code."""
    said, (other, report) = diagnosed(program, issue), as_json(program, issue)
    assert said.code == other.code
    return said, report


def the_rest_is_there(report: dict[str, Any]) -> None:
    assert signal(report, "request_rate")["source"] == "prometheus"
    for name in ("sessions", "health", "ollama", "errors"):
        assert step(report, name)["status"] == "ok", name


def no_other_is_blamed(report: dict[str, Any], *named: str) -> None:
    sure = {c["id"] for c in report["causes"] if c["confidence"] in ("confirmed", "likely")}
    assert sure <= set(named)


# --- row 24 -----------------------------------------------------------------------------------------


def test_row_24_keys_that_are_not_utf_8(server: Server, admin: Redis, well: Bright, program: Program) -> None:
    admin.flushdb()
    for number in range(60):
        admin.set(b"caf\xe9\x1b[31m:%d" % number, b"\xff" * 200, ex=900)
    admin.rpush(b"queue\xfe\xff[/red]", *range(20))
    said, report = both(well.program(program, redis={"url": server.url}), "memory")
    assert said.code == Exit.OK
    assert "\x1b" not in said.out
    prefixes = [row["prefix"] for row in rows(report, "prefixes")]
    # escaped, and then masked as what differs between keys
    assert any(prefix.startswith("caf*") for prefix in prefixes), prefixes
    (queue,) = rows(report, "growing")
    assert "\\xfe\\xff[/red]" in queue["key"]
    assert queue["length"] == 20


# --- row 25 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (f":{CANARY}@", "", "it asks for a password"),
        (CANARY, f"x{CANARY}", "user name or password is wrong"),
        (f":{CANARY}@", f"nobody:{CANARY}@", "user name or password is wrong"),
    ],
    ids=["NOAUTH", "WRONGPASS", "no such user"],
)
def test_row_25_not_let_in_is_not_down(
    server: Server, well: Bright, program: Program, old: str, new: str, says: str
) -> None:
    said, report = as_json(well.program(program, redis={"url": server.url.replace(old, new, 1)}))
    assert said.code == Exit.UNKNOWN
    assert says in unseen(report, "redis")["reason"]
    assert "DOWN" not in report["summary"]["headline"]
    assert step(report, "redis")["status"] == "failed"
    no_other_is_blamed(report)
    the_rest_is_there(report)
    unavailable = cause(report, "errors.cache_unavailable")
    assert unavailable["confidence"] == "unknown"
    assert any(says in why for why in unavailable["missing"])


@pytest.mark.parametrize(
    ("issue", "rules", "missing", "grant"),
    [
        ("errors", "+ping +scan", "INFO", "ACL SETUSER looker +info"),
        ("memory", "+ping +info", "SCAN", "ACL SETUSER looker +scan"),
    ],
)
def test_row_25_noperm_names_the_exact_rule(
    server: Server,
    admin: Redis,
    well: Bright,
    program: Program,
    issue: str,
    rules: str,
    missing: str,
    grant: str,
) -> None:
    execute(admin, "ACL", "SETUSER", "looker", "reset", "on", f">{CANARY}", "~*", *rules.split())
    url = server.url.replace(f":{CANARY}@", f"looker:{CANARY}@")
    said, report = both(well.program(program, redis={"url": url}), issue)
    execute(admin, "ACL", "DELUSER", "looker")
    shown = " ".join(said.out.split())
    assert "DOWN" not in said.first[0]
    assert f"user looker may not run {missing}" in shown
    assert grant in shown
    # what fills Redis is a detail of the memory issue; whether it is well at all is not
    assert said.code == (Exit.UNKNOWN if issue == "errors" else Exit.OK)
    no_other_is_blamed(report)


# --- row 27 -----------------------------------------------------------------------------------------


def is_down(said: Said, report: dict[str, Any], says: str, headline: str) -> None:
    assert said.code == Exit.CRITICAL
    assert says in unseen(report, "redis")["reason"]
    assert headline in report["summary"]["headline"]
    assert signal(report, "cache")["value"] == 0
    the_rest_is_there(report)
    no_other_is_blamed(report, "errors.cache_unavailable")


def test_row_27_a_script_is_named_and_never_killed(
    server: Server, admin: Redis, well: Bright, program: Program
) -> None:
    there = well.program(program, redis={"url": server.url})
    with running_a_script(server, admin):
        said, report = both(there)
        assert "busy with a script" in " ".join(said.out.split())
    is_down(said, report, "busy with a script", "CACHE")


def test_row_27_no_connection_left(server: Server, admin: Redis, well: Bright, program: Program) -> None:
    there = well.program(program, redis={"url": server.url})
    execute(admin, "CONFIG", "SET", "maxclients", "1")
    try:
        said, report = as_json(there)
    finally:
        execute(admin, "CONFIG", "SET", "maxclients", "1000")
    is_down(said, report, "no connection left (maxclients)", "")


def test_row_27_loading(well: Bright, program: Program, tmp_path: Path) -> None:
    slowly = {"loading-process-events-interval-bytes": "1024", "enable-debug-command": "yes"}
    with redis(tmp_path, slowly) as server:
        there = well.program(program, redis={"url": server.url})
        with Redis.from_url(server.url) as admin:
            execute(admin, "DEBUG", "POPULATE", "20000", "cache", "100")
            execute(admin, "CONFIG", "SET", "key-load-delay", "2000")
            reload = threading.Thread(target=_reload, args=(server.url,))
            reload.start()
            await_that(lambda: bool(admin.info("persistence")["loading"]))
            try:
                said, report = as_json(there)
            finally:
                os.kill(server.pid, signals.SIGKILL)
                reload.join()
    is_down(said, report, "it is loading its data (", "CACHE LOADING")


def _reload(url: str) -> None:
    with Redis.from_url(url) as admin:
        try:
            execute(admin, "DEBUG", "RELOAD")
        except RedisError:
            return


def test_row_27_misconf(well: Bright, program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    with (
        redis(folder, {"save": "3600 100000", "maxmemory": "64mb"}) as server,
        Redis.from_url(server.url) as admin,
    ):
        there = well.program(program, redis={"url": server.url})
        admin.set("cache:1", 1)
        shutil.rmtree(folder)
        admin.bgsave()
        await_that(lambda: admin.info()["rdb_last_bgsave_status"] == "err")
        with pytest.raises(ResponseError, match="MISCONF"):
            admin.set("cache:2", 1)
        said, report = as_json(there)
    assert said.code == Exit.CRITICAL
    assert "MISCONF" in said.out
    assert signal(report, "cache")["value"] == 1
    assert signal(report, "cache_writes")["value"] == 0
    assert rows(report, "redis")[0]["persistence_error"].startswith("the last RDB save failed")
    the_rest_is_there(report)
    no_other_is_blamed(report, "errors.cache_unavailable")
