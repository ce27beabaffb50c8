"""Whether it helped, of what is counted: not known before so much has come that the old trouble would have shown."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from oncall.diagnosis.plan import Plan
from oncall.diagnosis.run import planned
from oncall.lab.servers import start_prometheus, stop
from oncall.model import Severity, SignalReport
from oncall.model_acts import Helped, Verification
from oncall.model_service import PrometheusAt, Ratio, RestartBy, Service, SignalSpec
from oncall.remediation import measuring, verify
from oncall.remediation.actions.restart import Restart
from oncall.remediation.enough import BAD_EVENTS, events_of, expected
from oncall.remediation.measuring import Counted, Measure, measure
from oncall.runbook.loader import runbooks_of
from tests.clients.promstand import KEEP, backfill
from tests.clients.webstand import Asked, Stand, reply
from tests.remediation.restartstand import plan
from tests.remediation.test_verify import seen, symptom

OK, CRITICAL, UNKNOWN = Severity.OK, Severity.CRITICAL, Severity.UNKNOWN
A_LOOK = 3
"""Pages that one look asks for, and requests of the service between two of them."""


class Traffic:
    """A page whose counters go on by one request each time it is asked for; `fails` says which of them fail, with
    which status."""

    def __init__(self, fails: Callable[[int], bool], status: int = 500) -> None:
        self.requests, self.failures, self._fails, self._status = 0, 0, fails, status

    def __call__(self, asked: Asked) -> bytes:
        if asked.path != "/metrics":
            return reply('{"status": "healthy"}')
        self.requests += 1
        self.failures += self._fails(self.requests)
        lines = [
            f'http_requests_total{{status="200"}} {self.requests - self.failures}',
            f'http_requests_total{{status="{self._status}"}} {self.failures}',
            "",
        ]
        return reply("\n".join(lines), Content_Type="text/plain; version=0.0.4")


def before(ratio: float) -> dict[str, SignalReport]:
    return {"error_ratio": symptom("error_ratio", ratio, 0.01, 0.05)}


def measured(traffic: Traffic, looks: int, ratio: float = 0.1) -> list[tuple[Severity, str]]:
    """The error ratio as some looks find it, a second apart as they are told."""

    async def run() -> list[tuple[Severity, str]]:
        async with Stand(traffic) as web:
            service = Service(url=web.url)
            asking: Plan = planned(service, runbooks_of(service, None), ("errors",))
            measuring_ = measure("bot", service, asking, None, instances=1, before=before(ratio))
            found = [(await measuring_.now(n))["error_ratio"] for n in range(1, looks + 1)]
            return [(report.severity, report.reason or "") for report in found]

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "INTERVAL_S", 0.01)


def test_a_tenth_that_goes_on_failing_is_never_called_well() -> None:
    """One of ten requests, and between two of them 27 that do not: enough for many clean looks in a row."""
    found = measured(Traffic(lambda n: n % 30 < 3), 60)
    assert OK not in {severity for severity, _ in found}
    assert found[-1][0] is CRITICAL


def test_a_tenth_that_is_mended_is_well_after_fifty_requests_and_not_before() -> None:
    found = [severity for severity, _ in measured(Traffic(lambda n: False), 25)]
    first = found.index(OK)
    assert set(found[:first]) == {UNKNOWN}
    assert set(found[first:]) == {OK}
    # The page that it counts from is the last of the first look.
    assert (first - 1) * A_LOOK < BAD_EVENTS / 0.1 <= first * A_LOOK


def test_where_all_failed_a_few_that_do_not_are_proof() -> None:
    found = [severity for severity, _ in measured(Traffic(lambda n: False), 4, ratio=1.0)]
    assert found == [UNKNOWN, UNKNOWN, OK, OK]


def test_the_wake_of_the_act_does_not_count_for_ever() -> None:
    """What had queued up fails at once; sixty of six hundred would be a tenth for minutes."""
    found = [severity for severity, _ in measured(Traffic(lambda n: n <= 60), 90)]
    assert CRITICAL in found
    assert found[-1] is OK


def test_two_pages_before_the_act_prove_no_more_than_that_the_bound_was_crossed() -> None:
    """The one request of two seconds failed: that is no 100 % which five requests would show."""
    service = Service(url="http://127.0.0.1:1")
    asking = planned(service, runbooks_of(service, None), ("errors",))
    one = replace(before(1.0)["error_ratio"], source="scrape")

    def bad(found: SignalReport) -> dict[str, Counted]:
        return dict(measure("bot", service, asking, None, instances=1, before={"error_ratio": found}).bad)

    assert bad(one) == {"error_ratio": Counted("error_ratio", 0.05)}
    assert bad(before(1.0)["error_ratio"]) == {"error_ratio": Counted("error_ratio", 1.0)}


@pytest.mark.parametrize(("name", "status"), [("bad_requests_added", 422), ("rate_limited_added", 429)])
@pytest.mark.parametrize(("every", "last"), [(2, CRITICAL), (0, OK)])
def test_a_formula_waits_for_what_it_compares(name: str, status: int, every: int, last: Severity) -> None:
    """It is 0 as long as fewer than five were refused: that is no proof that none will be."""
    traffic = Traffic(lambda n: every > 0 and n % every == 0, status)
    was = {name: symptom(name, 0.45, 0.02, 0.2)}

    async def run() -> list[Severity]:
        async with Stand(traffic) as web:
            service = Service(url=web.url)
            asking = planned(service, runbooks_of(service, None), ("errors",))
            look = measure("bot", service, asking, None, instances=1, before=was)
            return [(await look.now(n))[name].severity for n in range(1, 12)]

    found = asyncio.run(run())
    first = found.index(last)
    assert set(found[:first]) == {UNKNOWN}
    assert set(found[first:]) == {last}
    assert first * A_LOOK >= BAD_EVENTS / 0.45


@pytest.mark.parametrize(("fails", "expected"), [(0.5, CRITICAL), (0.0, OK), (None, UNKNOWN)])
def test_an_expression_that_no_page_can_tell_is_asked_of_prometheus(
    tmp_path: Path, fails: float | None, expected: Severity
) -> None:
    """A page's "this needs Prometheus" is no word of a formula that it does not apply. None: Prometheus is down."""
    now = int(time.time())
    lines = ["# TYPE errors_share gauge"]
    lines += [f'errors_share{{job="bot"}} {fails or 0} {at}' for at in range(now - 900, now + 1, 15)]
    backfill(tmp_path, lines)
    server = start_prometheus(tmp_path, {}, keep=KEEP)

    async def run() -> SignalReport:
        async with Stand(Traffic(lambda n: n % 2 == 0)) as web:
            url = server.url if fails is not None else "http://127.0.0.1:1"
            own = SignalSpec(promql='max(errors_share{job="bot"})')
            service = Service(url=web.url, prometheus=PrometheusAt(url=url), signals={"error_ratio": own})
            asking = planned(service, runbooks_of(service, None), ("errors",))
            look = measure("bot", service, asking, None, instances=1, before=before(0.5))
            return (await look.now(10))["error_ratio"]

    try:
        assert asyncio.run(run()).severity is expected
    finally:
        stop(server)


def test_a_symptom_that_has_no_value_any_more_is_not_well_and_no_bug() -> None:
    """The fullest pool is told only where there are several, and is left out of a report without."""

    async def run() -> dict[str, SignalReport]:
        async with Stand(Traffic(lambda n: False)) as web:
            service = Service(url=web.url, prometheus=PrometheusAt(url="http://127.0.0.1:1"))
            asking = planned(service, runbooks_of(service, None), ("pool",))
            was = {"pool_fullest": symptom("pool_fullest", 0.95, 0.5, 0.8)}
            return await measure("bot", service, asking, None, instances=1, before=was).now(10)

    found = asyncio.run(run())
    assert "pool_fullest" not in found
    was = {"pool_fullest": symptom("pool_fullest", 0.95, 0.5, 0.8)}
    assert verify.verdict(was, found, 20.0, (), healthy=False)[0] == "unknown"


def test_too_few_is_said() -> None:
    (_, (severity, reason)) = measured(Traffic(lambda n: False), 2)
    assert severity is UNKNOWN
    said = "as before, 0.3 bad events would have come by now, and it takes 5; a longer --wait would"
    assert reason == f"too early to tell: {said}"
    now = {"error_ratio": symptom("error_ratio", None)}
    word, text = verify.verdict(before(0.1), now, 20.0, (), healthy=False)
    assert (word, text) == ("unknown", "Error_Ratio is not known after 20 s: not read")


@pytest.mark.parametrize(
    ("spec", "old", "events", "seconds", "bad"),
    [
        (SignalSpec(ratio=Ratio(part="a", whole="b")), 0.1, 50, 9, 5),
        (SignalSpec(ratio=Ratio(part="a", whole="b"), below=True), 0.9, 50, 9, 5),
        (SignalSpec(quantile=0.95, of="h"), 8.0, 100, 9, 5),
        (SignalSpec(quantile=0.05, of="h", below=True), 8.0, 100, 9, 5),
        (SignalSpec(mean="h"), 8.0, 5, 9, 5),
        (SignalSpec(rate="e"), 0.5, 0, 10, 5),
    ],
)
def test_how_many_bad_events_there_would_be(
    spec: SignalSpec, old: float, events: float, seconds: float, bad: float
) -> None:
    assert expected(spec, old, events, seconds) == pytest.approx(bad)


@pytest.mark.parametrize("name", ["h", "h_sum", "h_bucket", "h_count"])
def test_what_a_histogram_counts(name: str) -> None:
    of = f'{name}{{job="x"}}'
    found = [events_of(spec) for spec in (SignalSpec(quantile=0.9, of=of), SignalSpec(mean=of))]
    assert [spec and spec.rate for spec in found] == ['h_bucket{job="x",le="+Inf"}', 'h_count{job="x"}']
    assert events_of(SignalSpec(gauge="g")) is None


def test_of_several_instances_prometheus_is_asked_over_the_time_since_the_act(tmp_path: Path) -> None:
    """Two of them, ten requests a second each of which a tenth fails, before and after."""
    now, step = int(time.time()) // 15 * 15, 15
    lines = ["# TYPE http_requests counter"]
    for instance in ("a", "b"):
        for status, per_s in (("200", 9), ("500", 1)):
            labels = f'status="{status}",instance="{instance}",job="bot"'
            lines += [
                f"http_requests_total{{{labels}}} {(at + 7200) * per_s} {now + at}"
                for at in range(-600, 900, step)
            ]
    backfill(tmp_path, lines)
    server = start_prometheus(tmp_path, {}, keep=KEEP)
    try:
        service = Service(prometheus=PrometheusAt(url=server.url, selector={"job": "bot"}))
        asking = planned(service, runbooks_of(service, None), ("errors",))
        looking = measure("bot", service, asking, None, instances=2, before=before(0.1))
        rare = measure("bot", service, asking, None, instances=2, before=before(0.011))
        found = asyncio.run(looking.now(60))["error_ratio"]
        early = asyncio.run(rare.now(30))["error_ratio"]
    finally:
        stop(server)
    assert found.severity is CRITICAL
    assert found.value == pytest.approx(0.1)
    assert early.severity is UNKNOWN
    assert "too early to tell" in (early.reason or "")


# --- a gauge that flickers ---------------------------------------------------------------------------


class Looks:
    """Looks, one after the other; the last one for ever."""

    def __init__(self, *values: float) -> None:
        self._values = list(values)

    async def now(self, since_s: float) -> dict[str, SignalReport]:
        return seen(pool=self._values.pop(0) if len(self._values) > 1 else self._values[0])


def verified(
    looks: Looks, wait_s: float, unproven: str | None = None, **values: float | None
) -> Verification:
    async def run() -> Verification:
        checking = asyncio.create_task(asyncio.sleep(0, ()))
        told = cast("Measure", looks)
        return await verify.verify(told, seen(**values), checking, wait_s, lambda *_: None, unproven)

    return asyncio.run(run())


def test_a_gauge_that_flickers_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two good looks out of three, the next ones a fifth of a second later."""
    monkeypatch.setattr(verify, "STEADY_S", 1.0)
    assert verified(Looks(*[19, 4, 4] * 9), 3, pool=19).result != "fixed"
    steady = verified(Looks(19, 4), 10, pool=19)
    assert steady.result == "fixed"
    assert steady.waited_s >= 1


# --- a restart of which nothing proves that it took place ----------------------------------------------


@pytest.mark.parametrize(
    ("before_", "word"), [(19.0, "fixed"), (4.0, "unknown"), (None, "unknown")], ids=["bad", "well", "unread"]
)
def test_only_symptoms_prove_what_no_check_can_tell(
    monkeypatch: pytest.MonkeyPatch, before_: float | None, word: Helped
) -> None:
    monkeypatch.setattr(verify, "STEADY_S", 0.2)
    done = verified(Looks(4), 5, "whether it ran is not known", pool=before_)
    assert done.result == word
    assert done.text.endswith("; whether it ran is not known")


def test_a_restart_by_command_admits_that_nobody_can_tell_the_processes_apart() -> None:
    async def run() -> tuple[str | None, str | None]:
        async with Stand(Traffic(lambda n: False)) as web:
            by = RestartBy(command=("true",))
            here = await asyncio.to_thread(plan, Restart(), Service(restart=by, url=web.url))
            down = await asyncio.to_thread(plan, Restart(), Service(restart=by, url="http://127.0.0.1:1"))
            return here.unproven, down.unproven

    said, down = asyncio.run(run())
    assert (
        said == "whether the process was replaced is not known: /metrics does not say when one process began"
    )
    assert down is None
