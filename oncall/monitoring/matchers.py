"""Matchers of a silence as amtool takes them, and whether they narrow anything down. Pure."""

import re
from collections.abc import Mapping, Sequence

from oncall.clients.alertmanager import Term

_MATCHER = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!=|!~|=)\s*(.*?)\s*", re.DOTALL)
_ALLOWED = 'write name=value, name!=value, name=~regex or name!~regex; a value may stand in "double quotes"'
_PLAIN = {"n": "\n", '"': '"', "\\": "\\"}
# No alert is called so; each differs from the others in what a regex may ask for.
_PROBES = ("zq7", "0", "~", "ZQ-x_1:9100")


def parse(texts: Sequence[str]) -> tuple[Term, ...]:
    """The matchers of a command line; the first may be the bare name of an alert. Raises ValueError."""
    if not texts:
        raise ValueError(f"no matchers: {_ALLOWED}")
    head, *rest = texts
    first = Term(name="alertname", value=_told(head, head), regex=False) if _bare(head) else parse_one(head)
    return (first, *map(parse_one, rest))


def _bare(text: str) -> bool:
    return bool(text.strip()) and not re.search(r'[=~!"{}]', text)


def parse_one(text: str) -> Term:
    """One matcher, with amtool's quotes and escapes. Raises ValueError with what is allowed."""
    found = _MATCHER.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a matcher: {_ALLOWED}")
    name, operator, raw = found.groups()
    if operator == "=" and raw.startswith("="):
        raise ValueError(f"{text!r}: write one = sign")
    regex = operator.endswith("~")
    return Term(name=name, value=_value(raw, text), regex=regex, equal=not operator.startswith("!"))


def _value(raw: str, text: str) -> str:
    quoted = raw.startswith('"')
    inner = raw[1:-1] if quoted else raw
    if quoted and (len(raw) < 2 or not raw.endswith('"') or _odd_backslashes(inner)):
        raise ValueError(f"{text!r}: the quote is not closed")
    if re.search(r'(?<!\\)(?:\\\\)*"', inner):
        raise ValueError(f'{text!r}: a " within the value is written \\"')
    _told(inner, text)
    # An escape that is none is taken as it stands: \d in a regex
    return re.sub(r"\\(.)", lambda m: _PLAIN.get(m[1], m[0]), inner, flags=re.DOTALL)


def _told(value: str, text: str) -> str:
    """The value, where it can be sent and be shown as it is. Raises ValueError."""
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise ValueError(f"{text!a} is not UTF-8 text")
    if not value.replace("\n", "").isprintable():
        raise ValueError(
            f"{text!a} holds a character that cannot be shown: write name=~regex with a . in its place"
        )
    return value


def _odd_backslashes(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def text_of(term: Term) -> str:
    """As the API's filter and amtool take it: `alertname=~"Pool.*"`."""
    operator = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}
    value = term.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{term.name}{operator[term.regex, term.equal]}"{value}"'


def fits(term: Term, labels: Mapping[str, str]) -> bool | None:
    """Whether an alert meets one matcher; None for a regex that only Alertmanager can read."""
    value = labels.get(term.name, "")
    if not term.regex:
        return (value == term.value) is term.equal
    try:
        return (re.fullmatch(term.value, value, re.ASCII) is not None) is term.equal
    except re.error:
        return None


def matches_nothing_named(terms: Sequence[Term]) -> bool:
    """Whether all of them hold for an alert without any of the labels: Alertmanager refuses such a silence."""
    return all(fits(term, {}) for term in terms)


def matches_all(terms: Sequence[Term]) -> bool:
    """Whether any alert would meet them, whatever its labels say."""
    return all(fits(term, {term.name: probe}) for term in terms for probe in _PROBES)


def contradicts(terms: Sequence[Term], labels: Mapping[str, str]) -> bool:
    """Whether no alert with these labels can meet them, whatever else it has."""
    return any(fits(term, labels) is False for term in terms if term.name in labels)
