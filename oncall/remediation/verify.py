"""Did it help? The symptoms that brought the engineer here, measured again until they are well or time is up.

The same look and the same judgement as the diagnosis: the two cannot disagree about what is healthy."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from oncall.diagnosis.engine import Ask
from oncall.diagnosis.plan import Plan
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.run import judged, look
from oncall.model import Absence, Diagnosis, Severity, SignalReport, Unavailable
from oncall.model_acts import Check, Helped, SymptomChange, Verification
from oncall.model_service import Service

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened

IN_A_ROW = 2
"""Healthy looks, one after the other, before a symptom counts as gone."""
LOOK_S = 5.0
"""One look may take so long."""
_WORSE_BY = 1.25
_BAD = (Severity.WARNING, Severity.CRITICAL)
_RANK = {Severity.OK: 0, Severity.UNKNOWN: 1, Severity.WARNING: 1, Severity.CRITICAL: 2}

Symptoms = Mapping[str, SignalReport]
Watch = Callable[[tuple[SymptomChange, ...], float], None]


def symptoms_of(found: Sequence[Diagnosis]) -> dict[str, SignalReport]:
    """The symptoms of some diagnoses by their id, each once."""
    return {s.id: s for d in found for s in d.signals if s.symptom}


@dataclass
class Measure:
    """How the symptoms are measured: by two looks at /metrics where that is the whole service, else by Prometheus.

    Postgres through `session` as long as that answers; from then on each look connects anew."""

    name: str
    service: Service
    asking: Plan
    session: "Opened | None"
    timeout_s: float = LOOK_S
    _scraped: bool = field(default=True)

    async def now(self, since_s: float) -> dict[str, SignalReport]:
        """The symptoms `since_s` seconds after the act."""
        service, window = self.service, None
        if self._scraped:
            service = replace(service, prometheus=None)
        else:
            window = min(max(since_s, 10.0), 60.0)
        ask = Ask(timeout_s=self.timeout_s, interval_s=1.0, window_s=window)
        gathered, took = await look(self.asking, service, ask, lambda *_: None, self.session)
        if _lost(gathered):
            self.session = None
        return symptoms_of(judged(self.name, service, self.asking, gathered, took))


def _lost(found: Gathered) -> bool:
    """Postgres did not answer: what the session said at its start is no longer how it is."""
    gone = (Absence.DOWN, Absence.TIMEOUT)
    answers = (a.answer for a in found.answers.values() if a.source == "postgres")
    return "postgres" in found.refusals or any(isinstance(a, Unavailable) and a.kind in gone for a in answers)


def measure(
    name: str, service: Service, asking: Plan, session: "Opened | None", *, instances: int
) -> Measure:
    """Scrapes tell at once; with several instances one page is not the service, and Prometheus is asked."""
    whole = service.url is not None and instances <= 1
    return Measure(name, service, asking.of_symptoms(), session, _scraped=whole or service.prometheus is None)


# --- judging: pure -------------------------------------------------------------------------------


def changed(before: SignalReport, now: SignalReport | None, history: Sequence[float | None]) -> SymptomChange:
    """One symptom, before and now."""
    return SymptomChange(
        id=before.id,
        title=before.title,
        unit=before.unit,
        before=before.value,
        now=now.value if now else None,
        warning=before.warning,
        critical=before.critical,
        severity_before=before.severity,
        severity=now.severity if now else Severity.UNKNOWN,
        history=tuple(history),
        reason=now.reason if now else "not measured",
    )


def troubled(before: Symptoms) -> tuple[str, ...]:
    """The symptoms that were bad."""
    return tuple(name for name, report in before.items() if report.severity in _BAD)


def well(before: Symptoms, now: Symptoms) -> bool:
    """Whether what was bad is well, and nothing that was well is bad."""
    bad = set(troubled(before))
    for name, report in now.items():
        known_before = name in before and before[name].severity is not Severity.UNKNOWN
        if report.severity in _BAD and known_before:
            return False
    return all(name in now and now[name].severity is Severity.OK for name in bad)


def verdict(
    before: Symptoms, now: Symptoms, waited_s: float, checks: tuple[Check, ...], *, healthy: bool
) -> tuple[Helped, str]:
    """fixed, not_fixed, worse, unknown or nothing_measured, and one sentence."""
    failed = [c.text for c in checks if c.holds is False]
    bad = troubled(before)
    if not any(r.severity is not Severity.UNKNOWN for r in before.values()):
        return "nothing_measured", "no symptom could be read before, so none can be compared"
    if worse := [n for n, r in now.items() if n in before and _worse(before[n], r)]:
        return "worse", f"{_titles(now, worse)} worse than before"
    if not bad and not failed:
        return _none_bad(before, now)
    if healthy and not failed:
        return "fixed", f"{_titles(before, bad)} back within bounds after {waited_s:.0f} s"
    if unread := [n for n in bad if n not in now or now[n].severity is Severity.UNKNOWN]:
        return "unknown", f"{_titles(before, unread)} cannot be read any more"
    still = [n for n in bad if now[n].severity in _BAD]
    if failed and not still:
        return "not_fixed", failed[0]
    if not still:
        said = f"{_titles(now, bad)} back within bounds, but not twice in a row"
        return "unknown", f"{said} after {waited_s:.0f} s: a longer --wait would tell"
    return "not_fixed", f"{_titles(now, still)} still beyond bounds after {waited_s:.0f} s"


def _none_bad(before: Symptoms, now: Symptoms) -> tuple[Helped, str]:
    """Nothing was bad before. What cannot be read any more is not well for that."""
    known = [n for n, r in before.items() if r.severity is not Severity.UNKNOWN]
    unread = [n for n in known if n not in now or now[n].severity is Severity.UNKNOWN]
    if unread == known:
        return "unknown", f"{_titles(before, unread)} not beyond bounds before, and cannot be read any more"
    text = "no symptom was beyond its bounds before, and none is now"
    return "nothing_measured", f"{text}; {_titles(before, unread)} not read any more" if unread else text


def _worse(before: SignalReport, now: SignalReport) -> bool:
    """Bad, and by a word or a good part further from its bound than before; what was unknown does not count."""
    if now.severity not in _BAD or before.severity is Severity.UNKNOWN:
        return False
    if _RANK[now.severity] > _RANK[before.severity]:
        return True
    if before.value is None or now.value is None or before.warning is None:
        return False
    # Which way is worse is told by the side of its bound that it is on.
    above = before.value >= before.warning
    return now.value > before.value * _WORSE_BY if above else now.value < before.value / _WORSE_BY


def _titles(of: Symptoms, names: Sequence[str]) -> str:
    titles = [of[n].title for n in names if n in of]
    are = "is" if len(titles) == 1 else "are"
    return f"{', '.join(titles)} {are}"


# --- the loop ------------------------------------------------------------------------------------


async def verify(
    measuring: Measure,
    before: Symptoms,
    checking: "asyncio.Task[tuple[Check, ...]]",
    wait_s: float,
    watch: Watch,
) -> Verification:
    """Measures until what was bad is well twice in a row and the action's own checks are in, or `wait_s` is over."""
    clock = asyncio.get_running_loop().time
    begun, in_a_row, now = clock(), 0, dict[str, SignalReport]()
    history: dict[str, list[float | None]] = {name: [] for name in before}
    known = any(r.severity is not Severity.UNKNOWN for r in before.values())
    while known and in_a_row < IN_A_ROW:
        now = await measuring.now(clock() - begun)
        for name, values in history.items():
            values.append(now[name].value if name in now else None)
        in_a_row = in_a_row + 1 if well(before, now) else 0
        watch(_changes(before, now, history), clock() - begun)
        if clock() - begun >= wait_s:
            break
        await asyncio.sleep(0.2)
    checks = await checking
    waited = clock() - begun
    result, text = verdict(before, now, waited, checks, healthy=in_a_row >= IN_A_ROW)
    return Verification(
        result=result,
        text=text,
        waited_s=round(waited, 1),
        checks=checks,
        symptoms=_changes(before, now, history),
    )


def _changes(
    before: Symptoms, now: Symptoms, history: Mapping[str, Sequence[float | None]]
) -> tuple[SymptomChange, ...]:
    """Those that were bad or are bad now; all of them where none was."""
    bad = set(troubled(before)) | {
        n for n, r in now.items() if r.severity in _BAD and n in before and before[n].severity is Severity.OK
    }
    return tuple(
        changed(report, now.get(name), history[name])
        for name, report in before.items()
        if not bad or name in bad
    )
