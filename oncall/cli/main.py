"""The root command, and the one boundary where errors become messages and exit codes."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from oncall import __version__
from oncall.cli import common
from oncall.cli import config as config_command
from oncall.cli import diagnose as diagnose_command
from oncall.cli import lab as lab_command
from oncall.cli import runbook as runbook_command
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.errors import Exit, OncallError

# The base of typer's own usage errors; typer does not export it by name.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

# Rich help costs more than the rest of the start-up together: only a person's terminal gets it.
_MARKUP = "rich" if sys.stdout.isatty() else None

app = typer.Typer(
    name="oncall",
    no_args_is_help=True,
    rich_markup_mode=_MARKUP,  # type: ignore[arg-type]  # a Literal, chosen at run time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Says what is wrong with the service, why, and the one safe command to run next.",
)
app.command("diagnose")(diagnose_command.diagnose)
app.add_typer(runbook_command.app, name="runbook")
app.add_typer(config_command.app, name="config")
app.add_typer(lab_command.app, name="lab")


def _version(asked: bool) -> None:
    if asked:
        print(f"oncall {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = Options(service, config, output or Output.TABLE)


def _wants_json(argv: list[str]) -> bool:
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    return any(a == "--output=json" or (a == "--output" and b == "json") for a, b in pairs)


def _fail(argv: list[str], code: Exit, error: str, hint: str | None) -> int:
    if _wants_json(argv):
        from oncall.render.json_out import error_json

        common.emit(error_json(error, hint))
    from oncall.render.text import safe

    common.note(f"oncall: {safe(error)}")
    if hint:
        common.note(f"  {safe(hint)}")
    return code


def _bug(argv: list[str], error: Exception) -> int:
    """A bug of ours: what to report, without values that could hold a secret."""
    import platform
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return _fail(
        argv,
        Exit.BUG,
        f"a bug in oncall: {type(error).__name__} at {where}",
        f"Please report this line with the command you typed; oncall {__version__}, "
        f"Python {platform.python_version()}, {platform.system()}.",
    )


def run(argv: list[str]) -> int:
    """Runs one command line; returns the exit code of the contract."""
    try:
        code = typer.main.get_command(app).main(args=argv, prog_name="oncall", standalone_mode=False)
        return int(code or 0)
    except OncallError as error:
        return _fail(argv, error.exit_code, str(error), error.hint)
    except UsageError as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        ctx = getattr(error, "ctx", None)
        path = ctx.command_path if ctx else "oncall"
        return _fail(argv, Exit.USAGE, message, f"See '{path} --help'.")
    except (typer.Abort, KeyboardInterrupt):
        common.note("oncall: interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) went away: that is its right. Keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except Exception as error:
        return _bug(argv, error)


def main() -> None:
    sys.exit(run(sys.argv[1:]))
