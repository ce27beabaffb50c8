"""What several commands ask for: their options, and the values of these. Exit codes by severity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from oncall.cli.common import Options
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from oncall.model_service import Service

T = TypeVar("T")
EXITS = {"ok": Exit.OK, "warning": Exit.WARNING, "critical": Exit.CRITICAL, "unknown": Exit.UNKNOWN}

AllOption = Annotated[bool, typer.Option("--all", help="Every service of the file, worst first.")]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="About when: RFC 3339, or ago, such as 2h.")
]
WindowOption = Annotated[
    str | None, typer.Option("--window", metavar="DURATION", help="The time that is looked at.")
]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", metavar="DURATION", help="The quiet time just before the window."),
]
RunbooksOption = Annotated[
    Path | None,
    typer.Option("--runbooks", metavar="DIR", help="A folder of more or other runbooks, checks, dashboards."),
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for all answers.")
]
UsualTimeoutOption = Annotated[
    str | None,
    typer.Option("--timeout", metavar="DURATION", help="Longest wait for all answers; 10s unless told."),
]
"""Where it matters whether it was given."""
PostOption = Annotated[
    str | None,
    typer.Option("--post", metavar="WHERE", help="Send it too: slack (announce.slack of the service)."),
]


def parsed(option: str, parse: "Callable[[str], T]", text: str) -> T:
    """What `parse` makes of a word that was typed. Raises UsageFault that names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageFault(f"{option}: {error}") from None


def whole(option: str, text: str, most: int) -> int:
    """A whole number from 1 to `most` that was typed."""
    if not (text.isascii() and text.isdigit() and len(text) < 14 and 1 <= int(text) <= most):
        raise UsageFault(f"{option}: {text!r} is not a whole number from 1 to {most}")
    return int(text)


def seconds(option: str, text: str) -> float:
    """A duration that was typed."""
    from oncall.units import parse_duration

    return parsed(option, parse_duration, text)


def moment(option: str, text: str, now: "datetime | None" = None, *, past: bool = False) -> "datetime":
    """A time that was typed, or so long before `now`; with `past` one that is still to come is refused."""
    from datetime import UTC, datetime

    from oncall.units import parse_time

    now = now or datetime.now(UTC)
    found = parsed(option, lambda word: parse_time(word, now), text)
    if past and found > now:
        raise UsageFault(f"{option}: {text} is still to come")
    return found


def chosen(options: Options, *, every: bool) -> "dict[str, Service]":
    """The service that was asked for, or every one. Raises UsageFault for both at once, ConfigError for none."""
    if every and options.service is not None:
        raise UsageFault("--all is every service, and -s names one", hint="Give one of them.")
    return (dict(options.load().services) if every else {}) or dict([options.pick()])


def addresses(
    options: Options, services: "Mapping[str, Service]", runbooks: Path | None = None, *, every: bool
) -> dict[str, tuple[str, ...]]:
    """By name: the words that mean the service in another command."""
    from dataclasses import replace

    return {n: (replace(options, service=n) if every else options).address(runbooks) for n in services}


def check_post(post: str | None, services: "Mapping[str, Service]") -> None:
    """Refuses a channel that is none, or that a service does not have."""
    if post not in (None, "slack"):
        raise UsageFault(f"--post: {post!r} is not known", hint="There is: slack.")
    silent = [n for n, s in services.items() if s.announce is None or s.announce.slack is None]
    if post and silent:
        said = f"--post slack: no announce.slack in the service file for {', '.join(silent)}"
        raise UsageFault(said, hint="Write announce: {slack: ${SLACK_WEBHOOK}} for it.")
