"""The sample service: `python -m oncall.lab.service FOLDER PORT`. A bot-controller with a pool and a cache."""

import json
import logging
import logging.handlers
import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
import redis
from prometheus_client import generate_latest
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from oncall.lab import meters
from oncall.lab.endpoints import Answer, BadRequest, Controller
from oncall.lab.place import Record, ServiceKnobs, read, running
from oncall.lab.process import allow_many_files

VERSION = "1.0.0"
log = logging.getLogger("bot-controller")


class JsonLines(logging.Formatter):
    """One JSON object a line, as a log shipper likes it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        return json.dumps({**line, **getattr(record, "fields", {})})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, controller: Controller) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.controller = controller
        self.started = time.time()

    def handle_error(self, request: object, client_address: object) -> None:
        log.warning("the client went away")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(min(length, 1 << 20))
        self._route("POST")

    def _route(self, method: str) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/metrics":
            self._send(200, generate_latest(), "text/plain; version=0.0.4; charset=utf-8")
            return
        with meters.in_progress.track_inprogress():
            began = time.perf_counter()
            status, body = self._answer(method, parts.path, dict(parse_qsl(parts.query)))
            took = time.perf_counter() - began
        endpoint = parts.path if status != 404 else "other"
        meters.requests.labels(str(status), endpoint, method).inc()
        meters.duration.labels(endpoint).observe(took)
        if status >= 500:
            fields = {
                "endpoint": endpoint,
                "status": status,
                "ms": round(took * 1000),
                "error": body.get("error"),
            }
            log.error("request failed", extra={"fields": fields})
        self._send(status, json.dumps(body, default=str).encode(), "application/json")

    def _answer(self, method: str, path: str, query: dict[str, str]) -> Answer:
        try:
            return self._call(method, path, query)
        except BadRequest as error:
            return 400, {"error": str(error)}
        except (PoolTimeout, TooManyRequests) as error:
            return 503, self._unhealthy(path, f"no database connection: {error}")
        except (psycopg.Error, redis.RedisError, OSError) as error:
            down = 503 if path.startswith("/health") else 500
            return down, self._unhealthy(path, f"{type(error).__name__}: {error}")

    def _call(self, method: str, path: str, query: dict[str, str]) -> Answer:
        controller = self.server.controller
        if path == "/health":
            return 200, self._health()
        if path == "/health/db":
            return controller.health_db()
        if path == "/health/cache":
            return controller.health_cache()
        route = controller.routes.get((method, path))
        return route(query) if route else (404, {"error": "no such endpoint"})

    def _health(self) -> dict[str, Any]:
        seconds = int(time.time() - self.server.started)
        uptime = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"status": "healthy", "timestamp": now, "version": VERSION, "uptime": uptime}

    @staticmethod
    def _unhealthy(path: str, error: str) -> dict[str, Any]:
        word = "disconnected" if path == "/health/db" else "unhealthy"
        return {"status": word, "error": error} if path.startswith("/health") else {"error": error}

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Only what fails is logged, in _route."""


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=1)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _pool(record: Record, knobs: ServiceKnobs) -> ConnectionPool:
    # Connections are renewed each half minute: a lab has no hour to wait for what recycling brings.
    pool = ConnectionPool(
        record.roles["app"],
        min_size=min(8, knobs.pool),
        max_size=knobs.pool,
        max_waiting=150,
        max_lifetime=30,
        max_idle=20,
        kwargs={"application_name": "bot-controller", "connect_timeout": 5},
        open=False,
        name="bot-controller",
    )
    # A service starts without its database too; it says so on /health/db.
    pool.open(wait=False)
    meters.pool_size.set(knobs.pool)
    meters.pool_waiting.set_function(lambda: pool.get_stats().get("requests_waiting", 0))
    return pool


def _watch_knobs(folder: Path, controller: Controller) -> None:
    while True:
        knobs = read(folder / "service.json", ServiceKnobs)
        if knobs and knobs != controller.knobs:
            controller.knobs = knobs
        time.sleep(0.25)


def _deliver(cache: "redis.Redis", seed: int) -> None:
    """The worker that drains the queue and counts what is in the cache."""
    chance = random.Random(seed)
    while True:
        try:
            meters.queue_depth.set(cache.llen("queue:outbound"))
            meters.cache_entries.set(cache.dbsize())
            cache.lpop("queue:outbound", 200)
        except redis.RedisError as error:
            log.warning("queue: %s", error)
        time.sleep(chance.uniform(0.4, 0.6))


def _bots_active(dsn: str) -> None:
    try:
        with psycopg.connect(dsn, application_name="bot-controller", connect_timeout=3) as connection:
            row = connection.execute("SELECT count(*) FROM bots WHERE state = 'active'").fetchone()
            meters.bots_active.set(row[0] if row else 0)
    except psycopg.Error as error:
        log.warning("bots: %s", error)


def main(folder: Path, port: int) -> None:
    """Serves on 127.0.0.1:port until it is told to end."""
    allow_many_files()
    _log_to(folder / "service.log")
    record = read(folder / "lab.json", Record) or running(folder)
    knobs = read(folder / "service.json", ServiceKnobs) or ServiceKnobs()
    cache = redis.Redis.from_url(record.part("redis").url or "", socket_timeout=2)
    controller = Controller(_pool(record, knobs), cache, record.part("ollama").url or "", knobs)
    server = Server(port, controller)
    for target, values in (
        (_watch_knobs, (folder, controller)),
        (_deliver, (cache, record.seed)),
        (_bots_active, (record.roles["app"],)),
    ):
        threading.Thread(target=target, args=values, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log.info("started", extra={"fields": {"pool": knobs.pool, "version": VERSION}})
    server.serve_forever(poll_interval=0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
