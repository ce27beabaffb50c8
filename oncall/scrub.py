"""Secrets of a service, and texts without them: what leaves the program passes through `scrub`."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from msgspec.structs import replace

from oncall import dsn
from oncall.model_service import BackupAt, HttpBackend, PostgresAt, RestartBy, Service

MASK = "***"
SHORTEST = 3
"""Secrets shorter than this are not looked for: their letters stand in every other word."""
_LONG_PART = 8
_SECRET_NAME = re.compile(r"(?i)auth|token|secret|pass|cookie|credential|key")
# In the words of a command: NAME=VALUE, `Header: Bearer VALUE`, //USER:VALUE@host; and the word after an option.
_IN_WORDS = r"(?:token|secret|passw|cookie|credential|authorization|(?:api|access|private)[-_]?key)"
_ASSIGNED = re.compile(
    rf"""(?i){_IN_WORDS}[\w-]*["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token)\s+)?([^\s"'&;]+)"""
    r"""|://[^\s/@:]*:([^\s/@]+)@"""
)
_OPTION = re.compile(rf"(?i)--?[\w-]*{_IN_WORDS}[\w-]*")


def secrets_of(service: Service) -> tuple[str, ...]:
    """All secret texts of a service, longest first: raw, percent-decoded or -encoded, as Basic."""
    found = set(_backends(service))
    forms = {
        form
        for secret in found
        for form in (secret, unquote(secret), quote(secret, safe=""), _escaped(secret))
    }
    return tuple(sorted((f for f in forms if len(f) >= SHORTEST), key=lambda f: (-len(f), f)))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """The text with `***` for each of the secrets (as `secrets_of` returns them: longest first)."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def secret_name(name: str) -> bool:
    """Whether a header or an option of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def mask_url(url: str) -> str:
    """An HTTP or Redis URL with `***` for its password, and for each option that may be secret."""
    head, slashes, rest = url.partition("://")
    if not slashes:
        return MASK if "@" in url else url
    userinfo, at, host = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    login = (f"{user}:{MASK}" if colon else MASK) + "@" if at else ""
    where, question, query = host.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")] if question else []
    shown = "&".join(f"{n}={MASK}" if secret_name(n) else f"{n}{e}{v}" for n, e, v in pairs)
    return f"{head}://{login}{where}{question}{shown}"


def masked(service: Service) -> Service:
    """The service fit to be shown: `***` for each secret, in its place."""
    changes: dict[str, object] = {"headers": _masked_headers(service.headers)}
    changes["url"] = service.url and mask_url(service.url)
    for name in ("prometheus", "alertmanager", "ollama"):
        at: HttpBackend | None = getattr(service, name)
        changes[name] = at and _masked_http(at)
    if at_redis := service.redis:
        changes["redis"] = replace(at_redis, url=mask_url(at_redis.url))
    if at_postgres := service.postgres:
        reserve = at_postgres.reserve_dsn and dsn.mask(at_postgres.reserve_dsn)
        changes["postgres"] = replace(at_postgres, dsn=dsn.mask(at_postgres.dsn), reserve_dsn=reserve)
    if (at_chat := service.announce) and at_chat.slack:
        changes["announce"] = replace(at_chat, slack=_masked_webhook(at_chat.slack))
    return _masked_commands(replace(service, **changes), secrets_of(service))


def _masked_commands(service: Service, secrets: Sequence[str]) -> Service:
    def clean(by: RestartBy | None) -> RestartBy | None:
        return by and replace(by, command=tuple(scrub(word, secrets) for word in by.command))

    def clean_backup(of: BackupAt | str) -> BackupAt | str:
        if isinstance(of, str) or of.command is None:
            return of
        return replace(of, command=tuple(scrub(word, secrets) for word in of.command))

    at = service.postgres
    return replace(
        service,
        backups={name: clean_backup(of) for name, of in service.backups.items()},
        restart=clean(service.restart),
        postgres=at and replace(at, restart=clean(at.restart)),
    )


def _masked_webhook(url: str) -> str:
    """The address of a webhook is its password: whoever knows the path may post."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}"


def _masked_http(at: HttpBackend) -> HttpBackend:
    basic = at.basic and replace(at.basic, password=MASK)
    headers = _masked_headers(at.headers)
    return replace(at, url=mask_url(at.url), headers=headers, basic=basic, bearer=at.bearer and MASK)


def _masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: MASK if secret_name(name) else value for name, value in headers.items()}


def _backends(service: Service) -> Iterator[str]:
    yield from _headers(service.headers)
    yield from _url(service.url)
    for http in (service.prometheus, service.alertmanager, service.ollama):
        if http:
            yield from _http(http)
    if service.redis:
        yield from _url(service.redis.url)
    if service.postgres:
        yield from _postgres(service.postgres)
    if service.announce and service.announce.slack:
        yield from _webhook(service.announce.slack)
    for by in (service.restart, service.postgres and service.postgres.restart):
        if by:
            yield from _command(by.command)
    for backup in service.backups.values():
        if isinstance(backup, BackupAt) and backup.command:
            yield from _command(backup.command)


def _command(words: Sequence[str]) -> Iterator[str]:
    """What a restart command is given to sign in with; a short word (a name, a yes) stands anywhere, and stays."""
    found = [value for word in words for pair in _ASSIGNED.findall(word) for value in pair]
    found += [after for word, after in pairwise(words) if _OPTION.fullmatch(word)]
    yield from (value for value in found if len(value) >= _LONG_PART and not value.startswith("-"))


def _webhook(url: str) -> Iterator[str]:
    """All of it, its path, and what can stand alone of that (a short word such as `hook` stands anywhere)."""
    yield url
    yield from _url(url)
    try:
        path, query = urlsplit(url).path.strip("/"), urlsplit(url).query
    except ValueError:
        return
    yield f"/{path}" if path else ""
    yield query
    yield from (part for part in path.split("/") if len(part) >= _LONG_PART)


def _http(at: HttpBackend) -> Iterator[str]:
    yield from _url(at.url)
    yield from _headers(at.headers)
    if at.bearer:
        yield at.bearer
    if at.basic:
        yield at.basic.password
        yield _basic(at.basic.username, at.basic.password)


def _headers(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if secret_name(name):
            yield value
            yield value.partition(" ")[2]  # `Bearer TOKEN`: the token alone, too.


def _url(url: str | None) -> Iterator[str]:
    try:
        parsed = urlsplit(url or "")
    except ValueError:
        yield url or ""
        return
    userinfo, at, _ = parsed.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if at:
        yield password if colon else user
        yield _basic(unquote(user), unquote(password))
    for name, value in parse_qsl(parsed.query):
        if secret_name(name):
            yield value


def _postgres(at: PostgresAt) -> Iterator[str]:
    for text in (at.dsn, at.reserve_dsn):
        try:
            yield from dsn.secrets(text) if text else ()
        except ValueError:
            yield text or ""  # The whole of what cannot be taken apart.


def _basic(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


def _escaped(secret: str) -> str:
    """As Python's repr writes it within an error message."""
    return repr(secret)[1:-1]
