"""A real Prometheus for a test, over made-up samples or over targets that it scrapes."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from oncall.clients.prometheus import Prometheus, Sample, Vector
from oncall.lab.servers import Server, find_prometheus, start_prometheus, stop
from oncall.model_service import PrometheusAt, SignalSpec

KEEP = "60d"
"""A history that was made up is as old as a test wants it."""


def signal(**form: object) -> SignalSpec:
    """Of one form, as a file says it."""
    return msgspec.convert(form, SignalSpec)


def backfill(folder: Path, lines: Sequence[str], block: str = "2h") -> None:
    """Puts OpenMetrics lines (each with its time) where a Prometheus of this folder will find them, in blocks of so
    long: weeks in the blocks of two hours that are usual take long to open."""
    page, into = folder / "samples.txt", folder / "prometheus"
    page.write_text("\n".join([*lines, "# EOF", ""]))
    promtool = find_prometheus().with_name("promtool")
    importing = ["create-blocks-from", "openmetrics", f"--max-block-duration={block}"]
    command = [str(promtool), "tsdb", *importing, str(page), str(into)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


@asynccontextmanager
async def running(
    folder: Path, targets: Mapping[str, Sequence[str]] | None = None
) -> AsyncIterator[tuple[Prometheus, Server]]:
    server = await asyncio.to_thread(start_prometheus, folder, targets or {}, keep=KEEP)
    try:
        async with Prometheus(PrometheusAt(url=server.url)) as client:
            yield client, server
    finally:
        await asyncio.to_thread(stop, server)


async def ask(client: Prometheus, promql: str, at: float | None = None) -> tuple[Sample, ...]:
    """The samples of an instant query that must succeed."""
    got = await client.query(promql, at, 30)
    assert isinstance(got, Vector), (promql, got)
    return got.samples


async def until(client: Prometheus, promql: str) -> None:
    """Waits until a query has an answer that is not empty."""
    while not await ask(client, promql):  # noqa: ASYNC110 - no event: another process decides
        await asyncio.sleep(0.05)


def major_version() -> int:
    said = subprocess.run([find_prometheus(), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+)", said.stdout + said.stderr)
    assert found is not None
    return int(found[1])
