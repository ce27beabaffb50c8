"""A stand-in for Ollama: `python -m oncall.lab.ollama PORT`. It speaks the HTTP API and pretends to think."""

import json
import random
import sys
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = {
    "name": "llama3.2:3b",
    "model": "llama3.2:3b",
    "size": 2019393189,
    "digest": "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
}


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _get(path: str) -> dict[str, Any] | None:
    answers: dict[str, dict[str, Any]] = {
        "/api/version": {"version": "0.5.0"},
        "/api/tags": {"models": [{**MODEL, "modified_at": "2026-01-01T00:00:00Z"}]},
        "/api/ps": {"models": [{**MODEL, "size_vram": 0, "expires_at": _now()}]},
    }
    return answers.get(path)


def _generate(asked: dict[str, Any]) -> dict[str, Any]:
    """An answer after a skewed time around 0.2 s."""
    began = time.perf_counter_ns()
    time.sleep(min(2.0, random.lognormvariate(-1.7, 0.35)))
    took = time.perf_counter_ns() - began
    counts = {"prompt_eval_count": 12, "eval_count": 40, "eval_duration": took}
    text = {"model": asked.get("model"), "created_at": _now(), "response": "Certainly.", "done": True}
    return {**text, "done_reason": "stop", "total_duration": took, "load_duration": 0, **counts}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = _get(self.path)
        self._send(200 if answer else 404, answer or {"error": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            asked = json.loads(body or b"{}")
        except ValueError as error:
            self._send(400, {"error": str(error)})
            return
        if self.path != "/api/generate":
            self._send(404, {"error": "not found"})
        elif asked.get("model") != MODEL["name"]:
            self._send(404, {"error": f"model '{asked.get('model')}' not found"})
        else:
            self._send(200, _generate(asked))

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


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
