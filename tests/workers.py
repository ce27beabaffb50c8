"""Which tests stay together when several workers share them: what is dear to start is started once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_SH, flock

import pytest
from xdist.scheduler import LoadScopeScheduling

CLOSERS: pytest.StashKey[list[tuple[str, Callable[[], None]]]] = pytest.StashKey()
KEPT = "oncall/groups"
"""Where the workers leave for the scheduler which test is in which group; all of them write the same."""
FIRST = ("lab-15", "lab-18", "lab-healthy", "own-", "tests/diagnosis/", "bright", "tests/cli/", "postgres-")
"""Beginnings of groups that take long: handed out first, so that nobody is alone with one at the end."""


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: puts the tests in the order of their groups, and says which those are."""
    items.sort(key=lambda item: _turn(group(item)))
    assert config.cache is not None
    config.cache.set(KEPT, {item.nodeid: _hand(group(item)) for item in items})


def _hand(name: str) -> str:
    """What one worker gets as a whole. The labs that are broken go one after the other: such a one keeps every core
    busy, as it does in life, and what is diagnosed in another at that moment would be this machine's trouble."""
    return "labs" if name.startswith("lab-1") else name


@contextmanager
def cores(item: pytest.Item) -> Iterator[None]:
    """While a test `burns`, no other worker looks at the healthy lab, which would not be healthy then."""
    burns, looks = item.get_closest_marker("burns"), group(item) == "lab-healthy"
    if not hasattr(item.config, "workerinput") or not (burns or looks):
        yield
        return
    assert item.config.cache is not None
    with (item.config.cache.mkdir("oncall") / "cores.lock").open("w") as lock:
        flock(lock, LOCK_EX if burns else LOCK_SH)
        yield


def group(item: pytest.Item) -> str:
    """The labs of either version, the healthy lab, a Postgres that several files use; else the file.

    A test that starts a lab for itself goes alone."""
    wanted: Sequence[str] = getattr(item, "fixturenames", ())
    params: Mapping[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    if "labs" in wanted:
        # Beside a lab of its own, a test looks at the usual version.
        return f"lab-{params.get('lab', params.get('version', 15 if 'own' in wanted else 18))}"
    if "own" in wanted:
        return f"own-{item.nodeid}"
    if "well" in wanted:
        return "bright"
    if "healthy_lab" in wanted:
        return "lab-healthy"
    if "week" in wanted:
        return "week"
    if "server" in wanted:
        return f"postgres-{params.get('server')}"
    return item.nodeid.partition("::")[0]


def at_end(config: pytest.Config, begins: str, close: Callable[[], None]) -> None:
    """In a worker: what is to be closed as soon as the last test of such a group is over, not at the session's end.

    A lab that nobody looks at any more takes a quarter of a core from those that still run."""
    config.stash.setdefault(CLOSERS, []).append((begins, close))


def close_after(item: pytest.Item, following: pytest.Item) -> None:
    """Closes what the group that just ended had opened."""
    ended = group(item)
    if hasattr(item.config, "workerinput") and group(following) != ended:
        for begins, close in item.config.stash.get(CLOSERS, []):
            if ended.startswith(begins):
                close()


def _turn(name: str) -> int:
    return next((turn for turn, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out whole groups, in the order of the tests.

    Not xdist's own `loadgroup`: it writes the group into pytest's ids, which pytest 9.2 no longer reads."""

    groups: Mapping[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self.groups is None:
            assert self.config.cache is not None
            self.groups = self.config.cache.get(KEPT, {})
        assert self.groups is not None
        return self.groups[nodeid]

    def schedule(self) -> None:
        # In the order of the tests, not by their number.
        self.config.option.loadscopereorder = False
        super().schedule()
