"""`oncall diagnose`: what is wrong, why, and what to do next."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from oncall.diagnosis.engine import Ask
    from oncall.model import Diagnosis, Service
    from oncall.runbook.loader import Library

_EXITS = {"ok": Exit.OK, "warning": Exit.WARNING, "critical": Exit.CRITICAL, "unknown": Exit.UNKNOWN}


def complete_issue(incomplete: str) -> list[str]:
    """Issues that have a runbook."""
    from oncall.errors import OncallError
    from oncall.runbook.loader import library

    try:
        return [issue for issue in library().issues() if issue.startswith(incomplete)]
    except OncallError:
        return []


def diagnose(
    ctx: typer.Context,
    issue: Annotated[
        str | None,
        typer.Argument(help="The issue, such as pool; all of them without.", autocompletion=complete_issue),
    ] = None,
    alert: Annotated[
        str | None, typer.Option("--alert", metavar="NAME", help="The alert that paged: picks its runbook.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="About when: RFC 3339, or ago, such as 2h.")
    ] = None,
    window: Annotated[
        str | None, typer.Option("--window", metavar="DURATION", help="The time that is looked at.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="DURATION", help="The quiet time just before the window."),
    ] = None,
    runbooks: Annotated[
        Path | None, typer.Option("--runbooks", metavar="DIR", help="A folder of more or other runbooks.")
    ] = None,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for all answers.")
    ] = "10s",
    interval: Annotated[
        str,
        typer.Option(
            "--interval", metavar="DURATION", help="Between two looks at /metrics, without Prometheus."
        ),
    ] = "2s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Say what is wrong, why, and the one safe command to run next.

    Exit code: 0 healthy, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    asking = _asking(at, window, baseline, timeout, interval)
    name, chosen = options.pick()
    from oncall.diagnosis.run import runbooks_of

    books = runbooks_of(chosen, runbooks)
    issues = _issues(books, issue, alert)
    found = common.run_async(_all(name, chosen, books, issues, asking))
    _print(name, found, options, many=issue is None and alert is None)
    raise typer.Exit(min(_EXITS[d.severity.value] for d in found[:1]))


def _asking(at: str | None, window: str | None, baseline: str | None, timeout: str, interval: str) -> "Ask":
    from datetime import UTC, datetime

    from oncall.diagnosis.engine import Ask
    from oncall.units import parse_duration, parse_time

    def duration(option: str, text: str) -> float:
        try:
            return parse_duration(text)
        except ValueError as error:
            raise UsageFault(f"{option}: {error}") from None

    try:
        moment = parse_time(at, datetime.now(UTC)) if at else None
    except ValueError as error:
        raise UsageFault(f"--at: {error}") from None
    return Ask(
        at=moment,
        window_s=duration("--window", window) if window else None,
        baseline_s=duration("--baseline", baseline) if baseline else None,
        timeout_s=duration("--timeout", timeout),
        interval_s=duration("--interval", interval),
    )


def _issues(books: "Library", issue: str | None, alert: str | None) -> tuple[str, ...]:
    if issue is not None and alert is not None:
        raise UsageFault("an issue and --alert were both given", hint="Give one of them.")
    if alert is not None:
        return (books.for_alert(alert),)
    return books.issues() if issue is None else (issue,)


async def _all(
    name: str, service: "Service", books: "Library", issues: tuple[str, ...], asking: "Ask"
) -> list["Diagnosis"]:
    """Every issue's diagnosis, worst first, with a line on the terminal while it takes longer."""
    from oncall.diagnosis.run import judged, look, planned

    states: dict[str, str] = {}
    plan = planned(service, books, issues)
    found, took = await common.visibly(look(plan, service, asking, states.__setitem__), states)
    return judged(name, service, plan, found, took)


def _print(name: str, found: list["Diagnosis"], options: Options, *, many: bool) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import diagnoses_json, diagnosis_json

        common.emit(diagnoses_json(name, found) if many else diagnosis_json(found[0]))
    elif options.output is Output.MARKDOWN:
        from oncall.render.markdown import diagnosis_markdown

        common.emit("\n".join(diagnosis_markdown(d) for d in found))
    else:
        from oncall.render.diagnosis import diagnosis

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        for one in found:
            console.print(diagnosis(one, width=console.width, ascii_only=ascii_only, height=height))
