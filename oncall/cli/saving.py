"""The files of --save and --replay: where they may be, read within bounds, written whole or not at all."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from oncall import files
from oncall.errors import OncallError, UsageFault

if TYPE_CHECKING:
    from oncall.diagnosis.kept import Saved

_HEAD = 512


def complete_saved(incomplete: str) -> list[str]:
    """Files that --save wrote, and folders on the way to them."""
    from oncall.diagnosis.saved import is_saved

    typed = Path(incomplete)
    folder = typed if incomplete.endswith("/") or not incomplete else typed.parent
    start = "" if folder is typed or not incomplete else typed.name
    lead = incomplete.removesuffix(start) if start else incomplete
    found = []
    with suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda e: e.name)[:500]:
            if not entry.name.startswith(start) or (entry.name.startswith(".") and not start):
                continue
            if entry.is_dir():
                found.append(f"{lead}{entry.name}/")
            elif entry.is_file() and is_saved(_head(Path(entry.path))):
                found.append(lead + entry.name)
    return found


def read_saved(path: Path) -> "Saved":
    """The look in a file. Raises UsageFault that names it."""
    from oncall.diagnosis.saved import MOST_BYTES, load

    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageFault(f"{path}: cannot be read: {_why(error)}", hint="Give a file of --save.") from None
    return load(data, str(path))


def check_place(path: Path) -> Path:
    """Where the file will be written, links followed. Raises UsageFault for a place that cannot be meant."""
    from oncall.diagnosis.saved import is_saved

    try:
        place = Path(os.path.realpath(path))
        mode = _mode(place)
        folder = place.parent
        if not folder.is_dir():
            raise UsageFault(f"--save {path}: there is no folder {folder}", hint=f"mkdir -p {folder}")
        if mode is not None and not stat.S_ISREG(mode):
            raise UsageFault(f"--save {path}: it is no file that could be written", hint="Give another name.")
        if mode is not None and not is_saved(_head(place)):
            said = f"--save {path}: it is there, and it is not a file of --save: it stays as it is"
            raise UsageFault(said, hint="Give another name.")
    except (OSError, ValueError) as error:
        raise UsageFault(f"--save {path}: {_why(error)}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageFault(f"--save {path}: no permission to write in {folder}", hint="Give another folder.")
    return place


def write_saved(place: Path, data: bytes) -> str | None:
    """Puts the file there, readable by its owner only; or says why it could not. Never half a file."""
    try:
        files.write_whole(place, data)
    except OSError as error:
        return _why(error)
    return None


def _mode(place: Path) -> int | None:
    try:
        return place.stat().st_mode
    except FileNotFoundError:
        return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _why(error: Exception) -> str:
    if isinstance(error, OncallError):
        return str(error)
    return files.why(error)
