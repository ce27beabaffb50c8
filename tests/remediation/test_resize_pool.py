"""resize-pool on real files: what it plans, what it writes, what it keeps, and how that is undone."""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from oncall import files
from oncall.errors import ConfigError, UsageFault
from oncall.model_acts import Check, GuardState, TargetResult
from oncall.model_service import Limits, PoolAt, PostgresAt, Service
from oncall.remediation.action import Action, Found, Scene, Work
from oncall.remediation.actions.resize_pool import ResizePool
from tests.test_files import nobody, shared

__all__ = ["shared"]

TEXT = "# ours\nserver: {port: 80}\ndatabase:\n  password: hunter2\n  pool_size: 20  # of ten\n"
MORE = TEXT.replace("20", "40")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "oncall" / "backups" / "bot"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "app.yaml"
    path.parent.mkdir()
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def service(place: Path | str, key: str = "database.pool_size", **more: object) -> Service:
    options = {name: more.pop(name) for name in ("format", "instances") if name in more}
    return Service(pool=PoolAt(file=str(place), key=key, **options), unit="bot", **more)  # type: ignore[arg-type]


Between = Callable[[Work], None]
Acted = tuple[Found, list[TargetResult], tuple[Check, ...], Work]


def act(at: Service, between: Between = lambda work: None, **options: int | bool) -> Acted:
    """The look; what happens between; then the act and its proof."""
    action: Action = ResizePool(**options)  # type: ignore[arg-type]
    scene = Scene("bot", at, None, 10, ("-s", "bot"))

    async def run() -> Acted:
        async with action.work(scene) as work:
            between(work)
            results = [result async for result in work.apply(lambda line: None)]
            return work.found, results, await work.checks(results, 0, lambda line: None), work

    return asyncio.run(run())


def plan(at: Service, **options: int | bool) -> Found:
    async def run() -> Found:
        scene = Scene("bot", at, None, 10, ("-s", "bot"))
        async with ResizePool(**options).work(scene) as work:  # type: ignore[arg-type]
            return work.found

    return asyncio.run(run())


def guard(found: Found, name: str) -> tuple[GuardState, str, str]:
    (one,) = (g for g in found.guards if g.name == name)
    return one.state, one.text, one.hint or ""


# --- the plan ------------------------------------------------------------------------------------


def test_a_plan_says_everything_and_touches_nothing(place: Path, state: Path) -> None:
    found = plan(service(place, instances=2, limits=Limits(pool=20)), to=40)
    assert found.title == f"sets database.pool_size from 20 to 40 in {place}"
    assert found.place == (("file", str(place)), ("key", "database.pool_size"), ("now", "20"))
    assert found.does[0].splitlines() == [
        f"--- {place}",
        f"+++ {place}",
        "@@ -5 +5 @@",
        "-  pool_size: 20  # of ten",
        "+  pool_size: 40  # of ten",
    ]
    assert found.does[1] == "40 × 2 instances = 80"
    assert found.losses == ("nothing until the restart, which drops the connections of the pool",)
    assert found.undo == "oncall remediate resize-pool -s bot --undo --confirm"
    assert "oncall remediate restart -s bot --issue pool --confirm" in found.notes[0]
    assert found.notes[1].startswith("limits.pool of the service file is 20")
    assert found.targets[0].identity["sha256"] == files.digest(TEXT.encode())
    states = {g.name: g.state for g in found.guards}
    assert states == {
        "identity": GuardState.PASSED,
        "empty-selection": GuardState.PASSED,
        "rights": GuardState.PASSED,
        "connections-budget": GuardState.UNKNOWN,
    }
    assert place.read_text() == TEXT
    assert not state.exists()


def test_another_size_or_another_text_is_another_plan(place: Path) -> None:
    identities = [plan(service(place), to=to).targets for to in (40, 41, 40)]
    place.write_text(TEXT + "# edited\n")
    identities.append(plan(service(place), to=40).targets)
    assert identities[0] == identities[2]
    assert identities[1] != identities[0] != identities[3]


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        (
            '{"password": "hunter2", "pool": "20", "url": "redis://:hunter2@h"}',
            "pool",
            '-… "pool": "20" …',
        ),
        ("{password: hunter2, pool: &x 20}", "pool", "-… pool: &x 20}"),
        ("password: {of: hunter2, size: 20, b: hunter2}", "password.size", "-… size: 20 …"),
        ("pool: 20 # password hunter2\n", "pool", "-pool: 20 …"),
        ("hunter2: {pool: 20}", "hunter2.pool", "-… pool: 20}"),
    ],
)
def test_no_secret_beside_it_is_shown(place: Path, text: str, key: str, line: str) -> None:
    place.write_text(text)
    found = plan(service(place, key), to=40)
    assert found.does[0].splitlines()[3] == line
    assert "hunter2" not in found.does[0]


def test_a_secret_of_the_service_file_is_masked(place: Path) -> None:
    place.write_text("pool: 20 # canary7\n")
    at = service(place, "pool", postgres=PostgresAt(dsn="postgresql://u:canary7@h/d"))
    assert plan(at, to=40).does[0].splitlines()[3] == "-pool: 20 # ***"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": 0}, "expected a number of connections from 1 to 10,000"),
        ({"to": 10_001}, "expected a number of connections"),
        ({}, "either --to N or --undo"),
        ({"to": 3, "undo": True}, "either --to N or --undo"),
    ],
)
def test_options_that_make_no_sense(place: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        plan(service(place), **options)


def test_without_a_place_it_says_what_to_write() -> None:
    with pytest.raises(UsageFault, match="does not say where the size of bot's pool is written") as caught:
        plan(Service(), to=40)
    assert "pool: {file: " in str(caught.value.hint)


def test_a_service_elsewhere_has_its_file_elsewhere(place: Path) -> None:
    with pytest.raises(UsageFault, match="runs on ops@app-1") as caught:
        plan(service(place, ssh="ops@app-1"), to=40)
    assert "oncall remediate resize-pool -s bot --to 40" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "data", "key", "said"),
    [
        ("gone.yaml", None, "pool", "cannot be read: no such file"),
        ("app.conf", b"pool=20", "pool", "its name does not tell its format"),
        ("app.yaml", b"pool: 20 # \xfc\n", "pool", "line 1: it is not UTF-8 text"),
        ("app.yaml", b"pool: [", "pool", "line 2: "),
        ("app.yaml", b"pool_size: 20", "pool", "it has no key pool"),
        ("app.yaml", b"pool: 20", "pool..x", "expected words with dots"),
        ("app.yaml", b"x" * 1_000_001, "pool", "larger than 1,000,000 bytes"),
    ],
)
def test_a_wrong_service_file_is_said(
    tmp_path: Path, name: str, data: bytes | None, key: str, said: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=said) as caught:
        plan(service(tmp_path / name, key), to=40)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "services.bot.pool" in str(caught.value.hint)


def test_no_number_is_refused(place: Path) -> None:
    place.write_text("pool: ${POOL_SIZE:-20}\n")
    found, results, checks, work = act(service(place, "pool"), to=40)
    state, text, _ = guard(found, "identity")
    assert state is GuardState.REFUSED
    assert "taken from the variable POOL_SIZE" in text
    assert (found.targets, results, checks, work.offers(results)) == ((), [], (), ())


def test_the_number_that_it_is_already(place: Path) -> None:
    state, text, _ = guard(plan(service(place), to=20), "empty-selection")
    assert (state, text) == (GuardState.REFUSED, "database.pool_size is 20 already")


def test_two_names_of_one_file(place: Path) -> None:
    os.link(place, place.with_name("other"))
    state, text, _ = guard(plan(service(place), to=40), "rights")
    assert state is GuardState.REFUSED
    assert "hard links" in text


def test_a_folder_that_is_closed(shared: Path) -> None:
    path = shared / "app.yaml"
    path.write_text(TEXT)
    path.chmod(0o666)
    with nobody(shared):
        state, text, hint = guard(plan(service(path), to=40), "rights")
    assert state is GuardState.REFUSED
    assert "no permission to write in" in text
    assert "as root" in hint


# --- the act -------------------------------------------------------------------------------------


def test_the_act_writes_one_number_and_keeps_the_rest(place: Path, state: Path) -> None:
    found, results, checks, work = act(service(place), to=40)
    assert place.read_text() == MORE
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert [r.state for r in results] == ["done"]
    assert results[0].id == found.targets[0].id
    assert checks == (Check(text=f"{place} says database.pool_size = 40", holds=True),)
    assert found.later
    (offer,) = work.offers(results)
    assert offer.command == "oncall remediate restart -s bot --issue pool --confirm"
    kept, record = sorted(state.iterdir(), key=lambda p: len(p.name))
    assert kept.read_text() == TEXT
    assert kept.name.endswith("-app.yaml")
    assert {stat.S_IMODE(p.stat().st_mode) for p in (kept, record)} == {0o600}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    said = json.loads(record.read_text())
    assert (said["file"], said["key"], said["number"], said["to"]) == (
        str(place),
        "database.pool_size",
        20,
        40,
    )
    assert (said["before"], said["after"]) == tuple(files.digest(t.encode()) for t in (TEXT, MORE))
    assert (said["mode"], said["uid"], said["gid"]) == (0o640, place.stat().st_uid, place.stat().st_gid)
    assert str(kept) in results[0].text


def test_a_link_stays_a_link(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "current.yaml"
    link.symlink_to(place)
    found, results, _, _ = act(service(link), to=40)
    assert found.place[0] == ("file", f"{place} (by the link {link})")
    assert results[0].state == "done"
    assert link.is_symlink()
    assert place.read_text() == MORE


def editor(place: Path) -> Between:
    def edit(work: Work) -> None:
        place.write_text(TEXT + "# by hand\n")

    return edit


def mover(place: Path) -> Between:
    """The link leads elsewhere now, to a file that reads the same."""

    def move(work: Work) -> None:
        other = place.with_name("other.yaml")
        other.write_text(TEXT)
        other.chmod(0o640)
        place.with_name("link.yaml").unlink()
        place.with_name("link.yaml").symlink_to(other)

    return move


@pytest.mark.parametrize("change", ["edited", "moved", "gone"])
def test_what_changed_since_the_plan_is_left_alone(place: Path, state: Path, change: str) -> None:
    link = place.with_name("link.yaml")
    link.symlink_to(place)
    between = {"edited": editor(place), "moved": mover(place), "gone": lambda work: place.unlink()}[change]
    _, results, checks, work = act(service(link), between, to=40)
    assert [r.state for r in results] == ["gone" if change == "gone" else "changed"]
    assert "since the plan" in results[0].text
    assert (checks, work.offers(results)) == ((), ())
    texts = {p.read_text() for p in place.parent.iterdir() if p.exists()}
    assert texts == {"edited": {TEXT + "# by hand\n"}, "moved": {TEXT}, "gone": set()}[change]
    assert not state.exists()


def test_an_editor_in_the_last_moment(place: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the backup, before the new file is in place: nothing is written, and no backup is left."""
    seen = files.replace

    def edit_first(*args: object) -> None:
        place.write_text(TEXT + "# by hand\n")
        seen(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "replace", edit_first)
    _, results, _, _ = act(service(place), to=40)
    assert results[0].state == "changed"
    assert place.read_text() == TEXT + "# by hand\n"
    assert list(state.iterdir()) == []


def test_without_a_backup_nothing_is_written(place: Path, state: Path) -> None:
    state.parent.parent.mkdir(parents=True)
    state.parent.write_text("a file where the folder would be")
    _, results, checks, _ = act(service(place), to=40)
    assert (results[0].state, checks) == ("failed", ())
    assert "nothing was changed" in results[0].text
    assert place.read_text() == TEXT


def test_a_folder_that_does_not_sync_is_no_failure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is in place: that is what is said."""

    def broken(folder: Path) -> None:
        if folder == place.parent:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "_sync_folder", broken)
    _, results, checks, _ = act(service(place), to=40)
    assert (results[0].state, checks[0].holds, place.read_text()) == ("done", True, MORE)


def test_the_proof_fails_where_somebody_writes_after_us(place: Path) -> None:
    _, results, _, work = act(service(place), to=40)

    def proof() -> bool | None:
        (check,) = asyncio.run(_proof(work, results))
        return check.holds

    place.write_text(TEXT.replace("20", "30"))
    assert proof() is False
    place.write_text("pool: [")
    assert proof() is False
    place.unlink()
    assert proof() is None


async def _proof(work: Work, results: list[TargetResult]) -> tuple[Check, ...]:
    return await work.checks(results, 0, lambda line: None)


# --- undone --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, "\ufeff" + TEXT.replace("\n", "\r\n"), TEXT.rstrip()])
def test_undo_restores_every_byte(place: Path, text: str) -> None:
    place.write_bytes(text.encode())
    act(service(place), to=40)
    found, results, checks, _ = act(service(place), undo=True)
    assert found.title == f"sets database.pool_size from 40 to 20 in {place}"
    assert "+  pool_size: 20" in found.does[0]
    assert found.undo == "oncall remediate resize-pool -s bot --to 40 --confirm"
    assert (results[0].state, checks[0].holds) == ("done", True)
    assert place.read_bytes() == text.encode()
    assert stat.S_IMODE(place.stat().st_mode) == 0o640


def test_undo_goes_back_step_by_step_and_no_further(place: Path) -> None:
    act(service(place), to=40)
    act(service(place), to=60)
    for number in (40, 20):
        assert act(service(place), undo=True)[1][0].state == "done"
        assert f"pool_size: {number} " in place.read_text()
    state, text, _ = guard(plan(service(place), undo=True), "empty-selection")
    assert state is GuardState.REFUSED
    assert "database.pool_size from 20 to 40" in text
    assert "has been undone already" in text
    assert act(service(place), undo=True)[1] == []
    assert place.read_text() == TEXT


def test_undo_does_not_go_back_and_forth(place: Path) -> None:
    """40 → 20 was a change of its own: undoing both ends there."""
    act(service(place), to=40)
    act(service(place), to=20)
    act(service(place), undo=True)
    assert place.read_text() == MORE
    act(service(place), undo=True)
    assert place.read_text() == TEXT
    assert act(service(place), undo=True)[1] == []


def test_undo_twice(place: Path) -> None:
    act(service(place), to=40)
    act(service(place), undo=True)
    state, text, _ = guard(plan(service(place), undo=True), "empty-selection")
    assert state is GuardState.REFUSED
    assert "has been undone already" in text


def test_an_edit_since_is_not_lost(place: Path, state: Path) -> None:
    act(service(place), to=40)
    place.write_text(MORE + "new: hunter2\n")
    found, results, _, _ = act(service(place), undo=True)
    verdict, text, hint = guard(found, "identity")
    assert verdict is GuardState.REFUSED
    assert "was edited since" in text
    (kept,) = (p for p in state.iterdir() if p.name.endswith("-app.yaml"))
    assert f"diff -u {kept} {place}" in hint
    assert (results, place.read_text()) == ([], MORE + "new: hunter2\n")
    assert "hunter2" not in text + hint


def test_nothing_to_undo(place: Path) -> None:
    state, text, _ = guard(plan(service(place), undo=True), "empty-selection")
    assert state is GuardState.REFUSED
    assert f"there is no backup of {place}" in text


def test_a_backup_of_another_file_is_none(place: Path, tmp_path: Path) -> None:
    act(service(place), to=40)
    other = tmp_path / "app.yaml"
    other.write_text(MORE)
    assert guard(plan(service(other), undo=True), "empty-selection")[0] is GuardState.REFUSED


def forged(state: Path, name: str, value: object) -> None:
    """A record that leads elsewhere."""
    (record,) = (p for p in state.iterdir() if p.name.endswith(".oncall.json"))
    said = json.loads(record.read_text()) | {name: value}
    record.write_text(json.dumps(said))


@pytest.mark.parametrize("way", ["backup", "missing", "record", "elsewhere"])
def test_a_backup_that_was_tampered_with_is_not_put_back(place: Path, state: Path, way: str) -> None:
    act(service(place), to=40)
    (kept,) = (p for p in state.iterdir() if p.name.endswith("-app.yaml"))
    if way == "backup":
        kept.write_text("evil: 1\n")
    elif way == "missing":
        kept.unlink()
    elif way == "record":
        (state / (kept.name + ".oncall.json")).write_text("{")
    else:
        forged(state, "kept", "../../../etc/passwd")
    found, results, _, _ = act(service(place), undo=True)
    assert any(g.state is GuardState.REFUSED for g in found.guards)
    assert (results, place.read_text()) == ([], MORE)


def test_an_edit_while_undoing(place: Path) -> None:
    act(service(place), to=40)
    _, results, _, _ = act(service(place), editor(place), undo=True)
    assert results[0].state == "changed"
    assert place.read_text() == TEXT + "# by hand\n"
