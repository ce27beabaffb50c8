"""`oncall status`: one screen about a service, or a line about each."""

import sys
from typing import TYPE_CHECKING

import typer

from oncall.cli import common
from oncall.cli.asked import EXITS, AllOption, TimeoutOption, chosen, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import OncallError

if TYPE_CHECKING:
    from oncall.model import Unavailable
    from oncall.model_service import Service
    from oncall.model_status import LastAction, StatusOfAll
    from oncall.monitoring.status_report import Subject

_LAST = 3
"""Actions that are shown."""


def status(
    ctx: typer.Context,
    every: AllOption = False,
    timeout: TimeoutOption = "12s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show one screen: health, the golden signals, what fires, the last actions, and which diagnosis to run.

    Exit code: 0 all well, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    found = _look(options, every=every, timeout_s=seconds("--timeout", timeout))
    _print(found, options, every=every)
    raise typer.Exit(EXITS[found.severity.value])


def _look(options: Options, *, every: bool, timeout_s: float) -> "StatusOfAll":
    from oncall.monitoring.status import How, look

    services = chosen(options, every=every)
    subjects = _subjects(services, options, every=every)
    how = How(timeout_s=timeout_s, course=not every)
    done = _actions(None if every else next(iter(services)))
    states: dict[str, str] = {}
    return common.run_async(common.visibly(look(subjects, how, done, states.__setitem__), states))


def _subjects(services: "dict[str, Service]", options: Options, *, every: bool) -> "list[Subject]":
    """Each service with its runbooks, which are read once where several share them."""
    from oncall.cli.alerts import books_of, looks_of
    from oncall.monitoring.status_report import Subject
    from oncall.runbook.loader import Library

    known: dict[str | None, Library] = {}
    for each in services.values():
        if each.runbooks not in known:
            known[each.runbooks] = books_of(each, every=every)[0]
    looks = {look.name: look for look in looks_of(services, options, every=every)}
    return [
        Subject(name, each, known[each.runbooks], looks[name], looks[name].address)
        for name, each in services.items()
    ]


def _actions(service: str | None) -> "list[LastAction] | Unavailable":
    """The newest actions by this machine's audit log, of one service or of all."""
    from oncall.model import Absence, Unavailable
    from oncall.model_status import LastAction
    from oncall.remediation.audit_look import listed
    from oncall.render.audit_words import actions, by, ended

    try:
        log = listed(_LAST, service=service)
    except OncallError as unreadable:
        return Unavailable(kind=Absence.BAD_ANSWER, reason=str(unreadable), hint=unreadable.hint)
    found = []
    for did in actions(log):
        word, severity = ended(did)
        entry = did.entry
        found.append(
            LastAction(
                number=entry.number,
                at=entry.at.replace(microsecond=0),
                service=entry.service,
                action=entry.action,
                by=by(entry.who),
                outcome=word,
                severity=severity,
            )
        )
    return found


def _print(found: "StatusOfAll", options: Options, *, every: bool) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import status_json

        common.emit(status_json(found if every else found.services[0]))
    elif options.output is Output.MARKDOWN:
        from oncall.render.status_words import status_markdown, status_of_all_markdown

        common.emit(status_of_all_markdown(found) if every else status_markdown(found.services[0]))
    else:
        from oncall.render.status import status_of_all_page, status_page

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(
            status_of_all_page(found, width=console.width, ascii_only=ascii_only, height=height)
            if every
            else status_page(found.services[0], width=console.width, ascii_only=ascii_only, height=height)
        )
