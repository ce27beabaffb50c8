"""Options that are text, or absent, taken as they are.

Typer coerces every value, also one that is absent, through pydantic, whose import takes a tenth of a diagnosis.
What needs real coercion, or is wrong, goes typer's own way."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_TYPERS_OWN = object()


def quicken(command: Any) -> Any:  # noqa: ANN401  # typer does not export the base of its commands
    """The same command and sub-commands, their classes replaced by those below, which only read values sooner."""
    command.__class__ = _QUICK.get(type(command), type(command))
    for child in getattr(command, "commands", {}).values():
        quicken(child)
    return command


def _as_it_is(parameter: TyperOption | TyperArgument, value: Any) -> Any:  # noqa: ANN401  # whatever was typed
    described = getattr(parameter, "type_descriptor", None)
    if described is None or parameter.multiple or parameter.nargs != 1:
        return _TYPERS_OWN
    if value is None:
        return _TYPERS_OWN if parameter.required else None
    kind = described.annotation
    if not isinstance(value, str) or not isinstance(kind, type):
        return _TYPERS_OWN
    if kind is str:
        return value
    if issubclass(kind, StrEnum) and value in list(kind):
        return kind(value)
    return Path(value) if kind is Path and os.access(value, os.R_OK) else _TYPERS_OWN


def _called_back(parameter: TyperOption | TyperArgument, ctx: Any, value: Any) -> Any:  # noqa: ANN401
    return parameter.callback(ctx, parameter, value) if parameter.callback else value


class _Option(TyperOption):
    def process_value(self, ctx: Any, value: Any) -> Any:  # noqa: ANN401  # as typer has it
        taken = _as_it_is(self, value)
        return super().process_value(ctx, value) if taken is _TYPERS_OWN else _called_back(self, ctx, taken)


class _Argument(TyperArgument):
    def process_value(self, ctx: Any, value: Any) -> Any:  # noqa: ANN401  # as typer has it
        taken = _as_it_is(self, value)
        return super().process_value(ctx, value) if taken is _TYPERS_OWN else _called_back(self, ctx, taken)


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401  # as typer has it
        return list(map(quicken, super().get_params(ctx)))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401  # as typer has it
        return list(map(quicken, super().get_params(ctx)))


_QUICK: dict[type, type] = {
    TyperOption: _Option,
    TyperArgument: _Argument,
    TyperCommand: _Command,
    TyperGroup: _Group,
}
