"""`oncall lab`: real servers with a sample service, to try the tool, to test it, to train on it."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.cli.lab_demo import me
from oncall.errors import Exit, LabError, UsageFault

if TYPE_CHECKING:
    from oncall.lab.stack import Status

app = typer.Typer(
    help="A local stack of real servers with a sample service, to try, test and train on (service `lab`).",
    no_args_is_help=True,
)

DEMO_CAUSES = {
    "errors": "errors.database_unavailable",
    "latency": "latency.slow_queries",
    "pool": "pool.connection_leak",
    "memory": "memory.cache_growth",
}


def complete_cause(incomplete: str) -> list[str]:
    """Cause ids that the lab can break."""
    from oncall.lab.faults import KINDS

    return [cause for cause in KINDS if cause.startswith(incomplete)]


PostgresOption = Annotated[
    int | None,
    typer.Option("--postgres", metavar="15|18", help="The major version, of those that are installed."),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Makes the data and the users' moves the same each time.")
]
CauseArgument = Annotated[
    str | None, typer.Argument(help="The cause id; without it, what there is.", autocompletion=complete_cause)
]
VariantOption = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help="Another way in which it happens.")
]


@app.command()
def up(
    ctx: typer.Context,
    postgres: PostgresOption = None,
    seed: SeedOption = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Start the lab: Postgres, Redis, Prometheus, Alertmanager, a sample service and its users."""
    options = common.settle(ctx, service, config, output)
    from oncall.lab import stack

    folder = _folder()
    now = stack.status(folder)
    if now.state == "up":
        common.note(f"The lab is already up, since {_age(now.age_s)}; `{me()} lab status` shows it.")
    else:
        stack.up(folder, postgres, seed, common.note)
        common.note(f"It is the service `lab` now: {me()} -s lab diagnose pool")
    _show(stack.status(folder), options)


@app.command()
def status(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show what runs, on which port, since when, and what is broken on purpose.

    Exit code: 0 up or down, 2 something of it has ended.
    """
    options = common.settle(ctx, service, config, output)
    from oncall.lab import stack

    now = stack.status(_folder())
    _show(now, options)
    if now.state == "partly":
        raise typer.Exit(Exit.CRITICAL)


@app.command("break")
def break_(
    ctx: typer.Context,
    cause: CauseArgument = None,
    variant: VariantOption = None,
    intensity: Annotated[
        float, typer.Option("--intensity", metavar="X", help="How strong: 1 is the usual, above 0 to 10.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Is kept with the fault, for your records.")
    ] = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Break something the way it really happens. Several at once are allowed."""
    options = common.settle(ctx, service, config, output)
    from oncall.lab import faults, stack

    if cause is None:
        _menu(options)
        return
    fault = faults.break_(_folder(), cause, variant, intensity, seed)
    common.note(f"Broken: {cause}: {faults.KINDS[cause].variants[fault.variant]}.")
    common.note(f"Next: {me()} -s lab diagnose {cause.partition('.')[0]}, then {me()} lab heal {cause}")
    if options.output is not Output.TABLE:
        _show(stack.status(_folder()), options)


@app.command()
def heal(
    ctx: typer.Context,
    cause: Annotated[
        str | None, typer.Argument(help="The cause id; all without it.", autocompletion=complete_cause)
    ] = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Undo what was broken: one cause, or all."""
    options = common.settle(ctx, service, config, output)
    from oncall.lab import faults, stack

    healed = faults.heal(_folder(), cause)
    nothing = f"{cause} was not broken." if cause else "Nothing was broken."
    common.note(f"Healed: {', '.join(healed)}." if healed else nothing)
    if options.output is not Output.TABLE:
        _show(stack.status(_folder()), options)


@app.command()
def restart(
    ctx: typer.Context,
    part: Annotated[
        str,
        typer.Argument(
            metavar="[PART]",
            help="A part of the lab, such as postgres; the service unless told.",
            show_default=False,
        ),
    ] = "service",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Restart the sample service, or another part, as its unit would be; what was broken stays broken."""
    options = common.settle(ctx, service, config, output)
    from oncall.lab import parts, stack

    parts.restart(_folder(), part)
    common.note("The sample service runs again." if part == "service" else f"{part} runs again.")
    if options.output is not Output.TABLE:
        _show(stack.status(_folder()), options)


@app.command()
def down(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Stop everything and remove every file of the lab, also what a crash left behind."""
    options = common.settle(ctx, service, config, output)
    from oncall.lab import stack

    there = stack.down(_folder())
    common.note("The lab is down; nothing of it is left." if there else "The lab was not up.")
    if options.output is not Output.TABLE:
        _show(stack.status(_folder()), options)


@app.command()
def demo(
    ctx: typer.Context,
    issue: Annotated[str, typer.Argument(help="The issue to show.")] = "pool",
    cause: Annotated[
        str | None,
        typer.Option("--cause", metavar="ID", help="What to break.", autocompletion=complete_cause),
    ] = None,
    variant: VariantOption = None,
    postgres: PostgresOption = None,
    keep: Annotated[bool, typer.Option("--keep/--down", help="Leave the lab up afterwards, or not.")] = True,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Start the lab, break it, diagnose it, and say what to type next. Takes about two minutes."""
    options = common.settle(ctx, service, config, output)
    from oncall.cli import lab_demo
    from oncall.lab import faults, stack

    chosen = cause or DEMO_CAUSES.get(issue)
    if chosen is None or not chosen.startswith(f"{issue}."):
        allowed = (
            ", ".join(c for c in faults.KINDS if c.startswith(f"{issue}."))
            or f"issues: {', '.join(DEMO_CAUSES)}"
        )
        raise UsageFault(f"the demo cannot show {chosen or issue!r} under {issue!r}", hint=allowed)
    faults.variant_of(chosen, variant)
    try:
        lab_demo.stage(_folder(), chosen, variant, postgres)
        code = lab_demo.diagnose(issue, options)
    finally:
        if not keep:
            stack.down(_folder())
    lab_demo.farewell(chosen, keep)
    if code > Exit.CRITICAL:
        raise typer.Exit(code)


def _menu(options: Options) -> None:
    """What can be broken."""
    from oncall.lab.faults import KINDS

    rows = [(cause, name, what) for cause, kind in KINDS.items() for name, what in kind.variants.items()]
    if options.output is Output.JSON:
        import msgspec

        faults = [{"cause": c, "variant": v, "what": w} for c, v, w in rows]
        common.emit(msgspec.json.encode({"schema": "oncall/lab-faults/1", "faults": faults}))
        return
    _rows(("cause", "variant", "what happens"), rows, options)


def _show(now: "Status", options: Options) -> None:
    """The lab's state as it was asked for."""
    if options.output is Output.JSON:
        import msgspec

        common.emit(msgspec.json.encode(now))
        return
    what = {"up": f"up, since {_age(now.age_s)}", "down": "not up", "partly": "not whole"}[now.state]
    common.emit(f"The lab is {what}. Folder {now.folder}")
    if now.state == "partly":
        common.emit(f"Something of it has ended or never started: {me()} lab down, then {me()} lab up")
    if now.config:
        common.emit(f"Service file {now.config} (service `lab`), seed {now.seed}")
    for line in now.absent:
        common.emit(line)
    rows = [
        (
            p.name,
            "runs" if p.alive else "stopped on purpose" if p.on_purpose else "ended",
            str(p.port or ""),
            str(p.pid),
            p.version or "",
            _age(p.age_s),
        )
        for p in now.parts
    ]
    if rows:
        _rows(("part", "state", "port", "pid", "version", "age"), rows, options)
    if now.faults:
        _rows(
            ("broken", "variant", "intensity"),
            [(f.cause, f.variant, f"{f.intensity:g}") for f in now.faults],
            options,
        )
    elif now.parts:
        common.emit("Nothing is broken.")


def _rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], options: Options) -> None:
    if options.output is Output.MARKDOWN:
        lines = [head, tuple("---" for _ in head), *rows]
        common.emit("\n".join("| " + " | ".join(line) + " |" for line in lines))
        return
    from oncall.render.runbook import listing

    console, _ = common.out()
    console.print(listing(head, rows, console.width))


def _folder() -> Path:
    from oncall.config import lab_folder

    if os.name != "posix":
        raise LabError("the lab runs on Linux and macOS only", hint="use WSL")
    return lab_folder(os.environ)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
