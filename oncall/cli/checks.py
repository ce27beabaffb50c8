"""`oncall daily-check`, `weekly-check` and `monthly-check`: the checks of the monitoring document, a verdict each."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import (
    EXITS,
    AllOption,
    AtOption,
    PostOption,
    RunbooksOption,
    TimeoutOption,
    addresses,
    check_post,
    chosen,
    moment,
    seconds,
)
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.model import Absence, Unavailable, worst

if TYPE_CHECKING:
    from oncall.checks.engine import When
    from oncall.checks.model import Check
    from oncall.checks.scene import Acted
    from oncall.errors import OncallError
    from oncall.model_checks import CheckReport
    from oncall.model_service import Service
    from oncall.runbook.loader import Library

_AT_ONCE = 8
"""Services that are looked at together with --all."""
_CODES = """

    Exit code: 0 all well, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """

DetailsOption = Annotated[
    bool, typer.Option("--details", help="The rows behind every line, and the queries.")
]


def _command(name: str, says: str, patience: str) -> Callable[..., None]:
    """The three take the same and differ in what they look at."""

    def check(
        ctx: typer.Context,
        every: AllOption = False,
        at: AtOption = None,
        post: PostOption = None,
        details: DetailsOption = False,
        runbooks: RunbooksOption = None,
        timeout: TimeoutOption = patience,
        service: ServiceOption = None,
        config: ConfigOption = None,
        output: OutputOption = None,
    ) -> None:
        options = common.settle(ctx, service, config, output)
        when = _when(at, timeout)
        services = chosen(options, every=every)
        check_post(post, services)
        reports = _reports(name, services, options, when, runbooks, every=every)
        _print(reports, options, details=details, every=every)
        for report in reports if post else ():
            _post(services[report.service], report)
        raise typer.Exit(EXITS[worst(r.severity for r in reports).value])

    check.__doc__ = says + _CODES
    return check


daily_check = _command(
    "daily",
    "Look at the last day: uptime, error rate, backups, health, alerts of the night, disk, certificates.",
    "20s",
)
weekly_check = _command(
    "weekly",
    "Look at the last week against the ones before: trends, capacity, slow endpoints, what to optimise.",
    "30s",
)
monthly_check = _command(
    "monthly",
    "The full audit: every signal, time until each limit, database and cache, runbooks and alert rules.",
    "30s",
)


def _when(at: str | None, timeout: str) -> "When":
    from oncall.checks.engine import When

    about = moment("--at", at, past=True).timestamp() if at else None
    return When(at=about, timeout_s=seconds("--timeout", timeout))


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
    from oncall.checks.engine import not_run, order, run
    from oncall.errors import OncallError
    from oncall.monitoring.fleet import every as every_one

    loaded = {which: _loaded(name, service, runbooks) for which, service in services.items()}
    right = [found for found in loaded.values() if not isinstance(found, OncallError)]
    for found in loaded.values() if not right else ():
        if isinstance(found, OncallError):
            raise found
    states: dict[str, str] = {}
    # To read the audit log is to load what writes it.
    audits = any(line.probe == "runbooks" for _, what in right for line in what.lines.values())
    acted = _acted(services) if audits else {}
    address = addresses(options, services, runbooks, every=every)

    async def look(which: str) -> "CheckReport":
        found = loaded[which]
        if isinstance(found, OncallError):
            raise found
        books, what = found
        return await run(
            which,
            services[which],
            what,
            books,
            when,
            address=address[which],
            acted=acted.get(which),
            progress=states.__setitem__,
        )

    async def beside_others(which: str) -> "CheckReport":
        try:
            return await look(which)
        except OncallError as wrong:
            return lost(which, Unavailable(kind=Absence.CONFIG, reason=str(wrong), hint=wrong.hint))

    def lost(which: str, why: Unavailable) -> "CheckReport":
        return not_run(which, services[which], name, why)

    if not every:
        return [common.run_async(common.visibly(look(*services), states))]
    asking = every_one(loaded, beside_others, lost, at_once=_AT_ONCE)
    return sorted(common.run_async(common.visibly(asking, states)), key=order)


def _loaded(name: str, service: "Service", runbooks: Path | None) -> "tuple[Library, Check] | OncallError":
    from oncall.checks.loader import check
    from oncall.errors import OncallError
    from oncall.runbook.loader import runbooks_of

    try:
        books = runbooks_of(service, runbooks)
        return books, check(name, books)
    except OncallError as wrong:
        return wrong


def _acted(services: Iterable[str]) -> "dict[str, Acted]":
    """What the audit log says of each service: when an action was last taken for an issue, and since when it tells.

    A log that breaks off tells of what stands after the break; one that cannot be read, nothing."""
    from oncall.checks.scene import Acted
    from oncall.errors import OncallError
    from oncall.remediation.audit import read

    last: dict[str, dict[str, datetime]] = {name: {} for name in services}
    since = None
    with suppress(OncallError):
        for entry in read():
            since = entry.at
            if entry.issue and entry.service in last:
                last[entry.service].setdefault(entry.issue, entry.at)
    return {name: Acted(last=found, since=since) for name, found in last.items()}


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


def _post(service: "Service", report: "CheckReport") -> None:
    """A dead webhook is reported and takes nothing back: the answer is printed."""
    from oncall.remediation.announce import post_text
    from oncall.render.check_words import slack_text

    trouble = common.run_async(post_text(service, slack_text(report)))
    common.note(
        f"oncall: {trouble}" if trouble else f"posted to Slack: {report.check} check of {report.service}"
    )
