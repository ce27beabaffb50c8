"""What every command shares: the three global options, consoles, JSON on stdout."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from rich.console import Console

    from oncall.config import Config
    from oncall.model_service import Service


T = TypeVar("T")
GRACE_S = 0.35
"""After Ctrl-C, what is under way may close itself for so long."""
_TAIL_BYTES = 2 * 2**20
"""Longer than a line of the audit log is."""
PATIENCE_S = 0.3
"""A person sees who is waited for from here on."""


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
    Output | None, typer.Option("--output", help="How to print the answer; table unless told.")
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

    def address(self, runbooks: Path | None = None) -> tuple[str, ...]:
        """The words that mean the same service in another command: those that were needed in this one."""
        words = ["-s", self.service] if self.service else []
        words += ["--config", str(self.config.absolute())] if self.config else []
        words += ["--runbooks", str(runbooks.absolute())] if runbooks else []
        return tuple(words)


def settle(ctx: typer.Context, service: str | None, config: Path | None, output: Output | None) -> Options:
    """The options in force: those after the command win over those before it."""
    before: Options = ctx.find_root().obj or Options()
    name = before.service if service is None else service
    if name == "":
        # A variable that a script forgot to set must not become the default service.
        raise UsageFault("--service: an empty name", hint="Is a variable of the calling script not set?")
    return Options(service=name, config=config or before.config, output=output or before.output)


def out(*, error: bool = False) -> "tuple[Console, bool]":
    """The console for answers on stdout (or for talk on stderr), and whether it takes ASCII only.

    No colour and no control codes unless it is a terminal that wants them; 120 columns (or COLUMNS) where there
    is no terminal."""
    from rich.console import Console

    from oncall.render.look import look

    class Paper(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            if not error:
                let_go()

    stream = sys.stderr if error else sys.stdout
    seen = look(os.environ, encoding=stream.encoding or "ascii", terminal=stream.isatty())
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() and int(columns) else None
    if width is None:
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 120
    console = Paper(
        width=max(20, width),
        stderr=error,
        color_system="auto" if seen.color else None,
        force_terminal=seen.color,
        highlight=False,
        markup=False,
        emoji=False,
    )
    return console, seen.ascii_only


def note_open_intents() -> None:
    """Says on stderr that an action was begun and its end is not known: it was killed, or runs now."""
    from oncall.remediation.audit import open_intents
    from oncall.render.text import safe

    for entry in open_intents()[-3:]:
        when = f"{entry.at:%Y-%m-%d %H:%M:%S} UTC"
        what = f"{entry.action} of {entry.service}, begun {when} by {entry.who.user}, has no known end"
        note(f"warning: {safe(what)}")
        note(f"  it was killed, or it still runs: oncall audit show {entry.number}")


def note_if_interrupted() -> None:
    """The same where the last line of the audit log is an intent: a diagnosis has no time to read all of it."""
    from oncall.config import state_folder

    try:
        with (state_folder() / "audit.jsonl").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            last = log.read().rstrip(b"\n").rpartition(b"\n")[2]
    except OSError:
        return
    if b'"kind":"intent"' in last:
        note_open_intents()


def note(text: str) -> None:
    """Talk, which goes to stderr so that stdout stays data. Nobody has to listen."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def emit(data: bytes | str) -> None:
    """One document on stdout, ended by one newline. Bytes go out as they are: JSON is UTF-8 at any terminal."""
    try:
        if isinstance(data, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(data.removesuffix(b"\n") + b"\n")
        else:
            sys.stdout.write(data if data.endswith("\n") else data + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        let_go()


def let_go() -> None:
    """The reader (head, less) went away, which is its right: the rest goes nowhere, and the exit code stands."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_async(coroutine: "Coroutine[Any, Any, T]", grace: "Callable[[], float]" = lambda: GRACE_S) -> "T":
    """Runs to the end, or until Ctrl-C: then it is over within `grace()` seconds (0.35), whatever still hangs.

    A name look-up that hangs sits in a thread that cannot be cancelled, and asyncio would wait for it."""
    import asyncio
    import signal
    import threading

    def leave() -> None:
        os.write(2, b"oncall: interrupted\n")
        os._exit(Exit.INTERRUPTED)

    timers: list[threading.Timer] = []

    async def watched() -> "T":
        task = asyncio.current_task()
        assert task is not None

        def interrupted() -> None:
            if not timers:
                timers.append(threading.Timer(grace(), leave))
                timers[0].daemon = True
                timers[0].start()
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
        return await coroutine

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for timer in timers:
            timer.cancel()


async def visibly(work: "Awaitable[T]", states: "Mapping[str, str]") -> "T":
    """Awaits the work; a person at a terminal sees, after a moment, who has not answered yet."""
    import asyncio

    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return await work
    shown = asyncio.create_task(show_waiting(states))
    try:
        return await work
    finally:
        shown.cancel()
        # The line is wiped before anything else is written.
        await asyncio.wait([shown])


async def show_waiting(states: "Mapping[str, str]") -> None:
    """After a moment, a line on stderr that says who has not answered yet; until it is cancelled."""
    import asyncio

    begun = time.monotonic()
    await asyncio.sleep(PATIENCE_S)
    from rich.console import Console
    from rich.live import Live

    from oncall.render.progress import waiting

    console = Console(stderr=True, no_color=bool(os.environ.get("NO_COLOR")))
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            line = waiting(states, time.monotonic() - begun, width=console.width)
            live.update(line, refresh=True)
            await asyncio.sleep(0.1)
