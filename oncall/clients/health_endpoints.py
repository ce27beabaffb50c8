"""The health endpoints of the monitoring document: how long each may take, and what its answer holds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from oncall.model import Frozen

Kind = Literal["text", "number", "whole", "time"]
Fields = Mapping[str, Kind]
_NAMES: Mapping[Kind, str] = {
    "text": "text",
    "number": "a number",
    "whole": "a whole number",
    "time": "an RFC 3339 time",
}


class Endpoint(Frozen, frozen=True):
    """`critical` False: "alert if it fails, but non-critical"."""

    path: str
    timeout_s: float
    fields: Fields
    critical: bool = True


ENDPOINTS = (
    Endpoint(
        path="/health",
        timeout_s=5.0,
        fields={"status": "text", "timestamp": "time", "version": "text", "uptime": "text"},
    ),
    Endpoint(
        path="/health/db",
        timeout_s=5.0,
        fields={"status": "text", "database": "text", "latency_ms": "number", "tables_accessible": "whole"},
    ),
    Endpoint(
        path="/health/cache",
        timeout_s=3.0,
        fields={"status": "text", "provider": "text", "latency_ms": "number", "memory_used_mb": "number"},
        critical=False,
    ),
)


def complaints(body: bytes, fields: Fields) -> tuple[str, ...]:
    """What an answer lacks of the fields, or has of another type. Pure."""
    try:
        content = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ("is no JSON object",)
    found = [f"has no {name}" for name in fields if name not in content]
    for name, kind in fields.items():
        if name in content and not _is(content[name], kind):
            found.append(f"{name} is {_kind_of(content[name])}, not {_NAMES[kind]}")
    return tuple(found)


def _is(value: object, kind: Kind) -> bool:
    if kind in ("text", "time"):
        return isinstance(value, str) and (kind == "text" or _is_time(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return kind == "number" or float(value).is_integer()


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "yes or no"
    if isinstance(value, int | float):
        return "a number" if isinstance(value, int) else "a fraction"
    if isinstance(value, str):
        return "other text"
    return "a list" if isinstance(value, list) else "an object"
