"""How the lab's requests come to fail."""

import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from oncall.lab import parts, place
from oncall.lab.kinds import Kind, Others, admin, cache, command, end_sessions, turned
from oncall.lab.place import Fault, LoadKnobs, OllamaKnobs, ServiceKnobs
from oncall.lab.process import free_port

if TYPE_CHECKING:
    import redis

# --- the database ----------------------------------------------------------------------------

# Of Postgres: SIGINT is its fast shutdown, SIGQUIT its immediate one, after which it must recover.
_STOPS = {"stopped": signal.SIGINT, "crashed": signal.SIGQUIT}


def _no_database(folder: Path, fault: Fault) -> None:
    if fault.variant in _STOPS:
        parts.stop(folder, "postgres", _STOPS[fault.variant])
        return
    with admin(folder) as session:
        session.execute(f"ALTER ROLE app PASSWORD '{secrets.token_urlsafe(12)}'".encode())
        end_sessions(session, "app")


def _database(folder: Path, _fault: Fault, _others: Others) -> None:
    parts.start(folder, "postgres")
    password = place.running(folder).roles["app"].split("//")[1].partition("@")[0].partition(":")[2]
    with admin(folder) as session:
        session.execute(f"ALTER ROLE app PASSWORD '{password}'".encode())
    # Its pool finds the way back by itself; where it does not, a restart is what an engineer would do.
    if not parts.await_answer(folder, "/health/db", 8):
        parts.restart_service(folder)


# --- the cache -------------------------------------------------------------------------------


def _no_cache(folder: Path, fault: Fault) -> None:
    if fault.variant == "stopped":
        parts.stop(folder, "redis")
        return
    if fault.variant == "full":
        parts.hold(folder, "filler", [])
        return
    with cache(folder) as client:
        if fault.variant == "password_changed":
            command(client, "ACL", "SETUSER", "default", "resetpass", f">{secrets.token_urlsafe(12)}")
            command(client, "CLIENT", "KILL", "USER", "default")
        else:
            command(client, "REPLICAOF", "127.0.0.1", _nobody())


def _nobody() -> int:
    """A port on which nobody listens: the master of a replica that has lost it."""
    port = free_port()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    return port


def _cache(folder: Path, fault: Fault, _others: Others) -> None:
    parts.let_go(folder, "filler")
    parts.start(folder, "redis")
    password = (place.running(folder).url("redis") or "").split("//:")[1].partition("@")[0]
    with cache(folder) as client:
        if fault.variant == "readonly":
            command(client, "REPLICAOF", "NO", "ONE")
        if fault.variant == "password_changed":
            command(client, "ACL", "SETUSER", "default", "resetpass", f">{password}")
        if fault.variant == "full":
            drop(client, "import:*")


def drop(client: "redis.Redis", pattern: str) -> None:
    """Removes the keys of one pattern, and gives their memory back to the machine."""
    found: list[bytes] = []
    for key in client.scan_iter(pattern, count=1000):
        found.append(key)
        if len(found) == 500:
            client.unlink(*found)
            found.clear()
    if found:
        client.unlink(*found)
    command(client, "MEMORY", "PURGE")


# --- Ollama, users, limits -------------------------------------------------------------------


def _no_ollama(folder: Path, fault: Fault) -> None:
    if fault.variant == "stopped":
        parts.stop(folder, "ollama")


def _ollama(folder: Path, fault: Fault, _others: Others) -> None:
    if fault.variant == "stopped":
        parts.start(folder, "ollama")


def _no_model(knobs: OllamaKnobs, fault: Fault) -> OllamaKnobs:
    from oncall.lab.ollama import USUAL

    return turned(knobs, missing=(USUAL,)) if fault.variant == "model_removed" else knobs


def _malformed(knobs: LoadKnobs, fault: Fault) -> LoadKnobs:
    return turned(knobs, malformed=min(1.0, 0.35 * fault.intensity))


def _unchecked(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    return turned(knobs, unchecked=fault.variant == "unhandled")


def _hammer(knobs: LoadKnobs, fault: Fault) -> LoadKnobs:
    return turned(knobs, hammer=60 * fault.intensity) if fault.variant == "one_client" else knobs


def _lower(knobs: ServiceKnobs, fault: Fault) -> ServiceKnobs:
    """Each of the users' programs asks about once a second."""
    return turned(knobs, limit=0.4 / fault.intensity) if fault.variant == "limit_lowered" else knobs


KINDS: dict[str, Kind] = {
    "errors.database_unavailable": Kind(
        {
            "stopped": "Postgres is shut down",
            "crashed": "Postgres crashes, and must recover when it is started",
            "password_changed": "somebody changes the password of the service's role",
        },
        "makes no difference",
        make=_no_database,
        undo=_database,
    ),
    "errors.ollama_down": Kind(
        {
            "stopped": "Ollama is stopped",
            "model_removed": "somebody removes the model that the bots use",
        },
        "makes no difference",
        make=_no_ollama,
        undo=_ollama,
        ollama=_no_model,
    ),
    "errors.invalid_input": Kind(
        {
            "malformed": "a release of a client sends ids that are none; they are refused",
            "unhandled": "the same, and a release of the service does not check them",
        },
        "which share of the requests is malformed, in 35 %",
        service=_unchecked,
        load=_malformed,
        deploys=frozenset({"unhandled"}),
    ),
    "errors.rate_limited": Kind(
        {
            "one_client": "one client asks sixty times a second, over its limit of twenty",
            "limit_lowered": "the service is deployed with a limit below what each client usually asks",
        },
        "how often the client asks, or how low the limit is",
        service=_lower,
        load=_hammer,
        deploys=frozenset({"limit_lowered"}),
    ),
    "errors.cache_unavailable": Kind(
        {
            "stopped": "Redis is stopped",
            "full": "another program's import fills Redis, which refuses to write",
            "password_changed": "somebody changes the password of Redis",
            "readonly": "Redis is made a replica of a master that is gone, and refuses to write",
        },
        "makes no difference",
        make=_no_cache,
        undo=_cache,
    ),
}
