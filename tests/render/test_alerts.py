"""Alerts, silences and handovers on paper: as they are read at several widths, and with any text in them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion

from oncall.model import Severity, Unseen
from oncall.render.alert_words import (
    alerts_markdown,
    alerts_of_all_markdown,
    first,
    rows,
)
from oncall.render.alerts import alerts_of_all_page, alerts_page
from oncall.render.handover import handover_page
from oncall.render.handover_words import handover_markdown
from oncall.render.json_out import alerting_json
from oncall.render.silence_words import silence_markdown, silences_markdown
from oncall.render.silences import silence_page, silences_page
from tests.render.pages import printed
from tests.render.reports import TEXT
from tests.render.samples_alerts import (
    alert,
    everything,
    fired,
    fleet,
    plan,
    report,
    shift,
    silence,
    silences,
    warned,
)

WIDTHS = (40, 80, 120)


@pytest.mark.parametrize("width", WIDTHS)
def test_alerts(snapshot: SnapshotAssertion, width: int) -> None:
    assert printed(alerts_page(everything(), width=width), width) == snapshot


@pytest.mark.parametrize("width", WIDTHS)
def test_every_service(snapshot: SnapshotAssertion, width: int) -> None:
    assert printed(alerts_of_all_page(fleet(), width=width), width) == snapshot


@pytest.mark.parametrize("width", WIDTHS)
def test_silences(snapshot: SnapshotAssertion, width: int) -> None:
    assert printed(silences_page(silences(), width=width), width) == snapshot


@pytest.mark.parametrize("width", [40, 80])
def test_a_silence(snapshot: SnapshotAssertion, width: int) -> None:
    assert printed(silence_page(plan(), width=width), width) == snapshot


@pytest.mark.parametrize("width", [40, 80])
def test_a_handover(snapshot: SnapshotAssertion, width: int) -> None:
    assert printed(handover_page(shift(), width=width), width) == snapshot


def test_markdown(snapshot: SnapshotAssertion) -> None:
    told = [alerts_markdown(everything()), alerts_of_all_markdown(fleet())]
    told += [silences_markdown(silences()), silence_markdown(plan()), handover_markdown(shift())]
    assert "\n---\n".join(told) == snapshot


def test_the_next_command_is_for_the_worst_that_is_loud() -> None:
    quiet = alert("Quiet", inhibited_by=("X",), escalation=None)
    step = first(report(quiet, warned()))
    assert step is not None
    assert step.command == "oncall diagnose --alert HighResponseTime"
    assert first(report(quiet)) == quiet.runbook
    assert first(report()) is None


def test_many_of_a_name_are_one_block() -> None:
    many = [warned(labels={"job": "bot", "instance": f"app-{n}"}) for n in range(9)]
    found = report(*many)
    [row], left = rows(found)
    assert (len(row.also), left) == (8, 0)
    shown = printed(alerts_page(found, width=120), 120)
    assert '9 in all: also instance="app-1"; instance="app-2"; instance="app-3"; 5 more' in shown


def test_a_storm_is_counted() -> None:
    found = report(*(warned(f"Alert{n}") for n in range(70)))
    shown = printed(alerts_page(found, width=80), 80)
    assert "… and 40 more: --output json has them all" in shown
    assert len(json.loads(alerting_json(found))["alerts"]) == 70


def test_on_a_small_screen_the_answer_stands_at_the_end_too() -> None:
    shown = printed(alerts_page(everything(), width=80, height=20), 80)
    assert shown.count("2 critical, 4 warning firing") == 2


def test_nothing_fires() -> None:
    calm = report(severity=Severity.OK, summary="nothing fires", selector={})
    shown = printed(alerts_page(calm, width=80), 80)
    assert shown.startswith("nothing fires   bot-controller · production · 03:12:41 UTC")
    assert "every alert is taken as this service's" in " ".join(shown.split())
    assert "Notes" not in shown


def test_nothing_known_is_no_nothing() -> None:
    gap = Unseen(what="alertmanager", reason="connection refused")
    unread = shift(fired=None, silences=None, done=None, trending=None, unseen=(gap,))
    for shown in (printed(handover_page(unread, width=80), 80), handover_markdown(unread)):
        assert shown.count("not known: see below") == 4
        assert "connection refused" in shown
    nothing = replace(silences(), source=None, silences=(), unseen=(gap,))
    assert printed(silences_page(nothing, width=80), 80).startswith("silences unknown")


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(20, 140), st.booleans())
def test_any_text_at_any_width(name: str, value: str, other: str, width: int, ascii_only: bool) -> None:
    labels = {name: value, other: name}
    gap = Unseen(what=name, reason=value, hint=other)
    one = alert(name, labels=labels, summary=value, inhibited_by=(other,), runbook=None, runbook_url=value)
    found = report(
        one, warned(value, labels=labels), service=name, summary=other, notes=(value,), unseen=(gap,)
    )
    mute = silence(matchers=(value, other), by=name, comment=other, hits=(value, name))
    act = plan(text=value, silence=mute, warnings=(other,), hint=name, command=None)
    handed = shift(
        summary=name, now=found, fired=(fired(value, labels=labels),), silences=(mute,), notes=(other,)
    )
    pages = [
        alerts_page(found, width=width, ascii_only=ascii_only),
        alerts_of_all_page(replace(fleet(), services=(found,)), width=width, ascii_only=ascii_only),
        silences_page(replace(silences(), silences=(mute,)), width=width, ascii_only=ascii_only),
        silence_page(act, width=width, ascii_only=ascii_only),
        handover_page(handed, width=width, ascii_only=ascii_only),
    ]
    for page in pages:
        shown = printed(page, width)
        assert not set(shown) & set("\x1b\x9b\x07\u202e\r\t")
        assert not ascii_only or shown.isascii()
    texts = [alerts_markdown(found), silence_markdown(act), handover_markdown(handed)]
    texts += [silences_markdown(replace(silences(), silences=(mute,)))]
    texts += [alerting_json(found).decode(), alerting_json(act).decode(), alerting_json(handed).decode()]
    for text in texts:
        assert not set(text) & set("\x1b\x9b\x07\u202e\r\t")
