"""The form of a signal that is in force, and its bounds."""

import pytest

from oncall.diagnosis.bounds import bounds, in_force, spec_of
from oncall.errors import ConfigError
from oncall.model import Severity
from oncall.model_service import Limits, Service, SignalSpec, Threshold

LATENCY = SignalSpec(title="P95", unit="seconds", quantile=0.95, of="x", warning=1, critical=4)
FREE = SignalSpec(title="Free", unit="bytes", gauge="free", warning=20, below=True)
POOL = SignalSpec(
    unit="connections", gauge="active", warning=0.5, critical=0.8, share_of="first(size, limits.pool)"
)


def test_the_service_files_form_keeps_our_words_and_our_direction() -> None:
    own = in_force(FREE, SignalSpec(gauge="node_free"))
    assert (own.gauge, own.title, own.unit, own.warning, own.below) == (
        "node_free",
        "Free",
        "bytes",
        20,
        True,
    )


def test_another_unit_needs_bounds_in_it() -> None:
    with pytest.raises(ConfigError, match="in ms, and the bounds of the runbooks are in seconds"):
        in_force(LATENCY, SignalSpec(gauge="p95_ms", unit="ms"))
    own = SignalSpec(gauge="p95_ms", unit="ms", warning=1000, critical=4000)
    assert in_force(LATENCY, own).warning == 1000
    # Where the bound stands in the runbook whatever the service says, another unit cannot be right.
    with pytest.raises(ConfigError):
        in_force(LATENCY, own, ours=True)
    # Without bounds there is nothing to compare with.
    assert in_force(SignalSpec(gauge="a", unit="seconds"), SignalSpec(gauge="b", unit="ms")).unit == "ms"


def test_bounds_that_are_shares() -> None:
    service = Service(limits=Limits(pool=20))
    assert bounds("pool", POOL, service, {"size": 40.0}).critical == 32
    found = bounds("pool", POOL, service, {})
    assert (found.warning, found.critical, found.whole) == (10, 16, 20)
    assert (found.severity(16), found.severity(17)) == (Severity.WARNING, Severity.CRITICAL)
    unknown = bounds("pool", POOL, Service(), {})
    assert unknown.severity(17) is Severity.UNKNOWN
    assert "limits.pool" in (unknown.missing or "")
    own = bounds("pool", POOL, Service(thresholds={"pool": Threshold(critical=5)}), {})
    assert own.severity(6) is Severity.CRITICAL
    assert own.severity(None) is Severity.UNKNOWN


def test_a_signal_under_another_name_has_its_bounds_wherever_they_are_set() -> None:
    signals = {
        "free": FREE,
        "pool": POOL,
        "room": SignalSpec(title="Room", value="free"),
        "in_use": SignalSpec(value="pool"),
        "strict": SignalSpec(value="free", unit="bytes", warning=50, below=True),
        "half": SignalSpec(value="free / 2"),
    }
    room = spec_of("room", signals, Service())
    assert (room.title, room.value, room.unit, room.warning, room.below) == (
        "Room",
        "free",
        "bytes",
        20,
        True,
    )
    assert spec_of("in_use", signals, Service()).share_of == POOL.share_of
    own = Service(thresholds={"free": Threshold(critical=5)})
    assert (spec_of("room", signals, own).warning, spec_of("room", signals, own).critical) == (None, 5)
    form = Service(signals={"free": SignalSpec(gauge="free_mb", unit="MB", warning=2)})
    assert (spec_of("room", signals, form).unit, spec_of("room", signals, form).warning) == ("MB", 2)
    # Bounds of its own, or a formula that is more than a name, mean something else
    assert spec_of("strict", signals, own) == signals["strict"]
    assert spec_of("half", signals, own) == signals["half"]
    # What is said of the name itself comes first
    both = Service(thresholds={"free": Threshold(critical=5), "room": Threshold(warning=9)})
    assert bounds("room", spec_of("room", signals, both), both, {}).warning == 9
