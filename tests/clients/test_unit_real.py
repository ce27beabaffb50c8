"""The unit's state from a real systemd: a private user manager, whose units do what units do at night."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from oncall.clients import unit
from oncall.clients.systemd import meet
from oncall.model import Absence, Met, Scalar, Table, Unavailable
from tests.clients.systemdstand import ILL, Systemd, manager_with

UNITS = {
    "fine.service": """
        [Service]
        ExecStart=/bin/sleep 1000
        MemoryMax=64M
        MemoryHigh=32M
        TasksMax=7
        Restart=on-failure
        """,
    **ILL,
    "eats.service": """
        [Service]
        ExecStart=/bin/sh -c 'tail /dev/zero; exec sleep 1000'
        MemoryMax=16M
        MemorySwapMax=0
        OOMPolicy=continue
        """,
    "dies.service": """
        [Service]
        ExecStart=/bin/sh -c 'kill -9 $$$$'
        """,
    "stubborn.service": """
        [Service]
        Type=notify
        NotifyAccess=all
        ExecStart=/bin/sh -c 'trap "" TERM; systemd-notify --ready; while :; do sleep 1000; done'
        TimeoutStopSec=infinity
        """,
    "bad.service": "[Service]\nRestart=always\n",
}


@pytest.fixture(scope="module")
def manager() -> Iterator[Systemd]:
    yield from manager_with(UNITS)


@pytest.fixture(autouse=True)
def on_path(manager: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product asks the system's manager; here `systemctl` is one that asks ours."""
    monkeypatch.setenv("PATH", f"{manager.shim.parent}:{os.environ['PATH']}")


def looked(name: str) -> tuple[dict[str, Scalar], tuple[str, ...]]:
    reading = asyncio.run(unit.state(name, None, 10))
    assert isinstance(reading.answer, Table), reading.answer
    assert len(reading.answer.rows) == 1
    names = (column.name for column in reading.answer.columns)
    return dict(zip(names, reading.answer.rows[0], strict=True)), reading.answer.notes


def of(found: dict[str, Scalar], *names: str) -> tuple[Scalar, ...]:
    return tuple(found[name] for name in names)


def test_a_unit_that_is_fine(manager: Systemd) -> None:
    manager.ctl("start", "fine")
    found, notes = looked("fine")
    assert of(found, "unit", "load", "state", "sub") == ("fine.service", "loaded", "active", "running")
    assert of(found, "result", "restarts", "restart_policy") == ("success", 0, "on-failure")
    assert of(found, "memory_max", "memory_high", "tasks_max") == (2**26, 2**25, 7)
    assert isinstance(found["active_s"], float)
    assert 0 <= found["active_s"] < 100
    assert isinstance(found["pid"], int)
    assert notes == ()
    accounted = manager.shown("fine", "MemoryCurrent").isdecimal()
    # Where the kernel does not account for memory, it is unknown and not nothing
    assert (found["memory"] is not None, found["memory_ratio"] is not None) == (accounted, accounted)
    if accounted:
        assert isinstance(found["memory"], int)
        assert isinstance(found["memory_ratio"], float)
        assert 0 < found["memory_ratio"] < 1
        assert of(found, "tasks", "oom_kills") == (1, 0)


def test_a_stopped_unit_is_neither_active_nor_failed(manager: Systemd) -> None:
    manager.ctl("start", "fine")
    manager.ctl("stop", "fine")
    found, notes = looked("fine")
    assert of(found, "state", "sub", "active_s", "pid", "memory", "memory_ratio", "tasks", "cpu_s") == (
        "inactive", "dead", None, None, None, None, None, None,
    )  # fmt: skip
    assert notes == ()


def test_a_crash_loop_that_systemd_gave_up(manager: Systemd) -> None:
    manager.ctl("start", "gives-up", check=False)
    manager.wait("gives-up", "ActiveState", lambda state: state == "failed")
    found, notes = looked("gives-up")
    # The result is that of the last try: nothing in it says that the start limit was hit
    assert of(found, "state", "result", "restarts", "active_s") == ("failed", "exit-code", 3, None)
    assert notes == ("it crashed in a loop (exit-code): systemd gave up after 3 restarts",)


def test_a_crash_loop_that_goes_on(manager: Systemd) -> None:
    manager.ctl("start", "loops", check=False)
    manager.wait("loops", "SubState", lambda sub: sub == "auto-restart")
    found, notes = looked("loops")
    assert of(found, "state", "sub", "result") == ("activating", "auto-restart", "exit-code")
    assert "it keeps crashing (exit-code) and waits to be started again" in notes[0]
    assert isinstance(asyncio.run(meet("loops", None, 10)), Met)


def test_a_unit_that_never_says_that_it_is_ready(manager: Systemd) -> None:
    manager.ctl("start", "--no-block", "never-ready")
    manager.wait("never-ready", "SubState", lambda sub: sub == "start")
    found, notes = looked("never-ready")
    assert of(found, "state", "sub", "active_s") == ("activating", "start", None)
    assert "has not said that it is ready" in notes[0]


def test_a_unit_that_ignores_sigterm(manager: Systemd) -> None:
    manager.ctl("start", "stubborn")
    manager.ctl("stop", "--no-block", "stubborn")
    manager.wait("stubborn", "ActiveState", lambda state: state == "deactivating")
    found, notes = looked("stubborn")
    assert of(found, "sub", "active_s") == ("stop-sigterm", None)
    assert notes == ("it was told to stop and has not ended yet (stop-sigterm)",)


def test_a_unit_that_was_killed(manager: Systemd) -> None:
    manager.ctl("start", "dies", check=False)
    manager.wait("dies", "ActiveState", lambda state: state == "failed")
    found, notes = looked("dies")
    assert of(found, "state", "result", "restarts") == ("failed", "signal", 0)
    assert notes == ("it has failed (signal) and is not started again",)


def test_processes_that_the_kernel_killed_for_their_memory_are_counted(manager: Systemd) -> None:
    manager.ctl("start", "eats")
    if not manager.shown("eats", "MemoryCurrent").isdecimal():
        pytest.skip("the kernel does not account for memory here")
    manager.wait("eats", "TasksCurrent", lambda tasks: tasks == "1" and bool(looked("eats")[0]["oom_kills"]))
    found, _ = looked("eats")
    assert of(found, "state", "oom_kills") == ("active", 1)
    assert isinstance(found["memory_peak"], int)
    assert 2**22 < found["memory_peak"] <= 2**24


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no-such-unit", "there is no unit no-such-unit.service on this machine (not-found)"),
        ("hidden", "unit hidden.service is masked on this machine"),
        ("bad", "its file has a mistake (bad-setting)"),
    ],
)
def test_a_unit_that_cannot_run_is_told_from_one_that_is_stopped(name: str, says: str) -> None:
    answer = asyncio.run(unit.state(name, None, 10)).answer
    assert isinstance(answer, Unavailable)
    assert answer.kind is Absence.CONFIG
    assert says in answer.reason
    assert isinstance(asyncio.run(meet(name, None, 10)), Unavailable)


def test_a_unit_whose_file_is_gone_but_that_runs(manager: Systemd) -> None:
    manager.add("gone.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    manager.ctl("start", "gone")
    (manager.units / "gone.service").unlink()
    manager.ctl("daemon-reload")
    found, notes = looked("gone")
    assert of(found, "load", "state") == ("not-found", "active")
    assert "could not be started again" in notes[0]
