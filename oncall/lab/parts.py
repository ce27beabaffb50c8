"""The lab's processes one by one: started, restarted, stopped on purpose, brought back after a crash."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

import oncall
from oncall.errors import LabError
from oncall.lab import place, postgres, servers
from oncall.lab.place import Part, Record
from oncall.lab.process import Server, end, free_port, identity, is_alive, spawn, wait_until

OURS = {"ollama": "/api/version", "service": "/health", "load": None}
"""The lab's own programs, each with the path on which it answers."""
_RELEASE_S = 15
SESSIONS = ("lock", "batch", "slots", "filler", "neighbour", "analytics")
"""Programs of others that faults and scenes start; they end with what started them."""


def of_server(server: Server) -> Part:
    """The part that a started server is."""
    return Part(
        name=server.name,
        pid=server.pid,
        created=server.created,
        log=str(server.log),
        port=server.port,
        version=server.version,
        url=server.url,
        command=server.command,
        cwd=str(server.folder),
    )


def of_python(folder: Path, name: str, module: list[str], port: int | None = None) -> Part:
    """Starts `python -m MODULE ...` of this package; waits until it answers where it is a server."""
    command = [sys.executable, "-m", *module]
    child = spawn(command, folder, folder / f"{name}.out", env=_environment())
    part = Part(
        name=name,
        pid=child.pid,
        created=identity(child.pid),
        log=str(folder / f"{name}.log"),
        port=port,
        url=f"http://127.0.0.1:{port}" if port else None,
        command=tuple(command),
        cwd=str(folder),
    )
    path = OURS.get(name)
    if path:
        wait_until(lambda: servers.answers(f"{part.url}{path}") or gone(part), name)
        if gone(part):
            raise LabError(f"{name} ended as soon as it started ({part.log})")
    return part


def _environment() -> dict[str, str]:
    root = str(Path(oncall.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def gone(part: Part) -> bool:
    """Whether its process has ended."""
    return not is_alive(part.pid, part.created)


def start_service(folder: Path, port: int) -> Part:
    """Starts the sample service with the knobs in force; it answers when this returns."""
    part = of_python(folder, "service", ["oncall.lab.service", str(folder), str(port)], port)
    # A release that comes up has its connections, unless the server has none to give.
    with contextlib.suppress(LabError):
        wait_until(lambda: servers.answers(f"{part.url}/health/db"), "service", seconds=3)
    return part


def restart_service(folder: Path) -> Record:
    """Ends the service and starts it anew on its port, as a deployment does."""
    old = place.running(folder).part("service")
    end(old.pid, old.created)
    part = start_service(folder, old.port or free_port())
    return place.save(folder, place.running(folder).with_part(part))


def restart(folder: Path, name: str) -> None:
    """Ends a part, where it runs, and starts it anew, as its unit would. Raises LabError for one that is none."""
    known = [part.name for part in place.running(folder).parts if part.name not in SESSIONS]
    if name not in known:
        raise LabError(f"the lab has no part {name!r}", hint=f"There are: {', '.join(sorted(known))}.")
    if name == "service":
        restart_service(folder)
        return
    old = place.running(folder).part(name)
    # For Postgres SIGINT is the fast shutdown: it does not wait for its clients.
    end(old.pid, old.created, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    start(folder, name)


def stop(folder: Path, name: str, sign: signal.Signals = signal.SIGTERM) -> None:
    """Ends a part on purpose: written down first, so that nobody takes it for an accident."""
    part = place.running(folder).part(name)
    place.save(folder, place.running(folder).with_part(msgspec.structs.replace(part, stopped=True)))
    end(part.pid, part.created, sign)


def start(folder: Path, name: str) -> None:
    """Starts a part as it was started before, on its port with its files. Raises LabError."""
    old = place.running(folder).part(name)
    if not gone(old):
        return
    if name == "service":
        restart_service(folder)
        return
    deadline = time.monotonic() + _RELEASE_S
    while not _started(folder, old, last=time.monotonic() > deadline):
        time.sleep(0.3)


def _started(folder: Path, old: Part, *, last: bool) -> bool:
    """Starts it; False where it ended at once. Raises LabError where that was the last try.

    After a crash, processes that a server has left behind keep its data for a moment, and it refuses to start."""
    name, log = old.name, Path(old.log)
    child = spawn(
        old.command,
        folder,
        log if name not in OURS else folder / f"{name}.out",
        env=postgres.environment() if name == "postgres" else _environment(),
        user=postgres.other_user() if name == "postgres" else None,
        cwd=Path(old.cwd or folder),
    )
    # Written down before it is awaited: whatever comes in between, it is known.
    fresh = msgspec.structs.replace(old, pid=child.pid, created=identity(child.pid), stopped=False)
    record = place.save(folder, place.running(folder).with_part(fresh))
    try:
        wait_until(_answering(record, fresh), name, child=child, log=log, seconds=60)
    except LabError:
        if last or child.poll() is None:
            raise
        return False
    return True


def _answering(record: Record, part: Part) -> Callable[[], bool]:
    if part.name == "postgres":
        return lambda: postgres.accepts(record.roles["admin"])
    if part.name == "redis":
        return lambda: servers.pings(record.roles["redis"])
    paths = {**OURS, "node-exporter": "/", "prometheus": "/-/ready", "alertmanager": "/-/ready"}
    path = paths.get(part.name)
    return lambda: path is None or servers.answers(f"{part.url}{path}")


def revive(folder: Path) -> tuple[str, ...]:
    """Starts every part of the lab that has ended by accident; which ones."""
    dead = tuple(
        part.name
        for part in place.running(folder).parts
        if part.name not in SESSIONS and not part.stopped and gone(part)
    )
    for name in sorted(dead, key=lambda name: name in OURS):
        start(folder, name)
    return dead


def hold(folder: Path, name: str, words: list[str], seconds: float = 30) -> None:
    """Starts a program of somebody else; returns when it holds what it came for. Raises LabError."""
    held = folder / f"{name}.held"
    held.unlink(missing_ok=True)
    part = of_python(folder, name, ["oncall.lab.holder", str(folder), name, *words])
    part = msgspec.structs.replace(part, log=str(folder / f"{name}.out"))
    place.save(folder, place.running(folder).with_part(part))
    wait_until(lambda: held.exists() or gone(part), name, seconds=seconds)
    if not held.exists():
        raise LabError(f"the program that should break it ended ({part.log})", hint="oncall lab heal")


def let_go(folder: Path, name: str) -> None:
    """Ends a program of somebody else, where it runs, with what it started itself."""
    record = place.running(folder)
    for part in record.parts:
        if part.name == name:
            end(part.pid, part.created, patience=1)
    place.save(folder, record.without_part(name))


def await_answer(folder: Path, path: str, seconds: float) -> bool:
    """Whether the service answers there with 200 within so many seconds."""
    url = f"{place.running(folder).part('service').url}{path}"
    deadline = time.monotonic() + seconds
    while not servers.answers(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
