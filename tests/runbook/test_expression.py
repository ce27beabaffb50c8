"""The grammar of conditions: what it allows, and that unknown stays unknown."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.runbook.expression import Expression, Value

TRUTHS = st.sampled_from([True, False, None])


def evaluate(text: str, **names: object) -> Value:
    def lookup(name: str) -> Value:
        value = names[name.replace(".", "_")]
        if isinstance(value, Value):
            return value
        if value is None:
            return Value(None, frozenset({f"{name}: not read"}))
        assert isinstance(value, bool | int | float | str)
        return Value(value)

    return Expression(text).evaluate(lookup)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "open('x')",
        "a.b.c",
        "a.__class__.__mro__",
        "[1]",
        "{}",
        "a if b else c",
        "lambda: 1",
        "a ** 9",
        "a[0]",
        "f'{a}'",
        "a := 1",
        "(a for a in b)",
        "a in b",
        "a is b",
        "a @ b",
        "a % b",
        "a << 3",
        "~a",
        "yield a",
        "count(1)",
        "count(a, b)",
        "known()",
        "min()",
        "max(*a)",
        "max(a, key=b)",
        "1 +",
        "",
        "a;b",
        "x" * 600,
        "None",
        "b'x'",
        "1j",
    ],
)
def test_what_is_not_allowed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Expression(text)


def test_names_are_told_with_their_attributes() -> None:
    names = Expression("a.usual > max(b, 2) and count(locks) > 0 and absence(slots) == 'down'").names
    assert names == {"a.usual", "b", "count(locks)", "absence(slots)"}


@given(TRUTHS, TRUTHS)
def test_and_or_not_follow_kleene(a: bool | None, b: bool | None) -> None:
    both, either = evaluate("a and b", a=a, b=b).truth(), evaluate("a or b", a=a, b=b).truth()
    assert both == (False if False in (a, b) else None if None in (a, b) else True)
    assert either == (True if True in (a, b) else None if None in (a, b) else False)
    assert evaluate("not a", a=a).truth() == (None if a is None else not a)


@given(st.integers(-100, 100), st.integers(-100, 100), st.integers(1, 100))
def test_arithmetic_is_pythons(a: int, b: int, c: int) -> None:
    text = "a + b * c - a / c + min(a, b) + max(a, b, c) + abs(a)"
    expected = a + b * c - a / c + min(a, b) + max(a, b, c) + abs(a)
    assert evaluate(text, a=a, b=b, c=c).number() == pytest.approx(expected)


@given(st.sampled_from(["a + b", "a * b", "a / b", "max(a, b)", "a > b", "a == b", "abs(b)", "-b"]))
def test_what_needs_an_unread_value_is_unknown_and_names_it(text: str) -> None:
    result = evaluate(text, a=1, b=None)
    assert not result.known
    assert result.missing == {"b: not read"}


def test_a_decided_condition_does_not_name_what_it_did_not_need() -> None:
    assert evaluate("a > 5 and b > 1", a=1, b=None) == Value(False)
    assert evaluate("a < 5 or b > 1", a=1, b=None) == Value(True)


@pytest.mark.parametrize("text", ["a / b", "log(b)", "a / (b * 1)"])
def test_undefined_is_unknown_not_zero(text: str) -> None:
    assert not evaluate(text, a=1, b=0).known


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_never_compare(value: float) -> None:
    assert evaluate("a > 5", a=value).truth() is None
    assert evaluate("a < 5", a=value).truth() is None


def test_text_compares_only_for_equality() -> None:
    assert evaluate("a == 'down'", a="down").truth() is True
    assert evaluate("a != 'down'", a="up").truth() is True
    assert evaluate("a > 1", a="down").truth() is None


def test_first_takes_the_first_known_and_known_asks() -> None:
    assert evaluate("first(a, b)", a=None, b=2).value == 2
    assert not evaluate("first(a, b)", a=None, b=None).known
    assert evaluate("known(a)", a=None).value is False


def test_weakness_is_carried_unless_something_firm_decides() -> None:
    weak = Value(True, weak=True)
    assert evaluate("a and b", a=weak, b=True).weak
    assert not evaluate("a or b", a=weak, b=True).weak
    assert evaluate("a > 1", a=Value(3, weak=True)).weak


def test_comparisons_chain() -> None:
    assert evaluate("1 < a < 5", a=3).truth() is True
    assert evaluate("1 < a < 5", a=7).truth() is False
