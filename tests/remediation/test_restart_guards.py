"""The start limit, judged from what a look found; and time spans as systemd prints them."""

import pytest
from msgspec.structs import replace

from oncall.clients.unit_acting import Unit, span
from oncall.model import Absence, Unavailable
from oncall.model_acts import GuardState
from oncall.remediation.actions import restart_guards

PASSED, REFUSED, UNKNOWN = GuardState.PASSED, GuardState.REFUSED, GuardState.UNKNOWN
UNIT = Unit(
    name="x.service", place="this machine", node="n", login="deploy", root=False, active="active", sub="running",
    result="success", type="simple", invocation="a" * 32, restarts=0, job="", pid=7, status=0, now=10_000.0,
    entered=9_000.0, started=9_000.0, refuses_by_hand=False, file_changed=False, limit_s=10.0, burst=5,
    start_s=90.0, stop_s=90.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "counted", "state", "says"),
    [
        ({"burst": 0}, None, PASSED, "no start limit"),
        ({"limit_s": 0.0}, None, PASSED, "no start limit"),
        ({}, None, PASSED, "no start counts any more (limit 5 in 10 s)"),
        ({"started": None, "active": "inactive"}, None, PASSED, "not started"),
        ({"started": None}, 1, PASSED, "1 start counted"),
        ({"started": None}, Unavailable(kind=Absence.DENIED, reason="no"), UNKNOWN, "systemd does not tell"),
        # The clocks are cut to whole seconds: 11 s may be less than 10
        ({"started": 9_989.0}, 4, PASSED, "4 starts counted"),
        ({"started": 9_989.0}, 5, REFUSED, "5 starts counted"),
        ({"started": 9_995.0, "burst": 1}, 1, REFUSED, "limit 1"),
        (
            {"started": 9_995.0, "restarts": 4},
            Unavailable(kind=Absence.DENIED, reason="no"),
            REFUSED,
            "after 4",
        ),
        ({"started": 9_995.0}, Unavailable(kind=Absence.DENIED, reason="no"), UNKNOWN, "is not known: no"),
        ({"limit_s": None}, 1, PASSED, "limit 5 in all"),
        ({"limit_s": None}, Unavailable(kind=Absence.NO_DATA, reason="no"), UNKNOWN, "is not known"),
    ],
)
def test_the_start_limit(
    changes: dict[str, object], counted: int | Unavailable | None, state: GuardState, says: str
) -> None:
    report = restart_guards.start_limit(replace(UNIT, **changes), counted)
    assert report.state is state
    assert says in report.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1min 30s", 90), ("16min 40s", 1000), ("0", 0), ("infinity", None), ("", None), ("10s", 10),
        ("500ms", 0.5), ("1h", 3600), ("1month 2d", 2629800 + 2 * 86400), ("100us", 1e-4), ("5 apples", None),
    ],
)  # fmt: skip
def test_spans(text: str, seconds: float | None) -> None:
    assert span(text) == (None if seconds is None else pytest.approx(seconds))
