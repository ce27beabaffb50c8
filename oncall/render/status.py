"""A service's status on one screen, and every service's in a line each."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rich.console import Group
from rich.text import Text

from oncall.model import CauseReport, Severity, SignalReport
from oncall.model_status import StatusOfAll, StatusReport
from oncall.numbers import clock
from oncall.render.alerts import gaps
from oncall.render.diagnosis import page, page_width
from oncall.render.fleet import Row, fleet
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, indented, line, noted, shifted
from oncall.render.header import NARROW, next_lines, verdict
from oncall.render.inert import inert
from oncall.render.signals import signals
from oncall.render.status_words import (
    action_line,
    alerts_cell,
    alerts_line,
    asked_in,
    endpoint_text,
    facts,
    headline,
    health_line,
    ill,
    shape_text,
    state_word,
)
from oncall.render.text import cells, pack

_LABEL = 9
_SERVERS = ("prometheus", "audit log")
_MOST_GAPS = 12
"""What could not be seen, of all services together."""


class _Signals(NamedTuple):
    """What the table of signals needs of a report."""

    signals: tuple[SignalReport, ...]
    at: datetime
    causes: tuple[CauseReport, ...] = ()
    window_s: float = math.inf
    baseline_s: float = math.inf


def status_page(
    found: StatusReport, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """The page, at most `width` cells wide; on a screen of fewer lines its answer stands once more at its end."""
    width = page_width(width)
    found = inert(found, ascii_only=ascii_only)
    identity = (found.service, found.environment, "", clock(found.at))
    answer = verdict(headline(found), found.severity, identity, width)
    answer += next_lines("Next", found.next, width) if found.next else []
    shapes = [text for e in found.health.endpoints if (text := shape_text(e))]
    blocks = [answer, _around(found, width), signals(_Signals(found.signals, found.at), width)]
    blocks.append(gaps([(f"{u.what}: {u.reason}", u.hint) for u in found.unseen], width))
    blocks += [noted([*shapes, *found.notes], width), [line((t, FAINT)) for t in pack(facts(found), width)]]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _around(found: StatusReport, width: int) -> list[Text]:
    """Health, alerts and last actions, each beside its label."""
    room = width - (_LABEL if width >= NARROW else 2)
    told = indented(health_line(found.health), room)
    for each in ill(found.health):
        style = SEVERITY_STYLE[each.severity]
        told += indented(f"{each.path} {state_word(each)}: {endpoint_text(each)}", room, style=style)
    lines = _labelled("Health", told, width)
    fires = SEVERITY_STYLE[found.alerts.severity]
    bad = found.alerts.configured and found.alerts.severity is not Severity.OK
    lines += _labelled("Alerts", indented(alerts_line(found.alerts), room, style=fires if bad else ""), width)
    if found.actions is not None:
        done = [part for a in found.actions for part in indented(action_line(a, found), room)]
        lines += _labelled("Actions", done or indented("none by this machine's audit log", room), width)
    return lines


def _labelled(label: str, body: list[Text], width: int) -> list[Text]:
    if width < NARROW:
        return [line((label, HEADING)), *shifted(body, 2)]
    first = line((label, HEADING), " " * (_LABEL - cells(label)), body[0])
    return [first, *shifted(body[1:], _LABEL)]


def status_of_all_page(
    found: StatusOfAll, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """A line a service, worst first; then what could not be seen."""
    width = page_width(width)
    found = inert(found, ascii_only=ascii_only)
    answer = verdict(found.summary.upper(), found.severity, ("", "", "", clock(found.at)), width)
    answer += next_lines("Next", found.next, width) if found.next else []
    rows = [
        Row(s.severity, s.service, s.environment, s.summary, alerts_cell(s.alerts)) for s in found.services
    ]
    blocks = [answer, fleet(rows, width), _all_gaps(found.services, width)]
    if found.actions:
        told = [part for a in found.actions for part in indented(action_line(a, found, named=True), width)]
        blocks.append([line(("Last actions", HEADING)), *told])
    blocks += [noted(found.notes, width), [line((t, FAINT)) for t in pack(asked_in(found), width)]]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def _all_gaps(services: Sequence[StatusReport], width: int) -> list[Text]:
    """Servers that did not answer, each once, and of how many services; the rest is on a service's own screen."""
    of: dict[tuple[str, str, str | None], list[StatusReport]] = {}
    for each in services:
        for gap in each.unseen:
            if gap.what in _SERVERS or gap.what.startswith("alerts: "):
                of.setdefault((gap.what, gap.reason, gap.hint), []).append(each)
    told: list[tuple[str, str | None]] = [
        (f"{what} ({found[0].service if len(found) == 1 else f'{len(found)} services'}): {reason}", hint)
        for (what, reason, hint), found in of.items()
    ]
    more = len(told) - _MOST_GAPS
    shown = told[:_MOST_GAPS] + ([(f"and {more} more: oncall status -s NAME", None)] if more > 0 else [])
    return gaps(shown, width)
