"""Labs of real servers: one for each Postgres version in a session, and as many as a test wants of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from oncall.lab import place, watch
from oncall.lab.place import Record
from oncall.lab.process import marked


@dataclass(frozen=True)
class Lab:
    """A lab in a data folder of its own; `env` goes over the environment of its commands."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    version: int | None = None

    @property
    def folder(self) -> Path:
        return self.home / "oncall" / "lab"

    @property
    def record(self) -> Record:
        return place.running(self.folder)

    @property
    def pool(self) -> watch.Pool:
        return watch.pool(self.record)

    def command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        env = {**os.environ, "XDG_DATA_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "none")}
        return [sys.executable, "-m", "oncall", "lab", *words], {**env, **self.env}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command, env = self.command(*words)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)

    def do(self, *words: str) -> str:
        """Runs a command that must succeed; what it said, on both streams."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def diagnose(self, issue: str = "pool") -> dict[str, Any]:
        """What `oncall diagnose` says of the lab now, with its exit code."""
        _, env = self.command()
        words = [sys.executable, "-m", "oncall", "-s", "lab", "diagnose", issue, "--output", "json"]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=90, check=False)
        found: dict[str, Any] = {**json.loads(done.stdout), "exit": done.returncode}
        return found

    def paste(self, line: str, state: Path) -> dict[str, Any]:
        """What a command line says as JSON, as a person pastes it into a shell, with its exit code."""
        _, env = self.command()
        path = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
        done = subprocess.run(
            ["sh", "-c", f"{line} --output json"],
            env={**env, "PATH": path, "XDG_STATE_HOME": str(state)},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.stdout, done.stderr
        said: dict[str, Any] = {**json.loads(done.stdout), "exit": done.returncode}
        return said

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        command, env = self.command(*words)
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def leaves_nothing(self) -> bool:
        return not marked(self.folder) and not self.folder.exists() and not list(self.home.iterdir())


def handed_over(lab: Lab, cause: str) -> str:
    """The command that the diagnosis prints, as soon as it puts the cause first and has one."""
    handed: list[str] = []

    def first() -> bool:
        found = lab.diagnose(cause.partition(".")[0])["causes"][0]
        handed[:] = [step["command"] for step in found["next"]] if found["id"] == cause else []
        return bool(handed)

    until(first, 60)
    return handed[0]


def closes_the_circle(lab: Lab, cause: str, state: Path) -> None:
    """The command that the diagnosis hands over is run as it stands, acts, and proves that it helped."""
    proves(lab, handed_over(lab, cause), state)


def proves(lab: Lab, command: str, state: Path) -> None:
    """A command acts, and proves that it helped."""
    done = lab.paste(command, state)
    if done["plan"]["action"] == "resize-pool":
        # It is written, and takes effect with the restart that it offers.
        assert done["exit"] == 0, done
        done = lab.paste(done["next"][0]["command"], state)
    assert done["outcome"] == "done", done
    assert done["verification"]["result"] == "fixed", done["verification"]
    assert done["exit"] == 0


def until(wanted: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def labs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], Lab]]:
    """The session's lab of a Postgres version, started when first asked for."""
    started: dict[int, Lab] = {}

    def lab(version: int) -> Lab:
        if version not in started:
            started[version] = Lab(tmp_path_factory.mktemp(f"lab{version}"), version=version)
            started[version].do("up", "--postgres", str(version), "--seed", "7")
        return started[version]

    def close() -> None:
        while started:
            _, one = started.popitem()
            one.do("down")
            assert one.leaves_nothing()

    if hasattr(request.config, "workerinput"):
        from tests import workers

        # A group is of one version: its lab has no more visitors.
        workers.at_end(request.config, "lab-1", close)
    yield lab
    close()


@pytest.fixture(params=[15, 18])
def lab(request: pytest.FixtureRequest, labs: Callable[[int], Lab]) -> Lab:
    """A healthy lab, of each version in turn."""
    return labs(request.param)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab that this test alone starts and ends."""
    lab = Lab(tmp_path)
    yield lab
    lab.run("down")
