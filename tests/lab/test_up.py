"""A lab that is up: what it holds, what it says, and that it is healthy."""

import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psycopg
import yaml

from oncall.config import load
from oncall.lab import place, watch

from .conftest import Lab, until

METRICS = (
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "db_connection_pool_active",
    "db_connection_pool_size",
    "db_connection_pool_waiting",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "process_open_fds",
    "http_requests_in_progress",
    "db_connection_hold_seconds_sum",
    "db_query_duration_seconds_bucket",
    "ollama_request_duration_seconds_count",
    "ollama_requests_total",
    "cache_entries",
    "message_queue_depth",
    "bot_instances_active",
)


def get(lab: Lab, path: str) -> str:
    with urlopen(f"{lab.record.url('service')}{path}", timeout=5) as response:
        return str(response.read().decode())


def test_status_shows_every_server(lab: Lab) -> None:
    state = json.loads(lab.do("status", "--output", "json"))
    assert state["schema"] == "oncall/lab/1"
    assert state["state"] == "up"
    parts = {part["name"]: part for part in state["parts"]}
    watchers = {"alertmanager", "prometheus", "node-exporter"}
    assert set(parts) == {"postgres", "redis", "ollama", "service", "load"} | watchers
    assert all(part["alive"] for part in parts.values())
    assert len({part["port"] for part in parts.values() if part["port"]}) == 7
    assert state["faults"] == []
    assert "Nothing is broken." in lab.do("status")


def test_the_version_is_the_one_that_was_asked_for(lab: Lab) -> None:
    with psycopg.connect(lab.record.roles["oncall"]) as connection:
        assert connection.info.server_version // 10000 == lab.version
    assert str(lab.record.part("postgres").version).startswith(f"{lab.version}.")


def test_up_twice_says_so(lab: Lab) -> None:
    before = lab.record
    assert "already up" in lab.do("up")
    assert lab.record == before


def test_service_file_is_the_service_lab(lab: Lab) -> None:
    path = lab.folder / "service.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = yaml.safe_load(path.read_text())
    assert list(written["services"]) == ["lab"]
    assert "unit" not in written["services"]["lab"]
    service = load(env={"XDG_DATA_HOME": str(lab.home)}).services["lab"]
    assert service.environment == "lab"
    assert [service.windows.rate, service.windows.baseline, service.limits.pool] == [15, 120, 20]
    assert float(service.limits.memory or 0) == place.MEMORY_LIMIT
    assert service.thresholds == {}


def test_the_role_sees_all_and_may_little(lab: Lab) -> None:
    with psycopg.connect(lab.record.roles["oncall"]) as connection:
        row = connection.execute(
            "SELECT rolsuper, pg_has_role('oncall', 'pg_monitor', 'member'),"
            " has_table_privilege('messages', 'SELECT'), (SELECT count(*) > 0 FROM pg_stat_statements)"
            " FROM pg_roles WHERE rolname = 'oncall'"
        ).fetchone()
    assert row == (False, True, False, True)


def test_only_loopback_is_listened_on(lab: Lab) -> None:
    import psutil

    for part in lab.record.parts:
        for connection in psutil.Process(part.pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", part.name


def test_metrics_have_the_names_of_the_contract(lab: Lab) -> None:
    def missing() -> set[str]:
        return {
            name for name in METRICS if not re.search(rf"^{name}[{{ ]", get(lab, "/metrics"), re.MULTILINE)
        }

    until(lambda: not missing(), 20)


def test_health_has_the_json_of_the_document(lab: Lab) -> None:
    health, database, cache = (
        json.loads(get(lab, path)) for path in ("/health", "/health/db", "/health/cache")
    )
    assert health.keys() == {"status", "timestamp", "version", "uptime"}
    assert (health["status"], health["version"]) == ("healthy", "1.0.0")
    assert database.keys() == {"status", "database", "latency_ms", "tables_accessible"}
    assert (database["status"], database["tables_accessible"]) == ("connected", 7)
    assert cache.keys() == {"status", "provider", "latency_ms", "memory_used_mb"}
    assert (cache["status"], cache["provider"]) == ("healthy", "redis")


def test_ollama_answers_as_ollama_does(lab: Lab) -> None:
    url = lab.record.url("ollama")
    with urlopen(f"{url}/api/tags", timeout=5) as tags, urlopen(f"{url}/api/ps", timeout=5) as loaded:
        names = json.load(tags)["models"][0]["name"], json.load(loaded)["models"][0]["name"]
    assert names == ("llama3.2:3b", "llama3.2:3b")
    body = json.dumps({"model": names[0], "prompt": "hi", "stream": False}).encode()
    with urlopen(f"{url}/api/generate", body, timeout=5) as answer:
        assert json.load(answer)["done"] is True


def test_prometheus_scrapes_the_machine_too(lab: Lab) -> None:
    query = urlencode({"query": 'node_memory_MemTotal_bytes{job="node"}'})

    def seen() -> bool:
        with urlopen(f"{lab.record.url('prometheus')}/api/v1/query?{query}", timeout=5) as response:
            return bool(json.load(response)["data"]["result"])

    until(seen, 20)


def test_a_client_that_asks_too_often_is_told_when_to_come_back(lab: Lab) -> None:
    def answer(path: str) -> tuple[int, str | None]:
        request = Request(f"{lab.record.url('service')}{path}", headers={"X-Client": "t"})
        try:
            with urlopen(request, timeout=5) as response:
                return response.status, None
        except HTTPError as error:
            return error.code, error.headers["Retry-After"]

    with ThreadPoolExecutor(16) as pool:
        said = set(pool.map(answer, ["/api/cache?id=x"] * 200))
    # Twenty a second, and what a client may save up: on any machine some of two hundred are too many.
    assert said == {(400, None), (429, "1")}
    assert answer("/health") == (200, None)


def test_it_is_healthy_and_prometheus_sees_it(lab: Lab) -> None:
    until(lambda: watch.samples(lab.record, lab.record.started) >= 10, 30)
    until(lambda: lab.pool.quiet, 20)
    with psycopg.connect(lab.record.roles["oncall"]) as connection:
        old = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
            " AND now() - xact_start > interval '1 second' AND application_name = 'bot-controller'"
        ).fetchone()
    assert old == (0,)
