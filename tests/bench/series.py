"""A page of many series: `python -m tests.bench.series COUNT same|other`.

`same`: other metrics of one service, to be scraped as its job. `other`: the very metrics that a diagnosis reads,
as hundreds of other services have them. Prints its port, then serves until its standard input ends."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OWN = (
    "db_connection_pool_active",
    "db_connection_pool_size",
    "db_connection_pool_waiting",
    "db_connection_hold_seconds_sum",
    "db_connection_hold_seconds_count",
    "db_query_duration_seconds_sum",
    "db_query_duration_seconds_count",
    "http_requests_total",
)


def _names(which: str) -> tuple[str, ...]:
    return OWN if which == "other" else tuple(f"unrelated_{number}_total" for number in range(200))


def page(count: int, which: str) -> bytes:
    """`count` samples: each name in as many pods as it takes."""
    return "".join(_lines(count, which)).encode()


def _lines(count: int, which: str) -> Iterator[str]:
    names = _names(which)
    for number in range(count):
        name, pod = names[number % len(names)], number // len(names)
        yield f'{name}{{pod="pod-{pod}",team="team-{pod % 40}"}} {number % 97}\n'


def main(count: int, which: str) -> None:
    """Serves the same bytes at every scrape."""
    body = page(count, which)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
