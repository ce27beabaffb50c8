"""`down` leaves nothing: no process, no file, whatever happened before."""

import json
import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest

from oncall.lab import place
from oncall.lab.process import end, identity, marked

from .conftest import Lab, until


def first_child(lab: Lab) -> bool:
    return bool(marked(lab.folder))


def cluster_begun(lab: Lab) -> bool:
    return any(home.exists() for home in [lab.folder / "postgres", *place.outside(lab.folder)])


def servers_up(lab: Lab) -> bool:
    found = place.record(lab.folder) if lab.folder.exists() else None
    return bool(found and found.parts)


@pytest.mark.parametrize("moment", [first_child, cluster_begun, servers_up])
def test_after_kill_9_in_the_middle_of_up(own: Lab, moment: Callable[[Lab], bool]) -> None:
    starter = own.start("up")
    until(lambda: moment(own), 30)
    starter.kill()
    starter.wait()
    elsewhere = place.outside(own.folder)
    assert "nothing of it is left" in own.do("down")
    assert own.leaves_nothing()
    assert not any(path.exists() for path in elsewhere)


def test_an_interrupted_up_cleans_up_after_itself(own: Lab) -> None:
    starter = own.start("up")
    until(lambda: cluster_begun(own), 30)
    starter.send_signal(signal.SIGINT)
    assert starter.wait(60) == 130
    assert own.leaves_nothing()


def test_after_a_crash_of_postgres_and_a_broken_record(own: Lab) -> None:
    own.do("up")
    elsewhere = place.outside(own.folder)
    postgres = own.record.part("postgres")
    psutil.Process(postgres.pid).kill()
    until(lambda: not psutil.pid_exists(postgres.pid), 20)
    assert own.run("status").returncode == 2
    assert "lab down" in own.run("up").stderr
    (own.folder / "lab.json").write_text("{")
    own.do("down")
    assert own.leaves_nothing()
    assert not any(path.exists() for path in elsewhere)


def test_without_the_folder_its_processes_are_still_found(own: Lab) -> None:
    own.do("up")
    for home in [own.folder / "lab.json", own.folder / "service.yaml"]:
        home.unlink()
    assert json.loads(own.run("status", "--output", "json").stdout)["state"] == "partly"
    own.do("down")
    assert own.leaves_nothing()


def test_down_without_a_lab(own: Lab) -> None:
    assert "was not up" in own.do("down")
    assert own.run("break", "pool.too_small").returncode == 3
    assert json.loads(own.do("status", "--output", "json"))["state"] == "down"


def test_a_pid_that_is_somebody_elses_now_is_left_alone() -> None:
    innocent = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        end(innocent.pid, identity(innocent.pid) - 100)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_two_labs_do_not_touch_each_other(labs: Callable[[int], Lab], own: Lab) -> None:
    other = labs(15)
    own.do("up")
    assert {part.port for part in own.record.parts if part.port}.isdisjoint(
        part.port for part in other.record.parts
    )
    own.do("down")
    assert json.loads(other.do("status", "--output", "json"))["state"] == "up"
