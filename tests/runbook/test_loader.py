"""Every mistake in a runbook is told with file:line, and what is allowed; the packaged ones are right."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from oncall.errors import ConfigError, RunbookError, UsageFault
from oncall.model_service import SignalSpec
from oncall.runbook.loader import Library, library, packaged_folder
from oncall.runbook.model import RunbookFile
from oncall.runbook.schema import json_schema

GOOD = """\
issue: mine
title: Mine
headlines: {ok: A, warning: B, critical: C, unknown: D}
symptoms: [depth]
signals:
  depth:
    gauge: queue_depth
    warning: 5
steps:
  rows:
    title: Rows
    why: w
    sql: SELECT 1 AS n
values:
  twice: depth * 2
causes:
  one:
    title: one
    why: w
    evidence:
      - {id: high, text: "{depth} now", when: depth > 5 and rows.n > 0}
    next:
      - {command: "do {depth}", why: w}
"""

Load = Callable[[str], Library]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def make(text: str) -> Library:
        (tmp_path / "mine.yaml").write_text(text, "utf-8")
        return library(tmp_path)

    return make


def mistake(load: Load, text: str) -> RunbookError:
    """The error that reading and checking a runbook raises; it names the file and a line."""
    with pytest.raises(RunbookError) as caught:
        load(text).runbook("mine")
    assert re.match(r".*/mine\.yaml:\d+: ", str(caught.value)), caught.value
    return caught.value


def test_a_good_one_loads(load: Load) -> None:
    book = load(GOOD).runbook("mine")
    assert (book.issue, book.title, book.shown[0]) == ("mine", "Mine", "depth")
    assert load(GOOD).issues() == ("errors", "latency", "memory", "pool", "mine")


MISTAKES = [
    ("title: Mine", "titel: Mine", 2, "unknown key 'titel'; allowed: issue, title", "Did you mean title?"),
    ("    why: w\n    sql", "    wyh: w\n    sql", 12, "unknown key 'wyh'", "Did you mean why?"),
    ("{id: high,", "{id: high, wheight: 3,", 21, "unknown key 'wheight'", "Did you mean weight?"),
    ("  depth:\n", "  depth: {gauge: x}\n  depth:\n", 7, "the key 'depth'", "Keep one"),
    ("title: Mine\n", "title: Mine\ntitle: Yours\n", 3, "the key 'title'", "Keep one"),
    ("symptoms: [depth]", "symptoms: [dept]", 4, "'dept' is no signal", "Did you mean depth"),
    ("symptoms: [depth]\n", "", 1, "an issue needs `symptoms:`", None),
    ("title: Mine\n", "", 1, "an issue needs `title:`", None),
    ("headlines: {ok: A, ", "headlines: {", 3, "ok", None),
    ("issue: mine", "issue: Mine!", 1, "issue", None),
    ("issue: mine\n", "", 1, "steps or causes without `issue:`", None),
    ("    gauge: queue_depth", "    gauge: queue depth", 6, "depth", None),
    (
        "    gauge: queue_depth",
        "    gauge: q\n    rate: r",
        6,
        "found gauge and rate of the forms, expected exactly one of",
        None,
    ),
    ("    gauge: queue_depth", "    title: x", 6, "found none of the forms, expected exactly one of", None),
    ("    gauge: queue_depth", "    quantile: 1.5\n    of: h", 7, "1.5", None),
    ("    gauge: queue_depth", "    quantile: 0.5", 6, "`quantile` and `of` go together", None),
    ("    gauge: queue_depth", "    step: rwos.n", 7, "no step 'rwos'", None),
    ("    gauge: queue_depth", "    up: mysql", 7, "'mysql' is not one of postgres", None),
    (
        "    gauge: queue_depth",
        "    gauge: queue_depth\n    goes_with: depht",
        8,
        "'depht' is no signal",
        "Did you mean depth",
    ),
    ("    gauge: queue_depth", "    gauge: 5", 7, "found 5", None),
    ("    warning: 5", "    warning: five", 8, "expected a number", None),
    ("    warning: 5", "    warning: '5'", 8, "expected a number", None),
    ("    warning: 5", "    share_of: 1 +", 6, "invalid syntax", None),
    ("    sql: SELECT 1 AS n", "    sql: SELECT 1\n    health: /x", 10, "exactly one of", None),
    ("    sql: SELECT 1 AS n", "    unit: x", 10, "exactly one of", None),
    ("    sql: SELECT 1 AS n", "    postgres: nothing", 13, "no SQL file 'nothing'", None),
    ("    sql: SELECT 1 AS n", "    postgres: ../../errors", 13, "no SQL file", None),
    ("    sql: SELECT 1 AS n", "    health: x", 13, "a path begins with /", None),
    ("    sql: SELECT 1 AS n", "    sql: DELETE FROM t", 13, "sql", None),
    ("    sql: SELECT 1 AS n", "    sql: SELECT 1; SELECT 2", 13, "sql", None),
    ("    sql: SELECT 1 AS n", "    sql: ''", 13, "sql", None),
    ("    sql: SELECT 1 AS n", "    health: /x\n    deadline: 5", 14, "a duration such as", None),
    ("twice: depth * 2", "twice: twice * 2", 15, "needs itself: twice → twice", None),
    ("twice: depth * 2", "twice: b\n  b: twice", 15, "needs itself: twice → b → twice", None),
    ("twice: depth * 2", "twice: depth *", 15, "invalid syntax", None),
    ("twice: depth * 2", "twice: __import__('os')", 15, "no function '__import__'", None),
    ("twice: depth * 2", "twice: depth.__class__", 15, "'depth.__class__' is neither", None),
    ("twice: depth * 2", "twice: '[depth]'", 15, "is not allowed here", None),
    ("twice: depth * 2", "twice: depth ** 9", 15, "is not allowed here", None),
    ("twice: depth * 2", "twice: depht * 2", 15, "'depht' is neither a signal", "Did you mean depth"),
    ("twice: depth * 2", "depth: rows.n", 15, "is also the name of a signal or step", None),
    ("twice: depth * 2", "Twice: depth", 15, "values", None),
    (
        "when: depth > 5 and rows.n > 0",
        "when: 5 > 4",
        17,
        "no step or signal can support this cause",
        "Give it",
    ),
    (
        "when: depth > 5 and rows.n > 0",
        "when: depth > 5, against: true",
        17,
        "no step or signal can support",
        None,
    ),
    ("when: depth > 5 and rows.n > 0", "when: deep > 5", 21, "'deep' is neither", "Did you mean depth"),
    ("when: depth > 5 and rows.n > 0", "when: depth > 5, onset_of: no", 21, "'no' is no signal", None),
    ("when: depth > 5 and rows.n > 0", "when: depth > 5, weight: 9", 21, "weight", None),
    ("{depth} now", "{dpth} now", 21, "'dpth' is neither", None),
    ("do {depth}", "do {depth + }", 22, "invalid syntax", None),
    ("    evidence:\n", "    evidence: []\n    x:\n", 20, "unknown key 'x'", None),
    ("causes:\n  one:", "causes:\n  ../one:", 17, "causes", None),
    ("title: Mine", "title: [a, &x [*x]]", 2, "", None),
    ("title: Mine", "title: &a [b, b]\nlook: [*a, *a]", 2, "expected text", None),
    ("title: Mine", "title: !!python/object/apply:os.system [id]", 2, "", None),
    ("title: Mine", "title: yes\n? [a]\n: b", 3, "", None),
    ("title: Mine", "title: 'open", 24, "a quoted scalar that begins in line 2", None),
]


@pytest.mark.parametrize(
    ("found", "put", "line", "says", "hint"), MISTAKES, ids=[m[1].replace("\n", "|")[:40] for m in MISTAKES]
)
def test_mistakes(load: Load, found: str, put: str, line: int, says: str, hint: str | None) -> None:
    assert GOOD.count(found) == 1
    error = mistake(load, GOOD.replace(found, put))
    assert says in str(error).partition("mine.yaml:")[2]
    assert hint is None or hint in (error.hint or ""), error.hint
    # Within a mapping on one line or a block, the line of the block counts as right too.
    told = int(re.match(r".*/mine\.yaml:(\d+): ", str(error))[1])  # type: ignore[index]  # asserted in `mistake`
    assert abs(told - line) <= 1, error


def test_an_alias_bomb_is_refused_quickly(load: Load) -> None:
    levels = "\n".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    error = mistake(load, f"look:\n  - &a0 [x]\n{levels}\n{GOOD}")
    assert "alias" in str(error)


def test_a_file_of_only_signals_adds_signals(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("signals: {extra: {gauge: extra_total}}\n")
    (tmp_path / "mine.yaml").write_text(GOOD.replace("depth > 5 and", "extra > 1 and"))
    assert library(tmp_path).runbook("mine").shown == ("depth", "extra")


def test_a_runbook_may_use_the_services_signals_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD.replace("depth > 5 and", "own > 1 and"))
    assert "own" in library(tmp_path, signals={"own": SignalSpec(gauge="g")}).runbook("mine").signals
    with pytest.raises(RunbookError, match="'own' is neither"):
        library(tmp_path).runbook("mine")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder of runbooks"):
        library(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no such folder of runbooks"):
        library(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"[]", b"5", b"\xff\xfe\x00", b"title: \x00"])
def test_files_that_hold_no_runbook(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(RunbookError, match=r"/mine\.yaml:1"):
        library(tmp_path)


@pytest.mark.parametrize(
    "name", ["", "..", "../pool", "pool/../pool", "/pool", "Pool", "po ol", "pool\n", "p" * 9999]
)
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises((RunbookError, UsageFault)):
        library().runbook(name)


# --- what is packaged, and the JSON Schema -------------------------------------------------------


def test_every_packaged_runbook_is_right() -> None:
    books = library()
    assert "pool" in books.issues()
    for issue in books.issues():
        book = books.runbook(issue)
        assert book.spec.look
        assert all(cause.next or cause.advice for cause in book.spec.causes.values())
        assert all(step.why for step in book.spec.steps.values())


def _complaints(value: Any, schema: dict[str, Any], defs: dict[str, Any], at: str) -> list[str]:  # noqa: ANN401
    """What a JSON Schema says against a value: the few words of the standard that msgspec writes."""
    if "$ref" in schema:
        return _complaints(value, defs[schema["$ref"].rpartition("/")[2]], defs, at)
    if "anyOf" in schema:
        each = [_complaints(value, one, defs, at) for one in schema["anyOf"]]
        return [] if [] in each else min(each, key=len)
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "number": (int, float),
        "null": type(None),
    }
    kind = kinds.get(schema.get("type", ""), int if schema.get("type") == "integer" else object)
    if not isinstance(value, kind):  # type: ignore[arg-type]  # a type or a tuple of types
        return [f"{at}: {value!r} is no {schema.get('type')}"]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return [f"{at}: {value!r} is not like {schema['pattern']}"]
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [
            c for n, item in enumerate(value) for c in _complaints(item, schema["items"], defs, f"{at}[{n}]")
        ]
    return _of_object(value, schema, defs, at) if isinstance(value, dict) else []


def _of_object(value: dict[str, Any], schema: dict[str, Any], defs: dict[str, Any], at: str) -> list[str]:
    known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{at}: no {key}" for key in schema.get("required", ()) if key not in value]
    names = schema.get("propertyNames", {})
    for key, item in value.items():
        found += _complaints(key, names, defs, f"{at}.{key}")
        if key in known or isinstance(more, dict):
            found += _complaints(item, known.get(key, more), defs, f"{at}.{key}")
        elif more is False:
            found.append(f"{at}: unknown {key}")
    return found


def complaints(document: object) -> list[str]:
    schema = json_schema()
    return _complaints(document, schema, schema["$defs"], "")


@pytest.mark.parametrize("path", sorted(packaged_folder().glob("*.yaml")), ids=lambda p: p.name)
def test_the_schema_fits_what_is_packaged(path: Path) -> None:
    assert complaints(yaml.safe_load(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("found", "put"),
    [
        ("title: Mine", "titel: Mine"),
        ("issue: mine", "issue: Mine!"),
        ("    warning: 5", "    warning: five"),
        ("    sql: SELECT 1 AS n", "    sqll: SELECT 1 AS n"),
        ("    why: w\n    sql", "    sql"),
        ("twice: depth * 2", "Twice: depth"),
    ],
)
def test_the_schema_finds_mistakes(found: str, put: str) -> None:
    assert complaints(yaml.safe_load(GOOD)) == []
    assert complaints(yaml.safe_load(GOOD.replace(found, put))) != []


def test_the_schema_says_what_each_key_is_for() -> None:
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["$defs"]["RunbookFile"]["properties"]) == set(RunbookFile.__struct_fields__)
    evidence = schema["$defs"]["EvidenceSpec"]["properties"]
    assert "confirmed needs one" in evidence["decisive"]["description"]
