"""The audit log as a person sees it, to the letter; nothing foreign is obeyed, nothing runs out of the page."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from oncall.model_acts import AuditList, AuditShown, AuditVerified
from oncall.render.audit import audit_page
from oncall.render.audit_words import audit_markdown
from oncall.render.json_out import audit_json
from tests.remediation.auditstand import ANA, PROOF, intent, outcome, refusal
from tests.render.pages import printed
from tests.render.reports import TEXT

PATH = "/home/ana/.local/state/oncall/audit.jsonl"
Page = AuditList | AuditShown | AuditVerified
PAGES: dict[str, Page] = {
    "list": AuditList(
        path=PATH,
        entries=(
            intent(9, action="flush-cache", service="web"),
            refusal(8),
            outcome(6, 7, verification=replace(PROOF, result="worse")),
            intent(6, action="kill-queries"),
            outcome(3, 4, outcome="interrupted", verification=None),
            intent(3),
            outcome(1, 2),
            intent(1),
        ),
        open=(5, 9),
        total=9,
        notes=("a line cannot be relied on: its text does not fit its hash: it was changed",),
    ),
    "list_empty": AuditList(path=PATH, entries=()),
    "list_none": AuditList(path=PATH, entries=(), total=12),
    "show": AuditShown(path=PATH, entry=intent(12), outcome=outcome(12, 13)),
    "show_open": AuditShown(path=PATH, entry=intent(12), open=True),
    "show_refused": AuditShown(path=PATH, entry=refusal(12, who=replace(ANA, login=None, ssh_from=None))),
    "verify_whole": AuditVerified(
        path=PATH, entries=12, whole=True, open=(11,), notes=("line 4 is half written",)
    ),
    "verify_broken": AuditVerified(
        path=PATH, entries=3, whole=False, line=4, reason="its text does not fit its hash: it was changed"
    ),
}


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    shown = printed(audit_page(PAGES[name], width=width), width)
    assert max(map(cell_len, shown.splitlines())) <= width
    assert shown == golden


@pytest.mark.parametrize("name", PAGES)
def test_markdown(name: str, golden: SnapshotAssertion) -> None:
    assert audit_markdown(PAGES[name]) == golden


@pytest.mark.parametrize("name", PAGES)
def test_json_has_all_of_it(name: str) -> None:
    document = json.loads(audit_json(PAGES[name]))
    assert document["schema"].startswith("oncall/audit")
    assert document["path"] == PATH
    assert audit_page(PAGES[name], width=80, ascii_only=True)


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, st.integers(20, 140), st.booleans(), st.sampled_from(["show", "list"]))
def test_any_text_at_any_width(one: str, other: str, width: int, ascii_only: bool, name: str) -> None:
    entry = intent(
        12, service=one, reason=other, argv=(one, other), who=replace(ANA, login=one, terminal=other)
    )
    ended = outcome(12, 13, text=one, verification=replace(PROOF, text=other))
    found: Page = AuditShown(path=one, entry=entry, outcome=ended)
    if name == "list":
        found = AuditList(path=one, entries=(ended, entry), open=(12,), total=13, notes=(other,))
    shown = printed(audit_page(found, width=width, ascii_only=ascii_only), max(width, 20))
    assert not set(shown) & set("\x1b\x9b\x07\u202e\r\t")
    assert not ascii_only or shown.isascii()
    assert not set(audit_markdown(found)) & set("\x1b\x9b\x07\u202e\r\t")
    assert "\u202e" not in audit_json(found).decode()
