"""What is broken in which run: drawn by a seed, every cause as often as the others."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from oncall.lab.faults import KINDS
from oncall.lab.healthy import SCENES

# A stopped server cannot be broken in another way, and hides what else is wrong with it.
APART = {
    "errors.database_unavailable": {c for c in KINDS if c.startswith("pool.") or "lock" in c or "quer" in c},
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


def _clash(one: str, other: str) -> bool:
    return one == other or other in APART.get(one, ()) or one in APART.get(other, ())


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
        one, other = dice.sample(causes, 2)
        while _clash(one, other):
            one, other = dice.sample(causes, 2)
        both = (_break(dice, one), _break(dice, other))
        yield Case(dice.randrange(10**6), both, lasts_s=dice.uniform(10, 25))
    scenes = [None, *SCENES]
    for at in range(healthy):
        yield Case(dice.randrange(10**6), scene=scenes[at % len(scenes)], lasts_s=dice.uniform(10, 40))
