"""Files are written whole or not at all, and stay what they were besides: mode, owner, links, attributes."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from oncall import files
from oncall.files import FileChanged, look, replace, write_whole

NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "app.yaml"
    path.write_bytes(b"pool: 20\n")
    path.chmod(0o640)
    return path


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """As somebody to whom nothing belongs; where we are nobody special, in a folder that is closed to us."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that others reach, too."""
    folder = Path(tempfile.mkdtemp(prefix="oncall-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def left(place: Path) -> list[str]:
    return sorted(p.name for p in place.parent.iterdir())


# --- replaced ------------------------------------------------------------------------------------


def test_mode_owner_and_attributes_stay(place: Path) -> None:
    if os.geteuid() == 0:
        os.chown(place, 1234, 4321)
    os.setxattr(place, "user.note", b"mine")
    before = place.stat()
    replace(look(place), b"pool: 40\n")
    after = place.stat()
    assert place.read_bytes() == b"pool: 40\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino
    assert os.getxattr(place, "user.note") == b"mine"
    assert left(place) == ["app.yaml"]


def test_a_link_stays_and_its_target_is_written(place: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "app.yaml"
    link.symlink_to("../app.yaml")
    replace(look(link), b"new")
    assert link.readlink() == Path("../app.yaml")
    assert place.read_bytes() == b"new"
    assert left(link) == ["app.yaml"]


def edited(place: Path) -> None:
    place.write_bytes(b"pool: 21\n")


def another_file(place: Path) -> None:
    place.with_name("new").write_bytes(b"pool: 20\n# mine\n")
    place.with_name("new").rename(place)


def larger(place: Path) -> None:
    place.write_bytes(b"pool: 20\n" * 9)


def other_mode(place: Path) -> None:
    place.chmod(0o600)


def now_a_link(place: Path) -> None:
    place.rename(place.with_name("moved"))
    place.symlink_to("moved")


def gone(place: Path) -> None:
    place.unlink()


def a_pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


@pytest.mark.parametrize(
    "change", [edited, another_file, larger, other_mode, now_a_link, gone, a_pipe], ids=lambda c: c.__name__
)
def test_what_changed_since_is_left_alone(place: Path, change: Callable[[Path], None]) -> None:
    seen = look(place)
    change(place)
    there = place.read_bytes() if place.is_file() else None
    with pytest.raises(FileChanged):
        replace(seen, b"pool: 40\n")
    assert (place.read_bytes() if place.is_file() else None) == there
    assert not [name for name in left(place) if name.startswith(".")]


def test_an_editor_comes_while_we_write(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last look is the last thing before the new file is there."""
    seen = look(place)
    sync = os.fsync

    def edit_then_sync(descriptor: int) -> None:
        edited(place)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", edit_then_sync)
    with pytest.raises(FileChanged, match="its text"):
        replace(seen, b"pool: 40\n")
    assert place.read_bytes() == b"pool: 21\n"
    assert left(place) == ["app.yaml"]


KILLED = """
import os, signal, sys
from pathlib import Path
from oncall import files

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

seen = files.look(Path(sys.argv[1]))
exec(sys.argv[2])
files.replace(seen, b"new" * 100_000)
"""


@pytest.mark.parametrize(
    ("when", "there"),
    [
        ("os.fchmod = die", "old"),  # written, not synced
        ("os.fsync = die", "old"),
        ("files.check_unchanged = die", "old"),
        ("Path.replace = die", "old"),
        ("files._sync_folder = die", "new"),
    ],
)
def test_killed_in_the_middle(place: Path, when: str, there: str) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, place, when], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert place.read_bytes() == (b"pool: 20\n" if there == "old" else b"new" * 100_000)
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    # What is left over is hidden, has another ending, and nobody else reads it before the owner is set.
    rest = [p for p in place.parent.iterdir() if p != place]
    assert [p.name[:10] for p in rest] == ([".app.yaml."] if there == "old" else [])
    assert not [p for p in rest if p.suffix == ".yaml"]


def test_a_full_disk(place: Path) -> None:
    """No file may grow beyond half a kilobyte."""
    code = 'ulimit -f 1; trap "" XFSZ; exec "$0" "$@"'
    run = KILLED.replace("exec(sys.argv[2])", "")
    shell = ["/bin/sh", "-c", code, sys.executable, "-c", run, str(place)]
    ended = subprocess.run(shell, check=False, capture_output=True, text=True)
    assert "File too large" in ended.stderr
    assert place.read_bytes() == b"pool: 20\n"
    assert left(place) == ["app.yaml"]


# --- what cannot be replaced ---------------------------------------------------------------------


def test_nothing_stands_in_the_way(place: Path) -> None:
    assert files.obstacle(look(place)) is None


def test_a_second_name_of_the_file(place: Path) -> None:
    os.link(place, place.with_name("other"))
    said, _ = files.obstacle(look(place)) or ("", "")
    assert "has 2 names (hard links)" in said


def test_a_folder_that_is_closed(shared: Path) -> None:
    path = shared / "app.yaml"
    path.write_text("x")
    path.chmod(0o666)
    with nobody(shared):
        said, hint = files.obstacle(look(path)) or ("", "")
        with pytest.raises(PermissionError):
            replace(look(path), b"y")
    assert f"no permission to write in {shared}" in said
    assert "as root" in hint
    assert path.read_text() == "x"


def test_a_file_that_is_closed(shared: Path) -> None:
    path = shared / "app.yaml"
    path.write_text("x")
    path.chmod(0o444)
    with nobody(shared):
        said, _ = files.obstacle(look(path)) or ("", "")
    assert f"no permission to write {path}" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of somebody else")
def test_a_file_of_somebody_else(shared: Path) -> None:
    path = shared / "app.yaml"
    path.write_text("x")
    path.chmod(0o666)
    shared.chmod(0o777)
    with nobody(shared):
        said, _ = files.obstacle(look(path)) or ("", "")
        with pytest.raises(PermissionError):
            replace(look(path), b"y")
    assert "belongs to user 0" in said
    assert path.read_text() == "x"
    assert left(path) == ["app.yaml"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "large", "missing", "loop"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        path.write_bytes(b"x" * (files.MOST_BYTES + 1))
    elif kind == "loop":
        path.symlink_to("x")
    with pytest.raises(OSError):  # noqa: PT011  # each with its own words
        look(path)


# --- written anew --------------------------------------------------------------------------------


def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files.make_private(folder)
    write_whole(folder / "x", b"1")
    write_whole(folder / "x", b"2")
    assert (folder / "x").read_bytes() == b"2"
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "a", folder, folder / "x")]
    assert modes == [0o700, 0o700, 0o600]


def test_a_long_name_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"1")
    replace(look(path), b"2")
    assert path.read_bytes() == b"2"
