"""Lines as programs write them: each form's time, level and message."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.log_lines import LEVELS, Line, error_level, read_line, whole
from oncall.clients.log_times import Clock

AT = datetime(2026, 1, 1, 3, 12, tzinfo=UTC).timestamp()
CLOCK = Clock(end=AT + 60, offset_s=0.0)
EPOCH = int(AT)


@pytest.mark.parametrize(
    ("text", "level", "message"),
    [
        ('{"time":"2026-01-01T03:12:00+00:00","level":"error","msg":"a","error":"b: c"}', "error", "a: b: c"),
        ('{"time":"2026-01-01T04:12:00+01:00","severity":"CRITICAL","message":"a"}', "critical", "a"),
        (f'{{"ts":{EPOCH}.0,"level":50,"event":"a","err":{{"type":"E","message":"b"}}}}', "error", "a: E: b"),
        (f'{{"time":{EPOCH}000,"level":30,"msg":"ok"}}', "info", "ok"),
        (f'{{"@timestamp":"{EPOCH}","level":3,"short_message":"a"}}', "error", "a"),
        ('{"timestamp":"2026-01-01 03:12:00,000","lvl":"warn","msg":"a"}', "warning", "a"),
        ('{"time":"2026-01-01T03:12:00Z","level":"error","msg":"a","exc_info":"Traceback (most recent call last):\\n'
         '  File x\\nValueError: b"}', "error", "a: ValueError: b"),
        ('{"time":"2026-01-01T03:12:00Z","level":"error","msg":"a","traceback":"Traceback (most recent call last):\\n'
         '  File x\\nValueError: b"}', "error", "a: ValueError: b"),
        ('{"time":"2026-01-01T03:12:00Z","level":"ERROR","message":"a","stack_trace":"java.lang.E: b\\n\\tat c.D"}',
         "error", "a: java.lang.E: b"),
        ('{"ts":"2026-01-01T03:12:00Z","level":"error","message":"a","error":{"stack_trace":"E: b\\n\\tat c"}}',
         "error", "a: E: b"),
        ('{"t":"2026-01-01T03:12:00Z","level":50,"msg":"a","err":{"type":"E","message":"b","stack":"E: b\\n  at c"}}',
         "error", "a: E: b"),
        ('{"t":"2026-01-01T03:12:00Z","severity_text":"ERROR","msg":"a","exception.stacktrace":"E: b\\n\\tat c"}',
         "error", "a: E: b"),
        ('{"log":"ERROR it broke\\n","stream":"stderr","time":"2026-01-01T03:12:00.0Z"}', "error", "it broke"),
        ('{"time":"2026-01-01T03:12:00Z","msg":"GET /","status":503}', "error", "GET /"),
        ('time=2026-01-01T03:12:00Z level=error msg="it \\"broke\\"" err=lost', "error", 'it "broke": lost'),
        (f"ts={EPOCH} lvl=info msg=fine", "info", "fine"),
        ("2026-01-01 03:12:00,000 ERROR app.db: it broke", "error", "app.db: it broke"),
        ("2026-01-01 03:12:00,000 - app - CRITICAL - it broke", "critical", "it broke"),
        ("[2026-01-01 03:12:00 +0000] [12] [ERROR] it broke", "error", "it broke"),
        ("[2026-01-01 03:12:00,000: ERROR/MainProcess] it broke", "error", "MainProcess] it broke"),
        ("2026-01-01 03:12:00.000  WARN 1 --- [main] c.e.F : careful", "warning", "1 --- [main] c.e.F : careful"),
        ("2026-01-01T03:12:00.000Z it broke", None, "it broke"),
        ("2026-01-01 03:12:00.000 UTC [123] FATAL:  no role", "critical", "no role"),
        ("Jan  1 03:12:00 host prog[1]: it failed", None, "it failed"),
        ('Jan  1 03:12:00 host prog: {"level":"error","msg":"a"}', "error", "a"),
        ("<11>1 2026-01-01T03:12:00Z host app 1 ID - it broke", "error", "it broke"),
        ("E0101 03:12:00.000000       1 reflector.go:12] it broke", "error", "it broke"),
        ("I0101 03:12:00.000000       1 x.go:12] error was mended", "info", "error was mended"),
        ("2026/01/01 03:12:00 [error] 12#12: *5 connect() failed", "error", "12#12: *5 connect() failed"),
        ("2026-01-01T03:12:00.0Z stderr F {\"level\":\"error\",\"msg\":\"a\"}", "error", "a"),
        ("1:M 01 Jan 2026 03:12:00.000 * Ready", None, "Ready"),
        ("[Thu Jan 01 03:12:00.000000 2026] [core:error] [pid 1] it broke", "error", "[pid 1] it broke"),
        (f"{EPOCH}.000 ERROR it broke", "error", "it broke"),
        ("\x1b[31m2026-01-01 03:12:00\x1b[0m \x1b[1mERROR\x1b[0m it broke\r", "error", "it broke"),
    ],
)  # fmt: skip
def test_forms(text: str, level: str | None, message: str) -> None:
    assert read_line(text, CLOCK) == Line(time=AT, level=level, message=message)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("ERROR:root:it broke", "error"),
        ("ERROR:    Exception in ASGI application", "error"),
        ("it failed", "error"),
        ("connection refused", "error"),
        ("psycopg.OperationalError: no", "error"),
        ('1.2.3.4 - - [01/Jan/2026:03:12:00 +0000] "GET / HTTP/1.1" 503 12', "error"),
        ('1.2.3.4 - - [01/Jan/2026:03:12:00 +0000] "GET / HTTP/1.1" 200 500', None),
        ("WARNING: it failed, trying again", None),
        ("INFO: 0 failed", None),
        ("done: 0 failed, no error", None),
        ("done error=null", None),
        ("a line", None),
        ("terror and interrupts", None),
    ],
)
def test_what_is_an_error(text: str, level: str | None) -> None:
    assert error_level(read_line(text, CLOCK)) == level


def test_zones_and_years() -> None:
    hour = 3600.0
    assert read_line("2026-01-01 03:12:00 x", Clock(end=AT, offset_s=hour)).time == AT - hour
    assert read_line("2026-01-01T03:12:00+0100 x", CLOCK).time == AT - hour
    new_year = datetime(2026, 1, 1, 0, 5, tzinfo=UTC).timestamp()
    found = read_line("Dec 31 23:59:00 h p: x", Clock(end=new_year, offset_s=0.0)).time
    assert found == new_year - 360


TRACE = ["Traceback (most recent call last):", '  File "x.py", line 1', "    f()", "ValueError: no 7"]


@pytest.mark.parametrize(
    ("head", "level", "message"),
    [
        ("2026-01-01 03:12:00 ERROR app: it broke", "error", "app: it broke: ValueError: no 7"),
        ("2026-01-01 03:12:00 WARNING again", "warning", "again: ValueError: no 7"),
        ("2026-01-01 03:12:00 INFO fine", "error", "ValueError: no 7"),
    ],
)
def test_the_last_line_of_a_traceback_tells(head: str, level: str, message: str) -> None:
    assert whole(head, TRACE, CLOCK) == Line(time=AT, level=level, message=message)


def test_a_traceback_alone() -> None:
    assert whole(TRACE[0], TRACE[1:], CLOCK) == Line(time=None, level="error", message="ValueError: no 7")


PIECES = st.sampled_from(
    ["2026-01-01 03:12:00", "2026-13-41T25:61:61Z", "{", '"level":', "50", "ERROR", "[error]", "=", "msg=", "\x00",
     "\n", "Jan  1 03:12:00", "E0101 99:99:99.1  1 x]", '{"level":[],"msg":{"message":3},"error":[{}],"time":1e300}',
     "99999",
     "<999>1 ", "\x1b[31m", "9" * 400, '{"log":{"level":5},"msg":null}', "+9999"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
def test_nothing_raises(text: str) -> None:
    line = read_line(text, CLOCK)
    assert line.level is None or line.level in LEVELS
    error_level(line)
    whole(text, [text, *TRACE], Clock(end=AT))
