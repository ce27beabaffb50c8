"""`oncall audit`: what was done, by whom and why; and whether the log is the one that was written."""

from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import moment, whole
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from oncall.model_acts import AuditList, AuditShown, AuditVerified

app = typer.Typer(help="What was done, by whom, why, and whether it helped.", no_args_is_help=True)

LAST, MOST = 20, 10_000


def complete_action(incomplete: str) -> list[str]:
    """Actions that begin so."""
    from oncall.remediation.guards import ACTIONS

    return [name for name in ACTIONS if name.startswith(incomplete)]


@app.command("list")
def list_(
    ctx: typer.Context,
    last: Annotated[
        str | None, typer.Option("--last", metavar="N", help="How many actions; 20 unless told.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action", metavar="NAME", help="Only actions of this name.", autocompletion=complete_action
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DURATION", help="Only what was begun since: 2h ago, or RFC 3339."),
    ] = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """List the actions of the audit log, newest first, each with its outcome; with -s those of one service."""
    options = common.settle(ctx, service, config, output)
    count = whole("--last", last, MOST) if last is not None else MOST if since else LAST
    begin = moment("--since", since) if since is not None else None
    from oncall.remediation.audit_look import listed

    _check_action(action)
    _print(listed(count, action=action, service=options.service, since=begin), options)


@app.command()
def show(
    ctx: typer.Context,
    number: Annotated[str, typer.Argument(help="The number of its intent, or of its outcome.")],
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show one action: who, from where, what, why, plan, guards, evidence, outcome, and whether it helped."""
    options = common.settle(ctx, service, config, output)
    wanted = whole("NUMBER", number, 10**12)
    from oncall.remediation.audit_look import shown

    _print(shown(wanted), options)


@app.command()
def verify(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Check that the log is the one that was written: no line changed, removed, added or cut off.

    Exit code: 0 it is whole, 2 it is not (with the line, and what is wrong), 3 it cannot be read.
    """
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.audit import verify as verified

    found = verified()
    _print(found, options)
    raise typer.Exit(Exit.OK if found.whole else Exit.CRITICAL)


def _check_action(name: str | None) -> None:
    from oncall.remediation.guards import ACTIONS

    if name is not None and name not in ACTIONS:
        raise UsageFault(f"--action: no action {name!r}; there is {', '.join(ACTIONS)}")


def _print(found: "AuditList | AuditShown | AuditVerified", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import audit_json

        common.emit(audit_json(found))
    elif options.output is Output.MARKDOWN:
        from oncall.render.audit_words import audit_markdown

        common.emit(audit_markdown(found))
    else:
        from oncall.render.audit import audit_page

        console, ascii_only = common.out()
        console.print(audit_page(found, width=console.width, ascii_only=ascii_only))
