"""The audit log: whole whatever happens to the machine, found out whoever changes it, and no action without it."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.errors import AuditError, AuditUnreadable, Exit
from oncall.lab.process import wait_until
from oncall.model import Column, Table
from oncall.model_acts import GuardState
from oncall.model_service import PostgresAt, Service
from oncall.remediation import audit, audit_file
from oncall.remediation.audit_who import who
from tests.remediation.auditstand import PLAN, actions, intent, outcome, refusal, write

CANARY = "s3cret-canary"


def raw(folder: Path) -> list[bytes]:
    return (folder / "audit.jsonl").read_bytes().splitlines(keepends=True)


def put(folder: Path, lines: list[bytes]) -> None:
    (folder / "audit.jsonl").write_bytes(b"".join(lines))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "state" / "oncall"


# --- as it is written ----------------------------------------------------------------------------


def test_each_line_has_the_hash_of_its_text_and_of_the_line_before(log: Path) -> None:
    actions(log, 3)
    before = ""
    for number, line in enumerate(raw(log), 1):
        entry = json.loads(line)
        # Whoever has nothing but a shell can check it: the line without its last field.
        text = re.sub(rb',"hash":"[0-9a-f]{64}"\}\n$', b"}", line)
        assert entry["hash"] == hashlib.sha256(text).hexdigest()
        assert (entry["number"], entry["previous"]) == (number, before)
        before = entry["hash"]
    assert json.loads((log / "audit.head").read_text()) == {"number": 6, "hash": before}


def test_it_is_its_owners_alone(log: Path) -> None:
    old = os.umask(0)
    try:
        write(log, intent())
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (log, log.parent)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in log.iterdir()} == {0o600}
    (log / "audit.jsonl").chmod(0o644)
    write(log, outcome(1))
    assert stat.S_IMODE((log / "audit.jsonl").stat().st_mode) == 0o600
    assert sorted(path.name for path in log.iterdir()) == ["audit.head", "audit.jsonl"]


def test_what_was_written_is_what_is_read(log: Path) -> None:
    first, second = write(log, intent(), outcome(1))
    assert (first.number, second.number, second.previous) == (1, 2, first.hash)
    assert list(audit.read(log)) == [second, first]
    assert first.plan == PLAN


def test_it_is_read_newest_first_and_no_further_than_is_asked(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "_BLOCK", 300)
    actions(log, 10)
    assert [entry.number for entry in audit.read(log)] == list(range(20, 0, -1))
    assert [entry.number for entry in audit.read(log, most=3)] == [20, 19, 18]
    lines = raw(log)
    put(log, [lines[0].replace(b"ana", b"eve"), *lines[1:]])
    entries = audit.read(log)
    assert [next(entries).number for _ in range(19)] == list(range(20, 1, -1))
    with pytest.raises(AuditUnreadable, match="it was changed"):
        next(entries)


def test_an_intent_is_open_until_its_outcome_is_there(log: Path) -> None:
    write(log, intent(), intent(action="flush-cache"), refusal(), outcome(1))
    assert [entry.number for entry in audit.open_intents(log)] == [2]
    assert audit.settled(2, log) is None
    settled = audit.settled(1, log)
    assert settled is not None
    assert settled.number == 4


def test_an_empty_log(log: Path) -> None:
    assert list(audit.read(log)) == []
    assert audit.open_intents(log) == ()
    assert audit.verify(log).whole
    assert not log.exists()


def test_a_table_too_long_for_a_line_is_left_out_and_said(log: Path) -> None:
    table = Table(columns=(Column(name="query"),), rows=(("x" * 3000,),) * 500)
    plan = PLAN.__class__(**{name: getattr(PLAN, name) for name in PLAN.__struct_fields__} | {"table": table})
    (entry,) = write(log, intent(plan=plan))
    assert entry.plan is not None
    assert entry.plan.table is None
    assert "500 rows" in entry.plan.notes[-1]
    with pytest.raises(AuditError, match="nothing was done"):
        write(log, intent(reason="x" * 2_000_000))
    assert audit.verify(log).entries == 1


# --- secrets -------------------------------------------------------------------------------------


def test_no_secret_is_written(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "env-canary")
    service = Service(postgres=PostgresAt(dsn=f"postgresql://u:{CANARY}@h/d"))
    entry = audit.entry(
        "intent",
        service,
        service="bot",
        environment="production",
        action="restart",
        argv=("oncall", f"--reason={CANARY}", "env-canary", "odd \udcff"),
        plan=PLAN.__class__(
            **{name: getattr(PLAN, name) for name in PLAN.__struct_fields__}
            | {"does": (f"curl -u me:{CANARY}",), "notes": (CANARY,)}
        ),
    )
    (written,) = write(log, entry)
    assert b"canary" not in (log / "audit.jsonl").read_bytes()
    assert written.argv == ("oncall", "--reason=***", "***", "odd \\udcff")
    assert audit.verify(log).whole


def test_a_password_that_is_also_a_name_hides_no_name(log: Path) -> None:
    service = Service(postgres=PostgresAt(dsn="postgresql://u:restart@h/d"))
    made = audit.entry("intent", service, service="restart-bot", environment="x", action="restart", plan=PLAN)
    (written,) = write(log, made)
    assert (written.action, written.service) == ("restart", "restart-bot")


# --- who -----------------------------------------------------------------------------------------


def test_who_and_from_where(tmp_path: Path) -> None:
    env = {"SUDO_USER": "ana", "SSH_CONNECTION": "10.0.0.7 52011 10.0.0.1 22"}
    me = who(env, tmp_path / "none")
    assert (me.uid, me.login, me.ssh_from) == (os.geteuid(), "ana", "10.0.0.7")
    assert me.user
    assert me.host
    plain = who({}, tmp_path / "none")
    assert (plain.login, plain.ssh_from) == (None, None)


def test_the_kernel_knows_better_than_the_environment_who_logged_in(tmp_path: Path) -> None:
    loginuid = tmp_path / "loginuid"
    loginuid.write_text("0\n")
    assert who({"SUDO_USER": "somebody-else"}, loginuid).login == "root"
    loginuid.write_text("4294967295\n")
    assert who({"SUDO_USER": "ana"}, loginuid).login == "ana"


# --- changed by somebody ---------------------------------------------------------------------------

Change = Callable[[list[bytes]], list[bytes]]
CHANGES: dict[str, tuple[Change, int, str]] = {
    "a word": (lambda ls: [*ls[:2], ls[2].replace(b'"ana"', b'"eve"'), *ls[3:]], 3, "it was changed"),
    "a line removed": (lambda ls: ls[:2] + ls[3:], 3, "entry 4 does not follow entry 2"),
    "the first removed": (lambda ls: ls[1:], 1, "entry 2 does not follow entry 0"),
    "two swapped": (lambda ls: [ls[0], ls[2], ls[1], *ls[3:]], 2, "entry 3 does not follow entry 1"),
    "one twice": (lambda ls: [*ls[:3], ls[2], *ls[3:]], 4, "entry 3 does not follow entry 3"),
    "a blank line": (lambda ls: [*ls[:3], b"\n", *ls[3:]], 4, "it is no entry"),
    "something else": (lambda ls: [*ls[:3], b"# fine\n", *ls[3:]], 4, "it is no entry"),
    "the last removed": (lambda ls: ls[:-1], 6, "ends with entry 5, and 6 had been written"),
    "the end cut off": (lambda ls: [*ls[:-1], ls[-1][:90]], 6, "its end was cut off"),
    "all but one": (lambda ls: ls[:1], 2, "ends with entry 1, and 6 had been written"),
    "emptied": (lambda ls: [], 1, "ends with entry 0, and 6 had been written"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_and_nothing_is_done_on_it(log: Path, name: str) -> None:
    actions(log, 3)
    change, line, said = CHANGES[name]
    put(log, change(raw(log)))
    found = audit.verify(log)
    assert (found.whole, found.line) == (False, line)
    assert said in (found.reason or "")


@pytest.mark.parametrize("name", ["the last removed", "the end cut off", "all but one", "emptied"])
def test_where_the_end_was_changed_nothing_is_done(log: Path, name: str) -> None:
    actions(log, 3)
    put(log, CHANGES[name][0](raw(log)))
    changed = raw(log)
    with pytest.raises(AuditError, match="cut off; nothing was done") as caught:
        write(log, intent())
    assert caught.value.exit_code == Exit.REFUSED
    report = audit.writable(log)
    assert report.state is GuardState.REFUSED
    assert raw(log) == changed
    with pytest.raises(AuditUnreadable, match="cut off"):
        next(audit.read(log))
    # What it says to do keeps the old log, and a new one begins.
    command = (report.hint or "").partition("begin anew: ")[2]
    subprocess.run(["sh", "-c", command], check=True)
    assert write(log, intent())[0].number == 1
    (kept,) = (path for path in log.iterdir() if path.is_dir())
    assert raw(kept) == changed


def test_a_log_that_is_gone_is_missed(log: Path) -> None:
    actions(log, 1)
    (log / "audit.jsonl").unlink()
    assert "2 entries had been written" in (audit.verify(log).reason or "")
    assert audit.writable(log).state is GuardState.REFUSED
    with pytest.raises(AuditError, match=r"it is gone, and audit\.head is there; nothing was done"):
        write(log, intent())
    assert not (log / "audit.jsonl").exists()
    with pytest.raises(AuditUnreadable, match="it is gone"):
        next(audit.read(log))


def test_without_its_head_the_end_cannot_be_told(log: Path) -> None:
    actions(log, 1)
    (log / "audit.head").unlink()
    assert "audit.head is missing" in (audit.verify(log).reason or "")
    with pytest.raises(AuditError, match=r"audit\.head is missing"):
        write(log, intent())


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0), byte=st.integers(0, 255))
def test_any_byte_changed_is_found(log_of_three: Path, place: int, byte: int) -> None:
    text = (log_of_three / "audit.jsonl").read_bytes()
    at = place % len(text)
    changed = text[:at] + bytes([byte]) + text[at + 1 :]
    with different(log_of_three, changed):
        assert audit.verify(log_of_three).whole == (changed == text)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0))
def test_any_cut_is_found(log_of_three: Path, place: int) -> None:
    text = (log_of_three / "audit.jsonl").read_bytes()
    kept = place % (len(text) + 1)
    with different(log_of_three, text[:kept]):
        # Of the last newline nothing depends.
        assert audit.verify(log_of_three).whole == (kept >= len(text) - 1)


@pytest.fixture(scope="module")
def log_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    actions(folder, 1)
    write(folder, intent())
    return folder


class different:
    """The log with another text for a while."""

    def __init__(self, folder: Path, text: bytes) -> None:
        self._path, self._text = folder / "audit.jsonl", text

    def __enter__(self) -> None:
        self._before = self._path.read_bytes()
        self._path.write_bytes(self._text)

    def __exit__(self, *error: object) -> None:
        self._path.write_bytes(self._before)


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [b'{"number":3,"kind":"int', b"\0" * 200, b"{", b'{"hash":"'])
def test_after_a_half_written_line_it_goes_on_soundly(log: Path, half: bytes) -> None:
    first, second = actions(log, 1)
    put(log, [*raw(log), half])
    found = audit.verify(log)
    assert (found.whole, found.entries) == (True, 2)
    assert "line 3, the last, is half written" in found.notes[0]
    assert audit.writable(log).state is GuardState.PASSED
    assert [entry.number for entry in audit.read(log)] == [2, 1]
    third, fourth = write(log, intent(), outcome(3))
    assert (third.number, third.previous) == (3, second.hash)
    assert raw(log)[2] == half + b"\n"
    assert list(audit.read(log)) == [fourth, third, second, first]
    found = audit.verify(log)
    assert (found.whole, found.entries) == (True, 4)
    assert "line 3 is half written" in found.notes[0]
    # And what the crash left is not to be changed either.
    lines = raw(log)
    put(log, [*lines[:2], half + b"x\n", *lines[3:]])
    assert (audit.verify(log).line, audit.verify(log).reason) == (3, "it is no entry")
    put(log, lines[:2] + lines[3:])
    assert "is gone" in (audit.verify(log).reason or "")


def test_crash_after_crash(log: Path) -> None:
    actions(log, 1)
    put(log, [*raw(log), b'{"number":3,\n{"numb'])
    assert audit.verify(log).whole
    write(log, intent())
    found = audit.verify(log)
    assert (found.whole, found.entries, found.open) == (True, 3, (3,))


def test_a_line_that_lacks_its_newline_only_is_an_entry(log: Path) -> None:
    actions(log, 1)
    put(log, [*raw(log)[:-1], raw(log)[-1].rstrip()])
    assert audit.verify(log).entries == 2
    assert write(log, intent())[0].number == 3
    assert audit.verify(log).whole


def test_a_crash_between_the_line_and_its_head(log: Path) -> None:
    actions(log, 1)
    head = (log / "audit.head").read_bytes()
    write(log, intent())
    (log / "audit.head").write_bytes(head)
    found = audit.verify(log)
    assert (found.whole, found.open) == (True, (3,))
    assert "just before a crash" in found.notes[0]
    assert write(log, outcome(3))[0].number == 4
    assert audit.verify(log).notes == ()
    (log / "audit.head").write_bytes(head)
    assert "an older one was put there" in (audit.verify(log).reason or "")
    with pytest.raises(AuditError, match="an older one"):
        write(log, intent())


WRITER = """
import sys
from pathlib import Path
from tests.remediation.auditstand import intent, write
while True:
    write(Path(sys.argv[1]), intent(reason="x" * 20_000))
"""


def test_killed_at_any_moment_it_stays_whole(log: Path) -> None:
    path = log / "audit.jsonl"

    def size() -> int:
        return path.stat().st_size if path.exists() else 0

    for _ in range(4):
        child, enough = subprocess.Popen([sys.executable, "-c", WRITER, log]), size() + 60_000
        try:
            wait_until(partial(_more, size, enough), "some entries", child=child, seconds=60)
        finally:
            child.kill()
            child.wait()
        found = audit.verify(log)
        assert found.whole, found.reason
        last = next(audit.read(log)).number
        assert write(log, intent())[0].number == last + 1
    assert audit.verify(log).whole


def _more(size: Callable[[], int], enough: int) -> bool:
    return size() > enough


def test_several_write_at_once(log: Path) -> None:
    script = WRITER.replace("while True", "for _ in range(8)").replace("20_000", "2_000")
    children = [subprocess.Popen([sys.executable, "-c", script, log]) for _ in range(4)]
    assert [child.wait(100) for child in children] == [0] * 4
    found = audit.verify(log)
    assert (found.whole, found.entries) == (True, 32)


def test_a_writer_that_was_stopped_holds_up_nobody_for_long(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "PATIENCE_S", 0.1)
    write(log, intent())
    with audit_file.AuditFile(log).opened():
        with pytest.raises(AuditError, match=r"another process has held it.*nothing was done"):
            write(log, intent())
        assert audit.writable(log).state is GuardState.REFUSED
    write(log, intent())


# --- where it cannot be written --------------------------------------------------------------------


@pytest.mark.parametrize("make", ["directory", "pipe", "file above"])
def test_what_is_no_file_is_refused(log: Path, make: str) -> None:
    if make == "file above":
        log.parent.mkdir()
        log.write_text("in the way")
    else:
        log.mkdir(parents=True)
        path = log / "audit.jsonl"
        path.mkdir() if make == "directory" else os.mkfifo(path)
    assert audit.writable(log).state is GuardState.REFUSED
    with pytest.raises(AuditError, match="cannot be written") as caught:
        write(log, intent())
    assert "nothing was done" in str(caught.value)
    assert audit.try_append(refusal(), log, None) is None


FULL = """
import sys
from contextlib import suppress
from pathlib import Path
from oncall.errors import AuditError
from oncall.remediation import audit
from oncall.remediation.lock import look, operator_lock
from tests.remediation.auditstand import intent, outcome, write

folder = Path(sys.argv[1]) / "oncall"
write(folder, intent(), outcome(1))
before = (folder / "audit.jsonl").read_bytes()
assert audit.writable(folder).state == "passed", audit.writable(folder)
filler = Path(sys.argv[1]) / "filler"
with filler.open("wb", buffering=0) as file, suppress(OSError):
    while True:
        file.write(b"x" * 4096)
print(audit.writable(folder).state, audit.writable(folder).text)
with operator_lock("bot", "restart", folder / "locks"):
    print(look("bot", folder / "locks"))
try:
    write(folder, intent(reason="y" * 300_000))
except AuditError as error:
    print(int(error.exit_code), error)
try:
    write(folder, outcome(1, text="y" * 300_000))
except AuditError as error:
    print(error)
assert (folder / "audit.jsonl").read_bytes() == before
filler.unlink()
assert audit.writable(folder).state == "passed"
assert write(folder, intent())[0].number == 3
assert audit.verify(folder).whole
print("fine")
"""


def unshared(folder: Path, script: str, mount: str) -> str:
    """Runs Python with a file system of its own at `folder`, in a namespace of its own."""
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    shell = f'mount -t tmpfs {mount} none "$0" && exec "$@"'
    python = [sys.executable, "-c", script, str(folder)]
    words = ["unshare", "--mount", *root, "sh", "-euc", shell, str(folder), *python]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_on_a_full_disk_nothing_is_done_and_nothing_is_left(tmp_path: Path) -> None:
    guard, locked, intended, ended, fine = unshared(tmp_path, FULL, "-o size=1m").splitlines()
    assert re.match(r"refused .*cannot be written: only \d+ bytes are free on its disk", guard)
    assert "acts on this service; who it is cannot be read" in locked
    assert re.match(
        r"4 the audit log .* cannot be written: no space left on device; nothing was done", intended
    )
    assert "what was done stands: entry 1 stays without an outcome" in ended
    assert fine == "fine"


def test_on_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    script = """
    import sys, subprocess
    from pathlib import Path
    from oncall.errors import AuditError
    from oncall.remediation import audit
    from tests.remediation.auditstand import intent, write
    folder = Path(sys.argv[1]) / "oncall"
    write(folder, intent())
    subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
    print(audit.writable(folder).state, audit.writable(folder).text)
    try:
        write(folder, intent())
    except AuditError as error:
        print(error)
    print(audit.verify(folder).whole)
    """
    guard, refused, whole = unshared(tmp_path, textwrap.dedent(script), "-o size=4m").splitlines()
    assert "refused" in guard
    assert "read-only file system" in guard
    assert refused.endswith("read-only file system; nothing was done")
    assert whole == "True"


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(log: Path) -> None:
    write(log, intent(), outcome(1))
    before = raw(log)
    script = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    from oncall.errors import AuditError
    from oncall.remediation import audit
    from tests.remediation.auditstand import intent, write
    folder = Path(sys.argv[1])
    size = (folder / "audit.jsonl").stat().st_size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    print(audit.writable(folder).state, audit.writable(folder).text)
    try:
        write(folder, intent())
    except AuditError as error:
        print(error)
    """)
    ran = subprocess.run([sys.executable, "-c", script, log], capture_output=True, text=True, timeout=100)
    guard, refused = ran.stdout.splitlines()
    assert "refused" in guard
    assert "ulimit -f" in guard
    assert "file too large; nothing was done" in refused
    assert raw(log) == before
    assert audit.verify(log).whole
