"""What is said of a status or of health, whatever it is said in, and the same in Markdown. Imports no rich."""

from collections.abc import Iterable, Sequence

from oncall.model import Next, Severity, SignalReport
from oncall.model_status import (
    AlertCount,
    Endpoint,
    Firing,
    HealthOfAll,
    HealthReport,
    LastAction,
    StatusOfAll,
    StatusReport,
)
from oncall.numbers import NONE, clock, day, humane, since
from oncall.render.inert import inert
from oncall.render.markdown import code_block, inline
from oncall.render.text import cells, cut, pad
from oncall.render.words import bounds, ranked_signals, shown_value, state

_HEADS = ("Signal", "now", "usual", "warn", "crit", "")
_LONGEST = 120


def headline(found: StatusReport) -> str:
    """`POOL IN USE 19/20, AND 2 MORE`."""
    if not found.concerns:
        return "ALL WELL" if found.severity is Severity.OK else "NOT ALL IS KNOWN"
    first, more = found.concerns[0], len(found.concerns) - 1
    short = first.text.partition(":" if first.kind in ("health", "alert") else ",")[0]
    return short.upper() + (f", AND {more} MORE" if more else "")


def health_headline(found: HealthReport) -> str:
    """`HEALTH: 2 OF 3 HEALTHY`."""
    asked = [e for e in found.endpoints if e.state != "not_configured"]
    if not asked:
        return "HEALTH NOT CONFIGURED"
    return f"HEALTH: {sum(e.state == 'healthy' for e in asked)} OF {len(asked)} HEALTHY"


def state_word(each: Endpoint) -> str:
    return each.state.replace("_", " ")


def endpoint_text(each: Endpoint) -> str:
    """What it says, after how many looks; that a failure is not critical."""
    told = cut(each.text, _LONGEST)
    if each.failures:
        looks = "1 look" if each.looks == 1 else f"{each.failures} of {each.looks} looks failed"
        told += f" ({looks}{'' if each.critical else '; not critical'})"
    return told


def shape_text(each: Endpoint) -> str | None:
    """`/health/db: has no database; latency_ms is other text, not a number`."""
    return f"{each.path} answers not as documented: {'; '.join(each.shape)}" if each.shape else None


def health_line(found: HealthReport) -> str:
    """All of them in a line, where all are well: `3 of 3 healthy: /health 12 ms, ...`."""
    told = [f"{e.path} {humane(e.ms, 'ms')}" for e in found.endpoints if e.state == "healthy"]
    asked = [e for e in found.endpoints if e.state != "not_configured"]
    if not asked:
        return "not configured"
    return f"{len(told)} of {len(asked)} healthy" + (f": {', '.join(told)}" if told else "")


def ill(found: HealthReport) -> list[Endpoint]:
    return [e for e in found.endpoints if e.state not in ("healthy", "not_configured")]


def alerts_line(found: AlertCount) -> str:
    """`2 critical firing, 1 pending: HighPool (2), HighErrorRate`."""
    if not found.configured:
        return "not configured"
    names = ", ".join(map(_name, found.worst))
    return f"{found.summary}: {names}" if names else found.summary.removeprefix("alerts ")


def _name(each: Firing) -> str:
    more = [str(each.count)] if each.count > 1 else []
    more += ["muted"] if each.silenced else []
    return f"{each.name} ({', '.join(more)})" if more else each.name


def alerts_cell(found: AlertCount) -> str:
    """What fires, for a column: `2 critical`."""
    for number, word in ((found.critical, "critical"), (found.warning, "warning"), (found.info, "info")):
        if number:
            return f"{number} {word}"
    return "unknown" if found.severity is Severity.UNKNOWN and found.configured else NONE


def action_line(each: LastAction, found: StatusReport | StatusOfAll, *, named: bool = False) -> str:
    """`02:10 restart by ana@jump-1: done, fixed`."""
    of = f" of {each.service}" if named else ""
    return f"{since(each.at, found.at)} {each.action}{of} by {each.by}: {each.outcome}"


def facts(found: StatusReport) -> list[str]:
    usual = [f"usual: the {humane(found.baseline_s, 'seconds')} before"] if found.baseline_s else []
    compared = usual if any(s.baseline is not None for s in found.signals) else []
    return [day(found.at), *compared, f"asked in {humane(found.duration_ms, 'ms')}"]


def asked_in(found: StatusOfAll | HealthOfAll | HealthReport) -> list[str]:
    return [day(found.at), f"asked in {humane(found.duration_ms, 'ms')}"]


# --- markdown ----------------------------------------------------------------------------------


def status_markdown(found: StatusReport) -> str:
    """One service, to paste into a channel."""
    found = inert(found)
    blocks = [_head(headline(found), found.severity, found.service, found.environment, found)]
    blocks += [_next(found.next), code_block(_signals(found.signals)) if found.signals else ""]
    lines = [f"- Health: {inline(health_line(found.health))}"]
    lines += [f"  - {inline(f'{e.path} {state_word(e)}: {endpoint_text(e)}')}" for e in ill(found.health)]
    lines.append(f"- Alerts: {inline(alerts_line(found.alerts))}")
    lines += [f"- Action: {inline(action_line(a, found))}" for a in found.actions or ()]
    gaps = [f"- {inline(f'{u.what}: {u.reason}')}" for u in found.unseen]
    blocks += ["\n".join(lines), "\n".join(["**Could not be seen**", *gaps]) if gaps else ""]
    return "\n\n".join(filter(None, blocks)) + "\n"


def status_of_all_markdown(found: StatusOfAll) -> str:
    """Every service, a line each."""
    found = inert(found)
    rows = _aligned(
        [s.severity.value, s.service, s.environment, alerts_cell(s.alerts), cut(s.summary, _LONGEST)]
        for s in found.services
    )
    blocks = [f"**{found.summary}** ({found.severity.value})\n{day(found.at)} {clock(found.at)}"]
    return "\n\n".join(filter(None, [*blocks, _next(found.next), code_block(rows)])) + "\n"


def health_markdown(found: HealthReport) -> str:
    """One service's endpoints, a line each."""
    found = inert(found)
    head = _head(health_headline(found), found.severity, found.service, found.environment, found)
    rows = _aligned([state_word(e), e.path, endpoint_text(e)] for e in found.endpoints)
    shapes = [f"- {inline(text)}" for e in found.endpoints if (text := shape_text(e))]
    return "\n\n".join(filter(None, [head, _next(found.next), code_block(rows), "\n".join(shapes)])) + "\n"


def health_of_all_markdown(found: HealthOfAll) -> str:
    """Every service, a line each."""
    found = inert(found)
    rows = _aligned(
        [s.severity.value, s.service, s.environment, cut(s.summary, _LONGEST)] for s in found.services
    )
    head = f"**{found.summary}** ({found.severity.value})\n{day(found.at)} {clock(found.at)}"
    return "\n\n".join([head, code_block(rows)]) + "\n"


def _head(
    title: str, severity: Severity, service: str, environment: str, of: StatusReport | HealthReport
) -> str:
    named = " · ".join([inline(service), inline(environment), f"{day(of.at)} {clock(of.at)}"])
    return f"**{inline(title)}** ({severity.value})\n{named}"


def _next(step: Next | None) -> str:
    return f"**Next:** {inline(step.why)}\n{code_block([step.command])}" if step else ""


def _signals(signals: Sequence[SignalReport]) -> list[str]:
    return _aligned([_HEADS, *map(_row, ranked_signals(signals))])


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    shown = list(rows)
    widths = [max(map(cells, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(pad(t, w) for t, w in zip(row, widths, strict=True)).rstrip() for row in shown]


def _row(signal: SignalReport) -> tuple[str, ...]:
    if signal.value is None:
        return (signal.title, "unknown", "", "", "", "")
    numbers = (humane(number, signal.unit) for number in (signal.baseline, *bounds(signal)))
    return (signal.title, shown_value(signal), *numbers, state(signal))
