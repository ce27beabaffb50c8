"""The installed wheel, without the checkout: runbooks, SQL files and the command are in it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from oncall.errors import Exit
from tests.cli.program import Program

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend that pyproject.toml names, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, capture_output=True, timeout=100
    )
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture
def installed(wheel: Path, program: Program) -> Program:
    """The wheel unpacked into a folder of its own, and nothing of the checkout on the path."""
    site = program.folder / "site"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    start = "from oncall.cli.main import main; main()"
    # -P: not from the current folder. PYTHONPATH stands before what the venv knows of the checkout.
    return Program(program.folder, {"PYTHONPATH": str(site)}, (sys.executable, "-P", "-c", start))


def test_what_the_wheel_holds(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    checkout = {str(p.relative_to(ROOT)) for p in (ROOT / "oncall").rglob("*") if p.suffix in (".py", ".sql")}
    assert checkout <= names
    files = (p for p in (ROOT / "runbooks").rglob("*.yaml"))
    books = {f"oncall/_runbooks/{p.relative_to(ROOT / 'runbooks')}" for p in files}
    assert books <= names
    assert not [n for n in names if n.startswith(("tests", "runbooks", "completions")) or n.endswith(".pyc")]
    assert any(n.endswith("licenses/LICENSE") for n in names)
    entry = next(n for n in names if n.endswith("entry_points.txt"))
    assert "oncall = oncall.cli.main:main" in zipfile.ZipFile(wheel).read(entry).decode()


def test_it_works_without_the_checkout(installed: Program) -> None:
    site = installed.folder / "site"
    listed, code = installed.json("runbook", "list")
    assert code == Exit.OK
    assert {r["issue"] for r in listed["runbooks"]} >= {"pool"}
    assert all(r["file"].startswith(str(site)) for r in listed["runbooks"]), (
        "from the wheel, not from the checkout"
    )
    assert installed.run("runbook", "check").code == Exit.OK
    shown = installed.run("runbook", "show", "pool")
    assert "pg_stat_activity" in shown.out, "its SQL files"
    installed.services(bot={})
    assert installed.run("diagnose", "pool").code == Exit.UNKNOWN
    assert installed.run("lab", "status", "--output", "json").json["schema"] == "oncall/lab/1"
