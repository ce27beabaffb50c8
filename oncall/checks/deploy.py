"""Watches a deploy: finds its mark, reads what was before and after it, and gives the verdict with its evidence."""

import asyncio
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from oncall.checks import deploy_mark
from oncall.checks.deploy_judge import RANK, Judged, Reading, judge
from oncall.checks.deploy_mark import Mark, Past
from oncall.checks.deploy_measured import Seen, Span, measure, span_of
from oncall.checks.deploy_probes import Scene, probed
from oncall.checks.deploy_rules import Rule, Rules, rules
from oncall.clients.prometheus import Prometheus
from oncall.model import Absence, Frozen, Next, Table, Unavailable
from oncall.model_deploy import PHASE_S, Decision, DeployLine, DeployReport, Phase
from oncall.model_service import Service
from oncall.numbers import clock, day, humane
from oncall.runbook.loader import Library
from oncall.scrub import scrub, secrets_of

_SKEW_S = 5.0
Progress = Callable[[str, str], None]


class Asked(Frozen, frozen=True):
    """What the command line asks. `at` None is now; `since` None: the last restart. `begun`: when watching began
    (Unix s), by which the phase is told, so that it does not change while one watches."""

    since: datetime | None = None
    at: datetime | None = None
    phase: Phase | None = None
    begun: float | None = None
    timeout_s: float = 20.0


def _quiet(_backend: str, _state: str) -> None:
    return None


async def look(
    name: str,
    service: Service,
    books: Library,
    asked: Asked,
    *,
    address: tuple[str, ...] = (),
    progress: Progress = _quiet,
) -> DeployReport:
    """One look: the verdict so far. What could not be read is said; nothing of it is raised but a bad rule file."""
    begun = time.monotonic()
    for phase in Phase:  # A mistake in a file is told now, not when its phase begins
        rules(phase, books)
    found = await _Look(name, service, books, asked, address, progress).run()
    return _clean(replace(found, duration_ms=round((time.monotonic() - begun) * 1000)), service)


class _Look:
    def __init__(
        self,
        name: str,
        service: Service,
        books: Library,
        asked: Asked,
        address: tuple[str, ...],
        progress: Progress,
    ) -> None:
        self.name, self.service, self.books, self.asked = name, service, books, asked
        self.address, self.progress = address, progress
        self.now = asked.at.timestamp() if asked.at else time.time()
        self.since = asked.since.timestamp() if asked.since else None
        self.notes: list[str] = []
        self.ends = time.monotonic() + asked.timeout_s

    @property
    def left_s(self) -> float:
        return max(0.05, self.ends - time.monotonic())

    async def run(self) -> DeployReport:
        at = self.service.prometheus
        if at is None:
            hint = "set `prometheus` of the service: only it knows what was before"
            why = Unavailable(kind=Absence.NOT_CONFIGURED, reason="prometheus: not configured", hint=hint)
            return self._unknown(why)
        self.progress("prometheus", "asked")
        async with Prometheus(at) as server:
            found = await self._past(server)
            if isinstance(found, Unavailable):
                self.progress("prometheus", "failed")
                return self._unknown(found)
            known, interval = found
            mark = deploy_mark.mark_of(known, self.since, self.now)
            if isinstance(mark, Unavailable):
                self.progress("prometheus", "answered")
                return self._unknown(mark)
            return await self._marked(server, known, mark, interval)

    async def _past(self, server: Prometheus) -> tuple[Past, float | None] | Unavailable:
        assert self.service.prometheus is not None
        own = self.service.signals.get("uptime") or self.books.signals.get("uptime")
        metric = deploy_mark.metric_of(own, self.service.prometheus.selector)

        async def ask() -> tuple[Past, float | None] | Unavailable:
            return await deploy_mark.past(server, metric, self.since, self.now, self.left_s)

        found = await ask()
        skew = server.skew_s or 0.0
        if self.asked.at is None and abs(skew) > _SKEW_S:
            self.now += skew
            self.notes.append(f"clocks differ: the server's is {skew:+.0f} s from ours; its own is used")
            found = await ask()
        return found

    async def _marked(
        self, server: Prometheus, known: Past, mark: Mark, interval: float | None
    ) -> DeployReport:
        phase = self.asked.phase or phase_of((self.asked.begun or self.now) - mark.first)
        chosen = rules(phase, self.books)
        end = min(self.now, mark.first + PHASE_S[phase])
        span = span_of(mark, max(end, mark.begin + 1.0), self.service, interval)
        scene = Scene(
            service=self.service,
            mark=mark,
            known=known,
            span=span,
            now=self.now,
            deadline_s=self.left_s,
            past=self.asked.at is not None,
        )
        seen, others = await asyncio.gather(
            measure(server, chosen, self.service, span, self.left_s), probed(chosen, scene)
        )
        self.progress("prometheus", "answered")
        self.notes += [*_notes(mark, self.now, phase), *chosen.notes]
        disturbed = deploy_mark.disturbed(known, mark, span.before)
        found = {
            key: replace(one, reading=replace(one.reading, disturbed=disturbed))
            for key, one in {**seen, **others.seen}.items()
        }
        return self._report(chosen, mark, span, found, others.details)

    def _report(
        self, chosen: Rules, mark: Mark, span: Span, seen: Mapping[str, Seen], details: Mapping[str, Table]
    ) -> DeployReport:
        readings = {key: one.reading for key, one in seen.items()}
        judgement = judge(readings, chosen.rules)
        lines = [
            self._line(rule, judgement.lines[rule.id], seen.get(rule.id, Seen(reading=Reading())), details)
            for rule in chosen.rules
        ]
        lines.sort(key=_order)
        return DeployReport(
            service=self.name,
            environment=self.service.environment,
            at=datetime.fromtimestamp(span.end, UTC),
            duration_ms=0,
            verdict=judgement.verdict,
            summary=summary(judgement.verdict, lines),
            phase=chosen.phase,
            mark=deploy_mark.shown(mark),
            since_s=span.end - mark.first,
            before_s=span.before_s,
            over=self.now >= mark.first + PHASE_S[chosen.phase],
            lines=tuple(lines),
            next=next((n.next for n in lines if n.next and n.decision is not Decision.KEEP), None),
            notes=tuple(self.notes),
        )

    def _line(self, rule: Rule, found: Judged, seen: Seen, details: Mapping[str, Table]) -> DeployLine:
        r = seen.reading
        return DeployLine(
            id=rule.id,
            title=rule.title,
            decision=found.decision,
            text=found.text,
            why=rule.why,
            weight=rule.weight,
            source="prometheus" if rule.signal else _SOURCES.get(rule.probe or "", "prometheus"),
            unit=rule.unit,
            target=target(rule, r),
            bound=r.bound,
            after=r.after,
            recent=r.recent,
            before=r.before,
            day_ago=r.day_ago,
            week_ago=r.week_ago,
            shift=found.shift,
            weak=found.weak,
            samples_before=r.samples_before,
            samples_after=r.samples_after,
            history=seen.history,
            history_before=seen.history_before,
            query=seen.query,
            age_s=seen.age_s,
            hint=r.hint,
            counts=found.counts,
            telling=found.telling,
            next=self._next(rule, found),
            detail=details.get(rule.id),
        )

    def _next(self, rule: Rule, found: Judged) -> Next | None:
        if rule.issue is None or found.decision not in (Decision.WATCH, Decision.ROLL_BACK) or found.weak:
            return None
        return Next(command=shlex.join(["oncall", "diagnose", rule.issue, *self.address]), why="says why")

    def _unknown(self, why: Unavailable) -> DeployReport:
        """Without a mark, or without Prometheus, nothing can be compared."""
        since_s = None if self.since is None else self.now - self.since
        mark = deploy_mark.shown(why)
        if self.since is not None:
            mark = replace(mark, at=deploy_mark.moment(self.since), given=True)
        return DeployReport(
            service=self.name,
            environment=self.service.environment,
            at=datetime.fromtimestamp(self.now, UTC),
            duration_ms=0,
            verdict=Decision.UNKNOWN,
            summary=why.reason,
            phase=self.asked.phase or phase_of(since_s or 0.0),
            mark=mark,
            since_s=since_s,
            before_s=None,
            over=False,
            lines=(),
            notes=tuple(self.notes),
        )


_SOURCES = {"logs": "logs", "backups": "backups"}


def phase_of(since_s: float) -> Phase:
    """The phase by the seconds since the mark; after the first week it stays the week."""
    return next((phase for phase in Phase if since_s <= PHASE_S[phase]), Phase.WEEK)


def _order(line: DeployLine) -> tuple[bool, int]:
    return not line.counts, -RANK.index(line.decision)


def target(rule: Rule, r: Reading) -> str:
    """What must hold, in words: `below 0.5%`, `below 5 of 20`, `must not rise`."""
    if rule.must_not is not None:
        return {"leak": "stable", "move": "as before"}.get(rule.must_not, f"must not {rule.must_not}")
    word = "below" if rule.below is not None else "at least"
    if rule.share_of is not None and r.bound is None:
        return f"{word} {humane(rule.below if rule.below is not None else rule.at_least, 'ratio')} of all"
    of = f" of {humane(r.whole, rule.unit)}" if r.whole is not None and rule.share_of else ""
    return f"{word} {humane(rule.below if r.bound is None else r.bound, rule.unit)}{of}"


def summary(verdict: Decision, lines: Iterable[DeployLine]) -> str:
    """One sentence: what decided."""
    counted = [line for line in lines if line.counts]
    why = [line for line in counted if line.decision is verdict]
    if verdict is Decision.KEEP:
        return f"all {len(counted)} hold"
    if not why:
        return "nothing could be looked at"
    same = sum(line.text == why[0].text for line in why)
    alike = f" and {same - 1} more" if same > 1 else ""
    rest = f"; and {len(why) - same} more" if len(why) > same else ""
    return f"{why[0].title}{alike}: {why[0].text}{rest}"


def _notes(mark: Mark, now: float, phase: Phase) -> list[str]:
    found = []
    if mark.given and not mark.starts:
        found.append("no process has restarted since that moment: was it deployed?")
    if mark.untouched and mark.starts:
        some = f"{len(mark.starts)} of {len(mark.starts) + len(mark.untouched)} instances restarted"
        found.append(
            f"{some}; the others run on: a canary, a deploy under way, or more instances of the same"
        )
    if mark.earlier is not None:
        when = datetime.fromtimestamp(mark.earlier, UTC)
        found.append(
            f"there was a restart at {day(when)} {clock(when)} too: if that was the deploy, tell it with --since"
        )
    if now > mark.first + PHASE_S[phase]:
        found.append(f"judged is the first {phase.value} after the deploy, which is over; not what is now")
    return found


def _clean(report: DeployReport, service: Service) -> DeployReport:
    """Without the service's own secrets: a reason may hold the address that could not be reached."""
    secrets = secrets_of(service)

    def masked(text: str | None) -> str | None:
        return text and scrub(text, secrets)

    lines = tuple(replace(n, text=scrub(n.text, secrets), hint=masked(n.hint)) for n in report.lines)
    mark = replace(report.mark, reason=masked(report.mark.reason), hint=masked(report.mark.hint))
    return replace(report, summary=scrub(report.summary, secrets), lines=lines, mark=mark)
