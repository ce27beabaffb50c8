"""What Redis tells of itself, as tables: INFO twice, SLOWLOG, LATENCY, CLIENT LIST. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, TypeAlias

from oncall.model import Column, Frozen, Scalar, Table

Fields: TypeAlias = Mapping[str, str]
MOST_ROWS = 15
# What Redis keeps for one connection comes and goes by this many bytes, and is counted late.
_OWN_BUFFERS = 65536


def _columns(names: str, **units: str) -> tuple[Column, ...]:
    known = {name: unit for unit, listed in units.items() for name in listed.split()}
    return tuple(Column(name=name, unit=known.get(name)) for name in names.split())


SERVER_COLUMNS = _columns(
    "version role uptime_s ping_ms memory memory_rss memory_max memory_ratio memory_host policy fragmentation"
    " keys keys_with_ttl ttl_share evicted evicted_per_s expired_per_s ops_per_s hits_per_s misses_per_s hit_share"
    " clients clients_max clients_ratio blocked rejected rejected_per_s used_cpu persistence_error refuses_writes"
    " memory_per_s keys_per_s looked_s memory_peak fragmentation_bytes expired evicted_share",
    bytes="memory memory_rss memory_max memory_host memory_peak fragmentation_bytes",
    seconds="uptime_s looked_s",
    ms="ping_ms",
    ratio="memory_ratio ttl_share hit_share clients_ratio used_cpu evicted_share",
    per_second="evicted_per_s expired_per_s ops_per_s hits_per_s misses_per_s rejected_per_s memory_per_s keys_per_s",
)
SLOWLOG_COLUMNS = _columns("age_s ms command client", seconds="age_s", ms="ms")
LATENCY_COLUMNS = _columns("event age_s last_ms max_ms", seconds="age_s", ms="last_ms max_ms")
CLIENT_COLUMNS = _columns(
    "name host clients blocked idle_most_s buffers last_command", seconds="idle_most_s", bytes="buffers"
)


def text(value: object) -> str:
    """Foreign bytes as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def fields(reply: object) -> Fields:
    """INFO as fields."""
    lines = (line.partition(":") for line in text(reply).splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


def number(info: Fields, name: str) -> float | None:
    try:
        value = float(info[name])
    except (KeyError, ValueError):
        return None
    return value if isfinite(value) else None


def keyspace(info: Fields, db: int) -> Fields:
    """keys, expires and avg_ttl of one database; empty where it holds no key, or INFO does not tell."""
    return dict(pair.split("=", 1) for pair in info.get(f"db{db}", "").split(",") if "=" in pair)


# --- server --------------------------------------------------------------------------------------


class Pair(Frozen, frozen=True):
    """INFO at the begin and the end of a stretch in which we asked nothing else, `seconds` apart."""

    first: Fields
    last: Fields
    seconds: float

    def per_s(self, name: str) -> float | None:
        """What a counter rose by, per second; None where it was reset meanwhile."""
        rise = self._rise(name)
        return None if rise is None or rise < 0 else rise / self.seconds

    def _rise(self, name: str) -> float | None:
        before, now = number(self.first, name), number(self.last, name)
        return None if before is None or now is None or self.seconds <= 0 else now - before

    @property
    def memory_per_s(self) -> float | None:
        """Growth of what is not the buffers of clients; 0 where it is no more than our own could be."""
        whole, buffers = self._rise("used_memory"), self._rise("mem_clients_normal") or 0.0
        if whole is None:
            return None
        return (whole - buffers) / self.seconds if abs(whole - buffers) > _OWN_BUFFERS else 0.0

    def keys_per_s(self, db: int) -> float | None:
        if self.seconds <= 0:
            return None
        before, now = (number(keyspace(info, db), "keys") or 0.0 for info in (self.first, self.last))
        return (now - before) / self.seconds

    @property
    def used_cpu(self) -> float | None:
        """Share of one core; of the thread that runs the commands, where that is told (Redis 6.2)."""
        for ending in ("_main_thread", ""):
            shares = [self.per_s(f"used_cpu_{kind}{ending}") for kind in ("sys", "user")]
            if None not in shares:
                return sum(share for share in shares if share is not None)
        return None


def server(info: Fields, pair: Pair | None, db: int, ping_ms: float | None) -> Table:
    """`info` is the first one: its ops_per_s, Redis's own mean of 1.6 s, does not know our questions yet.

    `hit_share` and `evicted_share` (of the keys that went by themselves, those that had to make room) are those since
    the server started or its counters were reset."""
    still = pair or Pair(first=info, last=info, seconds=0.0)
    latest = still.last
    get = {name: number(latest, name) for name in _NUMBERS}
    of_db = keyspace(latest, db)
    keys, expires = number(of_db, "keys") or 0.0, number(of_db, "expires") or 0.0
    hits, misses = get["keyspace_hits"], get["keyspace_misses"]
    most, expired = get["maxmemory"] or None, get["expired_keys"]
    row: tuple[Scalar, ...] = (
        latest.get("valkey_version") or latest.get("redis_version"),
        latest.get("role"),
        _whole(get["uptime_in_seconds"]),
        ping_ms,
        _whole(get["used_memory"]),
        _whole(get["used_memory_rss"]),
        _whole(most),
        _share(get["used_memory"], most),
        _whole(get["total_system_memory"]),
        latest.get("maxmemory_policy"),
        get["mem_fragmentation_ratio"],
        round(keys),
        round(expires),
        _share(expires, keys),
        _whole(get["evicted_keys"]),
        still.per_s("evicted_keys"),
        still.per_s("expired_keys"),
        number(info, "instantaneous_ops_per_sec"),
        still.per_s("keyspace_hits"),
        still.per_s("keyspace_misses"),
        _share(hits, _sum_of(hits, misses)),
        _whole(get["connected_clients"]),
        _whole(get["maxclients"]),
        _share(get["connected_clients"], get["maxclients"]),
        _whole(get["blocked_clients"]),
        _whole(get["rejected_connections"]),
        still.per_s("rejected_connections"),
        still.used_cpu,
        persistence_error(latest),
        refuses_writes(latest),
        still.memory_per_s,
        still.keys_per_s(db),
        still.seconds or None,
        _whole(get["used_memory_peak"]),
        _whole(get["mem_fragmentation_bytes"]),
        _whole(expired),
        _share(get["evicted_keys"], _sum_of(expired, get["evicted_keys"])),
    )
    return Table(columns=SERVER_COLUMNS, rows=(row,))


_NUMBERS = (
    "keyspace_hits",
    "keyspace_misses",
    "maxmemory",
    "uptime_in_seconds",
    "used_memory",
    "used_memory_rss",
    "total_system_memory",
    "mem_fragmentation_ratio",
    "evicted_keys",
    "connected_clients",
    "maxclients",
    "blocked_clients",
    "rejected_connections",
    "used_memory_peak",
    "mem_fragmentation_bytes",
    "expired_keys",
)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _sum_of(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def persistence_error(info: Fields) -> str:
    """What cannot be saved, and how often writes were refused for it (MISCONF, counted since Redis 6.2)."""
    said = []
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        said.append("the last RDB save failed")
    if info.get("aof_enabled") == "1" and info.get("aof_last_write_status", "ok") != "ok":
        said.append("the last write to the AOF failed")
    if info.get("aof_enabled") == "1" and info.get("aof_last_bgrewrite_status", "ok") != "ok":
        said.append("the last rewrite of the AOF failed")
    refused = info.get("errorstat_MISCONF", "").removeprefix("count=")
    if said and refused:
        said.append(f"writes are refused (MISCONF, {refused} so far)")
    return "; ".join(said)


def refuses_writes(info: Fields) -> bool | None:
    """Whether writes are refused because nothing can be saved.

    Where Redis does not count errors (before 6.2) a failed save leaves it unknown: it may go on in spite of that."""
    if not persistence_error(info):
        return False
    counts = any(name.startswith("errorstat_") for name in info)
    return "errorstat_MISCONF" in info or (None if not counts else False)


def place_notes(info: Fields) -> tuple[str, ...]:
    """What kind of server it is, where that limits what can be told."""
    mode, said = info.get("redis_mode", "standalone"), []
    if mode == "sentinel":
        said.append("a Sentinel: it holds no keys; redis.url should name the server that it watches")
    elif mode == "cluster" or info.get("cluster_enabled") == "1":
        said.append("a node of a Redis Cluster: these are its own keys only")
    if info.get("role") == "slave":
        link = info.get("master_link_status", "unknown")
        lost = "" if link == "up" else f"; its link to the master is {link}"
        said.append(f"a replica: it can be read, not written{lost}")
    if info.get("async_loading") == "1" or info.get("loading") == "1":
        said.append("it is loading data")
    return tuple(said)


# --- slow commands, latency ----------------------------------------------------------------------


def slowlog(reply: object, slower_us: int | None, now: float) -> Table:
    """Entries newest first; `slower_us` is the threshold in microseconds (below 0: off), `now` the server's clock."""
    rows = tuple(_slow(one, now) for one in _entries(reply, (1, 2))[:MOST_ROWS])
    if slower_us is None:
        note = "what counts as slow could not be read (CONFIG GET slowlog-log-slower-than)"
    elif slower_us < 0:
        note = "slow commands are not recorded (slowlog-log-slower-than is -1)"
    else:
        note = f"commands of {slower_us / 1000:g} ms and more are recorded"
    return Table(columns=SLOWLOG_COLUMNS, rows=rows, notes=(note,))


def _slow(entry: Sequence[Any], now: float) -> tuple[Scalar, ...]:
    words = _list(entry[3])
    command = " ".join(word.decode("utf-8", "backslashreplace") for word in words if isinstance(word, bytes))
    client = " ".join(filter(None, map(text, reversed(entry[4:6]))))
    return max(0, round(now - entry[1])), entry[2] / 1000, _cut(command), client or None


def latency(reply: object, threshold_ms: int | None, now: float) -> Table:
    """Events of the latency monitor; `threshold_ms` 0: it is off."""
    events = _entries(reply, (1, 2, 3))
    rows = tuple((text(one[0]), max(0, round(now - one[1])), one[2], one[3]) for one in events)
    notes: tuple[str, ...] = ()
    if threshold_ms == 0:
        notes = (
            "Redis does not watch its latency: CONFIG SET latency-monitor-threshold 100 (ms) makes it do so",
        )
    elif threshold_ms is None and not rows:
        notes = ("whether it watches its latency could not be read (CONFIG GET latency-monitor-threshold)",)
    return Table(columns=LATENCY_COLUMNS, rows=rows, notes=notes)


def _entries(reply: object, numbers: Sequence[int]) -> list[list[Any]]:
    """Entries of four or more, with whole numbers where they belong."""
    entries = [one for one in _list(reply) if isinstance(one, list) and len(one) >= 4]
    return [one for one in entries if all(isinstance(one[at], int) for at in numbers)]


def _list(reply: object) -> list[Any]:
    return reply if isinstance(reply, list) else []


def _cut(line: str, most: int = 300) -> str:
    return line if len(line) <= most else line[:most] + "…"


# --- clients -------------------------------------------------------------------------------------


def clients(reply: object, own_id: object) -> Table:
    """CLIENT LIST by name and host, without ourselves. `buffers`: what waits to be read or sent."""
    found: dict[tuple[str, str], list[Fields]] = defaultdict(list)
    for line in text(reply).splitlines():
        client = dict(pair.split("=", 1) for pair in line.split(" ") if "=" in pair)
        if client.get("id") != str(own_id):
            found[client.get("name") or client.get("lib-name", ""), _host(client)].append(client)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    cut = len(ordered) - MOST_ROWS
    notes = (f"{cut} more groups of clients are not shown",) if cut > 0 else ()
    rows = tuple(_clients(*name, members) for name, members in ordered[:MOST_ROWS])
    return Table(columns=CLIENT_COLUMNS, rows=rows, notes=notes)


def _host(client: Fields) -> str:
    """Host of an address; the path of a Unix socket."""
    host, _, port = client.get("addr", "").rpartition(":")
    return f"{host}:{port}" if host.startswith("/") else host.strip("[]")


def _clients(name: str, host: str, members: Sequence[Fields]) -> tuple[Scalar, ...]:
    newest = min(members, key=lambda client: number(client, "idle") or 0.0)
    return (
        name,
        host,
        len(members),
        sum("b" in client.get("flags", "") for client in members),
        max(round(number(client, "idle") or 0.0) for client in members),
        round(_sum(members, ("qbuf", "omem"))),
        newest.get("cmd", "").replace("|", " "),
    )


def _sum(members: Iterable[Fields], names: Iterable[str]) -> float:
    return sum(number(client, name) or 0.0 for client in members for name in names)
