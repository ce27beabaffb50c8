"""Backups that are files, on real folders, here and by a real ssh."""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oncall.checks.backups import look
from oncall.checks.backups.file import judge, parse
from oncall.model_checks import CheckLine
from oncall.model_service import BackupAt, Service
from oncall.units import Size
from tests.remediation.restartstand import path_with
from tests.remediation.sshstand import HOST, Sshd, lacking, sshd

HOUR = 3600.0
MB = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three nights: 26, 50 and 2 hours ago."""
    put(tmp_path / "mon.dump", 50 * HOUR, MB)
    put(tmp_path / "tue.dump", 26 * HOUR, MB)
    put(tmp_path / "wed.dump", 2 * HOUR, MB + 1000)
    return tmp_path


def put(path: Path, age: float, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    at = time.time() - age
    os.utime(path, (at, at))


def seen(pattern: Path | str, ssh: str | None = None) -> CheckLine:
    service = Service(backups={"nightly": BackupAt(file=str(pattern))}, ssh=ssh)
    (found,) = asyncio.run(look(service, 20))
    return found


def test_the_newest_its_age_and_size(folder: Path) -> None:
    found = seen(folder / "*.dump")
    assert found.severity == "ok", found
    assert found.text == "wed.dump ended 2 h ago, 1 MB"
    assert found.value == pytest.approx(2 * HOUR, abs=60)
    assert found.detail is not None
    assert [row[0] for row in found.detail.rows] == ["wed.dump", "tue.dump", "mon.dump"]
    assert found.query == str(folder / "*.dump")


def test_a_link_to_nothing_hides_no_backup(folder: Path) -> None:
    (folder / "current.dump").symlink_to(folder / "gone")
    assert seen(folder / "*.dump").text == "wed.dump ended 2 h ago, 1 MB"
    for file in ("mon", "tue", "wed"):
        (folder / f"{file}.dump").unlink()
    found = seen(folder / "*.dump")
    assert (found.severity, found.text) == ("critical", f"there is none: no file fits {folder}/*.dump")


def test_the_command_that_is_handed_over_runs_as_it_stands(tmp_path: Path) -> None:
    put(tmp_path / "a b" / "one" / "x.dump", 30 * HOUR, MB)
    found = seen(tmp_path / "a b" / "*" / "x.dump")
    assert found.next is not None
    ran = subprocess.run(["sh", "-c", found.next.command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "x.dump" in ran.stdout


def test_a_folder_has_no_size_to_hold_against_what_is_expected(tmp_path: Path) -> None:
    put(tmp_path / "base" / "x", 2 * HOUR, MB)
    os.utime(tmp_path / "base", (time.time() - HOUR, time.time() - HOUR))
    service = Service(backups={"nightly": BackupAt(file=f"{tmp_path}/*", least=Size(1e9))})
    (found,) = asyncio.run(look(service, 20))
    assert found.severity == "unknown"
    assert (found.text or "").startswith(
        "its size is not known: whether it is 1 GB cannot be said; base ended"
    )


def test_old_empty_and_small(folder: Path) -> None:
    put(folder / "wed.dump", 2 * HOUR, 0)
    found = seen(folder / "*.dump")
    assert (found.severity, found.text) == ("critical", "it is empty; wed.dump ended 2 h ago, 0 B")
    put(folder / "wed.dump", 2 * HOUR, MB // 4)
    found = seen(folder / "*.dump")
    assert found.severity == "warning"
    assert (found.text or "").startswith("much smaller than the 2 before (1 MB)")
    (folder / "wed.dump").unlink()
    found = seen(folder / "*.dump")
    assert (found.severity, found.text) == ("warning", "older than 1d; tue.dump ended 26 h ago, 1 MB")
    assert found.next is not None
    assert found.next.command == f"ls -lt {folder}"


def test_one_that_grows_is_running_and_not_done(folder: Path) -> None:
    put(folder / "thu.dump", 1, 10)
    found = seen(folder / "*.dump")
    assert found.severity == "ok"
    assert found.text == "wed.dump ended 2 h ago, 1 MB; running: thu.dump, 10 B so far"


def test_one_under_another_name_is_not_done(folder: Path) -> None:
    put(folder / "thu.dump.part", 1, 10)
    assert "running: thu.dump.part" in (seen(folder / "*.dump").text or "")
    put(folder / "thu.dump.part", HOUR, 10)
    found = seen(folder / "*.dump")
    assert found.severity == "warning"
    assert (found.text or "").startswith("thu.dump.part was not finished: last written 1 h ago; wed.dump")
    # What was left before the last good one is of no interest any more
    put(folder / "thu.dump.part", 3 * HOUR, 10)
    assert seen(folder / "*.dump").severity == "ok"


def test_the_first_one_is_still_being_written(tmp_path: Path) -> None:
    put(tmp_path / "first.dump", 0, 10)
    found = seen(tmp_path / "*.dump")
    assert (found.severity, found.value) == ("warning", None)
    assert found.text == "none is finished yet; running: first.dump, 10 B so far"


def test_there_is_none(tmp_path: Path) -> None:
    found = seen(tmp_path / "*.dump")
    assert (found.severity, found.text) == ("critical", f"there is none: no file fits {tmp_path}/*.dump")
    found = seen(tmp_path / "away/*.dump")
    assert (found.severity, found.text) == (
        "critical",
        f"there is none: the folder {tmp_path}/away is not there",
    )


def test_a_link_to_the_newest_is_the_same_backup(folder: Path) -> None:
    (folder / "latest.dump").symlink_to("wed.dump")
    (folder / "hard.dump").hardlink_to(folder / "wed.dump")
    found = seen(folder / "*.dump")
    assert found.detail is not None
    assert len(found.detail.rows) == 3
    assert found.severity == "ok"


def test_a_folder_is_a_backup_whose_size_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "base-1").mkdir()
    at = time.time() - HOUR
    os.utime(tmp_path / "base-1", (at, at))
    found = seen(tmp_path / "base-*")
    assert (found.severity, found.text) == ("ok", "base-1 ended 1 h ago")
    assert found.notes == ("it is a folder: its size is not looked at",)


def test_names_and_patterns_are_only_names(tmp_path: Path) -> None:
    odd = tmp_path / "a b;$(touch pwned) 'x"
    odd.mkdir()
    put(odd / "-rf *.dump", HOUR, 10)
    put(odd / "line\nbreak.dump", HOUR, 10)
    found = seen(f"{tmp_path}/a b;$(touch pwned) 'x/*.dump")
    assert found.text == "-rf *.dump ended 1 h ago, 10 B"
    assert not list(Path.cwd().glob("pwned"))


def test_a_hundred_thousand_rows_of_a_listing_are_read_quickly() -> None:
    listing = "".join(f"{1_700_000_000 + n} 1000 81a4 1:{n} /b/{n}.dump\n" for n in range(100_000))
    begun = time.process_time()
    found = judge("/b/*", parse(listing), 1_700_100_000 + HOUR)
    assert time.process_time() - begun < 5
    assert (found.name, found.detail and found.detail.notes) == ("99999.dump", ("99990 more",))


def test_a_listing_of_a_mac_and_lines_that_are_none() -> None:
    (only,) = parse("1700000000 12 81A4 1:2 /b/x y\nstat: cannot\n1 1 20620 1:3 /dev/null\nclosed /b\n")
    assert (only.name, only.size) == ("x y", 12)


# --- over ssh ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    why = lacking()
    if why:
        pytest.fail(why)
    with sshd(tmp_path_factory.mktemp("sshd"), "/usr/sbin:/usr/bin:/sbin:/bin") as made:
        yield made


def test_over_ssh(folder: Path, there: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(there.client))
    put(folder / "sp ace.dump", HOUR, MB)
    found = seen(folder / "*.dump", ssh=HOST)
    assert (found.severity, found.text) == ("ok", "sp ace.dump ended 1 h ago, 1 MB")
    found = seen(folder / "none*", HOST)
    assert found.severity == "critical"
    assert found.next is not None
    assert found.next.command == f"ssh {HOST} 'ls -lt {folder}'"


def test_a_machine_that_lets_us_not_in(folder: Path, there: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(there.stranger))
    found = seen(folder / "*.dump", ssh=HOST)
    assert found.severity == "unknown"
    assert (found.reason or "").startswith(f"no ssh to {HOST}: ")
