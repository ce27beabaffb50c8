"""What ties the flow together: the plan's id, what results add up to, whose symptoms count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.model_acts import Target, TargetResult
from oncall.remediation.actions.restart import Restart
from oncall.remediation.flow import outcome_of, summary
from oncall.remediation.planning import command, identify
from oncall.remediation.wanted import Wanted

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8))
TARGETS = st.lists(
    st.builds(
        Target, id=st.text(max_size=8), identity=st.dictionaries(st.text(max_size=4), SCALARS, max_size=3)
    ),
    max_size=3,
)


@given(TARGETS, TARGETS)
def test_other_targets_are_another_plan(one: list[Target], other: list[Target]) -> None:
    same = identify("restart", "bot", "production", one) == identify("restart", "bot", "production", other)
    assert same == (one == other or _equal(one, other))


def _equal(one: list[Target], other: list[Target]) -> bool:
    """As JSON has it: 1 and True are not the same there, though Python calls them equal."""
    import msgspec

    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")


@given(TARGETS)
def test_another_service_environment_or_action_is_another_plan(targets: list[Target]) -> None:
    usual = identify("restart", "bot", "production", targets)
    assert identify("restart-database", "bot", "production", targets) != usual
    assert identify("restart", "other", "production", targets) != usual
    assert identify("restart", "bot", "staging", targets) != usual


def results(*states: str) -> list[TargetResult]:
    made: list[Any] = [{"id": f"pid {at}", "state": state, "text": state} for at, state in enumerate(states)]
    return [TargetResult(**one) for one in made]


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        (("done", "done"), "done"),
        (("done", "failed"), "partly"),
        (("done", "gone", "changed"), "done"),
        (("done", "unchanged"), "partly"),
        (("gone", "changed"), "refused"),
        ((), "refused"),
        (("unchanged",), "unchanged"),
        (("failed",), "failed"),
        (("done", "unknown"), "unknown"),
        (("unknown",), "unknown"),
    ],
)
def test_what_results_add_up_to(states: tuple[str, ...], outcome: str) -> None:
    assert outcome_of(results(*states)) == outcome


def test_the_printed_command_says_all_that_the_plan_rests_on() -> None:
    wanted = Wanted(Restart(), address=("-s", "bot"), issue="pool", wait_s=0.0, timeout_s=60.0)
    usual = command(Wanted(Restart()), (), "0123456789")
    assert usual == "oncall remediate restart --plan 0123456789 --confirm"
    assert command(wanted, (), "0123456789") == (
        "oncall remediate restart -s bot --issue pool --wait 0s --timeout 1m --plan 0123456789 --confirm"
    )


def test_in_one_sentence() -> None:
    assert summary("done", results("done")) == "done"
    assert summary("partly", results("done", "failed")) == "partly; 1 of 2 done"
    assert "nothing was touched" in summary("refused", results("gone", "changed"))
    assert summary("interrupted", []) == "interrupted before anything was done"
