"""What the bench runs against: a lab of its own, helpers in processes of their own, service files."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from oncall.lab import schema, stack
from oncall.lab.servers import Server, start_postgres, stop
from tests.bench.measure import Program
from tests.bench.script import report_of

ONCALL = str(Path(sys.executable).with_name("oncall"))
_PATIENCE_S = 90.0
Fields = dict[str, Any]


@dataclass(frozen=True)
class Stand:
    """A lab of its own. `service` is the content of its service file."""

    folder: Path
    service: Fields

    @property
    def env(self) -> dict[str, str]:
        """Ours, with folders of the bench's own; nothing that would lead libpq or Python elsewhere.

        Modules are compiled, as an installation leaves them, also where this checkout's are not."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "ONCALL_", "PYTHON"))}
        kept["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")
        homes = {f"XDG_{kind}_HOME": str(self.folder / kind.lower()) for kind in ("DATA", "STATE", "CONFIG")}
        return {**kept, **homes}

    def service_file(self, name: str, **changed: object) -> Path:
        """A service file `bench` that is the lab's but for what is changed."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"services": {"bench": {**self.service, **changed}}}))
        path.chmod(0o600)
        return path

    def diagnosis(self, name: str, service_file: Path, *issue: str) -> Program:
        """`oncall diagnose` (pool, unless told; all issues for `all`), once all that it asks for can be read."""
        words = [] if issue == ("all",) else issue or ["pool"]
        command = [ONCALL, "--config", str(service_file), "-s", "bench", "diagnose", *words]
        self._await_whole(command)
        return Program(name, command, self.env, frozenset({0, 1, 2}))

    def _await_whole(self, command: list[str]) -> None:
        """A diagnosis that fails to read something is faster: none is measured before all can be read."""
        deadline = time.monotonic() + _PATIENCE_S
        while gaps := _gaps(report_of(command, self.env)):
            if time.monotonic() > deadline:
                raise RuntimeError("not all could be read: " + "; ".join(gaps))
            time.sleep(1)


def _gaps(report: Mapping[str, Any]) -> list[str]:
    issues = report.get("diagnoses", [report])
    steps = (s for issue in issues for s in issue["steps"] if s["status"] == "failed")
    signals = (
        s
        for issue in issues
        for s in issue["signals"]
        # A formula needs a history of its own, or what this lab has none of
        if s["value"] is None and s["source"] == "prometheus" and not s["reason"].startswith("does not apply")
    )
    return [f"{s['id']}: {s['reason']}" for one in (steps, signals) for s in one]


@contextlib.contextmanager
def lab() -> Iterator[Stand]:
    """A lab in a temporary folder, gone at the end, however that comes."""
    folder = Path(tempfile.mkdtemp(prefix="oncall-bench-"))
    # Postgres may run as another user, which must pass through.
    folder.chmod(0o711)
    home = folder / "data" / "oncall" / "lab"
    try:
        stack.up(home, None, 7, lambda _: None)
        content = yaml.safe_load((home / "service.yaml").read_text())
        yield Stand(folder, content["services"]["lab"])
    finally:
        stack.down(home)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def helper(module: str, *words: object, first: str = "") -> Iterator[str]:
    """A program of this folder; gives its first line of output, and ends it by ending its input."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, words)]
    root = Path(__file__).parents[2]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        if first:
            child.stdin.write(first + "\n")
            child.stdin.flush()
        line = child.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{module} ended with code {child.wait(10)}")
        yield line
    finally:
        child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
        child.kill()
        child.wait()


@contextlib.contextmanager
def postgres(folder: Path, settings: Mapping[str, str]) -> Iterator[tuple[Server, str]]:
    """A Postgres of its own; gives it with the DSN of a role `oncall` that may read all statistics."""
    folder.mkdir(mode=0o711)
    server = start_postgres(folder, settings={**schema.settings(None), **settings})
    try:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            for statement in (
                "CREATE ROLE oncall LOGIN PASSWORD 'bench'",
                "GRANT pg_monitor TO oncall",
                "CREATE EXTENSION pg_stat_statements",
            ):
                connection.execute(statement.encode())
        yield server, f"postgresql://oncall:bench@127.0.0.1:{server.port}/postgres"
    finally:
        stop(server)


def ports(urls: Sequence[str]) -> list[int]:
    """The port of each address."""
    from urllib.parse import urlsplit

    return [urlsplit(url).port or 0 for url in urls]
