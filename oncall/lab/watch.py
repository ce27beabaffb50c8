"""What the lab's service says about itself, and waiting for it: a usual time, trouble, recovery."""

import json
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode

from oncall.errors import LabError
from oncall.lab.place import Record
from oncall.lab.servers import direct

Tick = Callable[[str], None]


class Pool(NamedTuple):
    """The pool as the service counts it."""

    active: float
    size: float
    waiting: float

    @property
    def troubled(self) -> bool:
        """Over 80 % of the pool is held, or somebody waits."""
        return self.active > 0.8 * self.size or self.waiting > 0

    @property
    def exhausted(self) -> bool:
        """Somebody waits and nothing is left that could be given."""
        return self.waiting > 0 and (self.active >= self.size or self.active == 0)

    @property
    def quiet(self) -> bool:
        """Half of the pool is free, and nobody waits."""
        return self.active < 0.5 * self.size and self.waiting == 0


def pool(record: Record) -> Pool:
    """Reads the pool's three gauges from /metrics. Raises LabError where the service does not answer."""
    from prometheus_client.parser import text_string_to_metric_families

    url = f"{record.part('service').url}/metrics"
    try:
        with direct.open(url, timeout=5) as response:
            text = response.read().decode()
    except OSError as error:
        raise LabError(
            f"the lab's service does not answer at {url}: {error}", hint="oncall lab status"
        ) from None
    found = {
        sample.name.removeprefix("db_connection_pool_"): sample.value
        for family in text_string_to_metric_families(text)
        if family.name.startswith("db_connection_pool_")
        for sample in family.samples
    }
    return Pool(found["active"], found["size"], found["waiting"])


def samples(record: Record, since: float) -> int:
    """How many samples of the pool Prometheus holds from `since` (Unix seconds) until now."""
    window = max(1, int(time.time() - since))
    return _asked(record, f'count_over_time(db_connection_pool_active{{job="bot-controller"}}[{window}s])')


def waits_seen(record: Record) -> int:
    """In how many of the last sixty seconds somebody waited for a connection, as Prometheus saw it."""
    return _asked(record, "count_over_time((db_connection_pool_waiting > 0)[60s:1s])")


def _asked(record: Record, query: str) -> int:
    """A whole number from the lab's Prometheus; 0 where it has no answer. Raises LabError."""
    url = f"{record.part('prometheus').url}/api/v1/query?{urlencode({'query': query})}"
    try:
        with direct.open(url, timeout=5) as response:
            answer = json.load(response)
    except OSError as error:
        raise LabError(f"the lab's Prometheus does not answer: {error}", hint="oncall lab status") from None
    return sum(int(float(series["value"][1])) for series in answer["data"]["result"])


def await_usual(record: Record, since: float, wanted: int, tick: Tick) -> None:
    """Waits until Prometheus holds `wanted` samples of the time from `since` on. Raises LabError."""
    deadline = time.monotonic() + 2 * wanted + 30
    while (held := samples(record, since)) < wanted:
        tick(f"{held} of {wanted} samples")
        if time.monotonic() > deadline:
            raise LabError(f"Prometheus holds {held} samples only", hint="oncall lab status")
        time.sleep(1)


def await_pool(record: Record, wanted: Callable[[Pool], bool], what: str, seconds: float, tick: Tick) -> Pool:
    """Waits until the pool is as wanted. Raises LabError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not wanted(now := pool(record)):
        tick(f"{now.active:g} of {now.size:g} connections held, {now.waiting:g} waiting")
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {seconds:g} s", hint="oncall lab status")
        time.sleep(0.5)
    return now
