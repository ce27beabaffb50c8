"""`oncall alerts`: what fires and who is paged next; silences, made, listed and ended."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncall.cli import common
from oncall.cli.asked import EXITS, AllOption, TimeoutOption, addresses, chosen, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, OncallError, UsageFault

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from oncall.model import Unavailable
    from oncall.model_alerts import AlertsOfAll, SilenceList, SilencePlan
    from oncall.model_service import Service
    from oncall.monitoring.alerts import Look
    from oncall.monitoring.silences import Wanted
    from oncall.runbook.loader import Library

app = typer.Typer(invoke_without_command=True)
_ACTED = {
    "preview": Exit.OK,
    "made": Exit.OK,
    "ended": Exit.OK,
    "unchanged": Exit.OK,
    "refused": Exit.REFUSED,
    "unverified": Exit.UNVERIFIED,
    "failed": Exit.UNKNOWN,
}
ConfirmOption = Annotated[
    bool, typer.Option("--confirm", help="Do it. Without this, only the preview is shown.")
]


@app.callback()
def alerts(
    ctx: typer.Context,
    every: AllOption = False,
    timeout: TimeoutOption = "10s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show what fires and what is about to, with its value, its runbook command, and who is paged next.

    Exit code: 2 a critical alert fires (silenced or not), 1 a warning, 0 none, 3 unknown (not all could be read).
    """
    options = common.settle(ctx, service, config, output)
    if ctx.invoked_subcommand is not None:
        # What stands before the sub-command is meant for it.
        ctx.find_root().obj = options
        if every:
            raise UsageFault("--all is of `oncall alerts` alone", hint="Name the service with -s.")
        return
    found = look_at(options, every=every, timeout_s=seconds("--timeout", timeout))
    _print_alerts(found, options, every=every)
    raise typer.Exit(EXITS[found.severity.value])


def look_at(options: Options, *, every: bool, timeout_s: float) -> "AlertsOfAll":
    """The alerts of the service, or of every one, asked at once."""
    from oncall.monitoring.alerts import look

    services = chosen(options, every=every)
    looks = looks_of(services, options, every=every)
    states: dict[str, str] = {}
    return common.run_async(common.visibly(look(looks, timeout_s, states.__setitem__), states))


def looks_of(services: "dict[str, Service]", options: Options, *, every: bool) -> "list[Look]":
    """Each service with its runbooks and its escalation policy; read once where several share them."""
    from msgspec.structs import replace

    from oncall.monitoring.alerts import Look, issues_of
    from oncall.monitoring.escalation import policy

    known: dict[str | None, Look] = {}
    for service in services.values():
        if service.runbooks not in known:
            books, broken = books_of(service, every=every)
            known[service.runbooks] = Look(
                name="",
                service=service,
                policy=policy(books.folders),
                issue_of=issues_of(books),
                broken=broken,
            )
    address = addresses(options, services, every=every)
    return [
        replace(known[service.runbooks], name=name, service=service, address=address[name])
        for name, service in services.items()
    ]


def books_of(service: "Service", *, every: bool) -> "tuple[Library, Unavailable | None]":
    """The runbooks in force. Among all services, those of one that cannot be read are its own trouble: the tool's own
    stand in for them, and why is told. Raises RunbookError where it is about one service."""
    from pathlib import Path

    from oncall.model import Absence, Unavailable
    from oncall.monitoring.escalation import policy
    from oncall.runbook.loader import library

    own = (Path(service.runbooks).expanduser(),) if service.runbooks else ()
    try:
        books = library(*own)
        policy(books.folders)
    except OncallError as error:
        if not (every and own):
            raise
        broken = Unavailable(kind=Absence.CONFIG, reason=str(error), hint="the tool's own stand in for them")
        return library(), broken
    return books, None


def _print_alerts(found: "AlertsOfAll", options: Options, *, every: bool) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import alerting_json

        common.emit(alerting_json(found if every else found.services[0]))
    elif options.output is Output.MARKDOWN:
        from oncall.render.alert_words import alerts_markdown, alerts_of_all_markdown

        common.emit(alerts_of_all_markdown(found) if every else alerts_markdown(found.services[0]))
    else:
        from oncall.render.alerts import alerts_of_all_page, alerts_page

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(
            alerts_of_all_page(found, width=console.width, ascii_only=ascii_only, height=height)
            if every
            else alerts_page(found.services[0], width=console.width, ascii_only=ascii_only, height=height)
        )


# --- silences ------------------------------------------------------------------------------------


@app.command(short_help="A silence: the preview of what it hits; --confirm makes it.")
def silence(
    ctx: typer.Context,
    matchers: Annotated[
        list[str],
        typer.Argument(
            metavar="MATCHERS", help="As for amtool: alertname=NAME, instance=~'app-.*', severity!=info."
        ),
    ],
    lasts: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 2h; at most 24h without --long.")
    ],
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why: the next shift reads it.")],
    confirm: ConfirmOption = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="It may hit every alert. Without this, that is refused.")
    ] = False,
    long: Annotated[bool, typer.Option("--long", help="Longer than 24 hours, up to 31 days.")] = False,
    timeout: TimeoutOption = "10s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Preview a silence: which alerts it hits now, and what to beware of; with --confirm, make it and print its id.

    Exit code: 0 previewed or made, 3 unknown (Alertmanager could not be asked), 4 refused, 5 not verified.
    """
    options = common.settle(ctx, service, config, output)
    limit_s = seconds("--timeout", timeout)
    wanted = _wanted(matchers, lasts, comment, confirm=confirm, everything=everything, long=long)
    from oncall.monitoring.silences import silence as silenced

    _act(silenced(_look(options), wanted, limit_s), options)


@app.command(short_help="What is silenced, until when, by whom, why.")
def silences(
    ctx: typer.Context,
    ended: Annotated[bool, typer.Option("--ended", help="Those that have ended too.")] = False,
    timeout: TimeoutOption = "10s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """List what is silenced: until when, by whom, why, and what that keeps quiet now.

    Exit code: 0 read, 3 unknown (Alertmanager could not be asked).
    """
    options = common.settle(ctx, service, config, output)
    limit_s = seconds("--timeout", timeout)
    from oncall.monitoring.silences import listed

    states: dict[str, str] = {}
    work = listed(_look(options), limit_s, states.__setitem__, ended=ended)
    found = common.run_async(common.visibly(work, states))
    _print_silences(found, options)
    raise typer.Exit(Exit.OK if found.source else Exit.UNKNOWN)


@app.command(short_help="The end of a silence: who is heard again; --confirm ends it.")
def expire(
    ctx: typer.Context,
    silence: Annotated[
        str, typer.Argument(metavar="ID", help="Of the silence, or how its id begins (four letters or more).")
    ],
    confirm: ConfirmOption = False,
    timeout: TimeoutOption = "10s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Preview the end of a silence: which alerts are heard again; with --confirm, end it.

    Exit code: 0 previewed or ended, 3 unknown (Alertmanager could not be asked), 5 not verified.
    """
    options = common.settle(ctx, service, config, output)
    limit_s = seconds("--timeout", timeout)
    from oncall.monitoring.silence_end import expire as expired

    _act(expired(_look(options), silence.strip(), limit_s, do=confirm), options)


def _look(options: Options) -> "Look":
    return looks_of(dict([options.pick()]), options, every=False)[0]


def _wanted(
    matchers: list[str], lasts: str, comment: str, *, confirm: bool, everything: bool, long: bool
) -> "Wanted":
    from oncall.monitoring.matchers import parse
    from oncall.monitoring.silences import Wanted
    from oncall.remediation.audit_who import who
    from oncall.render.text import safe

    typed = who()
    try:
        terms = parse(matchers)
    except ValueError as error:
        raise UsageFault(f"MATCHERS: {error}") from None
    return Wanted(
        terms=terms,
        for_s=seconds("--for", lasts),
        # As it is shown and handed over: one line, nothing that a terminal obeys.
        comment=safe(comment).strip(),
        by=f"{typed.login or typed.user}@{typed.host}",
        everything=everything,
        long=long,
        do=confirm,
    )


def _act(work: "Coroutine[Any, Any, SilencePlan]", options: Options) -> None:
    plan = common.run_async(common.visibly(work, {"alertmanager": "asked"}))
    if options.output is Output.JSON:
        from oncall.render.json_out import alerting_json

        common.emit(alerting_json(plan))
    elif options.output is Output.MARKDOWN:
        from oncall.render.silence_words import silence_markdown

        common.emit(silence_markdown(plan))
    else:
        from oncall.render.silences import silence_page

        console, ascii_only = common.out()
        console.print(silence_page(plan, width=console.width, ascii_only=ascii_only))
    raise typer.Exit(_ACTED[plan.state])


def _print_silences(found: "SilenceList", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import alerting_json

        common.emit(alerting_json(found))
    elif options.output is Output.MARKDOWN:
        from oncall.render.silence_words import silences_markdown

        common.emit(silences_markdown(found))
    else:
        from oncall.render.silences import silences_page

        console, ascii_only = common.out()
        console.print(silences_page(found, width=console.width, ascii_only=ascii_only))
