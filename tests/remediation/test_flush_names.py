"""What names tell, and the property that matters most: no key outside of the prefix is ever removed."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from oncall.clients.redis_flush_names import STARTS, WITHIN, Rules, distinct, matches, pattern, tool_of
from oncall.lab.servers import Server
from oncall.model_acts import TargetResult
from tests.clients.redisstand import execute, redis
from tests.remediation.flushstand import barred, scene, working

# Few letters, so that keys and prefixes meet; all that has a meaning in a pattern; what is no text.
LETTERS = st.sampled_from([b"a", b"b", b":", b"*", b"?", b"[", b"]", b"\\", b"^", b"-", b"\xff", b"\n"])
NAMES = st.lists(LETTERS, min_size=1, max_size=5).map(b"".join)
PREFIXES = st.lists(LETTERS.filter(lambda b: b != b"\xff"), min_size=1, max_size=3).map(b"".join)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis(tmp_path_factory.mktemp("redis")) as made:
        yield made


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[Redis]:
    with Redis.from_url(server.url) as made:
        yield made


def test_a_prefix_is_escaped() -> None:
    assert pattern(b"cache:") == b"cache:*"
    assert pattern(b"a*b?[c]\\^") == rb"a\*b\?\[c\]\\\^*"


async def act(url: str, prefix: str) -> list[TargetResult]:
    """A flush without its proof; nothing where a guard refuses."""
    async with working(scene(url), prefix) as work:
        return [] if barred(work.found) else [one async for one in work.apply(lambda _: None)]


@pytest.fixture(scope="module")
def hurried() -> Iterator[None]:
    """Without the stretch in which hits are counted: there are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oncall.clients.redis_flush_look._QUIET_S", 0.0)
        yield


@pytest.mark.usefixtures("hurried")
@given(prefix=PREFIXES, keys=st.sets(NAMES, min_size=1, max_size=12))
@example(prefix=b"a*", keys={b"a*", b"ab", b"a*b"})
@example(prefix=b"[a-b]", keys={b"a", b"[a-b]:1"})
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_key_outside_of_the_prefix_is_ever_removed(
    server: Server, admin: Redis, prefix: bytes, keys: set[bytes]
) -> None:
    admin.flushall()
    admin.mset(dict.fromkeys(keys, "x"))
    words = prefix.decode()
    if done := asyncio.run(act(server.url, words)):
        assert [one.state for one in done] == ["done"]
        assert set(admin.keys()) == {key for key in keys if not key.startswith(prefix)}
    else:
        assert set(admin.keys()) == keys
        assert not words.strip("*? \t") or not any(key.startswith(prefix) for key in keys)


@given(glob=st.lists(LETTERS, max_size=7).map(b"".join), keys=st.sets(NAMES, min_size=1, max_size=12))
@example(glob=b"[^a]", keys={b"a", b"b"})
@example(glob=b"[]a", keys={b"a", b"]a"})
@example(glob=b"a\\", keys={b"a\\", b"a"})
@example(glob=b"[b-a]", keys={b"a", b"b", b"-"})
@example(glob=b"[a", keys={b"a", b"[a"})
@example(glob=b"[^", keys={b"a", b"[^"})
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_patterns_mean_what_they_mean_to_redis(admin: Redis, glob: bytes, keys: set[bytes]) -> None:
    admin.flushall()
    admin.mset(dict.fromkeys(keys, "x"))
    _, found = execute(admin, "SCAN", "0", "MATCH", glob, "COUNT", "1000")
    assert {key for key in keys if matches(glob, key)} == set(found)


def test_queues_are_known_by_name_and_by_type() -> None:
    assert all(tool_of(mark + b"x") for mark in STARTS)
    assert all(tool_of(b"ns:" + mark + b"x") for mark in WITHIN)
    assert tool_of(b"cache:profile:1") is None
    rules = Rules(protected=(b"cache:keep*",))
    assert rules.why_not(b"cache:1", "string") is rules.why_not(b"cache:1", "hash") is None
    assert rules.why_not(b"cache:1", "stream") == "stream"
    assert rules.why_not(b"cache:1", "ReJSON-RL") == "of type ReJSON-RL"
    assert rules.why_not(b"cache:keep:1", "string") == "protected"
    assert Rules(within=(b"cache:",)).why_not(b"page:1") == "under none of the declared prefixes"


def test_prefixes_that_another_one_covers_are_left_out() -> None:
    assert distinct([b"b:", b"a:x:", b"a:", b"b:"]) == (b"b:", b"a:")
