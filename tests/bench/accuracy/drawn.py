"""What is broken in which run: drawn by a seed, every cause as often as the others."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from oncall.lab.faults import KINDS
from oncall.lab.healthy import SCENES
from oncall.lab.place import Fault
from oncall.lab.together import apart

# A stopped server hides what else is wrong with it: both would be true, and only one can be seen.
HIDES = {
    "errors.database_unavailable": {c for c in KINDS if c.startswith(("pool.", "latency."))},
    "errors.cache_unavailable": {"memory.cache_growth", "memory.queue_backlog"},
    "errors.ollama_down": {"latency.ollama_slow"},
}


@dataclass(frozen=True)
class Break:
    cause: str
    variant: str
    intensity: float

    @property
    def issue(self) -> str:
        return self.cause.partition(".")[0]


@dataclass(frozen=True)
class Case:
    """One run: what is broken (nothing, one or two things) or which healthy scene is played, and for how long."""

    seed: int
    breaks: tuple[Break, ...] = ()
    scene: str | None = None
    lasts_s: float = 10.0

    @property
    def name(self) -> str:
        if not self.breaks:
            return f"healthy:{self.scene or 'usual'}"
        return " + ".join(f"{b.cause}/{b.variant} x{b.intensity:.2f}" for b in self.breaks)


def _break(dice: random.Random, cause: str) -> Break:
    variant = dice.choice(list(KINDS[cause].variants))
    return Break(cause, variant, round(dice.uniform(0.7, 1.5), 2))


def _clash(one: Break, other: Break) -> bool:
    first, second = one.cause, other.cause
    hidden = second in HIDES.get(first, ()) or first in HIDES.get(second, ())
    return hidden or apart(_fault(one), _fault(other))


def _fault(broken: Break) -> Fault:
    return Fault(cause=broken.cause, variant=broken.variant, intensity=broken.intensity, seed=0, since=0.0)


def cases(seed: int, *, singles: int, pairs: int, healthy: int, only: str = "") -> Iterator[Case]:
    """The runs of a seed. Causes come round by round, each round shuffled; `only` keeps those that begin so."""
    dice = random.Random(seed)
    causes = [c for c in KINDS if c.startswith(only)]
    for at in range(singles):
        if at % len(causes) == 0:
            dice.shuffle(causes)
        broken = _break(dice, causes[at % len(causes)])
        yield Case(dice.randrange(10**6), (broken,), lasts_s=dice.uniform(5, 30))
    for _ in range(pairs):
        one, other = (_break(dice, c) for c in dice.sample(causes, 2))
        while _clash(one, other):
            one, other = (_break(dice, c) for c in dice.sample(causes, 2))
        yield Case(dice.randrange(10**6), (one, other), lasts_s=dice.uniform(10, 25))
    scenes = [None, *SCENES]
    for at in range(healthy):
        yield Case(dice.randrange(10**6), scene=scenes[at % len(scenes)], lasts_s=dice.uniform(10, 40))
