"""What fires and what is about to: one report of a service from what both servers said. Pure but for `look`."""

import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from oncall.clients.alertmanager import Quiet
from oncall.clients.prom_alerts import BrokenRule, Raised, Rules
from oncall.errors import OncallError
from oncall.model import WORST_FIRST, Absence, Frozen, Next, Severity, Unavailable, Unseen, worst
from oncall.model_alerts import Alert, AlertsOfAll, AlertsReport, Muted, Others
from oncall.model_service import Service
from oncall.monitoring.alert_pairs import Joined, joined
from oncall.monitoring.alert_sources import Kept, Progress, Seen, ask
from oncall.monitoring.escalation import Policy
from oncall.numbers import duration
from oncall.scrub import scrub, secrets_of

if TYPE_CHECKING:
    from oncall.runbook.loader import Library

_UNHEARD_S = 120.0
"""So long an alert may be on its way from Prometheus to Alertmanager."""
_MOST_BROKEN = 5
_BOUND = re.compile(r"(>=|<=|==|!=|>|<)\s*(?:bool\s+)?([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*$", re.IGNORECASE)
_SETS = re.compile(r"\b(and|or|unless)\b", re.IGNORECASE)
_URLS = ("runbook_url", "runbook", "runbook_link")
_SAYS = ("summary", "message", "description")


class Look(Frozen, frozen=True):
    """One service and what is needed to speak of its alerts. `issue_of`: the issue whose runbook names an alert."""

    name: str
    service: Service
    policy: Policy
    issue_of: Callable[[str], str | None]
    address: tuple[str, ...] = ()
    """The words that name this service on a command line."""
    broken: Unavailable | None = None
    """Why its own runbooks could not be read, where the tool's own stand in for them."""


def issues_of(books: "Library") -> Callable[[str], str | None]:
    """Which issue's runbook names an alert; None where none does, or where it cannot be read."""
    known: dict[str, str | None] = {}

    def issue_of(alert: str) -> str | None:
        if alert not in known:
            try:
                known[alert] = books.for_alert(alert)
            except OncallError:
                known[alert] = None
        return known[alert]

    return issue_of


async def look(looks: Sequence[Look], timeout_s: float, progress: Progress) -> AlertsOfAll:
    """Asks every server once; a report a service, worst first, and what fires for none of them."""
    begun = time.monotonic()
    seen = await ask({each.name: each.service for each in looks}, timeout_s, progress)
    now, took = time.time(), round((time.monotonic() - begun) * 1000)
    pairs: dict[tuple[int, int], list[Joined]] = {}
    reports = []
    for each in looks:
        answers = seen[each.name]
        key = id(answers.rules), id(answers.kept)
        if key not in pairs:
            pairs[key] = joined(answers)
        reports.append(report(each, answers, pairs[key], now, took, alone=len(looks) == 1))
    return _of_all(sorted(reports, key=_worst), looks, [one for found in pairs.values() for one in found])


def _of_all(reports: Sequence[AlertsReport], looks: Sequence[Look], found: Sequence[Joined]) -> AlertsOfAll:
    selectors = [each.service.prometheus.selector for each in looks if each.service.prometheus]
    names = {name for selector in selectors for name in selector}
    nobodys = {
        frozenset(one.labels.items()): one
        for one in found
        if not any(fits(one.labels, selector) for selector in selectors)
    }
    unclaimed = others_of(nobodys.values(), looks[0].policy, lambda labels: not names & labels.keys())
    severity = worst(r.severity for r in reports)
    if severity is Severity.OK and _ours_perhaps(unclaimed):
        severity = Severity.UNKNOWN
    return AlertsOfAll(
        at=max(r.at for r in reports),
        duration_ms=max(r.duration_ms for r in reports),
        severity=severity,
        summary=_fleet(reports),
        services=tuple(reports),
        unclaimed=unclaimed,
    )


def _fleet(reports: Sequence[AlertsReport]) -> str:
    """`3 of 100 services: 2 critical, 1 warning`."""
    words = ((Severity.CRITICAL, "critical"), (Severity.WARNING, "warning"), (Severity.UNKNOWN, "unknown"))
    counts = [(sum(r.severity is s for r in reports), word) for s, word in words]
    told = ", ".join(f"{number} {word}" for number, word in counts if number)
    ill = sum(r.severity is not Severity.OK for r in reports)
    return f"{ill} of {len(reports)} services: {told}" if ill else f"nothing fires in {len(reports)} services"


def _worst(found: AlertsReport) -> tuple[int, int, str]:
    firing = sum(a.state == "firing" and a.severity is found.severity for a in found.alerts)
    return WORST_FIRST.index(found.severity), -firing, found.service


# --- the report ----------------------------------------------------------------------------------


def report(
    each: Look, seen: Seen, found: Sequence[Joined], now: float, took_ms: int, *, alone: bool = True
) -> AlertsReport:
    """The service's own alerts, worst and then oldest first; how many others fire; what could not be read.

    Asked about `alone`, what fires without saying whose it is may be its own: then nothing is well. Among others it
    is told once, for all of them."""
    selector = each.service.prometheus.selector if each.service.prometheus else {}
    at = datetime.fromtimestamp(now + seen.skew_s, UTC)
    own = [one for one in found if fits(one.labels, selector)]
    teller = _Teller(each, seen, found, at)
    alerts = sorted(map(teller.alert, own), key=order)
    strangers = [one for one in found if not fits(one.labels, selector)]
    secrets = secrets_of(each.service)
    unseen = tuple(scrubbed(gap, secrets) for gap in (*_unread(each), *_unseen(seen, selector)))
    others = others_of(strangers, each.policy, lambda labels: _may_be(labels, selector))
    perhaps = sum(o.count for o in others if alone and _ours_perhaps([o]))
    dark = blind(seen, selector) or each.broken is not None or perhaps > 0
    severity = _severity(alerts, dark=dark)
    return AlertsReport(
        service=each.name,
        environment=each.service.environment,
        at=at.replace(microsecond=0),
        duration_ms=took_ms,
        severity=severity,
        summary=summary(alerts, seen, dark=dark, perhaps=perhaps),
        alerts=tuple(alerts),
        selector=dict(selector),
        others=others,
        unseen=unseen,
        notes=tuple(scrub(note, secrets) for note in _notes(seen, selector)),
    )


def scrubbed(gap: Unseen, secrets: Sequence[str]) -> Unseen:
    """Without the service's own secrets: a server may quote what it was sent."""
    hint = scrub(gap.hint, secrets) if gap.hint else None
    return Unseen(what=gap.what, reason=scrub(gap.reason, secrets), hint=hint)


def _ours_perhaps(others: Iterable[Others]) -> bool:
    """Whether any of those that say no service's name would matter."""
    return any(o.unlabelled and o.severity in (Severity.CRITICAL, Severity.WARNING) for o in others)


def fits(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether an alert is one of the service that the selector names."""
    return all(labels.get(label) == value for label, value in selector.items())


def order(alert: Alert) -> tuple[bool, int, bool, float, str, str]:
    """Firing first, then by severity, those that page before muted ones, the oldest first."""
    age = alert.age_s or 0.0
    names = alert.name, str(sorted(alert.labels.items()))
    return alert.state != "firing", WORST_FIRST.index(alert.severity), alert.muted, -age, *names


def _severity(alerts: Iterable[Alert], *, dark: bool) -> Severity:
    """That of the worst that fires; with nothing to act upon, unknown where a server could not be asked."""
    found = worst((a.severity for a in alerts if a.state == "firing"), Severity.OK)
    return Severity.UNKNOWN if found is Severity.OK and dark else found


def blind(seen: Seen, selector: Mapping[str, str]) -> bool:
    """Whether "nothing fires" cannot be said: a configured server failed, there is none at all, nothing could fire,
    since the only one has no rules, or a rule that may be this service's is not evaluated.

    An Alertmanager alone forgets what a Prometheus that is down no longer sends."""
    answers = (seen.rules, seen.kept)
    absent = [a for a in answers if isinstance(a, Unavailable)]
    if isinstance(seen.rules, Rules) and seen.rules.count == 0 and absent:
        return True
    if isinstance(seen.rules, Rules) and (seen.rules.waiting or _broken(seen.rules, selector)):
        return True
    return len(absent) == len(answers) or any(a.kind is not Absence.NOT_CONFIGURED for a in absent)


def _broken(rules: Rules, selector: Mapping[str, str]) -> list[BrokenRule]:
    """Those that nothing says to be another service's: by the labels that the rule itself adds."""
    return [rule for rule in rules.broken if _may_be(rule.labels, selector)]


def summary(alerts: Sequence[Alert], seen: Seen, *, dark: bool, perhaps: int = 0) -> str:
    """The answer in one line: `2 critical, 1 warning firing (1 silenced), 1 pending`."""
    firing = [a for a in alerts if a.state == "firing"]
    words = ((Severity.CRITICAL, "critical"), (Severity.WARNING, "warning"), (Severity.OK, "info"))
    counts = [(sum(a.severity is s for a in firing), word) for s, word in words]
    told = ", ".join(f"{number} {word}" for number, word in counts if number)
    quiet = [
        f"{number} {word}"
        for number, word in (
            (sum(bool(a.silenced) for a in firing), "silenced"),
            (sum(bool(a.inhibited_by and not a.silenced) for a in firing), "inhibited"),
        )
        if number
    ]
    pending = len(alerts) - len(firing)
    later = f", {pending} pending" if pending else ""
    if firing:
        return f"{told} firing" + (f" ({', '.join(quiet)})" if quiet else "") + later
    if not dark:
        return f"nothing fires{later}"
    both = all(isinstance(a, Unavailable) for a in (seen.rules, seen.kept))
    if isinstance(seen.rules, Rules) and seen.rules.count == 0:
        return f"alerts unknown{later}: no rule is there that could fire"
    if perhaps:
        whose = "1 alert does not say whose it is" if perhaps == 1 else f"{perhaps} alerts do not say whose"
        return f"nothing known to fire{later}: {whose}"
    return f"alerts unknown{later}" if both else f"nothing known to fire{later}: not all could be read"


def others_of(
    found: Iterable[Joined], policy: Policy, bare: Callable[[Mapping[str, str]], bool]
) -> tuple[Others, ...]:
    """Firing alerts that are nobody's here, counted by name, worst first. `bare`: labels that tell no service."""
    counts: dict[tuple[str, str, bool], int] = {}
    for one in found:
        if one.firing:
            key = (one.name, one.label, bare(one.labels))
            counts[key] = counts.get(key, 0) + 1
    others = [
        Others(name=name, label=label, severity=policy.severity(label), count=count, unlabelled=unlabelled)
        for (name, label, unlabelled), count in counts.items()
    ]
    return tuple(sorted(others, key=lambda o: (not o.unlabelled, WORST_FIRST.index(o.severity), o.name)))


def _may_be(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether nothing says that it is another service's: it only lacks labels of the selector."""
    return all(labels.get(label, value) == value for label, value in selector.items())


class _Teller:
    """Says one alert after the other, about the same moment."""

    def __init__(self, each: Look, seen: Seen, found: Iterable[Joined], at: datetime) -> None:
        self._each, self._seen, self._at = each, seen, at
        self._names = {one.held.fingerprint: one.name for one in found if one.held}
        self._silences = _silences_of(seen.kept)

    def alert(self, one: Joined) -> Alert:
        severity = self._each.policy.severity(one.label)
        since, issue = _since(one), self._each.issue_of(one.name)
        age = None if since is None else max(0.0, (self._at - since).total_seconds())
        silenced = tuple(self._muted(i) for i in (one.held.silenced_by if one.held else ()))
        inhibited = one.held.inhibited_by if one.held else ()
        raised = one.raised
        annotations = {**(one.held.annotations if one.held else {}), **(raised.annotations if raised else {})}
        return Alert(
            name=one.name,
            severity=severity,
            label=one.label,
            state="firing" if one.firing else "pending",
            since=since.replace(microsecond=0) if since else None,
            age_s=age,
            labels={k: v for k, v in one.labels.items() if k not in ("alertname", "severity")},
            sources=tuple(_sources(one)),
            value=raised.value if raised else None,
            value_age_s=self._age(raised.evaluated) if raised else None,
            bound=_bound(raised.expression) if raised else None,
            fires_in_s=self._fires_in(raised) if raised and not one.firing else None,
            summary=next((annotations[k] for k in _SAYS if annotations.get(k)), None),
            silenced=silenced,
            inhibited_by=tuple(self._names.get(f, f) for f in inhibited),
            unheard=one.held is None and one.firing and self._heard() and (age or 0.0) > _UNHEARD_S,
            escalation=self._each.policy.clock(severity, one.name, issue, since, age)
            if one.firing and not silenced and not inhibited and since is not None and age is not None
            else None,
            runbook=self._runbook(one.name) if issue else None,
            runbook_url=next((annotations[k] for k in _URLS if annotations.get(k)), None),
        )

    def _heard(self) -> bool:
        return not isinstance(self._seen.kept, Unavailable)

    def _age(self, at: datetime | None) -> float | None:
        return max(0.0, (self._at - at).total_seconds()) if at and at.year > 1970 else None

    def _fires_in(self, raised: Raised) -> float | None:
        if raised.for_s is None or raised.active is None:
            return None
        return max(0.0, raised.for_s - (self._at - raised.active).total_seconds())

    def _runbook(self, name: str) -> Next:
        words = ["oncall", "diagnose", "--alert", name, *self._each.address]
        return Next(command=shlex.join(words), why="says what is behind it")

    def _muted(self, silence: str) -> Muted:
        found = self._silences.get(silence)
        if found is None:
            return Muted(id=silence, until=None, by="", comment="")
        return Muted(id=silence, until=found.ends.replace(microsecond=0), by=found.by, comment=found.comment)


def _silences_of(kept: Kept | Unavailable) -> dict[str, Quiet]:
    if isinstance(kept, Unavailable) or isinstance(kept.silences, Unavailable):
        return {}
    return {silence.id: silence for silence in kept.silences}


def _sources(one: Joined) -> Iterable[Literal["alertmanager", "prometheus"]]:
    if one.held is not None:
        yield "alertmanager"
    if one.raised is not None:
        yield "prometheus"


def _since(one: Joined) -> datetime | None:
    """When it began to fire: Alertmanager is told; Prometheus tells when its expression began to hold."""
    if one.held is not None:
        return one.held.starts
    raised = one.raised
    if raised is None or raised.active is None:
        return None
    return raised.active + timedelta(seconds=raised.for_s or 0.0) if raised.firing else raised.active


def _bound(expression: str | None) -> str | None:
    """What the value is compared with; None where a bound at the end may be that of something else."""
    found = None if _SETS.search(expression or "") else _BOUND.search(expression or "")
    return f"{found[1]} {found[2]}" if found else None


# --- what could not be read -----------------------------------------------------------------------


def _unread(each: Look) -> Iterable[Unseen]:
    if each.broken is not None:
        yield Unseen(what="its own runbooks", reason=each.broken.reason, hint=each.broken.hint)


def _unseen(seen: Seen, selector: Mapping[str, str]) -> Iterable[Unseen]:
    for what, answer in (("prometheus", seen.rules), ("alertmanager", seen.kept)):
        if isinstance(answer, Unavailable):
            yield Unseen(what=what, reason=answer.reason, hint=answer.hint)
    if isinstance(seen.kept, Kept) and isinstance(seen.kept.silences, Unavailable):
        yield Unseen(what="silences", reason=seen.kept.silences.reason, hint=seen.kept.silences.hint)
    if isinstance(seen.rules, Rules):
        for rule in _broken(seen.rules, selector)[:_MOST_BROKEN]:
            yield Unseen(
                what=f"rule {rule.name}",
                reason=f"cannot be evaluated: {rule.error}",
                hint="until it can, its alerts neither begin nor end",
            )


def _notes(seen: Seen, selector: Mapping[str, str]) -> Iterable[str]:
    if isinstance(seen.rules, Rules):
        broken = _broken(seen.rules, selector)
        if seen.rules.count == 0:
            yield f"Prometheus at {seen.rules.place} has no alerting rules: nothing of it can ever fire"
        if len(broken) > _MOST_BROKEN:
            yield f"{len(broken)} rules cannot be evaluated"
        if seen.rules.waiting:
            yield f"{seen.rules.waiting} of {seen.rules.count} rules have not been evaluated yet"
        yield from seen.rules.notes
    if seen.skew_s:
        word = "ahead of" if seen.skew_s < 0 else "behind"
        yield f"this machine's clock is {duration(abs(seen.skew_s))} {word} the servers': theirs is used"
