"""An Ollama for tests that answers as real versions do (Go's times, null for no list), and may be told otherwise."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.clients.webstand import Answer, Asked, Stand, reply

DATE = "Mon, 05 Jan 2026 03:12:41 GMT"
DISK = 2_019_393_189


def model(name: str, size: int = DISK, **details: str) -> dict[str, Any]:
    """An entry of /api/tags, as 0.5 writes it."""
    known = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]}
    known |= {"parameter_size": "3.2B", "quantization_level": "Q4_K_M"} | details
    modified = "2025-12-01T17:14:11.123456789+01:00"
    return {
        "name": name,
        "model": name,
        "modified_at": modified,
        "size": size,
        "digest": "a80c",
        "details": known,
    }


def loaded(name: str, size: int, vram: int, expires: str = "2026-01-05T03:17:41.5+00:00") -> dict[str, Any]:
    """An entry of /api/ps."""
    entry = {k: v for k, v in model(name, size).items() if k != "modified_at"}
    return {**entry, "expires_at": expires, "size_vram": vram}


def ollama(
    tags: list[dict[str, Any]] | None = None,
    running: list[dict[str, Any]] | None = None,
    version: str = "0.5.4",
    instead: Mapping[str, Callable[[], Answer]] | None = None,
) -> Stand:
    """`instead` gives other answers by path (`/api/ps`), or to all paths by `*`."""
    answers = {
        "/api/tags": {"models": tags},
        "/api/ps": {"models": running},
        "/api/version": {"version": version},
    }

    def answer(asked: Asked) -> Answer:
        other = (instead or {}).get(asked.path) or (instead or {}).get("*")
        if other is not None:
            return other()
        return reply(
            json.dumps(answers[asked.path]), Content_Type="application/json; charset=utf-8", Date=DATE
        )

    return Stand(answer)


def not_found() -> Answer:
    """What Ollama says to a path that its version does not know."""
    return reply("404 page not found", "404 Not Found", Content_Type="text/plain", Date=DATE)
