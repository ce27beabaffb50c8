"""A saved look is the look; no secret is in its file, and with --redact no literal either."""

import gzip
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.diagnosis.kept import Saved, kept, without_credentials
from oncall.diagnosis.plan import plan
from oncall.diagnosis.readings import DatabaseTarget, Gathered
from oncall.diagnosis.redact import cell, mask, redacted
from oncall.diagnosis.run import judged
from oncall.diagnosis.saved import MOST_BYTES, SCHEMA, dump, is_saved, load
from oncall.errors import UsageFault
from oncall.model import Absence, Column, Scalar, SignalReading, StepReading, Table, Unavailable, Unseen
from oncall.model_service import (
    Basic,
    HttpBackend,
    Limits,
    PostgresAt,
    PrometheusAt,
    RedisAt,
    RestartBy,
    Service,
    SignalSpec,
    Threshold,
    Tls,
    Windows,
)
from oncall.render.json_out import diagnoses_json
from oncall.runbook.loader import library
from oncall.units import Duration, Size

WHEN = datetime(2026, 1, 1, 3, 12, 41, 123456, tzinfo=UTC)

# --- a look with anything in it ------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.floats(allow_nan=False) | st.integers(-(2**70), 2**70)
GONE = st.builds(Unavailable, kind=st.sampled_from(Absence), reason=TEXT, hint=st.none() | TEXT)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3))])
TARGET = st.builds(
    DatabaseTarget,
    host=TEXT,
    port=st.integers(1, 65535),
    database=TEXT,
    role=TEXT,
    clock=st.datetimes(timezones=ZONES),
    in_recovery=st.booleans(),
    pooler=st.booleans(),
)
GAPS = st.lists(st.builds(Unseen, what=TEXT, reason=TEXT, hint=st.none() | TEXT), max_size=2).map(tuple)
CELLS = st.none() | st.booleans() | NUMBER | TEXT


TEXTS = st.lists(TEXT, max_size=2).map(tuple)


def _table(columns: list[Column], cells: list[Scalar], notes: tuple[str, ...]) -> Table:
    size = len(columns)
    rows = tuple(tuple(cells[n : n + size]) for n in range(0, len(cells) - size + 1, size)) if size else ()
    return Table(columns=tuple(columns), rows=rows, notes=notes)


TABLES = st.builds(
    _table,
    st.lists(st.builds(Column, name=TEXT, unit=st.none() | TEXT), max_size=3),
    st.lists(CELLS, max_size=6),
    TEXTS,
)
POINTS = st.lists(st.tuples(st.floats(0, 1e10), NUMBER), max_size=4)


def _reading(points: list[tuple[float, float]], **fields: Any) -> SignalReading:  # noqa: ANN401
    times, values = tuple(t for t, _ in points), tuple(v for _, v in points)
    return SignalReading(times=times, values=values, **fields)


READINGS = st.builds(
    _reading,
    POINTS,
    id=TEXT,
    source=TEXT,
    query=st.none() | TEXT,
    now=NUMBER | GONE,
    age_s=st.none() | NUMBER,
    baseline_samples=st.integers(0, 1000),
    instances=st.none() | st.integers(0, 9),
    over_s=st.none() | NUMBER,
)
STEPS = st.builds(
    StepReading, source=TEXT, query=st.none() | TEXT, answer=TABLES | GONE, ms=st.none() | NUMBER
)
FORMS = st.sampled_from(
    [{"gauge": "a"}, {"ratio": {"part": "a", "whole": "b"}}, {"quantile": 0.95, "of": "x"}, {"rate": "r"}]
)
FOUND = st.builds(
    Gathered,
    at=st.floats(0, 4e9),
    window_s=st.floats(1, 1e6),
    baseline_s=st.floats(1, 1e6) | st.integers(1, 9),
    signals=st.dictionaries(TEXT, READINGS, max_size=2),
    live=st.dictionaries(TEXT, NUMBER, max_size=2),
    answers=st.dictionaries(TEXT, STEPS, max_size=2),
    asked=TEXTS,
    refusals=st.dictionaries(TEXT, GONE, max_size=2),
    database=st.none() | TARGET,
    failed=GAPS,
    unseen=GAPS,
    notes=st.dictionaries(TEXT, TEXTS, max_size=2),
    skew_s=st.floats(-1e6, 1e6),
)


def _look(found: Gathered, form: dict[str, Any], **fields: Any) -> Saved:  # noqa: ANN401
    return Saved(gathered=found, forms=dict.fromkeys(found.signals, form), **fields)


SERVICE = Service(
    environment="staging",
    url="http://h:1",
    unit="bot",
    limits=Limits(memory=Size(2e9), pool=20, cpu=2.0),
    windows=Windows(rate=Duration(15.0), baseline=Duration(120.0)),
    restart=RestartBy(command=("kubectl", "rollout", "restart")),
    thresholds={"error_ratio": Threshold(warning=0.02)},
    signals={"mine": SignalSpec(gauge="g", title="Mine", across="max")},
    postgres=PostgresAt(dsn="postgresql://u@h/d"),
)


LOOKS = st.builds(
    _look,
    FOUND,
    FORMS,
    name=TEXT,
    service=st.sampled_from([SERVICE, Service()]),
    issues=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    alone=st.booleans(),
    patterns=st.dictionaries(TEXT, TEXT, max_size=2),
    took_ms=st.integers(0, 10**6),
    version=TEXT,
    saved=st.datetimes(timezones=ZONES),
    redacted=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(LOOKS, st.booleans())
def test_what_is_read_is_what_was_written(look: Saved, packed: bool) -> None:
    data = dump(look, redact=False, packed=packed)
    again = load(data, "x")
    assert again == look
    # And to the letter: 12 stays 12, not 12.0, in every report on it.
    assert msgspec.json.encode(again.gathered) == msgspec.json.encode(look.gathered)
    assert is_saved(data[:512])
    assert dump(again, redact=False, packed=packed) == data


def look_of(found: Gathered, service: Service = SERVICE) -> Saved:
    books = library(signals=service.signals)
    asking = plan([books.runbook("pool")], service)
    return kept("bot", service, asking, found, took_ms=12, version="1", saved=WHEN, alone=False)


def gathered(**more: object) -> Gathered:
    base = Gathered(
        at=1.8e9, window_s=300, baseline_s=3600, signals={}, live={}, answers={}, asked=("postgres",)
    )
    return msgspec.structs.replace(base, **more)


def test_numbers_that_json_has_not_keep_their_place() -> None:
    odd = (1.0, math.nan, math.inf, -math.inf)
    reading = SignalReading(id="s", source="p", query=None, now=1, times=(1, 2, 3, 4), values=odd)
    table = Table(columns=(Column(name="a"),), rows=tuple((v,) for v in odd))
    step = StepReading(source="postgres", query=None, answer=table)
    data = dump(look_of(gathered(signals={"s": reading}, answers={"sql:x": step})), redact=False)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(data, parse_constant=refuse)
    found = load(data, "x").gathered
    assert list(map(str, found.signals["s"].values)) == ["1.0", "nan", "inf", "-inf"]
    answer = found.answers["sql:x"].answer
    assert isinstance(answer, Table)
    assert [str(row[0]) for row in answer.rows] == ["1.0", "nan", "inf", "-inf"]


def test_half_a_character_is_kept_as_its_escape() -> None:
    found = gathered(notes={"postgres": ("a\ud800b",)})
    assert load(dump(look_of(found), redact=False), "x").gathered.notes["postgres"] == ("a\\ud800b",)


# --- judged again --------------------------------------------------------------------------------


def read_by(service: Service) -> tuple[bytes, Saved]:
    """The JSON of all issues over readings made up, and the look."""
    books = library()
    asking = plan([books.runbook(i) for i in books.issues()], service)
    times = tuple(1.8e9 - 4000 + 20 * n for n in range(200))
    readings = {
        k: SignalReading(
            id=k, source="prometheus", query=f"q({k})", now=0.5 + n, times=times,
            values=tuple(0.1 * n + (t % 7) for t in times), age_s=1.5, baseline_samples=180, instances=1,
        )
        for n, k in enumerate(asking.signals)
    }  # fmt: skip
    gone = Unavailable(kind=Absence.DOWN, reason="refused")
    answers = {k: StepReading(source=q.backend, query=k, answer=gone) for k, q in asking.questions.items()}
    found = gathered(signals=readings, answers=answers, live={"pool_active": 19.0})
    live = diagnoses_json("bot", judged("bot", service, asking, found, 12))
    return live, kept("bot", service, asking, found, took_ms=12, version="1", saved=WHEN, alone=False)


def test_judged_again_it_is_the_same_report_to_the_byte() -> None:
    live, look = read_by(SERVICE)
    again = load(dump(look, redact=False), "x")
    books = library()
    asking = plan([books.runbook(i) for i in again.issues], again.service)
    reports = judged(again.name, again.service, asking, again.answers_to(asking), again.took_ms)
    assert diagnoses_json("bot", reports) == live


def test_an_issue_alone_is_judged_by_its_own_signals() -> None:
    """Where two runbooks give one name two forms, each finds its own in the file, whichever is asked with it."""
    _, look = read_by(SERVICE)
    books = library()
    whole = plan([books.runbook(i) for i in look.issues], look.service)
    together = {d.issue: d for d in judged("bot", look.service, whole, look.answers_to(whole), 12)}
    for issue in look.issues:
        asking = plan([books.runbook(issue)], look.service)
        [alone] = judged("bot", look.service, asking, look.answers_to(asking), 12)
        assert alone.signals == together[issue].signals


def test_a_signal_that_means_something_else_now_was_not_asked() -> None:
    _, look = read_by(SERVICE)
    other = {"pool_active": SignalSpec(gauge="hikaricp_connections_active")}
    service = msgspec.structs.replace(look.service, signals=other)
    asking = plan([library().runbook("pool")], service)
    found = look.answers_to(asking)
    assert "pool_active" not in found.signals
    assert "pool_active" not in found.live
    [report] = judged("bot", service, asking, found, 12)
    assert next(s for s in report.signals if s.id == "pool_active").reason == "not asked when this was saved"


def test_a_pattern_that_is_another_now_is_not_counted() -> None:
    columns = tuple(Column(name=n) for n in ("lines", "db", "db_usual", "db_example", "input"))
    table = Table(columns=columns, rows=((9, 1, 0, "x", 2),))
    found = gathered(answers={"logs:errors": StepReading(source="logs", query=None, answer=table)})
    look = msgspec.structs.replace(look_of(found), patterns={"db": "a", "input": "i"})
    asking = msgspec.structs.replace(plan([library().runbook("pool")], SERVICE), patterns={"db": "b"})
    answer = look.answers_to(asking).answers["logs:errors"].answer
    assert isinstance(answer, Table)
    assert [c.name for c in answer.columns] == ["lines", "input"]
    assert answer.rows == ((9, 2),)


# --- secrets -------------------------------------------------------------------------------------

CANARIES = ("pg-c@nary/%1", "reserve-canary", "redis-canary", "bearer-canary", "basic-canary", "head-canary",
            "url-canary", "tok-canary", "query-canary", "tls-canary", "env-canary")  # fmt: skip


def guarded() -> Service:
    return Service(
        url="https://u:url-canary@host/x",
        headers={"X-Api-Key": "head-canary"},
        tls=Tls(ca="/tls-canary", key="/tls-canary"),
        prometheus=PrometheusAt(
            url="http://p?token=query-canary",
            bearer="bearer-canary",
            headers={"Authorization": "Bearer tok-canary"},
            tls=Tls(cert="/tls-canary"),
        ),
        alertmanager=HttpBackend(url="http://a", basic=Basic(username="u", password="basic-canary")),
        postgres=PostgresAt(
            dsn=f"postgresql://u:{quote(CANARIES[0], safe='')}@h/d",
            reserve_dsn="host=h user=u password=reserve-canary",
        ),
        redis=RedisAt(url="redis://:redis-canary@h/0"),
        restart=RestartBy(command=("curl", "-H", "Authorization: Bearer tok-canary")),
    )


@pytest.mark.parametrize("redact", [False, True])
def test_no_secret_is_in_the_file(redact: bool) -> None:
    """Wherever a backend repeats one: in messages, queries, cells, notes, the keys of questions."""
    said = " ".join(CANARIES) + " " + quote(CANARIES[0], safe="")
    gone = Unavailable(kind=Absence.AUTH, reason=said, hint=said)
    table = Table(columns=(Column(name="state"), Column(name="other")), rows=((said, said),), notes=(said,))
    found = gathered(
        signals={"s": SignalReading(id="s", source="p", query=said, now=gone)},
        answers={
            f"sql:SELECT '{said}'": StepReading(source="postgres", query=said, answer=table),
            "redis:server": StepReading(source="redis", query=said, answer=gone),
        },
        refusals={"redis": gone},
        failed=(Unseen(what="redis", reason=said, hint=said),),
        unseen=(Unseen(what="redis", reason=said, hint=said),),
        notes={"redis": (said,)},
    )
    asking = plan([library().runbook("pool")], SERVICE)
    look = kept("bot", guarded(), asking, found, took_ms=1, version="1", saved=WHEN, alone=False,
                secrets=("env-canary",))  # fmt: skip
    text = dump(look, redact=redact).decode()
    for canary in (*CANARIES, quote(CANARIES[0], safe="")):
        # A path of TLS is no secret in a message; in the service's settings it has no use.
        assert canary not in text.replace("tls-canary", "", 8 if "tls" in canary else 0) or "tls" in canary
    assert "tls-canary" not in json.dumps(json.loads(text)["settings"])
    assert load(text.encode(), "x").service == without_credentials(look.service)


def test_a_password_that_is_the_role_too_does_not_hide_the_role() -> None:
    at = DatabaseTarget(host="h", port=1, database="bots", role="bots", clock=WHEN)
    service = Service(postgres=PostgresAt(dsn="postgresql://bots:bots@h/bots"))
    found = gathered(database=at, notes={"postgres": ("bots",)})
    look = look_of(found, service)
    assert look.gathered == found
    assert look.service.postgres == PostgresAt(dsn="postgresql://bots:***@h/bots")


# --- redacted ------------------------------------------------------------------------------------

SECRET_TEXT = st.text("zqZQ é日\\'\"$\n;@.-", min_size=1, max_size=12).map(lambda s: f"zq{s}qz")


def _standard(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _escaped(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dollar(text: str) -> str:
    return f"$body${text}$body$"


LITERALS = st.tuples(SECRET_TEXT, st.sampled_from([_standard, _escaped, _dollar]))
NUMBERS = st.integers(10**6, 10**9).map(str) | st.floats(1e6, 1e9).map(repr)


@settings(max_examples=80, deadline=None)
@given(st.lists(LITERALS, min_size=1, max_size=4), NUMBERS, st.integers(0, 50), st.booleans())
def test_no_literal_of_sql_survives(
    literals: list[tuple[str, object]], number: str, cut: int, comment: bool
) -> None:
    said = ", ".join(how(text) for text, how in literals)  # type: ignore[operator]  # one of the three above
    note = "/* it's */ " if comment else ""
    sql = f'SELECT "name", t2.c1 FROM orders {note}WHERE a IN ({said}) AND n = {number} AND b = $1'
    shown = mask(sql[: len(sql) - cut] + "…", sql=True)
    assert "zq" not in shown
    assert number not in shown
    assert shown.startswith('SELECT "name", t2.c1 FROM ')
    assert mask(shown, sql=True) == shown


def test_where_a_quote_ends_cannot_be_told_everything_after_it_goes() -> None:
    """With standard_conforming_strings the first quote after the backslash ends it, without it does not."""
    assert mask(r"SELECT 'a\', secret, 'b'", sql=True) == "SELECT '?'"
    assert mask("SELECT 1 -- for user bob's", sql=True) == "SELECT ? --?"


@settings(max_examples=60, deadline=None)
@given(
    st.text("zqZQ ", min_size=1, max_size=10).map(lambda s: f"zq{s}qz"),
    st.integers(10, 10**9),
    st.from_regex(r"\Azq[a-z.+]{1,8}@[a-z]{2,8}\.zq\Z"),
    st.ip_addresses(),
    st.uuids(),
    st.sampled_from("'\""),
)
def test_no_value_of_a_log_line_survives(
    text: str, number: int, mail: str, address: object, uuid: object, mark: str
) -> None:
    line = f"can't send {mark}{text}{mark} to {mail} from [{address}]:{number} id={uuid} user{number}"
    shown = mask(line)
    assert "zq" not in shown
    for value in (str(number), str(uuid), mail):
        assert value not in shown
    assert not any(c.isdigit() for c in shown)
    assert shown.startswith(f"can't send {mark}?{mark} to ? from [")
    assert mask(shown) == shown


@pytest.mark.parametrize(
    ("key", "column", "value", "shown"),
    [
        ("redis:growing", "key", "user:42:cart", "user:?:?"),
        ("redis:growing", "key", "queue", "queue"),
        ("redis:growing", "key", "job9", "?"),
        ("redis:slowlog", "command", "SET user:bob secret words", "SET user:? ?"),
        ("redis:slowlog", "command", "AUTH", "AUTH"),
        ("redis:clients", "host", "10.0.0.9", "?"),
        ("network:backends", "host", "db-1", "db-1"),
        ("network:backends", "address", "10.0.0.9", "10.0.0.9"),
        ("postgres:sessions", "client", "10.0.0.9", "?"),
        ("postgres:sessions", "state", "idle in transaction", "idle in transaction"),
        ("postgres:longest", "query", "SELECT 'x', 1", "SELECT '?', ?"),
        ("postgres:longest", "pid", 4711, 4711),
        ("logs:errors", "top", "user bob@x.example: 7 times", "user ? ? times"),
        ("redis:prefixes", "prefix", "session:*", "session:*"),
    ],
)
def test_a_cell_is_masked_by_what_it_holds(key: str, column: str, value: object, shown: object) -> None:
    assert cell(key, column, value) == shown  # type: ignore[arg-type]  # a scalar
    assert cell(key, column, shown) == shown


def test_messages_keep_their_numbers_and_lose_what_they_quote() -> None:
    gone = Unavailable(kind=Absence.TIMEOUT, reason='no answer within 5 s: "Bob" (bob@x.example)')
    found = redacted(gathered(refusals={"postgres": gone}))
    assert found.refusals["postgres"].reason == 'no answer within 5 s: "?" (?)'


# --- files that are none -------------------------------------------------------------------------


def a_file() -> bytes:
    return dump(look_of(gathered()), redact=False)


PACKED = gzip.compress(a_file(), mtime=0)
BAD = {
    "empty": (b"", "not JSON: it is empty"),
    "text": (b"POOL HEALTHY", "not JSON"),
    "latin": (b'{"schema": "\xe9"}', "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
    "list": (b"[1]", "it names no schema"),
    "number": (b"7", "it names no schema"),
    "report": (b'{"schema": "oncall/diagnosis/1"}', "its schema is 'oncall/diagnosis/1'"),
    "newer": (b'{"schema": "oncall/saved/2", "oncall": "9.1"}', "saved by another oncall (9.1)"),
    "bare": (b'{"schema": "oncall/saved/1"}', "a damaged file of --save"),
    "cut": (a_file()[:-40], "not JSON"),
    "cut gzip": (PACKED[:-40], "the gzip ends too early"),
    "bad gzip": (PACKED[:30] + b"xxxx" + PACKED[34:], "gzip"),
    "bomb": (gzip.compress(b" " * (MOST_BYTES + 10)), "more than 64 MB"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none_is_named_with_what_was_found(name: str) -> None:
    data, says = BAD[name]
    with pytest.raises(UsageFault) as raised:
        load(data, "some/where.json")
    assert str(raised.value).startswith("some/where.json: ")
    assert says in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"baseline_s": 0},
        {"window_s": None},
        {"at": 1e300},
        {"issues": []},
        {"settings": {"limits": {"memory": "much"}}},
        {"settings": {"frob": 1}},
        {"signals": {"s": {"source": "p"}}},
        {"signals": {"s": {"source": "p", "now": 1, "times": [1], "values": []}}},
        {"answers": {"a": {"source": "p", "columns": [{"name": "x"}], "rows": [[1, 2]]}}},
        {"answers": {"a": {"source": "p", "unavailable": {"kind": "frob", "reason": ""}}}},
    ],
    ids=str,
)
def test_a_file_that_was_edited_badly_is_told_as_such(change: dict[str, object]) -> None:
    document = {**json.loads(a_file()), **change}
    with pytest.raises(UsageFault, match="damaged file of --save"):
        load(json.dumps(document).encode(), "x")


@settings(deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b"\x1f\x8b\x08" + b))
def test_no_bytes_are_a_surprise(data: bytes) -> None:
    with pytest.raises(UsageFault):
        load(data, "x")
    assert not is_saved(data)


def test_a_person_can_read_the_file() -> None:
    table = Table(columns=(Column(name="pid"), Column(name="query")), rows=((1, "SELECT 1"), (2, "X")))
    step = StepReading(source="postgres", query="SELECT", answer=table, ms=1.5)
    lines = dump(look_of(gathered(answers={"postgres:longest": step})), redact=False).decode().split("\n")
    assert lines[1] == f'  "schema": "{SCHEMA}",'
    assert '        [1, "SELECT 1"],' in lines
