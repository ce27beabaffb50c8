"""One shift for the next: what fired, what is silenced, what was done, what is on its way to a limit."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from oncall.clients.prometheus import Matrix, Prometheus, Series, Vector
from oncall.model import WORST_FIRST, Absence, Unavailable, Unseen
from oncall.model_acts import AuditList
from oncall.model_alerts import AlertsReport, Fired, Handover, Silence
from oncall.model_service import PrometheusAt
from oncall.monitoring.alert_pairs import joined
from oncall.monitoring.alert_sources import Kept, Progress, Seen, ask, not_configured
from oncall.monitoring.alerts import Look, fits, report, scrubbed
from oncall.monitoring.silences import own_silences, silence_of
from oncall.monitoring.trends import Trends, trending
from oncall.numbers import duration
from oncall.promql import service_matchers
from oncall.runbook.loader import Library
from oncall.scrub import scrub, secrets_of
from oncall.units import promql_duration

_POINTS = 1440
_LEAST_STEP_S = 15.0
_KNOWN = 0.95
"""The share of the shift that the history must cover to be called whole."""
Key = frozenset[tuple[str, str]]
_HIDDEN = frozenset({"__name__", "alertstate", "alertname", "severity"})


@dataclass(frozen=True)
class History:
    """What fired in the shift: of the service, and how many others (None: not known); what the history lacks."""

    fired: tuple[Fired, ...]
    others: int | None
    notes: tuple[str, ...]


async def handover(
    each: Look,
    books: Library,
    since_s: float,
    timeout_s: float,
    done: "AuditList | Unseen",
    progress: Progress,
) -> Handover:
    """The last `since_s` seconds. `done`: the actions of the audit log, or why they could not be read."""
    begun = time.monotonic()
    at = each.service.prometheus
    seen, (history, trends) = await asyncio.gather(
        ask({each.name: each.service}, timeout_s, progress),
        _of_prometheus(each, books, at, since_s, timeout_s),
    )
    answers, now = seen[each.name], time.time()
    took = round((time.monotonic() - begun) * 1000)
    shown = report(each, answers, joined(answers), now, took)
    begin = datetime.fromtimestamp(shown.at.timestamp() - since_s, UTC).replace(microsecond=0)
    fired = history.fired if isinstance(history, History) else None
    silences, secrets = _silences(each, answers, begin, shown.at), secrets_of(each.service)
    return Handover(
        service=each.name,
        environment=each.service.environment,
        at=shown.at,
        since=begin,
        duration_ms=took,
        summary=_summary(shown, fired, silences, done, trends),
        now=shown,
        fired=fired,
        silences=silences,
        done=done if isinstance(done, AuditList) else None,
        trending=trends.found if isinstance(trends, Trends) else None,
        fired_others=history.others if isinstance(history, History) else None,
        unseen=tuple(scrubbed(gap, secrets) for gap in _unseen(shown, history, trends, done)),
        notes=tuple(scrub(note, secrets) for note in _notes(history, trends)),
    )


async def _of_prometheus(
    each: Look, books: Library, at: PrometheusAt | None, since_s: float, timeout_s: float
) -> "tuple[History | Unavailable, Trends | Unavailable]":
    if at is None:
        return not_configured("prometheus"), not_configured("prometheus")
    async with Prometheus(at) as server:
        now = await server.query("vector(1)", None, timeout_s)
        if isinstance(now, Unavailable):
            return now, now
        end = now.samples[0].time
        return await asyncio.gather(
            _history(server, each, at.selector, end, since_s, timeout_s),
            trending(server, each.service, books, end, since_s, timeout_s),
        )


# --- what fired --------------------------------------------------------------------------------------


async def _history(
    server: Prometheus, each: Look, selector: Mapping[str, str], end: float, since_s: float, timeout_s: float
) -> "History | Unavailable":
    step = max(_LEAST_STEP_S, since_s / _POINTS)
    own = ",".join(map(str, service_matchers(selector)))
    firing = f'ALERTS{{alertstate="firing"{"," + own if own else ""}}}'
    # What fired between two points of the grid counts too
    asked = f"{firing} or last_over_time({firing}[{promql_duration(step)}])"
    every = f'count(last_over_time(ALERTS{{alertstate="firing"}}[{promql_duration(since_s)}]))'
    fired, present, count, whole = await asyncio.gather(
        server.query_range(asked, end - since_s, end, step, timeout_s),
        server.query(firing, end, timeout_s),
        server.query(every, end, timeout_s),
        # What has a history at all: the targets' own mark, or what the rules leave behind
        server.query_range("count(up) or count(ALERTS)", end - since_s, end, step, timeout_s),
    )
    if isinstance(fired, Unavailable):
        return fired
    for answer in (present, whole):
        if isinstance(answer, Unavailable):
            return answer
    assert isinstance(present, Vector)
    assert isinstance(whole, Matrix)
    if not whole.series and not fired.series:
        reason, hint = "Prometheus has no sample of the shift", "does it scrape, does it evaluate rules?"
        return Unavailable(kind=Absence.NO_DATA, reason=reason, hint=hint)
    series = [s for s in fired.series if fits(s.labels, selector)]
    return History(
        fired=fired_of(series, each, end, step, {_key(sample.labels) for sample in present.samples}),
        others=None if isinstance(count, Unavailable) else max(0, _total(count) - len(series)),
        notes=(*fired.warnings, *_lacks(whole, end - since_s, end, step)),
    )


def _total(count: Vector) -> int:
    """Of a count: no answer is none."""
    return round(count.samples[0].value) if count.samples else 0


def _key(labels: Mapping[str, str]) -> Key:
    return frozenset((name, value) for name, value in labels.items() if name != "__name__")


def fired_of(
    series: Sequence[Series], each: Look, end: float, step: float, present: Set[Key]
) -> tuple[Fired, ...]:
    """Each alert once, those that fire now (`present`) and the worst first. A gap of more than a step is an end.
    Pure."""
    selector = each.service.prometheus.selector if each.service.prometheus else {}
    found = [
        _fired(one, each, selector, end, step, now=_key(one.labels) in present) for one in series if one.times
    ]
    return tuple(sorted(found, key=lambda f: (WORST_FIRST.index(f.severity), not f.now, -f.seconds, f.name)))


def _fired(
    one: Series, each: Look, selector: Mapping[str, str], end: float, step: float, *, now: bool
) -> Fired:
    gaps = sum(b - a > 1.5 * step for a, b in zip(one.times, one.times[1:], strict=False))
    label = one.labels.get("severity", "")
    return Fired(
        name=one.labels.get("alertname", ""),
        severity=each.policy.severity(label),
        label=label,
        labels={k: v for k, v in one.labels.items() if k not in _HIDDEN and selector.get(k) != v},
        times=1 + gaps,
        seconds=min(len(one.times) * step, end - one.times[0] + step),
        first=datetime.fromtimestamp(one.times[0], UTC).replace(microsecond=0),
        last=datetime.fromtimestamp(one.times[-1], UTC).replace(microsecond=0),
        now=now,
    )


def _lacks(whole: Matrix, begin: float, end: float, step: float) -> Iterable[str]:
    """A Prometheus that is younger than the shift, or was away: what fired then is not known."""
    times = sorted({t for s in whole.series for t in s.times})
    if not times:
        return
    if times[0] > begin + 2 * step:
        at = datetime.fromtimestamp(times[0], UTC)
        yield f"the history begins at {at:%Y-%m-%d %H:%M} UTC: what fired before is not known"
    known = len(times) * step / max(step, end - times[0])
    if known < _KNOWN:
        yield f"the history has gaps: {duration((1 - known) * (end - times[0]))} of it are not known"


# --- what is silenced ----------------------------------------------------------------------------


def _silences(each: Look, seen: Seen, begin: datetime, at: datetime) -> tuple[Silence, ...] | None:
    """Those that are in force or will be, then those that ended in the shift."""
    if not isinstance(seen.kept, Kept) or isinstance(seen.kept.silences, Unavailable):
        return None
    own, _ = own_silences(each, [q for q in seen.kept.silences if q.state != "expired" or q.ends >= begin])
    told = [silence_of(quiet, seen.kept.held, at) for quiet in own]
    return tuple(sorted(told, key=lambda s: (s.state == "expired", s.ends)))


# --- in a sentence --------------------------------------------------------------------------------


def _summary(
    now: AlertsReport,
    fired: Sequence[Fired] | None,
    silences: Sequence[Silence] | None,
    done: AuditList | Unseen,
    trends: Trends | Unavailable,
) -> str:
    """`1 critical firing; 4 alerts fired; 1 silence; 2 actions; memory reaches its limit in 5 h`."""
    told = [now.summary]
    told += [f"{_many(len({f.name for f in fired}), 'alert')} fired"] if fired is not None else []
    live = [s for s in silences or () if s.state != "expired"]
    told += [f"{_many(len(live), 'silence')} in force"] if live else []
    acts = len([e for e in done.entries if e.kind != "outcome"]) if isinstance(done, AuditList) else 0
    told += [f"{_many(acts, 'action')} taken"] if acts else []
    found = trends.found if isinstance(trends, Trends) else ()
    limited = [t for t in found if t.limit_s is not None]
    if limited and limited[0].limit_s is not None:
        told.append(f"{limited[0].title.lower()} reaches its limit in {duration(limited[0].limit_s)}")
    return "; ".join(told)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count or 'no'} {noun}s"


def _unseen(
    now: AlertsReport,
    history: History | Unavailable,
    trends: Trends | Unavailable,
    done: AuditList | Unseen,
) -> Iterable[Unseen]:
    told = list(now.unseen)
    if not any(gap.what == "prometheus" for gap in told):
        for what, answer in (("what fired", history), ("what is trending", trends)):
            if isinstance(answer, Unavailable):
                told.append(Unseen(what=what, reason=answer.reason, hint=answer.hint))
    if isinstance(trends, Trends):
        told += trends.unseen
    return [*told, *([done] if isinstance(done, Unseen) else [])]


def _notes(history: History | Unavailable, trends: Trends | Unavailable) -> Iterable[str]:
    if isinstance(history, History):
        yield from history.notes
    if isinstance(trends, Trends):
        yield from trends.notes


def complete(found: Handover) -> bool:
    """Whether all was read that is configured."""
    read = found.fired is not None or found.silences is not None
    return read and not any(
        gap.reason != "not configured" and not gap.what.startswith("rule ") for gap in found.unseen
    )
