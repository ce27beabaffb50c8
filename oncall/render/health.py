"""Health endpoints as a page: the verdict, then each endpoint in a line; and every service's in a line each."""

from rich.console import Group
from rich.text import Text

from oncall.model_status import Endpoint, HealthOfAll, HealthReport
from oncall.numbers import clock, humane
from oncall.render.diagnosis import page, page_width
from oncall.render.fleet import Row, fleet
from oncall.render.grid import FAINT, GAP, SEVERITY_STYLE, Cell, columns, indented, line, noted, taken
from oncall.render.header import NARROW, next_lines, verdict
from oncall.render.inert import inert
from oncall.render.status_words import asked_in, endpoint_text, health_headline, shape_text, state_word
from oncall.render.text import cells, pack

_HEADS = ("", "Endpoint", "took", "at most")


def health_page(
    found: HealthReport, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """The page, at most `width` cells wide."""
    width = page_width(width)
    found = inert(found, ascii_only=ascii_only)
    identity = (found.service, found.environment, "", clock(found.at))
    answer = verdict(health_headline(found), found.severity, identity, width)
    answer += next_lines("Next", found.next, width) if found.next else []
    shapes = [text for e in found.endpoints if (text := shape_text(e))]
    hints = dict.fromkeys(e.hint for e in found.endpoints if e.hint)
    blocks = [answer, _endpoints(found, width), noted([*shapes, *hints], width)]
    blocks.append([line((text, FAINT)) for text in pack(asked_in(found), width)])
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _endpoints(found: HealthReport, width: int) -> list[Text]:
    if width < NARROW:
        return [part for each in found.endpoints for part in _stacked(each, width)]
    rows = [_cells(each) for each in found.endpoints]
    widths = [max(map(cells, column)) for column in zip(_HEADS, *rows, strict=True)]
    room = width - taken(widths) - GAP
    lines = columns([Cell(head, FAINT) for head in (*_HEADS, "says")], [*widths, room])
    for each, row in zip(found.endpoints, rows, strict=True):
        style = SEVERITY_STYLE[each.severity]
        texts = zip((*row, endpoint_text(each)), (style, "", "", FAINT, ""), strict=True)
        lines += columns([Cell(text, how) for text, how in texts], [*widths, room])
    return lines


def _cells(each: Endpoint) -> tuple[str, str, str, str]:
    return state_word(each), each.path, humane(each.ms, "ms"), humane(each.timeout_s, "seconds")


def _stacked(each: Endpoint, width: int) -> list[Text]:
    found = indented(f"{each.path}: {state_word(each)}", width, style=SEVERITY_STYLE[each.severity])
    took = f"{humane(each.ms, 'ms')}: " if each.ms is not None else ""
    return found + indented(took + endpoint_text(each), width, indent=2)


def health_of_all_page(
    found: HealthOfAll, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """A line a service, worst first."""
    width = page_width(width)
    found = inert(found, ascii_only=ascii_only)
    answer = verdict(found.summary.upper(), found.severity, ("", "", "", clock(found.at)), width)
    rows = [Row(s.severity, s.service, s.environment, _worst(s)) for s in found.services]
    blocks = [answer, fleet(rows, width), [line((text, FAINT)) for text in pack(asked_in(found), width)]]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _worst(found: HealthReport) -> str:
    """The worst endpoint with what it says, and how many are not well besides."""
    bad = [e for e in found.endpoints if e.state not in ("healthy", "not_configured")]
    if not bad:
        return found.summary
    more = f"; and {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"{bad[0].path} {state_word(bad[0])}: {bad[0].text}{more}"
