"""The little of PromQL that oncall reads and writes: metric selectors, their quoting, and placeholders."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from oncall.model import Frozen

Operator = Literal["=", "!=", "=~", "!~"]

_STRING = r'"(?:\\.|[^"\\\n])*"|' + r"'(?:\\.|[^'\\\n])*'" + r"|`[^`]*`"
_METRIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MATCHER = re.compile(rf"\s*({_LABEL.pattern})\s*(=~|!~|!=|=)\s*({_STRING})\s*")
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)"
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ALLOWED = 'a metric name, and label matchers in braces if wanted, such as http_requests_total{status=~"5.."}'


class Matcher(Frozen, frozen=True):
    label: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quote(self.value)}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """As Prometheus: an absent label is the empty string, a regex must match whole. Raises re.error."""
        value = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        # RE2's \d and \w are ASCII's
        return bool(re.fullmatch(self.value, value, re.ASCII)) == (self.operator == "=~")


class Selector(Frozen, frozen=True):
    """A metric and the matchers that its labels must meet."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def __str__(self) -> str:
        return self.metric + (f"{{{','.join(map(str, self.matchers))}}}" if self.matchers else "")

    def named(self, metric: str, *more: Matcher) -> "Selector":
        """The same matchers, and more, on another metric."""
        return Selector(metric=metric, matchers=(*self.matchers, *more))


# --- quoting ---------------------------------------------------------------------------------


def quote(value: str) -> str:
    """A PromQL string literal. What a terminal would not show as itself is escaped. Raises ValueError."""
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise ValueError(f"{value!a} is not text: it holds half of a surrogate pair")
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    # Prometheus takes U+FFFD in a query for broken UTF-8
    if char.isprintable() and char != "\ufffd":
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def unquote(literal: str) -> str:
    """The value of a PromQL string literal (any of its three quotes; Go's escapes). Raises ValueError."""
    if literal[0] == "`":
        return literal[1:-1]
    parts: list[bytes] = []
    end = 1
    for found in _ESCAPE.finditer(literal, 1, len(literal) - 1):
        parts += [literal[end : found.start()].encode(), _unescaped(found, literal)]
        end = found.end()
    return b"".join([*parts, literal[end:-1].encode()]).decode()


def _unescaped(found: re.Match[str], literal: str) -> bytes:
    plain, octal, byte, short, long = found.groups()
    if plain and (plain not in "\"'" or plain == literal[0]):
        return _PLAIN.get(plain, plain).encode()
    if octal or byte:
        # bytes, as in Go: \xc3\xa9 is é
        return bytes([int(octal, 8) & 0xFF if octal else int(byte, 16)])
    if short or long:
        return chr(int(short or long, 16)).encode()
    raise ValueError(
        f"{literal}: PromQL has no escape {found[0]}; in a regex write \\\\, or use `back quotes`"
    )


# --- selectors -------------------------------------------------------------------------------


def parse_selector(text: str) -> Selector:
    """The selector of `metric` or `metric{label="value",...}`. Raises ValueError with what is allowed."""
    name = _METRIC.match(text)
    if not name:
        raise ValueError(f"{text!r} does not start with a metric name: allowed is {_ALLOWED}")
    rest = text[name.end() :].rstrip()
    if not rest:
        return Selector(metric=name[1])
    if rest[0] != "{" or rest[-1] != "}":
        raise ValueError(f"{text!r}: allowed is {_ALLOWED}; an expression belongs in the promql form")
    return Selector(metric=name[1], matchers=tuple(_matchers(rest[1:-1], text)))


def _matchers(inner: str, text: str) -> Iterator[Matcher]:
    at = 0
    while at < len(inner) and inner[at:].strip():
        found = _MATCHER.match(inner, at)
        if not found or inner[found.end() : found.end() + 1] not in ("", ","):
            raise ValueError(
                f"{text!r}: {inner[at:].strip()!r} is not a label matcher; "
                'allowed are label="value", label!="value", label=~"regex" and label!~"regex", commas between'
            )
        yield matcher(found[1], found[2], unquote(found[3]))
        at = found.end() + 1


def matcher(label: str, operator: str, value: str) -> Matcher:
    """A matcher with a lawful label name. Raises ValueError."""
    if not _LABEL.fullmatch(label) or label == "__name__":
        raise ValueError(f"{label!r} is not a label name: letters, digits and _ are allowed, no digit first")
    if operator not in ("=", "!=", "=~", "!~"):
        raise ValueError(f"{operator!r} is not one of =, !=, =~, !~")
    quote(value)
    return Matcher(label=label, operator=operator, value=value)  # type: ignore[arg-type] # checked above


def service_matchers(selector: Mapping[str, str]) -> tuple[Matcher, ...]:
    """The service's own labels as matchers, to be met by every series. Raises ValueError."""
    return tuple(matcher(label, "=", value) for label, value in selector.items())


# --- expressions of the promql form ------------------------------------------------------------

_TOKEN = re.compile(
    rf"(?P<string>{_STRING})|(?P<comment>#[^\n]*)|(?P<range>\[[^\]]*\])|(?P<number>\d[\w.]*)"
    r"|(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)|\$(?P<place>\w*)|(?P<other>\s+|.)",
    re.DOTALL,
)
_NOWHERE = "\0"
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
# Words that stand alone and are no metric; aggregators do where their grouping comes first
_WORDS = {
    *_LISTS,
    *("offset", "bool", "and", "or", "unless", "atan2", "inf", "nan", "start", "end"),
    *("sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values"),
    *("bottomk", "topk", "quantile", "limitk", "limit_ratio"),
}


def fill(expression: str, selector: Mapping[str, str], window: str) -> str:
    """Puts the service's matchers at `$selector` (inside braces) and the rate window at `$window`.

    Strings are left alone; comments go, so that the rest can be put into brackets. Raises ValueError for any
    other placeholder."""
    values = {"selector": ",".join(map(str, service_matchers(selector))) or _NOWHERE, "window": window}
    filled = "".join(_filled(token, values) for token in _TOKEN.finditer(expression.replace(_NOWHERE, " ")))
    # With nothing to select, its comma goes too: m{$selector,a="b"} is m{a="b"}
    filled = re.sub(rf"{_NOWHERE}\s*,|,\s*{_NOWHERE}(?=\s*}})", "", filled)
    return filled.replace(_NOWHERE, "")


def _filled(token: re.Match[str], values: Mapping[str, str]) -> str:
    if token["comment"]:
        return ""
    if token["range"]:
        return token[0].replace("$window", values["window"])
    if token["place"] is None:
        return token[0]
    if token["place"] not in values:
        raise ValueError(f"unknown placeholder {token[0]!r}: allowed are $selector and $window")
    return values[token["place"]]


def selectors_in(expression: str) -> tuple[str, ...]:
    """The bare vector selectors of an expression, without range and offset, each once, in order."""
    tokens = [
        t
        for t in _TOKEN.finditer(expression)
        if t.lastgroup != "comment" and not (t["other"] or "").isspace()
    ]
    found: dict[str, None] = {}
    at = 0
    while at < len(tokens):
        at, selector = _selector_at(tokens, at)
        if selector:
            found.setdefault(selector)
    return tuple(found)


def _selector_at(tokens: list[re.Match[str]], at: int) -> tuple[int, str | None]:
    """Where to go on after the token `at`, and the selector that begins there, if one does."""
    here, after = tokens[at], tokens[at + 1][0] if at + 1 < len(tokens) else ""
    if here["word"] and here[0].lower() in _LISTS and after == "(":
        return _closing(tokens, at + 1, ")") + 1, None
    if here[0] == "{" or (here["word"] and after == "{"):
        begin = at if here[0] == "{" else at + 1
        end = _closing(tokens, begin, "}")
        return end + 1, "".join(t[0] for t in tokens[at : end + 1])
    if here["word"] and after != "(" and here[0].lower() not in _WORDS:
        return at + 1, here[0]
    return at + 1, None


def _closing(tokens: list[re.Match[str]], at: int, bracket: str) -> int:
    return next((i for i in range(at, len(tokens)) if tokens[i][0] == bracket), len(tokens) - 1)
