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


def out() -> "tuple[Console, bool]":
    """The console for answers on stdout, and whether it takes ASCII only.

    No colour and no control codes unless it is a terminal that wants them; 120 columns (or COLUMNS) where there
    is no terminal."""
    from rich.console import Console

    from oncall.render.look import look

    seen = look(os.environ, encoding=sys.stdout.encoding or "ascii", terminal=sys.stdout.isatty())
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() and int(columns) else None
    if width is None:
        width = os.get_terminal_size(1).columns if sys.stdout.isatty() else 120
    console = Console(
        width=max(20, width),
        color_system="auto" if seen.color else None,
        force_terminal=seen.color,
        highlight=False,
        markup=False,
        emoji=False,
    )
    return console, seen.ascii_only


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
            line = waiting(states, time.monotonic() - begun, width=console.width)
            live.update(line, refresh=True)
            await asyncio.wait([work], timeout=0.1)
