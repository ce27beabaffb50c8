"""The lab as a whole: up, status, down."""

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import msgspec

from oncall.errors import LabError
from oncall.lab import parts, place, schema, servers
from oncall.lab.place import Fault, LoadKnobs, OllamaKnobs, Part, Record, ServiceKnobs
from oncall.lab.postgres import major_version
from oncall.lab.process import EXTRA, Server, end, free_port, is_alive, load_psutil, marked, remove
from oncall.model import Frozen

Say = Callable[[str], None]


class PartState(Frozen, frozen=True):
    """One process as it is now. `age_s` in seconds; None where it does not run.

    `on_purpose`: it does not run because a fault stopped it."""

    name: str
    alive: bool
    port: int | None
    pid: int
    version: str | None
    age_s: float | None
    on_purpose: bool = False


class Status(Frozen, frozen=True, tag_field="schema", tag="oncall/lab/1"):
    """The lab as it is now. `state`: up, partly (something in it has ended, or `up` never did), down."""

    state: str
    folder: str
    config: str | None = None
    age_s: float | None = None
    seed: int | None = None
    url: str | None = None
    parts: tuple[PartState, ...] = ()
    faults: tuple[Fault, ...] = ()
    absent: tuple[str, ...] = ()


def require() -> None:
    """Raises LabError where the extra `lab` is not installed."""
    missing = [name for name in ("psutil", "psycopg_pool") if find_spec(name) is None]
    if missing:
        raise LabError(f"the lab needs {' and '.join(missing)}", hint=EXTRA)


# --- up --------------------------------------------------------------------------------------


def up(folder: Path, version: int | None, seed: int | None, say: Say) -> Record:
    """Starts everything that this machine has; `seed` fixes the data and the users' moves.

    Raises LabError where the lab is up already, or something that it cannot be without does not start."""
    require()
    binaries = servers.find_binaries(version), servers.find_redis()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        # Postgres runs as another user, which must pass through; the files in here stay closed to it.
        folder.chmod(0o711)
    with place.alone(folder):
        if place.record(folder) is not None:
            raise already(folder)
        say(f"PostgreSQL from {binaries[0]}, Redis from {binaries[1]}")
        try:
            return _build(folder, version, secrets.randbelow(1000) if seed is None else seed, say)
        except BaseException:
            _tear_down(folder)
            raise


def already(folder: Path) -> LabError:
    """What to say to whoever starts a lab twice."""
    state = status(folder).state
    hint = "oncall lab status" if state == "up" else "oncall lab down, then oncall lab up"
    return LabError(f"the lab is already {'up' if state == 'up' else 'half up'} in {folder}", hint=hint)


def _build(folder: Path, version: int | None, seed: int, say: Say) -> Record:
    record = place.save(folder, Record(started=time.time(), seed=seed))
    for name, usual in (("service", ServiceKnobs()), ("load", LoadKnobs()), ("ollama", OllamaKnobs())):
        place.write(folder / f"{name}.json", usual)
    service_port, ollama_port = free_port(), free_port()
    with ThreadPoolExecutor(4) as pool:
        database = pool.submit(_database, folder, version, seed)
        cache = pool.submit(_cache, folder)
        watchers = pool.submit(_watchers, folder, service_port)
        postgres, roles = database.result()
        redis, cache_roles = cache.result()
        monitors, absent = watchers.result()
        found = [parts.of_server(server) for server in (postgres, redis, *monitors)]
    say(f"PostgreSQL {postgres.version} and Redis accept connections; {schema.MESSAGES:,} messages are in")
    for name in absent:
        say(name)
    found.append(
        parts.of_python(folder, "ollama", ["oncall.lab.ollama", str(folder), str(ollama_port)], ollama_port)
    )
    record = msgspec.structs.replace(
        record, parts=tuple(found), roles=roles | cache_roles, absent=(*postgres.notes, *absent)
    )
    place.save(folder, record)
    record = place.save(folder, record.with_part(parts.start_service(folder, service_port)))
    record = record.with_part(parts.of_python(folder, "load", ["oncall.lab.load", str(folder)]))
    place.write(folder / place.SERVICE_FILE, service_file(folder, record))
    record = place.save(folder, msgspec.structs.replace(record, ready=True))
    say(f"the sample service answers on 127.0.0.1:{service_port}, its users are at work")
    return record


def _database(folder: Path, version: int | None, seed: int) -> tuple[Server, dict[str, str]]:
    found = servers.find_binaries(version)
    major = major_version(found)
    server = servers.start_postgres(folder, version=version, settings=schema.settings(major))
    roles = schema.build(server, seed)
    # Only then: on a busy machine the rows would take minutes.
    _yield_to_others(server.pid)
    return server, roles


def _yield_to_others(pid: int) -> None:
    """Lowers the priority of a process: a lab full of slow queries leaves the machine usable."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, 10)


def _cache(folder: Path) -> tuple[Server, dict[str, str]]:
    """Redis, which refuses to grow beyond its limit; and the URL of a user who gets in when others do not."""
    secret = secrets.token_urlsafe(12)
    limits = {"maxmemory": str(place.REDIS_LIMIT), "maxmemory-policy": "noeviction"}
    server = servers.start_redis(folder, settings={**limits, "user": f"admin on >{secret} ~* &* +@all"})
    return server, {"redis": f"redis://admin:{secret}@127.0.0.1:{server.port}/0"}


def _watchers(folder: Path, service_port: int) -> tuple[list[Server], list[str]]:
    """What watches, where this machine has it; what is absent, and what would install it."""
    found: list[Server] = []
    absent: list[str] = []

    def attempt(title: str, start: Callable[[], Server]) -> str | None:
        try:
            found.append(start())
        except LabError as error:
            absent.append(f"without {title}: {error}; {error.hint}")
            return None
        return found[-1].url

    alerts = attempt("Alertmanager", lambda: servers.start_alertmanager(folder))
    targets = {"bot-controller": [f"127.0.0.1:{service_port}"]}
    node = attempt("the node exporter", lambda: servers.start_node_exporter(folder))
    if node:
        targets["node"] = [node.removeprefix("http://")]
    attempt("Prometheus", lambda: servers.start_prometheus(folder, targets, "1s", alertmanager=alerts))
    return found, absent


def service_file(folder: Path, record: Record) -> str:
    """The service file that makes the lab the service `lab`."""
    import yaml

    service: dict[str, object] = {"environment": "lab", "url": record.url("service")}
    if record.url("prometheus"):
        service["prometheus"] = {"url": record.url("prometheus"), "selector": {"job": "bot-controller"}}
    if record.url("alertmanager"):
        service["alertmanager"] = {"url": record.url("alertmanager")}
    again = [*_program(), "lab", "restart"]
    postgres: dict[str, object] = {
        "dsn": record.roles["oncall"],
        "application_name": "bot-controller",
        "restart": {"command": [*again, "postgres"]},
    }
    if "oncall_reserve" in record.roles:
        postgres["reserve_dsn"] = record.roles["oncall_reserve"]
    service |= {
        "postgres": postgres,
        "redis": {"url": record.url("redis"), "cache": ["cache:"]},
        "ollama": {"url": record.url("ollama")},
        "logs": {"file": str(folder / "service.log")},
        "restart": {"command": again},
        "pool": {"file": str(folder / "service.json"), "key": "pool"},
        "cooldown": "30s",
        "limits": {"memory": f"{place.MEMORY_LIMIT // 1_000_000}MB", "pool": place.POOL},
        "windows": {"rate": "15s", "baseline": "2m"},
    }
    head = "# Written by `oncall lab up`; `oncall lab down` removes it.\n"
    return head + yaml.safe_dump({"services": {"lab": service}}, sort_keys=False)


def _program() -> list[str]:
    """How this installation of oncall is called from anywhere."""
    script = Path(sys.executable).with_name("oncall")
    if not script.exists():
        return [sys.executable, "-m", "oncall"]
    return ["oncall"] if shutil.which("oncall") == str(script) else [str(script)]


# --- status ----------------------------------------------------------------------------------


def status(folder: Path) -> Status:
    """The lab as it is now."""
    record = place.record(folder)
    if record is None:
        leftover = bool(marked(folder))
        return Status(state="partly" if leftover else "down", folder=str(folder))
    states = tuple(_state(part) for part in record.parts)
    whole = record.ready and all(part.alive or part.on_purpose for part in states)
    return Status(
        state="up" if whole else "partly",
        folder=str(folder),
        config=str(folder / place.SERVICE_FILE) if record.ready else None,
        age_s=round(time.time() - record.started, 1),
        seed=record.seed,
        url=record.url("service"),
        parts=states,
        faults=record.faults,
        absent=record.absent,
    )


def _state(part: Part) -> PartState:
    alive = is_alive(part.pid, part.created)
    age = round(time.time() - part.created, 1) if alive else None
    return PartState(
        name=part.name,
        alive=alive,
        port=part.port,
        pid=part.pid,
        version=part.version,
        age_s=age,
        on_purpose=part.stopped and not alive,
    )


# --- down ------------------------------------------------------------------------------------


def down(folder: Path) -> bool:
    """Ends every process of the lab and removes its files, in whatever state. False: there was nothing."""
    load_psutil()
    if not folder.exists():
        return _end_all(folder, None) > 0
    with place.alone(folder):
        _tear_down(folder)
    return True


def _tear_down(folder: Path) -> None:
    record = None
    # A record that cannot be read is no reason to leave anything behind: the marks suffice.
    with contextlib.suppress(LabError):
        record = place.record(folder)
    _end_all(folder, record)
    remove(place.outside(folder))
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise LabError(f"could not remove {folder}", hint=f"rm -rf {folder}")
    # The folder above is ours too, once nothing else is in it.
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _end_all(folder: Path, record: Record | None) -> int:
    """Ends recorded and marked processes until none is found; how many there were."""
    ended = 0
    known = [(part.pid, part.created) for part in record.parts] if record else []
    for _ in range(20):
        found = {*known, *marked(folder)}
        if not found:
            break
        _end_together(found)
        ended += len(found)
        known = []
    return ended


def _end_together(found: set[tuple[int, float]]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(_end_one, pid, created) for pid, created in found]:
            done.result()


def _end_one(pid: int, created: float) -> None:
    import signal

    psutil = load_psutil()
    first = signal.SIGTERM
    with contextlib.suppress(psutil.Error):
        # SIGQUIT: the immediate shutdown of Postgres, which also removes its shared memory.
        first = signal.SIGQUIT if psutil.Process(pid).name().startswith("postgres") else first
    end(pid, created, first)
