"""Draws the README's picture from a real run against the lab: break it first, then
`python -m tests.make_picture > .docs/diagnose-pool.svg`."""

import asyncio
import sys

from oncall import config
from oncall.diagnosis.engine import Ask
from oncall.diagnosis.run import judged, look, planned, runbooks_of
from oncall.render.diagnosis import diagnosis
from oncall.render.picture import svg

WIDTH = 112


def main() -> None:
    name, service = config.pick(config.load(), "lab")
    plan = planned(service, runbooks_of(service, None), ["pool"])
    gathered, took = asyncio.run(look(plan, service, Ask(), lambda _backend, _state: None))
    (found,) = judged(name, service, plan, gathered, took)
    sys.stdout.write(svg(diagnosis(found, width=WIDTH, steps=False), "oncall diagnose pool", WIDTH))


if __name__ == "__main__":
    main()
