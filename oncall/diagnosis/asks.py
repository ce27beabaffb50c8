"""One function a backend: takes its questions, gives its answers. What fails is an answer with a reason."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from oncall.diagnosis.metrics import Moment, table_from_prometheus
from oncall.diagnosis.plan import Question
from oncall.diagnosis.readings import DatabaseTarget
from oncall.model import Absence, Frozen, StepReading, Unavailable, Unseen
from oncall.model_service import Service
from oncall.scrub import scrub, secrets_of

if TYPE_CHECKING:
    from oncall.clients.postgres import Answers, Opened

NO_LOOK_BACK = Unavailable(
    kind=Absence.PRESENT_ONLY, reason="knows only the present, and --at asks about the past"
)


class Part(Frozen, frozen=True):
    """What one backend gives: its answers by key of the question, and why it refused, where it did."""

    answers: Mapping[str, StepReading] = {}
    refusal: Unavailable | None = None
    failed: tuple[Unseen, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    notes: tuple[str, ...] = ()
    database: DatabaseTarget | None = None


@dataclass(frozen=True)
class Asked:
    """What a backend is asked with: the service, the moment, the regular expressions for logs, the seconds it has."""

    service: Service
    moment: Moment
    patterns: Mapping[str, str]
    deadline_s: float
    timeout_s: float
    past: bool
    session: "Opened | None" = None
    """An open session of Postgres to ask through, instead of one of its own."""


Ask = Callable[[Asked, Sequence[Question]], Awaitable[Part]]


def not_configured(what: str) -> Unavailable:
    return Unavailable(
        kind=Absence.NOT_CONFIGURED,
        reason="not configured",
        hint=f"set `{what}` of the service in the service file",
    )


def absent(backend: str, questions: Sequence[Question], why: Unavailable) -> Part:
    """A backend that did not answer at all: each of its questions has that reason."""
    answers = {
        q.key: StepReading(source=q.backend, query=q.text if q.probe == "sql" else None, answer=why)
        for q in questions
    }
    silent = why.kind in (Absence.NOT_CONFIGURED, Absence.PRESENT_ONLY)
    # Those without which no issue is judged; the steps of the others say for themselves whether they are needed.
    decides = backend in ("postgres", "redis", "ollama") and not silent
    gap = (Unseen(what=backend, reason=why.reason, hint=why.hint),) if decides else ()
    return Part(answers=answers, refusal=why, failed=gap)


async def postgres(asked: Asked, questions: Sequence[Question]) -> Part:
    at = asked.service.postgres
    if at is None or asked.past:
        return absent("postgres", questions, not_configured("postgres") if at is None else NO_LOOK_BACK)
    from oncall.clients import postgres as client

    texts = [
        client.Question(id=q.key, sql=client.load_sql(q.text) if q.probe == "postgres" else q.text)
        for q in questions
    ]
    variables = {"application_name": at.application_name or ""}
    deadline = min(asked.deadline_s * 1.3, asked.timeout_s)
    if asked.session is not None:
        # What the session said at its start may be over by now: only an answer shows that it is not.
        alive = client.Question(id="", sql="SELECT 1")
        answers = await asked.session.ask(texts or [alive], variables, deadline)
    else:
        answers = await client.ask(at, texts, variables, deadline)
    if isinstance(answers.facts, Unavailable):
        gone = absent("postgres", questions, answers.facts)
        return Part(answers=gone.answers, refusal=gone.refusal, failed=gone.failed, notes=answers.notes)
    facts = answers.facts
    by_id = {key: reading for key, reading in answers.by_id.items() if key}
    if asked.session is not None and (lost := _lost(answers, alone=not texts)):
        gone = absent("postgres", questions, lost)
        return Part(answers={**gone.answers, **by_id}, refusal=lost, failed=gone.failed, notes=answers.notes)
    target = DatabaseTarget(
        host=facts.host,
        port=facts.port,
        database=facts.database,
        role=facts.role,
        in_recovery=facts.in_recovery,
        pooler=facts.pooler,
        clock=facts.clock,
    )
    # Through the reserve DSN the answers are here, and yet the server refused the ordinary role.
    return Part(answers=by_id, refusal=facts.refused, notes=answers.notes, database=target)


def _lost(answers: "Answers", *, alone: bool) -> Unavailable | None:
    """Why a session that was open answers no more; `alone`: all that it was asked is whether it does."""
    found = (r.answer for r in answers.by_id.values() if isinstance(r.answer, Unavailable))
    return next((why for why in found if alone or why.kind is Absence.DOWN), None)


async def redis(asked: Asked, questions: Sequence[Question]) -> Part:
    at = asked.service.redis
    if at is None or asked.past:
        return absent("redis", questions, not_configured("redis") if at is None else NO_LOOK_BACK)
    from oncall.clients.redis_look import look

    found = await look(at, [q.text for q in questions], asked.deadline_s)
    if isinstance(found, Unavailable):
        return absent("redis", questions, found)
    return Part(answers={q.key: found.by_word[q.text] for q in questions}, notes=found.notes)


async def ollama(asked: Asked, questions: Sequence[Question]) -> Part:
    at = asked.service.ollama
    if at is None or asked.past:
        return absent("ollama", questions, not_configured("ollama") if at is None else NO_LOOK_BACK)
    from oncall.clients.ollama import look

    found = await look(at, [q.text for q in questions], asked.deadline_s)
    if isinstance(found, Unavailable):
        return absent("ollama", questions, found)
    return Part(answers={q.key: found[q.text] for q in questions})


async def systemd(asked: Asked, questions: Sequence[Question]) -> Part:
    unit = asked.service.unit
    if unit is None or asked.past:
        return absent("systemd", questions, not_configured("unit") if unit is None else NO_LOOK_BACK)
    from oncall.clients.unit import state

    reading = await state(unit, asked.service.ssh, asked.deadline_s)
    return Part(answers={q.key: reading for q in questions}, failed=_unread(reading))


def _unread(reading: StepReading) -> tuple[Unseen, ...]:
    """A unit that is not found, masked or silent keeps the service from healthy; no systemd at all does not."""
    why = reading.answer
    if not isinstance(why, Unavailable) or why.kind in (Absence.NOT_APPLICABLE, Absence.NOT_INSTALLED):
        return ()
    return (Unseen(what=reading.source, reason=why.reason, hint=why.hint),)


async def host(asked: Asked, questions: Sequence[Question]) -> Part:
    if asked.past:
        return absent("host", questions, NO_LOOK_BACK)
    from oncall.clients.host import state, where_from

    place = where_from(asked.service)
    if isinstance(place, Unavailable):
        return absent("host", questions, place)
    reading = await state(place, asked.deadline_s)
    return Part(answers={q.key: reading for q in questions})


async def network(asked: Asked, questions: Sequence[Question]) -> Part:
    if asked.past:
        return absent("network", questions, NO_LOOK_BACK)
    from oncall.clients.network import round_trips

    reading = await round_trips(asked.service, asked.deadline_s)
    return Part(answers={q.key: reading for q in questions})


async def logs(asked: Asked, questions: Sequence[Question]) -> Part:
    service = asked.service
    if service.logs is None and service.unit is None:
        return absent("logs", questions, not_configured("logs"))
    from oncall.clients.logs import LogSource, Span, look

    source = LogSource(file=service.logs.file if service.logs else None, unit=service.unit, ssh=service.ssh)
    moment = asked.moment
    span = Span(end=moment.end, window_s=moment.window_s, baseline_s=moment.baseline_s)
    words = [q.text for q in questions]
    found = await look(source, span, asked.patterns, words, asked.deadline_s)
    if isinstance(found, Unavailable):
        return absent("logs", questions, found)
    secrets = secrets_of(service)
    return Part(answers={q.key: _scrubbed(found[q.text], secrets) for q in questions})


def _scrubbed(reading: StepReading, secrets: Sequence[str]) -> StepReading:
    """Without the service's own secrets: a log line may hold the DSN that it could not connect to."""
    if isinstance(reading.answer, Unavailable) or not secrets:
        return reading
    rows = tuple(
        tuple(scrub(c, secrets) if isinstance(c, str) else c for c in r) for r in reading.answer.rows
    )
    return msgspec.structs.replace(reading, answer=msgspec.structs.replace(reading.answer, rows=rows))


async def http(asked: Asked, questions: Sequence[Question]) -> Part:
    if asked.service.url is None or asked.past:
        missing = not_configured("url") if asked.service.url is None else NO_LOOK_BACK
        return absent("http", questions, missing)
    from oncall.clients.http import health

    async def one(asking: Question) -> StepReading:
        return await health(asked.service, asking.text, _within(asking, asked))

    answers = await asyncio.gather(*(one(q) for q in questions))
    return Part(answers={q.key: a for q, a in zip(questions, answers, strict=True)})


async def prometheus(asked: Asked, questions: Sequence[Question]) -> Part:
    """The tables of `promql` steps; the signals come with their history from diagnosis/metrics.py."""
    if asked.service.prometheus is None:
        return absent("prometheus", questions, not_configured("prometheus"))

    async def one(asking: Question) -> StepReading:
        deadline = _within(asking, asked)
        return await table_from_prometheus(asked.service, asking.text, asking.unit, asked.moment, deadline)

    answers = await asyncio.gather(*(one(q) for q in questions))
    return Part(answers={q.key: a for q, a in zip(questions, answers, strict=True)})


def _within(asking: Question, asked: Asked) -> float:
    return min(asking.deadline_s or asked.deadline_s, asked.deadline_s)


BACKENDS: Mapping[str, Ask] = {
    "postgres": postgres,
    "redis": redis,
    "ollama": ollama,
    "systemd": systemd,
    "host": host,
    "network": network,
    "logs": logs,
    "http": http,
    "prometheus": prometheus,
}
"""By the name of the backend. Postgres first: signing in takes it the most round trips, in which others can load."""
