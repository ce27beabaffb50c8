"""Draws the README's pictures from real runs against the lab: break it first, then
`python -m tests.make_picture > .docs/diagnose-pool.svg`, and what Next says, with `--output json`, into
`python -m tests.make_picture remediate > .docs/remediate.svg`."""

import asyncio
import sys

import msgspec

from oncall import config
from oncall.diagnosis.engine import Ask
from oncall.diagnosis.run import judged, look, planned
from oncall.model_acts import Remediation
from oncall.render.diagnosis import diagnosis
from oncall.render.picture import svg
from oncall.render.remediation import remediation_page
from oncall.runbook.loader import runbooks_of

WIDTH = 112


def diagnosed() -> str:
    name, service = config.pick(config.load(), "lab")
    plan = planned(service, runbooks_of(service, None), ["pool"])
    gathered, took = asyncio.run(look(plan, service, Ask(), lambda _backend, _state: None))
    (found,) = judged(name, service, plan, gathered, took, ("-s", "lab"))
    return svg(diagnosis(found, width=WIDTH, steps=False), "oncall diagnose pool", WIDTH)


def remediated(said: bytes) -> str:
    done = msgspec.json.decode(said, type=Remediation)
    return svg(remediation_page(done, width=WIDTH), f"oncall remediate {done.plan.action} --confirm", WIDTH)


if __name__ == "__main__":
    drawn = remediated(sys.stdin.buffer.read()) if sys.argv[1:] == ["remediate"] else diagnosed()
    sys.stdout.write(drawn)
