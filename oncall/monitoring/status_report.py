"""A service's status from what was read of it: what is not well in words, and what to run next. Pure."""

import shlex
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oncall.errors import OncallError
from oncall.model import WORST_FIRST, Next, Severity, SignalReport, Unavailable, Unseen, worst
from oncall.model_alerts import Alert, AlertsReport
from oncall.model_service import Service
from oncall.model_status import (
    AlertCount,
    Concern,
    Firing,
    HealthReport,
    LastAction,
    StatusOfAll,
    StatusReport,
)
from oncall.monitoring.alerts import Look, scrubbed
from oncall.monitoring.fleet import counted
from oncall.monitoring.golden import Measured, Wanted
from oncall.monitoring.golden_judge import decides, reports
from oncall.numbers import humane
from oncall.scrub import secrets_of

if TYPE_CHECKING:
    from oncall.runbook.loader import Library

SKEW_WARNING_S = 30.0
_MOST_NAMES = 5


@dataclass(frozen=True)
class Subject:
    """A service, its runbooks, how its alerts are read, and the words that name it on a command line."""

    name: str
    service: Service
    books: "Library"
    alerts: Look
    address: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """Everything that was read of one service."""

    health: HealthReport
    measured: Measured | Unavailable
    alerts: AlertsReport


def report(
    subject: Subject,
    asked: Wanted,
    seen: Seen,
    actions: Sequence[LastAction] | Unavailable,
    took_ms: int,
    find: "Issues",
) -> StatusReport:
    """One service from what was read of it."""
    secrets = secrets_of(subject.service)
    signals = reports(asked, seen.measured)
    skew = 0.0 if isinstance(seen.measured, Unavailable) else seen.measured.skew_s
    alerts = count_of(seen.alerts, subject.service)
    concerns = tuple(
        sorted(_concerns(signals, seen.health, alerts, skew), key=lambda c: WORST_FIRST.index(c.severity))
    )
    severity = _severity(asked, signals, seen, alerts, concerns)
    unseen = tuple(_unseen(asked, signals, seen, actions))
    notes = () if isinstance(seen.measured, Unavailable) else seen.measured.notes
    return StatusReport(
        service=subject.name,
        environment=subject.service.environment,
        at=datetime.fromtimestamp(time.time() + skew, UTC).replace(microsecond=0),
        duration_ms=took_ms,
        severity=severity,
        summary=_summary(severity, concerns, unseen),
        concerns=concerns,
        next=_next(subject, severity, signals, seen, find),
        health=seen.health,
        signals=signals,
        alerts=alerts,
        actions=None
        if isinstance(actions, Unavailable)
        else tuple(a for a in actions if a.service == subject.name),
        baseline_s=float(subject.service.windows.baseline),
        unseen=tuple(scrubbed(u, secrets) for u in unseen),
        notes=(*notes, *seen.alerts.notes, *find.notes),
    )


def count_of(found: AlertsReport, service: Service) -> AlertCount:
    """How many fire by severity, and their names, worst first; those that page before silenced ones."""
    firing = [a for a in found.alerts if a.state == "firing"]
    numbers = {s: sum(a.severity is s for a in firing) for s in WORST_FIRST}
    return AlertCount(
        severity=found.severity,
        summary=found.summary,
        critical=numbers[Severity.CRITICAL],
        warning=numbers[Severity.WARNING],
        info=numbers[Severity.OK],
        pending=len(found.alerts) - len(firing),
        worst=_names(firing)[:_MOST_NAMES],
        configured=service.prometheus is not None or service.alertmanager is not None,
    )


def _names(firing: Iterable[Alert]) -> tuple[Firing, ...]:
    counts: dict[tuple[str, Severity, bool], int] = {}
    for alert in firing:
        key = alert.name, alert.severity, bool(alert.muted)
        counts[key] = counts.get(key, 0) + 1
    return tuple(
        Firing(name=name, severity=severity, count=count, silenced=muted)
        for (name, severity, muted), count in counts.items()
    )


def _concerns(
    signals: Iterable[SignalReport], health: HealthReport, alerts: AlertCount, skew_s: float
) -> Iterable[Concern]:
    """What is not well, in words: signals first, then health, then what fires."""
    bad = [s for s in signals if s.severity in (Severity.CRITICAL, Severity.WARNING)]
    for signal in sorted(bad, key=_beyond, reverse=True):
        yield Concern(severity=signal.severity, kind="signal", id=signal.id, text=signal_text(signal))
    for each in health.endpoints:
        if each.severity in (Severity.CRITICAL, Severity.WARNING):
            text = f"{each.path} {each.state.replace('_', ' ')}: {each.text}"
            yield Concern(severity=each.severity, kind="health", id=each.path, text=text)
    if alerts.severity in (Severity.CRITICAL, Severity.WARNING):
        names = ", ".join(f.name for f in alerts.worst[:3])
        yield Concern(
            severity=alerts.severity, kind="alert", id=alerts.worst[0].name, text=f"{alerts.summary}: {names}"
        )
    if abs(skew_s) > SKEW_WARNING_S:
        word = "ahead of" if skew_s > 0 else "behind"
        text = f"the clock of prometheus is {humane(abs(skew_s), 'seconds')} {word} this machine's"
        yield Concern(severity=Severity.WARNING, kind="clock", id="clock", text=text)


def signal_text(signal: SignalReport) -> str:
    """`pool in use 19/20, critical above 16`."""
    bound = signal.critical if signal.severity is Severity.CRITICAL else signal.warning
    whole = f"/{humane(signal.of, signal.unit)}" if signal.of is not None else ""
    title = signal.title if signal.title[1:2].isupper() else signal.title[:1].lower() + signal.title[1:]
    beyond = "below" if bound is not None and signal.value is not None and signal.value < bound else "above"
    value = f"{humane(signal.value, signal.unit)}{whole}"
    return f"{title} {value}, {signal.severity.value} {beyond} {humane(bound, signal.unit)}"


def _beyond(signal: SignalReport) -> float:
    """How far beyond its bound, as diagnoses are ranked."""
    bound = signal.critical if signal.critical is not None else signal.warning
    return signal.value / bound if signal.value is not None and bound else 0.0


def _severity(
    asked: Wanted,
    signals: Sequence[SignalReport],
    seen: Seen,
    alerts: AlertCount,
    concerns: Sequence[Concern],
) -> Severity:
    """The worst of what decides: of what is not configured, the signals alone, without which nothing is well."""
    parts = [s.severity for s in signals if decides(asked, s)] or [Severity.UNKNOWN]
    if any(e.state != "not_configured" for e in seen.health.endpoints):
        parts.append(seen.health.severity)
    if alerts.severity is not Severity.UNKNOWN or _alerts_failed(seen.alerts):
        parts.append(alerts.severity)
    return worst([*parts, *(c.severity for c in concerns)])


def _summary(severity: Severity, concerns: Sequence[Concern], unseen: Sequence[Unseen]) -> str:
    """The worst thing in words, and how many more there are."""
    if concerns:
        more = len(concerns) - 1
        return concerns[0].text + (f"; and {more} more" if more else "")
    if severity is Severity.OK:
        return "all well"
    return f"{unseen[0].what}: {unseen[0].reason}" if unseen else "not all could be read"


def _unseen(
    asked: Wanted, signals: Iterable[SignalReport], seen: Seen, actions: Sequence[LastAction] | Unavailable
) -> Iterable[Unseen]:
    """What could not be read, each reason once."""
    told: set[str] = set()

    def new(what: str, reason: str, hint: str | None) -> Iterable[Unseen]:
        if reason not in told:
            told.add(reason)
            yield Unseen(what=what, reason=reason, hint=hint)

    refused = seen.measured if isinstance(seen.measured, Unavailable) else seen.measured.refused
    if refused is not None:
        yield from new("prometheus", refused.reason, refused.hint)
    for signal in signals:
        if signal.severity is Severity.UNKNOWN and signal.reason and decides(asked, signal):
            yield from new(signal.title, signal.reason, _hint(seen, signal))
    for each in seen.health.endpoints:
        if each.state == "unknown":
            yield from new(each.path, each.text, each.hint)
    for gap in seen.alerts.unseen:
        if gap.reason != "not configured":
            yield from new(f"alerts: {gap.what}", gap.reason, gap.hint)
    if isinstance(actions, Unavailable):
        yield from new("audit log", actions.reason, actions.hint)


def _hint(seen: Seen, signal: SignalReport) -> str | None:
    if signal.value is not None:
        return "set it under `limits:` in the service file"
    read = None if isinstance(seen.measured, Unavailable) else seen.measured.signals.get(signal.id)
    return read.now.hint if read and isinstance(read.now, Unavailable) else None


# --- what to run next --------------------------------------------------------------------------------


class Issues:
    """Which issue a signal or an endpoint is a symptom of, by the runbooks; read only where something is not well."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[dict[str, str], dict[str, str]]] = {}
        self.notes: tuple[str, ...] = ()

    def of_signal(self, books: "Library", signal: str) -> str | None:
        return self._of(books)[0].get(signal)

    def of_endpoint(self, books: "Library", path: str) -> str | None:
        return self._of(books)[1].get(path)

    def _of(self, books: "Library") -> tuple[dict[str, str], dict[str, str]]:
        if id(books) not in self._known:
            signals: dict[str, str] = {}
            paths: dict[str, str] = {}
            for issue in books.issues():
                try:
                    spec = books.runbook(issue).spec
                except OncallError as broken:
                    # A team's broken runbook must not take the screen away; `oncall runbook check` says more.
                    self.notes = (*self.notes, f"runbook {issue}: {broken}")
                    continue
                for symptom in spec.symptoms:
                    signals.setdefault(symptom, issue)
                    if symptom in spec.signals and (formula := spec.signals[symptom].value) is not None:
                        # One signal under another name
                        signals.setdefault(formula, issue)
                for step in spec.steps.values():
                    if step.health:
                        paths.setdefault(step.health, issue)
            self._known[id(books)] = signals, paths
        return self._known[id(books)]


def _next(
    subject: Subject, severity: Severity, signals: Sequence[SignalReport], seen: Seen, find: Issues
) -> Next | None:
    """The diagnosis of the worst symptom, else of what is down, else of what fires; none where all is well."""
    if severity is Severity.OK:
        return None
    for wanted_severity in (Severity.CRITICAL, Severity.WARNING):
        bad = sorted((s for s in signals if s.severity is wanted_severity), key=_beyond, reverse=True)
        for signal in bad:
            if issue := find.of_signal(subject.books, signal.id):
                return _diagnose(subject, issue, why=signal_text(signal))
        for each in seen.health.endpoints:
            if each.severity is wanted_severity and (issue := find.of_endpoint(subject.books, each.path)):
                return _diagnose(subject, issue, why=f"{each.path} {each.state.replace('_', ' ')}")
        for alert in seen.alerts.alerts:
            if alert.state == "firing" and alert.severity is wanted_severity and alert.runbook:
                return Next(command=alert.runbook.command, why=f"{alert.name} fires")
    if severity is Severity.UNKNOWN and _unreached(seen):
        command = shlex.join(["oncall", "config", "check", *subject.address])
        return Next(command=command, why="says what cannot be reached, and why")
    return _diagnose(subject, None, why="looks at every issue")


def _unreached(seen: Seen) -> bool:
    """Whether a backend, and not what it says, is why something is not known."""
    endpoint = any(e.state == "unknown" for e in seen.health.endpoints)
    return isinstance(seen.measured, Unavailable) or endpoint or _alerts_failed(seen.alerts)


def _alerts_failed(found: AlertsReport) -> bool:
    """Whether a server did not answer. Where none is, or none has a rule, that is said and decides nothing."""
    return any(gap.reason != "not configured" and not gap.what.startswith("rule ") for gap in found.unseen)


def _diagnose(subject: Subject, issue: str | None, *, why: str) -> Next:
    words = ["oncall", "diagnose", *([issue] if issue else []), *subject.address]
    return Next(command=shlex.join(words), why=why)


# --- all services --------------------------------------------------------------------------------


def of_all(found: Iterable[StatusReport], actions: Sequence[LastAction] | Unavailable) -> StatusOfAll:
    """Worst first; the next command is that of the worst."""
    shown = sorted(found, key=order)
    notes = tuple(dict.fromkeys(note for r in shown for note in r.notes)) if len(shown) == 1 else ()
    return StatusOfAll(
        at=max((r.at for r in shown), default=datetime.now(UTC)),
        duration_ms=max((r.duration_ms for r in shown), default=0),
        severity=worst(r.severity for r in shown),
        summary=counted(r.severity for r in shown),
        services=tuple(shown),
        actions=None if isinstance(actions, Unavailable) else tuple(actions),
        next=next((r.next for r in shown if r.next), None),
        notes=notes,
    )


def order(found: StatusReport) -> tuple[int, int, int, str]:
    """Worst first, then by how many things are as bad, then by what fires."""
    as_bad = sum(c.severity is found.severity for c in found.concerns)
    firing = found.alerts.critical + found.alerts.warning
    return WORST_FIRST.index(found.severity), -as_bad, -firing, found.service
