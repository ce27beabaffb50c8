"""The service file: found, read, expanded from the environment, checked.

It is never looked for in the current folder: a cloned repository must not be able to point the tool anywhere,
or make it run a command.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import msgspec

from oncall.config_checked import checked_complaints
from oncall.config_rules import service_complaints
from oncall.errors import ConfigError, OncallError, UsageFault
from oncall.model import Written
from oncall.model_service import HttpBackend, Service, Tls
from oncall.scrub import secrets_of
from oncall.yamltext import Document, decode, read
from oncall.yamlwords import Key, in_words, nearest

SYSTEM_FILE = Path("/etc/oncall/config.yaml")
LAB = "lab"

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class _File(Written, frozen=True):
    """The service file as written."""

    default: str | None = None
    services: dict[str, Service] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """The services that are known, and where they stand; `default` is meant where none is named."""

    path: Path | None = None
    default: str | None = None
    services: Mapping[str, Service] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    looked_at: tuple[Path, ...] = ()
    documents: Mapping[str, Document] = field(default_factory=dict, repr=False)

    def where(self, service: str, *keys: str | int) -> str:
        """`file:line` of a key of a service, or of its nearest ancestor that is written."""
        doc = self.documents.get(service)
        return doc.where(("services", service, *keys)) if doc else str(self.path or "no file")

    def file_of(self, service: str) -> Path | None:
        """The file that a service stands in: the lab's is another than the user's."""
        doc = self.documents.get(service)
        return doc.path if doc else self.path


# --- places --------------------------------------------------------------------------------


def find_config(explicit: Path | None, env: Mapping[str, str]) -> Path | None:
    """The service file in force: the one that is named, else the first usual place that exists."""
    named = explicit or (Path(env["ONCALL_CONFIG"]) if env.get("ONCALL_CONFIG") else None)
    return named or next(filter(_exists, usual_places(env)), None)


def usual_places(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the service file is looked for unless it is named; the first one is the user's own."""
    return (_base(env, "XDG_CONFIG_HOME", ".config") / "oncall" / "config.yaml", SYSTEM_FILE)


def state_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where the audit log and saved evidence are kept."""
    return _base(env, "XDG_STATE_HOME", ".local/state") / "oncall"


def lab_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where the lab lives."""
    return _base(env, "XDG_DATA_HOME", ".local/share") / "oncall" / "lab"


def _base(env: Mapping[str, str], variable: str, below_home: str) -> Path:
    # A relative path would be one of the current folder: the XDG specification says to ignore it.
    for text, rest in ((env.get(variable, ""), ""), (env.get("HOME", ""), below_home)):
        if Path(text).is_absolute():
            return Path(text) / rest
    return Path.home() / below_home


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # It is there, and reading it says what is wrong.
    return True


# --- reading -------------------------------------------------------------------------------


def load(explicit: Path | None = None, env: Mapping[str, str] = os.environ) -> Config:
    """The services in force, with service `lab` while there is one. Raises ConfigError with file:line."""
    path = find_config(explicit, env)
    file, raw, doc = _read(path, env) if path else (_File(), None, None)
    lab_services, lab_doc, lab_warnings = _read_lab(env)
    services = lab_services | file.services
    documents = {name: doc if name in file.services else lab_doc for name in services}
    default = file.default or _only(file.services) or (_only(services) if not file.services else None)
    if doc and default and default not in services:
        names = f"the services are {', '.join(services) or 'not there'}"
        raise ConfigError(f"{doc.where(['default'])}: default: no service of this name; {names}")
    return Config(
        path=path,
        default=default,
        services=MappingProxyType(services),
        warnings=(*(_warnings(path, raw, file) if path and raw else ()), *lab_warnings),
        looked_at=usual_places(env),
        documents={name: found for name, found in documents.items() if found},
    )


def pick(config: Config, name: str | None) -> tuple[str, Service]:
    """The service of that name, or the default one. Raises UsageFault or ConfigError with what there is."""
    chosen = name or config.default
    if chosen is not None and chosen in config.services:
        return chosen, config.services[chosen]
    names = ", ".join(config.services)
    if not config.services:
        places = ", ".join(str(place) for place in config.looked_at)
        said = f"{config.path} names no service" if config.path else f"there is no service file: {places}"
        raise ConfigError(said, hint="Write one with `oncall config init`, or try the lab: `oncall lab up`.")
    if chosen is None:
        said = f"there are several services, and the file names no default: {names}"
        raise UsageFault(said, hint="Say which with -s NAME, or write `default: NAME` into the service file.")
    said = f"there is no service {chosen!r}; there is {names}"
    raise UsageFault(said, hint=nearest(chosen, config.services))


def _only(services: Mapping[str, Service]) -> str | None:
    return next(iter(services)) if len(services) == 1 else None


def _read(path: Path, env: Mapping[str, str]) -> tuple[_File, Document, Document]:
    """The file, its document as written, and with the environment put in."""
    raw = read(path, ConfigError)
    doc = raw.map_text(lambda key, text: _expand(raw, key, text, env))
    file = decode(doc, _File, ConfigError)
    for name, service in file.services.items():
        for key, what in chain(service_complaints(name, service), checked_complaints(service)):
            full = ("services", name, *key)
            raise ConfigError(f"{doc.where(full)}: {in_words(full)}: {what}")
    services = {name: _settle_paths(service, path) for name, service in file.services.items()}
    return msgspec.structs.replace(file, services=services), raw, doc


def _read_lab(env: Mapping[str, str]) -> tuple[dict[str, Service], Document | None, tuple[str, ...]]:
    """The service `lab`, where its file exists. A broken one is a warning: it must not stop the real work."""
    path = lab_folder(env) / "service.yaml"
    if not _exists(path):
        return {}, None, ()
    try:
        file, _, doc = _read(path, env)
    except OncallError as broken:
        return {}, None, (f"the lab's service file is left out: {broken}",)
    return {name: at for name, at in file.services.items() if name == LAB}, doc, ()


def _settle_paths(service: Service, file: Path) -> Service:
    """Relative paths are below the service file's own folder, never below the current one."""
    folder = file.absolute().parent

    def settled(text: str | None) -> str | None:
        return None if text is None else str(folder / Path(text).expanduser())

    def tls(at: Tls | None) -> Tls | None:
        return at and msgspec.structs.replace(
            at, ca=settled(at.ca), cert=settled(at.cert), key=settled(at.key)
        )

    changes: dict[str, object] = {"runbooks": settled(service.runbooks), "tls": tls(service.tls)}
    for name in ("prometheus", "alertmanager", "ollama"):
        http: HttpBackend | None = getattr(service, name)
        changes[name] = http and msgspec.structs.replace(http, tls=tls(http.tls))
    return msgspec.structs.replace(service, **changes)


# --- ${NAME} -------------------------------------------------------------------------------


def _expand(doc: Document, key: Key, text: str, env: Mapping[str, str]) -> str:
    """The text with each `${NAME}` from the environment; `$${` is a `${` that is meant so."""

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return "${"
        if not found[2] or not _VARIABLE.fullmatch(found[1]):
            said = "expected ${NAME}: letters, digits and underscores within braces"
            raise ConfigError(
                f"{doc.where(key)}: {in_words(key)}: {said}", hint="Write $${ for a literal ${."
            )
        return _variable(doc, key, found[1], env)

    return _REFERENCE.sub(value, text) if "${" in text else text


def _variable(doc: Document, key: Key, name: str, env: Mapping[str, str]) -> str:
    place = f"{doc.where(key)}: {in_words(key)}: the environment variable {name}"
    if name not in env:
        raise ConfigError(f"{place} is not set", hint=f"Set it: export {name}=...")
    try:
        env[name].encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{place} is not UTF-8 text") from None
    return env[name]


# --- warnings ------------------------------------------------------------------------------


def _warnings(path: Path, raw: Document, file: _File) -> tuple[str, ...]:
    """What is dangerous about the file itself."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return ()
    if not stat.S_ISREG(mode):
        return ()
    found = []
    if mode & stat.S_IWOTH:
        found.append(f"{path}: anybody may write it, and so choose what is run here: chmod o-w {path}")
    if mode & stat.S_IROTH and _holds_secrets(raw, file):
        found.append(f"{path}: it holds a password or token, and anybody may read it: chmod o-r {path}")
    return tuple(found)


def _holds_secrets(raw: Document, file: _File) -> bool:
    """Whether a secret stands in the file itself, rather than in the environment."""
    secrets = {secret for service in file.services.values() for secret in secrets_of(service)}
    return any(secret in text for text in _texts(raw.data) for secret in secrets)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
