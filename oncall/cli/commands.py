"""The commands by name. Each is imported where it is meant: all of them together take longer than most answers."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import typer

COMMANDS: Mapping[str, tuple[str, str]] = {
    "diagnose": ("diagnose:diagnose", "What is wrong, why, and the one safe command to run next."),
    "status": ("status:status", "One screen: health, golden signals, alerts, last acts."),
    "health": ("health:health", "The health endpoints, twice before it says down."),
    "changes": ("changes:changes", "What changed: every series against its quiet time."),
    "daily-check": ("checks:daily_check", "Each morning: uptime, errors, backups, alerts, disk."),
    "weekly-check": ("checks:weekly_check", "Week over week: trends, capacity, slow endpoints."),
    "monthly-check": ("checks:monthly_check", "The full audit, with the time until each limit."),
    "watch-deploy": ("watch_deploy:watch_deploy", "A deploy: keep, watch or roll back, with evidence."),
    "handover": ("handover:handover", "For the next shift: what fired, was done, is to come."),
    "dashboard": ("dashboard:dashboard", "The four dashboards in the terminal, live with --watch."),
    "alerts": ("alerts:app", "What fires, who is paged next; silence and expire."),
    "remediate": ("remediate:app", "Act once, on the right thing, and prove it."),
    "audit": ("audit:app", "What was done, by whom, why, and whether it helped."),
    "runbook": ("runbook:app", "The runbooks: list, show with every query, check."),
    "config": ("config:app", "The service file: write one, check it, show it."),
    "lab": ("lab:app", "A local stack of real servers, to try and to break."),
}
"""Module below `oncall.cli` and what in it is the command or the group of its commands; what it does, on one line.

Groups come last: so typer lists them."""

_TAKES_VALUE = frozenset({"-s", "--service", "--config", "--output"})


def add(app: typer.Typer, names: Sequence[str] | None = None) -> typer.Typer:
    """The app with these commands; all of them unless told."""
    for name in COMMANDS if names is None else names:
        place, said = COMMANDS[name]
        module, _, attribute = place.partition(":")
        command: typer.Typer | Callable[..., None] = getattr(import_module(f"oncall.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=said)
        else:
            app.command(name, short_help=said)(command)
    return app


def add_names(app: typer.Typer) -> typer.Typer:
    """The app with the names of all commands and what each does, for its help alone."""
    for name, (place, said) in COMMANDS.items():
        if place.endswith(":app"):
            app.add_typer(typer.Typer(), name=name, short_help=said)
        else:
            app.command(name, short_help=said)(_nothing)
    return app


def _nothing() -> None:
    raise AssertionError("a name in the help was run")


def wants_help(argv: Sequence[str]) -> bool:
    """Whether the command line asks for the help of `oncall` itself."""
    return list(argv) in ([], ["--help"], ["-h"])


def meant(argv: Sequence[str]) -> str | None:
    """The command of a command line, where it is plain to see; None where all of them are needed to tell."""
    words = iter(argv)
    for word in words:
        if word in _TAKES_VALUE:
            if next(words, None) is None:
                return None
        elif not word.startswith("-"):
            return word if word in COMMANDS else None
        elif word.partition("=")[0] not in _TAKES_VALUE:
            return None
    return None
