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
from oncall.lab.place import ServiceKnobs

Answer = tuple[int, dict[str, Any]]
Query = Mapping[str, str]

POOL_TIMEOUT = 4.0
"""Seconds that a request waits for a connection before it fails with 503."""
HEAVY_EXPORT: LiteralString = """SELECT b.name, count(*) FILTER (WHERE to_tsvector('english', m.body)
 @@ to_tsquery('english', 'refund & urgent')) AS complaints, max(m.created_at) FROM messages m
 JOIN bots b ON b.id = m.bot_id GROUP BY b.name ORDER BY 2 DESC"""


class BadRequest(Exception):
    """The user asked for something that makes no sense."""


def _work(mean_ms: float) -> None:
    """What the code does besides its queries (rendering, templates, calls): a skewed time around a mean."""
    time.sleep(random.lognormvariate(0, 0.5) / 1.133 * mean_ms / 1000)


class Controller:
    """The application: a pool of connections, a cache, a language model."""

    def __init__(self, pool: ConnectionPool, cache: "redis.Redis", ollama: str, knobs: ServiceKnobs) -> None:
        self.pool = pool
        self.cache = cache
        self.ollama = urlsplit(ollama)
        self.knobs = knobs
        self._kept: list[Connection] = []
        self._lock = threading.Lock()
        self.routes: dict[tuple[str, str], Callable[[Query], Answer]] = {
            ("GET", "/api/bots"): self.bots,
            ("GET", "/api/users"): self.users,
            ("GET", "/api/messages"): self.messages,
            ("POST", "/api/messages"): self.post_message,
            ("GET", "/api/search"): self.search,
            ("GET", "/api/export"): self.export,
            ("GET", "/api/chat"): self.chat,
            ("GET", "/api/cache"): self.cached,
        }

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

    def _ask(self, connection: Connection, sql: LiteralString, values: tuple[Any, ...] = ()) -> list[Any]:
        operation = sql.split(None, 1)[0].lower()
        with meters.query.labels(operation).time():
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def bots(self, query: Query) -> Answer:
        """The bots of one owner."""
        with self.connection() as db:
            rows = self._ask(db, "SELECT id, name, state FROM bots WHERE owner_id = %s", (_id(query, 2000),))
            _work(90)
        return 200, {"bots": rows}

    def users(self, query: Query) -> Answer:
        """One user with the keys that it has."""
        with self.connection() as db:
            user = _id(query, 2000)
            found = self._ask(db, "SELECT id, email FROM users WHERE id = %s", (user,))
            keys = self._ask(db, "SELECT id FROM api_keys WHERE user_id = %s", (user,))
            db.commit()
            _work(60)
        return 200, {"user": found, "keys": keys}

    def messages(self, query: Query) -> Answer:
        """The newest messages of one bot."""
        with self.connection() as db:
            rows = self._ask(
                db,
                "SELECT id, role, body FROM messages WHERE bot_id = %s ORDER BY created_at DESC LIMIT 20",
                (_id(query, 200),),
            )
            db.commit()
            _work(98)
        return 200, {"messages": len(rows)}

    def post_message(self, query: Query) -> Answer:
        """Stores a message, counts it on its bot and queues its delivery."""
        bot = _id(query, 200)
        with self.connection() as db:
            self._ask(
                db,
                "INSERT INTO messages (bot_id, role, body) VALUES (%s, 'user', %s)",
                (bot, query.get("body", "")),
            )
            self._ask(
                db,
                "UPDATE bots SET messages_sent = messages_sent + 1, last_message_at = now() WHERE id = %s",
                (bot,),
            )
            db.commit()
            _work(94)
        self.cache.rpush("queue:outbound", bot)
        return 201, {"stored": True}

    def search(self, query: Query) -> Answer:
        """Messages that contain some words."""
        with self.connection() as db:
            rows = self._ask(
                db,
                "SELECT id, bot_id, body, created_at FROM messages WHERE to_tsvector('english', body)"
                " @@ plainto_tsquery('english', %s) ORDER BY created_at DESC LIMIT 20",
                (f"ticket {_id(query, 160000)}",),
            )
            _work(94)
        return 200, {"found": len(rows)}

    def export(self, query: Query) -> Answer:
        """The exports of a bot; in a faulty release the place where connections stay behind."""
        leak = self.knobs.leak
        if leak and random.random() < leak.share:
            return self._leaking_export(query, leak.in_transaction)
        with self.connection() as db:
            self._ask(
                db, "SELECT id, format, state FROM exports WHERE bot_id = %s ORDER BY id", (_id(query, 200),)
            )
            if self.knobs.heavy_export:
                self._ask(db, HEAVY_EXPORT)
            _work(250)
        return 200, {"export": "done"}

    def _leaking_export(self, query: Query, in_transaction: bool) -> Answer:
        """Takes a connection by hand and returns early: nobody gives it back."""
        db = self.pool.getconn(POOL_TIMEOUT)
        meters.pool_active.inc()
        with self._lock:
            self._kept.append(db)
        rows = self._ask(
            db, "SELECT id, format, state FROM exports WHERE bot_id = %s ORDER BY id", (_id(query, 200),)
        )
        if not in_transaction:
            db.commit()
        return 200, {"export": "empty" if not rows else "done"}

    def chat(self, query: Query) -> Answer:
        """One answer of the language model; no connection is held while it thinks."""
        with self.connection() as db:
            settings = self._ask(
                db, "SELECT model, prompt FROM bot_settings WHERE bot_id = %s", (_id(query, 200),)
            )
            db.commit()
            _work(30)
        model = str(settings[0][0]) if settings else "llama3.2:3b"
        status = self._infer(model)
        meters.ollama_requests.labels(str(status)).inc()
        return (200, {"answer": "..."}) if status == 200 else (502, {"error": f"ollama answered {status}"})

    def _infer(self, model: str) -> int:
        """The status of one inference; 503 where Ollama does not answer."""
        with meters.ollama_duration.time():
            link = HTTPConnection(self.ollama.hostname or "", self.ollama.port, timeout=30)
            try:
                link.request(
                    "POST", "/api/generate", f'{{"model": "{model}", "prompt": "hi", "stream": false}}'
                )
                response = link.getresponse()
                response.read()
                return response.status
            except (OSError, HTTPException):
                return 503
            finally:
                link.close()

    def cached(self, query: Query) -> Answer:
        """A value that is computed once in ten minutes."""
        key = f"cache:profile:{_id(query, 500)}"
        if self.cache.get(key) is None:
            self.cache.set(key, "x" * 200, ex=600)
        return 200, {"key": key}

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
        """The cache: its latency and the memory that it takes."""
        began = time.perf_counter()
        used = dict(self.cache.info("memory"))["used_memory"]
        took = round((time.perf_counter() - began) * 1000, 1)
        return 200, {
            "status": "healthy",
            "provider": "redis",
            "latency_ms": took,
            "memory_used_mb": round(used / 1e6, 1),
        }


def _id(query: Query, most: int) -> int:
    """The parameter `id`, from 1 to `most`. Raises BadRequest."""
    text = query.get("id", "")
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise BadRequest(f"id must be a number from 1 to {most}")
    return int(text)
