"""What the other end can show: colour or none, Unicode or ASCII."""

import codecs
from collections.abc import Mapping
from typing import NamedTuple


class Look(NamedTuple):
    """What a stream can show.

    Without `color` no control codes at all: `Console(color_system=None)`, as rich's `no_color` keeps bold.
    """

    color: bool
    ascii_only: bool


def look(env: Mapping[str, str], *, encoding: str | None, terminal: bool) -> Look:
    """How to print on a stream of this encoding, which is a terminal or not, under this environment."""
    dumb = terminal and env.get("TERM") in ("dumb", "unknown")
    color = terminal and not dumb and not env.get("NO_COLOR")
    return Look(color=color, ascii_only=dumb or not _is_unicode(encoding))


def _is_unicode(encoding: str | None) -> bool:
    try:
        return codecs.lookup(encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False
