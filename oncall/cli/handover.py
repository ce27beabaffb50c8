"""`oncall handover`: what the next shift must know."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.alerts import looks_of
from oncall.cli.asked import TimeoutOption, moment, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from datetime import datetime

    from oncall.model import Unseen
    from oncall.model_acts import AuditList
    from oncall.model_alerts import Handover

_MOST_ACTS = 1000
_LONGEST_S = 14 * 86_400.0


def handover(
    ctx: typer.Context,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="When the shift began: 8h ago, or RFC 3339.")
    ] = "12h",
    timeout: TimeoutOption = "20s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Tell the next shift what fired, what is silenced, what was done, and what is on its way to a limit.

    Exit code: 0 read (whatever fires), 3 unknown (not all could be read).
    """
    options = common.settle(ctx, service, config, output)
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    begin, timeout_s = _begin(since, now), seconds("--timeout", timeout)
    from oncall.monitoring.handover import complete

    found = _asked(options, now, begin, timeout_s)
    _print(found, options)
    raise typer.Exit(Exit.OK if complete(found) else Exit.UNKNOWN)


def _asked(options: Options, now: "datetime", begin: "datetime", timeout_s: float) -> "Handover":
    from oncall.monitoring.handover import handover as handed
    from oncall.runbook.loader import runbooks_of

    name, service = options.pick()
    each = looks_of({name: service}, options, every=False)[0]
    books = runbooks_of(service, None)
    states: dict[str, str] = {}
    since_s = (now - begin).total_seconds()
    work = handed(each, books, since_s, timeout_s, _done(name, begin), states.__setitem__)
    return common.run_async(common.visibly(work, states))


def _done(name: str, begin: "datetime") -> "AuditList | Unseen":
    """The actions of the shift; a log that cannot be read is a gap, and the rest is told."""
    from oncall.errors import AuditUnreadable
    from oncall.model import Unseen
    from oncall.remediation.audit_look import listed

    try:
        return listed(_MOST_ACTS, service=name, since=begin)
    except AuditUnreadable as failed:
        return Unseen(what="audit log", reason=str(failed), hint=failed.hint)


def _begin(text: str, now: "datetime") -> "datetime":
    begin = moment("--since", text, now)
    if not 60 <= (now - begin).total_seconds() <= _LONGEST_S:
        raise UsageFault(f"--since: {text} is not from a minute to 14 days ago")
    return begin


def _print(found: "Handover", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import alerting_json

        common.emit(alerting_json(found))
    elif options.output is Output.MARKDOWN:
        from oncall.render.handover_words import handover_markdown

        common.emit(handover_markdown(found))
    else:
        from oncall.render.handover import handover_page

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(handover_page(found, width=console.width, ascii_only=ascii_only, height=height))
