"""Runbooks that nobody has changed, or used, for so long that nobody knows whether they still hold."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from oncall.checks.model import DAY_S, LineSpec
from oncall.checks.scene import Scene
from oncall.clients.systemd import run
from oncall.errors import OncallError
from oncall.model import Column, Frozen, Severity, Table, Unavailable
from oncall.model_checks import CheckLine
from oncall.numbers import duration
from oncall.runbook.loader import Library

OLD_S = 90 * DAY_S
_GIT_S = 5.0
_AT_ONCE = 4
# What a repository's own configuration could make git run is switched off: looking must not do more than look.
_GIT = (
    "git",
    "--no-pager",
    "--no-optional-locks",
    *(
        word
        for setting in ("core.fsmonitor=false", "log.showSignature=false", "core.hooksPath=/dev/null")
        for word in ("-c", setting)
    ),
)
_COLUMNS = (
    Column(name="runbook"),
    Column(name="changed", unit="timestamp"),
    Column(name="by"),
    Column(name="last_run", unit="timestamp"),
    Column(name="state"),
)
_BY_LOG = "run, never run: an action was taken for it or not, by this machine's audit log"


class Care(Frozen, frozen=True):
    """A runbook: when its file changed (Unix seconds, by git or by the file itself), and when it was acted on."""

    issue: str
    changed: float | None
    by: str
    ran: float | None


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line: which runbooks nobody changed, and which nobody ran, within the line's time (90 days unless told)."""
    files = files_of(scene.books)
    turns = asyncio.Semaphore(_AT_ONCE)
    patience = min(_GIT_S, scene.deadline_s / 2)
    dates = await asyncio.gather(*(_changed(path, turns, patience) for path in files.values()))
    ran = _by_issue(scene)
    care = [
        Care(issue=issue, changed=changed, by=by, ran=ran.get(issue))
        for issue, (changed, by) in zip(files, dates, strict=True)
    ]
    since = scene.acted.since.timestamp() if scene.acted.since else None
    return (told(name, spec, care, scene.now, float(spec.over or OLD_S), since),)


def _by_issue(scene: Scene) -> dict[str, float]:
    """When each issue was last acted on (Unix seconds); what was done for an alert counts for its issue."""
    alerts = scene.books.alerts()
    found: dict[str, float] = {}
    for name, at in scene.acted.last.items():
        issue = scene.books.for_alert(name) if name in alerts else name
        found[issue] = max(at.timestamp(), found.get(issue, 0.0))
    return found


def files_of(books: Library) -> Mapping[str, Path]:
    """The file of each issue that is in force; a broken one has a line of its own elsewhere."""
    found = {}
    for issue in books.issues():
        try:
            found[issue] = books.runbook(issue).path
        except OncallError:
            continue
    return found


async def _changed(path: Path, turns: asyncio.Semaphore, patience_s: float) -> tuple[float | None, str]:
    """When the file changed: by git where it is committed, else by its own time, which an installation sets anew."""
    words = (*_GIT, "-C", str(path.parent), "log", "-1", "--format=%ct", "--", path.name)
    async with turns:
        ran = await run(words, None, patience_s)
        if not isinstance(ran, Unavailable) and ran.code == 0 and ran.out.strip().isdigit():
            return float(ran.out.strip()), "git"
    try:
        return (await asyncio.to_thread(path.stat)).st_mtime, "file"
    except OSError:
        return None, "file"


def told(
    name: str, spec: LineSpec, care: Sequence[Care], now: float, old_s: float, since: float | None
) -> CheckLine:
    """The line of them, those that both hold of first. Pure.

    `since`: where the audit log begins (Unix s), None without one; what was not run since may have been before."""
    reaches = since is not None and now - since > old_s
    unchanged = {c.issue for c in care if _old(c.changed, now, old_s)}
    idle = {c.issue for c in care if reaches and _old(c.ran, now, old_s)}
    ordered = sorted(care, key=lambda c: _order(c, unchanged, idle))
    old = unchanged | idle
    return CheckLine(
        id=name,
        title=spec.title or "Runbooks",
        severity=Severity.WARNING if old else Severity.OK if care else Severity.UNKNOWN,
        why=spec.why,
        source="file",
        value=float(len(old)),
        unit="runbooks",
        text=_text(ordered, unchanged, idle, duration(old_s), reaches=reaches),
        target=spec.target or "each changed and run",
        age_s=0.0,
        detail=Table(columns=_COLUMNS, rows=tuple(_row(c, now, old_s) for c in ordered), notes=(_BY_LOG,)),
        notes=() if reaches or not care else (_young(now, since, old_s),),
    )


def _old(at: float | None, now: float, old_s: float) -> bool:
    return at is None or now - at > old_s


def _order(c: Care, unchanged: Collection[str], idle: Collection[str]) -> tuple[int, float, str]:
    last = max((t for t in (c.changed, c.ran) if t is not None), default=0.0)
    return -((c.issue in unchanged) + (c.issue in idle)), last, c.issue


def _text(
    care: Sequence[Care], unchanged: Collection[str], idle: Collection[str], within: str, *, reaches: bool
) -> str:
    if not care:
        return "there is no runbook"
    parts = []
    for said, which in (("changed", unchanged), ("run", idle)):
        names = [c.issue for c in care if c.issue in which]
        shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        parts += [f"{len(names)} of {len(care)} not {said} for {within}: {shown}"] if names else []
    if parts:
        return "; ".join(parts)
    return f"all {len(care)} were changed {'and run ' if reaches else ''}within {within}"


def _young(now: float, since: float | None, old_s: float) -> str:
    begins = "has no entry" if since is None else f"reaches back {duration(max(0.0, now - since))}"
    return f"not run for {duration(old_s)}: cannot be told yet, this machine's audit log {begins}"


def _row(c: Care, now: float, old_s: float) -> tuple[str | float | None, ...]:
    states = ["not changed"] if _old(c.changed, now, old_s) else []
    if c.ran is None:
        states += ["never run"]
    elif _old(c.ran, now, old_s):
        states += ["not run"]
    return c.issue, c.changed, c.by, c.ran, ", ".join(states) or "fresh"
