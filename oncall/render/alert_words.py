"""What is said of alerts, whatever it is said in; and their report as Markdown. Imports no rich."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from oncall.model import Next, Severity, Unseen
from oncall.model_alerts import Alert, AlertsOfAll, AlertsReport, Escalation, Muted, Others
from oncall.numbers import clock, day, duration, humane, since
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cut, safe

ALSO = 3
"""Of one name the first alert is shown in full, of so many more the labels; the rest is counted."""
MOST = 30
"""So many alerts of a service are shown; more are counted."""
BY_THE_CLOCK = "who is paged is told by the clock: Alertmanager does not know who has acknowledged"
_LONGEST_VALUE, _LONGEST_NAME, _LONGEST_SUMMARY = 48, 80, 200
_NAMES = 4
_OLD_S = 120.0


class Row(NamedTuple):
    """An alert that is shown, and the younger ones of its kind."""

    alert: Alert
    also: tuple[Alert, ...] = ()


def harmless(found: AlertsReport, *, ascii_only: bool = False) -> AlertsReport:
    """The report with all foreign text made safe to print, labels too."""

    def clean(labels: Mapping[str, str]) -> dict[str, str]:
        return {safe(k, ascii_only=ascii_only): safe(v, ascii_only=ascii_only) for k, v in labels.items()}

    alerts = tuple(
        replace(inert(a, ascii_only=ascii_only), labels=clean(a.labels), runbook=a.runbook)
        for a in found.alerts
    )
    return inert(replace(found, alerts=alerts, selector=clean(found.selector)), ascii_only=ascii_only)


def rows(found: AlertsReport) -> tuple[list[Row], int]:
    """The alerts in their order, those of one kind together; and how many are not shown at all."""
    shown, places = list[Row](), dict[tuple[object, ...], int]()
    left = 0
    for alert in found.alerts:
        kind = (alert.name, alert.severity, alert.state, alert.silenced, alert.inhibited_by)
        if kind in places:
            row = shown[places[kind]]
            shown[places[kind]] = row._replace(also=(*row.also, alert))
        elif len(shown) == MOST:
            left += 1
        else:
            places[kind] = len(shown)
            shown.append(Row(alert))
    return shown, left


def first(found: AlertsReport) -> Next | None:
    """What to run for the worst alert that is not muted."""
    firing = [a for a in found.alerts if a.state == "firing"]
    loud = [a for a in firing if not a.muted]
    return next((a.runbook for a in (*loud, *firing) if a.runbook), None)


def word(alert: Alert) -> str:
    """critical, warning, info."""
    return "info" if alert.severity is Severity.OK else alert.severity.value


def name(alert: Alert) -> str:
    return cut(alert.name, _LONGEST_NAME)


def lasted(alert: Alert, at: datetime) -> str:
    """`firing 7 min 12 s, since 03:05`."""
    if alert.age_s is None or alert.since is None:
        return alert.state
    return f"{alert.state} {duration(round(alert.age_s))}, since {since(alert.since, at)}"


def facts(alert: Alert, selector: Mapping[str, str]) -> list[str]:
    """Its value against its bound, and the labels that tell it from others."""
    told = []
    if alert.value is not None:
        bound = f" ({alert.bound})" if alert.bound else ""
        old = (
            f", evaluated {duration(round(alert.value_age_s))} ago"
            if (alert.value_age_s or 0.0) > _OLD_S and alert.value_age_s is not None
            else ""
        )
        told.append(f"value {humane(alert.value)}{bound}{old}")
    elif alert.sources == ("alertmanager",):
        told.append("only Alertmanager has it: no value")
    if alert.label.lower() != word(alert):
        told.append(f'severity="{cut(alert.label, _LONGEST_VALUE)}"' if alert.label else "no label severity")
    return told + ([labels] if (labels := labels_told(alert.labels, selector)) else [])


def also_told(row: Row, selector: Mapping[str, str]) -> str:
    """`5 in all: also instance="b"; instance="c"; 2 more`."""
    if not row.also:
        return ""
    named = [labels_told(a.labels, selector) or "without labels of its own" for a in row.also[:ALSO]]
    rest = len(row.also) - len(named)
    return f"{len(row.also) + 1} in all: also {'; '.join(named)}" + (f"; {rest} more" if rest else "")


def labels_told(labels: Mapping[str, str], selector: Mapping[str, str]) -> str:
    own = {k: v for k, v in sorted(labels.items()) if selector.get(k) != v}
    return ", ".join(f'{k}="{cut(v, _LONGEST_VALUE)}"' for k, v in own.items())


def summary_of(alert: Alert) -> str:
    return cut(alert.summary or "", _LONGEST_SUMMARY)


def standing(alert: Alert, at: datetime) -> list[str]:
    """What becomes of it: muted by whom until when, who is paged and who is next, what time is left to answer."""
    told = [muted(m, at) for m in alert.silenced]
    if alert.inhibited_by:
        told.append(f"inhibited by {', '.join(dict.fromkeys(alert.inhibited_by))}, while that fires")
    if alert.unheard:
        told.append("Alertmanager has not got it: nobody is told")
    if alert.fires_in_s is not None:
        told.append(f"fires in {duration(round(alert.fires_in_s))} unless it ends before")
    return told + (escalated(alert.escalation, at) if alert.escalation and not alert.unheard else [])


def muted(silence: Muted, at: datetime) -> str:
    """`silenced until 05:00, in 1 h, by ana: the upgrade`."""
    if silence.until is None:
        return f"silenced by {silence.id}, which could not be read"
    left = duration(round(max(0.0, (silence.until - at).total_seconds())))
    comment = cut(silence.comment, _LONGEST_SUMMARY)
    return f"silenced until {since(silence.until, at)}, {left} more, by {silence.by}: {comment}"


def escalated(stand: Escalation, at: datetime) -> list[str]:
    """Who has been paged, who is next and when; the time left to answer."""
    told = answer(stand)
    if stand.paged:
        named = ", ".join(f"{p.who} ({since(p.at, at)})" for p in stand.paged)
        told.append(f"paged: {named}")
        if stand.next and stand.next_in_s is not None:
            left = duration(round(stand.next_in_s))
            told.append(f"next: {stand.next.who} in {left}, at {since(stand.next.at, at)}")
        else:
            told.append("all levels have been paged")
    elif stand.tells:
        told.append(f"told in {stand.tells}")
    return told


def answer(stand: Escalation) -> list[str]:
    if stand.respond_s is None or stand.left_s is None:
        return []
    asked = f"answer within {duration(stand.respond_s)}"
    left = duration(round(abs(stand.left_s)))
    return [f"{asked}: {left} left" if stand.left_s > 0 else f"{asked}: overdue by {left}"]


def others_told(found: AlertsReport) -> Iterator[str]:
    """What fires and is not counted here, never hidden."""
    asked = selector_told(found.selector)
    bare = [o for o in found.others if o.unlabelled]
    if bare:
        count, verb = sum(o.count for o in bare), "lacks" if sum(o.count for o in bare) == 1 else "lack"
        yield f"not counted: {_alerts(count)} that {verb} {asked} and may be this service's: {_named(bare)}"
    if len(bare) < len(found.others):
        elsewhere = [o for o in found.others if not o.unlabelled]
        count = sum(o.count for o in elsewhere)
        yield f"not counted: {_alerts(count)} of other services: {_named(elsewhere)}"


def unclaimed_told(found: AlertsOfAll) -> Iterator[str]:
    if found.unclaimed:
        count = sum(o.count for o in found.unclaimed)
        yield f"not counted: {_alerts(count)} of no service of the file: {_named(found.unclaimed)}"


def _alerts(count: int) -> str:
    return "1 firing alert" if count == 1 else f"{count} firing alerts"


def _named(others: Sequence[Others]) -> str:
    named = [
        f"{cut(o.name, _LONGEST_VALUE)} ({o.label or 'no severity'}{f', {o.count}' if o.count > 1 else ''})"
        for o in others[:_NAMES]
    ]
    rest = len(others) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "")


def selector_told(selector: Mapping[str, str]) -> str:
    return ", ".join(f'{k}="{cut(v, _LONGEST_VALUE)}"' for k, v in selector.items())


def notes(found: AlertsReport) -> Iterator[str]:
    """What the reader must know besides."""
    yield from others_told(found)
    if any(a.escalation and a.escalation.paged and not a.unheard for a in found.alerts):
        yield BY_THE_CLOCK
    yield from found.notes


def footer(found: AlertsReport) -> list[str]:
    asked = selector_told(found.selector)
    whose = (
        f"alerts with {asked}" if asked else "no prometheus.selector: every alert is taken as this service's"
    )
    return [day(found.at), whose, f"asked in {humane(found.duration_ms, 'ms')}"]


def unseen_of(reports: Iterable[AlertsReport]) -> list[tuple[Unseen, list[str]]]:
    """Each gap once, with the services that it is a gap of."""
    gaps: dict[tuple[str, str], tuple[Unseen, list[str]]] = {}
    for report in reports:
        for gap in report.unseen:
            gaps.setdefault((gap.what, gap.reason), (gap, []))[1].append(report.service)
    return list(gaps.values())


# --- markdown ------------------------------------------------------------------------------------


def alerts_markdown(found: AlertsReport) -> str:
    """The report to paste into an incident channel."""
    found = harmless(found)
    return "\n\n".join(block for block in _blocks(found) if block) + "\n"


def alerts_of_all_markdown(found: AlertsOfAll) -> str:
    """All services: a line each that is not well, then their alerts."""
    reports = [harmless(r) for r in found.services]
    ill = [r for r in reports if r.severity is not Severity.OK or r.alerts]
    blocks = [f"**{inline(found.summary)}** ({found.severity.value})\n{day(found.at)} {clock(found.at)}"]
    blocks += ["\n".join(f"- {inline(r.service)}: {inline(r.summary)} ({r.severity.value})" for r in ill)]
    blocks += [f"**{inline(r.service)}**\n{listed(r)}" for r in ill if r.alerts]
    blocks += [bullets("Could not be seen", (_gap(g, of) for g, of in unseen_of(reports)))]
    blocks += [bullets("Notes", unclaimed_told(replace(found, services=())))]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _gap(gap: Unseen, services: Sequence[str]) -> str:
    of = services[0] if len(services) == 1 else f"{len(services)} services"
    return f"{gap.what} ({of}): {gap.reason}"


def _blocks(found: AlertsReport) -> Iterator[str]:
    who = " · ".join([inline(found.service), inline(found.environment)])
    yield f"**{inline(found.summary)}** ({found.severity.value})\n{who} · {day(found.at)} {clock(found.at)}"
    step = first(found)
    yield f"**Next:** {inline(step.why)}\n{code_block([safe(step.command)])}" if step else ""
    yield listed(found)
    yield bullets("Could not be seen", (f"{gap.what}: {gap.reason}" for gap in found.unseen))
    yield bullets("Notes", notes(found))
    yield " · ".join(map(inline, footer(found)[1:]))


def listed(found: AlertsReport) -> str:
    """A list item an alert, what is known of it below."""
    lines = []
    shown, left = rows(found)
    for row in shown:
        alert = row.alert
        lines.append(f"- {word(alert)}: **{inline(name(alert))}**, {inline(lasted(alert, found.at))}")
        below = [*facts(alert, found.selector), also_told(row, found.selector), summary_of(alert)]
        below += standing(alert, found.at)
        lines += [f"  - {inline(text)}" for text in below if text]
        lines += [f"  - {inline(safe(runbook))}" for runbook in [runbook_of(alert)] if runbook]
    return "\n".join([*lines, *([f"- … and {left} more"] if left else [])])


def runbook_of(alert: Alert) -> str:
    """The command that says why, else the address of its runbook."""
    return alert.runbook.command if alert.runbook else alert.runbook_url or ""


def bullets(title: str, texts: Iterable[str]) -> str:
    """A titled list; nothing where it is empty."""
    told = [f"- {inline(text)}" for text in texts if text]
    return "\n".join([f"**{title}**", *told]) if told else ""
