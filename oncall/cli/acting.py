"""What a person sees on stderr while a plan is made and carried out; a script sees the header alone."""

import asyncio
import os
import sys
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from oncall.cli import common

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from oncall.model_acts import ActionPlan, SymptomChange

T = TypeVar("T")
_WRITING_S = 15.0


class Seen:
    """The reporter of one action at this terminal."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._states: dict[str, str] = {}
        self._asking: asyncio.Task[None] | None = None
        self._plan: ActionPlan | None = None
        self._live: Live | None = None
        self._line = ""
        self._symptoms: tuple[SymptomChange, ...] = ()
        self._elapsed_s = 0.0
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> "Seen":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def grace(self) -> float:
        """Seconds to end in after Ctrl-C: once something has been touched, what happened is written down first."""
        return common.GRACE_S if self._plan is None else _WRITING_S

    async def while_waiting(self, work: "Awaitable[T]") -> "T":
        """Awaits the work; a person sees, after a moment, who has not answered yet."""
        if self._terminal:
            self._asking = asyncio.create_task(common.show_waiting(self._states))
        try:
            return await work
        finally:
            await self._stop_asking()

    async def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            # The line is wiped before anything else is written.
            await asyncio.wait([self._asking])
            self._asking = None

    def waiting(self, backend: str, state: str) -> None:
        self._states[backend] = state

    async def about_to(self, plan: "ActionPlan") -> None:
        """The header, before anything is touched: whose service, where, what."""
        await self._stop_asking()
        self._plan = plan
        from oncall.render.plan import about_to

        console, ascii_only = self._console()
        console.print(about_to(plan, width=console.width, ascii_only=ascii_only))

    def tell(self, line: str) -> None:
        self._line = line
        self._show()

    def measured(self, symptoms: "tuple[SymptomChange, ...]", elapsed_s: float) -> None:
        self._symptoms, self._elapsed_s = symptoms, elapsed_s
        self._show()

    def _show(self) -> None:
        if not self._terminal or self._plan is None:
            return
        if self._live is None:
            from rich.live import Live

            # While stderr is redirected, what stands in its place looks like a terminal that takes ASCII only.
            self._live = Live(
                console=self._console()[0],
                transient=True,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(self._page(), refresh=True)

    def _page(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        from oncall.render.text import safe
        from oncall.render.verifying import verifying

        console, ascii_only = self._console()
        line = Text(safe(self._line, ascii_only=ascii_only), no_wrap=True, overflow="ellipsis")
        if not self._symptoms or self._plan is None:
            return line
        table = verifying(
            self._plan,
            self._symptoms,
            (),
            self._elapsed_s,
            self._wait_s,
            width=console.width,
            ascii_only=ascii_only,
        )
        return Group(*([line] if self._line else []), table)

    def _console(self) -> "tuple[Console, bool]":
        return common.out(error=True)
