"""A diagnosis as a page for a terminal: the answer in the first three lines, the proof below."""

from collections.abc import Iterable

from rich.console import Group
from rich.text import Text

from oncall.model import Diagnosis, Severity
from oncall.numbers import day, humane
from oncall.render.causes import causes
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, indented, line, marked, plain_ascii
from oncall.render.header import NARROW, header, left_out
from oncall.render.inert import inert
from oncall.render.signals import signals
from oncall.render.steps import steps as step_blocks
from oncall.render.text import pack
from oncall.render.words import unseen

WIDEST = 140
"""A wider terminal would only draw the columns apart."""
NARROWEST = 20


def diagnosis(
    d: Diagnosis, *, width: int, steps: bool = True, ascii_only: bool = False, height: int | None = None
) -> Group:
    """The page, at most `width` cells wide. Print it with a console that does not add colour of its own.

    `steps` false leaves out the rows that the steps brought back. `ascii_only` is for a terminal or encoding
    without Unicode. On a screen of `height` lines that the page does not fit, its answer stands once more at its
    end: that is what is left to be seen.
    """
    width = min(WIDEST, max(NARROWEST, width))
    d = inert(d, ascii_only=ascii_only)
    blocks = [header(d, width), signals(d, width), causes(d, width)]
    blocks += step_blocks(d, width) if steps else []
    blocks += [_unseen(d, width), _notes(d, width), _footer(d, width)]
    if height is not None and sum(len(block) + 1 for block in blocks if block) > height:
        blocks.append(header(d, width))
    lines = list(_joined(block for block in blocks if block))
    for shown in lines:
        shown.rstrip()
    return Group(*(map(plain_ascii, lines) if ascii_only else lines))


def _joined(blocks: Iterable[list[Text]]) -> Iterable[Text]:
    for index, block in enumerate(blocks):
        if index:
            yield Text()
        yield from block


def _unseen(d: Diagnosis, width: int) -> list[Text]:
    found = unseen(d)
    lines = [line(("Could not be seen", HEADING))] if found else []
    for gap in found:
        lines += marked(
            "?", SEVERITY_STYLE[Severity.UNKNOWN], indented(f"{gap.what}: {gap.reason}", width - 2)
        )
        lines += indented(gap.hint, width, indent=4 if width >= NARROW else 2) if gap.hint else []
    return lines


def _notes(d: Diagnosis, width: int) -> list[Text]:
    if not d.notes:
        return []
    lines = [line(("Notes", HEADING))]
    for note in d.notes:
        lines += marked("·", "", indented(note, width - 2))
    return lines


def _footer(d: Diagnosis, width: int) -> list[Text]:
    parts = [
        day(d.at),
        f"window {humane(d.window_s, 'seconds')}",
        f"usual: the {humane(d.baseline_s, 'seconds')} before",
        f"asked in {humane(d.duration_ms, 'ms')}",
        *left_out(d, width),
    ]
    return [line((text, FAINT)) for text in pack(parts, width)]
