"""The symptoms, measured again and again after an act: gauges as they are now, what is counted since the act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from oncall.diagnosis.engine import Ask
from oncall.diagnosis.plan import Plan
from oncall.diagnosis.quiet import compared
from oncall.diagnosis.readings import FORMULA, Facts, Gathered
from oncall.diagnosis.run import judged, look
from oncall.model import Absence, Diagnosis, Severity, SignalReading, SignalReport, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.remediation.enough import BAD_EVENTS, events_of, expected, too_few

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened
    from oncall.clients.scrape import Scrape

LOOK_S = 5.0
"""One look may take so long."""
INTERVAL_S = 1.0
"""Between the two pages of one look."""
BAD = (Severity.WARNING, Severity.CRITICAL)
_LEAST_WINDOW_S = 10.0
_STRETCHED = 0.5
"""rate() stretches what it saw between the first and the last scrape over its whole window: at most twofold here."""
_EVENTS = "events of {}"

Symptoms = Mapping[str, SignalReport]


def symptoms_of(found: Sequence[Diagnosis]) -> dict[str, SignalReport]:
    """The symptoms of some diagnoses by their id, each once."""
    return {s.id: s for d in found for s in d.signals if s.symptom}


@dataclass
class Measure:
    """How the symptoms are measured: by looks at /metrics where that is the whole service, else by Prometheus.
    What was bad and no page can tell (a trend, an expression of Prometheus) is asked of Prometheus in either case.

    What is counted (ratios, quantiles, means, rates) is taken over all of a stretch that begins right after the act,
    and is not known before enough events came. Where it is known to be bad, that may be the act's own wake (requests
    that had queued up, a cold cache): a new stretch begins, each at twice the time, so that they stay few.
    Postgres through `session` as long as that answers; from then on each look connects anew."""

    name: str
    service: Service
    asking: Plan
    session: "Opened | None"
    bad: Mapping[str, "Counted"] = field(default_factory=dict)
    """What is counted of the symptoms that were bad, by its key in the plan."""
    trouble: frozenset[str] = frozenset()
    """All symptoms that were bad, by their id."""
    timeout_s: float = LOOK_S
    _scraped: bool = field(default=True)
    _began_s: float = 0.0
    _base: "Scrape | None" = None
    _known_bad: dict[str, SignalReport] = field(default_factory=dict)
    """By the stretch before: shown until this one is known."""

    async def now(self, since_s: float) -> dict[str, SignalReport]:
        """The symptoms `since_s` seconds after the act."""
        stretch_s = since_s - self._began_s
        window = max(stretch_s, _LEAST_WINDOW_S)
        service = replace(self.service, prometheus=None) if self._scraped else self.service
        gathered = await self._look(self.asking, service, None if self._scraped else window)
        if _lost(gathered):
            self.session = None
        over_s = _STRETCHED * stretch_s
        if self._scraped:
            gathered, over_s = await self._since_base(gathered)
        known = {k for k in self.bad if self._is_known(k, gathered, over_s)}
        waiting = self._unknown(known, gathered, over_s)
        gathered = replace(gathered, signals={**gathered.signals, **waiting})
        found = self._judged(gathered, service)
        found |= {self.bad[k].symptom: self._known_bad[k] for k in waiting if k in self._known_bad}
        reports = {k: report for k in known if (report := found.get(self.bad[k].symptom))}
        self._go_on({k: report for k, report in reports.items() if report.severity in BAD}, since_s)
        if self._scraped and self.service.prometheus and (gaps := self._beyond_pages(found)):
            told = self._judged(await self._with_history(gathered, window), self.service)
            found |= {name: told[name] for name in gaps if name in told}
        return found

    async def _look(self, asking: Plan, service: Service, window_s: float | None) -> Gathered:
        ask = Ask(timeout_s=self.timeout_s, interval_s=INTERVAL_S, window_s=window_s)
        return (await look(asking, service, ask, lambda *_: None, self.session))[0]

    async def _with_history(self, found: Gathered, window_s: float) -> Gathered:
        """The same with the signals as Prometheus has them; the other backends have been asked."""
        metrics = replace(self.asking, runbooks=(), questions={})
        told = await self._look(metrics, self.service, window_s)
        span = {"at": told.at, "window_s": told.window_s, "baseline_s": told.baseline_s}
        return replace(found, signals=told.signals, live=told.live, **span)

    def _judged(self, gathered: Gathered, service: Service) -> dict[str, SignalReport]:
        """The symptoms. A formula that was bad and says that it no longer applies is well, as it is to a diagnosis:
        the time that is left, of what does not grow."""
        found = symptoms_of(judged(self.name, service, self.asking, gathered, 0))
        for book in self.asking.runbooks:
            facts = Facts(book, service, self.asking.readings(book, gathered))
            for name in self.trouble.intersection(book.spec.symptoms, found):
                reading = facts.reading(name)
                gone = isinstance(reading.now, Unavailable) and reading.now.kind is Absence.NOT_APPLICABLE
                if gone and reading.source == FORMULA:
                    found[name] = replace(found[name], severity=Severity.OK)
        return found

    def _beyond_pages(self, found: Symptoms) -> set[str]:
        """What was bad and is not known, though it does not wait for events."""
        gaps = self.trouble - {counted.symptom for counted in self.bad.values()}
        return {n for n in gaps if n not in found or found[n].severity is Severity.UNKNOWN}

    async def _since_base(self, found: Gathered) -> tuple[Gathered, float]:
        """With what is counted since the first page of this stretch, and how many seconds that is ago."""
        from oncall.clients.scrape import scrape
        from oncall.clients.scrape_signals import scrape_names
        from oncall.diagnosis.metrics import from_pages

        counted = {n: s for n, s in self.asking.signals.items() if events_of(s)}
        names = frozenset().union(*map(scrape_names, counted.values()))
        page, base = await scrape(self.service, names, self.timeout_s), self._base
        if isinstance(page, Unavailable):
            return found, 0.0
        if base is None or base.started != page.started:
            # Another process counts anew; behind a balancer, where they take turns, nothing will ever be known.
            self._base = page
            return found, 0.0
        signals = {**found.signals, **from_pages(base, page, counted)}
        return replace(found, signals=signals), page.monotonic - base.monotonic

    def _expected(self, key: str, found: Gathered, over_s: float) -> float:
        """How many bad events there would be by now, were all as before."""
        per_s = found.signals[_EVENTS.format(key)].now
        events = 0.0 if isinstance(per_s, Unavailable) else per_s * over_s
        return expected(self.asking.signals[key], self.bad[key].was, events, over_s)

    def _is_known(self, key: str, found: Gathered, over_s: float) -> bool:
        absent = isinstance(found.signals[key].now, Unavailable)
        return not absent and self._expected(key, found, over_s) >= BAD_EVENTS

    def _unknown(self, known: set[str], found: Gathered, over_s: float) -> dict[str, SignalReading]:
        """The readings of what is not known yet; one that cannot be read at all keeps its own reason."""
        return {
            k: too_few(found.signals[k], self._expected(k, found, over_s))
            for k in self.bad.keys() - known
            if not isinstance(found.signals[k].now, Unavailable)
        }

    def _go_on(self, bad: Mapping[str, SignalReport], since_s: float) -> None:
        """Begins a new stretch where this one is known to be bad."""
        if bad and since_s >= 2 * self._began_s:
            self._began_s, self._base, self._known_bad = since_s, None, dict(bad)


def _id(key: str) -> str:
    """Of a symptom that two issues mean differently, NAME@ISSUE."""
    return key.partition("@")[0]


def _lost(found: Gathered) -> bool:
    """Postgres did not answer: what the session said at its start is no longer how it is."""
    gone = (Absence.DOWN, Absence.TIMEOUT)
    answers = (a.answer for a in found.answers.values() if a.source == "postgres")
    return "postgres" in found.refusals or any(isinstance(a, Unavailable) and a.kind in gone for a in answers)


def measure(
    name: str,
    service: Service,
    asking: Plan,
    session: "Opened | None",
    *,
    instances: int,
    before: Symptoms | None = None,
) -> Measure:
    """Scrapes tell at once; with several instances one page is not the service, and Prometheus is asked."""
    whole = service.url is not None and instances <= 1
    wanted = asking.of_symptoms()
    bad = _bad(wanted, before or {})
    events: dict[str, SignalSpec] = {
        _EVENTS.format(key): counted for key in bad if (counted := events_of(wanted.signals[key]))
    }
    return Measure(
        name,
        service,
        replace(wanted, signals={**wanted.signals, **events}),
        session,
        bad,
        frozenset(n for n, report in (before or {}).items() if report.severity in BAD),
        _scraped=whole or service.prometheus is None,
    )


class Counted(NamedTuple):
    """What is counted in events: the symptom that it makes bad, and what it was before the act, at the least."""

    symptom: str
    was: float


def _bad(asking: Plan, before: Symptoms) -> dict[str, Counted]:
    """What is counted of the symptoms that were bad: they themselves, or what a formula compares with its usual."""
    bad = {n: r for n, r in before.items() if r.severity in BAD and r.value is not None}
    found = {
        key: Counted(_id(key), _surely(report, below=asking.signals[key].below))
        for key in asking.symptoms & asking.signals.keys()
        if (report := bad.get(_id(key))) and events_of(asking.signals[key])
    }
    for book in asking.runbooks:
        for name in bad.keys() & asking.specs[book.issue].keys():
            for other in compared(book, asking.specs[book.issue][name].value or ""):
                key = f"{other}@{book.issue}" if f"{other}@{book.issue}" in asking.signals else other
                if key in asking.signals and events_of(asking.signals[key]):
                    found.setdefault(key, Counted(name, _surely(bad[name], below=False)))
    return found


def _surely(report: SignalReport, *, below: bool) -> float:
    """What a symptom was. By two pages (one request, and it failed) only that it crossed its bound is sure."""
    value = report.value or 0.0
    bound = report.critical if report.severity is Severity.CRITICAL else report.warning
    if report.source != "scrape" or bound is None:
        return value
    return max(value, bound) if below else min(value, bound)
