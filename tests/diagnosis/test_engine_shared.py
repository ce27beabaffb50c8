"""Several issues together: each question asked once, each issue with its own answers, all waits ending together."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from oncall.diagnosis import asks
from oncall.diagnosis.engine import Ask, Round
from oncall.diagnosis.plan import Plan, plan, question, used
from oncall.diagnosis.readings import Gathered
from oncall.lab.process import free_port
from oncall.model import Absence, Unavailable
from oncall.model_service import PrometheusAt, RedisAt, Service
from oncall.runbook.loader import library
from tests.clients.webstand import Answer, Asked, Stand, reply, silence

BOOKS = library()
ISSUES = BOOKS.issues()
VECTOR = '{"status": "success", "data": {"resultType": "vector", "result": []}}'


def planned(*issues: str, service: Service | None = None) -> Plan:
    return plan((BOOKS.runbook(issue) for issue in issues or ISSUES), service or Service())


def looked(service: Service, *issues: str) -> Gathered:
    return asyncio.run(Round(planned(*issues, service=service), service, Ask(timeout_s=20)).run())


def test_all_issues_ask_each_question_once() -> None:
    together = planned()
    wanted = [question(s) for r in together.runbooks for s in r.spec.steps.values()]
    assert set(together.questions) == {q.key for q in wanted}
    assert len(together.questions) < len(wanted)
    postgres = [q for q in together.questions.values() if q.backend == "postgres"]
    # With what every session begins with, that is at most 16 statements
    assert len(postgres) <= 14
    alone = [len(planned(issue).questions) for issue in ISSUES]
    assert max(alone) < len(together.questions) < sum(alone)


def test_of_two_deadlines_the_more_patient_one_is_kept() -> None:
    together = planned().questions
    for issue in ISSUES:
        for key, asked in planned(issue).questions.items():
            shared = together[key].deadline_s
            assert shared is None or (asked.deadline_s is not None and shared >= asked.deadline_s)


@pytest.mark.parametrize("issue", ISSUES)
def test_an_issue_is_not_blamed_for_what_it_did_not_ask(issue: str) -> None:
    service = Service(redis=RedisAt(url=f"redis://127.0.0.1:{free_port()}/0"))
    found, together = looked(service), planned(service=service)
    book = BOOKS.runbook(issue)
    readings = together.readings(book, found)
    assert set(readings.steps) == set(book.spec.steps)
    assert [u.what for u in readings.failed] == (["redis"] if "redis" in used(book) else [])


def test_a_unit_that_cannot_be_told_is_a_gap() -> None:
    found = looked(Service(unit="no-such-unit.service"), "errors")
    answer = found.answers["systemd:state"].answer
    assert isinstance(answer, Unavailable)
    # Without systemd here there is nothing to know; with it, the unit is not found
    here = answer.kind not in (Absence.NOT_APPLICABLE, Absence.NOT_INSTALLED)
    assert [u.what for u in found.failed] == (["systemd"] if here else [])


def test_a_bug_in_one_client_is_a_gap_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(asked: asks.Asked, questions: object) -> asks.Part:
        raise KeyError("secret-canary")

    monkeypatch.setitem(asks.BACKENDS, "ollama", broken)
    found = looked(Service())
    (gap,) = found.failed
    assert (gap.what, gap.hint) == ("ollama", "please report this line")
    assert "a bug in oncall: KeyError at test_engine_shared.py" in gap.reason
    assert "canary" not in str(found)
    assert isinstance(found.answers["redis:server"].answer, Unavailable)


def test_what_stands_in_for_a_slow_prometheus_does_not_add_to_the_timeout() -> None:
    """Prometheus uses up all the time that there is, and the page that would stand in for it hangs then."""
    timeout_s = 4.0
    pages = 0

    async def late(body: str) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.5 * timeout_s)
        yield reply(body, Connection="close")

    def prometheus(asked: Asked) -> Answer:
        return late(VECTOR) if asked.path.endswith("/query") else silence()

    def service(asked: Asked) -> Answer:
        nonlocal pages
        if asked.path == "/metrics":
            pages += 1
            if pages == 1:
                return reply("http_requests_total 5\n", Content_Type="text/plain")
        return silence()

    async def work() -> tuple[Gathered, float]:
        async with Stand(prometheus) as one, Stand(service) as other:
            at = Service(url=other.url, prometheus=PrometheusAt(url=one.url))
            look = Round(planned("pool", service=at), at, Ask(timeout_s=timeout_s, interval_s=0.2))
            begun = time.monotonic()
            return await look.run(), time.monotonic() - begun

    found, took = asyncio.run(work())
    assert {"prometheus", "scrape"} <= {u.what for u in found.failed}
    # Each in its turn with a deadline of its own, they took 6.4 s
    assert took < 6
