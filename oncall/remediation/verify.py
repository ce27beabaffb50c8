"""Did it help? The symptoms that brought the engineer here, measured again until they are well or time is up.

The same look and the same judgement as the diagnosis: the two cannot disagree about what is healthy."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from oncall.model import Severity, SignalReport
from oncall.model_acts import Check, Helped, SymptomChange, Verification
from oncall.remediation.measuring import BAD, Measure, Symptoms

STEADY_S = 5.0
"""Seconds over which each look must find it healthy before a symptom counts as gone: a gauge that flickers is well in
two looks of a second by chance, and in all of five seconds hardly."""
_WORSE_BY = 1.25
_RANK = {Severity.OK: 0, Severity.UNKNOWN: 1, Severity.WARNING: 1, Severity.CRITICAL: 2}

Watch = Callable[[tuple[SymptomChange, ...], float], None]


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
    return tuple(name for name, report in before.items() if report.severity in BAD)


def well(before: Symptoms, now: Symptoms) -> bool:
    """Whether what was bad is well, and nothing that was well is bad."""
    bad = set(troubled(before))
    for name, report in now.items():
        known_before = name in before and before[name].severity is not Severity.UNKNOWN
        if report.severity in BAD and known_before:
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
        reasons = dict.fromkeys(now[n].reason for n in unread if n in now and now[n].reason)
        why = "; ".join(map(str, reasons)) or "not measured"
        return "unknown", f"{_titles(before, unread)} not known after {waited_s:.0f} s: {why}"
    still = [n for n in bad if now[n].severity in BAD]
    if failed and not still:
        return "not_fixed", failed[0]
    if not still:
        said = f"{_titles(now, bad)} back within bounds after {waited_s:.0f} s"
        return "unknown", f"{said}, but not for {STEADY_S:.0f} s at a stretch: a longer --wait would tell"
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
    if now.severity not in BAD or before.severity is Severity.UNKNOWN:
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
    unproven: str | None = None,
) -> Verification:
    """Measures until what was bad has been well for STEADY_S and the action's own checks are in, or `wait_s` is over.

    `unproven`: what of the act no check can tell, so that the symptoms alone prove that it helped."""
    clock = asyncio.get_running_loop().time
    begun, well_since, healthy = clock(), None, False
    now = dict[str, SignalReport]()
    history: dict[str, list[float | None]] = {name: [] for name in before}
    known = any(r.severity is not Severity.UNKNOWN for r in before.values())
    while known and not healthy:
        now = await measuring.now(clock() - begun)
        for name, values in history.items():
            values.append(now[name].value if name in now else None)
        at = clock()
        well_since = None if not well(before, now) else at if well_since is None else well_since
        healthy = well_since is not None and at - well_since >= STEADY_S
        watch(_changes(before, now, history), at - begun)
        if clock() - begun >= wait_s:
            break
        await asyncio.sleep(0.2)
    checks = await checking
    waited = clock() - begun
    result, text = _admitted(*verdict(before, now, waited, checks, healthy=healthy), unproven)
    return Verification(
        result=result,
        text=text,
        waited_s=round(waited, 1),
        checks=checks,
        symptoms=_changes(before, now, history),
    )


def _admitted(result: Helped, text: str, unproven: str | None) -> tuple[Helped, str]:
    """That the symptoms are gone proves that it helped, whatever else is not known; without them nothing does."""
    if unproven is None or result not in ("fixed", "nothing_measured"):
        return result, text
    return ("fixed" if result == "fixed" else "unknown"), f"{text}; {unproven}"


def _changes(
    before: Symptoms, now: Symptoms, history: Mapping[str, Sequence[float | None]]
) -> tuple[SymptomChange, ...]:
    """Those that were bad or are bad now; all of them where none was."""
    bad = set(troubled(before)) | {
        n for n, r in now.items() if r.severity in BAD and n in before and before[n].severity is Severity.OK
    }
    return tuple(
        changed(report, now.get(name), history[name])
        for name, report in before.items()
        if not bad or name in bad
    )
