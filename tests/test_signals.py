"""Signals: their PromQL is what Prometheus takes, and mistakes in their forms say what is allowed."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from oncall.model_service import Ratio, SignalSpec
from oncall.signals import ages_promql, share, to_promql, together
from tests.clients.promstand import ask, backfill, running, signal


def text(spec: SignalSpec, selector: dict[str, str] | None = None, window_s: float = 300) -> str:
    return to_promql(spec, selector or {}, window_s).text


# --- to PromQL ---------------------------------------------------------------------------------

ERRORS = {"part": 'h{status=~"5.."}', "whole": "h"}


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({"gauge": "m"}, 'sum(m{job="x"})'),
        ({"gauge": "m", "across": "max"}, 'max(m{job="x"})'),
        ({"gauge": "m{a='b'}"}, 'sum(m{a="b",job="x"})'),
        ({"rate": "r{a!~`\\d+`,}"}, 'sum(rate(r{a!~"\\\\d+",job="x"}[300s]))'),
        (
            {"ratio": ERRORS},
            '(sum(rate(h{status=~"5..",job="x"}[300s])) or 0 * sum(rate(h{job="x",status!=""}[300s])))'
            ' / sum(rate(h{job="x"}[300s]))',
        ),
        (
            {"ratio": {"part": 'h{status!~"2..",path=~"/a.*"}', "whole": 'h{path=~"/a.*"}'}},
            '(sum(rate(h{status!~"2..",path=~"/a.*",job="x",status!=""}[300s]))'
            ' or 0 * sum(rate(h{path=~"/a.*",job="x",status!=""}[300s])))'
            ' / sum(rate(h{path=~"/a.*",job="x"}[300s]))',
        ),
        (
            {"ratio": {"part": "failed", "whole": "asked"}},
            '(sum(rate(failed{job="x"}[300s])) or 0 * sum(rate(asked{job="x"}[300s])))'
            ' / sum(rate(asked{job="x"}[300s]))',
        ),
        (
            {"quantile": 0.95, "of": "lat"},
            'histogram_quantile(0.95, sum by (le) (rate(lat_bucket{job="x"}[300s])))',
        ),
        ({"mean": "lat_sum"}, 'sum(rate(lat_sum{job="x"}[300s])) / sum(rate(lat_count{job="x"}[300s]))'),
        ({"promql": "max(m{$selector}) / $window"}, 'max(m{job="x"}) / 300s'),
    ],
)
def test_forms_to_promql(form: dict[str, Any], wanted: str) -> None:
    assert text(signal(**form), {"job": "x"}) == wanted


@pytest.mark.parametrize(
    ("part", "needs"),
    [
        ('h{status=~"5.."}', ["status"]),
        ('h{status="500"}', ["status"]),
        ('h{status!~"(?i)2..|ok"}', ["status"]),
        ('h{status!="200"}', ["status"]),
        ('h{code=~"5..",endpoint=~"/api.*",code!="501"}', ["code", "endpoint"]),
        # Of RE2 alone: Python refuses it
        ('h{status=~"5\\\\pN+"}', ["status"]),
        # These speak of the empty value themselves
        ('h{error=""}', []),
        ('h{error!=""}', []),
        ('h{error=~".+"}', []),
        ('h{error!~"|none"}', []),
        ('h{cache=~"|miss"}', []),
        ('h{error!="",error!="none"}', []),
        # The whole requires it already, as do the service's own labels
        ('h{job=~"x|y"}', []),
        ("h", []),
    ],
)
def test_a_ratio_needs_the_label_that_tells_its_part(part: str, needs: list[str]) -> None:
    found = share(Ratio(part=part, whole='h{job=~".+"}'))
    assert [str(m) for m in found.needs] == [f'{label}!=""' for label in needs]


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({}, "exactly one of gauge, rate"),
        ({"gauge": "a", "rate": "b"}, "gauge and rate"),
        ({"quantile": 0.9}, "`of` names the histogram"),
        ({"gauge": "a", "of": "b"}, "`of` names the histogram"),
        ({"quantile": 95, "of": "b"}, "from 0 to 1"),
        ({"rate": "a", "across": "max"}, "`across`"),
        ({"gauge": ""}, "metric name"),
        ({"gauge": "1a"}, "metric name"),
        ({"gauge": "rate(a[5m])"}, "promql form"),
        ({"gauge": "a{"}, "label matchers in braces"),
        ({"gauge": "a{b=c}"}, "'b=c' is not a label matcher"),
        ({"gauge": 'a{b="c" d="e"}'}, "is not a label matcher"),
        ({"gauge": 'a{b="\\d"}'}, "no escape \\d"),
        ({"gauge": 'a{__name__="b"}'}, "is not a label name"),
        ({"gauge": 'a{b="c"} or vector(1)'}, "promql form"),
        ({"promql": "a{$service}"}, "allowed are $selector and $window"),
        ({"step": "sessions.waiting"}, "no PromQL"),
    ],
)
def test_mistakes_say_what_is_allowed(form: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        text(signal(**form))


def test_only_series_that_can_be_asked_for_together_tell_the_worth_of_an_expression() -> None:
    spec = signal(promql='max(m{$selector, b = "c"}) + count({__name__=~"a.*"}) + n{x=}')
    assert to_promql(spec, {"job": "x"}, 60).metrics == ('m{job="x",b="c"}',)


@pytest.mark.parametrize("label", ["", "1a", "a-b", 'a="b"', "__name__", "ä"])
def test_a_label_name_of_the_service_that_is_none(label: str) -> None:
    with pytest.raises(ValueError, match="is not a label name"):
        text(signal(gauge="m"), {label: "x"})


# --- what samples are worth ----------------------------------------------------------------------


def test_age_count_and_instances_of_many_signals_in_one_question(tmp_path: Path) -> None:
    now = float(int(time.time()) - 600)
    lines = [
        f'{name}{{instance="{instance}",n="{n}"}} 1 {now - back}'
        for name, instances, every, newest in (("m", "ab", 15, 4), ("old", "a", 60, 130))
        for instance in instances
        for n in (1, 2)
        for back in range(1200 + newest, newest - 1, -every)
    ]
    backfill(tmp_path, lines)
    items = {"one": ("m",), "both": ("m", 'old{n="1"}'), "none": ("nothing",), "$1": ("m",)}

    async def work() -> dict[tuple[str, str], float]:
        async with running(tmp_path) as (client, _):
            found = await ask(client, ages_promql(items, 600, 300), now)
            assert await ask(client, ages_promql({}, 600, 300), now) == ()
            assert await ask(client, together({}), now) == ()
        return {(s.labels["signal"], s.labels["what"]): s.value for s in found}

    found = asyncio.run(work())
    one = {"age": 4, "count": 40, "instances": 2}
    assert {what: found.pop(("$1", what)) for what in one} == one
    assert {what: found.pop(("one", what)) for what in one} == one
    both = {"age": 130, "count": 40, "instances": 2}
    assert {what: found.pop(("both", what)) for what in both} == both
    assert found == {}
