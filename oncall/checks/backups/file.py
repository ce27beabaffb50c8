"""Backups that are files: the newest under a pattern, its age, and its size against the ones before."""

import re
import shlex
from collections.abc import Sequence

from msgspec.structs import replace

from oncall.checks.backups.common import Backup, Ill, place, say
from oncall.model import Absence, Column, Frozen, Next, Severity, Table, Unavailable
from oncall.model_service import BackupAt, Service
from oncall.numbers import duration, size

SOURCE = "file"
UNFINISHED = (".tmp", ".part", ".partial", ".incomplete", ".filepart")
_GROWING_S = 60.0
"""What was written to so lately may still be growing."""
_MOST_ROWS = 10
_TYPE, _FOLDER, _REGULAR = 0o170000, 0o040000, 0o100000
_COLUMNS = (
    Column(name="file"),
    Column(name="age", unit="seconds"),
    Column(name="size", unit="bytes"),
    Column(name="state"),
)
# A pattern is an argument, and never anything else: without IFS it is not taken apart, only matched. One that matches
# nothing stays as it is; then the folder tells why. A link to nothing matches as well, and hides no file after it.
# GNU's and busybox's `stat` have -c, the one of a Mac has -f.
_SCRIPT = """
IFS=
date +%s
if stat -c %Y / >/dev/null 2>&1; then o=-c f='%Y %s %f %d:%i %n'; else o=-f f='%m %z %Xp %d:%i %N'; fi
for p in "$@"; do
  set -- $p
  if [ -e "$1" ] || [ $# -gt 1 ]; then stat -L $o "$f" -- "$@"; continue; fi
  d=${1%/*}
  set -- ${d:-/}
  if [ ! -d "$1" ]; then echo "absent $1"; elif [ ! -r "$1" ] || [ ! -x "$1" ]; then echo "closed $1"; fi
done
:
"""
_LINE = re.compile(r"(\d{1,12}) (\d{1,19}) ([0-9A-Fa-f]{1,8}) (\d+:\d+) (.+)")


class Entry(Frozen, frozen=True):
    """One file; `time` is when it was last written (Unix seconds)."""

    path: str
    time: float
    size: float | None
    same: str
    """Device and inode: a link to one that is listed is the same backup."""

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]


async def look(at: BackupAt, service: Service, deadline_s: float) -> Backup | Unavailable:
    """The files of the pattern on the machine where they are."""
    assert at.file is not None
    ssh = place(at, service)
    patterns = [at.file, *(at.file + ending for ending in UNFINISHED)]
    ran = await say(("sh", "-c", _SCRIPT.strip(), "sh", *patterns), ssh, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    clock, _, listing = ran.out.partition("\n")
    entries, closed = parse(listing), _folder("closed", listing)
    if not clock.isdigit() or (not entries and (closed or ran.err)):
        reason = f"{closed or at.file} cannot be listed{f' on {ssh}' if ssh else ''}"
        reason += f": {ran.err[:200]}" if ran.err else ""
        return Unavailable(kind=Absence.DENIED, reason=reason, hint="may this login read that folder?")
    found = judge(at.file, entries, float(clock), _folder("absent", listing))
    words = f"ls -lt {_quoted(at.file.rpartition('/')[0] or '/')}"
    command = f"ssh {ssh} {shlex.quote(words)}" if ssh else words
    return replace(found, query=at.file, next=Next(command=command, why="shows what is there"))


def _quoted(pattern: str) -> str:
    """For a shell that is to match it."""
    return "".join(
        part if part in "*?" else shlex.quote(part) for part in re.split(r"([*?])", pattern) if part
    )


def _folder(what: str, listing: str) -> str | None:
    return next((row.removeprefix(f"{what} ") for row in listing.split("\n") if row.startswith(what)), None)


def parse(listing: str) -> list[Entry]:
    """The files of the listing, newest first; folders have no size. What is neither is left out. Pure."""
    found: dict[str, Entry] = {}
    for text in listing.split("\n"):
        matched = _LINE.fullmatch(text)
        kind = int(matched[3], 16) & _TYPE if matched else 0
        if not matched or kind not in (_REGULAR, _FOLDER):
            continue
        size_ = None if kind == _FOLDER else float(matched[2])
        entry = Entry(path=matched[5], time=float(matched[1]), size=size_, same=matched[4])
        # Of several names for one file, the one that says most: a link is called `latest`
        known = found.get(entry.same)
        if known is None or len(entry.name) > len(known.name):
            found[entry.same] = entry
    return sorted(found.values(), key=lambda e: (-e.time, e.path))


def judge(pattern: str, entries: Sequence[Entry], now: float, absent: str | None = None) -> Backup:
    """Which one is the newest that is finished, and what is wrong with those after it. Pure.

    `absent`: the folder of the pattern, where there is none."""
    states = {entry.same: _state(entry, now) for entry in entries}
    done = [e for e in entries if states[e.same] == "finished"]
    growing = next((e for e in entries if states[e.same] == "running"), None)
    newest = done[0] if done else None
    ills = [_left(e, now) for e in entries if states[e.same] == "unfinished" and _after(e, newest)][:1]
    if newest is None:
        ills.append(_none(pattern, growing, absent))
    return Backup(
        source=SOURCE,
        now=now,
        finished=newest.time if newest else None,
        name=newest.name if newest else None,
        size=newest.size if newest else None,
        former=tuple(e.size for e in done[1:] if e.size is not None),
        ill=tuple(ills),
        running=f"{growing.name}, {size(growing.size or 0)} so far" if growing else None,
        detail=_table(entries, states, now),
        notes=("it is a folder: its size is not looked at",) if newest and newest.size is None else (),
    )


def _state(entry: Entry, now: float) -> str:
    if abs(now - entry.time) < _GROWING_S:
        return "running"
    return "unfinished" if entry.name.lower().endswith(UNFINISHED) else "finished"


def _after(entry: Entry, newest: Entry | None) -> bool:
    return newest is None or entry.time > newest.time


def _left(entry: Entry, now: float) -> Ill:
    text = f"{entry.name} was not finished: last written {duration(now - entry.time)} ago"
    return Ill(severity=Severity.WARNING, text=text)


def _none(pattern: str, growing: Entry | None, absent: str | None) -> Ill:
    if growing is not None:
        return Ill(severity=Severity.WARNING, text="none is finished yet")
    why = f"the folder {absent} is not there" if absent else f"no file fits {pattern}"
    return Ill(severity=Severity.CRITICAL, text=f"there is none: {why}")


def _table(entries: Sequence[Entry], states: dict[str, str], now: float) -> Table | None:
    rows = tuple((e.name, max(0.0, now - e.time), e.size, states[e.same]) for e in entries[:_MOST_ROWS])
    more = len(entries) - len(rows)
    return Table(columns=_COLUMNS, rows=rows, notes=(f"{more} more",) if more else ()) if rows else None
