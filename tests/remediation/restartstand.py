"""What the tests of restarts share: an action from its look to its proof, and a small service to be restarted."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from oncall.clients.postgres import opened
from oncall.model import Next
from oncall.model_acts import Check, GuardReport, GuardState, TargetResult
from oncall.model_service import Service
from oncall.remediation.action import Action, Found, Scene, Work
from oncall.remediation.actions.restart_command import CommandWork
from oncall.remediation.actions.restart_unit import UnitWork

DEADLINE_S = 20.0
SERVER = """
import http.server, sys, time
STARTED = time.time()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        health = self.path == "/health"
        text = '{"status": "healthy"}' if health else f"process_start_time_seconds {STARTED}\\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if health else "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@dataclass
class Told:
    """What an action said and did."""

    found: Found
    results: list[TargetResult] = field(default_factory=list)
    checks: tuple[Check, ...] = ()
    offers: tuple[Next, ...] = ()
    lines: list[str] = field(default_factory=list)

    @property
    def result(self) -> TargetResult:
        (one,) = self.results
        return one

    def guard(self, name: str) -> GuardReport:
        return guard(self.found, name)


def guard(found: Found, name: str) -> GuardReport:
    (one,) = [g for g in found.guards if g.name == name]
    return one


def verdicts(found: Found) -> dict[str, GuardState]:
    return {g.name: g.state for g in found.guards}


@asynccontextmanager
async def at_work(action: Action, service: Service) -> AsyncIterator[Work]:
    session = opened(service.postgres, DEADLINE_S) if service.postgres else nullcontext()
    async with session as link:
        scene = Scene("bot", service, link, DEADLINE_S, ("-s", "bot"))
        async with action.work(scene) as work:
            yield work


def plan(action: Action, service: Service) -> Found:
    """The look alone."""

    async def look() -> Found:
        async with at_work(action, service) as work:
            return work.found

    return asyncio.run(look())


def acted(
    action: Action,
    service: Service,
    *,
    wait_s: float = 30,
    watch_s: float = 1.0,
    patience_s: float | None = None,
    between: Callable[[], object] = lambda: None,
) -> Told:
    """The whole way. `between` happens after the look; `patience_s` is how long the act itself is awaited."""

    async def act() -> Told:
        async with at_work(action, service) as work:
            told = Told(work.found)
            if isinstance(work, UnitWork):
                work.watch_s, work.cap_s = watch_s, patience_s or work.cap_s
            if isinstance(work, CommandWork):
                work.deadline_s = patience_s or work.deadline_s
            between()
            async for result in work.apply(told.lines.append):
                told.results.append(result)
            until = asyncio.get_running_loop().time() + wait_s
            told.checks = await work.checks(told.results, until, told.lines.append)
            told.offers = work.offers(told.results)
            return told

    return asyncio.run(act())


def path_with(*folders: Path) -> str:
    return ":".join([*map(str, folders), os.environ["PATH"]])


def server_words(folder: Path, port: int) -> list[str]:
    """The command of a service that answers /health, and /metrics with the start of its process."""
    script = folder / "little_service.py"
    script.write_text(SERVER)
    return [sys.executable, str(script), str(port)]


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(json.load(answer)["status"] == "healthy")
    except OSError:
        return False


def keep_journal(folder: Path, monkeypatch: pytest.MonkeyPatch, unit: str, *invocations: str) -> None:
    """A journal as the system's manager would have written it: the tests' own manager writes to its console."""
    folder.mkdir(exist_ok=True)
    now = int(time.time() * 1e6)
    fields = [
        f"__REALTIME_TIMESTAMP={now - i}\n__MONOTONIC_TIMESTAMP={5_000_000 + i}\n_BOOT_ID={'a' * 32}\n"
        f"_PID=1\n_UID=0\n"
        f"MESSAGE=Started {unit}.\nMESSAGE_ID=39f53479d3a045ac8e11786248231fbf\n"
        f"UNIT={unit}\nINVOCATION_ID={invocation}\n\n"
        for i, invocation in enumerate(invocations)
    ]
    (folder / "x.export").write_text("".join(fields))
    remote = "/lib/systemd/systemd-journal-remote"
    subprocess.run([remote, "-o", folder / "x.journal", folder / "x.export"], check=True, capture_output=True)
    shim = folder / "journalctl"
    shim.write_text(
        f'#!/bin/sh\nexec {shutil.which("journalctl", path="/usr/bin:/bin")} --file {folder}/x.journal "$@"\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", path_with(folder))
