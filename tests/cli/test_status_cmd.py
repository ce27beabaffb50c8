"""`oncall status` and `oncall health` as they are typed: against a real Prometheus, and endpoints that do as told."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from oncall.errors import Exit
from oncall.lab.process import free_port
from oncall.lab.servers import Server
from oncall.model_service import Service
from oncall.remediation import audit
from tests.cli.program import Program, Said
from tests.cli.test_terminal import interrupted_after
from tests.clients.webstand import Answer, Asked, Stand, forever, head, reply, silence
from tests.monitoring.counting import Wire, counted
from tests.monitoring.fleetstand import STORIES, fields, fleet, healthy
from tests.remediation.auditstand import DONE, PLAN


@pytest.fixture(scope="module")
def prom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    stories = {name: STORIES[name] for name in ("well", "full", "idle")}
    with fleet(tmp_path_factory.mktemp("fleet"), stories) as started:
        yield started


@pytest.fixture
def three(program: Program, prom: Server) -> Program:
    program.services(default="well", **{name: fields(prom.url, name) for name in ("idle", "well", "full")})
    return program


def against(
    program: Program,
    answer: Callable[[Asked], Answer],
    *words: str,
    **more: Any,  # noqa: ANN401  # YAML
) -> tuple[Said, list[str]]:
    """A service `bot` with that url; what it was asked for."""

    async def work() -> tuple[Said, list[str]]:
        async with Stand(answer) as web:
            program.services(bot={"url": web.url, **more})
            said = await asyncio.to_thread(program.run, *words)
            return said, [asked.path for asked in web.asked]

    return asyncio.run(work())


def only(path: str, odd: Callable[[], Answer]) -> Callable[[Asked], Answer]:
    return lambda asked: odd() if asked.path == path else healthy(asked)


# --- status --------------------------------------------------------------------------------------------


def test_the_first_line_and_the_exit_code_say_how_it_is(three: Program) -> None:
    for name, code, begins in (
        ("well", Exit.OK, "ALL WELL   well · production · "),
        ("full", Exit.CRITICAL, "P95 LATENCY "),
        ("idle", Exit.UNKNOWN, "NOT ALL IS KNOWN   idle"),
    ):
        said = three.run("status", "-s", name)
        assert (said.code, said.err) == (code, "")
        assert said.first[0].startswith(begins)
        assert "Requests" in said.out
        assert max(map(len, said.first)) <= 120
    assert "oncall diagnose latency -s full" in three.run("-s", "full", "status").out


def test_the_default_service_needs_no_name_in_its_command(program: Program, prom: Server) -> None:
    program.services(full=fields(prom.url, "full"))
    assert three_words(program.run("status").first[1]) == "oncall diagnose latency"


def three_words(line: str) -> str:
    return " ".join(line.split()[1:4])


def test_every_service_worst_first(three: Program) -> None:
    said = three.under(COLUMNS="80").run("status", "--all")
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("2 OF 3 SERVICES NOT WELL: 1 CRITICAL, 1 UNKNOWN")
    assert max(map(len, said.first)) <= 80
    assert [
        line.split()[:2] for line in said.first if line.split()[:1] in (["critical"], ["unknown"], ["ok"])
    ] == [
        ["critical", "full"],
        ["unknown", "idle"],
        ["ok", "well"],
    ]
    found, code = three.json("status", "--all")
    assert (found["schema"], found["severity"], code) == ("oncall/status-all/1", "critical", Exit.CRITICAL)
    assert [s["service"] for s in found["services"]] == ["full", "idle", "well"]
    assert {s["schema"] for s in found["services"]} == {"oncall/status/1"}
    assert "not well" in three.run("status", "--all", "--output", "markdown").first[0]


@pytest.mark.parametrize("command", ["status", "alerts"])
def test_runbooks_of_one_service_that_cannot_be_read_take_no_other_away(
    program: Program, prom: Server, tmp_path: Path, command: str
) -> None:
    policy = tmp_path / "books" / "alerting" / "escalation.yaml"
    policy.parent.mkdir(parents=True)
    policy.write_text("severities:\n  critical: {labels: [critical], respond: 5}\n")
    well = fields(prom.url, "well")
    program.services(
        full=fields(prom.url, "full"),
        torn=well | {"runbooks": str(policy.parents[1])},
        gone=well | {"runbooks": str(tmp_path / "nope")},
    )
    found, _ = program.json(command, "--all")
    each = {s["service"]: s for s in found["services"]}
    assert set(each) == {"full", "torn", "gone"}
    assert {each["torn"]["severity"], each["gone"]["severity"]} == {"unknown"}
    reasons = {n: [u["reason"] for u in s["unseen"] if "runbooks" in u["what"]] for n, s in each.items()}
    assert reasons["full"] == []
    assert reasons["torn"][0].startswith(f"{policy}:2: severities.critical.respond: found 5")
    assert reasons["gone"][0].endswith("no such folder of runbooks")
    assert program.run(command, "-s", "torn").code == Exit.CONFIG


def test_its_json_is_what_it_shows(three: Program) -> None:
    found, code = three.json("status", "-s", "full")
    assert (found["schema"], found["severity"], code) == ("oncall/status/1", "critical", Exit.CRITICAL)
    assert found["next"]["command"] == "oncall diagnose latency -s full"
    pool = next(s for s in found["signals"] if s["id"] == "pool_active")
    assert (pool["value"], pool["of"], pool["baseline"], pool["critical"]) == (19, 20, 4, 16)
    assert pool["query"].startswith("quantile_over_time(0.5, (sum(db_connection_pool_active{job=")
    assert 0 <= pool["age_s"] < 60
    assert [c["kind"] for c in found["concerns"]] == ["signal", "signal"]


def test_the_last_actions_are_there(three: Program) -> None:

    state = three.folder / "state" / "oncall"
    plan = replace(PLAN, service="well")
    of = Service(environment="production")
    common = {"service": "well", "environment": "production", "action": "restart"}
    meant = audit.append(audit.entry("intent", of, plan=plan, **common), state, journal=None)
    audit.append(
        audit.entry("outcome", of, intent=meant.number, outcome="done", text="restarted",
                    verification=DONE.verification, **common), state, journal=None,
    )  # fmt: skip
    said = three.run("status")
    assert "restart by " in said.out
    assert ": done, fixed" in said.out
    assert "restart by " not in three.run("status", "-s", "full").out
    found, _ = three.json("status", "--all")
    assert [(a["service"], a["outcome"]) for a in found["actions"]] == [("well", "done, fixed")]


def test_a_torn_audit_log_is_said_and_the_rest_is_there(three: Program) -> None:
    log = three.folder / "state" / "oncall" / "audit.jsonl"
    log.parent.mkdir(parents=True)
    log.mkdir()
    said = three.run("status")
    assert "audit log" in said.out
    assert said.first[0].startswith("ALL WELL")


def test_wrong_words(three: Program) -> None:
    for words in (
        ["status", "--all", "-s", "well"],
        ["health", "--all", "-s", "well"],
        ["status", "--timeout", "1"],
    ):
        assert three.run(*words).code == Exit.USAGE
    assert three.run("status", "-s", "none").code == Exit.USAGE


def test_no_backend_at_all_is_unknown(program: Program) -> None:
    program.services(bot={})
    for command in ("status", "health"):
        said = program.run(command)
        assert said.code == Exit.UNKNOWN
        assert "not configured" in said.out
    empty = Program(program.folder / "empty")
    assert empty.run("status", "--all").code == Exit.CONFIG


def test_a_frozen_backend_ends_with_the_timeout(program: Program) -> None:
    """Neither is down: each had time for one look only, and that is what is said."""

    async def work() -> Said:
        async with Stand(lambda asked: silence()) as web:
            program.services(bot={"url": web.url, "prometheus": {"url": web.url}})
            return await asyncio.to_thread(program.run, "status", "--timeout", "2s", "--output", "json")

    said = asyncio.run(work())
    found = said.json
    assert (said.code, found["severity"]) == (Exit.UNKNOWN, "unknown"), said.out
    # All of it: the shares of the timeout that single questions have do not add up to more.
    assert 1000 <= found["duration_ms"] < 30_000
    told = {gap["what"]: gap["reason"] for gap in found["unseen"]}
    assert "took the connection but did not answer within" in told["prometheus"], told
    assert {e["state"] for e in found["health"]["endpoints"]} == {"unknown"}, found["health"]


# --- many at once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [1, 100])
def test_a_hundred_services_take_few_connections(program: Program, prom: Server, servers: int) -> None:
    """Also where each has a server of its own, as one with a header of its own is."""

    async def work() -> tuple[Said, Wire]:
        async with counted(prom.url) as wire:
            services: dict[str, Any] = {f"s{n:02}": fields(wire.url, "well") for n in range(100)}
            for n, service in enumerate(services.values()):
                service["prometheus"]["headers"] = {"X-Scope-OrgID": str(n % servers)}
            program.services(**services)
            said = await asyncio.to_thread(program.run, "status", "--all", "--timeout", "60s", timeout=120)
            return said, wire

    said, wire = asyncio.run(work())
    assert (said.code, said.err) == (Exit.OK, "")
    assert said.first[0].startswith("ALL 100 SERVICES WELL")
    # Sixteen servers at once, each over two connections, for what fires and for the signals; one that is over may
    # still be closing. Without a bound they are two hundred and more.
    assert 1 < wire.most <= (100 if servers > 1 else 16)
    assert wire.all >= 2 * servers


# --- health ----------------------------------------------------------------------------------------------


def test_all_are_well(program: Program) -> None:
    said, asked = against(program, healthy, "health")
    assert (said.code, said.err, sorted(asked)) == (Exit.OK, "", ["/health", "/health/cache", "/health/db"])
    assert said.first[0].startswith("HEALTH: 3 OF 3 HEALTHY   bot · production · ")
    assert said.first[0].endswith(" ok")


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (lambda: forever(head("200 OK", {}), b" ", 0.5), "did not end within 5 s"),
        (lambda: forever(head("200 OK", {}), b" " * 2**16), "larger than 1 MiB"),
        (lambda: reply(status="302 Found", Location="/login"), "redirects to /login: not followed"),
    ],
    ids=["drip", "flood", "away"],
)
def test_row_34_it_is_down_by_the_deadline(program: Program, odd: Callable[[], Answer], says: str) -> None:
    said, asked = against(program, only("/health", odd), "health", "--output", "json")
    found = said.json
    assert (said.code, found["severity"], found["endpoints"][0]["state"]) == (
        Exit.CRITICAL,
        "critical",
        "down",
    )
    assert says in found["endpoints"][0]["text"]
    assert asked.count("/health") == 2
    assert "/login" not in asked
    assert found["duration_ms"] < 30_000


@pytest.mark.parametrize(
    ("path", "words", "code", "says"),
    [
        ("/health", ["--once"], Exit.WARNING, "failed once"),
        ("/health/db", [], Exit.CRITICAL, "down"),
        ("/health/cache", [], Exit.WARNING, "not critical"),
    ],
)
def test_what_a_failure_means(program: Program, path: str, words: list[str], code: int, says: str) -> None:
    said, asked = against(program, only(path, lambda: reply("{}", "500 X")), "health", *words)
    assert said.code == code
    assert says in said.out
    assert asked.count(path) == (1 if words else 2)
    assert "oncall diagnose errors" in said.out


def test_status_says_the_same_of_health(program: Program, prom: Server) -> None:
    odd = only("/health", lambda: reply(status="302 Found", Location="/login"))
    said, _ = against(program, odd, "status", **fields(prom.url, "well"))
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("/HEALTH DOWN   bot")
    assert "redirects to /login: not followed" in said.out


def test_status_waits_for_two_looks_at_what_hangs(program: Program, prom: Server) -> None:
    said, asked = against(program, only("/health/db", silence), "status", **fields(prom.url, "well"))
    assert said.code == Exit.CRITICAL
    assert said.first[0].startswith("/HEALTH/DB DOWN   bot")
    assert "did not answer within 5 s (2 of 2 looks failed)" in " ".join(said.out.split())
    assert asked.count("/health/db") == 2


def test_every_service_of_the_file_one_of_them_dead(program: Program) -> None:
    async def work() -> Said:
        async with Stand(healthy) as web:
            services: dict[str, Any] = {f"s{n:02}": {"url": web.url} for n in range(12)}
            services["dead"] = {"url": f"http://127.0.0.1:{free_port()}"}
            program.services(**services)
            return await asyncio.to_thread(program.run, "health", "--all", "--output", "json")

    said = asyncio.run(work())
    found = said.json
    assert (said.code, found["schema"]) == (Exit.CRITICAL, "oncall/health-all/1")
    assert [s["service"] for s in found["services"]][:2] == ["dead", "s00"]
    assert [s["severity"] for s in found["services"]] == ["critical", *["ok"] * 12]
    assert json.loads(said.out) == found


def test_ctrl_c_ends_it(program: Program) -> None:
    async def work() -> tuple[str, float, int]:
        async with Stand(lambda asked: silence()) as web:
            services: dict[str, Any] = {f"s{n}": {"url": web.url} for n in range(3)}
            program.services(**services)
            child = program.start("health", "--all", columns=80)
            text, took = await asyncio.to_thread(interrupted_after, child, "health waiting")
            return text, took, int(child.exitstatus or 0)

    text, took, code = asyncio.run(work())
    assert code == Exit.INTERRUPTED
    assert "Traceback" not in text
    assert took < 10


def test_secrets_stay_out(program: Program) -> None:
    """Servers that quote what they were sent: the service's own endpoints, and its Prometheus."""

    def quoting(asked: Asked) -> Answer:
        said = f"no tenant for {asked.headers['authorization']}"
        if asked.path.startswith("/api/"):
            return reply(
                json.dumps({"status": "error", "errorType": "bad_data", "error": said}), "400 Bad Request"
            )
        return reply(json.dumps({"status": said}), "503 Service Unavailable")

    async def work(output: str) -> Said:
        sent = {"headers": {"Authorization": "Bearer secret-canary"}}
        async with Stand(quoting) as web:
            program.services(bot={"url": web.url, **sent, "prometheus": {"url": web.url, **sent}})
            return await asyncio.to_thread(program.run, "status", "--output", output)

    for output in ("table", "json"):
        said = asyncio.run(work(output))
        assert said.code == Exit.CRITICAL
        assert "secret-canary" not in said.all
    assert (found := said.json)["severity"] == "critical"
    assert {e["verdict"] for e in found["health"]["endpoints"]} == {"no tenant for ***"}
    assert all(s["reason"].endswith("bad_data: no tenant for ***") for s in found["signals"])
