"""Alerts as a page for a terminal: how bad, what to run next, then each alert with who is paged and when."""

from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.text import Text

from oncall.model import Next, Severity
from oncall.model_alerts import Alert, AlertsOfAll, AlertsReport
from oncall.numbers import clock, day, humane
from oncall.render.alert_words import (
    Row,
    also_told,
    facts,
    first,
    footer,
    harmless,
    lasted,
    name,
    notes,
    rows,
    runbook_of,
    standing,
    summary_of,
    unclaimed_told,
    unseen_of,
    word,
)
from oncall.render.command import command_lines
from oncall.render.diagnosis import page, page_width
from oncall.render.grid import FAINT, HEADING, SEVERITY_STYLE, indented, line, marked, noted, shifted
from oncall.render.header import NARROW, next_lines, verdict
from oncall.render.inert import inert
from oncall.render.text import cells, pack

_LABEL = 10
_MOST_SERVICES = 12
"""So many services with alerts are shown in full by --all."""


def alerts_page(
    found: AlertsReport, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """The page, at most `width` cells wide; on a screen of fewer lines its answer stands once more at its end."""
    width = page_width(width)
    found = harmless(found, ascii_only=ascii_only)
    identity = (found.service, found.environment, "", clock(found.at))
    answer = verdict(found.summary, found.severity, identity, width)
    step = first(found)
    answer += next_lines("Next", step, width) if step else []
    blocks = [answer, *alert_blocks(found, width, step)]
    blocks.append(gaps([(f"{g.what}: {g.reason}", g.hint) for g in found.unseen], width))
    blocks += [noted(notes(found), width), [line((text, FAINT)) for text in pack(footer(found), width)]]
    return page(blocks, answer, ascii_only=ascii_only, height=height)


def alerts_of_all_page(
    found: AlertsOfAll, *, width: int, ascii_only: bool = False, height: int | None = None
) -> Group:
    """Every service: a line each that has something, worst first, then their alerts."""
    width = page_width(width)
    reports = [harmless(report, ascii_only=ascii_only) for report in found.services]
    found = inert(replace_services(found), ascii_only=ascii_only)
    head = verdict(found.summary, found.severity, ("", "", "", clock(found.at)), width)
    ill = [r for r in reports if r.severity is not Severity.OK or r.alerts]
    answer = [*head, *_services(ill, len(reports) - len(ill), width)]
    blocks = [answer]
    for report in [r for r in ill if r.alerts][:_MOST_SERVICES]:
        titled = indented(f"{report.service} · {report.environment}", width, style=HEADING)
        blocks += [[*titled, *block] for block in alert_blocks(report, width, None)[:1]]
        blocks += alert_blocks(report, width, None)[1:]
    told = [(f"{g.what} ({_of(of)}): {g.reason}", g.hint) for g, of in unseen_of(reports)]
    blocks += [gaps(told, width), noted(_all_notes(found, ill), width)]
    last = [day(found.at), f"asked in {humane(found.duration_ms, 'ms')}"]
    return page(
        [*blocks, [line((t, FAINT)) for t in pack(last, width)]], answer, ascii_only=ascii_only, height=height
    )


def replace_services(found: AlertsOfAll) -> AlertsOfAll:
    """Without the reports, which are made safe one by one."""
    from msgspec.structs import replace

    return replace(found, services=())


def _all_notes(found: AlertsOfAll, ill: Sequence[AlertsReport]) -> Iterable[str]:
    hidden = len([r for r in ill if r.alerts]) - _MOST_SERVICES
    if hidden > 0:
        yield f"the alerts of {hidden} more services are not shown: oncall alerts -s NAME"
    yield from unclaimed_told(found)
    yield from dict.fromkeys(note for report in ill for note in report.notes)


def _of(services: Sequence[str]) -> str:
    return services[0] if len(services) == 1 else f"{len(services)} services"


def _services(ill: Sequence[AlertsReport], well: int, width: int) -> list[Text]:
    lines: list[Text] = []
    for report in ill:
        style = SEVERITY_STYLE[report.severity]
        told = f"{report.service}: {report.summary}"
        lines += _labelled(report.severity.value, style, indented(told, _room(width)), width)
    rest = f"{well} more: nothing fires" if ill else ""
    return lines + (
        _labelled("ok", SEVERITY_STYLE[Severity.OK], indented(rest, _room(width)), width)
        if well and rest
        else []
    )


# --- one alert -----------------------------------------------------------------------------------


def alert_blocks(found: AlertsReport, width: int, said: Next | None) -> list[list[Text]]:
    """A block an alert; `said`: the command that stands above already."""
    shown, left = rows(found)
    told = {said.command} if said else set()
    blocks = []
    for row in shown:
        command = runbook_of(row.alert)
        blocks.append(_block(row, found, width, command if command not in told else ""))
        told.add(command)
    more = f"… and {left} more: --output json has them all"
    return [*blocks, *([indented(more, width, style=FAINT)] if left else [])]


def _block(row: Row, found: AlertsReport, width: int, command: str) -> list[Text]:
    alert, room = row.alert, _room(width)
    body = _first_line(alert, lasted(alert, found.at), room)
    body += [line(text) for text in pack(facts(alert, found.selector), room)]
    body += indented(also_told(row, found.selector), room) if row.also else []
    body += indented(summary_of(alert), room, style=FAINT) if alert.summary else []
    style = SEVERITY_STYLE[Severity.CRITICAL] if alert.unheard or _overdue(alert) else ""
    body += [line((text, style)) for text in pack(standing(alert, found.at), room)]
    severity = FAINT if alert.muted or alert.state == "pending" else SEVERITY_STYLE[alert.severity]
    lines = _labelled(word(alert), severity, body, width)
    return lines + (command_lines(command, width, indent=width - room) if command else [])


def _overdue(alert: Alert) -> bool:
    stand = alert.escalation
    return stand is not None and stand.left_s is not None and stand.left_s <= 0 and bool(stand.paged)


def _first_line(alert: Alert, state: str, room: int) -> list[Text]:
    if cells(name(alert)) + 3 + cells(state) <= room:
        return [line((name(alert), HEADING), "   ", state)]
    return [*indented(name(alert), room, style=HEADING), *indented(state, room)]


def _room(width: int) -> int:
    return width - (_LABEL if width >= NARROW else 2)


def _labelled(label: str, style: str, body: list[Text], width: int) -> list[Text]:
    """Beside its label, or below it on a narrow page."""
    if width < NARROW:
        return [line((label, style)), *shifted(body, 2)]
    first = line((label, style), " " * (_LABEL - cells(label)), body[0]) if body else line((label, style))
    return [first, *shifted(body[1:], _LABEL)]


# --- what else must be said ------------------------------------------------------------------------


def gaps(found: Iterable[tuple[str, str | None]], width: int) -> list[Text]:
    """What could not be read, why, and what to do about it."""
    lines: list[Text] = []
    for text, hint in found:
        lines += marked("?", SEVERITY_STYLE[Severity.UNKNOWN], indented(text, width - 2))
        lines += indented(hint, width, indent=4 if width >= NARROW else 2) if hint else []
    return [line(("Could not be seen", HEADING)), *lines] if lines else []
