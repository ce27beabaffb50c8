"""Error lines to templates: what differs between two tellings of the same failure is masked; the words stay. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache

from oncall.model import Frozen
from oncall.scrub import MASK, mask_url, secret_name

LONGEST_TEMPLATE = 300
LONGEST_EXAMPLE = 500
LONGEST_MATCHED = 2_000
"""Characters of a message that patterns run on, and that a template is made of."""
MOST_TEMPLATES = 2_000
OTHER = "(other)"

_DIGITS = re.compile(r"\d+")
_UUID = re.compile(r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w-])")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w\'])\'(?:[^\'\\]|\\.)*\'(?!\w)')
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+")
# On a word whose runs of digits are one 0 each: whether a rule fits never depends on how long a number is.
_VARIABLE = re.compile(
    # Timestamps, ISO and of an access log.
    r"0[-/](?:0|[A-Z][a-z]{2})[-/]0(?:[T:]0:0(?::0(?:[.,]0)?)?(?:Z|[+-]0(?::0)?)?)?(?![A-Za-z0])"
    # Tokens, base64 and the like: long, of both cases, with digits in more than one place.
    r"|(?<![A-Za-z0+/_=-])(?=[A-Za-z+/_=-]*0[A-Za-z+/_=-]+0)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])"
    r"[A-Za-z0+/_=-]{16,}(?![A-Za-z0+/_=-])"
    r"|(?<![A-Za-z0])0[xX][0a-fA-F]+(?![A-Za-z0])"
    # Durations and sizes with their unit.
    r"|(?<![A-Za-z0])(?:0(?:[.,]0)?(?:ns|us|µs|ms|s|m|h|d|[kKMGT]?i?B))+(?![A-Za-z0])"
    # Ids, hex and mixed: a digit before a letter, unless it is the name of an exception.
    r"|(?<![A-Za-z0])(?![A-Za-z0]*(?:Error|Exception|Warning|Timeout|Failure)(?![A-Za-z0]))"
    r"[A-Za-z]*0[A-Za-z]+[A-Za-z0]*"
    r"|(?<![A-Za-z0])[a-fA-F]+0(?![A-Za-z0])"
    # Numbers, with sign, fraction, thousands, times of day, addresses and ports.
    r"|(?:(?<![\w*)\]])[-+])?0(?:[.,:]0)*%?"
)
_ROW_OF_MASKS = re.compile(r"\*(?:(?:::?|[-.,/_+]|, ?)?\*)+")


def template_of(message: str) -> str:
    """The message with `*` for each part that varies. The same for messages that differ only in such parts."""
    text = message[: 4 * LONGEST_MATCHED]
    if text.count("-") >= 4:
        text = _UUID.sub("*", text)
    return _masked(_DIGITS.sub("0", text)[:LONGEST_MATCHED])


@lru_cache(4096)
def _masked(text: str) -> str:
    """Masked until nothing more is found: what stands next to a mask may have become one."""
    text = _settled(" ".join(text.split()))
    return text if len(text) <= LONGEST_TEMPLATE else _settled(text[:LONGEST_TEMPLATE].rstrip())


def _settled(text: str) -> str:
    while True:
        masked = _once(text)
        if masked == text:
            return text
        text = masked


def _once(text: str) -> str:
    if '"' in text or "'" in text:
        text = _QUOTED.sub("*", text)
    if "@" in text:
        text = _EMAIL.sub("*", text)
    if "0" in text:
        text = " ".join(_word(word) if "0" in word else word for word in text.split(" "))
    return _ROW_OF_MASKS.sub("*", text)


@lru_cache(4096)
def _word(word: str) -> str:
    return _VARIABLE.sub("*", word)


# --- secrets ---------------------------------------------------------------------------------------

_URL = re.compile(r"[A-Za-z][\w+.-]{1,20}://[^\s\"'<>]+")
_NAMED = re.compile(
    r"(?i)((?:^|(?<=[^A-Za-z]))[\w-]{0,40}?"
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|cookie|credentials?"
    r"|authorization)[\"']?\s{0,3}[=:]\s{0,3})"
    r"(\"[^\"]*\"|'[^']*'|(?:Bearer|Basic|Digest)\s+\S+|[^\s,;&)}\]\"']+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?")


def clean(text: str, longest: int = LONGEST_EXAMPLE) -> str:
    """An example fit to be shown: cut, and with `***` for passwords in addresses, tokens and named secrets."""
    text = text[: longest + 200]
    text = _URL.sub(lambda found: _url(found[0]), text)
    text = _NAMED.sub(lambda found: f"{found[1]}{MASK}", text)
    text = _JWT.sub(MASK, _BEARER.sub(lambda found: f"{found[1]} {MASK}", text))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _url(url: str) -> str:
    secret = "@" in url or any(
        secret_name(pair.partition("=")[0]) for pair in url.partition("?")[2].split("&")
    )
    return mask_url(url) if secret else url


# --- counting --------------------------------------------------------------------------------------


class Group(Frozen, frozen=True):
    """Lines of one template: in the window, in the baseline, the times of the first and the last in the window."""

    template: str
    level: str
    now: int
    before: int
    first: float | None
    last: float | None
    example: str


class Named(Frozen, frozen=True):
    """Lines that a named pattern matched."""

    now: int
    before: int
    example: str


class _Count:
    __slots__ = ("before", "example", "first", "last", "level", "newest", "now")

    def __init__(self) -> None:
        self.now = self.before = 0
        self.level, self.example = "error", ""
        self.first: float | None = None
        self.last: float | None = None
        self.newest: float | None = None

    def add(self, time: float | None, level: str, message: str, *, now: bool) -> None:
        if level == "critical":
            self.level = level
        if now:
            self.now += 1
            if time is not None:
                self.first = time if self.first is None else min(self.first, time)
                self.last = time if self.last is None else max(self.last, time)
        else:
            self.before += 1
        if not self.example or (time or 0.0) > (self.newest or 0.0):
            self.example, self.newest = message[: 2 * LONGEST_EXAMPLE], time


class Tally:
    """Counts error lines by template and by named pattern. Times in Unix seconds; baseline is [start, split)."""

    def __init__(self, start: float, split: float, end: float, patterns: Mapping[str, str]) -> None:
        self.start, self.split, self.end = start, split, end
        self.now = self.before = self.timeless = 0
        self._named = {name: (re.compile(text, re.IGNORECASE), _Count()) for name, text in patterns.items()}
        self._groups: dict[str, _Count] = {}

    def add(self, time: float | None, level: str, message: str) -> None:
        """One error line. Outside of baseline and window it does not count; without a time it counts as now."""
        if time is not None and not self.start <= time <= self.end:
            return
        now = time is None or time >= self.split
        self.timeless += time is None
        self.now += now
        self.before += not now
        self._group(template_of(message)).add(time, level, message, now=now)
        said = message[:LONGEST_MATCHED]
        for pattern, count in self._named.values():
            if pattern.search(said):
                count.add(time, level, message, now=now)

    def forget(self) -> None:
        """Nothing of what was counted belongs to the span."""
        self.now = self.before = self.timeless = 0
        self._groups.clear()
        self._named = {name: (pattern, _Count()) for name, (pattern, _) in self._named.items()}

    def groups(self) -> list[Group]:
        """All templates, in no order."""
        return [
            Group(
                template=clean(template, LONGEST_TEMPLATE), level=c.level, now=c.now, before=c.before,
                first=c.first, last=c.last, example="" if template == OTHER else clean(c.example),
            )
            for template, c in self._groups.items()
        ]  # fmt: skip

    def named(self) -> dict[str, Named]:
        """What each pattern matched, by its name."""
        return {
            name: Named(now=c.now, before=c.before, example=clean(c.example))
            for name, (_, c) in self._named.items()
        }

    def _group(self, template: str) -> _Count:
        found = self._groups.get(template)
        if found is None:
            if len(self._groups) >= MOST_TEMPLATES:
                template = OTHER
            found = self._groups.setdefault(template, _Count())
        return found
