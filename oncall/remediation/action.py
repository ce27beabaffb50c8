"""What every action is: a look that names its targets, an act on exactly those, its own proof. One file each."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from oncall.model import Frozen, Next, Table
from oncall.model_acts import Check, GuardReport, Target, TargetResult
from oncall.model_service import Service

if TYPE_CHECKING:
    from oncall.clients.postgres import Opened

Tell = Callable[[str], None]
"""Progress for a person who waits: one line, which the next one replaces."""


@dataclass(frozen=True)
class Scene:
    """Whom an action is about, and through what it may look and act.

    `session` is the one connection to Postgres, shared with the diagnosis; None where Postgres is not configured.
    `address` is what follows `oncall remediate ACTION` to mean the same service: ("-s", "lab")."""

    name: str
    service: Service
    session: "Opened | None"
    deadline_s: float
    address: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    """Whose symptoms count, as it was said: ("--issue", "pool"); what is offered to do next is about the same."""


class Found(Frozen, frozen=True):
    """What the look brought. `targets` are empty where nothing was selected; `guards` are the action's own."""

    title: str
    place: tuple[tuple[str, str], ...]
    targets: tuple[Target, ...]
    guards: tuple[GuardReport, ...]
    table: Table | None = None
    does: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    undo: str | None = None
    notes: tuple[str, ...] = ()
    drops_session: bool = False
    """The act ends every connection to Postgres: ours is closed before, so that it is not in the way."""
    later: bool = False
    """It takes effect with something that comes after it: no symptom can tell whether it helped."""
    grows: bool = False
    """It makes every instance of the service take more: how many there are must be known."""
    unproven: str | None = None
    """What of the act no check can tell: then its symptoms alone prove that it helped."""
    words: tuple[str, ...] | None = None
    """Options that mean exactly these targets and no others that come meanwhile; None: those of the action do."""


class Work(Protocol):
    """One action at work, between its look and its proof."""

    @property
    def found(self) -> Found: ...

    def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        """Acts on the targets one by one, each at most once; stops after the first that fails.

        A result is given as soon as it is known: when the reader goes away (Ctrl-C) what was given has happened."""
        ...

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        """The action's own proof that it took hold, awaited until the loop's time `until` at most."""
        ...

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        """What to do next where that did not help: complete command lines."""
        ...


class Action(Protocol):
    """An action with its options. `words` are those options as they are typed, for the command that repeats it."""

    @property
    def name(self) -> str: ...

    @property
    def issues(self) -> tuple[str, ...]:
        """Whose symptoms it is meant for, where nobody says which; empty means all."""
        ...

    @property
    def words(self) -> tuple[str, ...]: ...

    def work(self, scene: Scene) -> AbstractAsyncContextManager[Work]:
        """Looks, without changing anything. Raises OncallError where what is asked makes no sense here."""
        ...
