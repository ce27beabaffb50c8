"""Files written whole or not at all: beside their place, synced, renamed into it. The one way to write a file.

A reader, and a machine that loses its power, meets the old file or the new one; never half of one.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MOST_BYTES = 1_000_000


class FileChanged(Exception):
    """The file is not the one that was looked at: edited, replaced, another owner or mode, another link."""


@dataclass(frozen=True)
class FileSeen:
    """A file as it was read: `path` as named, `place` where it really is (links followed), whose it is."""

    path: Path
    place: Path
    data: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int
    names: int
    """Hard links: 1 unless the same file is also known by another name."""

    @property
    def digest(self) -> str:
        return digest(self.data)


def digest(data: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()


def look(path: Path, most_bytes: int = MOST_BYTES) -> FileSeen:
    """Reads a regular file. Raises OSError; also for what is no file, and for more than `most_bytes`."""
    place = Path(os.path.realpath(path, strict=True))
    # What is no file (a pipe) must not hold us up.
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes:,} bytes", str(path))
    return FileSeen(
        path=path,
        place=place,
        data=data,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        names=status.st_nlink,
    )


def obstacle(seen: FileSeen) -> tuple[str, str] | None:
    """Why the file could not be replaced with everything about it kept, and what to do; None where it could."""
    folder = seen.place.parent
    if not _may(seen.place, os.W_OK):
        return f"no permission to write {seen.place}", "run it as the user who may, or as root"
    if not _may(folder, os.W_OK | os.X_OK):
        said = f"no permission to write in {folder}, where the new file is made before it takes the place"
        return said, "run it as the user who may, or as root"
    if not _keeps_owner(seen):
        said = f"{seen.place} belongs to user {seen.uid}, group {seen.gid}: the new file would not"
        return said, "run it as that user, or as root"
    if seen.names > 1:
        said = f"{seen.place} has {seen.names} names (hard links): the others would keep the old text"
        return said, f"see them: find / -xdev -samefile {seen.place}; edit it by hand, or make it one name"
    return None


def replace(seen: FileSeen, data: bytes) -> None:
    """Puts new bytes in the place of a file, with its mode, owner, group and extended attributes.

    Raises FileChanged where it is no longer the file that was seen, OSError where it cannot be done; then nothing
    was replaced, unless the last step, to sync the folder, is what failed."""

    def like_before(descriptor: int) -> None:
        if os.geteuid() == 0 or (seen.uid, seen.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, seen.uid, seen.gid)
        os.fchmod(descriptor, seen.mode)
        _copy_attributes(seen.place, descriptor)

    def unchanged() -> None:
        check_unchanged(seen)

    try:
        _write(seen.place, data, like_before, unchanged)
    except FileNotFoundError:
        raise FileChanged(f"{seen.place} is gone") from None


def check_unchanged(seen: FileSeen) -> None:
    """Raises FileChanged where the path no longer leads to the file that was seen."""
    try:
        now = look(seen.path, max(len(seen.data), 1))
    except OSError as error:
        raise FileChanged(f"{seen.path}: {why(error)}") from None
    if now.place != seen.place:
        raise FileChanged(f"{seen.path} leads to {now.place} now, no longer to {seen.place}")
    if now != seen:
        what = "its text" if now.data != seen.data else "its owner, mode or number of names"
        raise FileChanged(f"{seen.path} changed since: {what}")


def write_whole(place: Path, data: bytes, mode: int = 0o600) -> None:
    """Puts a file there, or in place of the one there. Raises OSError; then the place is as it was."""
    _write(place, data, lambda descriptor: os.fchmod(descriptor, mode), lambda: None)


def make_private(folder: Path) -> None:
    """Makes the folder, and those above it that are missing, for their owner only. Raises OSError."""
    for missing in [f for f in (folder, *folder.parents) if not f.exists()][::-1]:
        missing.mkdir(mode=0o700, exist_ok=True)


def why(error: Exception) -> str:
    """What an error of the system says, without its number."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _write(place: Path, data: bytes, prepare: Callable[[int], None], check: Callable[[], None]) -> None:
    """`prepare` gets the new file's descriptor; `check` is called as the last thing before the new one is there."""
    # Hidden, and without the ending: a folder whose `*.yaml` are all read must not see it.
    fresh = place.with_name(f".{place.name[:100]}.{os.urandom(6).hex()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            prepare(file.fileno())
            os.fsync(file.fileno())
        check()
        fresh.replace(place)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    """Without it the rename may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not offer it
            raise
    finally:
        os.close(descriptor)


def _may(path: Path, what: int) -> bool:
    # As whom we act (sudo, setuid), not as whom we logged in.
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def _keeps_owner(seen: FileSeen) -> bool:
    groups = {os.getegid(), *os.getgroups()}
    return os.geteuid() == 0 or (seen.uid == os.geteuid() and seen.gid in groups)


def _copy_attributes(place: Path, descriptor: int) -> None:
    """Access lists and the like. What the security module sets (security.*) is its own affair."""
    if not hasattr(os, "listxattr"):
        return
    try:
        names = os.listxattr(place)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name in names:
        if not name.startswith("security."):
            os.setxattr(descriptor, name, os.getxattr(place, name))
