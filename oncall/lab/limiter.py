"""The sample service's rate limiter: a bucket of tokens for each client."""

import threading
import time

BURST_S = 2.0
"""A client may save up what it did not ask for in so many seconds."""
_MOST = 10_000


class Limiter:
    """Lets each client ask so many times a second, with short bursts above it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, client: str, per_s: float) -> float:
        """Takes a token of that client: 0, or the seconds after which there will be one."""
        now, most = time.monotonic(), max(2.0, per_s * BURST_S)
        with self._lock:
            tokens, at = self._buckets.get(client, (most, now))
            tokens = min(most, tokens + (now - at) * per_s)
            allowed = tokens >= 1
            if len(self._buckets) > _MOST:
                self._buckets.clear()
            self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        return 0.0 if allowed else (1 - tokens) / per_s
