"""Ollama: is it there, which models does it have, and which are loaded, where?"""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from oncall.clients.http import Fetched, HttpServer
from oncall.clients.http_json import ask_json, get, read_json
from oncall.model import Column, Met, Scalar, StepReading, Table, Unavailable
from oncall.model_service import HttpBackend

SERVER_COLUMNS = (
    Column(name="version"),
    Column(name="ms", unit="ms"),
    Column(name="models"),
    Column(name="loaded"),
    Column(name="vram_share", unit="ratio"),
    Column(name="loaded_bytes", unit="bytes"),
)
MODEL_COLUMNS = (
    Column(name="model"),
    Column(name="bytes", unit="bytes"),
    Column(name="loaded"),
    Column(name="vram_share", unit="ratio"),
    Column(name="expires_in_s", unit="seconds"),
    Column(name="parameters"),
    Column(name="quantization"),
)
_MOST_ROWS = 50
_NOT_FOUND = 404
_FOR_EVER = 2200
T = TypeVar("T")


class _Version(msgspec.Struct):
    version: str


class _Details(msgspec.Struct):
    parameter_size: str | None = None
    quantization_level: str | None = None


class _Model(msgspec.Struct):
    name: str
    size: int = 0
    size_vram: int | None = None
    expires_at: str | None = None
    details: _Details | None = None


class _Models(msgspec.Struct):
    models: list[_Model] | None
    """Null where there is none."""


class _Said(msgspec.Struct, frozen=True):
    """What the server told. `loaded` is None where it cannot tell; `now` is its own time (Unix seconds)."""

    version: str | None
    ms: float
    models: Sequence[_Model]
    loaded: Sequence[_Model] | None
    now: float


async def meet(at: HttpBackend, deadline_s: float) -> Met | Unavailable:
    """Its version and round trip, within `deadline_s` seconds."""
    answer = await ask_json(at, "/api/version", _Version, "Ollama", deadline_s)
    return answer if isinstance(answer, Unavailable) else Met(ms=answer[1], version=answer[0].version)


async def look(
    at: HttpBackend, words: Collection[str], deadline_s: float
) -> dict[str, StepReading] | Unavailable:
    """The readings `server` and `models`, as far as `words` has them, over one connection.

    Unavailable is about the whole server. `ms` is the round trip of a request on a warm connection."""
    async with HttpServer.of_backend(at) as server:
        said = await _ask(server, deadline_s)
        if isinstance(said, Unavailable):
            return said
        urls = {path: f"GET {server.address(f'/api/{path}')}" for path in ("tags", "ps", "version")}
    asked = {"server": "; ".join(urls.values()), "models": f"{urls['tags']}; {urls['ps']}"}
    tables = {"server": _server(said), "models": _models(said)}
    return {
        word: StepReading(source="ollama", query=asked[word], answer=table, ms=said.ms)
        for word, table in tables.items()
        if word in words
    }


async def _ask(server: HttpServer, deadline_s: float) -> _Said | Unavailable:
    until = time.monotonic() + deadline_s

    async def asked(path: str) -> Fetched | Unavailable:
        # Rounded for the reason that names it
        return await get(server, path, max(0.01, round(until - time.monotonic(), 2)))

    models = read_json(await asked("/api/tags"), _Models, "Ollama", server.place)
    if isinstance(models, Unavailable):
        return models
    running = await asked("/api/ps")
    loaded = _unless_old(running, _Models, server.place)
    if isinstance(loaded, Unavailable):
        return loaded
    # Last, where the connection is warm, and the cheapest for the server: its time is that of a round trip
    got = await asked("/api/version")
    version = _unless_old(got, _Version, server.place)
    if isinstance(version, Unavailable):
        return version
    assert isinstance(got, Fetched)
    return _Said(
        version=version.version if version else None,
        ms=got.ms,
        models=models.models or (),
        loaded=None if loaded is None else loaded.models or (),
        now=_servers_time(running),
    )


def _unless_old(got: Fetched | Unavailable, shape: type[T], place: str) -> T | Unavailable | None:
    """The answer; None from a version that does not know the path yet."""
    if isinstance(got, Fetched) and got.status == _NOT_FOUND:
        return None
    return read_json(got, shape, "Ollama", place)


def _servers_time(got: Fetched | Unavailable) -> float:
    """By the server's clock, which its times are of; by ours where it does not tell."""
    said = got.headers.get("date", "") if isinstance(got, Fetched) else ""
    try:
        return parsedate_to_datetime(said).timestamp()
    except (ValueError, OverflowError):
        return time.time()


# --- tables ------------------------------------------------------------------------------------


def _server(said: _Said) -> Table:
    loaded = said.loaded
    shares = [share for model in loaded or () if (share := _vram_share(model)) is not None]
    row: tuple[Scalar, ...] = (
        said.version,
        said.ms,
        len(said.models),
        None if loaded is None else len(loaded),
        min(shares, default=None),
        None if loaded is None else sum(max(0, model.size) for model in loaded),
    )
    notes = [] if said.version else ["it does not tell its version: older than 0.1.15, or not Ollama itself"]
    return Table(columns=SERVER_COLUMNS, rows=(row,), notes=(*notes, *_notes(said)))


def _models(said: _Said) -> Table:
    """Loaded ones first, largest first. `bytes` is what it takes: in memory where loaded, else on disk."""
    loaded = {model.name: model for model in said.loaded or ()}
    known = {model.name: model for model in said.models} | loaded
    order = sorted(known.values(), key=lambda model: (model.name not in loaded, -model.size, model.name))
    rows = tuple(_row(model, said) for model in order[:_MOST_ROWS])
    cut = len(order) - len(rows)
    notes = (f"{cut} more models are not shown",) if cut else ()
    return Table(columns=MODEL_COLUMNS, rows=rows, notes=(*notes, *_notes(said)))


def _notes(said: _Said) -> tuple[str, ...]:
    """Why columns are empty."""
    old = "it does not tell which models are loaded: it has no /api/ps (older than 0.1.33)"
    return (old,) if said.loaded is None else ()


def _row(model: _Model, said: _Said) -> tuple[Scalar, ...]:
    loaded = None if said.loaded is None else any(model is one for one in said.loaded)
    details = model.details or _Details()
    return (
        model.name,
        model.size,
        loaded,
        _vram_share(model) if loaded else None,
        _expires_in_s(model, said.now) if loaded else None,
        details.parameter_size or None,
        details.quantization_level or None,
    )


def _vram_share(model: _Model) -> float | None:
    """How much of a loaded model is in the memory of the GPU; None where the server does not tell."""
    if model.size_vram is None or model.size <= 0:
        return None
    return min(1.0, max(0.0, model.size_vram / model.size))


def _expires_in_s(model: _Model, now: float) -> float | None:
    """Seconds until it is unloaded; None where it stays, or the server does not tell."""
    try:
        at = datetime.fromisoformat(model.expires_at or "")
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    # Go's time zero means never; a model that is kept for ever expires in some hundred years
    return max(0.0, at.timestamp() - now) if 1970 < at.year < _FOR_EVER else None
