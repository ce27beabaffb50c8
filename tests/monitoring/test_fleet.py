"""Every service at once: bounded, and one that is dead or broken takes nothing from the others."""

import asyncio

import pytest

from oncall.model import Severity, Unavailable, worst
from oncall.model_service import Basic, HttpBackend, PrometheusAt
from oncall.monitoring.fleet import counted, every, server_of

OK, W, C, U = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN


def lost(name: str, why: Unavailable) -> str:
    return f"{name}: {why.kind.value}: {why.reason}"


def test_so_many_at_a_time_in_the_order_given() -> None:
    async def work() -> tuple[list[str], int]:
        now, most, free = 0, 0, asyncio.Event()

        async def look(name: str) -> str:
            nonlocal now, most
            now += 1
            most = max(most, now)
            if now == 3:
                free.set()
            await free.wait()
            now -= 1
            return name

        found = await every((str(n) for n in range(20)), look, lost, at_once=3)
        return found, most

    found, most = asyncio.run(work())
    assert found == [str(n) for n in range(20)]
    assert most == 3


def test_a_bug_and_a_service_that_hangs_are_lines_of_their_own() -> None:
    async def look(name: str) -> str:
        if name == "bug":
            raise KeyError("secret-canary")
        if name == "hangs":
            await asyncio.Event().wait()
        return f"{name}: well"

    found = asyncio.run(every(["a", "bug", "hangs", "b"], look, lost, timeout_s=1.0))
    assert found[0] == "a: well"
    assert found[1].startswith("bug: bad_answer: a bug in oncall: KeyError at test_fleet.py:")
    assert "secret-canary" not in found[1]
    assert found[2] == "hangs: timeout: no answer within 1 s"
    assert found[3] == "b: well"


def test_being_cancelled_ends_all_of_it() -> None:
    async def work() -> int:
        ended, begun = 0, asyncio.Semaphore(0)

        async def look(name: str) -> str:
            nonlocal ended
            begun.release()
            try:
                await asyncio.Event().wait()
            finally:
                ended += 1
            return name

        task = asyncio.ensure_future(every(["a", "b"], look, lost))
        for _ in "ab":
            await asyncio.wait_for(begun.acquire(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return ended

    assert asyncio.run(work()) == 2


@pytest.mark.parametrize(
    ("found", "word", "said"),
    [
        ([OK, OK], OK, "all 2 services well"),
        ([OK], OK, "the one service is well"),
        ([OK, U], U, "1 of 2 services not well: 1 unknown"),
        ([U, W, C, OK, C], C, "4 of 5 services not well: 2 critical, 1 warning, 1 unknown"),
        ([], U, "no service"),
    ],
)
def test_the_worst_decides(found: list[Severity], word: Severity, said: str) -> None:
    assert worst(found) is word
    assert counted(found) == said


def test_services_share_a_server_whatever_they_select_there() -> None:
    one = PrometheusAt(url="http://p", selector={"job": "a"})
    assert server_of(one) == server_of(PrometheusAt(url="http://p", selector={"job": "b"}))
    others: list[HttpBackend] = [
        PrometheusAt(url="http://q"),
        PrometheusAt(url="http://p", headers={"X-Scope-OrgID": "t"}),
        PrometheusAt(url="http://p", basic=Basic(username="u", password="p")),
        PrometheusAt(url="http://p", bearer="t"),
    ]
    assert len({server_of(each) for each in [one, *others]}) == 5
