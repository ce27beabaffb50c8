"""One door for foreign text: a whole report made safe before anything is laid out."""

from enum import Enum
from typing import TypeVar

import msgspec

from oncall.render.text import safe

S = TypeVar("S", bound=msgspec.Struct)


def inert(report: S, *, ascii_only: bool = False) -> S:
    """The same report with every string in it made safe to print, however deep it lies."""
    fields = {name: _inert(getattr(report, name), ascii_only) for name in report.__struct_fields__}
    return type(report)(**fields)


def _inert(value: object, ascii_only: bool) -> object:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else safe(value, ascii_only=ascii_only)
    if isinstance(value, tuple):
        return tuple(_inert(item, ascii_only) for item in value)
    return inert(value, ascii_only=ascii_only) if isinstance(value, msgspec.Struct) else value
