"""What a deployment watch counts besides signals: restarts, new error lines, backups that are not well."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime

from oncall.checks.deploy_judge import Reading
from oncall.checks.deploy_mark import LOOP_S, Mark, Past
from oncall.checks.deploy_measured import Seen, Span
from oncall.checks.deploy_rules import Rule, Rules
from oncall.diagnosis import asks
from oncall.diagnosis.metrics import Moment
from oncall.diagnosis.plan import Question
from oncall.model import Absence, Column, Frozen, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.model_service import Service
from oncall.numbers import clock

_MOST = 5
_PRESENT_S = 300.0
_NOBODY_ASKED = frozenset(
    {Absence.NOT_CONFIGURED, Absence.NOT_INSTALLED, Absence.NOT_APPLICABLE, Absence.PRESENT_ONLY}
)


class Scene(Frozen, frozen=True):
    """What the looks need. `past`: a moment was asked for, and what knows only the present is not asked."""

    service: Service
    mark: Mark
    known: Past
    span: Span
    now: float
    deadline_s: float
    past: bool = False


class Probed(Frozen, frozen=True):
    """By the id of the rule; `details` are rows to look at."""

    seen: Mapping[str, Seen]
    details: Mapping[str, Table]


async def probed(rules: Rules, scene: Scene) -> Probed:
    """Every look that is no signal, all at once."""
    asked = [rule for rule in rules.rules if rule.probe is not None]
    found = await asyncio.gather(*(_within(rule, scene) for rule in asked))
    by_id = dict(zip((rule.id for rule in asked), found, strict=True))
    return Probed(
        seen={key: Seen(reading=reading) for key, (reading, _) in by_id.items()},
        details={key: table for key, (_, table) in by_id.items() if table is not None},
    )


Found = tuple[Reading, Table | None]


async def _within(rule: Rule, scene: Scene) -> Found:
    try:
        async with asyncio.timeout(scene.deadline_s):
            reading, table = await _look(rule, scene)
    except TimeoutError:
        return Reading(bound=rule.below, reason=f"no answer within {scene.deadline_s:.3g} s"), None
    return reading, table


def _look(rule: Rule, scene: Scene) -> Awaitable[Found]:
    if rule.probe == "logs":
        return _logs(rule, scene)
    if rule.probe == "backups":
        return _backups(rule, scene)
    return _starts(rule, scene)


# --- restarts ------------------------------------------------------------------------------------------


async def _starts(rule: Rule, scene: Scene) -> Found:
    mark = scene.mark
    if not mark.starts and not mark.given:
        return Reading(bound=rule.below, reason="the process began before the history"), None
    if scene.known.begins is None:
        return Reading(bound=rule.below, reason="no start time of the service in Prometheus"), None
    count = mark.restarts if rule.probe == "restarts" else mark.crash_loop
    worst = max(mark.starts.items(), key=lambda item: len(item[1]), default=("", ()))
    reading = Reading(
        after=float(count),
        before=float(_before(scene)) if rule.probe == "crash_loop" else None,
        bound=rule.below,
        text=_told(worst[0], worst[1], count),
        gap=_young(scene),
    )
    return reading, None


def _told(instance: str, starts: tuple[float, ...], count: int) -> str:
    if not count:
        return "none"
    last = datetime.fromtimestamp(starts[-1], UTC)
    name = instance or "the process"
    return f"{name} began {len(starts)} times since the deploy, the last time at {clock(last)}"


def _before(scene: Scene) -> int:
    """Restarts of one instance in the half hour before the deploy, at most."""
    first = scene.mark.first
    counts: dict[str, int] = {}
    for start in scene.known.starts:
        if first - LOOP_S <= start.at < min(first, min(scene.mark.starts.get(start.instance, (first,)))):
            counts[start.instance] = counts.get(start.instance, 0) + 1
    return max(counts.values(), default=0)


def _young(scene: Scene) -> str | None:
    begins = scene.known.begins
    late = begins is not None and begins > scene.mark.first + 600.0
    return "the history begins after the deploy" if late else None


# --- log lines ---------------------------------------------------------------------------------------------


async def _logs(rule: Rule, scene: Scene) -> Found:
    """Templates of error lines that the log has since the deploy and did not have before it."""
    span, mark = scene.span, scene.mark
    window = max(1.0, span.end - mark.first)
    moment = Moment(
        at=span.end, now=scene.now, window_s=window, baseline_s=max(window, span.before_s), exact=True
    )
    asked = asks.Asked(
        service=scene.service,
        moment=moment,
        patterns={},
        deadline_s=scene.deadline_s,
        timeout_s=scene.deadline_s,
        past=scene.past,
    )
    question = Question(probe="logs", text="templates")
    part = await asks.logs(asked, [question])
    answer = part.answers[question.key].answer
    if isinstance(answer, Unavailable):
        return _absent(rule, answer), None
    return _new(rule, answer)


def _absent(rule: Rule, why: Unavailable) -> Reading:
    return Reading(bound=rule.below, reason=why.reason, hint=why.hint, counts=why.kind not in _NOBODY_ASKED)


def _new(rule: Rule, found: Table) -> Found:
    names = [column.name for column in found.columns]
    rows = [dict(zip(names, row, strict=True)) for row in found.rows]
    if rows and all(row["new"] is None for row in rows):
        said = next((n for n in found.notes if "usual" in n or "compare" in n), "what is usual is not known")
        return Reading(bound=rule.below, reason=said), None
    new = [row for row in rows if row["new"] is True]
    if not new:
        return Reading(after=0.0, bound=rule.below, text="none that the log did not know before"), None
    text = f"{len(new)} new, such as: {str(new[0]['template'])[:120]}"
    shown = tuple((row["template"], row["now"], row["example"]) for row in new[:_MOST])
    columns = (Column(name="template"), Column(name="lines"), Column(name="example"))
    return Reading(after=float(len(new)), bound=rule.below, text=text), Table(columns=columns, rows=shown)


# --- backups -------------------------------------------------------------------------------------------------


async def _backups(rule: Rule, scene: Scene) -> Found:
    """The backups of the service file, each checked for itself."""
    if scene.past or scene.now - scene.span.end > _PRESENT_S:
        reason = "backups are known for the present only"
        return Reading(bound=rule.below, reason=reason, counts=False), None
    from oncall.checks.backups import look

    lines: tuple[CheckLine, ...] = await look(scene.service, scene.deadline_s)
    return of_backups(rule, lines), None


def of_backups(rule: Rule, lines: tuple[CheckLine, ...]) -> Reading:
    """How many are not well; not known where one that counts is not, or none is configured. Pure."""
    bad = [n for n in lines if n.severity in (Severity.WARNING, Severity.CRITICAL)]
    dark = [n for n in lines if n.severity is Severity.UNKNOWN]
    counted = any(n.counts for n in lines)
    if bad:
        said = "; ".join(f"{n.title}: {n.text or n.reason or n.severity.value}" for n in bad[:_MOST])
        return Reading(after=float(len(bad)), bound=rule.below, text=said)
    if not lines or any(n.counts for n in dark) or not counted:
        first = next(iter((*dark, *lines)), None)
        reason = (first and (first.reason or first.text)) or "no backup is configured"
        return Reading(bound=rule.below, reason=reason, hint=first.hint if first else None, counts=counted)
    said = "; ".join(n.text or n.title for n in lines if n.counts)
    return Reading(after=0.0, bound=rule.below, text=said)
