"""The verdict of a deployment watch: what must hold for whatever was read, and each way to judge a rule."""

from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oncall.checks.deploy_judge import RANK, Reading, judge, judged
from oncall.checks.deploy_rules import MustNot, Rule
from oncall.model_deploy import Decision

KEEP, WATCH, UNKNOWN, ROLL_BACK = RANK
NUMBER = st.floats(0, 0.015625, width=32) | st.floats(0, 1, width=32)
"""Half of them near the target, on both sides of it."""
SOME = st.none() | NUMBER


def rule(name: str = "error_rate", **changed: Any) -> Rule:  # noqa: ANN401 - any field
    plain = Rule(
        id=name, title="Error rate", why="", weight="rolls back", unit="ratio", signal="x", below=0.005
    )
    return msgspec.structs.replace(plain, **changed)


def reading(**changed: Any) -> Reading:  # noqa: ANN401 - any field
    """One in a thousand before and after, by enough samples."""
    plain = Reading(
        after=0.001,
        recent=0.001,
        before=0.001,
        bound=0.005,
        spread=0.0005,
        samples_before=240,
        samples_after=160,
        events=100.0,
    )
    return msgspec.structs.replace(plain, **changed)


BAD = {"after": 0.08, "recent": 0.09}
KINDS = st.sampled_from(
    [
        rule(),
        rule(weight="watches"),
        rule(optional=True),
        rule(below=None, must_not="rise"),
        rule(below=None, must_not="leak"),
        rule(probe="logs", signal=None, below=1),
    ]
)
READINGS = st.builds(
    Reading,
    after=SOME,
    recent=SOME,
    before=SOME,
    day_ago=SOME,
    week_ago=SOME,
    bound=st.just(0.005) | st.none(),
    spread=st.floats(0, 0.1),
    samples_before=st.integers(0, 300),
    samples_after=st.integers(0, 300),
    events=st.none() | st.floats(0, 100),
    leaking=st.none() | st.booleans(),
    leaked=st.none() | st.booleans(),
    gap=st.none() | st.just("half of it is not known"),
)
SEVERAL = st.lists(st.tuples(KINDS, READINGS), min_size=1, max_size=5)


def together(pairs: list[tuple[Rule, Reading]]) -> tuple[dict[str, Reading], list[Rule]]:
    rules = [msgspec.structs.replace(r, id=f"r{i}") for i, (r, _) in enumerate(pairs)]
    return {r.id: pair[1] for r, pair in zip(rules, pairs, strict=True)}, rules


# --- whatever was read -------------------------------------------------------------------------------


@given(SEVERAL, st.floats(0, 1), st.floats(0, 1), st.floats(0, 50))
def test_more_errors_never_improve_the_verdict(
    pairs: list[tuple[Rule, Reading]], more: float, now: float, events: float
) -> None:
    readings, rules = together(pairs)
    worse = with_more(readings["r0"], more, now, events)
    before, after = judge(readings, rules), judge({**readings, "r0": worse}, rules)
    assert RANK.index(after.verdict) >= RANK.index(before.verdict)


@settings(max_examples=300)
@given(KINDS, READINGS, NUMBER, NUMBER, st.floats(0, 50))
def test_more_errors_never_improve_the_line(
    kind: Rule, found: Reading, more: float, now: float, events: float
) -> None:
    before, after = judged(kind, found), judged(kind, with_more(found, more, now, events))
    assert RANK.index(after.decision) >= RANK.index(before.decision)


def with_more(found: Reading, more: float, now: float, events: float) -> Reading:
    assume(found.after is not None)
    assert found.after is not None
    return msgspec.structs.replace(
        found,
        after=found.after + more,
        recent=None if found.recent is None else found.recent + now,
        events=None if found.events is None else found.events + events,
    )


@given(SEVERAL)
def test_unknown_never_keeps(pairs: list[tuple[Rule, Reading]]) -> None:
    readings, rules = together(pairs)
    found = judge(readings, rules)
    counted = [line for line in found.lines.values() if line.counts]
    if any(line.decision is UNKNOWN for line in counted) or not counted:
        assert found.verdict in (UNKNOWN, ROLL_BACK)
    if found.verdict is KEEP:
        assert all(line.decision is KEEP for line in counted)


@given(SEVERAL, st.randoms())
def test_the_order_of_the_rules_does_not_matter(pairs: list[tuple[Rule, Reading]], random: Any) -> None:  # noqa: ANN401
    readings, rules = together(pairs)
    shuffled = list(rules)
    random.shuffle(shuffled)
    assert judge(readings, shuffled).verdict is judge(readings, rules).verdict


@given(READINGS, KINDS)
def test_a_rule_that_watches_never_rolls_back(found: Reading, kind: Rule) -> None:
    assert judged(msgspec.structs.replace(kind, weight="watches"), found).decision is not ROLL_BACK


@given(READINGS, KINDS)
def test_a_reading_that_was_not_had_is_unknown(found: Reading, kind: Rule) -> None:
    unread = msgspec.structs.replace(found, after=None)
    assert judged(kind, unread).decision is UNKNOWN
    assert judge({}, [kind]).verdict is UNKNOWN


# --- one rule ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "decision", "says"),
    [
        ({}, KEEP, "meets the target"),
        (BAD, ROLL_BACK, "8% misses the target, and before the deploy it met it (0.1%)"),
        ({**BAD, "before": 0.08}, WATCH, "as it did before the deploy (8%): the deploy is not to blame"),
        ({**BAD, "before": 0.006}, ROLL_BACK, "as it did before the deploy (0.6%), but by far less"),
        ({**BAD, "day_ago": 0.07}, WATCH, "as it did at this time yesterday (7%)"),
        ({**BAD, "week_ago": 0.07}, WATCH, "as it did at this time last week (7%)"),
        ({**BAD, "recent": 0.001}, WATCH, "the target is met now"),
        ({"recent": 0.5}, WATCH, "missed now: 50%"),
        ({**BAD, "events": 2.0}, WATCH, "over 2 failures only"),
        ({**BAD, "samples_after": 3}, WATCH, "over 3 samples only"),
        ({**BAD, "samples_before": 12}, WATCH, "over 12 samples only"),
        ({"samples_after": 3}, WATCH, "meets the target so far, over 3 samples only"),
        ({**BAD, "before": None}, UNKNOWN, "not known what it was before"),
        ({**BAD, "before": None, "day_ago": 0.001}, UNKNOWN, "not known what it was before"),
        ({"after": 0.006, "recent": 0.006, "before": 0.0045}, ROLL_BACK, "met it (0.45%)"),
        ({"after": 0.0052, "recent": 0.006, "before": 0.0048}, WATCH, "hardly less"),
        ({"recent": None, "after": 0.08}, ROLL_BACK, "8% misses"),
        ({"gap": "the history begins 9 min after the deploy"}, UNKNOWN, "the history begins 9 min after"),
        ({**BAD, "gap": "only 9 min are known"}, ROLL_BACK, "8% misses"),
        ({"bound": None, "reason": "pool_size is not known"}, UNKNOWN, "pool_size is not known"),
    ],
)
def test_a_target(changed: dict[str, Any], decision: Decision, says: str) -> None:
    found = judged(rule(), reading(**changed))
    assert found.decision is decision
    assert says in found.text


def test_less_is_worse_where_it_should_be_whole() -> None:
    uptime = rule(below=None, at_least=1.0)
    whole = {"bound": 1.0, "before": 1.0, "spread": 0.005, "events": None}
    assert judged(uptime, reading(after=1.0, recent=1.0, **whole)).decision is KEEP
    assert judged(uptime, reading(after=0.9, recent=0.9, **whole)).decision is ROLL_BACK
    assert judged(uptime, reading(after=0.999, recent=0.999, **whole)).decision is WATCH


@pytest.mark.parametrize(
    ("must_not", "changed", "decision", "says"),
    [
        (
            "rise",
            {"after": 0.3, "recent": 0.3, "before": 0.1},
            ROLL_BACK,
            "higher than before the deploy: ×3",
        ),
        ("rise", {"after": 0.3, "recent": 0.1, "before": 0.1}, WATCH, "but not now"),
        ("rise", {"after": 0.1, "recent": 0.3, "before": 0.1}, KEEP, "as before"),
        ("rise", {"after": 0.01, "recent": 0.01, "before": 0.1}, KEEP, "as before"),
        ("fall", {"after": 0.01, "recent": 0.01, "before": 0.1}, ROLL_BACK, "lower than before"),
        ("move", {"after": 0.01, "recent": 0.01, "before": 0.1}, ROLL_BACK, "lower than before"),
        ("rise", {"after": 0.3, "recent": 0.3, "day_ago": 0.3}, KEEP, "as at this time on other days"),
        ("move", {"after": 0.3, "recent": 0.3, "week_ago": 0.29}, KEEP, "as at this time on other days"),
        ("rise", {"after": 0.3, "recent": 0.3, "day_ago": 0.1}, ROLL_BACK, "and than on other days"),
        ("rise", {"after": 0.3, "recent": 0.3, "samples_before": 9}, WATCH, "higher"),
        ("rise", {"before": None}, UNKNOWN, "nothing is known of the time before"),
        ("rise", {"samples_after": 2}, WATCH, "over 2 samples only"),
    ],
)
def test_against_what_was_usual(
    must_not: MustNot,
    changed: dict[str, Any],
    decision: Decision,
    says: str,
) -> None:
    found = judged(rule(below=None, must_not=must_not), reading(**changed))
    assert found.decision is decision
    assert says in found.text


@pytest.mark.parametrize(
    ("leaking", "leaked", "decision"),
    [
        (True, False, ROLL_BACK),
        (True, True, WATCH),
        (True, None, UNKNOWN),
        (False, True, KEEP),
        (None, False, WATCH),
    ],
)
def test_growth_without_end(leaking: bool | None, leaked: bool | None, decision: Decision) -> None:
    memory = rule(below=None, must_not="leak", unit="bytes")
    assert judged(memory, reading(leaking=leaking, leaked=leaked)).decision is decision


def test_what_is_counted() -> None:
    loop = rule(probe="crash_loop", signal=None, below=2)
    assert judged(loop, Reading(after=1.0, bound=2)).decision is KEEP
    assert judged(loop, Reading(after=2.0, bound=2, text="it began 3 times")).decision is ROLL_BACK
    before = judged(loop, Reading(after=5.0, before=4.0, bound=2))
    assert (before.decision, "not to blame" in before.text) == (WATCH, True)


def test_what_need_not_be_read_does_not_count() -> None:
    logs = rule("logs", probe="logs", signal=None, below=1, optional=True)
    found = judge({"error_rate": reading(), "logs": Reading(reason="not configured")}, [rule(), logs])
    assert found.verdict is KEEP
    assert (found.lines["logs"].decision, found.lines["logs"].counts) == (UNKNOWN, False)
