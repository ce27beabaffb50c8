"""Every service of the file at once: a bounded number at a time, a dead or broken one is a line of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from oncall.errors import REPORT, bug_text
from oncall.model import WORST_FIRST, Absence, Severity, Unavailable
from oncall.model_service import HttpBackend, PrometheusAt

AT_ONCE = 32
"""Services whose own endpoints are asked at the same time; each takes at most three connections."""
T = TypeVar("T")


async def every(
    names: Iterable[str],
    look: Callable[[str], Awaitable[T]],
    lost: Callable[[str, Unavailable], T],
    *,
    at_once: int = AT_ONCE,
    timeout_s: float | None = None,
) -> list[T]:
    """What `look` says of each service, in the order given; `at_once` of them at a time.

    `lost` makes the answer of a service that was not looked at in time (`timeout_s` for all, waiting included), or
    whose look has a bug: that must not take the others' answers away."""
    turns = asyncio.Semaphore(at_once)

    async def one(name: str) -> T:
        try:
            async with asyncio.timeout(timeout_s), turns:
                return await look(name)
        except TimeoutError:
            return lost(name, _late(timeout_s))
        except Exception as bug:
            return lost(name, Unavailable(kind=Absence.BAD_ANSWER, reason=bug_text(bug), hint=REPORT))

    return await asyncio.gather(*map(one, names))


def _late(timeout_s: float | None) -> Unavailable:
    reason = f"no answer within {timeout_s:g} s" if timeout_s else "no answer in time"
    return Unavailable(kind=Absence.TIMEOUT, reason=reason, hint="give it longer: --timeout 30s")


def counted(found: Iterable[Severity]) -> str:
    """`3 of 100 services not well: 2 critical, 1 unknown`."""
    severities = list(found)
    ill = [(severities.count(s), s.value) for s in WORST_FIRST[:-1] if s in severities]
    if not ill:
        return {0: "no service", 1: "the one service is well"}.get(
            len(severities), f"all {len(severities)} services well"
        )
    told = ", ".join(f"{number} {word}" for number, word in ill)
    return f"{sum(n for n, _ in ill)} of {len(severities)} services not well: {told}"


def server_of(at: HttpBackend) -> bytes:
    """Equal for services that share a server: the same url, headers, credentials and TLS, whatever the selector."""
    return msgspec.json.encode(replace(at, selector={}) if isinstance(at, PrometheusAt) else at)
