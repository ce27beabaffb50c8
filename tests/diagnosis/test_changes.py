"""Series made comparable and judged: pure, without a server."""

import math
from array import array
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.clients.prometheus import Packed
from oncall.diagnosis.compared import Judged, Span, common, first_of, judge, notes, rank, untellable
from oncall.diagnosis.series import Row, Times, rows, sort_of
from oncall.model import Absence

NAN = math.nan
TIMES = Times(start=0.0, step=15.0, lead=4)
POINTS = 4 + 200
SPAN = Span(60.0, 15.0, 200, window_s=300.0, interval_s=15.0, rate_s=60.0)


def series(name: str, values: Sequence[float], **labels: str) -> Packed:
    return Packed(
        labels={"__name__": name, "job": "bot", "instance": "a", **labels}, values=array("d", values)
    )


def one(name: str, values: Sequence[float], types: Mapping[str, str] | None = None) -> Row:
    found = rows([series(name, values)], types or {}, TIMES)
    assert len(found) == 1
    return found[0]


def judged(row: Row, span: Span = SPAN) -> Judged:
    found = judge(row, span)
    assert found is not None
    return found


# --- what a metric is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "types", "sort"),
    [
        ("http_requests_total", {}, "counter"),
        ("http_requests_total", {"http_requests": "counter"}, "counter"),
        ("disk_blocks_total", {"disk_blocks_total": "gauge"}, "gauge"),
        ("requests", {"requests": "counter"}, "counter"),
        ("request_seconds_sum", {}, "sum"),
        ("request_seconds_count", {"request_seconds": "histogram"}, "count"),
        ("items_count", {"items_count": "gauge"}, "gauge"),
        ("request_seconds_bucket", {}, "skip"),
        ("request_seconds_created", {}, "skip"),
        ("pool_active", {}, "gauge"),
    ],
)
def test_what_a_metric_is(name: str, types: Mapping[str, str], sort: str) -> None:
    assert sort_of(name, types) == sort


# --- forms ---------------------------------------------------------------------------------------


def test_a_counter_becomes_a_rate_and_a_restart_takes_nothing_away() -> None:
    counted = [10.0 * i for i in range(100)] + [10.0 * i for i in range(1, POINTS - 99)]
    row = one("jobs_total", counted)
    assert (row.metric, row.unit, row.events) == ("jobs_total", "per_second", True)
    assert row.values == pytest.approx([10 / 15] * 200)


def test_a_counter_that_appears_counted_nothing_before() -> None:
    late = [NAN] * 150 + [3.0 * i for i in range(1, POINTS - 149)]
    old = series("up", [1.0] * POINTS)
    found = rows([series("errors_total", late), old], {}, TIMES)[0]
    assert found.since_zero
    assert list(found.values[:140]) == [0.0] * 140
    assert found.values[-1] == pytest.approx(3 / 15)
    # A process that was not there before has no before
    alone = rows([series("errors_total", late)], {}, TIMES)[0]
    assert not alone.since_zero
    assert all(map(math.isnan, alone.values[:140]))


def test_a_histogram_is_a_mean_and_a_rate() -> None:
    found = rows(
        [
            series("request_seconds_sum", [0.5 * 10 * i for i in range(POINTS)]),
            series("request_seconds_count", [10.0 * i for i in range(POINTS)]),
            series("request_seconds_bucket", [10.0 * i for i in range(POINTS)], le="+Inf"),
        ],
        {},
        TIMES,
    )
    by_name = {row.metric: row for row in found}
    assert set(by_name) == {"mean(request_seconds)", "rate(request_seconds_count)"}
    assert by_name["mean(request_seconds)"].unit == "seconds"
    assert by_name["mean(request_seconds)"].values == pytest.approx([0.5] * 200)


def test_a_mean_of_nothing_is_undefined() -> None:
    still = [7.0] * POINTS
    found = rows([series("q_seconds_sum", still), series("q_seconds_count", still)], {}, TIMES)
    assert judge(found[1], SPAN) is None


def test_a_start_time_is_an_age() -> None:
    began = [1.7e9] * 180 + [1.7e9 + 2700.0] * (POINTS - 180)
    times = Times(start=1.7e9, step=15.0, lead=4)
    row = rows([series("process_start_time_seconds", began)], {}, times)[0]
    assert row.metric == "age(process_start_time_seconds)"
    assert row.values[0] == 60
    assert row.values[-1] == (POINTS - 1) * 15 - 2700


# --- judged ----------------------------------------------------------------------------------------


def step(before: float, after: float, points: int = 12) -> list[float]:
    return [before] * (POINTS - points) + [after] * points


def test_a_step_has_its_size_and_its_onset() -> None:
    found = judged(one("pool_active", step(4, 18)))
    assert (found.before, found.now, found.clear, found.up, found.weak) == (4, 18, True, True, False)
    assert found.shift == 14
    assert found.onset == (POINTS - 12) * 15


def test_nothing_changes_in_a_constant() -> None:
    found = judged(one("pool_size", [20.0] * POINTS))
    assert (found.shift, found.clear, found.onset) == (0.0, False, None)


def test_an_on_off_that_is_off_now_is_clear() -> None:
    assert judged(one("leader", step(1, 0))).clear
    assert not judged(one("things", step(2, 1))).clear


def test_few_events_more_are_chance() -> None:
    counted = [float(i // 8) for i in range(POINTS)]
    assert not judged(one("errors_total", [*counted[:-8], *(counted[-9] + i / 4 for i in range(8))])).clear
    clear = [*([0.0] * (POINTS - 16)), *(float(4 * i) for i in range(16))]
    assert judged(one("errors_total", clear)).clear


def test_what_appears_and_what_ends() -> None:
    new = judged(one("queue_depth", [*[NAN] * 190, *[5.0] * 14]))
    assert (new.before, new.now, new.shift, new.new, new.clear, new.up) == (None, 5, None, True, True, True)
    assert new.onset == 190 * 15
    gone = judged(one("queue_depth", [*[5.0] * 190, *[NAN] * 14]))
    assert (gone.before, gone.now, gone.shift, gone.clear, gone.up) == (5, None, None, True, False)
    assert gone.onset == 190 * 15
    assert judge(one("queue_depth", [NAN] * POINTS), SPAN) is None


def test_infinity_is_no_number() -> None:
    found = judged(one("share", [*[1.5] * 100, math.inf, *[1.5] * 91, *[9.0] * 12]))
    assert (found.before, found.now) == (1.5, 9.0)


def test_a_short_baseline_is_weak() -> None:
    values = [*[NAN] * 150, *[4.0] * 42, *[18.0] * 12]
    assert judged(one("pool_active", values)).weak


def test_the_order() -> None:
    small, large = judged(one("a", step(4, 8))), judged(one("b", step(4, 40)))
    new, still = judged(one("c", [*[NAN] * 190, *[5.0] * 14])), judged(one("d", [3.0] * POINTS))
    assert sorted([still, new, small, large], key=rank) == [large, small, new, still]
    early = judged(one("e", step(4, 9, 40)))
    assert first_of([large, small, early, still]) is early
    assert first_of([still]) is None


def test_labels_that_all_share() -> None:
    found = rows([series("a", [1.0] * POINTS, part="x"), series("b", [1.0] * POINTS, part="y")], {}, TIMES)
    assert common(found) == {"instance": "a", "job": "bot"}
    assert common([]) == {}


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ([*[5.0] * 150, *[NAN] * 54], Absence.STALE, "the newest samples are"),
        ([*[NAN] * 195, *[5.0] * 9], Absence.NO_DATA, "no baseline: the history begins at 00:48:45 UTC"),
        ([NAN] * POINTS, Absence.NO_DATA, "no data in this time"),
    ],
)
def test_what_cannot_be_told(values: list[float], kind: Absence, says: str) -> None:
    why = untellable([one("a", values)], SPAN)
    assert why is not None
    assert why.kind is kind
    assert says in why.reason


def test_a_history_that_begins_late_is_told() -> None:
    found = [one("a", [*[NAN] * 150, *[5.0] * 54])]
    assert untellable(found, SPAN) is None
    first, second = notes(found, SPAN)
    assert first.startswith("the history begins at 00:37:30 UTC: 8 min 30 s of the 45 min")
    assert second.startswith("fewer than 60 samples")
    assert not list(notes([one("a", [5.0] * POINTS)], SPAN))


LEVELS = st.lists(st.one_of(st.floats(), st.just(NAN), st.integers(0, 50)), min_size=12, max_size=12)


@settings(deadline=None, max_examples=30)
@given(LEVELS, st.sampled_from(["a_total", "a_seconds", "a", "a_sum", "process_start_time_seconds"]))
def test_anything_can_be_judged(levels: list[float], name: str) -> None:
    values = [v for v in levels for _ in range(POINTS // 12)]
    for row in rows([series(name, values)], {}, TIMES):
        found = judge(row, SPAN)
        assert len(row.values) == 200
        assert found is None or found.shift is None or not math.isnan(found.shift)
