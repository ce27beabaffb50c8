"""Errors that know what to do next, and the exit codes of the program."""

from enum import IntEnum

REPORT = "please report this line"
"""What to do about a bug of ours."""


class Exit(IntEnum):
    """Exit codes that scripts rely on."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3
    REFUSED = 4
    UNVERIFIED = 5
    USAGE = 64
    BUG = 70
    CONFIG = 78
    INTERRUPTED = 130


class OncallError(Exception):
    """Something that the user can mend. `str()` says what and where; `hint` says what to do next."""

    exit_code = Exit.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageFault(OncallError):
    """The command line asks for something that does not exist or does not fit."""

    exit_code = Exit.USAGE


class ConfigError(OncallError):
    """The service file is wrong; the message starts with file:line."""

    exit_code = Exit.CONFIG


class RunbookError(OncallError):
    """A runbook is wrong; the message starts with file:line."""

    exit_code = Exit.CONFIG


class LabError(OncallError):
    """The lab cannot start, break or stop something."""

    exit_code = Exit.UNKNOWN


class AuditError(OncallError):
    """The audit log takes no entry, and without one nothing is done."""

    exit_code = Exit.REFUSED


class AuditUnreadable(AuditError):
    """The audit log cannot be read, or it is not what was written."""

    exit_code = Exit.UNKNOWN


def bug_text(bug: BaseException, frames: int = 1) -> str:
    """A bug of ours: its type and the last `frames` places, without values that could hold a secret."""
    import traceback

    last = traceback.extract_tb(bug.__traceback__)[-frames:]
    where = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in reversed(last))
    return f"a bug in oncall: {type(bug).__name__} at {where}"
