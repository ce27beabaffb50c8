"""Ways in which one backend of a service that is well goes dark, and what must be said of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncall.lab.process import free_port
from tests.cli.bright import SECRET, Bright

Fields = Mapping[str, Any]
CLOSED = "redis://127.0.0.1:1/0"
WELL = {"systemctl": "echo LoadState=loaded; echo ActiveState=active; echo SubState=running"}


def shims(folder: Path, scripts: Mapping[str, str]) -> str:
    """Programs of these names; gives the PATH on which they stand first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scripts.items():
        file = folder / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    return str(folder)


@dataclass(frozen=True)
class Dark:
    """What is changed in the service file or on PATH, and what the report says then.

    `says` is a regular expression for the reason; `needs` are causes that name the backend under `missing`;
    `blamed` those that a refusal itself speaks for."""

    backend: str
    how: str
    change: Callable[[Bright], Fields]
    says: str = "not configured"
    code: int = 3
    needs: tuple[str, ...] = ()
    blamed: frozenset[str] = frozenset()
    scripts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.backend} {self.how}"


def given(**fields: Any) -> Callable[[Bright], Fields]:  # noqa: ANN401  # whatever YAML can say
    return lambda bright: fields


def _elsewhere(name: str) -> Callable[[Bright], Fields]:
    """At a port on which nobody listens."""
    return lambda bright: {name: {**bright.fields[name], "url": f"http://127.0.0.1:{free_port()}"}}


def _postgres(old: Callable[[Bright], str], new: str) -> Callable[[Bright], Fields]:
    def change(bright: Bright) -> Fields:
        at = bright.fields["postgres"]
        return {"postgres": {**at, "dsn": at["dsn"].replace(old(bright), new)}}

    return change


def _redis_password(bright: Bright) -> Fields:
    return {"redis": {"url": bright.redis.url.replace(SECRET, "wrong-canary")}}


REDIS = ("errors.cache_unavailable", "memory.cache_growth", "memory.queue_backlog")
POSTGRES = (
    "errors.database_unavailable",
    "latency.slow_queries",
    "latency.lock_contention",
    "pool.lock_contention",
)
OLLAMA = ("errors.ollama_down",)
LOGS = ("errors.ollama_down", "errors.invalid_input")
HISTORY = ("memory.unexplained_growth", "latency.too_many_requests", "pool.too_small")
UNIT = {"unit": "bot.service"}

CASES = (
    # Without a history no change can be told; what is now comes from /metrics.
    Dark("prometheus", "taken away", given(prometheus=None), code=0),
    Dark("prometheus", "dead", _elsewhere("prometheus"), "connection refused"),
    Dark("http", "taken away", given(url=None), code=0, needs=("errors.database_unavailable",)),
    Dark(
        "scrape", "dead", lambda b: {"url": f"http://127.0.0.1:{free_port()}"}, "connection refused", code=2
    ),
    Dark("postgres", "taken away", given(postgres=None), code=0, needs=POSTGRES),
    Dark(
        "postgres", "dead", _postgres(lambda b: f":{b.postgres.server.port}/", ":1/"), "[Cc]onnection refused",
        code=2, needs=POSTGRES[1:], blamed=frozenset({"errors.database_unavailable"}),
    ),
    Dark(
        "postgres", "without rights", _postgres(lambda b: SECRET, "wrong-canary"),
        "role oncall was not let in", needs=POSTGRES,
    ),
    Dark("redis", "taken away", given(redis=None), code=0, needs=REDIS),
    Dark(
        "redis", "dead", given(redis={"url": CLOSED}), "connection refused",
        code=2, needs=REDIS[1:], blamed=frozenset({"errors.cache_unavailable"}),
    ),
    Dark("redis", "without rights", _redis_password, "user name or password is wrong", needs=REDIS),
    Dark("ollama", "taken away", given(ollama=None), code=0, needs=OLLAMA),
    Dark("ollama", "dead", _elsewhere("ollama"), "connection refused"),
    # Error lines are evidence and no symptom: without them what is well stays well.
    Dark("logs", "taken away", given(logs=None), code=0, needs=LOGS),
    Dark("logs", "dead", given(logs={"file": "/nowhere/service.log"}), "there is no file", code=0, needs=LOGS),
    Dark(
        "logs", "without rights", given(logs=None, **UNIT), "may not read the journal", code=0, needs=LOGS,
        scripts={
            **WELL,
            "journalctl": "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1",
        },
    ),
    Dark(
        "systemd", "dead", given(**UNIT), "not available on this machine", code=0,
        scripts={"systemctl": "echo 'System has not been booted with systemd as init system' >&2; exit 1"},
    ),
    Dark(
        "systemd", "without rights", given(**UNIT), "Access denied",
        scripts={"systemctl": "echo 'Failed to get properties: Access denied' >&2; exit 1"},
    ),
)  # fmt: skip
