"""A plan on paper: the answer first, what bars it before all, nothing foreign obeyed, every target named."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from oncall.model import Severity, Table
from oncall.model_acts import ActionPlan, GuardState, Target
from oncall.render.act_words import hints, plan_verdict
from oncall.render.diagnosis import WIDEST
from oncall.render.json_out import plan_json
from oncall.render.markdown_acts import plan_markdown
from oncall.render.plan import about_to, plan_page
from tests.render.pages import printed
from tests.render.reports import TEXT, changed
from tests.render.samples_acts import (
    GRANT,
    PLANS,
    SESSIONS,
    barred,
    guard,
    hostile,
    kill,
    resize,
    restart,
)
from tests.render.test_markdown import CODE, LIVE

WIDTHS = st.sampled_from([20, 40, 59, 60, 80, 120, 200])


def page(plan: ActionPlan, width: int, *, ascii_only: bool = False, height: int | None = None) -> str:
    return printed(plan_page(plan, width=width, ascii_only=ascii_only, height=height), width)


@st.composite
def plans(draw: st.DrawFn) -> ActionPlan:
    """A sample with foreign text and any numbers in all of its fields."""
    sample = PLANS[draw(st.sampled_from(sorted(PLANS)))]()
    texts = cycle(draw(st.lists(TEXT, min_size=1, max_size=8)))
    numbers = cycle(draw(st.lists(st.floats(), min_size=1, max_size=4)))
    return changed(sample, lambda _: next(texts), lambda _: next(numbers))


# --- to the letter -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", PLANS)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert page(PLANS[name](), width) == golden


def test_page_in_ascii(golden: SnapshotAssertion) -> None:
    assert page(barred(), 80, ascii_only=True) == golden


def test_page_in_colour(golden: SnapshotAssertion) -> None:
    shown = printed(plan_page(barred(), width=80), 80, terminal=True)
    assert shown.replace("\x1b", "ESC") == golden


@pytest.mark.parametrize("width", [40, 80, 120])
def test_about_to(width: int, golden: SnapshotAssertion) -> None:
    assert printed(about_to(kill(), width=width), width) == golden


@pytest.mark.parametrize("name", PLANS)
def test_markdown(name: str, golden: SnapshotAssertion) -> None:
    assert plan_markdown(PLANS[name]()) == golden


def test_json(golden: SnapshotAssertion) -> None:
    assert msgspec.json.format(plan_json(barred()), indent=2).decode() + "\n" == golden


# --- the answer ----------------------------------------------------------------------------------


def test_the_first_lines_are_what_is_done_what_is_lost_and_the_command() -> None:
    lines = page(restart(), 80).split("\n")
    assert lines[0].startswith("WOULD RESTART   bot-controller · production")
    assert lines[0].endswith("plan 3f9a12c4e1")
    assert [line[:8].strip() for line in lines[1:4]] == ["Plan", "Lost", "Do it"]
    assert lines[3].endswith(restart().command)


@pytest.mark.parametrize("state", [GuardState.REFUSED, GuardState.UNKNOWN])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_bars_it_is_said_first_and_no_command_is_offered(state: GuardState, width: int) -> None:
    bar = guard("rights", state, "the role oncall may not signal sessions of deia")
    plan = msgspec.structs.replace(restart(), guards=(guard("identity"), bar))
    for shown in (page(plan, width), plan_markdown(plan)):
        assert shown.lstrip("*").startswith("WOULD BE REFUSED")
        assert shown.count("WOULD") == 1
        assert "--confirm" not in shown
        assert "rights" in shown.split("\n\n")[0] + shown.split("\n\n")[1]


@pytest.mark.parametrize("width", [36, 40, 60, 80, 120])
def test_a_statement_to_paste_stands_on_a_line_of_its_own(width: int) -> None:
    assert GRANT in [line.strip() for line in page(barred(), width).split("\n")]
    assert GRANT in plan_markdown(barred()).split("\n")


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (GRANT, [(GRANT, True)]),
        (f"as a superuser: {GRANT}", [("as a superuser:", False), (GRANT, True)]),
        (f"as a superuser:\n{GRANT}", [("as a superuser:", False), (GRANT, True)]),
        ("wait until 03:17:10 UTC", [("wait until 03:17:10 UTC", False)]),
        ("oncall needs to be root", [("oncall needs to be root", False)]),
        ("oncall config check -s lab", [("oncall config check -s lab", True)]),
        ("look first: oncall diagnose; or wait", [("look first: oncall diagnose; or wait", False)]),
    ],
)
def test_what_is_to_be_pasted_is_told_from_words(hint: str, told: list[tuple[str, bool]]) -> None:
    assert list(hints(guard("rights", GuardState.REFUSED, "no", hint))) == told


def test_how_to_override_is_said_once_and_only_where_it_can_be() -> None:
    wait = guard("cooldown", GuardState.REFUSED, "started 40 s ago", "wait", overridable=True)
    assert list(hints(wait))[-1] == ("to do it all the same: --override cooldown --reason TEXT", False)
    shown = page(barred(), 120)
    assert shown.count("--override") == 1
    assert "--override rights" not in shown


def test_a_guard_set_aside_says_so_and_does_not_bar() -> None:
    shown = page(kill(), 80)
    assert "! freeze  overridden: frozen Fri 16:00" in shown
    assert plan_verdict(kill()).words == "WOULD KILL QUERIES"
    assert "! freeze" in printed(about_to(kill(), width=80), 80)


def test_nothing_selected_is_nothing_to_do() -> None:
    shown = page(PLANS["nothing"](), 80)
    assert shown.startswith("NOTHING TO DO")
    assert "Do it" not in shown


@pytest.mark.parametrize("severity", [*Severity, None])
def test_how_bad_the_symptoms_are_is_said(severity: Severity | None) -> None:
    shown = page(msgspec.structs.replace(restart(), severity=severity), 80)
    assert "Verify  symptoms of pool, latency" + (f": {severity.value} now" if severity else "\n") in shown


def test_the_answer_stands_last_too_where_the_page_is_longer_than_the_screen() -> None:
    whole = page(kill(), 80).rstrip().split("\n")
    short = page(kill(), 80, height=10).rstrip().split("\n")
    assert page(kill(), 80, height=500).rstrip().split("\n") == whole
    answer = short[len(whole) + 1 :]
    assert answer == whole[: len(answer)]
    assert any(line.startswith("Do it") for line in answer)


# --- the targets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_target_is_named_also_those_whose_rows_have_no_room(width: int) -> None:
    rows = tuple((4000 + n, *SESSIONS.rows[0][1:]) for n in range(60))
    targets = tuple(Target(id=f"pid {4000 + n}") for n in range(60))
    plan = msgspec.structs.replace(
        kill(), targets=targets, table=Table(columns=SESSIONS.columns, rows=rows), title="terminates 60"
    )
    for shown in (page(plan, width), plan_markdown(plan)):
        assert all(str(4000 + n) in shown for n in range(60))


def test_targets_without_a_table_are_named_where_nothing_else_names_them() -> None:
    assert "Targets" not in page(restart(), 80), "the title has its name"
    assert "Targets  /etc/deia/bot-controller.yaml: database.pool_size" in page(resize(), 80)


def test_what_is_written_keeps_its_lines_and_indentation() -> None:
    for line in ("  @@ -3,4 +3,4 @@", "     # keep below max_connections of db-1", "  +  pool_size: 40"):
        assert line in page(resize(), 80).split("\n")
        assert line[2:] in plan_markdown(resize()).split("\n")


def test_statements_that_differ_in_their_values_only_are_shown_once() -> None:
    for shown in (page(kill(), 120), plan_markdown(kill())):
        assert shown.count("pg_terminate_backend(a.pid, 5000)") == 1
        assert "(and the same for 2 more, with their own values: --output json has them all)" in shown
    two = msgspec.structs.replace(kill(), does=("UPDATE a\nSET b", "DELETE FROM a\nWHERE b", "x 1", "x 2"))
    lines = page(two, 80).split("\n")
    assert lines[(at := lines.index("Exactly")) + 1 : at + 7] == [
        "  UPDATE a", "  SET b", "  DELETE FROM a", "  WHERE b", "  x 1", "  x 2",
    ]  # fmt: skip


# --- whatever is in it ---------------------------------------------------------------------------


def _inert(shown: str, width: int, *, ascii_only: bool = False) -> None:
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert shown.isascii() or not ascii_only
    lines = shown.split("\n")
    assert max(map(cell_len, lines)) <= min(width, WIDEST)
    assert all(line == line.rstrip() for line in lines)


@settings(max_examples=60, deadline=None)
@given(plans(), WIDTHS, st.booleans())
def test_no_text_reaches_the_terminal_as_a_command(plan: ActionPlan, width: int, ascii_only: bool) -> None:
    _inert(page(plan, width, ascii_only=ascii_only), width, ascii_only=ascii_only)
    head = printed(about_to(plan, width=width, ascii_only=ascii_only), width)
    _inert(head, width, ascii_only=ascii_only)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_is_meant_badly_is_inert_and_bounded(width: int) -> None:
    shown = page(hostile(), width)
    _inert(shown, width)
    assert "[/red]" in shown
    assert "\\x1b[2J" in shown
    assert GRANT.split()[1] in shown
    assert len(shown) < 60_000
    assert len(printed(about_to(hostile(), width=width), width)) < 20_000
    assert len(plan_markdown(hostile())) < 60_000


@settings(max_examples=60, deadline=None)
@given(plans())
def test_nothing_foreign_is_live_in_markdown(plan: ActionPlan) -> None:
    shown = plan_markdown(plan)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert not any(sign in shown for sign in ("<!", "<@", "<#"))
    assert not LIVE.search(CODE.sub("", shown))
    assert shown.count("\n```") % 2 == 0


def test_what_is_meant_badly_is_code_in_markdown() -> None:
    assert not LIVE.search(CODE.sub("", plan_markdown(hostile())))


@settings(max_examples=60, deadline=None)
@given(plans())
def test_any_plan_is_strict_json_that_no_terminal_obeys(plan: ActionPlan) -> None:
    encoded = plan_json(plan)
    document: dict[str, Any] = json.loads(encoded, parse_constant=_refuse)
    assert document["schema"] == "oncall/plan/1"
    assert not set(encoded.decode()) & set("\x1b\x9b\x07\u202e\r\t\x7f")


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def test_json_is_a_plan_again() -> None:
    assert msgspec.json.decode(plan_json(barred()), type=ActionPlan) == barred()
    precise = msgspec.structs.replace(restart(), at=datetime(2026, 1, 1, 3, 12, 0, 123456, UTC))
    assert json.loads(plan_json(precise))["at"] == "2026-01-01T03:12:00Z"


def test_json_and_markdown_need_no_rich() -> None:
    script = (
        "import sys\n"
        "from oncall.render import json_out, markdown_acts\n"
        "from tests.render.samples_acts import explained, kill, partly\n"
        "json_out.plan_json(kill()), json_out.remediation_json(partly()), json_out.guards_json(explained())\n"
        "markdown_acts.remediation_markdown(partly()), markdown_acts.guards_markdown(explained())\n"
        "print([m for m in sys.modules if m.startswith('rich')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
