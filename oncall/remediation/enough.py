"""Whether enough has happened since the act to believe a symptom that is counted in events. Pure.

Where one request of ten fails, two seconds of five requests without a failure are chance once in three times."""

import re

from msgspec.structs import replace

from oncall.model import Absence, SignalReading, Unavailable
from oncall.model_service import SignalSpec
from oncall.promql import matcher, parse_selector

BAD_EVENTS = 5.0
"""So many bad events would have come by now, were all as before: that none comes by chance is e^-5, once in 150 times
(Poisson)."""


def events_of(spec: SignalSpec) -> SignalSpec | None:
    """What a signal is counted in, as a rate; None for a gauge and what else tells of a moment."""
    if spec.ratio is not None:
        return SignalSpec(rate=spec.ratio.whole)
    if name := spec.of or spec.mean:
        found = parse_selector(name)
        base = re.sub(r"_(bucket|sum|count)$", "", found.metric)
        every = (f"{base}_bucket", matcher("le", "=", "+Inf")) if spec.of else (f"{base}_count",)
        return SignalSpec(rate=str(found.named(*every)))
    return SignalSpec(rate=spec.rate) if spec.rate is not None else None


def expected(spec: SignalSpec, before: float, events: float, over_s: float) -> float:
    """How many bad events would have come among `events`, or over so many seconds, were all as `before`.

    Of a quantile beyond its bound it is known that so large a share is; of a mean nothing but that it is theirs."""
    if spec.rate is not None:
        return BAD_EVENTS if spec.below else before * over_s
    share = before if spec.ratio is not None else 1.0 if spec.quantile is None else 1 - spec.quantile
    bad = 1 - share if spec.below and spec.mean is None else share
    return bad * events


def too_few(reading: SignalReading, bad: float) -> SignalReading:
    """The reading as not known yet."""
    so_far = f"as before, {bad:.1f} bad events would have come by now, and it takes {BAD_EVENTS:g}"
    reason = f"too early to tell: {so_far}; a longer --wait would"
    return replace(reading, now=Unavailable(kind=Absence.UNDEFINED, reason=reason))
