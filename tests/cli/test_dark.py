"""Dark mode: each backend taken away, dead, without rights, frozen. What is not seen is named and proves nothing."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from oncall.errors import Exit
from tests.cli.bright import Bright, history_server, part
from tests.cli.darkness import CASES, HISTORY, LOGS, OLLAMA, POSTGRES, REDIS, UNIT, WELL, Dark, shims
from tests.cli.program import Program, signal
from tests.processes import frozen

FAST = ("--interval", "200ms")
# Where nothing is frozen nothing waits: a busy machine has time to answer.
PATIENT = "60s"
Report = dict[str, Any]
# The report calls a step by its backend; the service's own page is asked for signals, its health by http.
STEPS = {"logs", "postgres", "redis", "ollama", "http", "network"}
DARKENS = {"scrape": {"http", "scrape"}, "prometheus": {"prometheus"}}


def diagnosed(program: Program, *words: str) -> tuple[Report, int]:
    asked = ("--timeout", PATIENT, *words) if "--timeout" not in words else words
    said = program.run("diagnose", *FAST, "--output", "json", *asked, timeout=120)
    assert "canary" not in said.all
    return said.json, said.code


def each(report: Report, key: str) -> Iterator[dict[str, Any]]:
    return (item for found in report["diagnoses"] for item in found[key])


def blamed(report: Report) -> set[str]:
    return {c["id"] for c in each(report, "causes") if c["confidence"] in ("confirmed", "likely")}


def missing(report: Report, cause: str) -> list[str]:
    return next(list(c["missing"]) for c in each(report, "causes") if c["id"] == cause)


def reasons(report: Report, backend: str) -> list[str]:
    """Why it could not be seen."""
    return [u["reason"] for u in each(report, "unseen") if re.match(rf"{backend}\b", u["what"])]


def the_others_answered(report: Report, *dark: str) -> None:
    gone = set().union(*({name, *DARKENS.get(name, ())} for name in dark))
    steps = [s for s in each(report, "steps") if s["probe"] in STEPS - gone]
    assert {s["probe"] for s in steps} == STEPS - gone
    assert [(s["id"], s["reason"]) for s in steps if s["status"] != "ok"] == []
    if not gone & {"prometheus", "scrape"}:
        assert {s["source"] for s in each(report, "signals") if s["id"] == "request_rate"} == {"prometheus"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_backend_is_dark(well: Bright, program: Program, tmp_path: Path, case: Dark) -> None:
    there = well.program(program, **case.change(well))
    path = shims(tmp_path / "bin", case.scripts)
    report, code = diagnosed(there.under(PATH=f"{path}:{there.env['PATH']}"))
    assert code == case.code
    assert [r for r in reasons(report, case.backend) if re.search(case.says, r)]
    for cause in case.needs:
        assert [m for m in missing(report, cause) if re.search(f"^{case.backend}: .*{case.says}", m)], cause
    the_others_answered(report, case.backend)
    assert blamed(report) <= case.blamed


FROZEN = (
    (("prometheus", "redis", "logs"), (*REDIS, *LOGS)),
    (("postgres", "ollama", "systemd"), (*POSTGRES, *OLLAMA)),
    (("scrape",), ()),
)


@pytest.mark.parametrize(("names", "needs"), FROZEN, ids=lambda one: " ".join(one)[:40])
def test_frozen_ones_are_waited_for_no_longer_than_told(
    well: Bright, program: Program, tmp_path: Path, names: Sequence[str], needs: Sequence[str]
) -> None:
    pids = {
        "prometheus": well.prometheus.pid,
        "redis": well.redis.pid,
        "postgres": well.postgres.server.pid,
        "ollama": well.ollama.pid,
        "scrape": well.web.pid,
    }
    hangs = {"logs": "journalctl", "systemd": "systemctl"}
    path = shims(tmp_path / "bin", {**WELL, **{hangs[n]: "exec sleep 600" for n in names if n in hangs}})
    changes: dict[str, Any] = dict(UNIT) if set(names) & set(hangs) else {}
    if "logs" in names:
        changes["logs"] = None
    there = well.program(program, **changes)
    with ExitStack() as kept:
        for name in names:
            if name in pids:
                kept.enter_context(frozen(pids[name]))
        report, code = diagnosed(there.under(PATH=f"{path}:{there.env['PATH']}"), "--timeout", "10s")
    assert code == (Exit.CRITICAL if "scrape" in names else Exit.UNKNOWN)
    assert report["duration_ms"] <= 11_000
    for name in names:
        assert [r for r in reasons(report, name) if re.search("within|says nothing|in time|no answer", r)], (
            name
        )
    for cause in needs:
        assert [m for m in missing(report, cause) if m.startswith(tuple(f"{n}:" for n in names))], cause
    the_others_answered(report, *names)
    assert blamed(report) == set()


# --- history ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1"], ids=["not configured", "down"])
def test_without_prometheus_the_page_takes_over_and_no_change_is_told(
    well: Bright, program: Program, url: str | None
) -> None:
    # Patiently: on a busy machine a step that is late would be one more gap, and no healthy service.
    report, code = diagnosed(well.program(program, prometheus=url and {"url": url}), "--timeout", "60s")
    assert code == (Exit.UNKNOWN if url else Exit.OK)
    for found in report["diagnoses"]:
        assert any("two looks at /metrics" in note and "no change" in note for note in found["notes"])
        first = found["signals"][0]
        assert (first["source"], first["severity"], first["baseline"]) == ("scrape", "ok", None)
    for cause in HISTORY:
        assert any("no history of" in reason for reason in missing(report, cause)), cause
    assert blamed(report) == set()


def test_a_history_of_a_minute_confirms_no_change(well: Bright, program: Program, tmp_path: Path) -> None:
    """A third of the requests is bad, as it may have been for years: nobody can tell from a minute."""
    with history_server(tmp_path, well.began, since_s=75, bad=0.3) as server:
        at = {"url": server.url, "selector": {"job": "bot"}}
        report, _ = diagnosed(well.program(program, prometheus=at, url=None))
    assert signal_of(report, "errors", "bad_request_ratio")["value"] == pytest.approx(0.3, abs=0.02)
    assert not [c["id"] for c in each(report, "causes") if c["confidence"] == "confirmed"]


def test_two_looks_at_a_page_confirm_no_change(well: Bright, program: Program) -> None:
    with part("service", well.folder, well.began, bad=0.3) as web:
        report, _ = diagnosed(well.program(program, prometheus=None, url=web.url))
    assert signal_of(report, "errors", "bad_request_ratio")["value"] == pytest.approx(0.3, abs=0.05)
    assert not [c["id"] for c in each(report, "causes") if c["confidence"] == "confirmed"]


def signal_of(report: Report, issue: str, name: str) -> dict[str, Any]:
    return signal(next(d for d in report["diagnoses"] if d["issue"] == issue), name)


def test_what_knows_only_the_present_is_no_fault_of_the_past(well: Bright, program: Program) -> None:
    report, code = diagnosed(well.program(program, **UNIT), "--at", "12m")
    assert code in (Exit.OK, Exit.UNKNOWN)
    assert [u for u in each(report, "unseen") if "only the present" in u["reason"]]
    steps = [s for s in each(report, "steps") if s["probe"] in (STEPS | {"systemd", "host"}) - {"logs"}]
    assert {s["status"] for s in steps} == {"skipped"}
    assert all("only the present" in s["reason"] for s in steps)
    assert {s["status"] for s in each(report, "steps") if s["probe"] == "logs"} == {"ok"}
    assert signal_of(report, "latency", "latency_p95")["severity"] == "ok"
    assert any("only the present" in why for why in missing(report, "errors.database_unavailable"))
    assert blamed(report) == set()


# --- asked once -------------------------------------------------------------------------------------


def test_each_question_is_asked_once_for_all_issues(well: Bright, program: Program) -> None:
    before = _asked(well)
    report, code = diagnosed(well.program(program))
    after = _asked(well)
    told = {name: after[name] - before.get(name, 0) for name in after}
    assert code == Exit.OK
    assert {d["verdict"] for d in report["diagnoses"]} == {"healthy"}
    assert len(report["diagnoses"]) == 4
    assert blamed(report) == set()
    assert told["postgres connections"] == 1
    assert 8 <= told["postgres statements"] <= 16
    for path in ("/metrics", "/health", "/health/db", "/health/cache"):
        assert told[f"service {path}"] == 1, path
    for path in ("/api/version", "/api/tags", "/api/ps"):
        assert told[f"ollama {path}"] == 1, path
    for command in ("slowlog|get", "client|list", "ping"):
        assert told[f"redis {command}"] == 1, command
    # one of them is ours, of the counts themselves
    assert told["redis info"] <= 4
    # what the samples are worth, how far apart they are (two), three tables of two runbooks; all histories together
    assert told["prometheus query"] <= 6
    assert told["prometheus query_range"] == 1


def _asked(well: Bright) -> dict[str, int]:
    """How often each thing was asked so far, as the servers count it."""
    found: dict[str, int] = {}
    for name, one in (("service", well.web), ("ollama", well.ollama)):
        for path in one.paths():
            found[f"{name} {path}"] = found.get(f"{name} {path}", 0) + 1
    log = well.postgres.server.log.read_text(errors="replace").splitlines()
    mine = [line for line in log if " oncall " in line]
    found["postgres connections"] = sum("connection authorized" in line for line in mine)
    found["postgres statements"] = sum("LOG:  execute" in li or "LOG:  statement" in li for li in mine)
    with Redis.from_url(well.redis.url) as admin:
        counts = admin.info("commandstats")
        found |= {f"redis {k.removeprefix('cmdstat_')}": v["calls"] for k, v in counts.items()}
    found |= {f"prometheus {k}": v for k, v in _prometheus_counts(well.prometheus.url).items()}
    return found


def _prometheus_counts(url: str) -> dict[str, int]:
    import httpx

    text = httpx.get(f"{url}/metrics").text
    pattern = r'prometheus_http_requests_total\{code="\d+",handler="/api/v1/(\w+)"\} (\d+)'
    found: dict[str, int] = {"query": 0, "query_range": 0}
    for name, count in re.findall(pattern, text):
        found[name] = found.get(name, 0) + int(count)
    return found
