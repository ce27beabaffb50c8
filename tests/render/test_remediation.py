"""What became of an action, on paper: the first words are right whatever happened, nothing foreign is obeyed."""

import json
from itertools import cycle, product
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from oncall.model import Next, Severity
from oncall.model_acts import Check, Helped, Outcome, Remediation, TargetResult
from oncall.render.act_words import outcome_verdict
from oncall.render.diagnosis import WIDEST
from oncall.render.json_out import remediation_json
from oncall.render.markdown_acts import remediation_markdown
from oncall.render.remediation import remediation_page
from tests.render.pages import printed
from tests.render.reports import TEXT, changed
from tests.render.samples_acts import (
    DARK,
    GRANT,
    OUTCOMES,
    POOL,
    blind,
    crashed,
    done,
    fixed,
    gone,
    hostile_outcome,
    interrupted,
    outcome,
    partly,
    refused,
    restart,
    verified,
    worse,
)
from tests.render.test_markdown import CODE, LIVE

ALL_HELPED: tuple[Helped, ...] = ("fixed", "not_fixed", "worse", "unknown", "nothing_measured")
ALL_OUTCOMES: tuple[Outcome, ...] = (
    "done", "partly", "unchanged", "failed", "unknown", "refused", "interrupted",
)  # fmt: skip


def page(r: Remediation, width: int, *, ascii_only: bool = False, height: int | None = None) -> str:
    return printed(remediation_page(r, width=width, ascii_only=ascii_only, height=height), width)


@st.composite
def remediations(draw: st.DrawFn) -> Remediation:
    """A sample with foreign text and any numbers in all of its fields."""
    sample = OUTCOMES[draw(st.sampled_from(sorted(OUTCOMES)))]()
    texts = cycle(draw(st.lists(TEXT, min_size=1, max_size=8)))
    numbers = cycle(draw(st.lists(st.floats(), min_size=1, max_size=4)))
    return changed(sample, lambda _: next(texts), lambda _: next(numbers))


# --- to the letter -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", OUTCOMES)
def test_page(name: str, width: int, golden: SnapshotAssertion) -> None:
    assert page(OUTCOMES[name](), width) == golden


def test_page_in_ascii(golden: SnapshotAssertion) -> None:
    assert page(worse(), 80, ascii_only=True) == golden


def test_page_in_colour(golden: SnapshotAssertion) -> None:
    shown = printed(remediation_page(partly(), width=80), 80, terminal=True)
    assert shown.replace("\x1b", "ESC") == golden


@pytest.mark.parametrize("name", OUTCOMES)
def test_markdown(name: str, golden: SnapshotAssertion) -> None:
    assert remediation_markdown(OUTCOMES[name]()) == golden


def test_json(golden: SnapshotAssertion) -> None:
    assert msgspec.json.format(remediation_json(partly()), indent=2).decode() + "\n" == golden


# --- the first words -----------------------------------------------------------------------------

WORDS = {
    "fixed": "DONE AND FIXED",
    "not_fixed": "DONE, NOT FIXED",
    "worse": "DONE, WORSE",
    "blind": "DONE, NOTHING MEASURED",
    "crashed": "DONE, NOT FIXED",
    "partly": "PARTLY DONE, NOT FIXED",
    "refused": "REFUSED",
    "gone": "REFUSED",
    "lost": "UNKNOWN WHETHER DONE",
    "interrupted": "INTERRUPTED",
    "unchanged": "NOTHING DONE",
}


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_first_words(name: str, width: int) -> None:
    assert page(OUTCOMES[name](), width).split("\n")[0].split("   ")[0] == WORDS[name]
    assert remediation_markdown(OUTCOMES[name]()).startswith(f"**{WORDS[name]}**")


@pytest.mark.parametrize("result", [*ALL_HELPED, None])
@pytest.mark.parametrize("asked", ALL_OUTCOMES)
def test_only_what_was_done_and_proven_is_done_and_fixed(result: Helped | None, asked: Outcome) -> None:
    held: list[tuple[bool | None, ...]] = [(), (True, True), (True, False), (True, None), (None, False)]
    for holds, state in product(held, get_args(TargetResult.__annotations__["state"])):
        _only_what_was_proven(result, asked, holds, state)


def _only_what_was_proven(
    result: Helped | None, asked: Outcome, holds: tuple[bool | None, ...], state: Any  # noqa: ANN401 - one of its words
) -> None:  # fmt: skip
    checks = tuple(Check(text="holds", holds=each) for each in holds)
    proof = verified(result, "text", POOL, checks=checks) if result else None
    other = TargetResult(id="pid 1", state=state, text="text")
    verdict = outcome_verdict(outcome(restart(), asked, "text", done(), other, verification=proof))
    proven = result == "fixed" and set(holds) <= {True}
    whole = asked == "done" and state in ("done", "gone", "changed")
    assert (verdict.words == "DONE AND FIXED") is (proven and whole)
    assert (verdict.severity is Severity.OK) is (proven and whole)
    assert verdict.words.endswith("FIXED") or "FIXED" not in verdict.words
    if "AND FIXED" in verdict.words or verdict.words.endswith("DONE, FIXED"):
        assert False not in holds
        assert None not in holds


def test_a_check_that_speaks_against_the_symptoms_is_said_at_once() -> None:
    assert "but: the unit restarted by itself 2 times in 10 s" in " ".join(
        page(crashed(), 80).split("\n\n")[0].split()
    )


def test_a_check_that_could_not_be_told_is_no_proof() -> None:
    checks = (Check(text="/health could not be asked", holds=None),)
    r = outcome(restart(), "done", "restarted", done(), verification=verified("fixed", "well", checks=checks))
    assert page(r, 80).startswith("DONE, NOT VERIFIED")
    assert "well; but: /health could not be asked" in page(r, 80)


def test_without_a_proof_it_is_not_verified() -> None:
    assert page(outcome(restart(), "done", "restarted", done()), 80).startswith("DONE, NOT VERIFIED")


def test_a_failed_act_may_have_changed_something() -> None:
    """A restart that stopped and did not start: nobody may read that nothing was done."""
    result = TargetResult(id="x.service", state="failed", text="stopped, and did not start again")
    shown = page(outcome(restart(), "failed", result.text, result), 80)
    assert shown.startswith("FAILED")
    assert "Nothing was changed" not in shown
    assert "x.service: stopped, and did not start again" in shown


# --- what stands below ---------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_refusal_says_that_nothing_was_changed_and_why(width: int) -> None:
    lines = [line.strip() for line in page(refused(), width).split("\n")]
    assert "Nothing was changed." in lines[:4]
    assert GRANT in lines
    assert "--confirm" not in page(refused(), width)
    assert "Nothing was changed." in page(gone(), width)
    assert "pid 4712" in page(gone(), width)


@pytest.mark.parametrize("state", ["done", "failed", "unknown", "unchanged"])
def test_what_was_touched_is_never_said_to_be_unchanged(state: Any) -> None:  # noqa: ANN401 - one of its words
    r = outcome(restart(), "refused", "text", TargetResult(id="x", state=state, text="text"))
    assert "Nothing was changed" not in page(r, 80)
    assert "Nothing was changed" not in remediation_markdown(r)


def test_the_next_command_stands_in_the_answer() -> None:
    top = page(worse(), 80).split("\n\n")[0].split("\n")
    assert [line[:8].strip() for line in top[:5]] == ["DONE, WO", "Act", "Verify", "Next", "Or"]
    assert "oncall diagnose pool -s bot-controller" in top[3]


def test_the_many_that_are_done_are_counted_the_others_named() -> None:
    shown = page(partly(), 80)
    assert "6 done" in shown
    assert "4700" not in shown
    assert all(f"pid {n}" in shown for n in (4711, 4712, 4713, 4714))
    two = page(interrupted(), 80)
    assert "✓ pid 4711  terminated" in two
    assert "no result for: pid 4713" in two


def test_a_symptom_that_cannot_be_read_now_says_why() -> None:
    shown = page(worse(), 80)
    assert "warning → unknown" in shown
    assert "? Errors: prometheus: no answer within 5 s" in shown
    assert "? Errors: no reason known" in page(
        outcome(restart(), "done", "x", verification=verified("unknown", "x", replace_reason())), 80
    )


def replace_reason() -> Any:  # noqa: ANN401 - a symptom
    return msgspec.structs.replace(DARK, reason=None)


def test_numbers_have_their_units() -> None:
    shown = page(fixed(), 120)
    assert "4.2 s   183 ms  1 s   4 s" in shown
    assert "critical → ok" in shown
    assert "watched for 24 s" in shown


def test_the_trace_is_named() -> None:
    for shown in (page(blind(), 120), remediation_markdown(blind())):
        assert "2026-01-01T03-12-41-pool.json" in shown
        assert "audit" in shown.lower()
    assert "Audit     17: oncall audit show 17" in page(blind(), 120)


def test_the_answer_stands_last_too_where_the_page_is_longer_than_the_screen() -> None:
    whole = page(partly(), 80).rstrip().split("\n")
    short = page(partly(), 80, height=10).rstrip().split("\n")
    answer = short[len(whole) + 1 :]
    assert answer == whole[: len(answer)]
    assert any(line.startswith("Next") for line in answer)


# --- whatever is in it ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(remediations(), st.sampled_from([20, 40, 59, 60, 80, 120, 200]), st.booleans())
def test_no_text_reaches_the_terminal_as_a_command(r: Remediation, width: int, ascii_only: bool) -> None:
    shown = page(r, width, ascii_only=ascii_only)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert shown.isascii() or not ascii_only
    lines = shown.split("\n")
    assert max(map(cell_len, lines)) <= min(width, WIDEST)
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(("asked", "width"), [("partly", 40), ("refused", 80), ("unknown", 120)])
def test_what_is_meant_badly_is_inert_and_bounded(asked: Outcome, width: int) -> None:
    r = msgspec.structs.replace(hostile_outcome(), outcome=asked)
    shown = page(r, width)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert max(map(cell_len, shown.split("\n"))) <= width
    assert "[/red]" in shown
    assert len(shown) < 100_000
    assert len(remediation_markdown(r)) < 100_000


@settings(max_examples=60, deadline=None)
@given(remediations())
def test_nothing_foreign_is_live_in_markdown(r: Remediation) -> None:
    shown = remediation_markdown(r)
    assert all(char == "\n" or char.isprintable() for char in shown)
    assert not any(sign in shown for sign in ("<!", "<@", "<#"))
    assert not LIVE.search(CODE.sub("", shown))
    assert shown.count("\n```") % 2 == 0


@settings(max_examples=60, deadline=None)
@given(remediations())
def test_any_outcome_is_strict_json_that_no_terminal_obeys(r: Remediation) -> None:
    encoded = remediation_json(r)
    document: dict[str, Any] = json.loads(encoded, parse_constant=_refuse)
    assert document["schema"] == "oncall/remediation/1"
    assert not set(encoded.decode()) & set("\x1b\x9b\x07\u202e\r\t\x7f")


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def test_json_is_an_outcome_again() -> None:
    assert msgspec.json.decode(remediation_json(partly()), type=Remediation) == partly()


def test_a_command_that_comes_next_is_never_cut() -> None:
    command = "oncall remediate kill-queries " + " ".join(f"--pid {n}" for n in range(4000, 4100))
    r = msgspec.structs.replace(worse(), next=(Next(command=command, why="the roots"),))
    joined = page(r, 60).replace(" \\\n", "")
    assert " ".join(command.split()) in " ".join(joined.split())
