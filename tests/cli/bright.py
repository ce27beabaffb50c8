"""A service that is well, made to stay so however busy this machine is; its backends are real servers.

Its metrics are functions of the clock: /metrics and the history in Prometheus (filled in up to half an hour ahead)
say the same. The service and its Ollama are processes of their own, so that a test can stop them
(`python -m tests.cli.bright NAME FILE BEGAN BAD`). They write each path that they are asked for into FILE; BAD is
the share of requests that are turned down with 422."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

from oncall.lab.process import end, identity, wait_until
from oncall.lab.servers import Server, answers, start_prometheus, stop
from tests.cli.program import Program
from tests.clients import ollamastand, pgstand
from tests.clients.promstand import backfill
from tests.clients.redisstand import redis
from tests.clients.webstand import Answer, Asked, reply
from tests.clients.webstand import Stand as Web

SECRET = "secret-canary"
STEP_S, HISTORY_S, AHEAD_S = 5, 2400, 1800
REQUESTS = 40.0
BEGAN_S = 90_000
Shape = Callable[[float], float]


# --- what it says of itself -----------------------------------------------------------------------


def _wave(mean: float, swing: float, period_s: float) -> Shape:
    return lambda t: mean + swing * math.sin(2 * math.pi * t / period_s)


def _histogram(name: str, per_s: float, mean_s: float) -> dict[str, Shape]:
    """A histogram in which 90 % take less than twice the mean, and all less than ten times that."""
    shares = {str(2 * mean_s): 0.9, str(10 * mean_s): 1.0, "+Inf": 1.0}
    found: dict[str, Shape] = {
        f'{name}_bucket{{le="{le}"}}': lambda t, share=share: per_s * share * t  # type: ignore[misc]
        for le, share in shares.items()
    }
    return {
        **found,
        f"{name}_count": lambda t: per_s * t,
        f"{name}_sum": lambda t: per_s * mean_s * t,
    }


def _gauges(began: float) -> dict[str, Shape]:
    return {
        "db_connection_pool_active": _wave(4, 1, 47),
        "db_connection_pool_size": lambda t: 20,
        "db_connection_pool_waiting": lambda t: 0,
        "process_resident_memory_bytes": _wave(2e8, 2e6, 83),
        "process_start_time_seconds": lambda t: began,
        "process_open_fds": _wave(60, 3, 59),
        "http_requests_in_progress": _wave(3, 1, 31),
        "cache_entries": _wave(500, 20, 71),
        "message_queue_depth": _wave(6, 3, 37),
        "bot_instances_active": lambda t: 12,
        "up": lambda t: 1,
    }


def families(began: float, bad: float = 0.0) -> dict[str, tuple[str, dict[str, Shape]]]:
    """By name: its type, and its series as functions of the seconds since it began."""
    found: dict[str, tuple[str, dict[str, Shape]]] = {
        "http_requests": (
            "counter",
            {
                'http_requests_total{endpoint="/api/messages",status="200"}': lambda t: (
                    REQUESTS * (1 - bad) * t
                ),
                'http_requests_total{endpoint="/api/messages",status="500"}': lambda t: 0.01 * t,
                'http_requests_total{endpoint="/api/messages",status="422"}': lambda t: (
                    (REQUESTS * bad + 0.02) * t
                ),
            },
        ),
        "process_cpu_seconds": ("counter", {"process_cpu_seconds_total": lambda t: 0.2 * t}),
        "ollama_requests": ("counter", {'ollama_requests_total{status="200"}': lambda t: 2 * t}),
    }
    for name, per_s, mean_s in (
        ("http_request_duration_seconds", REQUESTS, 0.05),
        ("db_connection_hold_seconds", REQUESTS, 0.02),
        ("db_query_duration_seconds", 2 * REQUESTS, 0.005),
        ("ollama_request_duration_seconds", 2, 0.2),
    ):
        found[name] = ("histogram", _histogram(name, per_s, mean_s))
    return {**found, **{name: ("gauge", {name: shape}) for name, shape in _gauges(began).items()}}


def page(began: float, now: float, bad: float) -> str:
    """/metrics at that moment."""
    lines = []
    for name, (kind, series) in families(began, bad).items():
        lines.append(f"# TYPE {name}{'_total' if kind == 'counter' else ''} {kind}")
        lines += [f"{text} {shape(now - began):.6f}" for text, shape in series.items()]
    return "\n".join(lines) + "\n"


def history(began: float, now: float, *, since_s: float = HISTORY_S, bad: float = 0.0) -> list[str]:
    """OpenMetrics with the time of each sample, from `since_s` seconds ago to well after now."""
    times = range(int(now - since_s), int(now) + AHEAD_S, STEP_S)
    lines = []
    for name, (kind, series) in families(began, bad).items():
        lines.append(f"# TYPE {name} {kind}")
        for text, shape in series.items():
            known = _labelled(text)
            lines += [f"{known} {shape(t - began):.6f} {t}" for t in times]
    return lines


def _labelled(text: str) -> str:
    """The series with the labels of its target."""
    name, _, labels = text.partition("{")
    own = ",".join(part for part in (labels.removesuffix("}"), 'instance="app-1:8000",job="bot"') if part)
    return f"{name}{{{own}}}"


# --- the processes --------------------------------------------------------------------------------


def _service(began: float, bad: float) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/metrics":
            return reply(page(began, time.time(), bad), Content_Type="text/plain; version=0.0.4")
        if asked.path in ("/health", "/health/db", "/health/cache"):
            return reply(json.dumps({"status": "healthy"}))
        return reply("no such page", "404 Not Found")

    return answer


async def _serve(name: str, log: Path, began: float, bad: float) -> None:
    listed = [ollamastand.model("llama3.2:3b")]
    running = [ollamastand.loaded("llama3.2:3b", 2**31, 2**31, "2099-01-01T00:00:00Z")]
    web = ollamastand.ollama(listed, running) if name == "ollama" else Web(_service(began, bad))
    with log.open("a") as file:
        answer = web._answer

        def told(asked: Asked) -> Answer:
            file.write(f"{asked.path}\n")
            file.flush()
            return answer(asked)

        web._answer = told
        async with web:
            print(web.port, flush=True)
            await asyncio.to_thread(sys.stdin.read)


@dataclass(frozen=True)
class Part:
    """A process of ours on a port of 127.0.0.1."""

    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """What it was asked for so far."""
        return self.log.read_text().split()


@contextmanager
def part(name: str, folder: Path, began: float, bad: float = 0.0) -> Iterator[Part]:
    """`service` or `ollama`."""
    log = folder / f"{name}-{bad}.paths"
    log.touch()
    command = [sys.executable, "-m", "tests.cli.bright", name, str(log), str(began), str(bad)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield Part(int(child.stdout.readline()), child.pid, log)
    finally:
        child.stdin.close()
        end(child.pid, identity(child.pid)) if child.poll() is None else None
        child.wait()
        child.stdout.close()


# --- the whole -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bright:
    """All of it. `fields` is the service's entry of a service file."""

    folder: Path
    began: float
    web: Part
    ollama: Part
    prometheus: Server
    redis: Server
    postgres: pgstand.Stand
    log: Path
    fields: Mapping[str, Any] = field(default_factory=dict)

    def program(self, program: Program, **changes: Any) -> Program:  # noqa: ANN401  # whatever YAML can say
        """With a service file of one service `bot`: this, but for the keys given; None takes one away."""
        service = {k: v for k, v in {**self.fields, **changes}.items() if v is not None}
        program.services(bot=service)
        return program


@contextmanager
def history_server(
    folder: Path, began: float, *, since_s: float = HISTORY_S, bad: float = 0.0
) -> Iterator[Server]:
    """A Prometheus that holds the history."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus").mkdir()
    backfill(folder, history(began, time.time(), since_s=since_s, bad=bad))
    server = start_prometheus(folder, {})
    try:
        wait_until(lambda: answers(f"{server.url}/-/ready"), "prometheus")
        yield server
    finally:
        stop(server)


def _write_log(path: Path, now: float) -> None:
    """Half an hour of a quiet service's log, with an error that it always had."""
    with path.open("w") as into:
        for second in range(int(now) - HISTORY_S, int(now), 5):
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            level, said = ("ERROR", "mail 17 bounced") if second % 600 < 5 else ("INFO", "request served")
            into.write(f"{at} {level} {said}\n")


def _write_keys(url: str) -> None:
    with Redis.from_url(url) as admin:
        for number in range(200):
            admin.set(f"cache:user:{number}", "x" * 100, ex=3600)
        admin.rpush("queue:mail", *range(5))


@contextmanager
def bright(folder: Path) -> Iterator[Bright]:
    """Starts it; gone at the end."""
    now = time.time()
    began = now - BEGAN_S
    loud = {"log_connections": "on", "log_min_messages": "log", "log_line_prefix": "%m [%p] %u %a: "}
    loud["shared_preload_libraries"] = "pg_stat_statements"
    _write_log(folder / "service.log", now)
    with ExitStack() as kept:
        web, ollama = (kept.enter_context(part(name, folder, began)) for name in ("service", "ollama"))
        prometheus = kept.enter_context(history_server(folder / "prom", began))
        cache = kept.enter_context(redis(folder / "redis", password=SECRET))
        _write_keys(cache.url)
        database = kept.enter_context(pgstand.stand(folder / "pg", 15, **loud))
        for statement in (
            f"CREATE ROLE oncall LOGIN PASSWORD '{SECRET}'",
            "GRANT pg_monitor TO oncall",
            "CREATE EXTENSION pg_stat_statements",
            "ALTER ROLE oncall SET log_statement = 'all'",
        ):
            database.admin.execute(statement.encode())
        for _ in range(4):
            database.session().execute("SELECT 1")
        log = folder / "service.log"
        yield Bright(
            folder, began, web, ollama, prometheus, cache, database, log,
            fields={
                "url": web.url,
                "prometheus": {"url": prometheus.url, "selector": {"job": "bot"}},
                "postgres": {
                    "dsn": f"postgresql://oncall:{SECRET}@127.0.0.1:{database.server.port}/postgres",
                    "application_name": pgstand.APP,
                },
                "redis": {"url": cache.url},
                "ollama": {"url": ollama.url},
                "logs": {"file": str(log)},
                "limits": {"memory": "1GB", "pool": 20},
                "windows": {"rate": "1m", "baseline": "20m"},
            },
        )  # fmt: skip
        database.clear()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
