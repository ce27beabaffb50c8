"""What the commands that show the tool's own data need: listings, and texts to paste."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group
from rich.text import Text

from oncall.model import Scalar
from oncall.numbers import scalar
from oncall.render.diagnosis import NARROWEST, WIDEST
from oncall.render.grid import FAINT, HEADING, indented, line, plain_ascii
from oncall.render.table import Field, table
from oncall.render.text import safe, safe_lines

_PASTE_WIDTH = 100


class Block(NamedTuple):
    """A text to paste, such as SQL or PromQL, and what it is for."""

    title: str
    code: str
    why: str | None = None


def listing(
    columns: Sequence[str], rows: Sequence[Sequence[Scalar]], width: int, *, ascii_only: bool = False
) -> Group:
    """Rows under their names. Nothing is cut: long text is wrapped, and a narrow page gets a block a row."""
    width = min(WIDEST, max(NARROWEST, width))
    fields = [
        Field(name, tuple(safe(scalar(row[index]), ascii_only=ascii_only) for row in rows))
        for index, name in enumerate(columns)
    ]
    lines = table(fields, width, whole=True) if rows else [line(("none", FAINT))]
    return Group(*(map(plain_ascii, lines) if ascii_only else lines))


def commands(title: str, blocks: Sequence[Block], *, ascii_only: bool = False) -> Text:
    """A title and texts to paste: plain, not boxed, their lines never broken.

    Print it with `console.print(..., soft_wrap=True)`, or rich crops what is wider than the terminal.
    """
    lines = [line((safe(title, ascii_only=ascii_only), HEADING))]
    for block in blocks:
        lines += [Text(), line((safe(block.title, ascii_only=ascii_only), HEADING))]
        if block.why:
            lines += indented(safe(block.why, ascii_only=ascii_only), _PASTE_WIDTH)
        lines += [line("    ", text) for text in safe_lines(block.code.strip("\n"), ascii_only=ascii_only)]
    for shown in lines:
        shown.rstrip()
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)
