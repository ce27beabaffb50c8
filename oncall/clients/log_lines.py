"""Reading one line of a log, however it is written: its time, its level, its message. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from oncall.clients.log_times import SYSLOG, Clock, start_of
from oncall.model import Frozen

Fields: TypeAlias = Mapping[str, object]
LONGEST = 262_144
"""Characters of a line beyond which it is not taken apart: its beginning is the message."""
_HEAD = 400


class Line(Frozen, frozen=True):
    """A line that was read. `time` in Unix seconds; `level` one of `LEVELS`, None where it tells none."""

    time: float | None
    level: str | None
    message: str


LEVELS = ("debug", "info", "warning", "error", "critical")
ERRORS = ("error", "critical")
_LEVEL_OF: dict[str, str] = {
    **dict.fromkeys(("trace", "debug", "dbg", "debu", "trc", "verbose"), "debug"),
    **dict.fromkeys(("info", "inf", "information", "informational", "notice", "log"), "info"),
    **dict.fromkeys(("warn", "warning", "wrn"), "warning"),
    **dict.fromkeys(("error", "err", "erro", "eror", "severe"), "error"),
    **dict.fromkeys(("critical", "crit", "fatal", "ftl", "fata", "panic", "pnc", "pani"), "critical"),
    **dict.fromkeys(("alert", "emerg", "emergency"), "critical"),
}
_NAMES = "|".join(sorted(_LEVEL_OF, key=len, reverse=True))
# Upper case within the head, or any case where brackets or a colon at the start set it apart.
_LEVEL = re.compile(
    rf"(?<![\w.])(?P<upper>{_NAMES.upper()})(?![\w.])"
    rf"|[\[<(|](?:\w{{1,20}}:)?(?P<boxed>(?i:{_NAMES}))[\]>)|]|\A\W*(?P<first>(?i:{_NAMES}))\s*[:\]|]"
)
_PLAIN_ERROR = re.compile(
    r"(?<!\bno )(?<!\b0 )(?<!\bwithout )\b(?:error|exception|traceback|fatal|panic|failed|refused|timeout)\b"
    r"(?!\s*[=:]\s*(?:0|null|none|nil|false|\"\")(?!\w))",
    re.IGNORECASE,
)
_CLASS_ERROR = re.compile(r"[a-z](?:Error|Exception)\b")
_ACCESS = re.compile(r"\" (5\d\d)(?: |$)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_PAIR = re.compile(r"([A-Za-z_@][\w.@-]{0,40})=(\"(?:[^\"\\]|\\.)*\"|[^\s\"]*)")
_CONTAINER = re.compile(r"\s*std(?:out|err) [FP] ")
_LEAD = re.compile(r"[\s/:\]|>)-]+")

_TIME_KEYS = ("time", "timestamp", "ts", "@timestamp", "datetime", "asctime", "t", "date")
_LEVEL_KEYS = ("level", "severity", "lvl", "levelname", "log.level", "loglevel", "severity_text", "@level")
_TEXT_KEYS = ("msg", "message", "event", "short_message", "@message", "textPayload")
# Of zap, logrus, python-json-logger, structlog, pino, Bunyan, Elastic's schema, OpenTelemetry, log4j and Logback.
_ERROR_KEYS = (
    *("error", "err", "exception", "exc_info", "error.message", "exception.message", "exc", "thrown"),
    *(
        "traceback",
        "stack_trace",
        "stacktrace",
        "error.stack_trace",
        "exception.stacktrace",
        "err.stack",
        "stack",
    ),
)
_STACKS = ("stack_trace", "stacktrace", "traceback", "stack")


def read_line(text: str, clock: Clock) -> Line:
    """Time, level and message of a line in any of the usual forms; plain text is all message. Never raises."""
    text = _clean(text)
    if text.startswith("{"):
        found = _json(text, clock)
        if found is not None:
            return found
    time, level, rest = start_of(text, clock)
    return _within(rest, time, level, clock)


def time_of(text: str, clock: Clock) -> float | None:
    """The time of a line alone, in Unix seconds."""
    text = _clean(text)
    if not text.startswith("{"):
        found = start_of(text, clock)[0]
        if found is not None or "=" not in text[:_HEAD]:
            return found
    return read_line(text, clock).time


def error_level(line: Line) -> str | None:
    """`error` or `critical` where the line is one; a line without a level is judged by its words."""
    if line.level is not None:
        return line.level if line.level in ERRORS else None
    said = line.message[:2000]
    if _PLAIN_ERROR.search(said) or _CLASS_ERROR.search(said) or _ACCESS.search(said):
        return "error"
    return None


# --- lines that belong to the one before ---------------------------------------------------------

_MORE = (
    "Traceback (most recent", "Caused by:", "During handling of the", "The above exception", "... ",
    "DETAIL:", "HINT:", "CONTEXT:", "STATEMENT:", "QUERY:", "LINE ",
)  # fmt: skip
_RAISED = re.compile(r"[A-Za-z_][\w.]{2,120}(?=:\s|\s*$)")
_CHAINED = ("During handling of the", "The above exception")
_CAUSED = "Caused by:"


class Trace:
    """Tells which lines belong to the one before, and the one that tells most: what was raised last."""

    def __init__(self) -> None:
        self.raised: str | None = None
        self._open = self._chained = False

    def takes(self, text: str) -> bool:
        """Whether this next line still belongs to the record; it is remembered where it does."""
        text = text.rstrip("\r\n")
        if text.startswith("Traceback (most recent"):
            if self.raised is not None and not self._chained:
                return False  # One after the other, without a word between them: another failure.
            self._open, self._chained = True, False
            return True
        self._chained = self._chained or text.startswith(_CHAINED)
        if self._open and text and not text[0].isspace() and _RAISED.match(text):
            self.raised, self._open = text, False
            return True
        if text.startswith(_CAUSED):
            self.raised = text
        return continues(text)


def continues(text: str) -> bool:
    """Whether a line by itself looks like the rest of the one before: indented, empty, or of a traceback."""
    return not text or text[0] in " \t\r" or text.startswith(_MORE)


def raises(text: str) -> bool:
    """Whether a line reads as the last one of a traceback: `ValueError: text`."""
    return _RAISED.match(text) is not None


def whole(head: str, more: Sequence[str], clock: Clock) -> Line:
    """A record of several lines: what was raised is part of its message, and an error unless it says otherwise."""
    trace = Trace()
    if head.startswith("Traceback (most recent"):
        trace.takes(head)
        head = ""
    for text in more:
        trace.takes(text)
    line = read_line(head, clock)
    if trace.raised is None:
        return line
    if not head or line.level in ("info", "debug"):
        # Printed by the interpreter, not said by the line that happens to stand before it.
        return Line(time=line.time, level="error", message=trace.raised)
    level = line.level or "error"
    return Line(time=line.time, level=level, message=f"{line.message}: {trace.raised}")


# --- the forms -------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    text = text.strip("\x00\r\n\ufeff")
    return _COLOUR.sub("", text) if "\x1b" in text[: 4 * _HEAD] else text


def _within(rest: str, time: float | None, level: str | None, clock: Clock) -> Line:
    """What follows the time: JSON, a form of its own after syslog's, logfmt, or a level and text."""
    rest = _CONTAINER.sub("", rest, count=1) if rest.lstrip().startswith("std") else rest
    inner = rest.lstrip(" :-|")
    if inner.startswith("{"):
        found = _json(inner, clock)
        if found is not None:
            return Line(time=found.time or time, level=found.level or level, message=found.message)
    if "=" in inner[:_HEAD]:
        found = _logfmt(inner, clock)
        if found is not None:
            return Line(time=found.time or time, level=found.level or level, message=found.message)
    if time is not None and inner[:1] in tuple("[0123456789"):
        again, said, after = start_of(inner, clock)
        if again is not None:
            inner, level = after, said or level
    return _text(inner, time, level)


def _text(text: str, time: float | None, level: str | None) -> Line:
    head = text[:160]
    found = _LEVEL.search(head)
    if found is None:
        return Line(time=time, level=level, message=text.lstrip(" \t:]|>)-"))
    said = _LEVEL_OF[(found["upper"] or found["boxed"] or found["first"]).lower()]
    before = text[: found.start()].strip(" []:|-\t")
    after = text[found.end() :]
    after = _LEAD.sub("", after, count=1) if _leads(after) else after
    # Words before the level are a logger, a thread or a process: part of the message only where they say much.
    message = f"{before} {after}" if len(before.split()) > 3 else after
    return Line(time=time, level=said, message=message.strip() or text)


def _leads(text: str) -> bool:
    return text[:1] in " \t/:]|>)-"


def _logfmt(text: str, clock: Clock) -> Line | None:
    pairs = {name: _unquote(value) for name, value in _PAIR.findall(text[:LONGEST])}
    if not any(k in pairs for k in _LEVEL_KEYS) or not any(k in pairs for k in (*_TEXT_KEYS, *_ERROR_KEYS)):
        return None
    return _fields(pairs, clock)


def _unquote(value: str) -> str:
    if not value.startswith('"'):
        return value
    return value[1:-1].replace('\\"', '"').replace("\\n", "\n")


def _json(text: str, clock: Clock) -> Line | None:
    if len(text) > LONGEST:
        return None
    try:
        found = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    inner = found.get("log")
    if isinstance(inner, str) and not any(k in found for k in _TEXT_KEYS):
        # The wrapping of a container's runtime: the line itself is inside.
        line = read_line(inner, clock)
        outer = _when(_first(found, _TIME_KEYS), clock)
        return Line(time=outer or line.time, level=line.level, message=line.message)
    return _fields(found, clock)


def _fields(found: Fields, clock: Clock) -> Line:
    level = _level(_first(found, _LEVEL_KEYS))
    nested = found.get("log")
    if level is None and isinstance(nested, dict):
        level = _level(nested.get("level"))
    said = _said(_first(found, _TEXT_KEYS))
    for key in _ERROR_KEYS:
        more = _said(found.get(key))
        if more and more not in said:
            said = f"{said}: {more}" if said else more
    status = _first(found, ("status", "status_code", "code"))
    if level is None and str(status).isdigit() and 500 <= int(str(status)) < 600:
        level = "error"
    shown = said or " ".join(f"{k}={v}" for k, v in found.items() if k not in _TIME_KEYS)
    return Line(time=_when(_first(found, _TIME_KEYS), clock), level=level, message=shown)


def _first(found: Fields, names: Iterable[str]) -> object:
    return next((found[name] for name in names if found.get(name) is not None), None)


def _said(value: object) -> str:
    """The text of a message or error field: of an object its message, of a traceback its last line."""
    if isinstance(value, dict):
        kind, said = value.get("type") or value.get("name"), value.get("message") or value.get("msg")
        if not said and (stack := _first(value, _STACKS)):
            return _said(stack)
        return f"{kind}: {said}" if kind and said else str(said or kind or "")
    if isinstance(value, list):
        return _said(value[-1]) if value else ""
    if value is None or isinstance(value, bool):
        return ""
    text = str(value).strip()
    if "\n" in text and ("Traceback (most recent" in text or "\n  " in text or "\n\t" in text):
        last = text.rstrip().rpartition("\n")[2]
        return last.strip() if "Traceback (most recent" in text else text.partition("\n")[0]
    return text


def _level(value: object) -> str | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and not value.isdigit():
        return _LEVEL_OF.get(value.strip().lower())
    try:
        number = int(str(value).partition(".")[0])
    except ValueError:
        return None
    if 0 <= number < len(SYSLOG):
        return SYSLOG[number]
    steps = ((10, "debug"), (30, "info"), (40, "warning"), (50, "error"), (60, "critical"))
    return next((name for upto, name in steps if number <= upto), "critical")


def _when(value: object, clock: Clock) -> float | None:
    """Seconds of a time field: ISO text, or an epoch in seconds, milli-, micro- or nanoseconds."""
    if isinstance(value, str):
        stamp = value.strip()
        if not stamp.replace(".", "", 1).isdigit():
            return start_of(stamp, clock)[0]
        value = float(stamp)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e8 < value < 1e20:
        return None
    number = float(value)
    while number > 1e11:
        number /= 1000
    return number
