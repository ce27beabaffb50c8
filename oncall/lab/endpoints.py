"""What the sample bot-controller does for its users: each endpoint with the queries of a real one."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any, LiteralString
from urllib.parse import urlsplit

import redis
from psycopg import Connection
from psycopg_pool import ConnectionPool

from oncall.lab import meters
from oncall.lab.faulty import MOST, Burner, Hoard, resident
from oncall.lab.place import Leak, ServiceKnobs

Answer = tuple[int, dict[str, Any]]
Query = Mapping[str, str]

PROFILES = 500
POOL_TIMEOUT = 4.0
"""Seconds that a request waits for a connection before it fails with 503."""
ROUND_TRIP = 0.0035
"""Seconds to a database on another machine and back: what hurts when statements are asked one by one."""
HEAVY_EXPORT: LiteralString = """SELECT b.name, count(*) FILTER (WHERE to_tsvector('english', m.body)
 @@ to_tsquery('english', 'refund & urgent')) AS complaints, max(m.created_at) FROM messages m
 JOIN bots b ON b.id = m.bot_id WHERE m.created_at > now() - make_interval(days => %s)
 GROUP BY b.name ORDER BY 2 DESC"""
SEARCH: LiteralString = """SELECT id, bot_id, body, created_at FROM messages
 WHERE to_tsvector('english', body) @@ plainto_tsquery('english', %s)
 AND created_at > now() - make_interval(days => %s) ORDER BY created_at DESC LIMIT 20"""
LAST_OF_BOT: LiteralString = (
    "SELECT id, role, created_at FROM messages WHERE bot_id = %s ORDER BY created_at DESC LIMIT 1"
)
REPORT: LiteralString = """SELECT b.name, back, (SELECT count(*) FROM messages m WHERE m.bot_id = b.id
 AND m.created_at > now() - make_interval(days => back)) AS messages, pg_sleep(0.3)
 FROM bots b, generate_series(1, 60) back"""
"""Each bot over each span of days, with a pause after each so that nobody is disturbed. It takes an hour."""
HELD_ROWS: LiteralString = (
    "SELECT string_agg(m::text, chr(10)) FROM (SELECT * FROM messages ORDER BY id LIMIT %s) m"
)


class BadRequest(Exception):
    """The user asked for something that makes no sense."""


def _work(mean_ms: float) -> None:
    """What the code does besides its queries (rendering, templates, calls): a skewed time around a mean."""
    time.sleep(random.lognormvariate(0, 0.5) / 1.133 * mean_ms / 1000)


class Controller:
    """The application: a pool of connections, a cache, a language model."""

    def __init__(
        self, pool: ConnectionPool, cache: "redis.Redis", ollama: str, hoard: Hoard, knobs: ServiceKnobs
    ) -> None:
        self.pool = pool
        self.cache = cache
        self.ollama = urlsplit(ollama)
        self.hoard = hoard
        self.knobs = knobs
        self._kept: list[tuple[Connection, list[Any]]] = []
        self._lock = threading.Lock()
        self.routes: dict[tuple[str, str], Callable[[Query], Answer]] = {
            ("GET", "/api/bots"): self.bots,
            ("GET", "/api/users"): self.users,
            ("GET", "/api/messages"): self.messages,
            ("POST", "/api/messages"): self.post_message,
            ("GET", "/api/search"): self.search,
            ("GET", "/api/export"): self.export,
            ("GET", "/api/report"): self.report,
            ("POST", "/api/recount"): self.recount,
            ("GET", "/api/chat"): self.chat,
            ("GET", "/api/cache"): self.cached,
        }

    def answer(self, method: str, path: str, query: Query) -> Answer:
        """The answer of an endpoint, with what this release does besides."""
        route = self.routes.get((method, path))
        if route is None:
            return 404, {"error": "no such endpoint"}
        answer = route(query)
        self.hoard.request(self.knobs.growth, self.cache)
        return answer

    def _id(self, query: Query, most: int) -> int:
        """The parameter `id`, from 1 to `most`. Raises BadRequest, or what int() raises where nobody checks."""
        text = query.get("id", "")
        if self.knobs.unchecked:
            return min(int(text), most)
        if not text.isdigit() or not 1 <= int(text) <= most:
            raise BadRequest(f"id must be a number from 1 to {most}")
        return int(text)

    @contextmanager
    def connection(self, timeout: float = POOL_TIMEOUT) -> Iterator[Connection]:
        """A connection of the pool for one request; committed and given back at the end."""
        with self.pool.connection(timeout) as connection:
            began = time.perf_counter()
            meters.pool_active.inc()
            try:
                yield connection
            finally:
                meters.pool_active.dec()
                meters.hold.observe(time.perf_counter() - began)

    def _ask(
        self, connection: Connection, sql: LiteralString, values: tuple[Any, ...] = (), way: float = 0.0
    ) -> list[Any]:
        operation = sql.split(None, 1)[0].lower()
        with meters.query.labels(operation).time():
            cursor = connection.execute(sql, values)
            if way:
                time.sleep(way)
            return cursor.fetchall() if cursor.description else []

    def bots(self, query: Query) -> Answer:
        """The bots of one owner."""
        with self.connection() as db:
            rows = self._ask(
                db, "SELECT id, name, state FROM bots WHERE owner_id = %s", (self._id(query, 2000),)
            )
            _work(90)
        return 200, {"bots": rows}

    def users(self, query: Query) -> Answer:
        """One user with the keys that it has."""
        user = self._id(query, 2000)
        with self.connection() as db:
            found = self._ask(db, "SELECT id, email FROM users WHERE id = %s", (user,))
            keys = self._ask(db, "SELECT id FROM api_keys WHERE user_id = %s", (user,))
            for bot in range(self.knobs.asked_singly):
                self._ask(db, LAST_OF_BOT, (1 + (user + bot) % 200,), ROUND_TRIP)
            db.commit()
            _work(60)
        return 200, {"user": found, "keys": keys}

    def messages(self, query: Query) -> Answer:
        """The newest messages of one bot."""
        with self.connection() as db:
            rows = self._ask(
                db,
                "SELECT id, role, body FROM messages WHERE bot_id = %s ORDER BY created_at DESC LIMIT 20",
                (self._id(query, 200),),
            )
            db.commit()
            _work(98)
        return 200, {"messages": len(rows)}

    def post_message(self, query: Query) -> Answer:
        """Stores a message, counts it on its bot and queues its delivery."""
        bot = self._id(query, 200)
        with self.connection() as db:
            self._ask(
                db,
                "INSERT INTO messages (bot_id, role, body) VALUES (%s, 'user', %s)",
                (bot, query.get("body", "")),
            )
            self._ask(
                db,
                "UPDATE bots SET messages_sent = messages_sent + 1, last_message_at = now() WHERE id = %s",
                (1 if self.knobs.hot_row_s else bot,),
            )
            _work(self.knobs.hot_row_s * 1000)
            db.commit()
            _work(94)
        self.hoard.message(self.knobs.growth, self.cache, bot)
        return 201, {"stored": True}

    def search(self, query: Query) -> Answer:
        """Messages of the last days that contain some words."""
        number = self._id(query, 160000)
        with self.connection() as db:
            rows = self._ask(db, SEARCH, (f"ticket {number}", int(query.get("days", "60"))))
            _work(94)
        return 200, {"found": len(rows)}

    def export(self, query: Query) -> Answer:
        """The exports of a bot; in a faulty release the place where connections stay behind."""
        leak = self.knobs.leak
        if leak and random.random() < leak.share:
            return self._leaking_export(query, leak)
        with self.connection() as db:
            self._ask(
                db,
                "SELECT id, format, state FROM exports WHERE bot_id = %s ORDER BY id",
                (self._id(query, 200),),
            )
            if self.knobs.heavy_export:
                self._ask(db, HEAVY_EXPORT, (self.knobs.heavy_export,))
            _work(250)
        return 200, {"export": "done"}

    def _leaking_export(self, query: Query, leak: Leak) -> Answer:
        """Takes a connection by hand and returns early: nobody gives it back, nor what was read over it."""
        if leak.rows and (resident() >= MOST or len(self._kept) >= self.knobs.pool - 2):
            return 200, {"export": "done"}
        db = self.pool.getconn(POOL_TIMEOUT)
        meters.pool_active.inc()
        kept: list[Any] = []
        with self._lock:
            self._kept.append((db, kept))
        rows = self._ask(
            db, "SELECT id, format, state FROM exports WHERE bot_id = %s ORDER BY id", (self._id(query, 200),)
        )
        if leak.rows:
            kept += self._ask(db, HELD_ROWS, (leak.rows,))
        if not leak.in_transaction:
            db.commit()
        return 200, {"export": "empty" if not rows else "done"}

    def report(self, query: Query) -> Answer:
        """Figures over all messages, which hardly anybody asks for."""
        with self.connection() as db:
            rows = self._ask(db, REPORT)
        return 200, {"answered": rows}

    def recount(self, query: Query) -> Answer:
        """Starts a job in the background, which counts everything anew; it has a loop without an end."""
        Burner().settle(ServiceKnobs(burn_s=float(query.get("burn", "0.5"))))
        return 202, {"started": True}

    def chat(self, query: Query) -> Answer:
        """One answer of the language model; no connection is held while it thinks."""
        with self.connection() as db:
            settings = self._ask(
                db, "SELECT model, prompt FROM bot_settings WHERE bot_id = %s", (self._id(query, 200),)
            )
            db.commit()
            _work(30)
        model = self.knobs.model or (str(settings[0][0]) if settings else "llama3.2:3b")
        status, said = self._infer(model)
        meters.ollama_requests.labels(str(status)).inc()
        return (200, {"answer": "..."}) if status == 200 else (502, {"error": f"ollama: {said}"})

    def _infer(self, model: str) -> tuple[int, str]:
        """The status of one inference and what was said; 503 where Ollama does not answer."""
        with meters.ollama_duration.time():
            link = HTTPConnection(self.ollama.hostname or "", self.ollama.port, timeout=30)
            try:
                link.request(
                    "POST", "/api/generate", f'{{"model": "{model}", "prompt": "hi", "stream": false}}'
                )
                response = link.getresponse()
                said = response.read(4096).decode("utf-8", "replace")
                return response.status, f"{response.status} {said}"
            except (OSError, HTTPException) as error:
                return 503, f"{type(error).__name__}: {error}"
            finally:
                link.close()

    def cached(self, query: Query) -> Answer:
        """A value that is computed once in ten minutes."""
        key = f"cache:profile:{self._id(query, PROFILES)}"
        if self.cache.get(key) is None:
            self.cache.set(key, "x" * 200, ex=random.randint(300, 900))
        return 200, {"key": key}

    def fill_cache(self) -> None:
        """What a start does: the profiles are there before the first one is asked for."""
        with self.cache.pipeline(transaction=False) as pipeline:
            for number in range(1, PROFILES + 1):
                pipeline.set(f"cache:profile:{number}", "x" * 200, ex=random.randint(300, 900))
            pipeline.execute()

    def health_db(self) -> Answer:
        """The database as the application reaches it: through the pool."""
        began = time.perf_counter()
        with self.connection(timeout=2) as db:
            (row,) = self._ask(
                db,
                "SELECT current_database(), (SELECT count(*) FROM pg_catalog.pg_tables"
                " WHERE schemaname = 'public')",
            )
        took = round((time.perf_counter() - began) * 1000, 1)
        return 200, {
            "status": "connected",
            "database": row[0],
            "latency_ms": took,
            "tables_accessible": row[1],
        }

    def health_cache(self) -> Answer:
        """The cache, written and asked: its latency and the memory that it takes."""
        began = time.perf_counter()
        # A cache that can be read and not written is not a healthy one.
        self.cache.set("cache:health", "ok", ex=60)
        used = dict(self.cache.info("memory"))["used_memory"]
        took = round((time.perf_counter() - began) * 1000, 1)
        return 200, {
            "status": "healthy",
            "provider": "redis",
            "latency_ms": took,
            "memory_used_mb": round(used / 1e6, 1),
        }
