"""All issues of a service on one page: a line each, worst first; below, the proof of what is not well."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from oncall.model import Diagnosis, Severity
from oncall.render.diagnosis import body, diagnosis, footer, origin_lines, page, page_width
from oncall.render.grid import GAP, SEVERITY_STYLE, Cell, columns, indented, line, taken
from oncall.render.header import NARROW, header, identity_of, left_out, next_of, verdict
from oncall.render.inert import inert
from oncall.render.several import Line, counts, lines, pages
from oncall.render.text import cells, cut

_HEADLINE = 28


def overview(
    found: Sequence[Diagnosis],
    *,
    width: int,
    ascii_only: bool = False,
    height: int | None = None,
    origin: str | None = None,
) -> Group:
    """The page of all issues, given worst first; of a single one, its own page. The options are those of a page."""
    if len(found) == 1:
        return diagnosis(found[0], width=width, ascii_only=ascii_only, height=height, origin=origin)
    width = page_width(width)
    shown = lines([inert(d, ascii_only=ascii_only) for d in found])
    first = shown[0].d
    head = verdict(counts(found), first.severity, identity_of(first), width)
    answer = [*origin_lines(origin, width, ascii_only=ascii_only), *head, *_lines(shown, width)]
    answer += next_of(first, width)
    blocks = [answer]
    for part in pages(shown):
        blocks += [header(part.d, width, alone=False), *body(part.d, width, above=part.above)]
    blocks.append(footer(first, width, left_out(first, head)))
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _lines(shown: Sequence[Line], width: int) -> list[Text]:
    """Severity, headline, cause; on a narrow page the cause below."""
    word = max(cells(each.d.severity.value) for each in shown)
    headline = min(_HEADLINE, max(cells(each.d.summary.headline) for each in shown))
    room = width - taken([word, headline]) - GAP
    told: list[Text] = []
    for each in shown:
        style = SEVERITY_STYLE[each.d.severity]
        named = [Cell(each.d.severity.value, style), Cell(each.d.summary.headline, _bold(each.d))]
        if width < NARROW:
            told += columns(named, [word, width - word - GAP])
            told += [line("  ", part) for part in indented(cut(each.text, 2 * (width - 2)), width - 2)]
        else:
            told += columns([*named, Cell(cut(each.text, room))], [word, headline, room])
    return told


def _bold(d: Diagnosis) -> str:
    return "" if d.severity is Severity.OK else SEVERITY_STYLE[d.severity]
