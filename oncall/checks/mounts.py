"""The file systems of the machines that a service runs on: from a node exporter, or from the machine's own `df`."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from oncall.clients.host import where_from
from oncall.clients.many import instants
from oncall.clients.prometheus import Prometheus, Vector
from oncall.clients.systemd import HERE, SSH_FAILED, no_ssh, run
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.signals import to_promql


class Mount(Frozen, frozen=True):
    """One file system. `free` is what a program that is not root may still write."""

    mount: str
    device: str
    free: float
    size: float
    inodes: float | None = None
    inodes_free: float | None = None
    host: str = ""
    readonly: bool = False

    @property
    def share(self) -> float:
        """What is free of the whole; of nothing nothing is free."""
        return self.free / self.size if self.size else 0.0

    @property
    def inode_share(self) -> float | None:
        return self.inodes_free / self.inodes if self.inodes and self.inodes_free is not None else None


class Disks(Frozen, frozen=True):
    """What was found, where, how, and how old it is."""

    mounts: tuple[Mount, ...]
    source: str
    query: str
    age_s: float | None = None


# --- from Prometheus -------------------------------------------------------------------------------


_HOST = '"host", "$1", "instance", "(.*?)(:[0-9]+)?"'
_REAL = 'fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|fuse.*|nfs.*|cifs|autofs|devtmpfs"'
# The exporter has another port and job than the service, so the host part of `instance` is what they share
_OF_ITS_MACHINES = f"and on (host) label_replace(up{{$selector}}, {_HOST})"
_METRICS = ("avail_bytes", "size_bytes", "files", "files_free", "readonly")
_AGE = "age"
Key: TypeAlias = tuple[str, str, str]
"""Host, mount point, device."""


async def exported(service: Service, deadline_s: float) -> Disks | Unavailable:
    """The file systems of the machines on which the service's targets are."""
    at = service.prometheus
    if at is None:
        return Unavailable(kind=Absence.NOT_CONFIGURED, reason="prometheus: not configured")
    texts = {name: _promql(f"node_filesystem_{name}{{{_REAL}}}", at.selector) for name in _METRICS}
    texts[_AGE] = _promql(f"time() - timestamp(node_filesystem_avail_bytes{{{_REAL}}})", at.selector)
    async with Prometheus(at) as server:
        answers = await instants(server, texts, None, deadline_s)
    values: dict[str, dict[Key, float]] = {}
    for name, answer in answers.items():
        if isinstance(answer, Unavailable):
            return answer
        if answer.warnings:
            return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
        values[name] = _by_mount(answer)
    mounts = _mounts(values)
    if not mounts:
        reason = "no node exporter of the machines of the service"
        return Unavailable(kind=Absence.NO_DATA, reason=reason)
    age = max(values[_AGE].values(), default=None)
    return Disks(mounts=mounts, source="prometheus", query=texts["avail_bytes"], age_s=age)


def _promql(expression: str, selector: Mapping[str, str]) -> str:
    text = f"label_replace({expression}, {_HOST}) {_OF_ITS_MACHINES}"
    return to_promql(SignalSpec(promql=text), selector, 300.0).text


def _by_mount(vector: Vector) -> dict[Key, float]:
    return {
        (s.labels.get("host", ""), s.labels.get("mountpoint", ""), s.labels.get("device", "")): s.value
        for s in vector.samples
        if math.isfinite(s.value)
    }


def _mounts(values: Mapping[str, Mapping[Key, float]]) -> tuple[Mount, ...]:
    return distinct(
        Mount(
            host=key[0],
            mount=key[1],
            device=key[2],
            free=free,
            size=values["size_bytes"][key],
            inodes=values["files"].get(key),
            inodes_free=values["files_free"].get(key),
            readonly=bool(values["readonly"].get(key)),
        )
        for key, free in values["avail_bytes"].items()
        if values["size_bytes"].get(key)
    )


# --- from the machine ------------------------------------------------------------------------------


# Of this machine alone: a server of files that does not answer would hold up df. Busybox knows no -l.
_SCRIPT = """
LC_ALL=C; export LC_ALL
out=$(df -kPl 2>/dev/null); [ -n "$out" ] || out=$(df -kP)
echo "$out"; echo ==; df -iPl 2>/dev/null || df -iP 2>/dev/null; :
"""
_ROW = re.compile(r"(.+?)\s+(\d+)\s+(\d+|-)\s+(-?\d+)\s+(?:\d+%|-)\s+(/.*)")
_DEVICE = re.compile(r"/dev/(?!loop|sr\d)\S+|[A-Za-z][\w.-]*/[\w./-]+", re.ASCII)
"""A block device, or a data set of ZFS."""


async def machine(service: Service, deadline_s: float) -> Disks | Unavailable:
    ssh = where_from(service)
    if isinstance(ssh, Unavailable):
        return ssh
    ran = await run(("sh", "-c", _SCRIPT.strip()), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    if ssh and ran.code == SSH_FAILED:
        return no_ssh(ran, ssh)
    mounts = parse(ran.out, "" if ssh is None else ssh.rpartition("@")[2])
    if not mounts:
        said = f": {ran.err[:200]}" if ran.err else ""
        return Unavailable(kind=Absence.BAD_ANSWER, reason=f"df on {ssh or HERE} shows no disk{said}")
    return Disks(mounts=mounts, source="host", query="df -kPl", age_s=0.0)


def parse(out: str, host: str) -> tuple[Mount, ...]:
    """The file systems on disks, as `df -kP` and after a line `==` `df -iP` show them. Pure."""
    bytes_, _, inodes = out.partition("==\n")
    counts = {row[5]: row for row in _rows(inodes)}
    found = []
    for row in _rows(bytes_):
        if row[5] != "/" and not _DEVICE.fullmatch(row[1]):
            continue
        of = counts.get(row[5])
        found.append(
            Mount(
                host=host,
                mount=row[5],
                device=row[1],
                free=max(0, int(row[4])) * 1024.0,
                size=int(row[2]) * 1024.0,
                inodes=float(of[2]) if of else None,
                inodes_free=float(of[4]) if of else None,
            )
        )
    return distinct(mount for mount in found if mount.size)


def _rows(text: str) -> list[re.Match[str]]:
    return [row for line in text.splitlines() if (row := _ROW.fullmatch(line.strip()))]


def distinct(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Each device once, by its shortest path: what is mounted twice is full once."""
    found: dict[tuple[str, str], Mount] = {}
    for mount in sorted(mounts, key=lambda m: (len(m.mount), m.mount)):
        found.setdefault((mount.host, mount.device), mount)
    return tuple(found.values())
