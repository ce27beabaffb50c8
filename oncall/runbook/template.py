"""Texts with places to fill in: `{expression}` or `{expression|unit}`."""

import re
from collections.abc import Callable, Mapping

from oncall.runbook.expression import Expression, Lookup
from oncall.runbook.model import Place

_PLACE = re.compile(r"\{([^{}|]+)(?:\|([a-z_]+))?\}")


def places(text: str) -> tuple[Place, ...]:
    """The places of a text, in order."""
    return tuple(Place(expression=m[1].strip(), unit=m[2]) for m in _PLACE.finditer(text))


def fill(
    text: str,
    expressions: Mapping[str, Expression],
    lookup: Lookup,
    show: Callable[[object, str | None, str], str],
) -> tuple[str, bool]:
    """The text filled in, and whether every place was known. `show(value, unit, expression)` says a value."""
    complete = True

    def one(match: re.Match[str]) -> str:
        nonlocal complete
        source = match[1].strip()
        value = expressions[source].evaluate(lookup)
        complete = complete and value.known
        return show(value.value, match[2], source) if value.known else "?"

    return _PLACE.sub(one, text), complete
