"""Masking: the same failure has one template, whatever its numbers are; secrets of examples are gone."""

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.log_templates import MOST_TEMPLATES, OTHER, Tally, clean, template_of

WORDS = st.sampled_from(
    ["connection", "to", "refused", "user", "not found", "GET /api/bots", "id=", "psycopg.OperationalError:", "(",
     ")", "took", "ms", "can't", "for", "[", "]", "key:", "worker-", "Ümlaut", "HTTP/", "x"]
)  # fmt: skip
NUMBER = st.one_of(st.integers(-(10**20), 10**20).map(str), st.floats(0, 1e6).map(lambda f: f"{f:.3f}"))
UUID = st.uuids().map(str)
QUOTED = st.text(string.ascii_letters + string.digits + " .:/_-", max_size=20).map(lambda t: f'"{t}"')


@given(st.text())
def test_masking_twice_changes_nothing(text: str) -> None:
    once = template_of(text)
    assert template_of(once) == once
    assert len(once) <= 300


@given(st.text(alphabet="\"'0a1fxAZ \\*-.:/@_+=,", max_size=80))
def test_masking_twice_changes_nothing_of_awkward_texts(text: str) -> None:
    assert template_of(template_of(text)) == template_of(text)


@pytest.mark.parametrize("kind", [NUMBER, UUID, QUOTED], ids=["numbers", "uuids", "quoted"])
def test_what_differs_in_variables_shares_a_template(kind: st.SearchStrategy[str]) -> None:
    @given(st.lists(WORDS, min_size=1, max_size=6), st.data())
    def holds(words: list[str], data: st.DataObject) -> None:
        first, second = (" ".join(f"{w} {data.draw(kind)}" for w in words) for _ in range(2))
        assert template_of(first) == template_of(second)

    holds()


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("connection to 10.0.0.1:5432 refused after 3.2s", "connection to * refused after *"),
        ("connection to 10.0.0.77:6432 refused after 200ms", "connection to * refused after *"),
        ("psycopg2.errors.UniqueViolation: key (id)=(55)", "psycopg*.errors.UniqueViolation: key (id)=(*)"),
        ("user 3f2a9c1b-1234-4321-aaaa-0123456789ab gone", "user * gone"),
        ("user abcdefab-cdef-abcd-efab-abcdefabcdef gone", "user * gone"),
        ("can't open '/tmp/x' and don't try", "can't open * and don't try"),
        ("GET /api/v1/bots/123/orders failed", "GET /api/v*/bots/*/orders failed"),
        ("S3UploadFailedError: no", "S*UploadFailedError: no"),
        ("request req_8Zk2LmQ failed", "request req_* failed"),
        ("token aGVsbG8gd29ybGQgMTIz4x9 is invalid", "token * is invalid"),
        ("at 2026-01-01T03:12:00.123Z lost", "at * lost"),
        ("<Bot object at 0x7f3a12bc>", "<Bot object at *>"),
        ("a.b+c@example.com was rejected", "* was rejected"),
        ("the connection pool is exhausted", "the connection pool is exhausted"),
    ],
)
def test_templates_keep_the_words(message: str, template: str) -> None:
    assert template_of(message) == template


@pytest.mark.parametrize(
    "text",
    [
        "redis://app:c4nary@h:6379/0 is down", "password=c4nary", '{"api_key": "c4nary"}', "DB_PASSWORD: c4nary",
        "Authorization: Bearer c4nary12345", "GET /x?access_token=c4nary&y=1", "sent bearer c4nary123",
        "http://h/x?token=c4nary",
    ],
)  # fmt: skip
def test_examples_hold_no_secret(text: str) -> None:
    assert "c4nary" not in clean(text)
    assert "***" in clean(text)


@pytest.mark.parametrize(
    "text", ["KeyError: 'x'", "AuthenticationError: no such user", "monkey=7", "a key: b"]
)
def test_examples_keep_what_is_no_secret(text: str) -> None:
    assert clean(text) == text


def test_examples_are_cut() -> None:
    assert len(clean("x" * 9000)) == 500


TIMES = st.one_of(st.none(), st.floats(0, 5000))


@given(
    st.lists(
        st.tuples(TIMES, st.sampled_from(["error", "critical"]), st.sampled_from(["a 1", "a 2", "b", "c d"]))
    )
)
def test_counts_add_up(lines: list[tuple[float | None, str, str]]) -> None:
    tally = Tally(1000, 4000, 4500, {"any": ".", "b": "^B$"})
    for line in lines:
        tally.add(*line)
    groups = tally.groups()
    assert sum(g.now for g in groups) == tally.now == tally.named()["any"].now
    assert sum(g.before for g in groups) == tally.before == tally.named()["any"].before
    assert tally.now == sum(t is None or 4000 <= t <= 4500 for t, *_ in lines)
    assert tally.before == sum(t is not None and 1000 <= t < 4000 for t, *_ in lines)
    assert tally.named()["b"].now == sum(g.now for g in groups if g.template == "b")


def _word(number: int) -> str:
    return "".join(chr(97 + int(d)) for d in str(number))


def test_the_number_of_templates_is_capped() -> None:
    tally = Tally(0, 1, 2, {})
    for number in range(MOST_TEMPLATES + 50):
        tally.add(1.5, "error", f"z{_word(number)}z failed")
    groups = {g.template: g for g in tally.groups()}
    assert len(groups) == MOST_TEMPLATES + 1
    assert groups[OTHER].now == 50


def test_patterns_run_on_the_beginning_only() -> None:
    tally = Tally(0, 1, 2, {"end": "the end", "start": "THE START"})
    tally.add(1.5, "error", "the start" + "x" * 3000 + "the end")
    assert tally.named()["end"].now == 0
    assert tally.named()["start"].now == 1


@pytest.mark.parametrize(
    "make", [lambda n: "'" * n, lambda n: '"\\' * n, lambda n: "0a" * n, lambda n: "-0" * n]
)
def test_hostile_text_is_masked_in_no_time(make: Callable[[int], str]) -> None:
    assert len(template_of(make(100_000))) <= 300
