"""Reports with anything in them: each string of a sample replaced by drawn text, each number by drawn ones."""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from itertools import cycle
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from oncall.model import Diagnosis
from tests.render.samples import SAMPLES

S = TypeVar("S", bound=msgspec.Struct)
_WORDS = ("status", "state", "outcome", "result")
"""Fields that hold one of a few words."""
ATTACKS = [
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\u202e",
    "[/red]",
    "[bold]x[/bold]",
    "```",
    "`",
    "<!here>",
    "@channel",
    "[x](https://evil.example)",
    "\r\n\t",
    "\ud800",
    "日本語",
    "e\u0301",
    "x" * 90,
    "-",
    "|",
]
TEXT = st.lists(st.sampled_from(ATTACKS) | st.text(st.characters(), max_size=30), max_size=6).map(" ".join)


def changed(report: S, text: Callable[[str], str], number: Callable[[float], float]) -> S:
    """The report with every string and every float in it passed through."""
    return type(report)(
        **{name: _changed(getattr(report, name), name, text, number) for name in report.__struct_fields__}
    )


def _changed(value: Any, name: str, text: Callable[[str], str], number: Callable[[float], float]) -> Any:  # noqa: ANN401 - any field of a report
    if isinstance(value, (Enum, bool, datetime)) or name in _WORDS:
        return value
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, tuple):
        return tuple(_changed(item, name, text, number) for item in value)
    return changed(value, text, number) if isinstance(value, msgspec.Struct) else value


@st.composite
def reports(draw: st.DrawFn, text: st.SearchStrategy[str] = TEXT) -> Diagnosis:
    """A sample with foreign text and any numbers in all of its fields."""
    sample = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))]()
    texts = cycle(draw(st.lists(text, min_size=1, max_size=8)))
    numbers = cycle(draw(st.lists(st.floats(), min_size=1, max_size=4)))
    return changed(sample, lambda _: next(texts), lambda _: next(numbers))
