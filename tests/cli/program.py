"""`oncall` as people and scripts meet it: a process of its own, in a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pexpect
import pyte

# What must not come in from whoever runs the tests.
_FOREIGN = ("PG", "ONCALL_", "_ONCALL", "XDG_", "LC_", "HTTP_", "HTTPS_", "ALL_", "NO_PROXY", "http", "all_")
_LOOK = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "PYTHONIOENCODING", "PYTHONUTF8")


@dataclass(frozen=True)
class Said:
    """What one command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be exactly one JSON document, without NaN or Infinity."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        found = json.loads(self.out, parse_constant=refuse)
        assert isinstance(found, dict)
        assert self.out == self.out.strip() + "\n", "one document, one newline"
        return found

    @property
    def all(self) -> str:
        return self.out + self.err

    @property
    def first(self) -> list[str]:
        """The first lines of a report."""
        return self.out.splitlines()


@dataclass(frozen=True)
class Program:
    """Runs `oncall` below a folder that holds everything it may read or write."""

    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = (sys.executable, "-m", "oncall")

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN) and k not in _LOOK}
        home = {
            "HOME": self.folder / "home",
            "XDG_CONFIG_HOME": self.folder / "config",
            "XDG_STATE_HOME": self.folder / "state",
            "XDG_DATA_HOME": self.folder / "data",
        }
        return {**kept, **{k: str(v) for k, v in home.items()}, "LC_ALL": "C.UTF-8", **self.extra}

    def under(self, **extra: str) -> "Program":
        """The same with other variables of the environment."""
        return Program(self.folder, {**self.extra, **extra}, self.command)

    @property
    def file(self) -> Path:
        return self.folder / "config" / "oncall" / "config.yaml"

    def write(self, text: str) -> Path:
        """The service file, word for word, where the tool looks for it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text, "utf-8")
        self.file.chmod(0o600)
        return self.file

    def services(self, default: str | None = None, **services: Mapping[str, Any]) -> Path:
        """A service file of these services."""
        head = {"default": default} if default else {}
        return self.write(msgspec.yaml.encode({**head, "services": services}).decode())

    def work(self) -> Path:
        """The folder that commands run in."""
        place = self.folder / "work"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def run(self, *words: str, timeout: float = 60) -> Said:
        done = subprocess.run(
            [*self.command, *words],
            env=self.env,
            cwd=self.work(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def paste(self, line: str, timeout: float = 240) -> Said:
        """A command line as a person pastes it into a shell that has `oncall` on its PATH."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{self.env.get('PATH', os.defpath)}"
        shell = Program(self.folder, {**self.extra, "PATH": path}, ("sh", "-c"))
        return shell.run(line, timeout=timeout)

    def json(self, *words: str) -> tuple[dict[str, Any], int]:
        """The document that a command prints as JSON, and its exit code."""
        said = self.run("--output", "json", *words)
        return said.json, said.code

    def start(self, *words: str, columns: int = 80, rows: int = 60) -> "pexpect.spawn[bytes]":
        """The command at a terminal."""
        return pexpect.spawn(
            self.command[0],
            [*self.command[1:], *words],
            env={"TERM": "xterm-256color", **self.env},
            cwd=str(self.work()),
            dimensions=(rows, columns),
            timeout=60,
        )

    def at_terminal(self, *words: str, columns: int = 80) -> tuple[str, int]:
        """Everything that a terminal received, and the exit code."""
        child = self.start(*words, columns=columns)
        text = child.read()
        child.close()
        return bytes(text).decode(), int(child.exitstatus if child.exitstatus is not None else -1)


def screen(text: str, columns: int) -> list[str]:
    """What stands on a terminal of that width at the end."""
    shown = pyte.Screen(columns, 500)
    pyte.Stream(shown).feed(text)
    return [line.rstrip() for line in shown.display]


def step(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    return _one(report["steps"], name)


def signal(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    return _one(report["signals"], name)


def cause(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    return _one(report["causes"], name)


def rows(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of a step, each by its columns' names."""
    found = step(report, name)
    assert found["status"] == "ok", found["reason"]
    names = [column["name"] for column in found["columns"]]
    return [dict(zip(names, row, strict=True)) for row in found["rows"]]


def unseen(report: Mapping[str, Any], what: str) -> dict[str, Any]:
    """What is said to be unread, by the first word of its name."""
    return next(u for u in report["unseen"] if u["what"].startswith(what))


def _one(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["id"] == name)
