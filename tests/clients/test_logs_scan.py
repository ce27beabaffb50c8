"""Reading backward gives the same lines as reading forward; what is not a suspect is no error."""

from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from oncall.clients.log_lines import error_level, read_line
from oncall.clients.log_scan import Scan, backward
from oncall.clients.log_templates import Tally
from oncall.clients.log_times import Clock

AT = datetime(2026, 1, 1, 3, 12, tzinfo=UTC).timestamp()
CLOCK = Clock(end=AT, offset_s=0.0)
BYTES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"\n", b"\r\n", b"\0", b"\xff", b"a", b"bc"])).map(b"".join),
)


@given(BYTES, st.integers(1, 400))
@example(b"x" * 5_000_000 + b"\nlast", 131_072)
@example(b"first\n" + b"x" * 5_000_000, 131_072)
@settings(deadline=None)
def test_backward_is_forward(data: bytes, block: int) -> None:
    pieces = list(backward(lambda at, count: data[at : at + count], len(data), block))
    assert b"".join(reversed(pieces)) == data
    lines = [line for piece in reversed(pieces) for line in piece.splitlines(keepends=False)]
    assert lines == data.splitlines() or b"\r" in data  # A lone CR ends no line of a log.
    assert all(piece.endswith(b"\n") for piece in pieces[1:])


TIMED = st.builds(
    lambda s, text: f"2026-01-01 03:{s // 60:02}:{s % 60:02} {text}",
    st.integers(0, 719),
    st.sampled_from(
        ["ERROR it broke", "INFO fine", "WARNING it failed", "it failed", "nothing", "CRIT x", "[err] y"]
    ),
)
MORE = st.sampled_from(
    ["Traceback (most recent call last):\n  File x\nValueError: no", "  indented error", "", "plain failed"]
)


def _scan(data: bytes, block: int) -> tuple[Scan, Tally]:
    tally = Tally(AT - 700, AT - 300, AT, {"broke": "BROKE"})
    scan = Scan(CLOCK, tally, 60.0)
    for piece in backward(lambda at, count: data[at : at + count], len(data), block):
        scan.piece(piece)
    scan.end()
    return scan, tally


@given(st.lists(st.one_of(TIMED, TIMED, MORE), max_size=25), st.integers(40, 2000))
@settings(deadline=None)
def test_blocks_change_no_count(lines: list[str], block: int) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    parts, in_parts = _scan(data, block)
    whole, as_whole = _scan(data, 10**6)
    assert parts.lines == whole.lines == data.count(b"\n")
    assert sorted(in_parts.groups(), key=str) == sorted(as_whole.groups(), key=str)
    assert (parts.oldest is None) == (whole.oldest is None)


@given(st.lists(TIMED, min_size=1, max_size=40))
def test_every_line_that_is_an_error_is_found(lines: list[str]) -> None:
    _, tally = _scan("\n".join(lines).encode(), 500)
    read = [read_line(line, CLOCK) for line in lines]
    errors = [r for r in read if error_level(r) and r.time is not None and AT - 300 <= r.time <= AT]
    assert tally.now == len(errors)


def test_other_kinds_of_levels_are_found() -> None:
    lines = [
        '{"time":"2026-01-01T03:11:00Z","level":50,"msg":"a"}',
        '{"time":"2026-01-01T03:11:00Z","level":30,"msg":"b"}',
        '{"time":"2026-01-01T03:11:00Z","msg":"GET","status":502}',
        "E0101 03:11:00.000000       1 x.go:12] c",
        "<11>1 2026-01-01T03:11:00Z host app 1 ID - d",
    ]
    _, tally = _scan("\n".join(lines).encode(), 10_000)
    assert sorted(g.template for g in tally.groups()) == ["GET", "a", "c", "d"]


def test_a_traceback_across_blocks_is_one_error() -> None:
    trace = 'Traceback (most recent call last):\n  File "x.py"\n    f()\nValueError: no 7\n'
    data = ("2026-01-01 03:10:00 INFO fine\n2026-01-01 03:11:00 ERROR it broke\n" + trace) * 3
    for block in range(20, 400, 7):
        _, tally = _scan(data.encode(), block)
        assert [(g.template, g.now) for g in tally.groups()] == [("it broke: ValueError: no *", 3)]
