"""Parts of the sample service that need no lab: its limiter and its log."""

import json
import logging
from pathlib import Path

from oncall.lab.limiter import BURST_S, Limiter
from oncall.lab.lines import Bounded, JsonLines


def test_each_client_has_a_limit_of_its_own() -> None:
    limiter = Limiter()
    allowed = sum(not limiter.wait("greedy", 20) for _ in range(200))
    assert 20 * BURST_S <= allowed <= 20 * BURST_S + 5
    assert 0 < limiter.wait("greedy", 20) <= 0.05
    assert limiter.wait("modest", 20) == 0


def test_lines_of_one_kind_are_bounded_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    log = logging.Logger("t")
    handler = logging.FileHandler(tmp_path / "log")
    handler.setFormatter(JsonLines())
    bounded = Bounded(most=3)
    handler.addFilter(bounded)
    log.addHandler(handler)
    for number in range(1000):
        log.error("failed: %s", f"no\n{number}")
    bounded._second = -1
    try:
        int("x")
    except ValueError:
        log.exception("unhandled")
    log.error("failed: %s", "last", extra={"fields": {"status": 500}})
    handler.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(lines) < 20
    assert lines[0]["msg"] == "failed: no 0"
    assert "ValueError: invalid literal" in lines[-2]["traceback"]
    assert lines[-1]["status"] == 500
    assert lines[-1]["not_logged"] >= 980
