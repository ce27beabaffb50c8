"""Free space as a line of a check: a real node exporter under a real Prometheus, real `df` here and by ssh."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from oncall.checks import disk
from oncall.checks.disk import Limits, judge, line, look
from oncall.checks.mounts import Disks, Mount, distinct, parse
from oncall.lab.servers import free_port, start_node_exporter, stop
from oncall.model import Severity
from oncall.model_checks import CheckLine
from oncall.model_service import LogsAt, PrometheusAt, Service, SignalSpec, Threshold
from tests.clients.promstand import running, until
from tests.remediation.restartstand import path_with
from tests.remediation.sshstand import HOST, Sshd, lacking, sshd

GB = 1e9
LIMITS = Limits()
DF = """Filesystem     1024-blocks      Used Available Capacity Mounted on
udev              12334492         0  12334492       0% /dev
/dev/sda1         97656250  90000000   7656250      93% /
/dev/sda1         97656250  90000000   7656250      93% /var/lib/docker/x
/dev/sdb1           999320    111000    819508      12% /boot efi
tank/data        976562500 100000000 876562500      11% /data
/dev/loop3          130000    130000         0     100% /snap/core
tmpfs              2000000         0   2000000       0% /run
nas:/export     9765625000 100000000 966562500      11% /nas
==
Filesystem       Inodes   IUsed     IFree IUse% Mounted on
/dev/sda1       6000000  100000   5900000    2% /
/dev/sdb1             0       0         0     - /boot efi
tank/data      10000000 9800000    200000   98% /data
"""


def mount(free: float, size: float, **more: object) -> Mount:
    return Mount(mount="/", device="/dev/sda1", free=free, size=size, **more)  # type: ignore[arg-type]


def told(*mounts: Mount, limits: Limits = LIMITS) -> CheckLine:
    return line(Disks(mounts=mounts, source="host", query="df -kPl", age_s=0.0), limits, None)


@pytest.mark.parametrize(
    ("free", "size", "severity"),
    [
        (20 * GB, 100 * GB, "ok"), (19.9 * GB, 100 * GB, "warning"), (4.9 * GB, 100 * GB, "critical"),
        # 2 % of much is more than 5 GB
        (79 * GB, 4000 * GB, "critical"), (81 * GB, 4000 * GB, "ok"),
        # What could hardly ever have 20 GB free is judged by shares
        (15 * GB, 20 * GB, "ok"), (1.9 * GB, 20 * GB, "warning"), (0.5 * GB, 20 * GB, "critical"),
        (0.9 * GB, 1 * GB, "ok"), (0, 1 * GB, "critical"), (0, 100 * GB, "critical"), (0, 0, "critical"),
    ],
)  # fmt: skip
def test_how_much_should_be_free(free: float, size: float, severity: str) -> None:
    assert judge(mount(free, size), LIMITS)[0] == severity


def test_inodes_run_out_too() -> None:
    found = told(mount(90 * GB, 100 * GB, inodes=1e6, inodes_free=5e4))
    assert (found.severity, found.text) == (
        "warning",
        "/ 90 GB free of 100 GB (90%), only 5% of its inodes are free",
    )
    assert told(mount(90 * GB, 100 * GB, inodes=1e6, inodes_free=1e4)).severity == "critical"
    assert told(mount(90 * GB, 100 * GB, inodes=0, inodes_free=0)).severity == "ok"


def test_the_worst_first_and_in_words() -> None:
    found = told(*parse(DF, ""))
    assert found.severity == "critical"
    assert found.text == (
        "/data 898 GB free of 1 TB (89.8%), only 2% of its inodes are free; / 7.8 GB free of 100 GB (7.8%)"
    )
    assert found.next is not None
    assert found.next.command == "df -h"
    assert found.detail is not None
    assert [(row[0], row[5]) for row in found.detail.rows] == [
        ("/data", "critical"), ("/", "warning"), ("/boot efi", "ok"),
    ]  # fmt: skip


def test_a_small_one_says_how_it_is_judged() -> None:
    found = told(mount(1 * GB, 16 * GB))
    assert (found.severity, found.target) == ("warning", "above 10% free")
    assert found.text == "/ 1 GB free of 16 GB (6.2%), judged by its share, for it is smaller than 25 GB"
    assert found.warning == pytest.approx(1.6 * GB)
    assert found.critical == pytest.approx(0.48 * GB)


def test_what_is_read_only_does_not_fill_up() -> None:
    found = told(mount(0, 100 * GB, readonly=True), mount(50 * GB, 100 * GB))
    assert (found.severity, found.notes) == ("ok", ("read-only, not judged: /",))


def test_other_bounds() -> None:
    assert (
        told(mount(25 * GB, 100 * GB), limits=Limits(warning=30 * GB, critical=10 * GB)).severity == "warning"
    )
    shipped = disk._signal(Service())
    assert disk._limits(shipped, Service()) == LIMITS
    own = Service(thresholds={"disk_free": Threshold(warning=50 * GB, critical=10 * GB)})
    assert disk._limits(shipped, own) == Limits(warning=50 * GB, critical=10 * GB)
    # What can never have so much free is not called full for it
    assert told(mount(39 * GB, 40 * GB), limits=disk._limits(shipped, own)).severity == "ok"


def test_machines_apart() -> None:
    found = told(mount(3 * GB, 100 * GB, host="app-1"), mount(50 * GB, 100 * GB, host="app-2"))
    assert found.text == "app-1 / 3 GB free of 100 GB (3%)"


def test_what_df_prints() -> None:
    mounts = {m.mount: m for m in parse(DF, "app-1")}
    assert set(mounts) == {"/", "/boot efi", "/data"}
    assert (mounts["/"].free, mounts["/"].size) == (7656250 * 1024, 97656250 * 1024)
    assert (mounts["/"].inodes, mounts["/"].inode_share) == (6e6, 5_900_000 / 6_000_000)
    assert (mounts["/boot efi"].inode_share, mounts["/data"].inode_share) == (None, 0.02)
    assert parse("", "") == parse("df: command not found\n", "") == ()
    # A container's root is an overlay, and a disk all the same
    (root,) = parse("overlay 1000 500 500 50% /\nshm 65536 0 65536 0% /dev/shm\n==\n", "")
    assert (root.mount, root.device) == ("/", "overlay")


@given(st.lists(st.builds(mount, st.floats(0, 1e13), st.floats(1, 1e13)), min_size=1, max_size=8))
def test_the_verdict_is_that_of_the_worst(mounts: list[Mount]) -> None:
    order = (Severity.OK, Severity.WARNING, Severity.CRITICAL)
    found = told(*mounts)
    assert found.severity == max((judge(m, LIMITS)[0] for m in mounts), key=order.index)
    assert found.value in [m.free for m in mounts]


def test_mounted_twice_is_full_once() -> None:
    twice = [Mount(mount=path, device="/dev/sda1", free=1, size=2) for path in ("/a/b", "/a", "/c/d/e")]
    assert [m.mount for m in distinct(twice)] == ["/a"]


# --- this machine, and one by ssh ------------------------------------------------------------------------


def seen(service: Service, deadline_s: float = 20, signal: SignalSpec | None = None) -> CheckLine:
    (found,) = asyncio.run(look(service, deadline_s, signal))
    return found


def test_this_machine() -> None:
    found = seen(Service(url="http://localhost:8000"))
    assert (found.source, found.unit, found.age_s) == ("host", "bytes", 0)
    assert found.value is not None
    assert found.detail is not None
    root = shutil.disk_usage("/")
    rows = {str(row[0]): row for row in found.detail.rows}
    assert rows["/"][2] == pytest.approx(root.total, rel=0.01)
    assert rows["/"][1] == pytest.approx(root.free, rel=0.05)


def test_where_it_runs_is_not_known() -> None:
    found = seen(Service())
    assert (found.severity, found.counts, found.value) == ("unknown", False, None)
    found = seen(Service(url="http://far.example"))
    assert (found.severity, found.counts) == ("unknown", False)
    assert found.reason == "the service runs on far.example; set `ssh` to look at it there"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    why = lacking()
    if why:
        pytest.fail(why)
    folder = tmp_path_factory.mktemp("there")
    # That machine is another one than this: its disk is nearly full
    fake = folder / "bin"
    fake.mkdir()
    (fake / "df").write_text("#!/bin/sh\ncat <<'EOF'\n" + DF.partition("==\n")[0] + "EOF\n")
    (fake / "df").chmod(0o755)
    with sshd(tmp_path_factory.mktemp("sshd"), f"{fake}:/usr/bin:/bin") as made:
        yield made


def test_another_machine(there: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(there.client))
    found = seen(Service(ssh=f"root@{HOST}" if os.geteuid() == 0 else HOST))
    assert found.severity == "warning", found
    assert (found.text or "").startswith("/ 7.8 GB free of 100 GB (7.8%)")
    assert found.next is not None
    assert found.next.command.endswith(f"{HOST} df -h")
    monkeypatch.setenv("PATH", path_with(there.stranger))
    found = seen(Service(ssh=HOST))
    assert (found.severity, found.counts) == ("unknown", True)
    assert (found.reason or "").startswith(f"no ssh to {HOST}: ")


# --- a node exporter --------------------------------------------------------------------------------------


def test_a_node_exporter_of_its_machine(tmp_path: Path) -> None:
    node = start_node_exporter(tmp_path)
    bot = f"127.0.0.1:{free_port()}"
    try:
        asyncio.run(_exported(tmp_path, node.url.removeprefix("http://"), bot))
    finally:
        stop(node)


async def _exported(folder: Path, node: str, bot: str) -> None:
    async with running(folder, {"node": [node], "bot": [bot]}) as (client, server):
        await until(client, 'node_filesystem_avail_bytes and on () up{job="bot"}')
        # The service is far away for us, and yet its machine's exporter is known by its host
        service = Service(
            url="http://far.example", prometheus=PrometheusAt(url=server.url, selector={"job": "bot"})
        )
        (found,) = await look(service, 60)
        assert (found.source, found.severity != "unknown") == ("prometheus", True), found
        assert found.detail is not None
        rows = {str(row[0]): row for row in found.detail.rows}
        assert rows["/"][2] == pytest.approx(shutil.disk_usage("/").total, rel=0.01)
        assert found.age_s is not None
        assert 0 <= found.age_s < 60
        assert 'up{job="bot"}' in (found.query or "")
        # Another service's machines have none: then the machine itself is asked
        other = Service(
            logs=LogsAt(file="/x"), prometheus=PrometheusAt(url=server.url, selector={"job": "other"})
        )
        (found,) = await look(other, 60)
        assert (found.source, found.severity != "unknown") == ("host", True)
        own = SignalSpec(promql='min(node_filesystem_size_bytes{mountpoint="/"}) * 0 + 3e9', below=True)
        (found,) = await look(replace(service, signals={"disk_free": own}), 60)
        assert (found.severity, found.value, found.text) == ("critical", 3e9, "3 GB free")
        none = SignalSpec(gauge="no_such_metric")
        (found,) = await look(replace(service, signals={"disk_free": none}), 60)
        assert (found.severity, found.value, found.counts) == ("unknown", None, True)


def test_a_prometheus_that_is_down_is_said_unless_the_machine_tells() -> None:
    down = PrometheusAt(url="http://127.0.0.1:1")
    found = seen(Service(url="http://far.example", prometheus=down))
    assert (found.severity, found.counts) == ("unknown", True)
    assert "127.0.0.1:1" in (found.reason or "")
    assert "set `ssh`" in (found.reason or "")
    assert seen(Service(url="http://localhost", prometheus=down)).source == "host"
