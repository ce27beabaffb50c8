"""Two scrapes tell the same of a signal as Prometheus does."""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.clients.scrape import Samples, Scrape, scrape
from oncall.clients.scrape_signals import bucket_quantile, from_scrapes, scrape_names
from oncall.model import Absence, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.signals import to_promql, together
from tests.clients.promstand import ask, backfill, major_version, running, signal
from tests.clients.webstand import Asked, Stand, reply

WINDOW_S = 10.0
BOUNDS = ("0.005", "0.1", "1", "2.5", "+Inf")

# --- a real Prometheus as the judge ----------------------------------------------------------------


class Made(msgspec.Struct, frozen=True):
    """One series at two moments; None where the page does not have it."""

    name: str
    labels: dict[str, str]
    first: float | None
    second: float | None

    def line(self, value: float, **more: str) -> str:
        labels = ",".join(f'{k}="{_escaped(v)}"' for k, v in {**self.labels, **more}.items())
        return f"{self.name}{{{labels}}} {value!r}".replace("nan", "NaN").replace("inf", "Inf")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


ENDPOINTS = ("/", "/api/é", 'a"b\\c', "two\nlines", "{x}", "# no, comment", "")
STATUSES = ("200", "404", "429", "500", "503", "5000", "+5")
MATCHERS = ("", 'status=~"5.."', 'status!~"5..|4.."', 'status="200"', 'status!="200"', 'status=~""', 'status=~".+"',
            'endpoint=~"/.*",status=~"[245].*"', 'nowhere=""', 'nowhere="x"', 'endpoint="a\\"b\\\\c"',
            'endpoint=~"two\\nlines|/api/é"', 'status=~"(?i)5\\\\d{2}"')  # fmt: skip


def grown(r: random.Random, before: float, most: float) -> float:
    """The counter later: the same, more, or less because the process was restarted."""
    return before + r.randint(0, int(most)) if r.random() < 0.8 else float(r.randint(0, int(before)))


def counters(r: random.Random) -> Iterator[Made]:
    for endpoint, status in r.sample(list(itertools.product(ENDPOINTS, STATUSES)), r.randint(0, 8)):
        # One status stands for none: the label is absent then
        labels = {"endpoint": endpoint} | ({"status": status} if status != "5000" else {})
        first = r.choice([None, 0.0, float(r.randint(0, 1000)), float(r.randint(0, 10**12))])
        second = None if r.random() < 0.1 else grown(r, first or 0.0, 500)
        yield Made("h_total", labels, first, second)


def histograms(r: random.Random) -> Iterator[Made]:
    bounds = BOUNDS if r.random() < 0.9 else BOUNDS[: r.randint(1, 4)]
    for endpoint in r.sample(ENDPOINTS, r.randint(0, 3)):
        before, after = (cumulative(r, len(bounds)) for _ in range(2))
        if r.random() < 0.8:
            after = [a + b for a, b in zip(before, after, strict=True)]
        labels = {"endpoint": endpoint}
        for bound, first, second in zip(bounds, before, after, strict=True):
            yield Made("lat_bucket", {**labels, "le": bound}, first, second)
        yield Made("lat_count", labels, before[-1], after[-1])
        yield Made("lat_sum", labels, r.uniform(0, 99), r.uniform(0, 999))


def cumulative(r: random.Random, count: int) -> list[float]:
    return [float(n) for n in itertools.accumulate(r.choice([0, 0, 1, 7, 100]) for _ in range(count))]


def gauges(r: random.Random) -> Iterator[Made]:
    odd = [math.nan, math.inf, -math.inf, 0.0]
    for endpoint in r.sample(ENDPOINTS, r.randint(0, 3)):
        value = r.choice(odd) if r.random() < 0.2 else r.uniform(-1000, 1000)
        yield Made("g", {"endpoint": endpoint}, value, value)


def specs(r: random.Random) -> dict[str, SignalSpec]:
    def matched(name: str) -> str:
        matchers = r.choice(MATCHERS)
        return f"{name}{{{matchers}}}" if matchers else name

    return {
        "rate": signal(rate=matched("h_total")),
        "ratio": signal(ratio={"part": matched("h_total"), "whole": matched("h_total")}),
        "errors": signal(ratio={"part": 'h_total{status=~"5.."}', "whole": "h_total"}),
        "mean": signal(mean="lat"),
        **{f"p{n}": signal(quantile=q, of="lat") for n, q in enumerate((0, r.random(), 0.5, 0.95, 0.999))},
        **{how: signal(gauge="g", across=how) for how in ("sum", "avg", "min", "max")},
    }


def samples_of(series: Sequence[Made], case: int, first_at: float, second_at: float) -> Iterator[str]:
    for made in series:
        # Born between the scrapes, it was 0 before: Prometheus must be told
        first = 0.0 if made.first is None else made.first
        yield f"{made.line(first, case=str(case))} {first_at:.3f}"
        if made.second is not None:
            yield f"{made.line(made.second, case=str(case))} {second_at:.3f}"


def page(series: Sequence[Made], nth: int) -> str:
    values = [(made, (made.first, made.second)[nth]) for made in series]
    lines = [made.line(value) for made, value in values if value is not None]
    return "\n".join(["# TYPE other gauge", "other 1", *lines, ""])


def agrees(spec: SignalSpec, pages: tuple[Scrape, Scrape], theirs: float | None, tolerance: float) -> bool:
    ours = from_scrapes(spec, *pages)
    if isinstance(ours, Unavailable) or theirs is None:
        return isinstance(ours, Unavailable) and ours.kind is Absence.NO_DATA and theirs is None
    if math.isnan(ours) or math.isnan(theirs):
        return math.isnan(ours) and math.isnan(theirs)
    if spec.quantile is None:
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=1e-9)
    # Where a rank falls on the edge of empty buckets, its last bit decides between their two ends
    near = [q for q in (spec.quantile - tolerance, spec.quantile + tolerance) if 0 <= q <= 1]
    edges = [from_scrapes(signal(quantile=q, of=spec.of), *pages) for q in near]
    finite = [e for e in (ours, *edges) if not isinstance(e, Unavailable) and not math.isnan(e)]
    return min(finite) * (1 - tolerance) - 1e-12 <= theirs <= max(finite) * (1 + tolerance) + 1e-12


async def disagreements(folder: Path, r: random.Random, count: int) -> list[str]:
    cases = [(specs(r), [*counters(r), *histograms(r), *gauges(r)]) for _ in range(count)]
    end = float(int(time.time()) - 3600)

    def serve(asked: Asked) -> bytes:
        case, nth = asked.path.split("/")[1:3]
        return reply(page(cases[int(case)][1], int(nth)), Content_Type="text/plain; version=0.0.4")

    # The range of 2.x holds both its ends: exact. That of 3.x lacks its beginning: a millisecond inside
    late, tolerance = (0.0, 1e-9) if major_version() == 2 else (0.001, 3e-4)
    begin = end - WINDOW_S + late
    lines = [line for n, (_, series) in enumerate(cases) for line in samples_of(series, n, begin, end)]
    found: list[str] = []
    backfill(folder, lines)
    async with Stand(serve) as stand, running(folder) as (client, _):
        for n, (wanted, series) in enumerate(cases):
            names = frozenset(name for spec in wanted.values() for name in scrape_names(spec))
            got = [await scrape(Service(url=f"{stand.url}/{n}/{nth}"), names, 30) for nth in (0, 1)]
            assert isinstance(got[0], Scrape)
            assert isinstance(got[1], Scrape)
            pages = (moved(got[0], begin), moved(got[1], end))
            texts = {name: to_promql(spec, {"case": str(n)}, WINDOW_S).text for name, spec in wanted.items()}
            theirs = {s.labels["signal"]: s.value for s in await ask(client, together(texts), end)}
            found += [
                f"{name} {texts[name]}: {from_scrapes(spec, *pages)}, Prometheus {theirs.get(name)}, of {series}"
                for name, spec in wanted.items()
                if not agrees(spec, pages, theirs.get(name), tolerance)
            ]
    return found


def moved(page: Scrape, at: float) -> Scrape:
    return msgspec.structs.replace(page, at=at, monotonic=at)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_two_scrapes_tell_the_same_as_prometheus(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Tolerance: one in 10^9 for Prometheus 2, three in 10^4 for 3, whose range lacks its beginning."""
    folder = tmp_path_factory.mktemp("agree")
    assert asyncio.run(disagreements(folder, random.Random(seed), 50)) == []


# --- what needs no judge -----------------------------------------------------------------------

FAILING = 'h{status=~"5.."}'
NOT_WELL = 'h{status!~"(?i)2..|ok"}'


def scraped(at: float = 0.0, started: float | None = None, **values: float) -> Scrape:
    samples: Samples = {name: (({}, value),) for name, value in values.items()}
    if started is not None:
        samples = {**samples, "process_start_time_seconds": (({}, started),)}
    return Scrape(at=at, monotonic=at, samples=samples)


def absent(got: float | Unavailable) -> Unavailable:
    assert isinstance(got, Unavailable)
    return got


def test_what_is_missing_is_named() -> None:
    empty = scraped(2)
    assert "has no g{a=" in absent(from_scrapes(signal(gauge='g{a="b"}'), None, empty)).reason
    assert "has no r" in absent(from_scrapes(signal(rate="r"), scraped(r=1), empty)).reason
    assert (
        "has no lat_bucket" in absent(from_scrapes(signal(quantile=0.5, of="lat"), scraped(), empty)).reason
    )
    assert (
        "has no lat_count"
        in absent(from_scrapes(signal(mean="lat"), scraped(), scraped(2, lat_sum=1))).reason
    )
    assert (
        "has no h"
        in absent(from_scrapes(signal(ratio={"part": FAILING, "whole": "h"}), scraped(), empty)).reason
    )


@pytest.mark.parametrize(
    ("part", "series", "wanted"),
    [
        (FAILING, [{"status": "200"}], 0.0),
        (FAILING, [{"status": "200"}, {"status": "500"}], 0.5),
        (FAILING, [{"code": "200"}, {"code": "500"}], "has no h with a label status"),
        (FAILING, [{}], "has no h with a label status"),
        (NOT_WELL, [{"status": "OK"}], 0.0),
        (NOT_WELL, [{"status": "Failed"}], 1.0),
        (NOT_WELL, [{"result": "success"}], "has no h with a label status"),
        # Of some that have the label and some that have not, those fail that say so
        (NOT_WELL, [{"status": "ok"}, {"result": "success"}], 0.0),
        ('h{cache=~"|miss"}', [{}], 1.0),
        ('h{error!=""}', [{}], 0.0),
    ],
)
def test_no_failure_is_not_no_label(
    tmp_path: Path, part: str, series: list[dict[str, str]], wanted: float | str
) -> None:
    """A label of another name was 0 % of failures, or 100 %. From two scrapes and from Prometheus."""
    spec, end = signal(ratio={"part": part, "whole": "h"}), time.time() - 600
    pages = tuple(
        Scrape(at=at, monotonic=at, samples={"h": tuple((labels, value) for labels in series)})
        for at, value in ((0.0, 10.0), (10.0, 20.0))
    )
    got = from_scrapes(spec, *pages)
    query = to_promql(spec, {"job": "x"}, 300)

    async def asked() -> list[float]:
        lines = ["# TYPE h unknown"]
        for labels in series:
            shown = ",".join(f'{k}="{v}"' for k, v in {**labels, "job": "x"}.items())
            lines += [f"h{{{shown}}} {n} {end - 300 + 15 * n:.0f}" for n in range(21)]
        backfill(tmp_path, lines)
        async with running(tmp_path) as (client, _):
            return [s.value for s in await ask(client, query.text, end)]

    theirs = asyncio.run(asked())
    if isinstance(wanted, float):
        assert [got, *theirs] == pytest.approx([wanted, wanted])
    else:
        why = absent(got)
        assert (why.kind, theirs) == (Absence.NO_DATA, [])
        assert wanted in why.reason
        assert why.hint is not None
        assert "signals: {NAME: {ratio: {part: 'h{LABEL" in why.hint
        assert query.no_data().reason == 'no data for h{job="x"} with a label status'
        assert query.no_data().hint == why.hint


def test_a_rate_needs_two_scrapes_and_a_gauge_one() -> None:
    assert from_scrapes(signal(gauge="g"), None, scraped(g=3)) == 3
    for first in (None, scraped(5, r=1)):
        assert absent(from_scrapes(signal(rate="r"), first, scraped(5, r=2))).kind is Absence.NO_DATA


def test_of_a_series_that_is_there_twice_the_first_counts() -> None:
    twice = Scrape(
        at=0, monotonic=0, samples={"g": (({"a": "b"}, 1.0), ({"a": "c"}, 4.0), ({"a": "b"}, 9.0))}
    )
    assert from_scrapes(signal(gauge="g"), None, twice) == 5


def test_what_only_prometheus_can_tell() -> None:
    got = absent(from_scrapes(signal(promql="up"), scraped(), scraped(2)))
    assert (got.kind, "Prometheus only" in got.reason) == (Absence.NOT_APPLICABLE, True)


def test_a_broken_regex_is_named() -> None:
    got = absent(from_scrapes(signal(gauge='g{a=~"("}'), None, scraped(g=1)))
    assert got.kind is Absence.BAD_QUERY


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [(10.0, 10.0, 2.5), (10.0, 999.5, 0.5), (10.0, 300.0, None), (500.0, 10.0, None), (None, 10.0, 2.5)],
)
def test_a_restart_is_a_reset_but_another_worker_is_not(
    before: float | None, after: float, wanted: float | None
) -> None:
    first, second = scraped(1000, before, r=10), scraped(1002, after, r=1 if after == 999.5 else 15)
    got = from_scrapes(signal(rate="r"), first, second)
    assert got == wanted or (wanted is None and "different processes" in absent(got).reason)


counts = st.lists(st.integers(0, 50), min_size=2, max_size=6)


@given(counts, st.floats(0, 1), st.floats(0, 1))
def test_a_quantile_grows_with_its_share_and_stays_within_the_bounds(
    grow: list[int], a: float, b: float
) -> None:
    bounds = [*map(float, range(1, len(grow))), math.inf]
    buckets = dict(zip(bounds, itertools.accumulate(grow), strict=True))
    low, high = (bucket_quantile(q, buckets) for q in sorted((a, b)))
    if not sum(grow):
        assert math.isnan(low)
        assert math.isnan(high)
    elif not math.isnan(low):
        assert 0 <= low <= high <= bounds[-2]


@pytest.mark.parametrize(
    ("q", "buckets", "wanted"),
    [
        (0.5, {1.0: 10.0, math.inf: 10.0}, 0.5),
        (1.0, {1.0: 5.0, 2.0: 10.0, math.inf: 10.0}, 2.0),
        (0.99, {1.0: 5.0, 2.0: 6.0, math.inf: 10.0}, 2.0),
        (0.5, {-1.0: 10.0, 2.0: 10.0, math.inf: 10.0}, -1.0),
        (0.75, {1.0: 5.0, 2.0: 4.0, 3.0: 10.0, math.inf: 10.0}, 2.5),
        (0.5, {1.0: 10.0, 2.0: 10.0}, math.nan),
        (0.5, {math.inf: 10.0}, math.nan),
        (0.5, {}, math.nan),
    ],
)
def test_quantiles_by_hand(q: float, buckets: Mapping[float, float], wanted: float) -> None:
    assert bucket_quantile(q, buckets) == pytest.approx(wanted, nan_ok=True)
