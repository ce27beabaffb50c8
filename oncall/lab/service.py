"""The sample service: `python -m oncall.lab.service FOLDER PORT`. A bot-controller with a pool and a cache."""

import json
import logging
import math
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
from oncall.lab.faulty import OUTBOUND, Burner, Hoard
from oncall.lab.limiter import Limiter
from oncall.lab.lines import log_to
from oncall.lab.place import Record, ServiceKnobs, read, running
from oncall.lab.process import allow_many_files

VERSION = "1.0.0"
UNEXPECTED = "internal server error"
log = logging.getLogger("bot-controller")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, controller: Controller) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.controller = controller
        self.limiter = Limiter()
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
        if status >= 400:
            self._log(method, endpoint, status, took, str(body.get("error")))
        data = json.dumps(body, default=str).encode()
        self._send(status, data, "application/json", body.get("retry_after", 0))

    def _log(self, method: str, endpoint: str, status: int, took: float, error: str) -> None:
        """A line for what failed; what nobody expected has been logged already, with its traceback."""
        fields = {"method": method, "endpoint": endpoint, "status": status, "ms": round(took * 1000)}
        if status == 429:
            log.warning("rate limited: %s", self._client(), extra={"fields": fields})
        elif status < 500:
            log.warning("request refused: %s", error, extra={"fields": fields})
        elif error != UNEXPECTED:
            log.error("request failed: %s", error, extra={"fields": fields})

    def _client(self) -> str:
        return self.headers.get("X-Client") or self.client_address[0]

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
        except Exception:
            fields = {"method": method, "endpoint": path, "status": 500}
            log.exception("unhandled exception", extra={"fields": fields})
            return 500, {"error": UNEXPECTED}

    def _call(self, method: str, path: str, query: dict[str, str]) -> Answer:
        controller = self.server.controller
        if path == "/health":
            return 200, self._health()
        if path == "/health/db":
            return controller.health_db()
        if path == "/health/cache":
            return controller.health_cache()
        wait = self.server.limiter.wait(self._client(), controller.knobs.limit)
        if wait:
            return 429, {"error": "too many requests", "retry_after": math.ceil(wait)}
        return controller.answer(method, path, query)

    def _health(self) -> dict[str, Any]:
        seconds = int(time.time() - self.server.started)
        uptime = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"status": "healthy", "timestamp": now, "version": VERSION, "uptime": uptime}

    @staticmethod
    def _unhealthy(path: str, error: str) -> dict[str, Any]:
        word = "disconnected" if path == "/health/db" else "unhealthy"
        return {"status": word, "error": error} if path.startswith("/health") else {"error": error}

    def _send(self, status: int, body: bytes, kind: str, retry_after: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Only what fails is logged, in _route."""


def _pool(record: Record, knobs: ServiceKnobs) -> ConnectionPool:
    # Connections are renewed each half minute: a lab has no hour to wait for what recycling brings.
    pool = ConnectionPool(
        record.roles["app"],
        min_size=min(8, knobs.pool),
        max_size=knobs.pool,
        max_waiting=150,
        max_lifetime=30,
        max_idle=20,
        # A database that comes back is seen within seconds, not after minutes of waiting ever longer.
        reconnect_timeout=5,
        kwargs={"application_name": "bot-controller", "connect_timeout": 5},
        open=False,
        name="bot-controller",
    )
    # A service starts without its database too; it says so on /health/db.
    pool.open(wait=False)
    meters.pool_size.set(knobs.pool)
    meters.pool_waiting.set_function(lambda: _waiting(pool))
    return pool


def _waiting(pool: ConnectionPool) -> int:
    """Requests that wait for a connection. The pool's own count keeps those that have given up in its queue
    until a connection comes, and refuses new ones because of them: they are taken out here."""
    with pool._lock:
        while pool._waiting and pool._waiting[0].error:
            pool._waiting.popleft()
        return sum(1 for request in pool._waiting if not request.error)


def _watch_knobs(folder: Path, controller: Controller) -> None:
    burner = Burner()
    while True:
        knobs = read(folder / "service.json", ServiceKnobs)
        if knobs and knobs != controller.knobs:
            controller.knobs = knobs
        burner.settle(controller.knobs)
        _waiting(controller.pool)
        time.sleep(0.25)


def _deliver(controller: Controller, seed: int) -> None:
    """The worker that drains the queue and counts what is in it, and in the cache."""
    chance = random.Random(seed)
    cache, hoard = controller.cache, controller.hoard
    died = False
    while True:
        growth = controller.knobs.growth
        if growth.process_queue and not died:
            # The consumer of the queue inside the process, as it ends: with a traceback that nobody reads.
            _die()
        died = bool(growth.process_queue)
        try:
            waiting = cache.llen(OUTBOUND)
            meters.queue_depth.set(waiting + len(hoard.waiting))
            others = 1 if waiting else 0
            meters.cache_entries.set(cache.dbsize() - others + len(hoard.entries))
            hoard.look_at(cache)
            if controller.knobs.worker:
                cache.lpop(OUTBOUND, 200)
        except redis.RedisError as error:
            log.warning("queue: %s", error)
        time.sleep(chance.uniform(0.4, 0.6))


def _die() -> None:
    try:
        raise KeyError("attachment")
    except KeyError:
        log.exception("the thread that delivers messages has ended")


def _start_warm(controller: Controller) -> None:
    """What a start does before and beside its first requests."""
    try:
        controller.fill_cache()
    except redis.RedisError as error:
        log.warning("cache not filled: %s", error)
    if controller.knobs.warm:
        controller.hoard.warm(controller.knobs.warm)


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
    log_to(folder / "service.log")
    record = read(folder / "lab.json", Record) or running(folder)
    knobs = read(folder / "service.json", ServiceKnobs) or ServiceKnobs()
    at = record.part("redis").url or ""
    cache = redis.Redis.from_url(at, socket_timeout=2, client_name="bot-controller")
    ollama = record.part("ollama").url or ""
    controller = Controller(_pool(record, knobs), cache, ollama, Hoard(at), knobs)
    server = Server(port, controller)
    for target, values in (
        (_watch_knobs, (folder, controller)),
        (_deliver, (controller, record.seed)),
        (_start_warm, (controller,)),
        (_bots_active, (record.roles["app"],)),
    ):
        threading.Thread(target=target, args=values, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log.info("started", extra={"fields": {"pool": knobs.pool, "version": VERSION}})
    server.serve_forever(poll_interval=0.5)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
