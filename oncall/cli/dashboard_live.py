"""A dashboard that lives: asks again and again, listens to keys, follows the size of its window."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from oncall.cli import common

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from oncall.cli.dashboard import View
    from oncall.model_boards import Board
    from oncall.monitoring.board_data import Source
    from oncall.monitoring.board_model import BoardSpec

RANGES_S = (300.0, 900.0, 1800.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0, 172800.0, 604800.0)
_CLOSING_S = 1.0
"""Longer than this nobody waits for a connection to be closed politely."""


def live(view: "View") -> None:
    """Runs until q. Ctrl-C ends it too, as everywhere."""
    boards = {name: view.board(name) for name in view.names()}
    if view.first not in boards:
        boards = {**boards, view.first: view.board(view.first)}
    common.run_async(_run(view, boards))


async def _run(view: "View", boards: "dict[str, BoardSpec]") -> None:
    from oncall.monitoring.board_data import Source

    console, ascii_only = _console()
    async with Source(view.name, view.service, view.wanted.looking) as source:
        screen = _Screen(view, boards, source, ascii_only=ascii_only)
        with _shown(console) as shown, _listening(screen):
            await screen.run(console, shown)


def _console() -> "tuple[Console, bool]":
    """A console of the terminal: it moves the cursor even where colours are not wanted."""
    from rich.console import Console

    from oncall.render.look import look

    seen = look(os.environ, encoding=sys.stdout.encoding or "ascii", terminal=True)
    console = Console(
        color_system="auto" if seen.color else None,
        force_terminal=True,
        highlight=False,
        markup=False,
        emoji=False,
        # Its size is that of the terminal, whatever COLUMNS said when the shell began: windows are resized.
        _environ={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")},
    )
    return console, seen.ascii_only


@contextmanager
def _shown(console: "Console") -> "Iterator[Live]":
    from rich.live import Live

    with Live(
        console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as shown:
        yield shown


@contextmanager
def _listening(screen: "_Screen") -> Iterator[None]:
    """Keys come one by one and are not echoed; a new size of the window is a reason to draw again."""
    import termios
    import tty

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, screen.redraw)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # As q does: the terminal is to be as it was.
        loop.add_signal_handler(ending, screen.typed, b"q")
    if not sys.stdin.isatty():
        yield
        return
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys)
        loop.add_reader(keys, lambda: screen.typed(os.read(keys, 64)))
        yield
    finally:
        loop.remove_reader(keys)
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


class _Screen:
    """What is shown and what is asked: keys change the one, time the other."""

    def __init__(
        self, view: "View", boards: "dict[str, BoardSpec]", source: "Source", *, ascii_only: bool
    ) -> None:
        self._view, self._boards, self._source, self._ascii_only = view, boards, source, ascii_only
        self._names = list(boards)
        self._name = view.first
        self._range_s = view.wanted.range_s
        self._paused = self._done = False
        self._wake = asyncio.Event()
        self._stale = True
        """What is on the screen is not what was asked to be seen: it is asked for at once."""
        self._found: dict[str, Board] = {}

    # --- keys: called between two steps of the loop --------------------------------------------------

    def redraw(self) -> None:
        self._wake.set()

    def typed(self, keys: bytes) -> None:
        """q or the end of input, 1 to 9, + and -, p; all else is nothing."""
        if not keys:
            self._done = True
        for key in keys.decode("ascii", "ignore"):
            if key in "qQ":
                self._done = True
            elif key in "pP":
                self._paused = not self._paused
                self._stale = self._stale or not self._paused
            elif key in "123456789" and int(key) <= len(self._names):
                self._name, self._stale = self._names[int(key) - 1], True
            elif key in "+=-_":
                self._reach(1 if key in "+=" else -1)
        self._wake.set()

    def _reach(self, way: int) -> None:
        """The next longer or shorter range."""
        beyond = [r for r in RANGES_S if (r > self._range_s if way > 0 else r < self._range_s)]
        if beyond:
            self._range_s, self._stale = (min(beyond) if way > 0 else max(beyond)), True

    # --- the loop --------------------------------------------------------------------------------------

    async def run(self, console: "Console", shown: "Live") -> None:
        interval = self._view.wanted.looking.interval_s
        asking: asyncio.Task[Board] | None = None
        due = 0.0
        clock = asyncio.get_running_loop().time
        try:
            self._draw(console, shown)
            while not self._done:
                if asking is None and (self._stale or (not self._paused and clock() >= due)):
                    self._stale, due = False, clock() + interval
                    look = self._source.look(self._boards[self._name], self._range_s)
                    asking = asyncio.create_task(look)
                new = await self._news(asking, None if self._paused else max(0.0, due - clock()))
                if asking is not None and asking.done():
                    found = asking.result()
                    self._found[found.dashboard], asking, new = found, None, True
                if new and not self._done:
                    self._draw(console, shown)
        finally:
            await _ended(asking)

    async def _news(self, asking: "asyncio.Task[Board] | None", seconds: float | None) -> bool:
        """Waits for an answer, a key, a new size; or for the time of the next question, where none is under way.

        Whether there was a key or a new size."""
        key = asyncio.create_task(self._wake.wait())
        waits: list[asyncio.Task[bool] | asyncio.Task[Board]] = [key, *([asking] if asking else [])]
        await asyncio.wait(waits, timeout=None if asking else seconds, return_when=asyncio.FIRST_COMPLETED)
        key.cancel()
        pressed = self._wake.is_set()
        self._wake.clear()
        return pressed

    def _draw(self, console: "Console", shown: "Live") -> None:
        from rich.text import Text

        from oncall.numbers import humane
        from oncall.render.board import board_page, keys_line

        width, height = console.size
        keys = keys_line(self._names, self._name, humane(self._range_s, "s"), paused=self._paused)
        found = self._found.get(self._name)
        if found is None:
            title = self._boards[self._name].title
            shown.update(Text(f"{title.upper()}: asking ..."[:width]), refresh=True)
            return
        page = board_page(found, width=width, height=height, ascii_only=self._ascii_only, foot=keys)
        shown.update(page, refresh=True)


async def _ended(asking: "asyncio.Task[Board] | None") -> None:
    if asking is None:
        return
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([asking], timeout=_CLOSING_S)
