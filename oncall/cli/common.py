"""What every command shares: the three global options, consoles, JSON on stdout."""

import os
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from rich.console import Console

    from oncall.config import Config
    from oncall.model import Service


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def complete_service(incomplete: str) -> list[str]:
    """Names of services that begin so; nothing where the file cannot be read."""
    from oncall.config import load
    from oncall.errors import OncallError

    try:
        names = load().services
    except OncallError:
        return []
    return [name for name in names if name.startswith(incomplete)]


ServiceOption = Annotated[
    str | None,
    typer.Option(
        "--service", "-s", metavar="NAME", help="Which service of the file.", autocompletion=complete_service
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The service file, instead of the usual places."),
]
OutputOption = Annotated[
    Output | None, typer.Option("--output", help="How to print the answer.", show_default="table")
]


@dataclass(frozen=True)
class Options:
    """The three global options as given, before or after the command."""

    service: str | None = None
    config: Path | None = None
    output: Output = Output.TABLE

    def load(self) -> "Config":
        """The service file in force. Warnings about it go to stderr."""
        from oncall.config import load

        config = load(self.config)
        for warning in config.warnings:
            note(f"warning: {warning}")
        return config

    def pick(self) -> "tuple[str, Service]":
        """The service that was asked for. Raises UsageFault or ConfigError with what there is."""
        from oncall.config import pick

        return pick(self.load(), self.service)


def settle(ctx: typer.Context, service: str | None, config: Path | None, output: Output | None) -> Options:
    """The options in force: those after the command win over those before it."""
    before: Options = ctx.find_root().obj or Options()
    return Options(
        service=service or before.service,
        config=config or before.config,
        output=output or before.output,
    )


def terminal_width(stream_is_terminal: bool) -> int:
    """Columns to print in: the terminal's; COLUMNS or 120 where there is none."""
    if stream_is_terminal:
        return max(20, os.get_terminal_size(1).columns)
    columns = os.environ.get("COLUMNS", "")
    return max(20, int(columns)) if columns.isdigit() else 120


def out() -> "Console":
    """The console for answers: stdout, no colour and no control codes unless it is a terminal."""
    from rich.console import Console

    tty = sys.stdout.isatty()
    dumb = os.environ.get("TERM") == "dumb"
    return Console(
        width=terminal_width(tty),
        no_color=bool(os.environ.get("NO_COLOR")) or not tty or dumb,
        force_terminal=tty and not dumb,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )


def note(text: str) -> None:
    """Talk, which goes to stderr so that stdout stays data."""
    print(text, file=sys.stderr)


def emit(data: bytes | str) -> None:
    """One document on stdout, ended by one newline."""
    text = data.decode() if isinstance(data, bytes) else data
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


async def wait_visibly(
    work: "asyncio.Future[Any]", states: "Mapping[str, str]", patience_s: float, begun: float
) -> None:
    """Waits for the work; a person at a terminal sees, after a moment, who has not answered yet."""
    import asyncio

    done, _ = await asyncio.wait([work], timeout=patience_s if sys.stderr.isatty() else None)
    if done or os.environ.get("TERM") == "dumb":
        await asyncio.wait([work])
        return
    from rich.console import Console
    from rich.live import Live

    from oncall.render.progress import waiting

    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while not work.done():
            parts = {**states, "": f"{time.monotonic() - begun:.1f} s"}
            live.update(waiting(parts, width=console.width), refresh=True)
            await asyncio.wait([work], timeout=0.1)
