"""Ollama: what is loaded and where; and servers that answer anything but that."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.clients import ollama as client
from oncall.clients.ollama import look, meet
from oncall.lab.process import free_port
from oncall.model import Absence, Met, Scalar, StepReading, Table, Unavailable
from oncall.model_service import HttpBackend
from tests.clients.ollamastand import DISK, loaded, model, not_found, ollama
from tests.clients.webstand import Answer, Stand, forever, head, reply, silence, times

BOTH = ("server", "models")
GIB = 2**30


def looked(stand: Stand, words: tuple[str, ...] = BOTH, deadline_s: float = 30) -> dict[str, StepReading]:
    async def work() -> dict[str, StepReading] | Unavailable:
        async with stand:
            return await look(HttpBackend(url=stand.url), words, deadline_s)

    found = asyncio.run(work())
    assert not isinstance(found, Unavailable), found
    return found


def refused(stand: Stand, deadline_s: float = 30) -> Unavailable:
    async def work() -> dict[str, StepReading] | Unavailable:
        async with stand:
            return await look(HttpBackend(url=stand.url.replace("//", "//ops:s3cret@")), BOTH, deadline_s)

    found = asyncio.run(work())
    assert isinstance(found, Unavailable), found
    assert "s3cret" not in repr(found)
    return found


def rows(reading: StepReading) -> list[dict[str, Scalar]]:
    assert isinstance(reading.answer, Table), reading.answer
    names = [column.name for column in reading.answer.columns]
    return [dict(zip(names, row, strict=True)) for row in reading.answer.rows]


def notes(reading: StepReading) -> tuple[str, ...]:
    assert isinstance(reading.answer, Table), reading.answer
    return reading.answer.notes


TAGS = [
    model("llama3.2:3b"),
    model("qwen2.5:72b", 47 * GIB, parameter_size="72.7B"),
    model("all-minilm", 45_960_996),
]
RUNNING = [
    loaded("llama3.2:3b", 4 * GIB, 4 * GIB),
    loaded("qwen2.5:72b", 50 * GIB, 20 * GIB, "2318-04-05T22:24:41.5-07:00"),
]


def test_a_model_that_does_not_fit_into_the_gpu() -> None:
    stand = ollama(TAGS, RUNNING)
    found = looked(stand)
    server = rows(found["server"])[0]
    ms = server.pop("ms")
    assert server == {
        "version": "0.5.4",
        "models": 3,
        "loaded": 2,
        "vram_share": 0.4,
        "loaded_bytes": 54 * GIB,
    }
    assert isinstance(ms, float)
    assert found["server"].ms == ms
    models = [tuple(row.values()) for row in rows(found["models"])]
    assert models == [
        # One that is kept for ever does not expire
        ("qwen2.5:72b", 50 * GIB, True, 0.4, None, "3.2B", "Q4_K_M"),
        ("llama3.2:3b", 4 * GIB, True, 1.0, 300.5, "3.2B", "Q4_K_M"),
        ("all-minilm", 45_960_996, False, None, None, "3.2B", "Q4_K_M"),
    ]
    assert (notes(found["server"]), notes(found["models"])) == ((), ())
    assert [asked.path for asked in stand.asked] == ["/api/tags", "/api/ps", "/api/version"]
    assert stand.connections == 1


def test_the_queries_can_be_pasted_and_hold_no_secret() -> None:
    async def work() -> tuple[dict[str, StepReading] | Unavailable, str]:
        async with ollama([], []) as stand:
            url = stand.url.replace("//", "//ops:s3cret@")
            return await look(HttpBackend(url=url, bearer=None), BOTH, 30), stand.url

    found, url = asyncio.run(work())
    assert isinstance(found, dict)
    assert found["models"].query == f"GET {url}/api/tags; GET {url}/api/ps"
    assert found["server"].query == f"GET {url}/api/tags; GET {url}/api/ps; GET {url}/api/version"
    assert {reading.source for reading in found.values()} == {"ollama"}


@pytest.mark.parametrize("none", [None, []])
def test_no_model_loaded_is_nothing_and_not_unknown(none: list[dict[str, Any]] | None) -> None:
    found = looked(ollama(none, none))
    server = rows(found["server"])[0]
    assert (server["models"], server["loaded"], server["loaded_bytes"]) == (0, 0, 0)
    assert server["vram_share"] is None
    assert rows(found["models"]) == []


@pytest.mark.parametrize("words", [("server",), ("models",), ()])
def test_only_what_is_asked_for_is_told(words: tuple[str, ...]) -> None:
    assert tuple(looked(ollama(TAGS, RUNNING), words)) == words


def test_an_old_version_without_ps_is_unknown_there_and_says_so() -> None:
    found = looked(ollama(TAGS, instead={"/api/ps": not_found}))
    server = rows(found["server"])[0]
    assert (server["models"], server["version"]) == (3, "0.5.4")
    assert (server["loaded"], server["vram_share"], server["loaded_bytes"]) == (None, None, None)
    assert {row["loaded"] for row in rows(found["models"])} == {None}
    for reading in found.values():
        assert "it has no /api/ps" in notes(reading)[0]


def test_a_version_that_is_not_told_is_none() -> None:
    found = looked(ollama(TAGS, RUNNING, instead={"/api/version": not_found}))
    assert rows(found["server"])[0]["version"] is None
    assert "does not tell its version" in notes(found["server"])[0]


def test_first_versions_tell_less_of_a_model() -> None:
    found = looked(ollama([{"name": "old", "size": DISK}], [{"name": "old", "size": DISK}]))
    assert rows(found["server"])[0]["vram_share"] is None
    assert list(rows(found["models"])[0].values()) == ["old", DISK, True, None, None, None, None]


def test_a_loaded_model_whose_file_is_gone_is_there() -> None:
    found = looked(ollama([], [loaded("gone", GIB, 0)]))
    assert [(row["model"], row["vram_share"]) for row in rows(found["models"])] == [("gone", 0.0)]


def test_hundreds_of_models_are_cut() -> None:
    found = looked(ollama([model(f"m{i:03}") for i in range(120)], []))
    assert rows(found["server"])[0]["models"] == 120
    assert len(rows(found["models"])) == 50
    assert notes(found["models"]) == ("70 more models are not shown",)


TIMES = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59+00:00", "2026-01-05", "x", ""]


@given(
    st.dictionaries(
        st.sampled_from(["size", "size_vram", "expires_at"]),
        st.integers(-(2**63), 2**63 - 1) | st.sampled_from(TIMES),
    )
)
def test_no_entry_makes_a_number_that_is_none(entry: dict[str, Any]) -> None:
    try:
        one = msgspec.convert({"name": "m", **entry}, client._Model)
    except msgspec.ValidationError:
        return
    share, expires = client._vram_share(one), client._expires_in_s(one, 1e9)
    assert share is None or 0 <= share <= 1
    assert expires is None or 0 <= expires < 1e11


# --- servers that are no Ollama, or not well --------------------------------------------------


PAGE = reply("<!doctype html><title>Sign in</title>", Content_Type="text/html")
CUT = reply('{"models": [{"na', Content_Length="500", Connection="close")
LONG = head("200 OK", {"Content-Length": "9999999999"})


def login() -> Answer:
    return reply(status="302 Found", Location="/login?token=t0k")


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (lambda: PAGE, Absence.BAD_ANSWER, "answers, but not as Ollama does"),
        (lambda: reply('{"status": "ok"}'), Absence.BAD_ANSWER, "answers, but not as Ollama does"),
        (lambda: reply('{"models": [{"na'), Absence.BAD_ANSWER, "answers, but not as Ollama does"),
        (lambda: reply('{"models": [{"name": 1}]}'), Absence.BAD_ANSWER, "not as Ollama does"),
        (lambda: reply(b"\xff"), Absence.BAD_ANSWER, "not as Ollama does"),
        (lambda: CUT, Absence.BAD_ANSWER, "is cut: the connection closed in the middle"),
        (lambda: reply("x", "500 X"), Absence.BAD_ANSWER, "answers 500 Internal Server Error"),
        (lambda: reply("x", "503 X"), Absence.BAD_ANSWER, "answers 503 Service Unavailable"),
        (not_found, Absence.BAD_ANSWER, "answers 404 Not Found"),
        (login, Absence.BAD_ANSWER, "redirects (302) to /login: not followed"),
        (lambda: reply("who?", "401 X"), Absence.AUTH, "refuses access: 401 Unauthorized"),
        (lambda: times(head("200 OK", {}), b" " * 2**16, 3200), Absence.BAD_ANSWER, "larger than 1 MiB"),
        (lambda: times(LONG, b" ", 9), Absence.BAD_ANSWER, "larger than 1 MiB"),
        (lambda: times(b"220 mail ready\r\n\r\n", b"", 0), Absence.BAD_ANSWER, "does not speak HTTP"),
        (lambda: times(b"", b"", 0), Absence.DOWN, "connection closed by"),
    ],
)  # fmt: skip
def test_what_is_no_ollama_is_told_by_its_name(
    answer: Callable[[], Answer], kind: Absence, says: str
) -> None:
    found = refused(ollama(instead={"*": answer}))
    assert (found.kind, says in found.reason) == (kind, True), found
    assert "t0k" not in repr(found)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: forever(head("200 OK", {}), b" ", 0.05), "began to answer but did not end within"),
        (lambda: forever(b"", b"H", 0.05), "took the connection but did not answer within"),
        (silence, "took the connection but did not answer within"),
    ],
)
def test_one_that_drips_or_hangs_is_told_by_how_far_it_came(answer: Callable[[], Answer], says: str) -> None:
    found = refused(ollama(instead={"*": answer}), deadline_s=1)
    assert (found.kind, says in found.reason) == (Absence.TIMEOUT, True), found
    assert found.reason.endswith("within 1 s") or "within 1 s (" in found.reason


@pytest.mark.parametrize("path", ["/api/ps", "/api/version"])
def test_the_three_questions_have_one_deadline_together(path: str) -> None:
    drips = ollama(TAGS, RUNNING, instead={path: lambda: forever(head("200 OK", {}), b" ", 0.05)})
    assert refused(drips, deadline_s=0.3).kind is Absence.TIMEOUT


@pytest.mark.parametrize("path", ["/api/ps", "/api/version"])
def test_a_later_question_that_fails_is_the_servers_fault_too(path: str) -> None:
    found = refused(ollama(TAGS, RUNNING, instead={path: lambda: reply("x", "500 X")}))
    assert (found.kind, "500" in found.reason) == (Absence.BAD_ANSWER, True)


def test_one_that_is_away_is_down_and_one_without_a_name_is_not() -> None:
    down = asyncio.run(look(HttpBackend(url=f"http://127.0.0.1:{free_port()}"), BOTH, 30))
    assert isinstance(down, Unavailable)
    assert down.kind is Absence.DOWN
    gone = asyncio.run(look(HttpBackend(url="http://no-such-host.invalid:11434"), BOTH, 30))
    assert isinstance(gone, Unavailable)
    assert gone.kind is Absence.UNRESOLVED


def test_it_is_met_as_before() -> None:
    async def work() -> Met | Unavailable:
        async with ollama() as stand:
            return await meet(HttpBackend(url=stand.url), 30)

    met = asyncio.run(work())
    assert isinstance(met, Met)
    assert met.version == "0.5.4"


def test_hostile_names_stay_text() -> None:
    name = "\x1b[31m[/red]\u202e" + "x" * 300
    found = looked(ollama([model(name)], []))
    assert rows(found["models"])[0]["model"] == name
    assert json.dumps(name)
