"""The commands that a cause hands over are aimed at what may be touched, and at nothing that would be refused."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from oncall.diagnosis.commands import command_lines
from oncall.diagnosis.engine import Ask
from oncall.diagnosis.readings import Facts
from oncall.diagnosis.run import look, planned
from oncall.lab.process import wait_until
from oncall.model_service import PostgresAt, RedisAt, Service
from oncall.runbook.loader import runbooks_of
from tests.clients.pgstand import APP, Link, Stand, begin
from tests.clients.redisstand import redis
from tests.remediation import killstand
from tests.remediation.killstand import dsn, idling, pid

FLUSH = "oncall remediate flush-cache -s bot --prefix account: --issue memory --confirm"


def lines(service: Service, issue: str) -> dict[str, str]:
    """Every command that could be said now, from a real look."""
    asking = planned(service, runbooks_of(service, None), (issue,))
    found, _ = asyncio.run(look(asking, service, Ask(), lambda *_: None))
    (book,) = asking.runbooks
    return command_lines(Facts(book, service, asking.readings(book, found), ("-s", "bot")))


# --- a flush of what is no cache ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that holds data of record most of all, and a cache."""
    with redis(tmp_path_factory.mktemp("redis")) as server, Redis.from_url(server.url) as link:
        link.mset({f"account:{n}": "b" * 200 for n in range(300)})
        link.mset({f"cache:{n}": "c" for n in range(50)})
        yield server.url


@pytest.mark.parametrize(
    ("cache", "protected", "offered"),
    [
        ((), (), True),
        (("cache:",), (), False),
        (("account:",), (), True),
        (("acc", "cache:"), (), True),
        (("account:old:",), (), False),
        ((), ("account:*",), False),
        ((), ("account:*:balance",), False),
        ((), ("acc*",), False),
        (("account:",), ("*",), False),
        ((), ("cache:*",), True),
        ((), ("*:lock",), True),
    ],
)
def test_a_flush_is_offered_of_a_declared_cache_and_of_nothing_protected(
    accounts: str, cache: tuple[str, ...], protected: tuple[str, ...], *, offered: bool
) -> None:
    service = Service(redis=RedisAt(url=accounts, cache=cache, protected=protected))
    assert lines(service, "memory").get("flush_cache") == (FLUSH if offered else None)


# --- a signal that would be refused, or roll nothing back ------------------------------------------


def slow(pg: Stand) -> Link:
    link = killstand.running(pg)
    pg.running(link, 1.1)
    return link


def holding(pg: Stand) -> Link:
    root = idling(pg, "LOCK TABLE app.things")
    waiter = killstand.session(pg)
    begin(waiter, "SELECT * FROM app.things")
    pg.waiting(waiter)
    return root


def of(pg: Stand, role: str) -> Service:
    return Service(postgres=PostgresAt(dsn=dsn(pg, role), application_name=APP))


@pytest.mark.parametrize(
    ("make", "names"), [(slow, ["cancel_slow"]), (holding, ["cancel_root", "terminate_root"])]
)
def test_who_may_only_look_is_handed_no_signal(
    pg: Stand, make: Callable[[Stand], Link], names: list[str]
) -> None:
    """`seer` has pg_monitor alone; `pager` may signal; `app` may its own."""
    make(pg)
    said = {role: lines(of(pg, role), "pool") for role in ("seer", "pager", "app")}
    assert not set(names) & set(said["seer"])
    for role in ("pager", "app"):
        assert set(names) <= set(said[role])


def test_the_row_says_which_grant_is_missing(pg: Stand) -> None:
    slow(pg)
    service = of(pg, "seer")
    asking = planned(service, runbooks_of(service, None), ("pool",))
    found, _ = asyncio.run(look(asking, service, Ask(), lambda *_: None))
    answers = [a.answer for k, a in found.answers.items() if k == "postgres:longest"]
    assert "GRANT pg_signal_backend TO seer;" in repr(answers)


def test_a_commit_that_waits_for_a_standby_is_handed_over_to_nobody(pg: Stand) -> None:
    """Neither as a slow query, nor as the root of those who wait for its locks."""
    pg.admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'away'")
    pg.admin.execute("SELECT pg_reload_conf()")
    try:
        link = killstand.session(pg)
        wait_until(
            lambda: link.execute("SHOW synchronous_standby_names").fetchone() == ("away",), "the setting"
        )
        link.execute("SET synchronous_commit = on")
        link.execute("BEGIN")
        link.execute("UPDATE app.things SET n = 1 WHERE id = 1")
        begin(link, "COMMIT")
        pg.until("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = %s", pid(link))
        behind = killstand.session(pg)
        begin(behind, "UPDATE app.things SET n = 2 WHERE id = 1")
        pg.waiting(behind)
        pg.running(link, 1.1)
        said = lines(of(pg, "pager"), "pool")
    finally:
        pg.admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        pg.admin.execute("SELECT pg_reload_conf()")
    assert not {"cancel_slow", "cancel_root", "terminate_root"} & set(said)
