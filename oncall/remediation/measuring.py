"""The symptoms, measured again and again after an act: gauges as they are now, what is counted since the act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from oncall.diagnosis.engine import Ask
from oncall.diagnosis.plan import Plan
from oncall.diagnosis.readings import Facts, Gathered
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
    bad: Mapping[str, float] = field(default_factory=dict)
    """The counted symptoms that were bad, by their key in the plan, and what they were."""
    trouble: frozenset[str] = frozenset()
    """All symptoms that were bad, by their id."""
    timeout_s: float = LOOK_S
    _scraped: bool = field(default=True)
    _began_s: float = 0.0
    _base: "Scrape | None" = None
    _known_bad: dict[str, SignalReading] = field(default_factory=dict)
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
        gathered = replace(gathered, signals={**gathered.signals, **self._unknown(known, gathered, over_s)})
        found = self._judged(gathered, service)
        self._go_on({k: gathered.signals[k] for k in known if found[_id(k)].severity in BAD}, since_s)
        if self._scraped and self.service.prometheus and (gaps := self._beyond_pages(found)):
            told = self._judged(await self._with_history(gathered, window), self.service)
            found |= {name: told[name] for name in gaps}
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
        """The symptoms. One that was bad and no longer applies is well, as it is to a diagnosis: the time that is
        left, of what does not grow."""
        found = symptoms_of(judged(self.name, service, self.asking, gathered, 0))
        for book in self.asking.runbooks:
            facts = Facts(book, service, self.asking.readings(book, gathered))
            for name in self.trouble.intersection(book.spec.symptoms):
                now = facts.reading(name).now
                if isinstance(now, Unavailable) and now.kind is Absence.NOT_APPLICABLE:
                    found[name] = replace(found[name], severity=Severity.OK)
        return found

    def _beyond_pages(self, found: Symptoms) -> set[str]:
        """What was bad and is not known, though it does not wait for events."""
        counted = {_id(key) for key in self.bad}
        return {n for n in self.trouble - counted if found[n].severity is Severity.UNKNOWN}

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
        return expected(self.asking.signals[key], self.bad[key], events, over_s)

    def _is_known(self, key: str, found: Gathered, over_s: float) -> bool:
        absent = isinstance(found.signals[key].now, Unavailable)
        return not absent and self._expected(key, found, over_s) >= BAD_EVENTS

    def _unknown(self, known: set[str], found: Gathered, over_s: float) -> dict[str, SignalReading]:
        """The readings of what is not known yet; one that cannot be read at all keeps its own reason."""
        return {
            k: self._known_bad.get(k) or too_few(found.signals[k], self._expected(k, found, over_s))
            for k in self.bad.keys() - known
            if not isinstance(found.signals[k].now, Unavailable)
        }

    def _go_on(self, bad: Mapping[str, SignalReading], since_s: float) -> None:
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


def _bad(asking: Plan, before: Symptoms) -> dict[str, float]:
    """The symptoms that were bad and are counted in events, and what they were."""
    reports = {key: before[_id(key)] for key in asking.symptoms & asking.signals.keys() if _id(key) in before}
    return {
        key: _surely(report, report.value, below=asking.signals[key].below)
        for key, report in reports.items()
        if report.severity in BAD and report.value is not None and events_of(asking.signals[key])
    }


def _surely(report: SignalReport, value: float, *, below: bool) -> float:
    """What a symptom was. By two pages (one request, and it failed) only that it crossed its bound is sure."""
    bound = report.critical if report.severity is Severity.CRITICAL else report.warning
    if report.source != "scrape" or bound is None:
        return value
    return max(value, bound) if below else min(value, bound)
