"""Asks everything that a check needs at once, and gives its lines, worst first. One dead backend is a line that is
unknown; the others are there."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace as with_changes
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from msgspec.structs import replace

from oncall.checks.lines import measured_line
from oncall.checks.measured import Asked, Measured, measure
from oncall.checks.model import Check, LineSpec
from oncall.checks.scene import Acted, Scene, present_only, unknown
from oncall.checks.specs import measurable, spec_of, wholes
from oncall.diagnosis.bounds import bounds
from oncall.errors import REPORT, bug_text
from oncall.model import WORST_FIRST, Absence, Frozen, Severity, Unavailable, worst
from oncall.model_checks import CheckLine, CheckReport
from oncall.model_service import Service
from oncall.runbook.loader import Library
from oncall.scrub import scrub, secrets_of

if TYPE_CHECKING:
    from oncall.diagnosis.readings import Facts

Progress = Callable[[str, str], None]
"""What a backend is called while it is waited for."""
TIMEOUT_S = 20.0
_WHOLE = "="
"""Before the name of a signal that bounds others: asked for its present value."""
# Module and function of each look that is no signal; imported where a check has such a line.
_PROBES: Mapping[str, str] = {
    "alerts": "oncall.checks.alerts",
    "backups": "oncall.checks.backups",
    "capacity": "oncall.checks.capacity",
    "certificates": "oncall.checks.certificates",
    "disk": "oncall.checks.disk",
    "endpoints": "oncall.checks.endpoints",
    "health": "oncall.checks.health",
    "links": "oncall.checks.links",
    "optimise": "oncall.checks.endpoints",
    "rules": "oncall.checks.rules_audit",
    "runbooks": "oncall.checks.runbooks_audit",
    "trends": "oncall.checks.weeks",
}
_SKEW_S = 60.0
"""So far apart two clocks move no comparison of days."""
_PRESENT_ONLY = frozenset({"backups", "certificates", "disk"})


class When(Frozen, frozen=True):
    """About which moment (Unix seconds; None is now), and how many seconds all answers have."""

    at: float | None = None
    timeout_s: float = TIMEOUT_S


def _quiet(_backend: str, _state: str) -> None:
    return None


async def run(
    name: str,
    service: Service,
    check: Check,
    books: Library,
    when: When,
    *,
    address: tuple[str, ...] = (),
    acted: Acted | None = None,
    progress: Progress = _quiet,
) -> CheckReport:
    """Every line of a check, worst first, within the timeout."""
    begun = time.monotonic()
    scene = Scene(
        name=name,
        service=service,
        check=check,
        books=books,
        now=time.time(),
        deadline_s=when.timeout_s,
        at=when.at,
        address=address,
        acted=acted or Acted(),
    )
    lines, skew_s = await _lines(scene, progress)
    secrets = secrets_of(service)
    shown = sorted((_clean(line, secrets) for line in lines), key=_order)
    severity = worst(line.severity for line in shown if line.counts)
    return CheckReport(
        service=name,
        environment=service.environment,
        check=check.name,
        title=check.title,
        at=datetime.fromtimestamp(scene.end, UTC),
        duration_ms=round((time.monotonic() - begun) * 1000),
        severity=severity,
        summary=summary(shown),
        lines=tuple(shown),
        notes=_notes(scene, skew_s),
    )


def not_run(name: str, service: Service, check_name: str, why: Unavailable) -> CheckReport:
    """Of a service that was not looked at, such as one whose own files are wrong: unknown, beside the others."""
    line = CheckLine(
        id="files",
        title="Files",
        severity=Severity.UNKNOWN,
        why="Without them nothing is looked at.",
        source="file",
        reason=scrub(why.reason, secrets_of(service)),
        hint=why.hint,
    )
    return CheckReport(
        service=name,
        environment=service.environment,
        check=check_name,
        title=f"{check_name.capitalize()} check",
        at=datetime.now(UTC),
        duration_ms=0,
        severity=line.severity,
        summary=f"unknown: {line.reason}",
        lines=(line,),
    )


def _notes(scene: Scene, skew_s: float | None) -> tuple[str, ...]:
    """The present is the server's own; days are counted back from ours, and a wrong one has another yesterday."""
    if scene.at is not None or skew_s is None or abs(skew_s) <= _SKEW_S:
        return ()
    said = (
        f"clocks differ: Prometheus's is {skew_s:+.0f} s from ours, by which yesterday and last week are told"
    )
    return (said,)


def order(report: CheckReport) -> tuple[int, str]:
    """Reports worst first, then by name."""
    return WORST_FIRST.index(report.severity), report.service


def _order(line: CheckLine) -> tuple[bool, int]:
    return not line.counts and line.severity is Severity.UNKNOWN, WORST_FIRST.index(line.severity)


def summary(lines: list[CheckLine]) -> str:
    """What is not well, worst first; or that all is."""
    counted = [line for line in lines if line.counts]
    bad = [line for line in counted if line.severity is not Severity.OK]
    if not counted:
        return "nothing could be looked at"
    if not bad:
        return f"all {len(counted)} are well"
    parts = []
    for severity in WORST_FIRST[:-1]:
        titles = [line.title for line in bad if line.severity is severity]
        if titles:
            more = f" and {len(titles) - 3} more" if len(titles) > 3 else ""
            parts.append(f"{severity.value}: {', '.join(titles[:3])}{more}")
    return "; ".join(parts)


def _clean(line: CheckLine, secrets: tuple[str, ...]) -> CheckLine:
    """Without the service's own secrets: a reason may hold the address that could not be reached."""

    def masked(text: str | None) -> str | None:
        return text and scrub(text, secrets)

    return replace(line, text=masked(line.text), reason=masked(line.reason), hint=masked(line.hint))


# --- all at once ------------------------------------------------------------------------------------


async def _lines(scene: Scene, progress: Progress) -> tuple[list[CheckLine], float | None]:
    """The lines in the order of the file; and Prometheus's clock minus ours, in seconds."""
    async with AsyncExitStack() as kept:
        if scene.service.prometheus is not None:
            from oncall.clients.prometheus import Prometheus

            server = await kept.enter_async_context(Prometheus(scene.service.prometheus))
            scene = with_changes(scene, server=server)
        probes = {n: s for n, s in scene.check.lines.items() if s.probe is not None}
        looks = asyncio.gather(*(_probe(scene, n, s) for n, s in probes.items()))
        measured, facts, looked = await asyncio.gather(
            _signals(scene, progress), _facts(scene, progress), looks
        )
    by_probe = dict(zip(probes, looked, strict=True))
    lines: list[CheckLine] = []
    for name, spec in scene.check.lines.items():
        lines += by_probe[name] if name in by_probe else (_line(scene, name, spec, measured, facts),)
    return lines, scene.server.skew_s if scene.server else None


def _line(
    scene: Scene,
    name: str,
    spec: LineSpec,
    measured: Mapping[str, Measured | Unavailable],
    facts: "Facts | None",
) -> CheckLine:
    if facts is not None and name not in measured:
        from oncall.checks.formulas import from_value

        return from_value(scene, name, spec, facts)
    signal = spec_of(scene, spec.signal or "")
    values = _values(measured)
    return measured_line(
        scene, name, spec, signal, measured[name], bounds(spec.signal or "", signal, scene.service, values)
    )


def _values(measured: Mapping[str, Measured | Unavailable]) -> dict[str, float]:
    """What bounds of others are shares of."""
    return {
        key.removeprefix(_WHOLE): m.now
        for key, m in measured.items()
        if key.startswith(_WHOLE) and isinstance(m, Measured) and isinstance(m.now, float)
    }


# --- signals ------------------------------------------------------------------------------------------


async def _signals(scene: Scene, progress: Progress) -> dict[str, Measured | Unavailable]:
    """The signals of Prometheus by the name of their line, and what bounds them."""
    asked = _asked(scene)
    if not asked:
        return {}
    at = scene.service.prometheus
    if at is None or scene.server is None:
        why = Unavailable(
            kind=Absence.NOT_CONFIGURED,
            reason="prometheus: not configured",
            hint="set `prometheus` of the service",
        )
        return dict.fromkeys(asked, why)
    progress("prometheus", "waiting")
    found = await measure(scene.server, asked, at.selector, scene.at, scene.now, scene.deadline_s)
    progress("prometheus", "ok")
    return dict(found)


def _asked(scene: Scene) -> dict[str, Asked]:
    usual = float(scene.service.windows.rate)
    found: dict[str, Asked] = {}
    for name, line in scene.check.lines.items():
        if line.signal is None:
            continue
        spec = spec_of(scene, line.signal)
        if measurable(spec):
            found[name] = Asked(spec=spec, over_s=float(line.over or usual), by=line.by)
            for whole in wholes(scene, line.signal, spec):
                found[_WHOLE + whole] = Asked(spec=spec_of(scene, whole), over_s=usual)
    return found


# --- steps ----------------------------------------------------------------------------------------------


async def _facts(scene: Scene, progress: Progress) -> "Facts | None":
    """What the steps answer, for the lines that are formulas; None where there is none."""
    lines = scene.check.lines.values()
    if not any(n.value or (n.signal and not measurable(spec_of(scene, n.signal))) for n in lines):
        return None
    from oncall.diagnosis.engine import Ask, Round
    from oncall.diagnosis.plan import plan
    from oncall.diagnosis.readings import Facts

    asking = plan((scene.check.book,), scene.service)
    at = datetime.fromtimestamp(scene.at, UTC) if scene.at is not None else None
    found = await Round(asking, scene.service, Ask(at=at, timeout_s=scene.deadline_s), progress).run()
    readings = asking.readings(scene.check.book, found)
    return Facts(scene.check.book, scene.service, readings, scene.address)


# --- probes -----------------------------------------------------------------------------------------------


async def _look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """The look itself; those that know no more than a service say their own titles."""
    module = import_module(_PROBES[spec.probe or ""])
    found: tuple[CheckLine, ...]
    if spec.probe not in _PRESENT_ONLY:
        found = await module.look(scene, name, spec)
    elif scene.at is not None:
        found = (present_only(name, spec, spec.probe),)
    elif spec.probe == "disk":
        signal = scene.check.signals.get("disk_free")
        found = await module.look(scene.service, scene.deadline_s, signal=signal)
    else:
        found = await module.look(scene.service, scene.deadline_s)
    return found


async def _probe(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """The lines of one look; one that is late or broken is one line that is unknown."""
    assert spec.probe is not None
    source = spec.probe
    try:
        async with asyncio.timeout(scene.deadline_s):
            return await _look(scene, name, spec)
    except TimeoutError:
        return (unknown(name, spec, source, f"no answer within {scene.deadline_s:g} s"),)
    except Exception as bug:
        # One look's bug must not take the morning's answer away; healthy it is not.
        return (unknown(name, spec, source, bug_text(bug), REPORT),)
