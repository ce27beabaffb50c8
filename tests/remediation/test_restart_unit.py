"""Restart of a unit on a real systemd: what is refused before anything stops, and what is believed afterwards."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from oncall.clients import unit_acting
from oncall.clients.unit_acting import Unit, may_restart
from oncall.errors import ConfigError, Exit, UsageFault
from oncall.lab.process import free_port
from oncall.model import Unavailable
from oncall.model_acts import GuardState
from oncall.model_service import Service
from oncall.remediation.actions import restart_guards
from oncall.remediation.actions.restart import Restart
from oncall.remediation.actions.restart_unit import UnitWork
from oncall.units import Duration
from tests.clients.systemdstand import Systemd, manager_with
from tests.remediation.restartstand import (
    acted,
    at_work,
    guard,
    keep_journal,
    path_with,
    plan,
    server_words,
    verdicts,
)

PASSED, REFUSED, UNKNOWN = GuardState.PASSED, GuardState.REFUSED, GuardState.UNKNOWN
UNLIMITED = "[Unit]\nStartLimitIntervalSec=0\n"
SLEEPS = "[Service]\nExecStart=/bin/sleep 1000\n"
CRASHES = "[Service]\nExecStart=/bin/sh -c 'exit 3'\n"
NEVER_READY = f"{SLEEPS}Type=notify\n"
UNITS = {
    "fine.service": UNLIMITED + SLEEPS,
    "crashes.service": UNLIMITED + CRASHES,
    "loops.service": f"{UNLIMITED}{CRASHES}Restart=always\nRestartSec=1000\n",
    "never-ready.service": f"{NEVER_READY}TimeoutStartSec=infinity\n",
    "too-slow.service": f"{NEVER_READY}TimeoutStartSec=1\n",
    "stubborn.service": """
        [Unit]
        StartLimitIntervalSec=0
        [Service]
        Type=notify
        NotifyAccess=all
        ExecStart=/bin/sh -c 'trap "" TERM; systemd-notify --ready; while :; do sleep 1000; done'
        TimeoutStopSec=3
        """,
    "twice.service": f"[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1000\n{SLEEPS}",
    "seldom.service": f"[Unit]\nStartLimitBurst=5\nStartLimitIntervalSec=1000\n{SLEEPS}",
    "base.service": UNLIMITED + SLEEPS,
    "bound.service": f"[Unit]\nBindsTo=base.service\nAfter=base.service\n{SLEEPS}",
    "behind.service": f"[Unit]\nRequires=bound.service\nAfter=bound.service\n{SLEEPS}",
    "cold.service": f"[Unit]\nRequires=base.service\n{SLEEPS}",
    "some.target": "[Unit]\nRequires=base.service\n",
    "once.service": f"{UNLIMITED}[Service]\nType=oneshot\nExecStart=/bin/true\n",
    "by-others.service": f"[Unit]\nRefuseManualStop=yes\n{SLEEPS}",
    "bad.service": "[Service]\nRestart=always\n",
}


@pytest.fixture(scope="module")
def manager() -> Iterator[Systemd]:
    yield from manager_with(UNITS)


@pytest.fixture(autouse=True)
def on_path(manager: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product asks the system's manager; here `systemctl` is one that asks ours."""
    monkeypatch.setenv("PATH", path_with(manager.shim.parent))


def service(unit: str, **more: object) -> Service:
    return replace(Service(unit=unit, cooldown=Duration(0.001)), **more)


# --- what works ------------------------------------------------------------------------------------


def test_a_unit_that_is_fine(manager: Systemd) -> None:
    manager.ctl("start", "fine")
    before = manager.shown("fine", "InvocationID")
    told = acted(Restart(), service("fine"), watch_s=5)
    found = told.found
    assert found.title == "restarts service bot: fine.service on this machine"
    assert dict(found.place)["unit"] == "fine.service on this machine"
    assert dict(found.place)["state"].startswith("active since 20")
    assert dict(found.place)["state"].endswith("ago), 0 restarts by systemd")
    assert found.does == ("systemctl --no-ask-password --no-block restart -- fine.service",)
    assert "in flight" in found.losses[0]
    (target,) = found.targets
    assert (target.id, target.identity["invocation"]) == ("fine.service", before)
    assert target.identity["node"] == os.uname().nodename
    assert {n for n, s in verdicts(found).items() if s is PASSED} == {
        "identity", "rights", "start-limit", "cooldown", "dependents",
    }  # fmt: skip
    assert (told.result.state, told.result.text) == ("done", "restarted fine.service")
    (check,) = told.checks
    assert check.holds is True
    assert check.text.startswith("fine.service is active, the same invocation for 5")
    assert manager.shown("fine", "InvocationID") != before
    assert [n.command for n in told.offers] == [
        "journalctl --no-pager -n 50 -u fine.service",
        "oncall diagnose -s bot",
    ]


def test_a_unit_that_is_stopped_is_started(manager: Systemd) -> None:
    manager.ctl("stop", "fine")
    told = acted(Restart(), service("fine"))
    assert "does not run (inactive): the restart starts it" in told.found.notes[0]
    assert told.guard("cooldown").state is PASSED
    assert (told.result.state, told.checks[0].holds) == ("done", True)


def test_a_unit_with_a_service_that_answers(manager: Systemd, tmp_path: Path) -> None:
    port = free_port()
    words = " ".join(server_words(tmp_path, port))
    manager.add("answers.service", f"{UNLIMITED}[Service]\nExecStart={words}\n")
    manager.ctl("start", "answers")
    told = acted(Restart(), service("answers", url=f"http://127.0.0.1:{port}"))
    assert [c.holds for c in told.checks] == [True, True], told.checks
    assert told.checks[1].text == "/health: healthy twice in a row, a second apart"
    manager.ctl("stop", "answers")


def test_a_unit_that_runs_but_does_not_answer(manager: Systemd) -> None:
    told = acted(Restart(), service("fine", url=f"http://127.0.0.1:{free_port()}"), wait_s=4)
    assert told.result.state == "done"
    assert [c.holds for c in told.checks] == [True, False]


def test_a_oneshot_is_said_to_be_one() -> None:
    told = acted(Restart(), service("once"))
    assert any("is a oneshot" in note for note in told.found.notes)
    assert (told.result.state, told.checks[0].holds) == ("done", True), told


# --- row 37: what is not believed ------------------------------------------------------------------


def test_row_37_rc_0_of_a_unit_that_crashes_at_once(manager: Systemd) -> None:
    assert manager.ctl("restart", "crashes") == ""  # which is why its answer proves nothing
    manager.wait("crashes", "ActiveState", lambda state: state == "failed")
    told = acted(Restart(), service("crashes"))
    # It may be seen in the moment before it ends; the check is what counts
    assert told.result.state in ("done", "failed")
    assert told.checks[0].holds is False
    assert told.checks[0].text == "crashes.service crashed again, exit-code (status 3)"


def test_row_37_a_crash_loop(manager: Systemd) -> None:
    manager.ctl("restart", "loops")
    manager.wait("loops", "SubState", lambda sub: sub == "auto-restart")
    told = acted(Restart(), service("loops"))
    assert any("it keeps crashing (exit-code)" in note for note in told.found.notes)
    assert "(auto-restart, exit-code)" in dict(told.found.place)["state"]
    assert told.checks[0].holds is False
    assert "crashed again, exit-code" in told.checks[0].text


def test_row_37_a_unit_that_is_never_ready(manager: Systemd) -> None:
    told = acted(Restart(), service("never-ready"), patience_s=2, wait_s=3)
    assert told.result.state == "unknown"
    assert "did not end within 2 s" in told.result.text
    assert "its job still runs" in told.result.text
    assert told.checks[0].holds is False
    assert "has not said that it is ready" in told.checks[0].text
    assert any("activating (start)" in line for line in told.lines)
    manager.ctl("stop", "never-ready")


def test_row_37_a_unit_that_is_not_ready_in_time() -> None:
    told = acted(Restart(), service("too-slow"))
    assert (told.result.state, told.checks[0].holds) == ("failed", False)
    assert "was not ready in time (timeout)" in told.result.text


def test_row_37_a_unit_that_ignores_sigterm(manager: Systemd) -> None:
    manager.ctl("start", "stubborn")
    told = acted(Restart(), service("stubborn"))
    assert (told.result.state, told.checks[0].holds) == ("done", True)
    assert any("deactivating (stop-sigterm)" in line for line in told.lines)


def test_row_37_the_job_goes_on_when_nobody_waits(manager: Systemd) -> None:
    manager.ctl("start", "stubborn")
    told = acted(Restart(), service("stubborn"), patience_s=0.5, wait_s=30)
    assert told.result.state == "unknown"
    # The proof waits on, and sees the end of it
    assert told.checks[0].holds is True


def test_an_interruption_does_not_hide_what_was_sent(manager: Systemd) -> None:
    manager.ctl("start", "stubborn")

    async def interrupted() -> UnitWork:
        async with at_work(Restart(), service("stubborn")) as work:
            assert isinstance(work, UnitWork)
            assert work.so_far() == []
            stopping = asyncio.Event()
            lines = work.apply(lambda line: stopping.set() if "deactivating" in line else None)
            going = asyncio.ensure_future(anext(aiter(lines)))
            await stopping.wait()
            going.cancel()
            await asyncio.wait([going])
            return work

    (result,) = asyncio.run(interrupted()).so_far()
    assert (result.state, result.id) == ("unknown", "stubborn.service")
    assert "was sent, and goes on" in result.text
    manager.wait("stubborn", "Job", lambda job: job == "")


# --- row 36: refused before anything stops ---------------------------------------------------------


def test_row_36_at_the_burst_limit(manager: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manager.ctl("start", "twice")
    first = manager.shown("twice", "InvocationID")
    manager.ctl("restart", "twice")
    second = manager.shown("twice", "InvocationID")
    # Where no journal tells, it is not known; and that bars, too
    unsure = guard(plan(Restart(), service("twice")), "start-limit")
    assert unsure.state is UNKNOWN
    assert "how often before is not known" in unsure.text
    keep_journal(tmp_path, monkeypatch, "twice.service", first, second)
    limit = guard(plan(Restart(), service("twice")), "start-limit")
    assert limit.state is REFUSED
    assert limit.text == "2 starts counted in the journal, limit 2 in 16 min 40 s"
    assert "systemctl reset-failed twice.service" in (limit.hint or "")
    assert manager.shown("twice", "InvocationID") == second
    assert manager.shown("twice", "ActiveState") == "active"
    # What it protects from: stopped, then refused
    told = acted(Restart(), service("twice"))
    assert told.result.state == "failed"
    assert "was stopped, and systemd does not start it again (start-limit-hit)" in told.result.text
    assert told.checks[0].holds is False
    assert told.offers[0].command == "systemctl reset-failed twice.service && systemctl start twice.service"


def test_starts_below_the_limit_are_counted(
    manager: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manager.ctl("start", "seldom")
    invocation = manager.shown("seldom", "InvocationID")
    # A journal that lacks the last start is not believed
    keep_journal(tmp_path / "1", monkeypatch, "seldom.service", "0" * 32)
    assert guard(plan(Restart(), service("seldom")), "start-limit").state is UNKNOWN
    keep_journal(tmp_path / "2", monkeypatch, "seldom.service", "0" * 32, invocation)
    limit = guard(plan(Restart(), service("seldom")), "start-limit")
    assert (limit.state, limit.text) == (PASSED, "2 starts counted in the journal, limit 5 in 16 min 40 s")


def test_row_36_inside_the_cooldown(manager: Systemd) -> None:
    manager.ctl("restart", "fine")
    before = manager.shown("fine", "InvocationID")
    report = guard(plan(Restart(), replace(service("fine"), cooldown=Duration(300))), "cooldown")
    assert report.state is REFUSED
    assert report.overridable
    assert report.text.startswith("started ")
    assert "wait " in (report.hint or "")
    assert manager.shown("fine", "InvocationID") == before


def test_a_unit_with_others_that_are_bound_to_it(manager: Systemd) -> None:
    manager.ctl("start", "base", "bound", "behind", "some.target")
    found = plan(Restart(), service("base"))
    report = guard(found, "dependents")
    assert report.state is REFUSED
    assert report.overridable
    # One that is not running and a target are nobody's loss; one behind another is
    assert report.text == "these restart or stop along with it: behind.service, bound.service"
    assert "what behind.service, bound.service do: they restart or stop along with it" in found.losses
    manager.ctl("stop", "behind", "bound")
    assert guard(plan(Restart(), service("base")), "dependents").state is PASSED


def test_one_that_was_restarted_since_the_plan_is_left_alone(manager: Systemd) -> None:
    manager.ctl("start", "fine")
    told = acted(Restart(), service("fine"), between=lambda: manager.ctl("restart", "fine"))
    assert told.result.state == "changed"
    assert "was started by somebody else since the plan: nothing was sent" in told.result.text
    assert told.checks == ()
    # Another invocation is another target, and so another plan
    now = plan(Restart(), service("fine")).targets
    assert now == plan(Restart(), service("fine")).targets
    assert now != told.found.targets


# --- row 35 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("no-such-unit", "there is no unit no-such-unit.service on this machine"),
        ("hidden", "is masked"),
        ("bad", "its file has a mistake"),
        ("f*.service", "not the plain name of one systemd unit"),
        ("../x", "not the plain name of one systemd unit"),
        ("a;b", "not the plain name of one systemd unit"),
        ("-H evil", "not the plain name of one systemd unit"),
    ],
)
def test_row_35_what_is_no_unit(unit: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        plan(Restart(), service(unit))
    assert refused.value.exit_code is Exit.CONFIG
    assert refused.value.hint


def test_row_35_one_whose_file_is_gone_is_not_stopped(manager: Systemd) -> None:
    manager.add("gone.service", SLEEPS)
    manager.ctl("start", "gone")
    (manager.units / "gone.service").unlink()
    manager.ctl("daemon-reload")
    with pytest.raises(ConfigError, match="there is no unit"):
        plan(Restart(), service("gone"))
    assert manager.shown("gone", "ActiveState") == "active"


def test_nothing_to_restart_is_a_usage_error_with_a_hint() -> None:
    with pytest.raises(UsageFault) as refused:
        plan(Restart(), Service())
    assert "unit: NAME" in (refused.value.hint or "")


# --- row 38 ----------------------------------------------------------------------------------------


def test_row_38_no_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "env").symlink_to("/usr/bin/env")
    told = acted(Restart(), service("fine"))
    assert told.guard("rights").state is REFUSED
    assert "has no systemctl" in told.guard("rights").text
    assert told.guard("identity").state is UNKNOWN
    assert told.found.targets
    assert told.result.state == "changed"


def test_row_38_one_that_refuses_to_be_stopped_by_hand(manager: Systemd) -> None:
    report = guard(plan(Restart(), service("by-others")), "rights")
    assert report.state is REFUSED
    assert "refuses to be started or stopped by hand" in report.text


def looked(unit: str) -> Unit:
    found = asyncio.run(unit_acting.look(unit, None, 20))
    assert isinstance(found, Unit)
    return found


def test_asking_for_the_right_restarts_nothing(manager: Systemd) -> None:
    """systemd looks at the rights first, and then refuses the mode: what it says tells which of the two it was."""
    manager.ctl("start", "fine")
    before = looked("fine")
    assert before.root
    assert asyncio.run(may_restart(replace(before, root=False), None, 20)) is None
    after = looked("fine")
    assert (after.invocation, after.job) == (before.invocation, "")


def test_row_38_without_the_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, manager: Systemd) -> None:
    """As a user whom systemd does not let in: it answers at once, and asks for no password."""
    shim = tmp_path / "systemctl"
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    text = manager.shim.read_text()
    assert "/systemctl --user" in text
    shim.write_text(text.replace("--pid ", f"--pid {nobody} "))
    shim.chmod(0o755)
    unit = replace(looked("fine"), root=False, login="nobody")
    monkeypatch.setenv("PATH", path_with(tmp_path))
    why = asyncio.run(may_restart(unit, None, 20))
    assert isinstance(why, Unavailable)
    report = restart_guards.rights(unit, why)
    assert report.state is REFUSED, report
    assert "nobody may not restart fine.service" in report.text
    assert "polkit.addRule" in (report.hint or "")
    assert '"fine.service"' in (report.hint or "")
