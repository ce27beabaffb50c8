"""The contract's JSON: keys, times, numbers, text."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncall.model import Diagnosis, Severity
from oncall.render.json_out import diagnoses_json, diagnosis_json, error_json
from oncall.units import Duration
from tests.render.reports import changed, reports
from tests.render.samples import healthy, leak, two_causes

CONTRACT = [
    "schema",
    "service",
    "issue",
    "at",
    "duration_ms",
    "severity",
    "verdict",
    "signals",
    "steps",
    "causes",
]
SIGNAL = [
    "id",
    "title",
    "value",
    "unit",
    "baseline",
    "warning",
    "critical",
    "severity",
    "source",
    "query",
    "age_s",
]
STEP = ["id", "title", "probe", "status", "reason", "query", "columns", "rows", "ms"]
CAUSE = ["id", "title", "confidence", "evidence", "missing", "next"]
EVIDENCE = ["id", "text", "value", "baseline", "holds", "supports", "source", "query"]


def strictly(encoded: bytes) -> Any:  # noqa: ANN401 - JSON is any of its types
    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(encoded.decode("utf-8", "strict"), parse_constant=refuse)


def test_keys_are_the_contracts_in_its_order() -> None:
    document = strictly(diagnosis_json(leak()))
    assert list(document)[: len(CONTRACT)] == CONTRACT
    assert document["schema"] == "oncall/diagnosis/1"
    assert list(document["signals"][0])[: len(SIGNAL) + 1] == [*SIGNAL, "reason"]
    assert list(document["steps"][0])[: len(STEP)] == STEP
    assert list(document["causes"][0])[: len(CAUSE)] == CAUSE
    assert list(document["causes"][0]["evidence"][0])[: len(EVIDENCE)] == EVIDENCE
    assert document["causes"][0]["next"][0] == {
        "command": "oncall remediate restart --confirm",
        "why": "frees all 19; it comes back until GET /api/export is fixed",
    }
    assert document["steps"][0]["columns"][0] == {"name": "application", "unit": None}


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 1, 1, 3, 12, 0, 123456, UTC),
        datetime(2026, 1, 1, 3, 12),
        datetime(2026, 1, 1, 5, 12, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_times_are_whole_seconds_of_utc(at: datetime) -> None:
    signals = (msgspec.structs.replace(leak().signals[1], since=at),)
    document = strictly(diagnosis_json(msgspec.structs.replace(leak(), at=at, signals=signals)))
    assert document["at"] == document["signals"][0]["since"] == "2026-01-01T03:12:00Z"


def test_durations_are_numbers() -> None:
    given_in_words = msgspec.structs.replace(leak(), window_s=Duration(300), baseline_s=Duration(3600))
    assert strictly(diagnosis_json(given_in_words))["window_s"] == 300


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(number: float) -> None:
    document = strictly(diagnosis_json(changed(leak(), lambda text: text, lambda _: number)))
    assert document["signals"][3]["value"] is None
    assert document["signals"][3]["history"] == [None] * 16
    assert document["steps"][1]["rows"][0][2] is None


@settings(max_examples=150, deadline=None)
@given(reports())
def test_any_report_is_strict_json_that_no_terminal_obeys(d: Diagnosis) -> None:
    encoded = diagnosis_json(d)
    strictly(encoded)
    assert all(char.isprintable() or not _obeyed(char) for char in encoded.decode())


def _obeyed(char: str) -> bool:
    code = ord(char)
    return code < 0x20 or 0x7F <= code <= 0x9F or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069


@given(st.text())
def test_text_arrives_as_it_was(text: str) -> None:
    assert strictly(error_json(text, None))["error"] == text


def test_half_a_character_is_shown_as_its_escape() -> None:
    assert strictly(error_json("a\udc80", "hint")) == {
        "schema": "oncall/error/1",
        "error": "a\\udc80",
        "hint": "hint",
    }


def test_several_issues_are_one_document_as_bad_as_the_worst() -> None:
    document = strictly(diagnoses_json("bot-controller", [two_causes(), healthy()]))
    assert list(document) == ["schema", "service", "at", "duration_ms", "severity", "diagnoses"]
    assert document["schema"] == "oncall/diagnoses/1"
    assert document["severity"] == Severity.WARNING
    assert [d["verdict"] for d in document["diagnoses"]] == ["causes", "healthy"]


def test_a_saved_report_reads_back() -> None:
    assert msgspec.json.decode(diagnosis_json(leak()), type=Diagnosis) == leak()
