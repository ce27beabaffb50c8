"""What must hold in a service file besides its types: addresses, names, forms of signals."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from oncall import dsn
from oncall.model_service import (
    SIGNAL_FORMS,
    HttpBackend,
    Limits,
    PoolAt,
    RestartBy,
    Service,
    SignalSpec,
    Threshold,
    Tls,
    Windows,
)
from oncall.units import parse_freeze

Complaint: TypeAlias = tuple[tuple[str | int, ...], str]
"""A key path within the service, and what is wrong there (never the value of a secret)."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_SIGNAL = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}", re.ASCII)
SSH = re.compile(r"(?:ssh://)?(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_\[][\w.:%\]-]*", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def forms(spec: SignalSpec) -> tuple[str, ...]:
    """The forms that a signal is given in; exactly one is right."""
    return tuple(form for form in SIGNAL_FORMS if getattr(spec, form) is not None)


def signal_complaints(spec: SignalSpec) -> Iterator[Complaint]:
    """What is wrong with a signal as written."""
    given = forms(spec)
    if len(given) != 1:
        found = " and ".join(given) if given else "none"
        yield (), f"found {found} of the forms, expected exactly one of {', '.join(SIGNAL_FORMS)}"
    if (spec.of is None) != (spec.quantile is None):
        yield ("of",), "`quantile` and `of` go together: {quantile: 0.95, of: a_histogram}"
    if spec.quantile is not None and not 0 < spec.quantile < 1:
        yield ("quantile",), f"found {spec.quantile:g}, expected a share between 0 and 1, such as 0.95"
    if spec.across is not None and spec.gauge is None:
        yield ("across",), "only a gauge is put together across instances"
    yield from _metrics(spec)
    yield from _order(spec.warning, spec.critical, spec.below)


def _metrics(spec: SignalSpec) -> Iterator[Complaint]:
    """What is not a metric (with label matchers) where one is due."""
    from oncall.promql import fill, parse_selector

    texts: dict[tuple[str, ...], str | None]
    texts = {("gauge",): spec.gauge, ("rate",): spec.rate, ("of",): spec.of, ("mean",): spec.mean}
    if spec.ratio is not None:
        texts |= {("ratio", "part"): spec.ratio.part, ("ratio", "whole"): spec.ratio.whole}
    for key, text in texts.items():
        try:
            parse_selector("absent" if text is None else text)
        except ValueError as wrong:
            yield key, str(wrong)
    try:
        fill(spec.promql or "", {}, "5m")
    except ValueError as wrong:
        yield ("promql",), str(wrong)
    for form in ("promql", "step", "up", "value"):
        if getattr(spec, form) == "":
            yield (form,), "it is empty"


def service_complaints(name: str, service: Service) -> Iterator[Complaint]:
    """Everything that is wrong with a service whose types are right, in the order of the contract."""
    if not NAME.fullmatch(name):
        yield (), "a service is named with letters, digits, dots, dashes and underscores"
    if not service.environment.strip() or CONTROL.search(service.environment):
        yield ("environment",), "expected a word such as production or staging"
    yield from _addresses(service)
    yield from _stores(service)
    yield from _host(service)
    yield from _acting(service)
    yield from _limits(service.limits)
    yield from _windows(service.windows)
    for signal, spec in service.signals.items():
        yield from _named(signal, ("signals", signal), signal_complaints(spec))
    for signal, bounds in service.thresholds.items():
        yield from _named(signal, ("thresholds", signal), _threshold(bounds, service.signals.get(signal)))


def under(key: tuple[str | int, ...], complaints: Iterator[Complaint]) -> Iterator[Complaint]:
    return (((*key, *part), what) for part, what in complaints)


# --- what is spoken to by HTTP -------------------------------------------------------------


def _addresses(service: Service) -> Iterator[Complaint]:
    if service.url is not None:
        yield from under(("url",), _http_url(service.url))
    yield from under(("headers",), _headers(service.headers))
    yield from under(("tls",), _tls(service.tls))
    backends = {
        "prometheus": service.prometheus,
        "alertmanager": service.alertmanager,
        "ollama": service.ollama,
    }
    for name, at in backends.items():
        if at is not None:
            yield from under((name,), _http(at))
    for label in service.prometheus.selector if service.prometheus else ():
        if not _LABEL.fullmatch(label):
            yield ("prometheus", "selector", label), "expected a label name: [a-zA-Z_][a-zA-Z0-9_]*"


def _http(at: HttpBackend) -> Iterator[Complaint]:
    yield from under(("url",), _http_url(at.url))
    yield from under(("headers",), _headers(at.headers))
    yield from under(("tls",), _tls(at.tls))
    if at.basic is not None and at.bearer is not None:
        yield ("bearer",), "expected either `basic` or `bearer`, found both"
    if at.bearer is not None and not _fits_header(at.bearer):
        yield ("bearer",), "expected a token without blanks, line breaks or letters that are not ASCII"


def _http_url(url: str) -> Iterator[Complaint]:
    parsed = split_url(url)
    if parsed is None:
        yield (), "expected a URL such as http://localhost:9090: the host or the port cannot be read"
    elif parsed.scheme not in ("http", "https") or not parsed.hostname:
        yield (), "expected a URL with a host that begins with http:// or https://"
    elif parsed.query or parsed.fragment or "@" in parsed.path or parsed.netloc.count("@") > 1:
        yield (), "expected no ?, # or further @ in the URL (in a password: @ is %40, / is %2F, # is %23)"


def split_url(url: str) -> SplitResult | None:
    """The parts of a URL, or None where its host or port is wrong."""
    if any(char.isspace() or not char.isprintable() for char in url):
        return None
    try:
        parsed = urlsplit(url)
        return parsed if parsed.port != 0 else None
    except ValueError:
        return None


def _headers(headers: Mapping[str, str]) -> Iterator[Complaint]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            yield (name,), "expected the name of an HTTP header"
        if CONTROL.search(value) or not value.isascii():
            yield (name,), "expected printable ASCII without line breaks"


def _fits_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and bool(token) and " " not in token


def _tls(tls: Tls | None) -> Iterator[Complaint]:
    if tls is not None and tls.key is not None and tls.cert is None:
        yield ("cert",), "`key` needs its `cert`"


# --- stores ----------------------------------------------------------------------------------


def _stores(service: Service) -> Iterator[Complaint]:
    if service.postgres is not None:
        for option in ("dsn", "reserve_dsn"):
            text = getattr(service.postgres, option)
            if text is not None:
                yield from under(("postgres", option), _dsn(text))
    if service.redis is not None:
        yield from under(("redis", "url"), _redis_url(service.redis.url))


def _dsn(text: str) -> Iterator[Complaint]:
    try:
        dsn.parts(text)
    except ValueError as wrong:
        yield (), f"not a connection string: {wrong}"


def _redis_url(url: str) -> Iterator[Complaint]:
    parsed = split_url(url)
    if parsed is None or parsed.scheme not in ("redis", "rediss", "unix"):
        yield (), "expected a URL such as redis://localhost:6379/0 (or rediss://, or unix:///path?db=0)"
    elif "@" in parsed.path or parsed.fragment or parsed.netloc.count("@") > 1:
        yield (), "expected no # or further @ in the URL (in a password: @ is %40, / is %2F, # is %23)"
    elif parsed.scheme == "unix":
        yield from () if parsed.path.startswith("/") else [((), "expected unix:///path/of/the.sock?db=0")]
    elif not parsed.hostname:
        yield (), "expected a host: redis://localhost:6379/0"
    elif not re.fullmatch(r"/?|/[0-9]{1,5}/?", parsed.path):
        # redis-py would silently take database 0.
        yield (), "expected a number as the database: redis://HOST:PORT/0"
    if parsed and re.search(r"(?:^|&)db=(?![0-9]{1,5}(?:&|$))", parsed.query):
        yield (), "expected a number as the database: ?db=0"
    elif parsed and len(re.findall(r"(?:^|&)db=", parsed.query)) + _numbered(parsed) > 1:
        yield (), "expected the database once, found it twice: in the path or as ?db="
    if parsed and re.search(r"(?:^|&)(?:host|port|path)=", parsed.query):
        yield (), "expected no host, port or path after the ?: they are what stands before it"


def _numbered(parsed: SplitResult) -> bool:
    return parsed.scheme != "unix" and parsed.path.strip("/") != ""


# --- the machine it runs on ------------------------------------------------------------------


def _host(service: Service) -> Iterator[Complaint]:
    yield from under(("unit",), _unit(service.unit))
    if service.ssh is not None and not SSH.fullmatch(service.ssh):
        yield ("ssh",), "expected a host as ssh takes it: HOST or USER@HOST"
    if service.logs is not None and not is_absolute(service.logs.file):
        yield ("logs", "file"), "expected an absolute path"
    yield from under(("restart",), _restart(service.restart))
    if service.pool is not None:
        yield from under(("pool",), _pool(service.pool))
    if service.runbooks is not None and not service.runbooks.strip():
        yield ("runbooks",), "expected a folder"


def _pool(at: PoolAt) -> Iterator[Complaint]:
    if not is_absolute(at.file):
        yield ("file",), "expected an absolute path"
    if not at.key.strip() or CONTROL.search(at.key):
        yield ("key",), "expected the key of the pool's size, such as database.pool_size"
    if at.instances < 1:
        yield ("instances",), f"found {at.instances}, expected at least 1"


def _unit(unit: str | None) -> Iterator[Complaint]:
    if unit is not None and (not _UNIT.fullmatch(unit) or ".." in unit):
        yield (), "expected the plain name of one systemd unit: no path, pattern, blank, `..` or `;`"


def _restart(by: RestartBy | None) -> Iterator[Complaint]:
    if by is not None and not is_command(by.command):
        yield ("command",), "expected a list of words, the program first: [systemctl, restart, NAME]"


def is_absolute(path: str) -> bool:
    return Path(path).is_absolute() and not CONTROL.search(path)


def is_command(words: tuple[str, ...]) -> bool:
    return bool(words) and bool(words[0].strip()) and not any("\0" in word for word in words)


# --- acting ----------------------------------------------------------------------------------


def _acting(service: Service) -> Iterator[Complaint]:
    """What remediation goes by."""
    if service.postgres is not None:
        yield from under(("postgres", "unit"), _unit(service.postgres.unit))
        yield from under(("postgres", "restart"), _restart(service.postgres.restart))
    if service.redis is not None:
        yield from under(("redis", "cache"), _patterns(service.redis.cache))
        yield from under(("redis", "protected"), _patterns(service.redis.protected))
    for number, freeze in enumerate(service.freeze):
        try:
            parse_freeze(freeze.begin, freeze.end)
        except ValueError as wrong:
            yield ("freeze", number), str(wrong)
    url = service.announce.slack if service.announce else None
    if url is not None:
        yield from under(("announce", "slack"), _webhook(url))


def _patterns(texts: Sequence[str]) -> Iterator[Complaint]:
    """Prefixes and patterns of keys: one that is empty, or stars alone, would be every key there is."""
    for number, text in enumerate(texts):
        if not text.strip(" *?"):
            yield (number,), "expected the begin of some keys such as `cache:`; this would be all of them"


def _webhook(url: str) -> Iterator[Complaint]:
    parsed = split_url(url)
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.hostname:
        yield (), "expected the URL of an incoming webhook, which begins with https:// (or http://)"


# --- numbers ---------------------------------------------------------------------------------


def _limits(limits: Limits) -> Iterator[Complaint]:
    if limits.memory is not None and limits.memory <= 0:
        yield ("limits", "memory"), "expected more than nothing"
    if limits.pool is not None and limits.pool < 1:
        yield ("limits", "pool"), f"found {limits.pool}, expected at least 1"
    if limits.cpu is not None and not 0 < limits.cpu < 100_000:
        yield ("limits", "cpu"), f"found {limits.cpu:g}, expected a number of cores such as 2"


def _windows(windows: Windows) -> Iterator[Complaint]:
    if windows.rate < 1:
        yield ("windows", "rate"), "expected at least 1s"
    if windows.baseline <= windows.rate:
        yield ("windows", "baseline"), "expected a time longer than `rate`: the quiet time to compare with"


def _named(name: str, key: tuple[str, ...], complaints: Iterator[Complaint]) -> Iterator[Complaint]:
    if not _SIGNAL.fullmatch(name):
        yield key, "a signal is named with small letters, digits and underscores"
    yield from under(key, complaints)


def _threshold(bounds: Threshold, spec: SignalSpec | None) -> Iterator[Complaint]:
    if bounds.warning is None and bounds.critical is None:
        yield (), "expected `warning`, `critical` or both"
    # Which way is worse is known here for the signals of this file alone; the runbooks say it of theirs.
    if spec is not None:
        yield from _order(bounds.warning, bounds.critical, spec.below)


def _order(warning: float | None, critical: float | None, below: bool) -> Iterator[Complaint]:
    if warning is None or critical is None:
        return
    if (critical > warning) if below else (critical < warning):
        side = "above" if below else "below"
        yield ("critical",), f"found {critical:g}, which is {side} the warning at {warning:g}"
