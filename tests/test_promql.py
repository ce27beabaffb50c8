"""Selectors, quoting and placeholders; a real Prometheus says what a string literal means."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oncall.clients.prometheus import Prometheus
from oncall.lab.servers import start_prometheus, stop
from oncall.model_service import PrometheusAt
from oncall.promql import Matcher, Selector, fill, matcher, parse_selector, quote, selectors_in, unquote
from oncall.signals import together
from tests.clients.promstand import ask


@pytest.mark.parametrize(
    ("expression", "selector", "wanted"),
    [
        ("m{$selector}", {}, "m{}"),
        ('m{a="b",$selector}', {}, 'm{a="b"}'),
        ('m{ $selector , a="b"}', {}, 'm{  a="b"}'),
        ('m{a="b", $selector}', {"c": "d", "e": "f"}, 'm{a="b", c="d",e="f"}'),
        (
            'label_replace(m{$selector}, "a", "$1$window", "b", "(.*)$")[$window:1s]',
            {"c": "d"},
            'label_replace(m{c="d"}, "a", "$1$window", "b", "(.*)$")[60s:1s]',
        ),
        ("m{$selector} # the $thing's\n+ n", {"c": "d"}, 'm{c="d"} \n+ n'),
    ],
)
def test_placeholders(expression: str, selector: dict[str, str], wanted: str) -> None:
    assert fill(expression, selector, "60s") == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("time()", ()),
        ("up", ("up",)),
        ('sum by (job) (rate(a:b{c="}"}[5m] offset 1h)) / on (x) group_left (y) max(d)', ('a:b{c="}"}', "d")),
        ("sum(a) without (b) > bool 1e3 and c unless inf", ("a", "c")),
        ('{__name__=~"x.*"} or a or a @ end()', ('{__name__=~"x.*"}', "a")),
        ('count_values("v", a{b = "c", })', ('a{b="c",}',)),
        ("rate(a[5m:30s] offset -5m)", ("a",)),
    ],
)
def test_the_series_of_an_expression(expression: str, wanted: tuple[str, ...]) -> None:
    assert selectors_in(expression) == wanted


# --- quoting -------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]))
labels = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "__name__")
operators = st.sampled_from(["=", "!=", "=~", "!~"])
matchers = st.builds(matcher, labels, operators, texts)
selectors = st.builds(
    lambda name, m: Selector(metric=name, matchers=tuple(m)),
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True),
    st.lists(matchers, max_size=4),
)


@given(texts)
def test_what_is_quoted_can_be_read_back_and_is_inert(value: str) -> None:
    literal = quote(value)
    assert unquote(literal) == value
    assert literal.isprintable()


@given(selectors)
def test_a_selector_is_read_back_as_it_was(selector: Selector) -> None:
    assert parse_selector(str(selector)) == selector
    assert parse_selector(f" {selector} ") == selector


@given(st.text())
def test_any_text_is_a_selector_or_a_mistake_that_is_told(text: str) -> None:
    with suppress(ValueError):
        selector = parse_selector(text)
        assert parse_selector(str(selector)) == selector


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        quote("\ud800")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_prometheus(tmp_path_factory.mktemp("prometheus"), {})
    yield server.url
    stop(server)


def asked(url: str, promql: str) -> list[dict[str, str]]:
    async def work() -> list[dict[str, str]]:
        async with Prometheus(PrometheusAt(url=url)) as client:
            return [dict(sample.labels) for sample in await ask(client, promql)]

    return asyncio.run(work())


@settings(max_examples=25, deadline=None)
@given(values=st.lists(texts.filter(bool), min_size=1, max_size=20, unique=True))
@example(values=["\ufffd", "\0", "\u202e", "\U0001f4a5", "$1", "a\nb", "\\", '"', "\x7f", "\u00a0", "é"])
def test_prometheus_reads_what_was_quoted(url: str, values: Sequence[str]) -> None:
    found = asked(url, together(dict.fromkeys(values, "vector(1)")))
    assert {sample["signal"] for sample in found} == set(values)


@settings(max_examples=25, deadline=None)
@given(many=st.lists(selectors, min_size=1, max_size=10))
def test_prometheus_takes_what_was_parsed(url: str, many: Sequence[Selector]) -> None:
    plain = [Selector(metric=s.metric, matchers=tuple(map(_without_regex, s.matchers))) for s in many]
    assert asked(url, " or ".join(map(str, plain))) == []


def _without_regex(m: Matcher) -> Matcher:
    return (
        matcher(m.label, m.operator[0] if m.operator == "=~" else "!=", m.value) if "~" in m.operator else m
    )


INJECTION = 'x"} or vector(1)'


def test_a_label_value_that_would_break_out_stays_a_label_value(url: str) -> None:
    """Unquoted it is an answer; quoted it selects nothing."""
    assert asked(url, f'm{{job="{INJECTION}') == [{}]
    for expression in ("m{$selector}", 'm{a="b",$selector}', 'sum(m{$selector,a="b"})'):
        filled = fill(expression, {"job": INJECTION}, "5m")
        assert asked(url, filled) == []
        assert selectors_in(filled)[0].startswith("m{")
