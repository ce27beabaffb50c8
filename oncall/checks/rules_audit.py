"""Alert rules that can no longer fire: what they ask for is gone, and a question about nothing is silent."""

import re
from collections.abc import Iterable, Mapping

from oncall.checks.model import DAY_S, LineSpec
from oncall.checks.scene import Scene, no_prometheus, present_only, unknown
from oncall.clients.many import instants
from oncall.clients.prom_alerts import Rule, alert_rules
from oncall.clients.prometheus import Vector
from oncall.model import Absence, Column, Frozen, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.promql import quote, selectors_in, unquote
from oncall.units import promql_duration

_STRING = r'"(?:\\.|[^"\\])*"|' + r"'(?:\\.|[^'\\])*'|`[^`]*`"
_NO_CODE = re.compile(_STRING + r"|#[^\n]*")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_NAMED = re.compile(rf"\{{\s*(?:[^{{}}]*,\s*)?__name__\s*=\s*({_STRING})")
_ABSENT = re.compile(r"\babsent(_over_time)?\s*\(", re.IGNORECASE)
_EITHER = re.compile(r"\b(or|unless)\b", re.IGNORECASE)
_OWN = frozenset({"ALERTS", "ALERTS_FOR_STATE"})
"""Prometheus has these only while something fires."""
_MOST_NAMES = 400
_MOST_ROWS = 50
_COLUMNS = (Column(name="alert"), Column(name="group"), Column(name="gone"), Column(name="also_asks"))


class Dead(Frozen, frozen=True):
    """A rule and the metrics that it asks for in vain."""

    rule: Rule
    gone: tuple[str, ...]
    there: tuple[str, ...]


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line: how many rules ask for a metric that had no sample in the line's time (a day unless told)."""
    at = scene.service.prometheus
    if at is None or scene.server is None:
        return (no_prometheus(name, spec),)
    if scene.at is not None:
        return (present_only(name, spec, "prometheus"),)
    rules = await alert_rules(at, scene.deadline_s)
    if isinstance(rules, Unavailable):
        return (unknown(name, spec, "prometheus", rules.reason, rules.hint),)
    asked = [(rule, metrics_of(rule.expression)) for rule in rules]
    names = sorted({n for _, found in asked for n in found})[:_MOST_NAMES]
    alive = await _alive(scene, names, float(spec.over or DAY_S))
    if isinstance(alive, Unavailable):
        return (unknown(name, spec, "prometheus", alive.reason, alive.hint),)
    return (told(name, spec, rules, dead_of(asked, alive, frozenset(names))),)


def metrics_of(expression: str) -> tuple[str, ...]:
    """The metrics that a rule needs, each once; none for a rule about absence, which is to find nothing. Pure."""
    if _ABSENT.search(_NO_CODE.sub('""', expression)):
        return ()
    found = []
    for selector in selectors_in(expression):
        bare, named = _NAME.match(selector), _NAMED.search(selector)
        name = bare[0] if bare else _unquoted(named[1]) if named else None
        if name and name not in _OWN:
            found.append(name)
    return tuple(dict.fromkeys(found))


def _unquoted(literal: str) -> str | None:
    try:
        return unquote(literal)
    except ValueError:
        return None


def dead_of(
    asked: Iterable[tuple[Rule, Iterable[str]]], alive: frozenset[str], looked_for: frozenset[str]
) -> tuple[Dead, ...]:
    """The rules with a metric that is gone. One that takes this or that is dead only without both. Pure."""
    found = []
    for rule, names in asked:
        known = [n for n in names if n in looked_for]
        gone = tuple(n for n in known if n not in alive)
        there = tuple(n for n in known if n in alive)
        either = _EITHER.search(_NO_CODE.sub('""', rule.expression))
        if gone and not (either and there):
            found.append(Dead(rule=rule, gone=gone, there=there))
    return tuple(found)


async def _alive(scene: Scene, names: list[str], over_s: float) -> frozenset[str] | Unavailable:
    """Those that have a sample now; of the others, those that had one. What is asked of the past is then little."""
    now = await _have(scene, {n: f"count({_exact(n)})" for n in names})
    if isinstance(now, Unavailable):
        return now
    span = promql_duration(over_s)
    rest = [n for n in names if n not in now]
    lately = await _have(scene, {n: f"count(last_over_time({_exact(n)}[{span}]))" for n in rest})
    return lately if isinstance(lately, Unavailable) else now | lately


def _exact(name: str) -> str:
    """A metric in a form that also names those that are words of PromQL, or of more than letters."""
    return f"{{__name__={quote(name)}}}"


async def _have(scene: Scene, texts: Mapping[str, str]) -> frozenset[str] | Unavailable:
    assert scene.server is not None
    answers = await instants(scene.server, texts, None, scene.deadline_s)
    found = set()
    for name, answer in answers.items():
        if isinstance(answer, Unavailable):
            return answer
        if answer.warnings:
            return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
        if isinstance(answer, Vector) and answer.samples:
            found.add(name)
    return frozenset(found)


def told(name: str, spec: LineSpec, rules: tuple[Rule, ...], dead: tuple[Dead, ...]) -> CheckLine:
    """The line of them. No rule at all is not well: then nothing ever pages."""
    return CheckLine(
        id=name,
        title=spec.title or "Alert rules",
        severity=Severity.WARNING if dead or not rules else Severity.OK,
        why=spec.why,
        source="prometheus",
        value=float(len(dead)),
        unit="rules",
        text=_text(rules, dead),
        target=spec.target or "0",
        query="/api/v1/rules",
        age_s=0.0,
        hint=None
        if rules
        else "are the rules evaluated by another server? then name that one in `prometheus`",
        detail=Table(columns=_COLUMNS, rows=tuple(map(_row, dead[:_MOST_ROWS]))) if dead else None,
    )


def _text(rules: tuple[Rule, ...], dead: tuple[Dead, ...]) -> str:
    if not rules:
        return "Prometheus has no alert rule"
    if not dead:
        return f"all {len(rules)} ask for metrics that are there"
    names = [d.rule.name for d in dead]
    more = " …" if len(names) > 3 else ""
    return f"{len(dead)} of {len(rules)} ask for a metric that is gone: {', '.join(names[:3])}{more}"


def _row(d: Dead) -> tuple[str | None, ...]:
    return d.rule.name, d.rule.group or None, ", ".join(d.gone), ", ".join(d.there) or None
