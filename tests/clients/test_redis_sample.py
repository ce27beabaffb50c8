"""Prefixes and estimates from a sample of keys: pure, over made-up keys and random populations."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.clients.redis_growing import bull_names, lag
from oncall.clients.redis_sample import (
    OTHERS,
    Sampled,
    groups,
    masked,
    prefix,
    prefixes,
    shown,
    table,
    weights,
)
from oncall.clients.redis_tables import (
    Pair,
    clients,
    fields,
    latency,
    number,
    persistence_error,
    refuses_writes,
    server,
    slowlog,
)
from oncall.clients.redis_walk import walked


def one(key: str, size: int | None = 100, ttl_s: float | None = None, kind: str = "string") -> Sampled:
    return Sampled(key=key.encode(), type=kind, bytes=size, ttl_s=ttl_s)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("123", "*"),
        ("user42", "user*"),
        ("8c5a1f0e-3d1b-4c39-9a55-0c9b0f7f9d11", "*"),
        ("session-8c5a1f0e3d1b", "session-*"),
        ("token_d41d8cd98f00b204e9800998ecf8427e", "token_*"),
        ("feedface", "feedface"),
        ("AbCdEfGh1234567890XyZw", "*"),
        ("2026-01-31", "*"),
        ("caf\\xe9", "caf*"),
        ("\\xff\\x00\\x01", "*"),
        ("celery", "celery"),
        ("", ""),
    ],
)
def test_what_only_names_one_thing_is_masked(part: str, said: str) -> None:
    assert masked(part) == said


@pytest.mark.parametrize(
    ("key", "depth", "said"),
    [
        ("cache:profile:123", 1, "cache:*"),
        ("cache:profile:123", 2, "cache:profile:*"),
        ("cache:profile:123", 3, "cache:profile:*"),
        ("user:42:session", 2, "user:*"),
        ("user:42:session", 3, "user:*:session"),
        ("rq:queue:default", 1, "rq:*"),
        ("bull:mail:123", 2, "bull:mail:*"),
        ("celery", 1, "celery"),
        ("celery", 4, "celery"),
        (":1:views.cache", 1, ":*"),
    ],
)
def test_a_prefix_is_a_pattern_of_the_first_parts(key: str, depth: int, said: str) -> None:
    assert prefix(key, depth) == said


def test_a_prefix_that_covers_everything_is_told_in_more_detail() -> None:
    keys = [f"bot:cache:{n}" for n in range(60)] + [f"bot:session:{n}" for n in range(40)]
    assert set(prefixes(keys)) == {"bot:cache:*", "bot:session:*"}
    assert set(prefixes([f"cache:profile:{n}" for n in range(99)])) == {"cache:profile:*"}
    assert set(prefixes([f"user:{n}:{w}" for n in range(9) for w in ("cart", "session")])) == {
        "user:*:cart",
        "user:*:session",
    }


def test_names_of_things_are_no_prefixes() -> None:
    names = ["".join(random.Random(n).choices("abcdefghij", k=9)) for n in range(200)]
    assert set(prefixes([f"user:{name}:session" for name in names])) == {"user:*"}
    found = groups([one(name) for name in names] + [one("celery", 10**6, kind="list")], 201, None)
    assert [(group.prefix, group.sampled) for group in found] == [("celery", 1), (OTHERS, 200)]


@given(st.lists(st.text(max_size=30), max_size=50))
def test_any_key_has_a_prefix_and_the_same_each_time(keys: list[str]) -> None:
    named = prefixes(keys)
    assert len(named) == len(keys)
    assert named == prefixes(keys)
    # equal keys have equal prefixes
    assert len(set(zip(keys, named, strict=True))) == len(set(keys))


@given(st.text(max_size=60), st.integers(1, 4))
def test_masking_leaves_no_number_and_is_done_once(key: str, depth: int) -> None:
    name = prefix(key, depth)
    assert not any(letter in "0123456789" for letter in name)
    assert masked(masked(key)) == masked(key)


@given(st.binary(max_size=300))
def test_any_bytes_are_shown_as_text(key: bytes) -> None:
    text = shown(key)
    text.encode()
    assert len(text) <= 201


# --- estimates -----------------------------------------------------------------------------------

Kind = tuple[str, int, int]
KINDS = st.lists(
    st.tuples(
        st.sampled_from(["cache", "session", "rate", "lock", "page"]),
        st.integers(200, 3000),
        st.integers(50, 4000),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda kind: kind[0],
)


@settings(max_examples=30)
@given(KINDS, st.integers(0, 2**32))
def test_estimates_are_within_the_error_of_sampling(kinds: list[Kind], seed: int) -> None:
    chance = random.Random(seed)
    everything = [
        one(f"{name}:{n}", chance.randint(size // 2, size * 3 // 2))
        for name, many, size in kinds
        for n in range(many)
    ]
    total, truth = len(everything), sum(key.bytes or 0 for key in everything)
    sample = chance.sample(everything, min(500, total))
    found = {group.prefix: group for group in groups(sample, total, float(truth))}
    drawn = len(sample)
    assert sum(group.keys for group in found.values()) == pytest.approx(total, rel=0.02)
    for name, many, _ in kinds:
        share = many / total
        error = 6 * math.sqrt(share * (1 - share) / drawn) * total + 1e-6
        group = found.get(f"{name}:*")
        assert abs((group.keys if group else 0) - many) <= error * 1.02 + 0.02 * many
    spread = math.sqrt(sum(((key.bytes or 0) - truth / total) ** 2 for key in everything) / total)
    off = abs(sum(group.bytes or 0 for group in found.values()) - truth)
    assert off <= 6 * spread * total / math.sqrt(drawn) + 0.02 * truth


@settings(max_examples=30)
@given(KINDS)
def test_a_whole_database_is_exact(kinds: list[Kind]) -> None:
    everything = [one(f"{name}:{n}", size) for name, many, size in kinds for n in range(many % 50 + 1)]
    truth = sum(key.bytes or 0 for key in everything)
    found = groups(everything, len(everything), float(truth))
    assert sum(group.keys for group in found) == len(everything)
    assert sum(group.bytes or 0 for group in found) == pytest.approx(truth)
    assert sorted((group.bytes or 0 for group in found), reverse=True) == [group.bytes for group in found]


def test_a_huge_key_in_the_sample_stands_for_itself() -> None:
    sample = [*(one(f"cache:{n}") for n in range(999)), one("celery", 5 * 10**8, kind="list")]
    found = {g.prefix: g for g in groups(sample, 2_000_000, 7e8)}
    assert found["celery"].keys < 2
    assert found["celery"].bytes is not None
    assert found["celery"].bytes <= 7e8
    assert found["cache:*"].keys == pytest.approx(1_998_000, rel=0.01)


@given(
    st.lists(st.integers(1, 10**9), min_size=1, max_size=50),
    st.integers(1, 10**7),
    st.one_of(st.none(), st.floats(1, 1e12)),
)
def test_a_weight_is_at_least_the_key_itself(sizes: list[int], total: int, memory: float | None) -> None:
    sample = [one(f"k:{n}", size) for n, size in enumerate(sizes)]
    each = weights(sample, total, memory)
    assert all(1 <= weight <= max(1, total / len(sizes)) for weight in each)


def test_ttls_that_could_not_be_read_are_not_taken_for_none() -> None:
    unread = Sampled(key=b"a:1", type="string", bytes=1, ttl_s=None, ttl_known=False)
    assert groups([unread], 1, None)[0].ttl_share is None
    assert groups([unread, one("a:2", ttl_s=5.0)], 2, None)[0].ttl_share == 1


def test_what_is_cut_is_told() -> None:
    sample = [one(f"{letter * 3}:{n}") for letter in "abcdefghijklmnopqrst" for n in range(3)]
    told = table(groups(sample, 60, None), ["estimated"])
    assert len(told.rows) == 15
    assert told.notes == ("estimated", "5 more prefixes are not shown, with 25% of the bytes")


# --- INFO, clients, streams ----------------------------------------------------------------------


def test_a_counter_that_was_reset_has_no_rate() -> None:
    pair = Pair(first={"evicted_keys": "50"}, last={"evicted_keys": "2"}, seconds=0.1)
    assert pair.per_s("evicted_keys") is None
    assert Pair(first={"x": "1"}, last={"x": "3"}, seconds=0.5).per_s("x") == 4
    assert pair.per_s("nothing") is None


def test_keys_and_memory_may_shrink() -> None:
    pair = Pair(
        first={"db0": "keys=10,expires=1", "used_memory": "9000000"},
        last={"db0": "keys=5,expires=1", "used_memory": "8000000"},
        seconds=0.5,
    )
    assert (pair.keys_per_s(0), pair.memory_per_s) == (-10, -2_000_000)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({}, ""),
        ({"rdb_last_bgsave_status": "ok", "errorstat_MISCONF": "count=3"}, ""),
        ({"rdb_last_bgsave_status": "err"}, "the last RDB save failed"),
        (
            {"aof_enabled": "1", "aof_last_write_status": "err", "errorstat_MISCONF": "count=3"},
            "the last write to the AOF failed; writes are refused (MISCONF, 3 so far)",
        ),
        ({"aof_enabled": "0", "aof_last_write_status": "err"}, ""),
        ({"aof_enabled": "1", "aof_last_bgrewrite_status": "err"}, "the last rewrite of the AOF failed"),
    ],
)
def test_errors_of_persistence(info: dict[str, str], said: str) -> None:
    assert persistence_error(info) == said


def test_a_failed_save_alone_refuses_nothing() -> None:
    failed = {"rdb_last_bgsave_status": "err"}
    assert refuses_writes({"rdb_last_bgsave_status": "ok", "errorstat_MISCONF": "count=3"}) is False
    assert refuses_writes({**failed, "errorstat_MISCONF": "count=3"}) is True
    assert refuses_writes({**failed, "errorstat_ERR": "count=1"}) is False
    assert refuses_writes(failed) is None


@given(st.binary(max_size=200))
def test_any_info_makes_a_row(reply: bytes) -> None:
    info = fields(reply)
    told = server(info, Pair(first=info, last=info, seconds=0.1), 0, 1.0)
    assert len(told.rows[0]) == len(told.columns)


@given(st.text(max_size=300))
def test_any_list_of_clients_makes_rows(lines: str) -> None:
    told = clients(lines.encode(), 5)
    assert all(len(row) == len(told.columns) for row in told.rows)


REPLIES = st.recursive(
    st.none() | st.integers(-10, 2**63) | st.binary(max_size=9),
    lambda some: st.lists(some, max_size=6),
    max_leaves=40,
)


@given(REPLIES)
def test_replies_of_any_shape_make_rows_or_none(reply: object) -> None:
    for told in (slowlog(reply, 10_000, 1e9), latency(reply, 0, 1e9), clients(reply, reply)):
        assert all(len(row) == len(told.columns) for row in told.rows)
    assert lag(reply) is None or isinstance(lag(reply), int)


def test_numbers_that_are_none_are_not_told() -> None:
    assert [number({"x": text}, "x") for text in ("nan", "inf", "-", "1.5")] == [None, None, None, 1.5]


def test_clients_are_grouped_by_name_and_host_without_ourselves() -> None:
    listed = (
        b"id=5 addr=10.0.0.1:5 name=me idle=0 flags=N qbuf=0 omem=0 cmd=client|list\n"
        b"id=6 addr=10.0.0.2:1 name= lib-name=redis-py idle=700 flags=N qbuf=10 omem=5 cmd=get\n"
        b"id=7 addr=10.0.0.2:2 name= lib-name=redis-py idle=3 flags=b qbuf=1 omem=0 cmd=blpop\n"
        b"id=8 addr=[::1]:2 name=x idle=1 flags=N qbuf=0 omem=0 cmd=xinfo|groups\n"
        b"id=9 addr=/run/redis.sock:0 name=y idle=1 flags=U qbuf=0 omem=0 cmd=NULL\n"
    )
    assert clients(listed, 5).rows == (
        ("redis-py", "10.0.0.2", 2, 1, 700, 16, "blpop"),
        ("x", "::1", 1, 0, 1, 0, "xinfo groups"),
        ("y", "/run/redis.sock:0", 1, 0, 1, 0, "NULL"),
    )


def test_how_far_a_scan_has_come() -> None:
    assert walked(b"0") == 0
    # as Redis counts: the highest bit of the hash table first
    passed = [walked(str(int(f"{n:010b}"[::-1], 2)).encode()) for n in range(1024)]
    assert passed == sorted(passed)
    assert passed[512] == 0 or 0 < passed[512] < 1


def test_queues_of_bull_and_the_lag_of_streams() -> None:
    names = bull_names([b"bull:mail:1", b"bull:mail:id", b"bull:pdf:7", b"cache:1"])
    assert ("list", b"bull:mail:wait") in names
    assert ("zset", b"bull:pdf:delayed") in names
    assert len(names) == 8
    assert lag([[b"name", b"a", b"lag", 3], [b"name", b"b", b"lag", None], [b"name", b"c", b"lag", 9]]) == 9
    assert lag([[b"name", b"a"]]) is None
    assert lag("ERR") is None
