"""A handover as a page for a terminal: how it stands, then what fired, is silenced, was done, is growing."""

from rich.console import Group
from rich.text import Text

from oncall.model import Severity
from oncall.model_alerts import Handover
from oncall.numbers import clock, humane
from oncall.render.alert_words import first
from oncall.render.alerts import alert_blocks, gaps
from oncall.render.command import command_lines
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, indented, line, marked, noted
from oncall.render.handover_words import TRENDING, open_acts, parts, remarks, safe_handover, span
from oncall.render.header import next_lines, verdict
from oncall.render.spark import spark
from oncall.render.text import pack

_BARS = 24


def handover_page(
    found: Handover, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """The page, at most `width` cells wide; on a screen of fewer lines its answer stands once more at its end."""
    width = page_width(width)
    found = safe_handover(found, ascii_only=ascii_only)
    identity = (found.service, found.environment, "", clock(found.at))
    answer = verdict(found.now.summary, found.now.severity, identity, width)
    rest = found.summary.removeprefix(found.now.summary).removeprefix("; ")
    answer += indented(rest, width) if rest else []
    step = first(found.now)
    answer += next_lines("Next", step, width) if step else []
    blocks = [answer, *alert_blocks(found.now, width, step)]
    for title, lines, none in parts(found):
        blocks.append(_part(title, lines, none, width, found, ascii_only=ascii_only))
    blocks += [_open(found, width), gaps([(f"{g.what}: {g.reason}", g.hint) for g in found.unseen], width)]
    blocks.append(noted(remarks(found), width))
    last = [span(found), f"asked in {humane(found.duration_ms, 'ms')}", "to paste: --output markdown"]
    blocks.append([line((text, FAINT)) for text in pack(last, width)])
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _part(
    title: str, lines: list[str], none: str, width: int, found: Handover, *, ascii_only: bool
) -> list[Text]:
    told = [line((title, HEADING))]
    if not lines:
        return [*told, *indented(none, width, indent=2, style=FAINT)]
    for index, text in enumerate(lines):
        told += marked("·", "", indented(text, width - 2))
        trends = found.trending or ()
        if title == TRENDING and index < len(trends):
            shape = spark(trends[index].history, min(_BARS, width - 2), ascii_only=ascii_only)
            told += [line("  ", (shape, FAINT))] if shape else []
    return told


def _open(found: Handover, width: int) -> list[Text]:
    """Actions that were begun and have no known end, with the command that shows each."""
    lines: list[Text] = []
    for text, command in open_acts(found.done) if found.done else ():
        lines += marked("?", SEVERITY_STYLE[Severity.UNKNOWN], indented(text, width - 2))
        lines += command_lines(command, width, indent=2)
    return lines
