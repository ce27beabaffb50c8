"""A diagnosis as a page for a terminal: the answer in the first three lines, the proof below."""

from collections.abc import Iterable

from rich.console import Group
from rich.text import Text

from oncall.model import Diagnosis, Severity
from oncall.numbers import day, humane
from oncall.render.causes import causes
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, indented, line, marked, plain_ascii
from oncall.render.header import NARROW, header, identity_of, left_out, verdict
from oncall.render.inert import inert
from oncall.render.signals import signals
from oncall.render.steps import steps as step_blocks
from oncall.render.text import pack, safe
from oncall.render.words import unseen

WIDEST = 140
"""A wider terminal would only draw the columns apart."""
NARROWEST = 20


def diagnosis(
    d: Diagnosis,
    *,
    width: int,
    steps: bool = True,
    ascii_only: bool = False,
    height: int | None = None,
    origin: str | None = None,
) -> Group:
    """The page, at most `width` cells wide. Print it with a console that does not add colour of its own.

    `steps` false leaves out the rows that the steps brought back. `ascii_only` is for a terminal or encoding
    without Unicode. On a screen of `height` lines that the page does not fit, its answer stands once more at its
    end: that is what is left to be seen. `origin` is said first: what makes this no report of now.
    """
    width = page_width(width)
    d = inert(d, ascii_only=ascii_only)
    answer = [*origin_lines(origin, width, ascii_only=ascii_only), *header(d, width)]
    first = verdict(d.summary.headline, d.severity, identity_of(d), width)
    blocks = [answer, *body(d, width, steps=steps), footer(d, width, left_out(d, first))]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def page_width(width: int) -> int:
    return min(WIDEST, max(NARROWEST, width))


def page(blocks: Iterable[list[Text]], answer: list[Text], *, ascii_only: bool, height: int | None) -> Group:
    """Blocks with an empty line between them; the answer once more at the end of what is higher than the screen."""
    shown = [block for block in blocks if block]
    if height is not None and sum(len(block) + 1 for block in shown) > height:
        shown.append(answer)
    lines = list(_joined(shown))
    for text in lines:
        text.rstrip()
    return Group(*(map(plain_ascii, lines) if ascii_only else lines))


def origin_lines(origin: str | None, width: int, *, ascii_only: bool) -> list[Text]:
    return indented(safe(origin, ascii_only=ascii_only), width, style="reverse") if origin else []


def body(d: Diagnosis, width: int, *, steps: bool = True, above: tuple[str, ...] = ()) -> list[list[Text]]:
    """Everything below the answer: the proof."""
    blocks = [signals(d, width), causes(d, width)]
    blocks += step_blocks(d, width, above) if steps else []
    return [*blocks, _unseen(d, width), _notes(d, width)]


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


def footer(d: Diagnosis, width: int, besides: list[str]) -> list[Text]:
    """When, over which time, how fast, and what had no room elsewhere."""
    parts = [
        day(d.at),
        f"window {humane(d.window_s, 'seconds')}",
        *([f"rates over {humane(d.rate_s, 'seconds')}"] if d.rate_s and d.rate_s < d.window_s else []),
        f"usual: the {humane(d.baseline_s, 'seconds')} before",
        f"asked in {humane(d.duration_ms, 'ms')}",
        *besides,
    ]
    return [line((text, FAINT)) for text in pack(parts, width)]
