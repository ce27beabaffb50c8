"""resize-pool: writes another number of connections into the service's own settings file, or puts the file back."""

import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from oncall import files
from oncall.errors import ConfigError, UsageFault
from oncall.files import FileChanged, FileSeen
from oncall.model import Next
from oncall.model_acts import Check, GuardReport, Target, TargetResult
from oncall.model_service import PoolAt
from oncall.remediation.action import Found, Scene, Tell
from oncall.remediation.actions import pool_backup, pool_budget, resize_words, settings_file
from oncall.remediation.actions.pool_backup import Backup
from oncall.remediation.actions.settings_file import Unfit, Unreadable
from oncall.remediation.guards import passed, refused

MOST = 10_000
"""More connections than this is a slip of the finger."""


@dataclass(frozen=True)
class ResizePool:
    """Either the size to write, or `undo`: the file as it was before the last change."""

    to: int | None = None
    undo: bool = False

    @property
    def name(self) -> str:
        return "resize-pool"

    @property
    def issues(self) -> tuple[str, ...]:
        return ("pool",)

    @property
    def words(self) -> tuple[str, ...]:
        return ("--undo",) if self.undo else ("--to", str(self.to))

    @asynccontextmanager
    async def work(self, scene: Scene) -> AsyncIterator["ResizeWork"]:
        """Reads the file, and asks Postgres what is free. Raises UsageFault for options that make no sense, or where
        the service file has no `pool`; ConfigError where the file cannot be read, or has no such key."""
        at = _check(self, scene)
        seen = _read(scene, at)
        try:
            edit = _undoing(scene, at, seen) if self.to is None else _editing(scene, at, seen, self.to)
        except _Refused as refusal:
            yield ResizeWork(scene, _nothing(self, at, refusal.reports))
            return
        yield ResizeWork(scene, await _found(scene, at, edit), edit)


@dataclass(frozen=True)
class Edit:
    """The file as it is and as it would be. `backup`: what is put back; None where a number is written."""

    seen: FileSeen
    after: bytes
    key: str
    number: int
    to: int
    does: str
    backup: Backup | None = None


class _Refused(Exception):
    def __init__(self, *reports: GuardReport) -> None:
        super().__init__()
        self.reports = reports


# --- the look ------------------------------------------------------------------------------------


def _check(action: ResizePool, scene: Scene) -> PoolAt:
    at, to = scene.service.pool, action.to
    if action.undo == (to is not None):
        raise UsageFault("resize-pool: expected either --to N or --undo")
    if to is not None and not 1 <= to <= MOST:
        raise UsageFault(f"--to {to}: expected a number of connections from 1 to {MOST:,}")
    if at is None:
        raise UsageFault(
            f"resize-pool: the service file does not say where the size of {scene.name}'s pool is written",
            hint=f"Write below {scene.name}: `pool: {{file: /etc/app/settings.yaml, key: database.pool_size}}`.",
        )
    if scene.service.ssh is not None:
        # A file of the same name may well be here; it is not the one that the service reads.
        raise UsageFault(
            f"resize-pool edits a file of this machine, and {scene.name} runs on {scene.service.ssh}",
            hint=f"Run it there: {resize_words.command(scene, action.name, *action.words)}",
        )
    return at


def _read(scene: Scene, at: PoolAt) -> FileSeen:
    try:
        return files.look(Path(at.file))
    except OSError as error:
        raise _wrong(scene, at, f"cannot be read: {files.why(error)}") from None


def _wrong(scene: Scene, at: PoolAt, said: str, hint: str | None = None) -> ConfigError:
    where = f"The service file says where: services.{scene.name}.pool."
    return ConfigError(f"{at.file}: {said}", hint=" ".join(filter(None, [hint, where])))


def _format(scene: Scene, at: PoolAt) -> str:
    form = at.format or settings_file.format_of(at.file)
    if form is None:
        raise _wrong(
            scene,
            at,
            "its name does not tell its format",
            f"Write `format`: one of {', '.join(settings_file.FORMATS)}.",
        )
    return form


def _text(scene: Scene, at: PoolAt, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _wrong(scene, at, f"line {line}: it is not UTF-8 text") from None


def _editing(scene: Scene, at: PoolAt, seen: FileSeen, to: int) -> Edit:
    form, text = _format(scene, at), _text(scene, at, seen.data)
    try:
        place = settings_file.locate(form, text, at.key)
        after = settings_file.replaced(form, text, at.key, place, to)
    except Unfit as error:
        raise _Refused(refused("identity", f"{seen.place}: {error}", "change it by hand")) from None
    except Unreadable as error:
        raise _wrong(scene, at, str(error), error.hint) from None
    if place.number == to:
        raise _Refused(refused("empty-selection", f"{at.key} is {to} already"))
    does = resize_words.hunk(scene, str(seen.place), text, place, to)
    return Edit(seen, after.encode(), at.key, place.number, to, does)


def _undoing(scene: Scene, at: PoolAt, seen: FileSeen) -> Edit:
    folder = pool_backup.backup_folder(scene.name)
    known = pool_backup.backups(folder, seen.place)
    backup = next((b for b in known if b.after == seen.digest and not b.undone), None)
    if backup is None:
        raise _Refused(_not_undone(folder, seen, known))
    kept = folder / backup.kept
    try:
        data = files.look(kept).data
    except OSError as error:
        said = f"the backup {kept} cannot be read: {files.why(error)}"
        raise _Refused(refused("identity", said)) from None
    if files.digest(data) != backup.before:
        raise _Refused(refused("identity", f"the backup {kept} is not what was kept: it was changed"))
    does = f"puts back {kept}, byte for byte"
    with suppress(Unfit, Unreadable, ConfigError):
        text = _text(scene, at, seen.data)
        place = settings_file.locate(_format(scene, at), text, backup.key)
        does += "\n" + resize_words.hunk(scene, str(seen.place), text, place, backup.number)
    return Edit(seen, data, backup.key, backup.to, backup.number, does, backup)


def _not_undone(folder: Path, seen: FileSeen, known: Sequence[Backup]) -> GuardReport:
    """Why there is nothing that could be put back."""
    if not known:
        return refused("empty-selection", f"there is no backup of {seen.place} in {folder}")
    back = next((b for b in known if b.undone and b.before == seen.digest), None)
    if back:
        return refused("empty-selection", f"the last change, {_change(back)}, has been undone already")
    last = known[0]
    open_ = next((b for b in known if not b.undone), last)
    said = f"{seen.place} was edited since the last change, {_change(last)}: putting it back would lose that edit"
    differs = shlex.join(["diff", "-u", str(folder / open_.kept), str(seen.place)])
    return refused("identity", said, f"by hand: {differs} shows what differs from the backup")


def _change(backup: Backup) -> str:
    return f"{backup.key} from {backup.number} to {backup.to} ({backup.at:%Y-%m-%d %H:%M:%S} UTC)"


async def _found(scene: Scene, at: PoolAt, edit: Edit) -> Found:
    slots = await pool_budget.read_slots(scene)
    budget, arithmetic = pool_budget.judge(slots, edit.number, edit.to, at.instances)
    back = ("--undo",) if edit.backup is None else ("--to", str(edit.number))
    return Found(
        title=f"sets {edit.key} from {edit.number} to {edit.to} in {edit.seen.place}",
        place=_place(at, edit.seen, edit.number),
        targets=(_target(edit),),
        guards=(_identity(edit), passed("empty-selection", "one key of one file"), _rights(edit), budget),
        does=(edit.does, arithmetic),
        losses=resize_words.losses(slots, edit.to * at.instances),
        undo=resize_words.command(scene, "resize-pool", *back, "--confirm"),
        notes=resize_words.notes(scene, edit.to, edit.seen.data.decode("utf-8", "replace")),
        grows=edit.to > edit.number,
        later=True,
    )


def _place(at: PoolAt, seen: FileSeen, number: int) -> tuple[tuple[str, str], ...]:
    link = f" (by the link {seen.path})" if seen.path != seen.place else ""
    return ("file", f"{seen.place}{link}"), ("key", at.key), ("now", str(number))


def _target(edit: Edit) -> Target:
    """The file as it is, and as it will be: another text of either is another plan."""
    return Target(
        id=f"{edit.seen.place}: {edit.key}",
        identity={
            "sha256": edit.seen.digest,
            "sha256_after": files.digest(edit.after),
            "named": str(edit.seen.path),
            "uid": edit.seen.uid,
            "gid": edit.seen.gid,
            "mode": edit.seen.mode,
        },
    )


def _identity(edit: Edit) -> GuardReport:
    text = f"sha256 {edit.seen.digest[:12]}…, compared again right before the new file takes the place"
    return passed("identity", text)


def _rights(edit: Edit) -> GuardReport:
    obstacle = files.obstacle(edit.seen)
    if obstacle:
        return refused("rights", *obstacle)
    kept = f"mode {edit.seen.mode:04o}, owner {edit.seen.uid} and group {edit.seen.gid} are kept"
    return passed("rights", f"the file and its folder can be written; {kept}")


def _nothing(action: ResizePool, at: PoolAt, reports: tuple[GuardReport, ...]) -> Found:
    title = "puts nothing back" if action.undo else f"does not set {at.key} to {action.to}"
    place = ("file", at.file), ("key", at.key)
    return Found(title=title, place=place, targets=(), guards=reports)


# --- the act and its proof -----------------------------------------------------------------------


@dataclass
class ResizeWork:
    """A plan at work; without `edit` there is nothing that could be done."""

    scene: Scene
    found: Found
    edit: Edit | None = None

    async def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        """The one file, at once: there is no middle in which it could be left."""
        if self.edit is not None:
            tell(f"writing {self.edit.seen.place}")
            yield self._write(self.edit)

    def _write(self, edit: Edit) -> TargetResult:
        folder = pool_backup.backup_folder(self.scene.name)
        try:
            files.check_unchanged(edit.seen)
            made = None if edit.backup else self._keep(folder, edit)
        except FileChanged as change:
            return self._left_alone(edit, change)
        except OSError as error:
            return self._result("failed", f"no backup in {folder}: {files.why(error)}; nothing was changed")
        try:
            files.replace(edit.seen, edit.after)
        except (FileChanged, OSError) as error:
            if not self._is_there(edit):
                if made:
                    pool_backup.forget(folder, made)
                if isinstance(error, FileChanged):
                    return self._left_alone(edit, error)
                said = f"{edit.seen.place} cannot be replaced: {files.why(error)}; nothing was changed"
                return self._result("failed", said)
        return self._done(folder, edit, made)

    def _keep(self, folder: Path, edit: Edit) -> Backup:
        return pool_backup.keep(folder, edit.seen, edit.after, edit.key, edit.number, edit.to)

    def _done(self, folder: Path, edit: Edit, made: Backup | None) -> TargetResult:
        tool = resize_words.managed_by(edit.after.decode("utf-8", "replace"))
        again = f" (until the next run of {tool}, which manages the file)" if tool else ""
        said = f"{edit.key} is {edit.to} in {edit.seen.place}, before {edit.number}{again}"
        if made:
            return self._result("done", f"{said}; the file as it was: {folder / made.kept}")
        if edit.backup:
            with suppress(OSError):  # the file's hash says as much
                pool_backup.mark_undone(folder, edit.backup)
        return self._result("done", f"{said}: the file is as it was")

    def _left_alone(self, edit: Edit, change: FileChanged) -> TargetResult:
        if not edit.seen.path.exists():
            return self._result("gone", f"gone since the plan: {change}; nothing was written")
        return self._result("changed", f"changed since the plan: {change}; nothing was written")

    def _result(self, state: Literal["done", "gone", "changed", "failed"], text: str) -> TargetResult:
        return TargetResult(id=self.found.targets[0].id, state=state, text=text)

    def _is_there(self, edit: Edit) -> bool:
        """Whether the new file is in place, whatever failed after that."""
        with suppress(OSError):
            return files.look(edit.seen.path).digest == files.digest(edit.after)
        return False

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        """The file, read again, says the number."""
        if self.edit is None or not any(r.state == "done" for r in results):
            return ()
        return (self._check(self.edit),)

    def _check(self, edit: Edit) -> Check:
        at = self.scene.service.pool
        assert at is not None
        try:
            text = _text(self.scene, at, files.look(edit.seen.path).data)
            number = settings_file.locate(_format(self.scene, at), text, edit.key).number
        except OSError as error:
            return Check(text=f"{edit.seen.path} cannot be read again: {files.why(error)}", holds=None)
        except (Unfit, Unreadable, ConfigError) as error:
            return Check(text=f"{edit.seen.path}: {error}", holds=False)
        return Check(text=f"{edit.seen.path} says {edit.key} = {number}", holds=number == edit.to)

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        """The restart that makes it count."""
        line = resize_words.restart(self.scene)
        if line is None or not any(r.state == "done" for r in results):
            return ()
        return (Next(command=line, why="the new size counts when the service has read its settings again"),)
