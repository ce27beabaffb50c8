"""Matchers as amtool takes them: read, written, and told apart from those that narrow nothing down."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.alertmanager import Term
from oncall.monitoring.matchers import (
    contradicts,
    fits,
    matches_all,
    matches_nothing_named,
    parse,
    parse_one,
    text_of,
)

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
VALUES = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=("Cc", "Cf", "Co", "Cn", "Zs", "Zl", "Zp"),
        include_characters=" \n",
    ),
    max_size=20,
)
"""What can be shown as it is: the others are refused."""


@pytest.mark.parametrize(
    ("text", "name", "value", "regex", "equal"),
    [
        ("alertname=Down", "alertname", "Down", False, True),
        ('alertname="Down"', "alertname", "Down", False, True),
        ("severity!=info", "severity", "info", False, False),
        (r"instance=~app-\d+", "instance", r"app-\d+", True, True),
        ('instance!~"a|b"', "instance", "a|b", True, False),
        (r'path="a\"b\\c\nd"', "path", 'a"b\\c\nd', False, True),
        (" job = bot ", "job", "bot", False, True),
        ("team=", "team", "", False, True),
        ("query=a=b", "query", "a=b", False, True),
    ],
)
def test_read(text: str, name: str, value: str, regex: bool, equal: bool) -> None:
    assert parse_one(text) == Term(name=name, value=value, regex=regex, equal=equal)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alert name=x", "is not a matcher"),
        ("=x", "is not a matcher"),
        ("9a=x", "is not a matcher"),
        ('a="x', "the quote is not closed"),
        ('a="x\\"', "the quote is not closed"),
        ('a="x"y"', "is written"),
        ('a=x"y', "is written"),
        ("a==x", "one = sign"),
        ("Down", "is not a matcher"),
        ("a=x\x1b[31m", "cannot be shown"),
        ('a="x\u202ey"', "cannot be shown"),
        ("a=\udcff", "is not UTF-8"),
    ],
)
def test_what_is_none_is_refused_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_one(text)


def test_the_first_may_be_the_bare_name_of_an_alert() -> None:
    assert parse(["Down", "job=bot"]) == (parse_one("alertname=Down"), parse_one("job=bot"))
    with pytest.raises(ValueError, match="no matchers"):
        parse([])


@given(NAMES, VALUES, st.booleans(), st.booleans())
def test_what_is_written_is_read_as_the_same(name: str, value: str, regex: bool, equal: bool) -> None:
    term = Term(name=name, value=value, regex=regex, equal=equal)
    assert parse_one(text_of(term)) == term


@given(VALUES, VALUES)
def test_an_equal_matcher_meets_its_value_alone(value: str, other: str) -> None:
    term = Term(name="a", value=value, regex=False)
    assert fits(term, {"a": other}) is (value == other)
    assert fits(term, {}) is (value == "")


def test_a_regex_must_match_whole_and_may_be_beyond_us() -> None:
    assert fits(parse_one("a=~app"), {"a": "app-1"}) is False
    assert fits(parse_one("a!~app"), {"a": "app-1"}) is True
    assert fits(parse_one(r"a=~\pL+"), {"a": "x"}) is None


@pytest.mark.parametrize(("name", "says"), [("Do\x1bwn", "cannot be shown"), ("\udcff", "not UTF-8")])
def test_a_bare_name_is_held_to_the_same(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse([name])


@pytest.mark.parametrize(
    ("texts", "every", "nameless"),
    [
        (["alertname=~.+"], True, False),
        (["alertname=~.*"], True, True),
        (["alertname!=Watchdog"], True, True),
        (["severity!~info|none", "alertname=~.+"], True, False),
        (["alertname=Down"], False, False),
        (["severity=~critical|warning"], False, False),
        (["alertname=~.+", "job=bot"], False, False),
        (["team="], False, True),
    ],
)
def test_what_would_meet_any_alert_is_known(texts: list[str], every: bool, nameless: bool) -> None:
    terms = parse(texts)
    assert (matches_all(terms), matches_nothing_named(terms)) == (every, nameless)


def test_a_silence_of_another_service_is_told_apart() -> None:
    assert contradicts(parse(["alertname=Down", "job=other"]), {"job": "bot"})
    assert not contradicts(parse(["alertname=Down"]), {"job": "bot"})
    assert not contradicts(parse(["alertname=Down", "job=~bot|other"]), {"job": "bot"})
