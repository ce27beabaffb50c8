"""redis-py is loaded in part, and is whole for whoever asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.redisstand import redis


def said(code: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


LOAD = "from oncall.clients.redis_wire import connections; module = connections(); import sys; "


def test_only_the_connection_is_loaded() -> None:
    parts = "('redis.client', 'redis.cluster', 'redis.commands', 'redis.asyncio.client', 'redis.sentinel')"
    assert said(LOAD + f"print([p for p in {parts} if p in sys.modules], module.Connection.__name__)") == (
        "[] Connection"
    )


@pytest.mark.parametrize(
    "code",
    [
        "from redis.asyncio import Redis; print(Redis.__name__)",
        "import redis; print(redis.Redis.__name__, redis.asyncio.Redis)",
        "import redis.asyncio; print(redis.asyncio.Redis.__name__)",
        "from redis import *; print(Redis.__name__)",
        "from redis.asyncio.retry import Retry; from redis.asyncio import Redis; print(Redis.__name__)",
        "from redis.exceptions import RedisError; import redis; "
        "assert RedisError is redis.RedisError; from redis import Redis; print(Redis.__name__)",
    ],
)
def test_the_library_is_whole_when_asked(code: str) -> None:
    assert said(LOAD + code).startswith("Redis")


def test_a_library_that_cannot_be_loaded_in_part_is_loaded_whole() -> None:
    broken = (
        "import oncall.clients.redis_wire as wire, oncall.clients.ajar as door, sys\n"
        "def ajar(package, part):\n"
        "    door.ajar(package, part)\n"
        "    if package == 'redis.asyncio': raise ImportError('a part that needs the whole')\n"
        "wire.ajar = ajar\n"
        "module = wire.connections(); import redis; print(module.Connection.__name__, redis.Redis.__name__)"
    )
    assert said(broken) == "Connection Redis"


def test_config_check_meets_redis_after_a_look(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from oncall.model_service import RedisAt; from oncall.clients.redis_look import look; "
        "from oncall.clients.redis import meet; at = RedisAt(url=sys.argv[1]); "
        "asyncio.run(look(at, ['server'], 20)); print(type(asyncio.run(meet(at, 20))).__name__)"
    )
    with redis(tmp_path) as server:
        assert said(code, server.url) == "Met"
