"""`oncall health`: the health endpoints, with the document's timeouts and two failures before it says down."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import EXITS, AllOption, addresses, chosen
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption

if TYPE_CHECKING:
    from oncall.model_status import HealthOfAll


def health(
    ctx: typer.Context,
    every: AllOption = False,
    once: Annotated[
        bool, typer.Option("--once", help="One look: a failure is 'failed once', a warning, and not down.")
    ] = False,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Ask /health, /health/db and /health/cache (5, 5 and 3 s); one that fails is asked twice.

    Exit code: 2 down, 1 failed once or the cache down, 0 all healthy, 3 unknown.
    """
    options = common.settle(ctx, service, config, output)
    found = _look(options, every=every, once=once)
    _print(found, options, every=every)
    raise typer.Exit(EXITS[found.severity.value])


def _look(options: Options, *, every: bool, once: bool) -> "HealthOfAll":
    from oncall.monitoring.health import How, look_at_all

    services = chosen(options, every=every)
    states = {"health": "waiting"}
    asking = look_at_all(services, How(once=once), addresses(options, services, every=every))
    return common.run_async(common.visibly(asking, states))


def _print(found: "HealthOfAll", options: Options, *, every: bool) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import status_json

        common.emit(status_json(found if every else found.services[0]))
    elif options.output is Output.MARKDOWN:
        from oncall.render.status_words import health_markdown, health_of_all_markdown

        common.emit(health_of_all_markdown(found) if every else health_markdown(found.services[0]))
    else:
        from oncall.render.health import health_of_all_page, health_page

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(
            health_of_all_page(found, width=console.width, ascii_only=ascii_only, height=height)
            if every
            else health_page(found.services[0], width=console.width, ascii_only=ascii_only, height=height)
        )
