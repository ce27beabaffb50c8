"""`oncall config`: write a service file, check that every backend can be reached, show what is in force."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import EXITS, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import ConfigError, UsageFault

if TYPE_CHECKING:
    from oncall.model import ConfigCheck
    from oncall.model_service import Service

app = typer.Typer(help="The service file: write one, check it, show it.", no_args_is_help=True)


@app.command()
def init(
    ctx: typer.Context,
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="FILE", help="Where to write it, instead of the usual place."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Write a commented service file to start from. A file that is there is left alone."""
    from oncall.config import usual_places
    from oncall.render.config_template import TEMPLATE

    options = common.settle(ctx, service, config, output)
    named = os.environ.get("ONCALL_CONFIG")
    file = path or options.config or (Path(named) if named else usual_places(os.environ)[0])
    _write(file, TEMPLATE, force=force)
    if options.output is Output.JSON:
        from oncall.render.config import written_json

        common.emit(written_json(str(file)))
    else:
        common.emit(f"written: {file}")
    common.note("Edit it, then: oncall config check")


def _write(file: Path, text: str, *, force: bool) -> None:
    """Writes a whole file, for its owner alone, or none. Raises UsageFault where one is there already."""
    from secrets import token_hex

    fresh = file.with_name(f".{file.name}.{token_hex(4)}")
    try:
        _make_folder(file.absolute().parent)
    except OSError as failed:
        raise _unwritable(file, failed) from None
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
        try:
            # Unlike rename, link refuses a name that is taken: nothing is replaced by accident.
            fresh.replace(file) if force else file.hardlink_to(fresh)
        finally:
            fresh.unlink(missing_ok=True)
    except FileExistsError:
        hint = "`--force` replaces it; `oncall config check` checks it."
        raise UsageFault(f"{file} is there already, and was left alone", hint=hint) from None
    except OSError as failed:
        raise _unwritable(file, failed) from None


def _unwritable(file: Path, failed: OSError) -> ConfigError:
    return ConfigError(f"{file}: cannot be written: {(failed.strerror or 'no reason given').lower()}")


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it, each for its owner alone (mkdir's own `parents` would not)."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@app.command()
def check(
    ctx: typer.Context,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Longest wait for each backend.")
    ] = "5s",
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Check the service file, and contact every backend: version, round trip, missing rights with their GRANT.

    Exit code: 0 all is well, 1 a right is missing, 2 something is down, 3 something could not be told,
    78 the file is wrong.
    """

    options = common.settle(ctx, service, config, output)
    deadline_s = seconds("--timeout", timeout)
    file = options.load()
    from oncall.config import pick

    name, chosen = pick(file, options.service)
    found = common.run_async(_check(name, chosen, file.file_of(name), deadline_s))
    _print(found, options)
    raise typer.Exit(EXITS[found.severity.value])


async def _check(name: str, service: "Service", path: Path | None, deadline_s: float) -> "ConfigCheck":
    from oncall.diagnosis.reach import check as reach

    states: dict[str, str] = {}
    return await common.visibly(reach(name, service, path, deadline_s, states), states)


def _print(found: "ConfigCheck", options: Options) -> None:
    from oncall.render import config as render

    if options.output is Output.JSON:
        common.emit(render.check_json(found))
    elif options.output is Output.MARKDOWN:
        common.emit(render.check_markdown(found))
    else:
        console, _ = common.out()
        console.print(render.check_page(found, width=console.width))


@app.command()
def show(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Show what is in force: which file, which services, defaults filled in, secrets as ***."""
    from oncall.config import pick
    from oncall.render import config as render
    from oncall.scrub import masked

    options = common.settle(ctx, service, config, output)
    file = options.load()
    shown = file.services
    if options.service or not shown:
        name, chosen = pick(file, options.service)
        shown = {name: chosen}
    fit = {name: masked(each) for name, each in shown.items()}
    path = str(file.path) if file.path else None
    if options.output is Output.JSON:
        common.emit(render.show_json(path, file.default, fit))
        return
    text = render.show_yaml(path, file.default, fit)
    common.emit(f"```yaml\n{text}\n```" if options.output is Output.MARKDOWN else text)
