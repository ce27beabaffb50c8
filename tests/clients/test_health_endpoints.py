"""What a health answer must hold, by the monitoring document."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients.health_endpoints import ENDPOINTS, complaints
from tests.monitoring.fleetstand import HEALTH

DB = next(e.fields for e in ENDPOINTS if e.path == "/health/db")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def test_the_documents_own_answers_are_whole_and_its_patience_is_kept() -> None:
    assert [(e.path, e.timeout_s, e.critical) for e in ENDPOINTS] == [
        ("/health", 5, True),
        ("/health/db", 5, True),
        ("/health/cache", 3, False),
    ]
    for each in ENDPOINTS:
        assert complaints(json.dumps(HEALTH[each.path]).encode(), each.fields) == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"database": None}, "database is null, not text"),
        ({"latency_ms": "8"}, "latency_ms is other text, not a number"),
        ({"latency_ms": True}, "latency_ms is yes or no, not a number"),
        ({"tables_accessible": 1.5}, "tables_accessible is a fraction, not a whole number"),
        ({"status": ["connected"]}, "status is a list, not text"),
        ({"status": {"db": "up"}}, "status is an object, not text"),
        ({"status": 1}, "status is a number, not text"),
    ],
)
def test_another_type_is_said(changed: dict[str, Any], says: str) -> None:
    assert complaints(json.dumps({**HEALTH["/health/db"], **changed}).encode(), DB) == (says,)


def test_what_lacks_is_said_and_what_is_more_is_not() -> None:
    assert complaints(b'{"status": "connected", "shards": 3, "database": "a", "latency_ms": 1.5}', DB) == (
        "has no tables_accessible",
    )
    assert complaints(b"ok", DB) == ("is no JSON object",)
    (told,) = complaints(
        b'{"status":"ok","timestamp":"today","version":"1","uptime":"1"}', ENDPOINTS[0].fields
    )
    assert told == "timestamp is other text, not an RFC 3339 time"


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_has_an_answer(body: bytes) -> None:
    for each in ENDPOINTS:
        assert all(isinstance(text, str) for text in complaints(body, each.fields))
