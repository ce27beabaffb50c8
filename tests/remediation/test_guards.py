"""The list of guards, and what overriding may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from oncall.diagnosis.plan import Plan
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.report import AGAIN
from oncall.errors import UsageFault
from oncall.model import Diagnosis
from oncall.model_acts import BARS, GuardReport, GuardState
from oncall.remediation.guards import ACTIONS, BY_NAME, GUARDS, check_overrides, overridden, refused
from oncall.remediation.planning import why_act
from oncall.remediation.wanted import Before
from tests.render.samples import healthy, leak

# Those of the issue that brought them; a new one is added here and to the README.
NAMES = {
    "identity", "own-backend", "replication", "superuser", "autovacuum", "pooler", "index-build", "max-targets",
    "empty-selection", "protected-keys", "queue-in-cache", "replica", "cluster", "cooldown", "start-limit",
    "dependents", "already-healthy", "connections-budget", "concurrent-operator", "freeze", "audit-writable",
    "rights",
}  # fmt: skip
NEVER = {
    "identity", "own-backend", "replication", "superuser", "autovacuum", "pooler", "empty-selection",
    "protected-keys", "queue-in-cache", "replica", "cluster", "audit-writable", "rights", "start-limit",
}  # fmt: skip


def test_every_guard_is_explained_once() -> None:
    assert [g.name for g in GUARDS] == list(BY_NAME)
    assert set(BY_NAME) == NAMES
    assert all(g.protects and g.how and set(g.actions) <= set(ACTIONS) for g in GUARDS)


def test_those_that_keep_the_wrong_target_safe_never_yield() -> None:
    assert not any(BY_NAME[name].overridable for name in NEVER)


@pytest.mark.parametrize(
    ("names", "reason", "said"),
    [
        (("identity",), "I know", "never overridden"),
        (("no-such",), "I know", "no guard of restart"),
        (("index-build",), "I know", "no guard of restart"),
        (("cooldown",), None, "needs --reason"),
        (("cooldown",), "  ", "needs --reason"),
        ((), "I know", "--reason is about --override"),
    ],
)
def test_an_override_that_is_none(names: tuple[str, ...], reason: str | None, said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        check_overrides(names, reason, "restart")


def test_one_with_a_reason() -> None:
    check_overrides(("cooldown", "freeze"), "the fix is deployed", "restart")


REPORTS = st.lists(
    st.builds(
        GuardReport,
        name=st.sampled_from(sorted(NAMES)),
        state=st.sampled_from(list(GuardState)),
        text=st.just("found"),
    ).map(lambda g: refused(g.name, g.text) if g.state in BARS else g)
)


@given(REPORTS, st.sets(st.sampled_from(sorted(NAMES))))
def test_only_what_is_named_and_may_yield_yields(reports: list[GuardReport], names: set[str]) -> None:
    for before, after in zip(reports, overridden(reports, names), strict=True):
        if after.state is not before.state:
            assert after.state is GuardState.OVERRIDDEN
            assert before.state in BARS
            assert after.name in names - NEVER


# --- already healthy ---------------------------------------------------------------------------


def seen(*found: Diagnosis) -> Before:
    asking = Plan(runbooks=(), specs={}, context={}, signals={}, questions={}, patterns={})
    gathered = Gathered(at=0, window_s=60, baseline_s=3600, signals={}, live={}, answers={})
    return Before(("pool",), asking, gathered, 1, list(found))


def test_why_act_where_nothing_is_wrong() -> None:
    report = why_act(seen(healthy()), ["-s", "bot"])
    assert (report.state, report.text) == (GuardState.REFUSED, "nothing is wrong with pool: why act?")
    assert report.hint == "look first: oncall diagnose -s bot; or --override already-healthy --reason TEXT"
    assert why_act(seen(leak()), []).state is GuardState.PASSED


def test_what_is_well_again_since_a_moment_is_told() -> None:
    """A command that a diagnosis printed seconds ago is refused where the trouble is just over: with the reason."""
    lately = "well now: pool in use 10 of 20; pool in use was beyond 10 in 40% of the last 5 min"
    found = healthy()
    found = replace(found, summary=replace(found.summary, cause=lately, look=AGAIN))
    report = why_act(seen(found), [])
    assert (report.state, report.text) == (GuardState.REFUSED, f"{lately}. Why act now?")
