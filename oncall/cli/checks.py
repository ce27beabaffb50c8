"""`oncall daily-check`, `weekly-check` and `monthly-check`: the checks of the monitoring document, a verdict each."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from oncall.checks.engine import When
    from oncall.checks.model import Check
    from oncall.errors import OncallError
    from oncall.model_checks import CheckReport
    from oncall.model_service import Service
    from oncall.runbook.loader import Library

_EXITS = {"ok": Exit.OK, "warning": Exit.WARNING, "critical": Exit.CRITICAL, "unknown": Exit.UNKNOWN}
_AT_ONCE = 8
"""Services that are looked at together with --all."""

AllOption = Annotated[bool, typer.Option("--all", help="Every service of the file, worst first.")]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="About when: RFC 3339, or ago, such as 2h.")
]
PostOption = Annotated[
    str | None,
    typer.Option("--post", metavar="WHERE", help="Send it too: slack (announce.slack of the service)."),
]
RunbooksOption = Annotated[
    Path | None,
    typer.Option("--runbooks", metavar="DIR", help="A folder of more or other runbooks and checks."),
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for all answers.")
]
DetailsOption = Annotated[
    bool, typer.Option("--details", help="The rows behind every line, and the queries.")
]


def daily_check(
    ctx: typer.Context,
    every: AllOption = False,
    at: AtOption = None,
    post: PostOption = None,
    details: DetailsOption = False,
    runbooks: RunbooksOption = None,
    timeout: TimeoutOption = "20s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Look at the last day: uptime, error rate, backups, health, alerts of the night, disk, certificates.

    Exit code: 0 all well, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    _check(
        "daily", options, every=every, at=at, post=post, details=details, runbooks=runbooks, timeout=timeout
    )


def weekly_check(
    ctx: typer.Context,
    every: AllOption = False,
    at: AtOption = None,
    post: PostOption = None,
    details: DetailsOption = False,
    runbooks: RunbooksOption = None,
    timeout: TimeoutOption = "30s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Look at the last week against the ones before: trends, capacity, slow endpoints, what to optimise.

    Exit code: 0 all well, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    _check(
        "weekly", options, every=every, at=at, post=post, details=details, runbooks=runbooks, timeout=timeout
    )


def monthly_check(
    ctx: typer.Context,
    every: AllOption = False,
    at: AtOption = None,
    post: PostOption = None,
    details: DetailsOption = False,
    runbooks: RunbooksOption = None,
    timeout: TimeoutOption = "30s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """The full audit: every signal, time until each limit, database and cache, runbooks and alert rules.

    Exit code: 0 all well, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    _check(
        "monthly", options, every=every, at=at, post=post, details=details, runbooks=runbooks, timeout=timeout
    )


def _check(
    name: str,
    options: Options,
    *,
    every: bool,
    at: str | None,
    post: str | None,
    details: bool,
    runbooks: Path | None,
    timeout: str,
) -> None:
    if every and options.service is not None:
        raise UsageFault("--all is every service, and -s names one", hint="Give one of them.")
    if post not in (None, "slack"):
        raise UsageFault(f"--post: {post!r} is not known", hint="There is: slack.")
    when = _when(at, timeout)
    services = dict(options.load().services) if every else dict([options.pick()])
    if post is not None:
        _can_post(services)
    reports = _reports(name, services, options, when, runbooks, every=every)
    _print(reports, options, details=details, every=every)
    for report in reports if post else ():
        _post(services[report.service], report)
    raise typer.Exit(_EXITS[_worst(reports)])


def _worst(reports: "list[CheckReport]") -> str:
    from oncall.model import worst

    return worst(r.severity for r in reports).value


def _when(at: str | None, timeout: str) -> "When":
    from datetime import UTC

    from oncall.checks.engine import When
    from oncall.units import parse_duration, parse_time

    now = datetime.now(UTC)
    try:
        moment = parse_time(at, now) if at else None
    except ValueError as error:
        raise UsageFault(f"--at: {error}") from None
    if moment is not None and moment > now:
        raise UsageFault(f"--at: {at} is still to come")
    try:
        return When(at=moment.timestamp() if moment else None, timeout_s=parse_duration(timeout))
    except ValueError as error:
        raise UsageFault(f"--timeout: {error}") from None


def _reports(
    name: str,
    services: "Mapping[str, Service]",
    options: Options,
    when: "When",
    runbooks: Path | None,
    *,
    every: bool,
) -> "list[CheckReport]":
    """One report a service, worst first; with --all one that is written wrong takes no other with it."""
    import asyncio
    from dataclasses import replace

    from oncall.checks.engine import not_run, order, run
    from oncall.errors import OncallError

    loaded = {which: _loaded(name, service, runbooks) for which, service in services.items()}
    right = [found for found in loaded.values() if not isinstance(found, OncallError)]
    for found in loaded.values() if not right else ():
        if isinstance(found, OncallError):
            raise found
    states: dict[str, str] = {}
    # To read the audit log is to load what writes it.
    audits = any(line.probe == "runbooks" for _, what in right for line in what.lines.values())
    ran = _acted() if audits else {}

    async def one(which: str) -> "CheckReport":
        chosen, found = services[which], loaded[which]
        if isinstance(found, OncallError):
            return not_run(which, chosen, name, found)
        books, what = found
        named = replace(options, service=which) if every else options
        address, acted = named.address(runbooks), ran.get(which, {})
        try:
            return await run(
                which, chosen, what, books, when, address=address, ran=acted, progress=states.__setitem__
            )
        except OncallError as wrong:
            if not every:
                raise
            return not_run(which, chosen, name, wrong)

    async def all_of_them() -> "list[CheckReport]":
        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(which: str) -> "CheckReport":
            async with turns:
                return await one(which)

        return await asyncio.gather(*map(in_turn, loaded))

    return sorted(common.run_async(common.visibly(all_of_them(), states)), key=order)


def _loaded(name: str, service: "Service", runbooks: Path | None) -> "tuple[Library, Check] | OncallError":
    from oncall.checks.loader import check
    from oncall.errors import OncallError
    from oncall.runbook.loader import runbooks_of

    try:
        books = runbooks_of(service, runbooks)
        return books, check(name, books)
    except OncallError as wrong:
        return wrong


def _acted() -> dict[str, dict[str, datetime]]:
    """By service and issue: when an action was last taken for it, by the audit log; nothing where there is none."""
    from oncall.errors import OncallError
    from oncall.remediation.audit import read

    found: dict[str, dict[str, datetime]] = {}
    with suppress(OncallError):
        for entry in read():
            if entry.issue:
                found.setdefault(entry.service, {}).setdefault(entry.issue, entry.at)
    return found


def _print(reports: "list[CheckReport]", options: Options, *, details: bool, every: bool) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import check_json, checks_json

        common.emit(checks_json(reports) if every else check_json(reports[0]))
    elif options.output is Output.MARKDOWN:
        from oncall.render.check_words import checks_markdown

        common.emit(checks_markdown(reports))
    else:
        from oncall.render.checks import checks_page

        console, ascii_only = common.out()
        console.print(checks_page(reports, width=console.width, ascii_only=ascii_only, details=details))


def _can_post(services: "Mapping[str, Service]") -> None:
    silent = [n for n, s in services.items() if s.announce is None or s.announce.slack is None]
    if silent:
        said = f"--post slack: no announce.slack in the service file for {', '.join(silent)}"
        raise UsageFault(said, hint="Write announce: {slack: ${SLACK_WEBHOOK}} for it.")


def _post(service: "Service", report: "CheckReport") -> None:
    """A dead webhook is reported and takes nothing back: the answer is printed."""
    from oncall.remediation.announce import post_text
    from oncall.render.check_words import slack_text

    trouble = common.run_async(post_text(service, slack_text(report)))
    common.note(
        f"oncall: {trouble}" if trouble else f"posted to Slack: {report.check} check of {report.service}"
    )
