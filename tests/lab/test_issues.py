"""Each fault of errors, latency and memory shows the symptom of its issue, and is mended without a trace.

Several are broken at once where none hides another: that they go together is tested along with them."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from oncall.lab import faults, parts, scenes, watch
from oncall.lab.place import Fault
from oncall.lab.process import is_alive
from oncall.lab.together import apart

from .conftest import Lab, closes_the_circle, proves, until

GROUPS = (
    ("errors.database_unavailable",),
    ("errors.cache_unavailable", "latency.lock_contention"),
    ("errors.invalid_input", "memory.unexplained_growth"),
    ("errors.rate_limited", "memory.queue_backlog"),
    ("errors.ollama_down", "memory.cache_growth"),
    ("latency.slow_queries",),
    ("latency.slow_queries:runaway_reports",),
    ("latency.ollama_slow", "memory.connection_leak"),
    ("latency.resource_exhaustion:runaway_job",),
    ("latency.too_many_requests",),
)
"""What is broken together: causes, some with a variant that is not the usual one."""
BURN = {"latency.slow_queries", "latency.resource_exhaustion:runaway_job", "latency.too_many_requests"}
MENDED = {
    "errors.database_unavailable",
    "latency.lock_contention",
    "latency.slow_queries:runaway_reports",
    "memory.cache_growth",
    "memory.connection_leak",
    "memory.unexplained_growth",
}
"""What an action mends; the pool's are in test_faults.py. A leak begins anew with the process: the proof is had
before much has come together."""
STRONGER = {
    "memory": "2",
    "memory.connection_leak": "1.2",
    "latency": "1.2",
    "latency.resource_exhaustion": "2.5",
}
"""By cause, else by issue. Memory grows twice as fast as usual: less time to wait."""
RESTART = "oncall remediate restart -s lab --issue latency --confirm"


def cause_of(broken: str) -> str:
    return broken.partition(":")[0]


PARAMS = [pytest.param(group, marks=[pytest.mark.burns] if BURN & set(group) else []) for group in GROUPS]


def health(lab: Lab, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"{lab.record.url('service')}{path}", timeout=10) as response:
            return response.status, json.load(response)["status"]
    except HTTPError as error:
        return error.code, json.load(error)["status"]


def issues(causes: Iterable[str]) -> list[str]:
    return [cause.partition(".")[0] for cause in causes]


def breaks(lab: Lab, broken: str) -> None:
    cause, _, variant = broken.partition(":")
    strength = STRONGER.get(cause, STRONGER.get(cause.partition(".")[0], "1"))
    lab.do("break", cause, "--intensity", strength, *(["--variant", variant] if variant else []))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", PARAMS, ids="+".join)
def test_its_symptom_shows_and_heals(
    labs: Callable[[int], Lab], tmp_path: Path, group: tuple[str, ...]
) -> None:
    lab, causes = labs(15), [cause_of(broken) for broken in group]
    try:
        for broken in group:
            breaks(lab, broken)
        record = lab.record
        assert {fault.cause for fault in record.faults} == set(causes)
        for issue in issues(causes):
            until(partial(watch.troubled, record, issue), 90)
        if "errors.database_unavailable" in causes:
            assert health(lab, "/health/db") == (503, "disconnected")
        if "errors.cache_unavailable" in causes:
            assert health(lab, "/health/cache") == (503, "unhealthy")
        for broken in (one for one in group if one in MENDED):
            closes_the_circle(lab, cause_of(broken), tmp_path)
        if "latency.resource_exhaustion:runaway_job" in group:
            ends_the_job(lab, tmp_path)
    finally:
        said = lab.do("heal")
    assert all(cause in said for cause in causes)
    record = lab.record
    assert record.faults == ()
    for issue in issues(causes):
        until(partial(watch.quiet, record, issue), 60)
    assert json.loads(lab.do("status", "--output", "json"))["state"] == "up"
    assert {part.name for part in record.parts} & {"lock", "batch", "filler", "neighbour"} == set()


def ends_the_job(lab: Lab, state: Path) -> None:
    """Where other programs keep the machine busy as well, no restart is handed over; here it helps all the same."""
    seen: list[dict[str, Any]] = []

    def sure() -> bool:
        seen[:] = lab.diagnose("latency")["causes"][:1]
        found = (seen[0]["id"], seen[0]["confidence"])
        return found[0] == "latency.resource_exhaustion" and found[1] in ("confirmed", "likely")

    until(sure, 60)
    assert [step["command"] for step in seen[0]["next"]] in ([], [RESTART])
    proves(lab, RESTART, state)


def test_what_cannot_happen_side_by_side_is_refused_by_name(labs: Callable[[int], Lab]) -> None:
    lab = labs(15)
    lab.do("break", "errors.database_unavailable", "--variant", "crashed")
    try:
        refused = lab.run("break", "latency.slow_queries")
        assert refused.returncode == 3
        assert "errors.database_unavailable" in refused.stderr
        assert [fault.cause for fault in lab.record.faults] == ["errors.database_unavailable"]
        state = json.loads(lab.do("status", "--output", "json"))
        assert state["state"] == "up"
        assert [part["name"] for part in state["parts"] if part["on_purpose"]] == ["postgres"]
        assert "stopped on purpose" in lab.do("status")
    finally:
        lab.do("heal")
    until(lambda: health(lab, "/health/db") == (200, "connected"), 30)


def test_healing_brings_back_what_has_crashed(labs: Callable[[int], Lab]) -> None:
    lab = labs(15)
    lab.do("break", "errors.cache_unavailable", "--variant", "full")
    lab.do("break", "errors.database_unavailable", "--variant", "password_changed")
    for name in ("redis", "filler", "postgres", "service"):
        part = lab.record.part(name)
        psutil.Process(part.pid).kill()
        until(partial(parts.gone, part), 20)
    assert lab.run("status").returncode == 2
    lab.do("heal")
    assert json.loads(lab.do("status", "--output", "json"))["state"] == "up"
    until(lambda: health(lab, "/health/db") == (200, "connected"), 30)
    until(lambda: health(lab, "/health/cache") == (200, "healthy"), 30)
    until(lambda: watch.quiet(lab.record, "errors"), 60)


def test_down_takes_what_was_stopped_and_what_burns_along(own: Lab) -> None:
    own.do("up")
    for cause in ("errors.database_unavailable", "errors.cache_unavailable", "errors.ollama_down"):
        own.do("break", cause)
    own.do("break", "latency.resource_exhaustion", "--variant", "neighbour", "--intensity", "0.1")
    burning = psutil.Process(own.record.part("neighbour").pid).children()
    found = [(child.pid, child.create_time()) for child in burning]
    assert found
    own.do("down")
    assert own.leaves_nothing()
    assert not any(is_alive(*child) for child in found)


@pytest.mark.parametrize("name", ["busy", "analytics"])
def test_a_healthy_scene_stays_healthy(labs: Callable[[int], Lab], name: str) -> None:
    lab = labs(15)
    scenes.begin(lab.folder, name)
    try:
        assert set(lab.record.scenes) == {name}
        until(lambda: not watch.troubled(lab.record, "errors"), 30)
    finally:
        assert scenes.finish(lab.folder) == (name,)
    assert lab.record.scenes == {}
    assert {part.name for part in lab.record.parts} & {"analytics"} == set()


def fault(cause: str, variant: str | None = None) -> Fault:
    return Fault(cause, faults.variant_of(cause, variant), intensity=1, seed=1, since=0)


def test_most_faults_go_together() -> None:
    every = [fault(cause, name) for cause, kind in faults.KINDS.items() for name in kind.variants]
    pairs = [(a, b) for a in every for b in every if a.cause < b.cause]
    refused = [(a, b) for a, b in pairs if apart(a, b)]
    assert all(apart(b, a) for a, b in refused)
    assert len(refused) < 0.1 * len(pairs)
    for cause in faults.KINDS:
        assert any(not apart(a, b) for a, b in pairs if cause in (a.cause, b.cause))


def test_all_twenty_causes_of_the_contract_are_there() -> None:
    assert len(faults.KINDS) == 20
    assert all(kind.variants and kind.intensity for kind in faults.KINDS.values())
