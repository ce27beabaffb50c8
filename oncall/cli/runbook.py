"""`oncall runbook`: the runbooks as they stand, and whether they are right."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import RunbooksOption
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.cli.diagnose import complete_issue

if TYPE_CHECKING:
    from oncall.model_service import Service
    from oncall.runbook.loader import Library

app = typer.Typer(help="The runbooks: list, show with every query, check.", no_args_is_help=True)


def _books(options: Options, more: Path | None) -> "tuple[Library, Service]":
    """The runbooks of the chosen service; those of the tool where no service is configured."""
    from oncall.model_service import Service
    from oncall.runbook.loader import runbooks_of

    config = options.load()
    service = (
        options.pick()[1] if options.service or len(config.services) == 1 or config.default else Service()
    )
    return runbooks_of(service, more), service


@app.command("list")
def list_(
    ctx: typer.Context,
    runbooks: RunbooksOption = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """List the issues that have a runbook."""
    options = common.settle(ctx, service, config, output)
    books, _ = _books(options, runbooks)
    found = [books.runbook(issue) for issue in books.issues()]
    if options.output is Output.JSON:
        from oncall.render.shown import runbooks_json

        common.emit(runbooks_json([(b.issue, b.title, list(b.spec.causes), str(b.path)) for b in found]))
        return
    from oncall.render.runbook import listing

    rows = [(b.issue, b.title, str(len(b.spec.steps)), str(len(b.spec.causes)), str(b.path)) for b in found]
    console, ascii_only = common.out()
    titles = ("issue", "title", "steps", "causes", "file")
    console.print(listing(titles, rows, console.width, ascii_only=ascii_only))


@app.command()
def show(
    ctx: typer.Context,
    issue: Annotated[str, typer.Argument(help="The issue.", autocompletion=complete_issue)],
    runbooks: RunbooksOption = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show a runbook: each step with its exact SQL or PromQL, ready to paste, and what each cause needs."""
    options = common.settle(ctx, service, config, output)
    books, chosen = _books(options, runbooks)
    from oncall.diagnosis.shown import runbook_text

    shown = runbook_text(books.runbook(issue), chosen)
    if options.output is Output.JSON:
        from oncall.render.shown import shown_json

        common.emit(shown_json(shown))
        return
    from oncall.render.shown import shown_text

    common.emit(shown_text(shown, markdown=options.output is Output.MARKDOWN))


@app.command()
def check(
    ctx: typer.Context,
    runbooks: RunbooksOption = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Check every runbook, check, dashboard, deployment and the escalation.

    A mistake is told with file:line (exit code 78).
    """
    options = common.settle(ctx, service, config, output)
    books, _ = _books(options, runbooks)
    for issue in books.issues():
        books.runbook(issue)
    paths = [*books.paths(), *_besides(books)]
    if options.output is Output.JSON:
        from oncall.render.shown import checked_json

        common.emit(checked_json([str(p) for p in paths]))
        return
    for path in paths:
        common.emit(f"ok  {path}")


def _besides(books: "Library") -> list[Path]:
    """The files below the folders of runbooks, each read as the command that uses it does. Raises RunbookError."""
    from oncall.checks import deploy_rules
    from oncall.checks.loader import check as checked
    from oncall.checks.loader import check_files
    from oncall.model_deploy import Phase
    from oncall.monitoring.boards import board, board_files
    from oncall.monitoring.escalation import policy

    checks, boards = check_files(books), board_files(books)
    for name in checks:
        checked(name, books)
    for name in boards:
        board(name, books)
    for phase in Phase:
        deploy_rules.rules(phase, books)
    deployments = [p for f in books.folders for p in sorted((f / deploy_rules.FOLDER).glob("*.yaml"))]
    return [*checks.values(), *boards.values(), *deployments, Path(policy(books.folders).path)]


@app.command()
def schema(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Print the JSON Schema of a runbook file, for editors."""
    import msgspec

    from oncall.runbook.schema import json_schema

    common.settle(ctx, service, config, output)
    common.emit(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2))
