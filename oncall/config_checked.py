"""What must hold in a service file of what the checks look at besides: backups and certificates."""

import re
from collections.abc import Iterator, Sequence

from oncall.config_rules import CONTROL, NAME, SSH, Complaint, is_absolute, is_command, split_url, under
from oncall.model_service import BACKUP_KINDS, NO_BACKUPS, BackupAt, Service

_TARGET = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[\w.-]*\w)?):([0-9]{1,5})", re.ASCII)
_KINDS_SHOWN = ", ".join(kind.replace("_", "-") for kind in BACKUP_KINDS)
_OF_KINDS = {
    "least": ("file", "pgbackrest", "barman", "command"),
    "repo": ("pgbackrest",),
    "config": ("pgbackrest", "barman"),
    "ssh": ("file", "pgbackrest", "barman", "command"),
}


def checked_complaints(service: Service) -> Iterator[Complaint]:
    """Everything that is wrong with the backups and certificates of a service whose types are right."""
    yield from under(("backups",), _backups(service))
    yield from under(("certificates",), _certificates(service.certificates))


def _backups(service: Service) -> Iterator[Complaint]:
    for name, at in service.backups.items():
        if not NAME.fullmatch(name):
            yield (name,), "a backup is named with letters, digits, dots, dashes and underscores"
        elif isinstance(at, str):
            yield from under((name,), _no_backups(name, at, len(service.backups)))
        elif name == NO_BACKUPS:
            yield (
                (name,),
                'expected the reason why there is nothing to back up: none: "there is nothing to keep"',
            )
        else:
            yield from under((name,), _backup(at, service))


def _no_backups(name: str, reason: str, of: int) -> Iterator[Complaint]:
    if name != NO_BACKUPS:
        yield (), f"found text, expected a mapping with one of {_KINDS_SHOWN}"
    elif not reason.strip() or CONTROL.search(reason):
        yield (), "expected the reason why there is nothing to back up, in one line"
    elif of > 1:
        yield (), "expected no other backup beside `none`"


def _backup(at: BackupAt, service: Service) -> Iterator[Complaint]:
    given = [kind for kind in BACKUP_KINDS if getattr(at, kind) is not None]
    shown = [kind.replace("_", "-") for kind in given]
    if len(given) != 1:
        found = " and ".join(shown) if shown else "none"
        yield (), f"found {found} of the kinds, expected exactly one of {_KINDS_SHOWN}"
        return
    for option, kinds in _OF_KINDS.items():
        if getattr(at, option) is not None and given[0] not in kinds:
            yield (option,), f"goes with {', '.join(kinds)}, found {shown[0]}"
    yield from _kind(at, service)
    if at.least is not None and at.least <= 0:
        yield ("least",), "expected more than nothing"
    if at.repo is not None and not 1 <= at.repo <= 256:
        yield ("repo",), f"found {at.repo}, expected the number of a repository, from 1"
    if at.config is not None and not is_absolute(at.config):
        yield ("config",), "expected an absolute path"
    if at.ssh is not None and not SSH.fullmatch(at.ssh):
        yield ("ssh",), "expected a host as ssh takes it: HOST or USER@HOST"


def _kind(at: BackupAt, service: Service) -> Iterator[Complaint]:
    if at.file is not None and (not is_absolute(at.file) or "**" in at.file):
        yield ("file",), "expected an absolute path, * and ? within it allowed (not **): /backup/*.dump"
    for tool in ("pgbackrest", "barman"):
        text = getattr(at, tool)
        if text is not None and not NAME.fullmatch(text):
            yield (
                (tool,),
                f"expected the name of a {'stanza' if tool == 'pgbackrest' else 'server of Barman'}",
            )
    if at.postgres_archiver is False:
        yield ("postgres-archiver",), "found false, expected true (or leave it out)"
    if at.postgres_archiver and service.postgres is None:
        yield ("postgres-archiver",), "needs `postgres` of the service: it is asked there"
    if at.command is not None and not is_command(at.command):
        yield ("command",), "expected a list of words, the program first: [/usr/local/bin/backup-state]"


def _certificates(targets: Sequence[str]) -> Iterator[Complaint]:
    for number, text in enumerate(targets):
        if not _is_target(text):
            said = "expected HOST:PORT, a URL such as https://example.org, or the absolute path of a PEM file"
            yield (number,), said


def _is_target(text: str) -> bool:
    if text.startswith("/"):
        return is_absolute(text)
    if "://" in text:
        parsed = split_url(text)
        return bool(parsed and parsed.scheme == "https" and parsed.hostname and "@" not in parsed.netloc)
    found = _TARGET.fullmatch(text)
    return found is not None and 0 < int(found[1]) < 65536
