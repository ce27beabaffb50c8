"""Rows 35 and 37 of the matrix of faults, as the engineer sees them: units of a real, private systemd manager."""

from collections.abc import Iterator
from typing import Any

import pytest

from oncall.errors import Exit
from tests.cli.bright import Bright
from tests.cli.program import Program, Said, rows, signal, step
from tests.clients.systemdstand import ILL, Systemd, manager_with

UNITS = {
    "fine.service": """
        [Service]
        ExecStart=/bin/sleep 1000
        """,
    **ILL,
}


@pytest.fixture(scope="module")
def manager() -> Iterator[Systemd]:
    yield from manager_with(UNITS)


def diagnosed(well: Bright, program: Program, manager: Systemd, unit: str) -> tuple[Said, dict[str, Any]]:
    """A service with that unit. `systemctl` is one that asks our manager."""
    there = well.program(program, unit=unit)
    there = there.under(PATH=f"{manager.shim.parent}:{there.env['PATH']}")
    said = there.run("diagnose", "errors", "--timeout", "60s", "--output", "json", timeout=120)
    return said, said.json


def no_cause_is_sure(report: dict[str, Any]) -> None:
    assert not [c["id"] for c in report["causes"] if c["confidence"] in ("confirmed", "likely")]
    assert signal(report, "error_ratio")["severity"] == "ok"


def test_a_unit_that_runs_is_well(well: Bright, program: Program, manager: Systemd) -> None:
    manager.ctl("start", "fine")
    said, report = diagnosed(well, program, manager, "fine")
    assert said.code == Exit.OK
    assert signal(report, "unit_runs")["value"] == 1
    (unit,) = rows(report, "unit")
    assert (unit["state"], unit["sub"]) == ("active", "running")


# --- row 35 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("no-such-unit", "there is no unit no-such-unit.service on this machine"),
        ("hidden", "unit hidden.service is masked on this machine"),
    ],
)
def test_row_35_unknown_and_masked(
    well: Bright, program: Program, manager: Systemd, unit: str, says: str
) -> None:
    said, report = diagnosed(well, program, manager, unit)
    assert said.code == Exit.UNKNOWN
    assert says in said.out
    assert step(report, "unit")["status"] == "failed"
    assert signal(report, "unit_runs")["severity"] == "unknown"
    no_cause_is_sure(report)


@pytest.mark.parametrize("unit", ["o*.service", "../x", "a;b", "-H evil"])
def test_row_35_a_name_that_is_none_is_refused(program: Program, unit: str) -> None:
    path = program.services(bot={"unit": unit})
    said = program.run("diagnose")
    assert said.code == Exit.CONFIG
    assert f"{path}:" in said.err
    assert "services.bot.unit" in said.err
    assert said.out == ""


# --- row 37 -----------------------------------------------------------------------------------------


def test_row_37_a_crash_loop_that_goes_on(well: Bright, program: Program, manager: Systemd) -> None:
    manager.ctl("start", "loops", check=False)
    manager.wait("loops", "SubState", lambda sub: sub == "auto-restart")
    said, report = diagnosed(well, program, manager, "loops")
    assert said.code == Exit.CRITICAL
    assert report["summary"]["headline"] == "SERVICE IN A CRASH LOOP"
    assert "it keeps crashing (exit-code)" in said.out
    assert signal(report, "unit_runs")["value"] == 0
    no_cause_is_sure(report)


def test_row_37_a_crash_loop_that_systemd_gave_up(well: Bright, program: Program, manager: Systemd) -> None:
    manager.ctl("start", "gives-up", check=False)
    manager.wait("gives-up", "ActiveState", lambda state: state == "failed")
    said, report = diagnosed(well, program, manager, "gives-up")
    assert said.code == Exit.CRITICAL
    assert report["summary"]["headline"] == "SERVICE NOT RUNNING"
    assert "systemd gave up after 3 restarts" in said.out
    (unit,) = rows(report, "unit")
    assert (unit["state"], unit["restarts"]) == ("failed", 3)
    no_cause_is_sure(report)


def test_row_37_a_unit_that_is_never_ready(well: Bright, program: Program, manager: Systemd) -> None:
    manager.ctl("start", "--no-block", "never-ready")
    manager.wait("never-ready", "SubState", lambda sub: sub == "start")
    said, report = diagnosed(well, program, manager, "never-ready")
    assert said.code == Exit.CRITICAL
    assert "has not said that it is ready" in said.out
    assert signal(report, "unit_runs")["value"] == 0
    no_cause_is_sure(report)


# --- acting ----------------------------------------------------------------------------------------------


def restarted(program: Program, manager: Systemd, unit: str, *words: str, **more: Any) -> Said:  # noqa: ANN401
    """`remediate restart --confirm` of a service that is nothing but its unit."""
    program.services(bot={"unit": unit, "cooldown": "1s", **more})
    there = program.under(PATH=f"{manager.shim.parent}:{program.env['PATH']}")
    words = ("--wait", "8s", "--output", "json", *words)
    return there.run("remediate", "restart", "--confirm", *words, timeout=120)


def test_a_unit_is_restarted_and_that_is_proven(program: Program, manager: Systemd) -> None:
    manager.add("served.service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\n")
    manager.ctl("start", "served")
    before = manager.shown("served.service", "InvocationID")
    anyway = ("--override", "cooldown", "--reason", "it was started for this test")
    said = restarted(program, manager, "served", *anyway)
    assert (said.code, said.json["outcome"]) == (Exit.OK, "done"), said.all
    assert manager.shown("served.service", "InvocationID") != before
    assert all(check["holds"] for check in said.json["verification"]["checks"])


def test_row_37_a_unit_that_crashes_is_not_verified(program: Program, manager: Systemd) -> None:
    manager.add(
        "breaks.service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c 'exit 3'\n"
    )
    said = restarted(program, manager, "breaks")
    assert said.code == Exit.UNVERIFIED
    assert said.json["verification"]["result"] == "not_fixed"
    assert "crashed" in str(said.json["verification"])


def test_rows_35_and_38_what_cannot_be_restarted(program: Program, manager: Systemd) -> None:
    unknown = restarted(program, manager, "no-such-unit")
    assert (unknown.code, unknown.json["schema"]) == (Exit.CONFIG, "oncall/error/1")
    assert "there is no unit no-such-unit.service" in unknown.json["error"]
    assert "Loop" not in unknown.err
    program.services(bot={"unit": "served"})
    alone = program.under(PATH="/nowhere").run("remediate", "restart", "--confirm", "--output", "json")
    assert alone.code == Exit.REFUSED
    rights = next(g for g in alone.json["plan"]["guards"] if g["name"] == "rights")
    assert rights["state"] == "refused"
    assert "cannot be run" in rights["text"]
