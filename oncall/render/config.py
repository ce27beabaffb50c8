"""What `oncall config` shows: whether every backend can be reached, and the service file in force."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from oncall.model import ConfigCheck, Reach, Right, Severity
from oncall.model_service import Service
from oncall.numbers import NONE, humane
from oncall.render.inert import inert
from oncall.render.text import cells, safe_lines
from oncall.units import Duration, Size, write_duration, write_size

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

NARROW = 60
_STATES: Mapping[str, tuple[str, Severity]] = {
    "ok": ("ok", Severity.OK),
    "rights": ("rights missing", Severity.WARNING),
    "down": ("down", Severity.CRITICAL),
    "unknown": ("unknown", Severity.UNKNOWN),
}


def check_page(c: ConfigCheck, *, width: int, ascii_only: bool = False) -> "Group":
    """A line for each backend; below it what is wrong, and the statement that mends it, on a line of its own."""
    from rich.console import Group

    from oncall.render.grid import FAINT, SEVERITY_STYLE, indented, line, plain_ascii

    c = inert(c, ascii_only=ascii_only)
    lines = [line((_title(c), "bold"), "   ", (c.severity.value, SEVERITY_STYLE[c.severity])), line()]
    lines = (
        lines
        if cells(lines[0].plain) <= width
        else [*indented(_title(c), width), line(c.severity.value), line()]
    )
    for reach in _asked(c):
        lines += [*_row(c, reach, width), *_details(reach, width)]
    for text in _footer(c):
        lines += indented(text, width, style=FAINT)
    return Group(*(map(plain_ascii, lines) if ascii_only else lines))


def _asked(c: ConfigCheck) -> list[Reach]:
    return [reach for reach in c.backends if reach.state != "not_configured"]


def _title(c: ConfigCheck) -> str:
    return " · ".join(filter(None, (c.service, c.environment, c.path)))


def _footer(c: ConfigCheck) -> Iterator[str]:
    absent = [reach.backend for reach in c.backends if reach.state == "not_configured"]
    if absent:
        yield f"not configured: {', '.join(absent)}"
    yield f"asked at once, in {humane(c.duration_ms, 'ms')}"


def _columns(reach: Reach) -> tuple[str, str, str, str, str]:
    ms = humane(reach.ms, "ms") if reach.ms else NONE
    return reach.backend, _STATES[reach.state][0], reach.version or NONE, ms, reach.where or ""


def _row(c: ConfigCheck, reach: Reach, width: int) -> "list[Text]":
    from oncall.render.grid import GAP, SEVERITY_STYLE, Cell, columns, indented, taken

    texts = _columns(reach)
    style = SEVERITY_STYLE[_STATES[reach.state][1]]
    if width < NARROW:
        said = "  ".join(text for text in texts if text not in ("", NONE))
        return indented(said, width, style=style)
    widths = [max(cells(_columns(each)[i]) for each in _asked(c)) for i in range(4)]
    room = max(1, width - taken(widths) - GAP)
    styles = ("bold", style, "", "", "")
    row = [Cell(text, style) for text, style in zip(texts, styles, strict=True)]
    return columns(row, [*widths, room], right={3})


def _details(reach: Reach, width: int) -> "Iterator[Text]":
    from oncall.render.command import command_lines
    from oncall.render.grid import FAINT, indented

    for text in filter(None, (reach.reason, reach.hint, *reach.notes)):
        yield from indented(text, width, indent=2, style=FAINT if text in reach.notes else "")
    for right in reach.missing:
        yield from indented(_lack(right), width, indent=2)
        yield from command_lines(right.grant, width, indent=4)


def _lack(right: Right) -> str:
    return f"to act, not to look: {right.what}:" if right.acting else f"{right.what}:"


def check_markdown(c: ConfigCheck) -> str:
    """The same to paste: the backends as lines of a code block, then what is wrong with each."""
    from oncall.render.markdown import code_block, inline

    c = inert(c)
    blocks = [
        f"**{inline(_title(c))}**: {c.severity.value}",
        code_block(_aligned([_columns(r) for r in _asked(c)])),
    ]
    for reach in _asked(c):
        said = [
            f"- {reach.backend}: {inline(text)}" for text in (reach.reason, reach.hint, *reach.notes) if text
        ]
        said += [f"- {reach.backend}: {inline(_lack(right))} `{right.grant}`" for right in reach.missing]
        blocks += ["\n".join(said)] if said else []
    return "\n\n".join([*blocks, *map(inline, _footer(c))])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(wide) for text, wide in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def check_json(c: ConfigCheck) -> bytes:
    """Schema `oncall/config-check/1`."""
    return msgspec.json.encode(c)


# --- the service file -------------------------------------------------------------


def written_json(path: str) -> bytes:
    """Schema `oncall/config-init/1`."""
    return msgspec.json.encode({"schema": "oncall/config-init/1", "path": path})


def show_json(path: str | None, default: str | None, services: Mapping[str, Service]) -> bytes:
    """Schema `oncall/config/1`. The services come masked."""
    shown = {name: _plain(service) for name, service in services.items()}
    return msgspec.json.encode(
        {"schema": "oncall/config/1", "path": path, "default": default, "services": shown}
    )


def show_yaml(path: str | None, default: str | None, services: Mapping[str, Service]) -> str:
    """The services as a service file, defaults filled in; comments say where it is from and what is not there."""
    import yaml

    lines = [f"# from {path or 'no file'}"]
    for name, service in services.items():
        absent = [key for key in _BACKENDS if getattr(service, key) is None]
        lines += [f"# not configured in {name}: {', '.join(absent)}"] if absent else []
    data: dict[str, object] = {"default": default} if default in services else {}
    data["services"] = {name: _plain(service) for name, service in services.items()}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    return "\n".join(line for part in (*lines, text) for line in safe_lines(part.rstrip("\n")))


_BACKENDS = ("url", "unit", "prometheus", "alertmanager", "postgres", "redis", "ollama")
_WRITERS: Mapping[type, Callable[[float], str]] = {Duration: write_duration, Size: write_size}


def _plain(value: object) -> object:
    """Plain data as it would be written in YAML, without what is not set."""
    if isinstance(value, msgspec.Struct):
        # As they are written: `from` is no name that Python allows.
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        fields = {written: _plain(getattr(value, name)) for written, name in names}
        return {name: field for name, field in fields.items() if field not in (None, {}, [])}
    if isinstance(value, dict):
        return {name: _plain(field) for name, field in value.items()}
    if isinstance(value, tuple):
        return [_plain(field) for field in value]
    return _WRITERS[type(value)](value) if isinstance(value, Duration | Size) else value
