"""Many PromQL expressions in few questions: each keeps its own answer, or its own reason for having none."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from oncall.clients.prometheus import Matrix, Prometheus, Sample, Series, Vector
from oncall.model import Absence, Unavailable
from oncall.signals import together

AT_ONCE = 40
"""Expressions in one question: more make a text that a proxy may refuse."""
_KEY = "signal"

T = TypeVar("T", Vector, Matrix)
Asks = Callable[[str], Awaitable[T | Unavailable]]


async def instants(
    server: Prometheus, asked: Mapping[str, str], at: float | None, deadline_s: float
) -> dict[str, Vector | Unavailable]:
    """Each expression at a time (Unix seconds; None is the server's now), by the keys given.

    An expression may have several series; their labels come without the one that tells them apart here."""

    async def one(text: str) -> Vector | Unavailable:
        return await server.query(text, at, deadline_s)

    return await _gather(asked, one, _vector_of)


async def ranges(
    server: Prometheus, asked: Mapping[str, str], start: float, end: float, step: float, deadline_s: float
) -> dict[str, Matrix | Unavailable]:
    """Each expression from `start` to `end` (Unix seconds), a point every `step` seconds, by the keys given."""

    async def one(text: str) -> Matrix | Unavailable:
        return await server.query_range(text, start, end, step, deadline_s)

    return await _gather(asked, one, _matrix_of)


async def _gather(
    asked: Mapping[str, str], one: Asks[T], only: Callable[[T, str], T]
) -> dict[str, T | Unavailable]:
    found = await asyncio.gather(*(_batch(batch, one, only) for batch in _batches(asked)))
    return {key: answer for part in found for key, answer in part.items()}


def _batches(asked: Mapping[str, str]) -> Iterator[dict[str, str]]:
    keys = list(asked)
    for begin in range(0, len(keys), AT_ONCE):
        yield {key: asked[key] for key in keys[begin : begin + AT_ONCE]}


async def _batch(
    asked: Mapping[str, str], one: Asks[T], only: Callable[[T, str], T]
) -> dict[str, T | Unavailable]:
    """All in one question; one each where together they fail, for one bad expression must not hide the others."""
    answer = await one(together(asked))
    if not isinstance(answer, Unavailable):
        return {key: only(answer, key) for key in asked}
    if answer.kind is not Absence.BAD_QUERY:
        return dict.fromkeys(asked, answer)
    alone = await asyncio.gather(*(one(text) for text in asked.values()))
    return dict(zip(asked, alone, strict=True))


def _vector_of(vector: Vector, key: str) -> Vector:
    mine: tuple[Sample, ...] = tuple(
        msgspec.structs.replace(s, labels=_bare(s.labels))
        for s in vector.samples
        if s.labels.get(_KEY) == key
    )
    return Vector(samples=mine, warnings=vector.warnings)


def _matrix_of(matrix: Matrix, key: str) -> Matrix:
    mine: tuple[Series, ...] = tuple(
        msgspec.structs.replace(s, labels=_bare(s.labels)) for s in matrix.series if s.labels.get(_KEY) == key
    )
    return Matrix(series=mine, warnings=matrix.warnings)


def _bare(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != _KEY}
