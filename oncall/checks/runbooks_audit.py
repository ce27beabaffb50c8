"""Runbooks that nobody has changed or used for so long that nobody knows whether they still hold."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
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
    Column(name="acted_on", unit="timestamp"),
    Column(name="state"),
)


class Care(Frozen, frozen=True):
    """A runbook: when its file changed (Unix seconds, by git or by the file itself), and when it was acted on."""

    issue: str
    changed: float | None
    by: str
    ran: float | None

    def touched(self) -> float | None:
        return max((t for t in (self.changed, self.ran) if t is not None), default=None)


async def look(scene: Scene, name: str, spec: LineSpec) -> tuple[CheckLine, ...]:
    """One line: which runbooks nobody changed or used within the line's time (90 days unless told)."""
    files = files_of(scene.books)
    turns = asyncio.Semaphore(_AT_ONCE)
    patience = min(_GIT_S, scene.deadline_s / 2)
    dates = await asyncio.gather(*(_changed(path, turns, patience) for path in files.values()))
    care = [
        Care(issue=issue, changed=changed, by=by, ran=_seconds(scene.ran.get(issue)))
        for issue, (changed, by) in zip(files, dates, strict=True)
    ]
    return (told(name, spec, care, scene.now, float(spec.over or OLD_S)),)


def files_of(books: Library) -> Mapping[str, Path]:
    """The file of each issue that is in force; a broken one has a line of its own elsewhere."""
    found = {}
    for issue in books.issues():
        try:
            found[issue] = books.runbook(issue).path
        except OncallError:
            continue
    return found


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


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


def told(name: str, spec: LineSpec, care: Sequence[Care], now: float, old_s: float) -> CheckLine:
    """The line of them, those untouched for longest first. Pure."""
    ordered = sorted(care, key=lambda c: (c.touched() or 0.0, c.issue))
    old = [c for c in ordered if now - (c.touched() or 0.0) > old_s]
    return CheckLine(
        id=name,
        title=spec.title or "Runbooks",
        severity=Severity.WARNING if old else Severity.OK if care else Severity.UNKNOWN,
        why=spec.why,
        source="file",
        value=float(len(old)),
        unit="runbooks",
        text=_text(old, care, old_s),
        target=spec.target or "none untouched",
        age_s=0.0,
        detail=Table(columns=_COLUMNS, rows=tuple(_row(c, now, old_s) for c in ordered)),
    )


def _text(old: Sequence[Care], care: Sequence[Care], old_s: float) -> str:
    if not care:
        return "there is no runbook"
    within = duration(old_s)
    if not old:
        return f"all {len(care)} were changed or acted on within {within}"
    names = ", ".join(c.issue for c in old[:4]) + (" …" if len(old) > 4 else "")
    return f"{len(old)} of {len(care)} neither changed nor acted on for {within}: {names}"


def _row(c: Care, now: float, old_s: float) -> tuple[str | float | None, ...]:
    gaps = [
        word
        for word, at in (("not changed", c.changed), ("not acted on", c.ran))
        if at is None or now - at > old_s
    ]
    return c.issue, c.changed, c.by, c.ran, ", ".join(gaps) or "fresh"
