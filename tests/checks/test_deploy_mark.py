"""The mark of a deploy from start times: which of them belong together, and what came after."""

from collections.abc import Sequence

import pytest

from oncall.checks.deploy_mark import Mark, Past, Start, mark_of, starts_of
from oncall.clients.prometheus import Series
from oncall.model import Unavailable

NOW = 1_750_000_000.0
DAY_S = 86_400.0


def known(*starts: tuple[str, float], running: Sequence[str] = ("a",), begins: float = 8 * DAY_S) -> Past:
    """Starts by instance and seconds ago; each was first seen ten seconds later."""
    found = [Start(instance=name, at=NOW - ago, seen=NOW - ago + 10) for name, ago in starts]
    found.sort(key=lambda s: s.at)
    return Past(starts=tuple(found), running=tuple(running), begins=NOW - begins)


def mark(past: Past, since: float | None = None) -> Mark:
    found = mark_of(past, None if since is None else NOW - since, NOW)
    assert isinstance(found, Mark)
    return found


def ago(time: float) -> float:
    return NOW - time


def test_the_last_restart() -> None:
    found = mark(known(("a", 9000), ("a", 600)))
    assert (ago(found.first), ago(found.settled), ago(found.begin)) == (600, 600, 590)
    assert (found.restarts, found.crash_loop, found.given) == (0, 0, False)
    assert found.earlier is not None
    assert ago(found.earlier) == 9000


def test_a_rolling_deploy_begins_at_the_first_and_is_settled_at_the_last() -> None:
    found = mark(known(("a", 1500), ("b", 900), ("c", 600), running="abc"))
    assert (ago(found.first), ago(found.settled)) == (1500, 600)
    assert (found.untouched, found.restarts) == ((), 0)


def test_a_canary() -> None:
    assert mark(known(("a", 600), running="abc")).untouched == ("b", "c")


def test_a_crash_loop_begins_where_it_began() -> None:
    found = mark(known(*(("a", t) for t in range(1200, 0, -300))))
    assert (ago(found.first), ago(found.settled)) == (1200, 1200)
    assert (found.restarts, found.crash_loop) == (3, 3)


def test_restarts_far_apart_are_no_crash_loop() -> None:
    found = mark(known(("a", 30_000), ("a", 20_000), ("a", 10_000)), since=30_000)
    assert (found.restarts, found.crash_loop) == (2, 0)


def test_a_moment_that_was_told() -> None:
    past = known(("a", 2000), ("b", 1900), ("a", 100), running="ab")
    found = mark(past, since=1990)
    assert (ago(found.first), ago(found.settled), found.given) == (1990, 1900, True)
    assert found.starts == {"a": (NOW - 2000, NOW - 100), "b": (NOW - 1900,)}
    assert mark(known(), since=500).starts == {}


def test_nothing_restarted() -> None:
    found = mark_of(known(), None, NOW)
    assert isinstance(found, Unavailable)
    assert "no restart in the 8 days" in found.reason
    assert "--since" in (found.hint or "")
    nothing = mark_of(Past(), None, NOW)
    assert isinstance(nothing, Unavailable)
    assert "no start time" in nothing.reason


# --- from series -------------------------------------------------------------------------------------


def series(name: str, *points: tuple[float, float]) -> Series:
    """Points by seconds ago: when it was seen, and the start that it told."""
    return Series(
        labels={"instance": name},
        times=tuple(NOW - seen for seen, _ in points),
        values=tuple(NOW - start for _, start in points),
    )


@pytest.mark.parametrize(
    ("points", "starts"),
    [
        ([(900, 9999), (600, 9999), (300, 9999)], []),
        ([(900, 9999), (600, 700), (300, 700)], [700]),
        ([(900, 9999), (600, 9998.5), (300, 9999.2)], []),
        ([(900, 9999), (600, 700), (300, 400)], [700, 400]),
    ],
)
def test_starts_are_changes(points: list[tuple[float, float]], starts: list[float]) -> None:
    found = starts_of([series("a", *points)], NOW - 1000, NOW)
    assert [NOW - s.at for s in found.starts] == starts


def test_a_new_instance_began_but_one_from_before_the_history_did_not() -> None:
    found = starts_of(
        [series("old", (900, 5000), (100, 5000)), series("new", (300, 350), (100, 350))], NOW - 1000, NOW
    )
    assert [s.instance for s in found.starts] == ["new"]
    assert found.running == ("new", "old")
    assert found.before == NOW - 5000


def test_a_process_older_than_a_young_history_is_a_mark_of_which_little_is_known() -> None:
    found = mark(starts_of([series("a", (300, 2400), (0, 2400))], NOW - 9 * DAY_S, NOW))
    assert (ago(found.first), found.starts) == (2400, {})
