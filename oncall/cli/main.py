"""The root command, and the one boundary where errors become messages and exit codes."""

import codecs
import errno
import gc
import io
import os
import shutil
import sys
from functools import cache
from typing import Annotated, Any

import typer

from oncall import __version__
from oncall.cli import commands, common
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.cli.quick import quicken
from oncall.errors import Exit, OncallError, bug_text
from oncall.render.look import look

# The base of typer's own usage errors; typer does not export it by name.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_RICH_FROM = 60
"""Columns. On fewer, rich cuts the names of the options, which plain help does not."""


def _markup() -> str | None:
    """Rich help costs more than the rest of the start-up together: only a person's terminal of colour gets it."""
    if not sys.stdout or not sys.stdout.isatty():
        return None
    seen = look(os.environ, encoding=sys.stdout.encoding, terminal=True)
    return "rich" if seen.color and shutil.get_terminal_size().columns >= _RICH_FROM else None


def _new() -> typer.Typer:
    """The root command, still without commands."""
    made = typer.Typer(
        name="oncall",
        no_args_is_help=True,
        rich_markup_mode=_markup(),  # type: ignore[arg-type]  # a Literal, chosen at run time
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Says what is wrong with the service, why, and the one safe command to run next.",
    )
    made.callback()(root)
    return made


@cache
def whole() -> typer.Typer:
    """The root command with every command: for its help, for completion, and where a word is none of them."""
    return commands.add(_new())


def _version(asked: bool) -> None:
    if asked:
        common.emit(f"oncall {__version__}")
        raise typer.Exit


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
    """Whether the last --output asks for JSON, told from the words: parsing them may be what failed."""
    last = ""
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        option, equals, value = word.partition("=")
        if option == "--output":
            last = value if equals else following
    return last == "json"


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

    return _fail(
        argv,
        Exit.BUG,
        bug_text(error, frames=4),
        f"Please report this line with the command you typed; oncall {__version__}, "
        f"Python {platform.python_version()}, {platform.system()}.",
    )


def _misused(argv: list[str], error: Exception) -> int:
    """Wrong usage, in typer's words; where a command is missing, the help is the answer."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "oncall"
    if type(error).__name__ == "NoArgsIsHelpError":
        if not _wants_json(argv):
            common.note(message)
            return Exit.USAGE
        message = "Missing command."
    known = getattr(ctx.command, "commands", {}) if ctx and "command" in message else {}
    there = f"There are: {', '.join(known)}. " if known else ""
    return _fail(argv, Exit.USAGE, message.replace("Value error, ", ""), f"{there}See '{path} --help'.")


def _unwritable(argv: list[str], error: OSError) -> int:
    """Standard output takes no more (a full disk): a verdict that nobody can read is none."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF):
        return _bug(argv, error)
    common.let_go()
    common.note(f"oncall: standard output cannot be written: {(error.strerror or '').lower()}")
    return Exit.UNKNOWN


def _command(argv: list[str]) -> Any:  # noqa: ANN401  # typer does not export the base of its commands
    """As much of the root command as the command line needs: to load the rest takes longer than most answers."""
    name = commands.meant(argv)
    if "_ONCALL_COMPLETE" in os.environ:
        app = whole()
    elif commands.wants_help(argv):
        app = commands.add_names(_new())
    else:
        app = commands.add(_new(), [name]) if name else whole()
    return typer.main.get_command(app)


def run(argv: list[str]) -> int:
    """Runs one command line; returns the exit code of the contract."""
    try:
        code = quicken(_command(argv)).main(args=argv, prog_name="oncall", standalone_mode=False)
        return int(code or 0)
    except OncallError as error:
        return _fail(argv, error.exit_code, str(error), error.hint)
    except UsageError as error:
        return _misused(argv, error)
    except (typer.Abort, KeyboardInterrupt):
        common.note("oncall: interrupted")
        return Exit.INTERRUPTED
    except SystemExit:
        # Typer's way to say that the reader of a help text went away.
        return Exit.OK
    except OSError as error:
        return _unwritable(argv, error)
    except Exception as error:
        return _bug(argv, error)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What the terminal's encoding lacks, in ASCII."""
    from oncall.render.text import safe

    if not isinstance(error, UnicodeEncodeError):
        raise error
    return safe(error.object[error.start : error.end], ascii_only=True), error.end


def _ready_output() -> None:
    """A stream that is closed swallows; one with a small alphabet says things in its own letters."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    codecs.register_error("oncall.plainly", _plainly)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="oncall.plainly")


def main() -> None:
    _ready_output()
    # What start-up makes stays: searching it for garbage over and over takes 30 ms of half a second.
    gc.set_threshold(100_000, 20, 20)
    code = run(sys.argv[1:])
    # And at the end Python would search it all once more: another 40 ms.
    gc.freeze()
    sys.exit(code)
