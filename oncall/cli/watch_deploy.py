"""`oncall watch-deploy`: is the deploy to be kept, watched or rolled back, by the monitoring document's targets."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import AtOption, PostOption, RunbooksOption, TimeoutOption, check_post, moment, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, Group

    from oncall.checks.deploy import Asked
    from oncall.model_deploy import DeployReport, Phase
    from oncall.model_service import Service
    from oncall.runbook.loader import Library

_EXITS = {"keep": Exit.OK, "watch": Exit.WARNING, "roll_back": Exit.CRITICAL, "unknown": Exit.UNKNOWN}
_LIVE_S, _PLAIN_S = 15.0, 60.0
"""Between two looks: at a terminal, and where lines go into a log."""
_SURE = 2
"""Looks in a row that say roll back before watching ends early."""


SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="The deploy: RFC 3339, or ago, such as 20m. Else the last restart that Prometheus knows.",
    ),
]
ForOption = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="Watch so long, then say the verdict. Else one look."),
]
PhaseOption = Annotated[
    str | None,
    typer.Option("--phase", metavar="PHASE", help="hour, day or week. Else by the time since the deploy."),
]


def watch_deploy(
    ctx: typer.Context,
    since: SinceOption = None,
    watch: ForOption = None,
    phase: PhaseOption = None,
    at: AtOption = None,
    post: PostOption = None,
    runbooks: RunbooksOption = None,
    timeout: TimeoutOption = "20s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Say whether a deploy is to be kept, watched or rolled back: its first hour, day and week against before.

    With --for it looks again and again, and ends early where two looks in a row say roll back.

    Exit code: 0 keep, 1 watch, 2 roll back, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    asked, watch_s = _asked(since, at, phase, timeout, watch)
    name, chosen = options.pick()
    check_post(post, {name: chosen})
    from oncall.runbook.loader import runbooks_of

    books = runbooks_of(chosen, runbooks)
    watching = _Watching(name, chosen, books, asked, options, options.address(runbooks))
    report = common.run_async(watching.run(watch_s))
    _print(report, options)
    if post:
        _post(chosen, report)
    raise typer.Exit(_EXITS[report.verdict.value])


def _asked(
    since: str | None, at: str | None, phase: str | None, timeout: str, watch: str | None
) -> "tuple[Asked, float | None]":
    import time
    from datetime import UTC, datetime

    from oncall.checks.deploy import Asked

    now = datetime.now(UTC)
    if at is not None and watch is not None:
        raise UsageFault("--at is about the past, and --for watches the present", hint="Give one of them.")
    as_of = moment("--at", at, now, past=True) if at else None
    deployed = moment("--since", since, now, past=True) if since else None
    if as_of and deployed and deployed >= as_of:
        raise UsageFault("--since: the deploy is not before --at")
    asked = Asked(
        since=deployed,
        at=as_of,
        phase=_phase(phase),
        begun=as_of.timestamp() if as_of else time.time(),
        timeout_s=seconds("--timeout", timeout),
    )
    return asked, seconds("--for", watch) if watch else None


def _phase(text: str | None) -> "Phase | None":
    from oncall.model_deploy import Phase

    if text is None:
        return None
    try:
        return Phase(text)
    except ValueError:
        raise UsageFault(f"--phase: {text!r} is not one of {', '.join(Phase)}") from None


class _Watching:
    """Looks once, or again and again; a person sees the page, a log gets a line a minute."""

    def __init__(
        self,
        name: str,
        service: "Service",
        books: "Library",
        asked: "Asked",
        options: Options,
        address: tuple[str, ...],
    ) -> None:
        self.name, self.service, self.books, self.asked = name, service, books, asked
        self.options, self.address = options, address
        self.states: dict[str, str] = {}

    async def look(self) -> "DeployReport":
        from oncall.checks.deploy import look

        return await look(
            self.name,
            self.service,
            self.books,
            self.asked,
            address=self.address,
            progress=self.states.__setitem__,
        )

    async def run(self, watch_s: float | None) -> "DeployReport":
        if watch_s is None:
            return await common.visibly(self.look(), self.states)
        if sys.stdout.isatty() and self.options.output is Output.TABLE:
            console, ascii_only = common.out()
            if console.is_terminal:
                return await self._live(watch_s, console, ascii_only)
        return await self.again(watch_s, _PLAIN_S, _plain)

    async def _live(self, watch_s: float, console: "Console", ascii_only: bool) -> "DeployReport":
        """The page on the screen, anew each time; with Ctrl-C the last one stays."""
        import asyncio

        from rich.live import Live
        from rich.text import Text

        from oncall.numbers import duration
        from oncall.render.deploy import deploy_page

        pages: list[Group] = []

        def page(report: "DeployReport", live: str | None = None) -> "Group":
            return deploy_page(report, width=console.width, ascii_only=ascii_only, live=live)

        def show(report: "DeployReport", left_s: float) -> None:
            pages[:] = [page(report)]
            until = f"watching for {duration(max(1.0, round(left_s)))} more; Ctrl-C ends it"
            live.update(page(report, until), refresh=True)

        try:
            with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
                live.update(Text("asking prometheus"), refresh=True)
                return await self.again(watch_s, _LIVE_S, show)
        except asyncio.CancelledError:
            for last in pages:
                console.print(last)
            raise

    async def again(
        self, watch_s: float, every_s: float, show: "Callable[[DeployReport, float], None]"
    ) -> "DeployReport":
        """Until the time or the phase is over, or the answer is sure to be a roll back."""
        import asyncio
        import time

        ends, bad = time.monotonic() + watch_s, 0
        while True:
            begun = time.monotonic()
            report = await self.look()
            left = ends - time.monotonic()
            show(report, max(0.0, left))
            bad = bad + 1 if report.verdict.value == "roll_back" else 0
            if left <= 0 or bad >= _SURE or report.over:
                return report
            await asyncio.sleep(min(left, max(0.0, every_s - (time.monotonic() - begun))))


def _plain(report: "DeployReport", _left_s: float) -> None:
    from oncall.render.deploy_words import progress_line

    common.note(progress_line(report))


def _print(report: "DeployReport", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import deploy_json

        common.emit(deploy_json(report))
    elif options.output is Output.MARKDOWN:
        from oncall.render.deploy_words import deploy_markdown

        common.emit(deploy_markdown(report))
    else:
        from oncall.render.deploy import deploy_page

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(deploy_page(report, width=console.width, ascii_only=ascii_only, height=height))


def _post(service: "Service", report: "DeployReport") -> None:
    """A dead webhook is reported and takes nothing back: the answer is printed."""
    from oncall.remediation.announce import post_text
    from oncall.render.deploy_words import slack_text

    trouble = common.run_async(post_text(service, slack_text(report)))
    common.note(f"oncall: {trouble}" if trouble else f"posted to Slack: the deploy of {report.service}")
