"""The host: the kernel's files of several machines, this machine, and one by ssh."""

import asyncio
import os
import platform
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients import host
from oncall.model import Absence, Scalar, Table, Unavailable
from oncall.model_service import LogsAt, Service

LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")

# Debian 12, kernel 6.1, four cores, with PSI; half a second of four cores is 200 ticks
DEBIAN = {
    "/proc/stat": "cpu  1000 10 500 90000 300 0 20 40 0 0\ncpu0 250 2 125 22500 75 0 5 10 0 0\n"
    "cpu1 250 3 125 22500 75 0 5 10 0 0\ncpu2 1 1 1 1 1 1 1 1 0 0\ncpu3 1 1 1 1 1 1 1 1 0 0\n"
    "intr 8885917 17 1034 0\nctxt 22848155\nbtime 1605316999\nprocesses 746787\n",
    "again": "cpu  1090 10 520 90040 340 0 20 50 30 0\n",
    "/proc/loadavg": "3.00 2.10 1.95 2/512 9212\n",
    "/proc/meminfo": "MemTotal:        8000000 kB\nMemFree:          400000 kB\nMemAvailable:    2000000 kB\n"
    "SwapTotal:       1000000 kB\nSwapFree:         900000 kB\nHugePages_Total:       0\n",
    "/proc/uptime": "352735.47 234388.90\n",
    "/proc/pressure/cpu": "some avg10=12.50 avg60=3.00 avg300=1.00 total=8812\nfull avg10=0.00 avg60=0 total=0\n",
    "/proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 total=0\n",
    "/proc/pressure/io": "some avg10=100.00 avg60=80.00 avg300=2.00 total=5\nfull avg10=90.00 total=4\n",
}
# CentOS 7, kernel 3.10: no PSI
CENTOS = {name: text for name, text in DEBIAN.items() if "pressure" not in name}
# Kernel 2.6.9: no steal, no MemAvailable; and an lxc container whose numbers stand still
OLD = CENTOS | {
    "/proc/stat": "cpu 10 0 10 70 10 0 0\ncpu0 10 0 10 70 10 0 0\n",
    "again": "cpu 20 0 10 140 30 0 0\n",
    "/proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\n",
}
FROZEN = DEBIAN | {"again": DEBIAN["/proc/stat"], "/proc/pressure/cpu": ""}


def row(answer: Table | Unavailable) -> dict[str, Scalar]:
    assert isinstance(answer, Table), answer
    assert len(answer.rows) == 1
    return dict(zip((column.name for column in answer.columns), answer.rows[0], strict=True))


def test_every_column() -> None:
    assert row(host.parse(DEBIAN, "here")) == {
        "cores": 4, "cpu_used": 0.6, "iowait": 0.2, "steal": 0.05, "load_1m": 3.0, "load_per_core": 0.75,
        "cpu_pressure": 0.125, "memory_pressure": 0.0, "io_pressure": 1.0,
        "memory_total": 8_192_000_000, "memory_available": 2_048_000_000, "available_share": 0.25,
        "swap_used": 102_400_000, "uptime_s": 352735.47,
    }  # fmt: skip


def test_what_a_kernel_does_not_tell_is_none() -> None:
    pressures = ("cpu_pressure", "memory_pressure", "io_pressure")
    assert {row(host.parse(CENTOS, "here"))[name] for name in pressures} == {None}
    old = row(host.parse(OLD, "here"))
    assert (old["cpu_used"], old["iowait"], old["steal"]) == (0.1, 0.2, None)
    assert (old["memory_available"], old["available_share"], old["swap_used"]) == (None, None, None)
    frozen = row(host.parse(FROZEN, "here"))
    assert (frozen["cpu_used"], frozen["iowait"], frozen["steal"], frozen["cpu_pressure"]) == (None,) * 4
    assert frozen["memory_pressure"] == 0.0
    alone = row(host.parse({"/proc/stat": "cpu 1 2 3 4\n"}, "here"))
    assert set(alone.values()) == {None}


def test_hundreds_of_cores_and_counters_that_go_back() -> None:
    many = "cpu 10 0 10 70 10 0 0 0 0 0\n" + "".join(f"cpu{i} 0 0 0 0\n" for i in range(384))
    # iowait is known to go back (proc(5)); a core that is taken away takes its time with it
    found = row(host.parse({"/proc/stat": many, "again": "cpu 40 0 10 140 5 0 0 0 0 0\n"}, "here"))
    assert (found["cores"], found["cpu_used"], found["iowait"]) == (384, 0.3, 0.0)


@pytest.mark.parametrize("text", ["", "intr 1\n", "cpu\n", "cpu x y z w\n", "cpu 1 2 3\n", "cpu 1 -2 3 4\n"])
def test_a_file_without_cpu_times_is_a_bad_answer(text: str) -> None:
    answer = host.parse({**DEBIAN, "/proc/stat": text}, "app-1")
    assert isinstance(answer, Unavailable)
    assert (answer.kind, "app-1" in answer.reason) == (Absence.BAD_ANSWER, True)


TICKS = st.lists(st.integers(0, 2**63), min_size=4, max_size=10)


@given(TICKS, TICKS)
def test_shares_are_shares(before: list[int], after: list[int]) -> None:
    used, iowait, steal = host.shares(tuple(before), tuple(after))
    for share in (used, iowait, steal):
        assert share is None or 0 <= share <= 1
    if used is not None:
        assert used + (iowait or 0) <= 1.0000001
        assert steal is None or steal <= used + 1e-9


@given(TICKS, TICKS, st.floats(0, 1e6))
def test_without_our_own_time_too(before: list[int], after: list[int], own: float) -> None:
    used = host.shares(tuple(before), tuple(after), own)[0]
    assert used is None or 0 <= used <= 1


@pytest.mark.parametrize(
    ("user", "idle", "own", "used"),
    [
        (20, 20, 20, 0.0),  # idle but for us
        (40, 0, 20, 1.0),  # full: others would take ours too
        (30, 10, 20, 0.25),  # as much idle as others took
        (38, 2, 20, 0.45),
        (20, 20, 25.5, 0.0),  # ticks are coarse
        (40, 0, 40, None),  # nobody else had a chance
    ],
)
def test_what_this_program_takes_is_no_load_of_the_machine(
    user: int, idle: int, own: float, used: float | None
) -> None:
    again = f"cpu {user} 0 0 {idle} 0"
    texts = {"/proc/stat": "cpu 0 0 0 0 0", "again": again, "own": f"{own:.2f}"}
    assert row(host.parse(texts, "here"))["cpu_used"] == used


@given(
    st.dictionaries(
        st.sampled_from([*host.FILES, "again", "own"]), st.text("cpu0189 .-\nsomeavg=MTtlkB:x²", max_size=60)
    )
)
def test_no_text_raises_or_makes_a_number_that_json_has_not(texts: dict[str, str]) -> None:
    answer = host.parse({**DEBIAN, **texts}, "here")
    if isinstance(answer, Table):
        assert all(v is None or (isinstance(v, int | float) and 0 <= v < 2**70) for v in answer.rows[0])


def test_sections_are_read_back() -> None:
    out = "".join(f"== {name}\n{text}" for name, text in DEBIAN.items()) + "== /proc/none\n"
    assert host.sections("Welcome to app-1\n" + out) == DEBIAN


# --- for real ------------------------------------------------------------------------------


@LINUX
def test_this_machine() -> None:
    reading = asyncio.run(host.state(None, 5))
    found = row(reading.answer)
    assert reading.source == "host"
    # A container may show fewer of the cores, never more
    assert isinstance(found["cores"], int)
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)
    for name in ("cpu_used", "iowait", "available_share"):
        value = found[name]
        assert value is None or (isinstance(value, float) and 0 <= value <= 1)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert isinstance(found["memory_total"], int)
    assert 0 < found["memory_total"] <= pages
    assert isinstance(found["uptime_s"], float)
    assert (found["cpu_pressure"] is None) == (host._text("/proc/pressure/cpu") == "")
    assert reading.ms is not None


def test_without_proc_it_is_not_applicable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_text", lambda name: "")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    answer = asyncio.run(host.state(None, 5)).answer
    assert isinstance(answer, Unavailable)
    assert answer.kind is Absence.NOT_APPLICABLE
    assert answer.reason == "not available on this machine, because Darwin has no /proc/stat"


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program `ssh` first on PATH; by itself it runs its words as sshd does: one line for a shell."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(body: str) -> None:
        (tmp_path / "ssh").write_text(f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift 2\n{body}\n')
        (tmp_path / "ssh").chmod(stat.S_IRWXU)

    make('exec sh -c "$*"')
    return make


@LINUX
def test_by_ssh_it_is_one_command(ssh: Callable[[str], None], tmp_path: Path) -> None:
    ssh(f'echo once >> {tmp_path}/times; echo "Welcome to app-1"; exec sh -c "$*"')
    reading = asyncio.run(host.state("ops@app-1", 20, gap_s=0.05))
    here = row(asyncio.run(host.state(None, 5, gap_s=0.01)).answer)
    there = row(reading.answer)
    assert (tmp_path / "times").read_text() == "once\n"
    assert {name for name, value in there.items() if value is None} <= {"cpu_used", "iowait", "steal"}
    assert (there["cores"], there["memory_total"]) == (here["cores"], here["memory_total"])


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ('echo "Connection refused" >&2; exit 255', Absence.DOWN, "no ssh to app-1: Connection refused"),
        ("exec tail -f /dev/null", Absence.TIMEOUT, "ssh did not end within 0.3 s"),
        ("echo '== /proc/stat'; echo '== again'", Absence.NOT_APPLICABLE, "app-1, because it has no /proc/stat"),
        ('echo "This account is not available." >&2; exit 1', Absence.NOT_APPLICABLE, "account is not available"),
        ("echo '== /proc/stat'; yes | head -c 100000", Absence.BAD_ANSWER, "has no line on the CPU"),
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_looked_at(
    ssh: Callable[[str], None], body: str, kind: Absence, says: str
) -> None:
    ssh(body)
    reading = asyncio.run(host.state("app-1", 0.3 if kind is Absence.TIMEOUT else 20, gap_s=0.01))
    assert isinstance(reading.answer, Unavailable)
    assert (reading.answer.kind, says in reading.answer.reason) == (kind, True)


# --- where the service runs ------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000", "http://127.0.0.1:8000/app", "http://[::1]:80", "http://127.9.9.9", "https://bot.localhost"],
)  # fmt: skip
def test_a_loopback_address_is_here(url: str) -> None:
    assert host.where_from(Service(url=url)) is None


def test_this_machines_own_names_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "App-1.example.com")
    for name in ("app-1", "app-1.example.com", "APP-1", "app-1.example.com."):
        assert host.where_from(Service(url=f"http://{name}:8000")) is None
    # The same first name in another domain is another machine: staging must not pass for production
    for name in ("app-1.staging.example.com", "app-2", "example.com", "192.0.2.1"):
        assert isinstance(host.where_from(Service(url=f"http://{name}:8000")), Unavailable)


def test_an_address_of_this_machine_is_here_and_no_other() -> None:
    assert host.is_here("127.0.0.1")
    assert not host.is_here("192.0.2.1")
    assert not host.is_here("2001:db8::1")
    assert not host.is_here("")


def test_elsewhere_needs_ssh() -> None:
    answer = host.where_from(Service(url="http://me:pa55@app-9.example.com:8000/x", unit="bot"))
    assert isinstance(answer, Unavailable)
    assert answer.kind is Absence.NOT_APPLICABLE
    assert answer.reason == "the service runs on app-9.example.com; set `ssh` to look at it there"
    assert host.where_from(Service(url="http://app-9:8000", ssh="ops@app-9")) == "ops@app-9"
    assert host.where_from(Service(ssh="ops@app-9")) == "ops@app-9"


def test_without_a_url_the_unit_or_the_log_tells() -> None:
    assert host.where_from(Service(unit="bot")) is None
    assert host.where_from(Service(logs=LogsAt(file="/var/log/bot.log"))) is None
    answer = host.where_from(Service())
    assert isinstance(answer, Unavailable)
    assert answer.kind is Absence.NOT_CONFIGURED
    assert re.match("not configured", answer.reason)
