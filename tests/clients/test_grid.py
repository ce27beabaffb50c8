"""Range queries of many series, packed on the grid of the question."""

import asyncio
import json
import math

from oncall.clients.prometheus import Grid, Prometheus
from oncall.model import Absence, Unavailable
from oncall.model_service import PrometheusAt
from tests.clients.webstand import Asked, Stand, reply


def asked(body: object, status: str = "200 OK") -> Grid | Unavailable:
    async def work() -> Grid | Unavailable:
        async with (
            Stand(lambda _: reply(json.dumps(body), status)) as stand,
            Prometheus(PrometheusAt(url=stand.url)) as client,
        ):
            return await client.grid("m", 1000.0, 15.0, 4, 10)

    return asyncio.run(work())


def matrix(*series: dict[str, object]) -> object:
    return {"status": "success", "data": {"resultType": "matrix", "result": series}, "warnings": ["half"]}


def test_points_lie_on_the_grid() -> None:
    got = asked(
        matrix(
            {"metric": {"n": "whole"}, "values": [[1000 + 15 * i, str(i)] for i in range(4)]},
            {"metric": {"n": "gap"}, "values": [[1015, "7"], [1045.001, "NaN"]]},
            {"metric": {"n": "inf"}, "values": [[1000, "+Inf"], [1015, "-Inf"], [1030, "1e+06"]]},
            {"metric": {"n": "native"}, "histograms": [[1000, {}]]},
        )
    )
    assert isinstance(got, Grid)
    assert (got.warnings, got.histograms) == (("half",), 1)
    whole, gap, infinite = got.series
    assert list(whole.values) == [0, 1, 2, 3]
    assert [v if v == v else None for v in gap.values] == [None, 7, None, None]
    assert list(infinite.values[:3]) == [math.inf, -math.inf, 1e6]
    assert gap.labels == {"n": "gap"}


def test_what_is_too_much_is_to_be_asked_in_parts() -> None:
    error = {
        "status": "error",
        "errorType": "execution",
        "error": "query processing would load too many samples",
    }
    got = asked(error, "422 Unprocessable Entity")
    assert isinstance(got, Unavailable)
    assert got.kind is Absence.BAD_QUERY
    large = asked(matrix({"metric": {"n": "x" * 2**24}, "values": []}))
    assert isinstance(large, Unavailable)
    assert large.kind is Absence.BAD_QUERY
    odd = asked({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": 5}]}})
    assert isinstance(odd, Unavailable)
    assert odd.kind is Absence.BAD_ANSWER


def test_the_types_of_metrics() -> None:
    page = {"status": "success", "data": {"a": [{"type": "counter", "help": ""}], "b": []}}

    async def types(body: object) -> dict[str, str] | Unavailable:
        def answer(request: Asked) -> bytes:
            assert request.path == "/api/v1/metadata"
            return reply(json.dumps(body))

        async with Stand(answer) as stand, Prometheus(PrometheusAt(url=stand.url)) as client:
            return await client.types(10)

    assert asyncio.run(types(page)) == {"a": "counter"}
    assert isinstance(asyncio.run(types({"status": "success", "data": 5})), Unavailable)
