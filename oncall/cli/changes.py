"""`oncall changes`: what changed, of all series of the service."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import AtOption, BaselineOption, TimeoutOption, WindowOption, moment, seconds, whole
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit

if TYPE_CHECKING:
    from oncall.diagnosis.changes import Asked
    from oncall.model_changes import Changes


def changes(
    ctx: typer.Context,
    at: AtOption = None,
    window: WindowOption = None,
    baseline: BaselineOption = None,
    top: Annotated[
        str, typer.Option("--top", metavar="N", help="How many to show, furthest moved first.")
    ] = "20",
    limit: Annotated[
        str, typer.Option("--limit", metavar="SERIES", help="How many series to compare at most.")
    ] = "2000",
    timeout: TimeoutOption = "10s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Say what changed: every series of the service in Prometheus, ranked by how far it moved, and since when.

    Exit code: 0 read (whatever changed), 3 unknown (not all could be read).
    """
    options = common.settle(ctx, service, config, output)
    asking = _asking(at, window, baseline, timeout, top, limit)
    name, chosen = options.pick()
    from oncall.diagnosis.changes import changes as run

    states: dict[str, str] = {}
    found = common.run_async(common.visibly(run(name, chosen, asking, states.__setitem__), states))
    _print(found, options)
    raise typer.Exit(Exit.OK if found.reason is None else Exit.UNKNOWN)


def _asking(
    at: str | None, window: str | None, baseline: str | None, timeout: str, top: str, limit: str
) -> "Asked":
    from oncall.diagnosis.changes import Asked

    return Asked(
        at=moment("--at", at) if at else None,
        window_s=seconds("--window", window) if window else None,
        baseline_s=seconds("--baseline", baseline) if baseline else None,
        timeout_s=seconds("--timeout", timeout),
        top=whole("--top", top, 10_000),
        limit=whole("--limit", limit, 10_000),
    )


def _print(found: "Changes", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import changes_json

        common.emit(changes_json(found))
    elif options.output is Output.MARKDOWN:
        from oncall.render.change_words import changes_markdown

        common.emit(changes_markdown(found))
    else:
        from oncall.render.changes import changes_page

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(changes_page(found, width=console.width, ascii_only=ascii_only, height=height))
