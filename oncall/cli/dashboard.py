"""`oncall dashboard`: the four dashboards of the monitoring document in a terminal, once or live, or as a picture."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import EXITS, AtOption, RunbooksOption, TimeoutOption, moment, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from oncall.model_boards import Board
    from oncall.model_service import Service
    from oncall.monitoring.board_data import Looking
    from oncall.monitoring.board_model import BoardSpec
    from oncall.runbook.loader import Library

_FIRST = "overview"
_LONGEST_S = 366 * 86400.0
_SHORTEST_S = 60.0
_LEAST_INTERVAL_S = 0.5


def complete_dashboard(incomplete: str) -> list[str]:
    """The dashboards that come with the tool."""
    from oncall.errors import OncallError
    from oncall.monitoring.boards import board_files
    from oncall.runbook.loader import library

    try:
        return [name for name in board_files(library()) if name.startswith(incomplete)]
    except OncallError:
        return []


NameArgument = Annotated[
    str | None,
    typer.Argument(
        help="overview, requests, database or operations; overview without.",
        autocompletion=complete_dashboard,
    ),
]
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Live, until q: 1-4 other dashboard, + - range, p pause.")
]
IntervalOption = Annotated[
    str | None,
    typer.Option("--interval", metavar="DURATION", help="Between two refreshes of --watch; 2s unless told."),
]
RangeOption = Annotated[str, typer.Option("--range", metavar="DURATION", help="How far back charts reach.")]
SvgOption = Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write it as a picture, too.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page for a browser, too.")
]


def dashboard(
    ctx: typer.Context,
    name: NameArgument = None,
    watch: WatchOption = False,
    interval: IntervalOption = None,
    span: RangeOption = "1h",
    at: AtOption = None,
    svg: SvgOption = None,
    html: HtmlOption = None,
    runbooks: RunbooksOption = None,
    timeout: TimeoutOption = "10s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show a dashboard of the monitoring document: system overview, requests, database, operations.

    Exit code: the worst band: 0 ok, 1 warning, 2 critical; 3 unknown (what decides could not be read). --watch: 0.
    """
    options = common.settle(ctx, service, config, output)
    wanted = _wanted(options, interval, span, at, timeout, live=watch)
    files = _files(svg, html)
    if watch:
        _agree(options, at, files)
    chosen, known = options.pick()
    from oncall.runbook.loader import runbooks_of

    view = View(chosen, known, runbooks_of(known, runbooks), name or _FIRST, wanted)
    if watch:
        from oncall.cli.dashboard_live import live

        live(view)
        raise typer.Exit(Exit.OK)
    found = _once(view)
    trouble = [told for file in files if (told := _write(file, found))]
    _print(found, options)
    for told in trouble:
        # The dashboard is out: it was not to be lost with the file.
        common.note(f"oncall: {told}")
    raise typer.Exit(Exit.UNKNOWN if trouble else EXITS[found.severity.value])


@dataclass(frozen=True)
class Wanted:
    """How to look (see Looking), and how far back."""

    looking: "Looking"
    range_s: float


@dataclass(frozen=True)
class View:
    """Whose dashboards, which one first, and how to look."""

    name: str
    service: "Service"
    books: "Library"
    first: str
    wanted: Wanted

    def board(self, name: str) -> "BoardSpec":
        from oncall.monitoring.boards import board

        return board(name, self.books)

    def names(self) -> list[str]:
        """The dashboards by number: the document's four, and a team's own after them."""
        from oncall.monitoring.boards import board_files

        return list(board_files(self.books))[:9]


@dataclass(frozen=True)
class Target:
    """A file to write: the option that named it, where it will be."""

    option: str
    place: Path


def _wanted(
    options: Options, interval: str | None, span: str, at: str | None, timeout: str, *, live: bool
) -> Wanted:
    from oncall.monitoring.board_data import Looking
    from oncall.units import write_duration

    def between(option: str, text: str, least: float, most: float) -> float:
        found = seconds(option, text)
        if not least <= found <= most:
            said = f"is not between {write_duration(least)} and {write_duration(most)}"
            raise UsageFault(f"{option}: {text} {said}")
        return found

    looking = Looking(
        at=moment("--at", at).timestamp() if at else None,
        live=live,
        interval_s=between("--interval", interval or "2s", _LEAST_INTERVAL_S, 3600),
        timeout_s=between("--timeout", timeout, 0.1, 600),
    )
    return Wanted(looking, between("--range", span, _SHORTEST_S, _LONGEST_S))


def _agree(options: Options, at: str | None, files: list[Target]) -> None:
    """Refuses what cannot be meant together with --watch. Raises UsageFault."""
    if options.output is not Output.TABLE:
        raise UsageFault("--watch is for a terminal", hint=f"Leave --output {options.output.value} out.")
    if at is not None:
        raise UsageFault("--watch looks at the present", hint="Leave --at out, or --watch.")
    if files:
        raise UsageFault(f"{files[0].option} writes what is shown once", hint="Leave --watch out.")
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        raise UsageFault(
            "--watch needs a terminal that can move its cursor", hint="Leave --watch out: it prints once."
        )


def _once(view: View) -> "Board":
    from oncall.monitoring.board_data import Source

    spec, wanted = view.board(view.first), view.wanted

    async def look() -> "Board":
        async with Source(view.name, view.service, wanted.looking) as source:
            return await source.look(spec, wanted.range_s)

    states = dict.fromkeys(_backends(view.service, spec), "waiting")
    return common.run_async(common.visibly(look(), states))


def _backends(service: "Service", spec: "BoardSpec") -> list[str]:
    """Who is asked, for the line that says who is waited for."""
    found = ["prometheus"] if service.prometheus else ["scrape"] if service.url else []
    return found + (["postgres"] if service.postgres and any(p.sql for p in spec.panels.values()) else [])


def _print(found: "Board", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import board_json

        common.emit(board_json(found))
    elif options.output is Output.MARKDOWN:
        from oncall.render.board_words import board_markdown

        common.emit(board_markdown(found))
    else:
        from oncall.render.board import board_page

        console, ascii_only = common.out()
        # One line is left for what the shell says next.
        height = console.height - 1 if sys.stdout.isatty() else None
        console.print(board_page(found, width=console.width, height=height, ascii_only=ascii_only))


# --- files ------------------------------------------------------------------------------------------------


def _files(svg: Path | None, html: Path | None) -> list[Target]:
    return [_target(o, path) for o, path in (("--svg", svg), ("--html", html)) if path is not None]


def _target(option: str, path: Path) -> Target:
    """Where the file will be, links followed. Raises UsageFault for a place that cannot be meant."""
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        raise UsageFault(
            f"{option} {path}: there is no folder {place.parent}", hint=f"mkdir -p {place.parent}"
        )
    try:
        if place.exists() and not (place.is_file() and _is_ours(place)):
            said = f"{option} {path}: it is there, and it is not a picture of this command: it stays as it is"
            raise UsageFault(said, hint="Give another name.")
    except OSError as error:
        raise UsageFault(f"{option} {path}: {(error.strerror or 'cannot be read').lower()}") from None
    return Target(option, place)


def _is_ours(place: Path) -> bool:
    with place.open("rb") as file:
        head = file.read(100)
    return not head or head.startswith((b'<svg class="rich-terminal"', b"<!DOCTYPE html>"))


def _write(target: Target, found: "Board") -> str | None:
    """Puts the file there whole; or says what went wrong."""
    from oncall import files
    from oncall.render import picture
    from oncall.render.board import board_page

    console, _ = common.out()
    page = board_page(found, width=console.width)
    make = picture.svg if target.option == "--svg" else picture.html
    text = make(page, f"{found.title} · {found.service}", console.width)
    mask = os.umask(0)
    os.umask(mask)
    try:
        files.write_whole(target.place, text.encode(), 0o666 & ~mask)
    except OSError as error:
        return f"{target.option} {target.place}: not written: {files.why(error)}"
    common.note(f"written: {target.place}")
    return None
