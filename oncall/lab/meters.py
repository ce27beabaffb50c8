"""The sample service's metrics, by the names that a bot-controller exports."""

from prometheus_client import Counter, Gauge, Histogram

TIMES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16)
"""Histogram bounds in seconds."""

requests = Counter("http_requests", "Requests answered.", ["status", "endpoint", "method"])
duration = Histogram("http_request_duration_seconds", "Time to answer.", ["endpoint"], buckets=TIMES)
in_progress = Gauge("http_requests_in_progress", "Requests being answered.")

pool_active = Gauge("db_connection_pool_active", "Connections that a request holds.")
pool_size = Gauge("db_connection_pool_size", "Connections that the pool may open.")
pool_waiting = Gauge("db_connection_pool_waiting", "Requests that wait for a connection.")
hold = Histogram("db_connection_hold_seconds", "From taking a connection to giving it back.", buckets=TIMES)
query = Histogram("db_query_duration_seconds", "Time of a statement.", ["operation"], buckets=TIMES)

ollama_duration = Histogram("ollama_request_duration_seconds", "Time of an inference.", buckets=TIMES)
ollama_requests = Counter("ollama_requests", "Inferences asked for.", ["status"])

cache_entries = Gauge("cache_entries", "Keys in the cache.")
queue_depth = Gauge("message_queue_depth", "Messages that wait to be delivered.")
bots_active = Gauge("bot_instances_active", "Bots that run.")
