"""Whether a folder takes another file and another line: tried out, not guessed."""

import os
import resource
from contextlib import suppress
from pathlib import Path

ROOM = 2**18
"""Bytes that must be free: an intent and its outcome with long plans."""


def no_room(folder: Path, size: int) -> str | None:
    """Why a log of `size` bytes in that folder cannot grow; None where it can."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < size + ROOM:
        return f"this process may write files of {limit} bytes only (ulimit -f)"
    try:
        free = os.statvfs(folder)
        if free.f_bavail * free.f_frsize < ROOM:
            return f"only {free.f_bavail * free.f_frsize} bytes are free on its disk"
        _try(folder / f".audit-room.{os.getpid()}")
    except OSError as failed:
        return (failed.strerror or str(failed)).lower()
    return None


def _try(scratch: Path) -> None:
    """Writes as much as an entry may need, to the disk, and takes it away: quotas are in no statistics."""
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, ROOM)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        with suppress(OSError):
            scratch.unlink()
