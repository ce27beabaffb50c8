"""What a settings file was before its edit: kept under the state folder, to be put back byte for byte."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from oncall import files
from oncall.config import state_folder
from oncall.files import FileSeen
from oncall.model import Frozen

_RECORD = ".oncall.json"


class Backup(Frozen, frozen=True):
    """One edit. `before` and `after` are SHA-256 of the file; `kept` is the copy's name beside the record."""

    file: str
    kept: str
    at: datetime
    key: str
    number: int
    to: int
    before: str
    after: str
    mode: int
    uid: int
    gid: int
    undone: bool = False


def backup_folder(service: str) -> Path:
    """Where the backups of a service are."""
    return state_folder() / "backups" / service


def keep(folder: Path, seen: FileSeen, after: bytes, key: str, number: int, to: int) -> Backup:
    """Copies the file as it is, readable by its owner only. Raises OSError."""
    at = datetime.now(UTC)
    kept = f"{at:%Y%m%dT%H%M%S.%fZ}-{seen.place.name[:150]}"
    backup = Backup(
        file=str(seen.place),
        kept=kept,
        at=at,
        key=key,
        number=number,
        to=to,
        before=seen.digest,
        after=files.digest(after),
        mode=seen.mode,
        uid=seen.uid,
        gid=seen.gid,
    )
    files.make_private(folder)
    files.write_whole(folder / kept, seen.data)
    _write(folder, backup)
    return backup


def mark_undone(folder: Path, backup: Backup) -> None:
    """It is not put back a second time. Raises OSError."""
    _write(folder, replace(backup, undone=True))


def forget(folder: Path, backup: Backup) -> None:
    """Takes away the backup of an edit that did not happen."""
    for name in (backup.kept + _RECORD, backup.kept):
        with suppress(OSError):
            (folder / name).unlink()


def backups(folder: Path, place: Path) -> list[Backup]:
    """The edits of a file, newest first. A record that cannot be read is none."""
    found = []
    with suppress(OSError):
        for path in folder.glob(f"*{_RECORD}"):
            with suppress(OSError, msgspec.MsgspecError):
                backup = msgspec.json.decode(path.read_bytes(), type=Backup)
                # The name decides what is read and written: it must not lead elsewhere.
                if backup.file == str(place) and path.name == backup.kept + _RECORD:
                    found.append(backup)
    return sorted(found, key=lambda b: (b.at, b.kept), reverse=True)


def _write(folder: Path, backup: Backup) -> None:
    data = msgspec.json.format(msgspec.json.encode(backup), indent=2) + b"\n"
    files.write_whole(folder / (backup.kept + _RECORD), data)
