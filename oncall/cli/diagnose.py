"""`oncall diagnose`: what is wrong, why, and what to do next."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import (
    EXITS,
    AtOption,
    BaselineOption,
    RunbooksOption,
    UsualTimeoutOption,
    WindowOption,
    moment,
    seconds,
)
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.cli.saving import check_place, complete_saved, read_saved, write_saved
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from oncall.diagnosis.engine import Ask
    from oncall.diagnosis.kept import Saved
    from oncall.model import Diagnosis
    from oncall.runbook.loader import Library

TIMEOUT = "10s"
INTERVAL = "2s"


def complete_issue(incomplete: str) -> list[str]:
    """Issues that have a runbook."""
    from oncall.errors import OncallError
    from oncall.runbook.loader import library

    try:
        return [issue for issue in library().issues() if issue.startswith(incomplete)]
    except OncallError:
        return []


def complete_alert(incomplete: str) -> list[str]:
    """Alerts that a runbook names."""
    from oncall.errors import OncallError
    from oncall.runbook.loader import library

    try:
        books = library()
        named = [name for issue in books.issues() for name in books.runbook(issue).spec.alerts]
    except OncallError:
        return []
    return [name for name in dict.fromkeys(named) if name.startswith(incomplete)]


IssueArgument = Annotated[
    str | None,
    typer.Argument(help="The issue, such as pool; all of them without.", autocompletion=complete_issue),
]
AlertOption = Annotated[
    str | None,
    typer.Option(
        "--alert",
        metavar="NAME",
        help="The alert that paged: picks its runbook.",
        autocompletion=complete_alert,
    ),
]
IntervalOption = Annotated[
    str | None,
    typer.Option(
        "--interval",
        metavar="DURATION",
        help="Between two looks at /metrics, without Prometheus; 2s unless told.",
    ),
]
SaveOption = Annotated[
    Path | None,
    typer.Option("--save", metavar="FILE", help="Keep all that was read, without secrets; .gz packs it."),
]
ReplayOption = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="FILE",
        help="Report on a saved file: no server is asked.",
        autocompletion=complete_saved,
    ),
]
RedactOption = Annotated[
    bool,
    typer.Option("--redact", help="In the saved file, mask literals of queries and logs, and addresses."),
]


def diagnose(
    ctx: typer.Context,
    issue: IssueArgument = None,
    alert: AlertOption = None,
    at: AtOption = None,
    window: WindowOption = None,
    baseline: BaselineOption = None,
    runbooks: RunbooksOption = None,
    timeout: UsualTimeoutOption = None,
    interval: IntervalOption = None,
    save: SaveOption = None,
    replay: ReplayOption = None,
    redact: RedactOption = False,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Say what is wrong, why, and the one safe command to run next.

    Exit code: 0 healthy, 1 warning, 2 critical, 3 unknown (what decides could not be read).
    """
    options = common.settle(ctx, service, config, output)
    clocks = {"--at": at, "--window": window, "--baseline": baseline}
    clocks |= {"--timeout": timeout, "--interval": interval}
    _agree(issue, alert, [n for n, v in clocks.items() if v is not None], save, replay, redact=redact)
    place = check_place(save) if save else None
    wanted = Wanted(issue, alert, runbooks)
    if replay is not None:
        seen = _again(replay, options, wanted)
    else:
        asking = _asking(at, window, baseline, timeout or TIMEOUT, interval or INTERVAL)
        common.note_if_interrupted()
        seen = _now(options, asking, wanted, keep=place is not None)
    trouble = _keep(seen.look, place, redact=redact) if place and seen.look else None
    _print(seen, options)
    if trouble:
        # The report is out: it was not to be lost with the file.
        common.note(f"oncall: {trouble}")
    raise typer.Exit(Exit.UNKNOWN if trouble else EXITS[seen.found[0].severity.value])


@dataclass(frozen=True)
class Wanted:
    """Which issue, or the alert that names it, or all; with which runbooks besides."""

    issue: str | None
    alert: str | None
    runbooks: Path | None

    @property
    def all(self) -> bool:
        return self.issue is None and self.alert is None


@dataclass(frozen=True)
class Seen:
    """What is reported, worst first; the look to be kept; `origin` where it is a replay."""

    name: str
    look: "Saved | None"
    found: "list[Diagnosis]"
    many: bool
    origin: str | None = None


def _agree(
    issue: str | None,
    alert: str | None,
    clocks: list[str],
    save: Path | None,
    replay: Path | None,
    *,
    redact: bool,
) -> None:
    """Refuses what cannot be meant together. Raises UsageFault."""
    if issue is not None and alert is not None:
        raise UsageFault("an issue and --alert were both given", hint="Give one of them.")
    if redact and save is None:
        raise UsageFault("--redact is about the file of --save", hint="Add --save FILE.")
    if replay is not None and clocks:
        said = f"{clocks[0]} does not go with --replay: what is in the file was asked then"
        raise UsageFault(said, hint=f"Leave {' and '.join(clocks)} out.")
    if replay is not None and save is not None and not redact:
        said = "--save with --replay would only copy the file"
        raise UsageFault(said, hint="Copy it, or add --redact to save it redacted.")


def _asking(at: str | None, window: str | None, baseline: str | None, timeout: str, interval: str) -> "Ask":
    from oncall.diagnosis.engine import Ask

    return Ask(
        at=moment("--at", at) if at else None,
        window_s=seconds("--window", window) if window else None,
        baseline_s=seconds("--baseline", baseline) if baseline else None,
        timeout_s=seconds("--timeout", timeout),
        interval_s=seconds("--interval", interval),
    )


def _issues(books: "Library", wanted: Wanted) -> tuple[str, ...]:
    if wanted.alert is not None:
        return (books.for_alert(wanted.alert),)
    return books.issues() if wanted.issue is None else (wanted.issue,)


def _now(options: Options, asking: "Ask", wanted: Wanted, *, keep: bool) -> Seen:
    """Asks every backend, with a line on the terminal while it takes longer."""
    from datetime import UTC, datetime

    from oncall import __version__
    from oncall.diagnosis.run import judged, look, planned
    from oncall.runbook.loader import runbooks_of

    name, service = options.pick()
    books = runbooks_of(service, wanted.runbooks)
    plan = planned(service, books, _issues(books, wanted))
    states: dict[str, str] = {}
    gathered, took = common.run_async(common.visibly(look(plan, service, asking, states.__setitem__), states))
    found = judged(name, service, plan, gathered, took, options.address(wanted.runbooks))
    if not keep:
        return Seen(name, None, found, many=wanted.all)
    from oncall.diagnosis.kept import kept

    to_keep = kept(
        name,
        service,
        plan,
        gathered,
        took_ms=took,
        version=__version__,
        saved=datetime.now(UTC),
        alone=not wanted.all,
        secrets=(os.environ.get("PGPASSWORD", ""),),
    )
    return Seen(name, to_keep, found, many=wanted.all)


def _again(path: Path, options: Options, wanted: Wanted) -> Seen:
    """Judges a saved look with the runbooks in force; talks to nobody."""
    from oncall.diagnosis.run import judged, planned
    from oncall.render.words import replay_of

    look = read_saved(path)
    if options.service not in (None, look.name):
        said = f"{path} is of the service {look.name!r}, not of {options.service!r}"
        raise UsageFault(said, hint="Leave -s out.")
    books = _books_then(look, wanted.runbooks)
    issues = _issues_then(look, path, books, wanted)
    plan = planned(look.service, books, issues)
    address = replace(options, service=look.name).address(wanted.runbooks)
    found = judged(look.name, look.service, plan, look.answers_to(plan), look.took_ms, address)
    origin = replay_of(found[0].at, look.version, redacted=look.redacted)
    return Seen(look.name, look, found, many=wanted.all and not look.alone, origin=origin)


def _books_then(look: "Saved", more: Path | None) -> "Library":
    """The runbooks in force now; those of the service itself where they are on this machine."""
    from msgspec.structs import replace as replaced

    from oncall.runbook.loader import runbooks_of

    own = look.service.runbooks
    if own and not Path(own).expanduser().is_dir():
        common.note(f"note: the service's own runbooks, {own}, are not here; give others with --runbooks")
        return runbooks_of(replaced(look.service, runbooks=None), more)
    return runbooks_of(look.service, more)


def _issues_then(look: "Saved", path: Path, books: "Library", wanted: Wanted) -> tuple[str, ...]:
    issues = look.issues if wanted.all else _issues(books, wanted)
    for issue in issues:
        if issue not in look.issues:
            said = f"{path} does not hold the issue {issue!r}"
            raise UsageFault(said, hint=f"It holds: {', '.join(look.issues)}.")
        if issue not in books.issues():
            said = f"{path} holds the issue {issue!r}, and no runbook here is about it"
            raise UsageFault(said, hint="Give the folder of its runbook with --runbooks DIR.")
    return issues


def _keep(look: "Saved", place: Path, *, redact: bool) -> str | None:
    """Writes the file, and says how large it is; or what went wrong."""
    from oncall.diagnosis.saved import dump
    from oncall.numbers import size

    data = dump(look, redact=redact, packed=place.suffix == ".gz")
    if trouble := write_saved(place, data):
        return f"--save {place}: not saved: {trouble}"
    common.note(f"saved in {place}: {size(len(data))}{', redacted' if redact or look.redacted else ''}")
    return None


def _print(seen: Seen, options: Options) -> None:
    found, origin = seen.found, seen.origin
    if options.output is Output.JSON:
        from oncall.render.json_out import diagnoses_json, diagnosis_json

        common.emit(diagnoses_json(seen.name, found) if seen.many else diagnosis_json(found[0]))
    elif options.output is Output.MARKDOWN:
        from oncall.render.markdown import diagnoses_markdown

        common.emit(diagnoses_markdown(found, origin=origin))
    else:
        from oncall.render.overview import overview

        console, ascii_only = common.out()
        height = console.height - 2 if sys.stdout.isatty() else None
        console.print(
            overview(found, width=console.width, ascii_only=ascii_only, height=height, origin=origin)
        )
