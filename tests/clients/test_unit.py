"""The unit's state, as recorded systemctl answers tell it, and what is asked, refused or cannot be had."""

import asyncio
import os
import re
import stat
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients import unit
from oncall.config_rules import service_complaints
from oncall.model import Absence, Scalar, StepReading, Table, Unavailable
from oncall.model_service import Service
from tests.cli.program import Program

# Of systemd 252 on Debian 12: a web server with limits; and what 219 (CentOS 7) tells of one
DEBIAN = """
    Restart=on-failure\nResult=success\nNRestarts=2\nMainPID=812\nControlGroup=/system.slice/bot.service
    MemoryCurrent=1610612736\nCPUUsageNSec=93412500000\nTasksCurrent=31\nTasksMax=4915\nMemoryHigh=1610612736
    MemoryMax=2147483648\nMemoryLimit=infinity\nId=bot.service\nLoadState=loaded\nActiveState=active
    SubState=running\nInactiveExitTimestamp=Mon 2026-01-05 03:00:00 UTC
    ActiveEnterTimestamp=Mon 2026-01-05 03:00:01 UTC"""
CENTOS = """
    Restart=no\nMainPID=0\nResult=success\nMemoryCurrent=18446744073709551615\nTasksMax=18446744073709551615
    MemoryLimit=18446744073709551615\nId=bot.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead
    CPUUsageNSec=[not set]\nTasksCurrent=[no data]\nActiveEnterTimestamp=\nInactiveExitTimestamp=n/a"""
NOW = 1767582101  # 2026-01-05 03:01:41 UTC


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program of that name first on PATH; `ssh` runs its words as sshd does: one line for a shell."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def add(name: str, body: str) -> None:
        (tmp_path / name).write_text("#!/bin/sh\n" + textwrap.dedent(body), "utf-8")
        (tmp_path / name).chmod(stat.S_IRWXU)

    add("ssh", 'while [ "$1" != -- ]; do shift; done; shift 2; exec sh -c "$*"\n')
    return add


def shows(text: str) -> str:
    return f"cat <<'.'\n{textwrap.dedent(text).strip()}\n.\n".replace("\n    ", "\n")


def row(reading: StepReading) -> dict[str, Scalar]:
    assert isinstance(reading.answer, Table), reading.answer
    assert len(reading.answer.rows) == 1
    return dict(zip((c.name for c in reading.answer.columns), reading.answer.rows[0], strict=True))


def absent(reading: StepReading) -> Unavailable:
    assert isinstance(reading.answer, Unavailable), reading.answer
    return reading.answer


def asked(name: str = "bot", ssh: str | None = None, deadline_s: float = 10) -> StepReading:
    return asyncio.run(unit.state(name, ssh, deadline_s))


def test_every_column_of_a_unit_with_limits(programs: Callable[[str, str], None]) -> None:
    """By ssh: the clock there tells how long it is active, whatever the clock here says."""
    programs("systemctl", shows(DEBIAN))
    programs("date", f"echo Now={NOW}\n")
    assert row(asked(ssh="ops@app-1")) == {
        "unit": "bot.service", "load": "loaded", "state": "active", "sub": "running", "result": "success",
        "restarts": 2, "active_s": 100.0, "pid": 812,
        "memory": 1610612736, "memory_max": 2147483648, "memory_high": 1610612736, "memory_ratio": 1.0,
        "memory_peak": None, "swap": None, "cpu_s": 93.4125, "tasks": 31, "tasks_max": 4915,
        "oom_kills": None, "restart_policy": "on-failure",
    }  # fmt: skip


@pytest.mark.parametrize("ssh", [None, "ops@app-1"])
def test_what_an_old_version_does_not_tell_is_none(
    programs: Callable[[str, str], None], ssh: str | None
) -> None:
    programs("systemctl", shows(CENTOS))
    found = row(asked(ssh=ssh))
    assert (found["state"], found["restart_policy"], found["result"]) == ("inactive", "no", "success")
    known = {"unit", "load", "state", "sub", "result", "restart_policy"}
    assert {name for name, value in found.items() if value is not None} == known


def test_the_query_can_be_pasted_and_names_one_unit(programs: Callable[[str, str], None]) -> None:
    programs("systemctl", 'for last; do :; done; echo "LoadState=loaded"; echo "Id=$last"\n')
    for given_name, meant in (("bot", "bot.service"), ("bot.timer", "bot.timer"), ("12", "12.service")):
        reading = asked(given_name)
        assert row(reading)["unit"] == meant
        assert re.fullmatch(rf"systemctl show --no-pager --property=[\w,]+ -- {meant}", reading.query or "")
    assert reading.source == "systemd"


# --- states that are easily misread ------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ("ActiveState=active\nSubState=running\nNRestarts=3", ()),
        (
            "ActiveState=activating\nSubState=auto-restart\nResult=exit-code\nNRestarts=3",
            ("it keeps crashing (exit-code) and waits to be started again: 3 restarts so far",),
        ),
        (
            "ActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=5",
            ("it crashed in a loop (exit-code): systemd gave up after 5 restarts",),
        ),
        (
            "ActiveState=failed\nResult=oom-kill\nNRestarts=0",
            ("it has failed (oom-kill) and is not started again",),
        ),
        (
            "ActiveState=activating\nSubState=start\nInactiveExitTimestamp=Mon 2026-01-05 03:01:00 UTC",
            ("it is starting since 41 s and has not said that it is ready (0 restarts so far)",),
        ),
        (
            "LoadState=not-found\nActiveState=active",
            ("its unit file is not-found: it still has a state, but could not be started again",),
        ),
        ("ActiveState=inactive\nSubState=dead\nResult=success", ()),
    ],
)
def test_what_a_state_means_is_said(
    programs: Callable[[str, str], None], shown: str, says: tuple[str, ...]
) -> None:
    programs("systemctl", shows(f"LoadState=loaded\n{shown}"))
    programs("date", f"echo Now={NOW}\n")
    answer = asked(ssh="app-1").answer
    assert isinstance(answer, Table)
    assert answer.notes == says


_VALUES = (
    st.integers(-5, 2**65).map(str)
    | st.sampled_from(
        ["[not set]", "infinity", "active", "failed", "Mon 2026-01-05 03:01:00 UTC", "²", "n/a"]
    )
    | st.text("0189 -:.eE+_[]naif²\t", max_size=30)
)


@given(
    st.dictionaries(st.sampled_from(unit.PROPERTIES.split(",")), _VALUES),
    st.floats(0, 2**40),
)
def test_no_answer_of_systemctl_raises_or_makes_up_a_number(shown: dict[str, str], now: float) -> None:
    """Whatever it says: numbers are within 64 bits, and are the ones that stand there."""
    found = dict(zip((c.name for c in unit.COLUMNS), unit._row("x", shown, {}, now), strict=True))
    assert all(isinstance(note, str) for note in unit.notes(shown, now))
    for column, name in (("memory", "MemoryCurrent"), ("tasks", "TasksCurrent"), ("restarts", "NRestarts")):
        number = found[column]
        assert number is None or (isinstance(number, int) and int(shown[name]) == number < 2**64 - 1)
    assert found["active_s"] is None or shown["ActiveState"] in ("active", "reloading")


# --- what is refused, and what cannot be had -----------------------------------------------------

REFUSED = [
    "o*.service",
    "../x",
    "a;b",
    "--all",
    "-x",
    "",
    "a b",
    "a/b",
    "x\n",
    "bot?",
    "[b]ot",
    "a..b",
    "ü",
    "a$b",
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_is_not_one_unit_is_not_asked_for(
    programs: Callable[[str, str], None], name: str
) -> None:
    programs("systemctl", "echo LoadState=loaded\n")
    programs("ssh", "echo LoadState=loaded\n")
    for ssh in (None, "app-1"):
        reading = asked(name, ssh)
        assert absent(reading).kind is Absence.CONFIG
        assert reading.query is None


@given(st.text("ab1-_.:@\\*/; \n$'\"ü\0²", max_size=300))
def test_the_same_names_are_refused_in_the_service_file(name: str) -> None:
    complains = any(key == ("unit",) for key, _ in service_complaints("bot", Service(unit=name)))
    assert complains == (not unit._NAME.fullmatch(name) or ".." in name)


@pytest.mark.parametrize("name", ["o*.service", "../x", "a;b"])
def test_the_service_file_with_such_a_name_is_wrong(program: Program, name: str) -> None:
    program.services(bot={"unit": name})
    said = program.run("config", "check")
    assert said.code == 78
    assert "expected the plain name of one systemd unit" in said.err


@pytest.mark.parametrize("ssh", [None, "ops@app-1"])
@pytest.mark.parametrize(
    ("load", "says", "hint"),
    [
        ("masked", "unit bot.service is masked on {}: it cannot start", "systemctl unmask bot.service"),
        ("not-found", "there is no unit bot.service on {} (not-found)", "list-units"),
        ("bad-setting", "cannot be loaded: its file has a mistake (bad-setting)", "systemd-analyze verify"),
        ("error", "cannot be loaded: its file has a mistake (error)", "systemd-analyze verify"),
        ("", "there is no unit bot.service on {} (no answer)", "list-units"),
    ],
)
def test_a_unit_that_is_not_there_is_said_though_show_answers_0(
    programs: Callable[[str, str], None], ssh: str | None, load: str, says: str, hint: str
) -> None:
    programs("systemctl", shows(f"LoadState={load}\nActiveState=inactive\nResult=success\nNRestarts=0"))
    found = absent(asked(ssh=ssh))
    assert found.kind is Absence.CONFIG
    assert says.format(ssh or "this machine") in found.reason
    assert hint in (found.hint or "")


def test_systemctl_that_fails_hangs_or_is_not_there(programs: Callable[[str, str], None]) -> None:
    programs("systemctl", 'echo "Failed to connect to bus" >&2; exit 1\n')
    assert absent(asked()).kind is Absence.NOT_APPLICABLE
    assert "Failed to connect to bus" in absent(asked(ssh="app-1")).reason
    programs("systemctl", "exec tail -f /dev/null\n")
    assert absent(asked(deadline_s=0.3)).kind is Absence.TIMEOUT
    programs("ssh", 'echo "Permission denied (publickey)." >&2; exit 255\n')
    found = absent(asked(ssh="ops@app-1"))
    assert (found.kind, found.reason) == (Absence.DOWN, "no ssh to ops@app-1: Permission denied (publickey).")
    programs("ssh", 'echo "sh: 1: systemctl: not found" >&2; exit 127\n')
    assert absent(asked(ssh="app-1")).kind is Absence.NOT_INSTALLED


# --- the control group -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            {
                "bot/memory.events": "low 0\nhigh 7\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n",
                "bot/memory.peak": "4096\n",
                "bot/memory.swap.current": "0\n",
            },
            {"oom_kills": 1, "peak": 4096, "swap": 0},
        ),
        (
            {
                "memory/bot/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
                "memory/bot/memory.max_usage_in_bytes": "8192\n",
            },
            {"oom_kills": 4, "peak": 8192},
        ),
        ({"bot/memory.events": "low 0\n", "bot/memory.peak": "max\n"}, {}),
        ({}, {}),
    ],
    ids=["version 2", "version 1", "odd", "none"],
)
def test_the_kernels_files_tell_what_systemd_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], found: dict[str, int]
) -> None:
    monkeypatch.setattr(unit, "_CGROUPS", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert unit._cgroup("/bot") == found
    assert unit._cgroup("/../bot") == unit._cgroup("") == unit._cgroup("/") == unit._cgroup("bot") == {}
