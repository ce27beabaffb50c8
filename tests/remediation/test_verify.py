"""Fixed, not fixed, worse: judged from symptoms before and now."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.postgres import opened
from oncall.diagnosis.run import planned
from oncall.lab.postgres import start_postgres
from oncall.lab.servers import stop
from oncall.model import Severity, SignalReport
from oncall.model_acts import Check
from oncall.model_service import PostgresAt, Service
from oncall.remediation.measuring import measure
from oncall.remediation.verify import troubled, verdict, well
from oncall.runbook.loader import runbooks_of

OK, WARNING, CRITICAL, UNKNOWN = Severity.OK, Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN
HELD, BROKEN = (
    (Check(text="the rows are gone", holds=True),),
    (Check(text="pid 4 is still there", holds=False),),
)


def symptom(name: str, value: float | None, warning: float = 10, critical: float = 16) -> SignalReport:
    """A signal that is the worse the higher it is."""
    severity = (
        UNKNOWN if value is None else CRITICAL if value > critical else WARNING if value > warning else OK
    )
    return SignalReport(
        id=name,
        title=name.title(),
        value=value,
        unit=None,
        baseline=None,
        warning=warning,
        critical=critical,
        severity=severity,
        source="test",
        query=None,
        age_s=None,
        reason=None if value is not None else "not read",
        symptom=True,
    )


def seen(**values: float | None) -> dict[str, SignalReport]:
    return {name: symptom(name, value) for name, value in values.items()}


def result(
    before: Mapping[str, SignalReport],
    now: Mapping[str, SignalReport],
    checks: tuple[Check, ...] = HELD,
    *,
    healthy: bool | None = None,
) -> str:
    told = well(before, now) if healthy is None else healthy
    return verdict(before, now, 5.0, checks, healthy=told)[0]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (seen(pool=19, wait=30), seen(pool=4, wait=0), "fixed"),
        (seen(pool=19, wait=30), seen(pool=18, wait=12), "not_fixed"),
        (seen(pool=19, wait=30), seen(pool=19, wait=60), "worse"),
        (seen(pool=12), seen(pool=17), "worse"),
        (seen(pool=19), seen(pool=None), "unknown"),
        (seen(pool=19), {}, "unknown"),
        (seen(pool=None), seen(pool=4), "nothing_measured"),
        ({}, {}, "nothing_measured"),
        (seen(pool=4), seen(pool=4), "nothing_measured"),
        (seen(pool=None, slots=1), seen(pool=None, slots=1), "nothing_measured"),
        (seen(pool=4, wait=2), seen(pool=4, wait=12), "worse"),
        # Nothing was bad, and nothing can be read any more: that is not well.
        (seen(pool=4, wait=2), seen(pool=None), "unknown"),
        (seen(pool=4, wait=2), seen(pool=4, wait=None), "nothing_measured"),
        # What could not be read before is neither better nor worse.
        (seen(pool=19, cache=None), seen(pool=4, cache=17), "fixed"),
    ],
)
def test_the_word(before: Mapping[str, SignalReport], now: Mapping[str, SignalReport], expected: str) -> None:
    assert result(before, now) == expected


def test_a_symptom_that_is_well_does_not_outvote_a_check_that_failed() -> None:
    assert verdict(seen(pool=19), seen(pool=4), 5.0, BROKEN, healthy=True) == (
        "not_fixed",
        "pid 4 is still there",
    )


def test_one_healthy_look_is_not_enough() -> None:
    """The loop asks for some seconds of them; with one the word is not `fixed`."""
    before, now = seen(pool=19), seen(pool=4)
    word, text = verdict(before, now, 5.0, HELD, healthy=False)
    assert word == "unknown"
    said = "Pool is back within bounds after 5 s, but not for 5 s at a stretch: a longer --wait would tell"
    assert text == said


def test_what_is_not_read_any_more_is_said() -> None:
    word, text = verdict(seen(pool=4, wait=2), seen(pool=4), 5.0, HELD, healthy=True)
    assert word == "nothing_measured"
    assert text.endswith("and none is now; Wait is not read any more")


VALUES = st.one_of(st.none(), st.floats(0, 40))
SYMPTOMS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4).map(lambda found: seen(**found))


@given(SYMPTOMS, SYMPTOMS, st.sampled_from((HELD, BROKEN)))
def test_fixed_means_that_nothing_that_was_bad_is_bad_or_unread(
    before: dict[str, SignalReport], now: dict[str, SignalReport], checks: tuple[Check, ...]
) -> None:
    if result(before, now, checks) == "fixed":
        assert all(now[name].severity is OK for name in troubled(before))
        assert checks == HELD
        known = {n for n, r in before.items() if r.severity is not UNKNOWN}
        assert troubled(before)
        assert not any(now[n].severity in (WARNING, CRITICAL) for n in known & set(now))


@given(SYMPTOMS)
def test_nothing_changed_is_never_worse(before: dict[str, SignalReport]) -> None:
    said = result(before, before)
    assert said != "worse"
    if troubled(before):
        assert said == "not_fixed"


@pytest.mark.parametrize("issue", ["errors", "pool"])
def test_a_database_that_dies_meanwhile_is_not_believed_to_answer(tmp_path: Path, issue: str) -> None:
    """The session was open before the act; the symptoms of `errors` ask it nothing besides."""
    server = start_postgres(tmp_path / "postgres")
    service = Service(postgres=PostgresAt(dsn=server.url))
    asking = planned(service, runbooks_of(service, None), (issue,))

    async def looks() -> tuple[SignalReport, SignalReport, SignalReport]:
        async with opened(PostgresAt(dsn=server.url), 20) as session:
            measuring = measure("bot", service, asking, session, instances=1)
            alive = await measuring.now(1)
            await asyncio.to_thread(stop, server)
            first, second = await measuring.now(2), await measuring.now(3)
        return alive["database"], first["database"], second["database"]

    try:
        alive, *dead = asyncio.run(looks())
    finally:
        stop(server)
    assert (alive.value, alive.severity) == (1, OK)
    assert [(look.value, look.severity) for look in dead] == [(0, CRITICAL), (0, CRITICAL)]
