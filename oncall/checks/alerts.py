"""Which alerts fired in the time that is looked at, from Prometheus's own record of them (the metric ALERTS).

Where the rules are another server's there is no such record: then Alertmanager says at least what fires now."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from oncall.checks.model import DAY_S, LineSpec
from oncall.checks.scene import Scene, no_prometheus, unknown
from oncall.clients.prom_alerts import Rules, raised_alerts
from oncall.clients.prometheus import Sample
from oncall.model import Absence, Column, Frozen, Next, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.units import promql_duration

if TYPE_CHECKING:
    from oncall.clients.alertmanager import Held

_STEP_S = 60.0
_PATIENCE_S = 5.0
"""A list of rules or of alerts is small: who has not sent it by then, within the time there is, does not answer."""
_FIRING = 'ALERTS{alertstate="firing"}'
_MOST_ROWS = 20
_COLUMNS = (
    Column(name="alert"),
    Column(name="severity"),
    Column(name="fired_for", unit="seconds"),
    Column(name="firing_now"),
    Column(name="last", unit="timestamp"),
    Column(name="labels"),
)
_HIDDEN = frozenset({"__name__", "alertname", "alertstate", "severity"})
_PAGES = frozenset({"critical", "page", "emergency", "error", "fatal"})


class Fired(Frozen, frozen=True):
    """One alert: for how many seconds it fired, and whether it does now."""

    name: str
    severity: str
    seconds: float
    now: bool
    last: float | None
    """When it was last seen firing (Unix seconds)."""
    labels: str


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line: how many alerts fired, the worst first below it."""
    at = scene.service.prometheus
    if at is None or scene.server is None:
        return (no_prometheus(name, spec),)
    over = float(spec.over or DAY_S)
    span = f"[{promql_duration(over)}:{_STEP_S:.0f}s]"
    ranged = f"count_over_time({_FIRING}{span})"
    texts = (ranged, f"max_over_time(timestamp({_FIRING}){span})", _FIRING)
    asked = asyncio.gather(*(scene.server.query(text, scene.at, scene.deadline_s) for text in texts))
    answers, rules = await asyncio.gather(asked, raised_alerts(at, _patience_s(scene)))
    samples = []
    for answer in answers:
        if isinstance(answer, Unavailable):
            return (unknown(name, spec, "prometheus", answer.reason, answer.hint),)
        samples.append(answer.samples)
    found = alerts_of(at.selector, *samples)
    if not found and (gap := _no_rule(rules)):
        return (await _elsewhere(scene, name, spec, gap),)
    return (replace(told(scene, name, spec, found), query=ranged),)


def _no_rule(rules: Rules | Unavailable) -> Unavailable | None:
    """Why no record of an alert does not mean that none fired; None where there are rules that could have."""
    if isinstance(rules, Rules) and rules.count:
        return None
    hint = "load alerting rules into Prometheus, or set `alertmanager` where another server has them"
    if isinstance(rules, Rules) and rules.count == 0:
        return Unavailable(Absence.NO_DATA, "no alerting rule is there that could fire", hint)
    why = rules.reason if isinstance(rules, Unavailable) else "; ".join(rules.notes)
    return Unavailable(
        Absence.NO_DATA, f"none is recorded, but whether any rule could fire is not known: {why}", hint
    )


async def _elsewhere(scene: Scene, name: str, spec: LineSpec, gap: Unavailable) -> CheckLine:
    """What Alertmanager holds, where Prometheus has no rule; it forgets what is over, and knows the present only."""
    at = scene.service.alertmanager
    if at is None or scene.at is not None:
        return unknown(name, spec, "prometheus", gap.reason, gap.hint)
    from oncall.clients.alertmanager import Alertmanager

    async with Alertmanager(at) as server:
        held = await server.alerts(_patience_s(scene))
    if isinstance(held, Unavailable):
        return unknown(name, spec, "alertmanager", held.reason, held.hint)
    assert scene.service.prometheus is not None
    found = held_alerts(scene.service.prometheus.selector, held, scene.now)
    line = replace(told(scene, name, spec, found), source="alertmanager", query="/api/v2/alerts")
    over = f"prometheus: {gap.reason}; what fired and is over is not known"
    return replace(line, text=line.text if found else "none fires now", notes=(over,))


def _patience_s(scene: Scene) -> float:
    # One after the other: both within the time of the line, so that it can say which of them was silent
    return min(_PATIENCE_S, 0.4 * scene.deadline_s)


def alerts_of(
    selector: Mapping[str, str], fired: Iterable[Sample], last: Iterable[Sample], firing: Iterable[Sample]
) -> tuple[Fired, ...]:
    """The alerts of a service, worst first. An alert whose labels say another service is not its own; one that has
    none of the selector's labels may be, and is kept. Pure."""
    now = {_key(s.labels) for s in firing}
    ended = {_key(s.labels): s.value for s in last}
    return _worst_first(
        _fired(s.labels, s.value * _STEP_S, ended.get(_key(s.labels)), now=_key(s.labels) in now)
        for s in fired
        if _is_own(s.labels, selector)
    )


def held_alerts(selector: Mapping[str, str], held: "Iterable[Held]", at: float) -> tuple[Fired, ...]:
    """The alerts of a service that Alertmanager holds, which fire at `at` (Unix s). Pure."""
    return _worst_first(
        _fired(h.labels, max(0.0, at - h.starts.timestamp()), at, now=True)
        for h in held
        if _is_own(h.labels, selector)
    )


def _is_own(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(label, value) == value for label, value in selector.items())


def _fired(labels: Mapping[str, str], seconds: float, last: float | None, *, now: bool) -> Fired:
    return Fired(
        name=labels.get("alertname", "without a name"),
        severity=labels.get("severity", ""),
        seconds=seconds,
        now=now,
        last=last,
        labels=", ".join(f"{k}={v}" for k, v in sorted(labels.items()) if k not in _HIDDEN),
    )


def _worst_first(found: Iterable[Fired]) -> tuple[Fired, ...]:
    return tuple(
        sorted(found, key=lambda f: (not f.now, f.severity.lower() not in _PAGES, -f.seconds, f.name))
    )


def _key(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((k, v) for k, v in labels.items() if k != "__name__")


def told(scene: Scene, name: str, spec: LineSpec, found: tuple[Fired, ...]) -> CheckLine:
    """The line of them: critical where one that pages fires now, else warning where any fired."""
    pages = [f for f in found if f.now and f.severity.lower() in _PAGES]
    severity = Severity.CRITICAL if pages else Severity.WARNING if found else Severity.OK
    names = list(dict.fromkeys(f.name for f in found))
    now = sum(f.now for f in found)
    said = f"{len(names)} fired" + (f", {now} still firing" if now else "") if names else "none fired"
    shown = f"{said}: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else said
    return CheckLine(
        id=name,
        title=spec.title or "Alerts",
        severity=severity,
        why=spec.why,
        source="prometheus",
        value=float(len(names)),
        unit="alerts",
        text=shown,
        target=spec.target or "none",
        age_s=0.0,
        next=_next(scene, found),
        detail=Table(columns=_COLUMNS, rows=tuple(map(_row, found[:_MOST_ROWS]))) if found else None,
    )


def _next(scene: Scene, found: tuple[Fired, ...]) -> Next | None:
    """The diagnosis of the first of them that a runbook names; of one that is over, about when it last fired."""
    named = (f for f in found if f.name in scene.books.alerts())
    first = next(named, None)
    if first is None:
        return None
    over = [] if first.now or first.last is None else ["--at", _moment(first.last)]
    return scene.command("diagnose", "--alert", first.name, *over, why="says why")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(f: Fired) -> tuple[str | float | bool | None, ...]:
    return (f.name, f.severity or None, f.seconds, f.now, f.last, f.labels or None)
