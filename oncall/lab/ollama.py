"""A stand-in for Ollama: `python -m oncall.lab.ollama FOLDER PORT`. It speaks the HTTP API, pretends to think."""

import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from oncall.lab.place import OllamaKnobs, read

GPU = 8_000_000_000
"""Bytes of the pretended graphics card: the large model does not fit."""
KEPT_S = 300
"""Seconds for which a model stays loaded after its last use."""
MOST_WAITING = 512


def _model(name: str, size: int, digest: str, parameters: str) -> dict[str, Any]:
    details = {"family": "llama", "parameter_size": parameters, "quantization_level": "Q4_K_M"}
    return {"name": name, "model": name, "size": size, "digest": digest, "details": details}


USUAL = "llama3.2:3b"
LARGE = "llama3.3:70b"
MODELS = {
    USUAL: _model(
        USUAL, 2019393189, "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72", "3.2B"
    ),
    LARGE: _model(
        LARGE, 42520413916, "a6eb4748fd2990ad2952b2335a95a7f952d1a06119a0aa6a2df6cd052a93a3fa", "70.6B"
    ),
}


class Mind:
    """The models that are loaded, and who thinks: so many at once as there are slots, the others queue."""

    def __init__(self, folder: Path) -> None:
        self.knobs = OllamaKnobs()
        self.used = {USUAL: time.time()}
        self._folder = folder
        self._slots = {1: ThreadPoolExecutor(1)}
        self._lock = threading.Lock()
        self._waiting = 0

    def watch(self) -> None:
        """Follows the knobs, without end."""
        while True:
            self.knobs = read(self._folder / "ollama.json", OllamaKnobs) or OllamaKnobs()
            time.sleep(0.25)

    def work_for_others(self) -> None:
        """The inferences of another program, one after the other, where the knobs ask for them."""
        while True:
            seconds = self.knobs.batch_s
            if seconds:
                self._executor().submit(time.sleep, seconds).result()
            time.sleep(0.01 if seconds else 0.25)

    def _executor(self) -> ThreadPoolExecutor:
        slots = self.knobs.slots
        with self._lock:
            return self._slots.setdefault(slots, ThreadPoolExecutor(slots))

    def installed(self) -> list[dict[str, Any]]:
        return [model for name, model in MODELS.items() if name not in self.knobs.missing]

    def loaded(self) -> list[dict[str, Any]]:
        """The models in memory; what does not fit into the card lies beside it."""
        now = time.time()
        found = []
        for name, at in list(self.used.items()):
            if now - at < KEPT_S and name not in self.knobs.missing:
                ends = datetime.fromtimestamp(at, UTC) + timedelta(seconds=KEPT_S)
                model = MODELS[name]
                found.append({**model, "size_vram": min(model["size"], GPU), "expires_at": ends.isoformat()})
        return found

    def generate(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """An answer after a skewed time around 0.2 s, or the large model's many times that."""
        name = str(asked.get("model"))
        if name not in MODELS or name in self.knobs.missing:
            return 404, {"error": f"model '{name}' not found"}
        if self._waiting >= MOST_WAITING:
            return 503, {"error": "server busy, please try again. maximum pending requests exceeded"}
        # A model that does not fit beside the others takes their place.
        self.used = {name: time.time()} if LARGE in (name, *self.used) else {**self.used, name: time.time()}
        began = time.perf_counter_ns()
        seconds = random.lognormvariate(-1.7, 0.35) * (self.knobs.larger if name == LARGE else 1)
        with self._lock:
            self._waiting += 1
        try:
            self._executor().submit(time.sleep, min(20.0, seconds)).result()
        finally:
            with self._lock:
                self._waiting -= 1
        return 200, _answer(name, time.perf_counter_ns() - began)


def _answer(name: str, took: int) -> dict[str, Any]:
    counts = {"prompt_eval_count": 12, "eval_count": 40, "eval_duration": took}
    now = datetime.now(UTC).isoformat()
    text = {"model": name, "created_at": now, "response": "Certainly.", "done": True}
    return {**text, "done_reason": "stop", "total_duration": took, "load_duration": 0, **counts}


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        mind = self.server.mind
        if self.path == "/api/version":
            self._send(200, {"version": "0.5.0"})
        elif self.path == "/api/tags":
            models = [{**model, "modified_at": "2026-01-01T00:00:00Z"} for model in mind.installed()]
            self._send(200, {"models": models})
        elif self.path == "/api/ps":
            self._send(200, {"models": mind.loaded()})
        else:
            self._send(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            asked = json.loads(body or b"{}")
        except ValueError as error:
            self._send(400, {"error": str(error)})
            return
        if self.path == "/api/generate":
            self._send(*self.server.mind.generate(asked))
        else:
            self._send(404, {"error": "not found"})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet: nobody reads a stand-in's log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, mind: Mind) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.mind = mind

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet as well: clients go away when they have waited long enough."""


def main(folder: Path, port: int) -> None:
    """Serves on 127.0.0.1:port until it is ended."""
    mind = Mind(folder)
    for task in (mind.watch, mind.work_for_others):
        threading.Thread(target=task, daemon=True).start()
    Server(port, mind).serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
