"""Free space where the service runs: by the node exporter of its machines, else by the machine's own `df`."""

import asyncio
import math

from oncall.checks.mounts import Disks, Mount, exported, machine
from oncall.clients.host import where_from
from oncall.clients.prometheus import Prometheus, Vector
from oncall.diagnosis.bounds import bounds
from oncall.errors import OncallError
from oncall.model import (
    WORST_FIRST,
    Absence,
    Column,
    Frozen,
    Next,
    Scalar,
    Severity,
    Table,
    Unavailable,
)
from oncall.model_checks import CheckLine
from oncall.model_service import Service, SignalSpec
from oncall.numbers import figures, size
from oncall.signals import to_promql

SIGNAL = "disk_free"
WHY = "The document: alert below 20 GB free. A full disk stops the database, the log and the backup at once."
TARGET, LEAST = 20e9, 5e9
"""Bytes, where the signal `disk_free` has no bound of its own."""
LEAST_SHARE = 0.02
"""Of a file system of any size: below it is critical."""
SMALL = 25e9
"""Bytes: a file system that is smaller could hardly ever have the target free; it is judged by shares."""
SMALL_WARNING, SMALL_CRITICAL = 0.10, 0.03
"""Shares that are free: of a small file system, and of the inodes of any."""
_MOST_ROWS = 20
_COLUMNS = (
    Column(name="mount"),
    Column(name="free", unit="bytes"),
    Column(name="size", unit="bytes"),
    Column(name="free_share", unit="ratio"),
    Column(name="inodes_free", unit="ratio"),
    Column(name="verdict"),
)


class Limits(Frozen, frozen=True):
    """Bytes that should be free."""

    warning: float = TARGET
    critical: float = LEAST


async def look(
    service: Service, deadline_s: float, signal: SignalSpec | None = None
) -> tuple[CheckLine, ...]:
    """One line for all file systems, the fullest first, within `deadline_s` seconds. Raises nothing.

    `signal`: `disk_free` as the runbooks have it, where the caller has read them."""
    try:
        spec = signal or await asyncio.to_thread(_signal, service)
        limits = _limits(spec, service)
        if SIGNAL in service.signals:
            return (await _own_signal(service.signals[SIGNAL], limits, service, deadline_s),)
        found = await exported(service, 0.45 * deadline_s)
        by_exporter = found
        if isinstance(found, Unavailable):
            found = await machine(service, 0.45 * deadline_s)
    except OncallError as wrong:
        return (unknown(Unavailable(kind=Absence.CONFIG, reason=str(wrong), hint=wrong.hint), Limits()),)
    if isinstance(found, Unavailable):
        return (unknown(_why(by_exporter, found), limits),)
    return (line(found, limits, where_from(service)),)


def _why(exporter: Disks | Unavailable, df: Unavailable) -> Unavailable:
    """Why neither tells: a Prometheus that is down is the news; that it has no node exporter is not."""
    quiet = (Absence.NOT_CONFIGURED, Absence.NO_DATA)
    if isinstance(exporter, Unavailable) and exporter.kind not in quiet:
        reason = f"{exporter.reason}; and {df.reason}"
        return Unavailable(kind=exporter.kind, reason=reason, hint=exporter.hint)
    return df


def _signal(service: Service) -> SignalSpec | None:
    from pathlib import Path

    from oncall.runbook.loader import library

    own = [Path(service.runbooks)] if service.runbooks else []
    return library(*own).signals.get(SIGNAL)


def _limits(spec: SignalSpec | None, service: Service) -> Limits:
    if spec is None:
        return Limits()
    found = bounds(SIGNAL, spec, service, {})
    return Limits(
        warning=TARGET if found.warning is None else found.warning,
        critical=min(LEAST, found.warning or LEAST) if found.critical is None else found.critical,
    )


async def _own_signal(spec: SignalSpec, limits: Limits, service: Service, deadline_s: float) -> CheckLine:
    """One number, where the service file says itself what `disk_free` is."""
    at = service.prometheus
    if at is None:
        why = Unavailable(
            kind=Absence.NOT_CONFIGURED, reason="prometheus: not configured", hint="set `prometheus`"
        )
        return unknown(why, limits)
    try:
        text = to_promql(spec, at.selector, float(service.windows.rate)).text
    except ValueError as wrong:
        return unknown(Unavailable(kind=Absence.CONFIG, reason=f"signals.{SIGNAL}: {wrong}"), limits)
    async with Prometheus(at) as server:
        answer = await server.query(text, None, deadline_s)
    values = [v.value for v in answer.samples if math.isfinite(v.value)] if isinstance(answer, Vector) else []
    if values:
        free = min(values)
        severity = _below(free, limits.warning, limits.critical)
        said = f"{size(free)} free"
        return _line(severity, limits, value=free, text=said, source="prometheus", query=text)
    missing = Unavailable(kind=Absence.NO_DATA, reason=f"no data for {text}")
    return unknown(missing if isinstance(answer, Vector) else answer, limits)


# --- the verdict -----------------------------------------------------------------------------------


def line(found: Disks, limits: Limits, ssh: str | Unavailable | None) -> CheckLine:
    """The fullest first, in words all that are not well. Pure."""
    verdicts = sorted(
        ((m, *judge(m, limits)) for m in found.mounts), key=lambda v: (WORST_FIRST.index(v[1]), v[0].share)
    )
    worst, severity, _ = verdicts[0]
    several = len({m.host for m in found.mounts}) > 1
    bad = [_said(m, why, several) for m, s, why in verdicts if s is not Severity.OK]
    more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
    read_only = ", ".join(m.mount for m in found.mounts if m.readonly)
    command = "df -h" if ssh is None or isinstance(ssh, Unavailable) else f"ssh {ssh} df -h"
    return _line(
        severity,
        limits,
        value=worst.free,
        text="; ".join(bad[:3]) + more if bad else _said(worst, None, several),
        source=found.source,
        query=found.query,
        age_s=found.age_s,
        small=worst if worst.size < _small(limits) else None,
        next_=Next(
            command=command, why="shows what is full; then: du -xh --max-depth=2 MOUNT | sort -h | tail"
        ),
        detail=_table(verdicts, several),
        notes=(f"read-only, not judged: {read_only}",) if read_only else (),
    )


def judge(mount: Mount, limits: Limits) -> tuple[Severity, str | None]:
    """Of one file system, and why where it is not ok. What is mounted read-only does not fill up. Pure."""
    if mount.readonly:
        return Severity.OK, None
    if mount.size < _small(limits):
        severity = _below(mount.share, SMALL_WARNING, SMALL_CRITICAL)
        why = f"judged by its share, for it is smaller than {size(_small(limits))}"
    else:
        severity = _below(mount.free, limits.warning, limits.critical)
        why = None
        if mount.share < LEAST_SHARE:
            severity, why = Severity.CRITICAL, f"below {figures(100 * LEAST_SHARE)}%"
    inodes = mount.inode_share
    by_inodes = Severity.OK if inodes is None else _below(inodes, SMALL_WARNING, SMALL_CRITICAL)
    if inodes is not None and WORST_FIRST.index(by_inodes) < WORST_FIRST.index(severity):
        return by_inodes, f"only {_percent(inodes)} of its inodes are free"
    return severity, why


def _small(limits: Limits) -> float:
    return max(SMALL, limits.warning)


def _below(value: float, warning: float, critical: float) -> Severity:
    return Severity.CRITICAL if value < critical else Severity.WARNING if value < warning else Severity.OK


def _said(mount: Mount, why: str | None, several: bool) -> str:
    where = f"{mount.host} {mount.mount}" if several else mount.mount
    said = f"{where} {size(mount.free)} free of {size(mount.size)} ({_percent(mount.share)})"
    return f"{said}, {why}" if why else said


def _percent(share: float) -> str:
    return f"{figures(100 * share)}%"


def _table(verdicts: list[tuple[Mount, Severity, str | None]], several: bool) -> Table:
    rows: list[tuple[Scalar, ...]] = [
        (
            f"{m.host} {m.mount}" if several else m.mount,
            m.free,
            m.size,
            m.share,
            m.inode_share,
            severity.value,
        )
        for m, severity, _ in verdicts[:_MOST_ROWS]
    ]
    more = len(verdicts) - len(rows)
    return Table(columns=_COLUMNS, rows=tuple(rows), notes=(f"{more} more",) if more else ())


def _line(
    severity: Severity,
    limits: Limits,
    *,
    value: float,
    text: str,
    source: str,
    query: str,
    age_s: float | None = None,
    small: Mount | None = None,
    next_: Next | None = None,
    detail: Table | None = None,
    notes: tuple[str, ...] = (),
) -> CheckLine:
    wanted = _target(limits) if small is None else f"above {_percent(SMALL_WARNING)} free"
    return CheckLine(
        id="disk",
        title="Disk free",
        severity=severity,
        why=WHY,
        source=source,
        value=value,
        unit="bytes",
        text=text,
        target=wanted,
        warning=limits.warning if small is None else SMALL_WARNING * small.size,
        critical=limits.critical if small is None else SMALL_CRITICAL * small.size,
        query=query,
        age_s=age_s,
        next=next_ if severity is not Severity.OK else None,
        detail=detail,
        notes=notes,
    )


def _target(limits: Limits) -> str:
    return f"above {size(limits.warning)}"


def unknown(why: Unavailable, limits: Limits) -> CheckLine:
    """The line where nothing could be read; it counts unless the service file does not say where to look."""
    return CheckLine(
        id="disk",
        title="Disk free",
        severity=Severity.UNKNOWN,
        why=WHY,
        source="host",
        target=_target(limits),
        reason=why.reason,
        hint=why.hint,
        counts=why.kind not in (Absence.NOT_CONFIGURED, Absence.NOT_APPLICABLE),
    )
