"""kill-queries: cancels statements, or ends sessions, in the service's Postgres; exactly those of the plan."""

import asyncio
import math
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from oncall.errors import ConfigError, UsageFault
from oncall.model import Absence, Next, Scalar, Table, Unavailable
from oncall.model_acts import Check, GuardReport, Target, TargetResult
from oncall.numbers import duration
from oncall.remediation.action import Found, Scene, Tell
from oncall.remediation.actions import kill_guards, kill_words
from oncall.remediation.actions.kill_selection import (
    Filters,
    PidAt,
    Selection,
    Victim,
    parse_pid,
    select,
    victims,
)
from oncall.scrub import scrub, secrets_of
from oncall.units import write_duration

if TYPE_CHECKING:
    from oncall.clients.pg_facts import ServerFacts
    from oncall.clients.postgres import Opened

__all__ = ["KillQueries", "KillWork", "PidAt", "parse_pid"]

_ISSUES = ("pool", "latency")
_ACT_S = 5.0
"""Seconds that one signal may take, and one look at what it did."""
_FOLLOWED = ("done", "unchanged", "unknown")
_POLL_S = (0.05, 1.0)


@dataclass(frozen=True)
class KillQueries:
    """Which sessions are signalled, and how: cancel, or with `terminate` the end of the session.

    `pids` and `blockers` say which sessions; `older_than_s` (running statements) and `idle_in_transaction_s` say in
    what state, in seconds. Of one kind any may hold; a kind that is given narrows the other: --blockers
    --idle-in-transaction 1m are the blockers that have done nothing for a minute. `application` (with * at its end:
    any that begin so) narrows them all, and alone is no filter; without it a state means the service's own sessions.
    Without a filter nothing is selected."""

    older_than_s: float | None = None
    pids: tuple[PidAt, ...] = ()
    blockers: bool = False
    idle_in_transaction_s: float | None = None
    application: str | None = None
    terminate: bool = False
    most: int = 5

    @property
    def name(self) -> str:
        return "kill-queries"

    @property
    def issues(self) -> tuple[str, ...]:
        return _ISSUES

    @property
    def filters(self) -> Filters:
        return Filters(
            self.older_than_s, self.pids, self.blockers, self.idle_in_transaction_s, self.application
        )

    @property
    def words(self) -> tuple[str, ...]:
        words: list[str] = []
        ages = (
            ("--older-than", self.older_than_s),
            ("--idle-in-transaction", self.idle_in_transaction_s),
        )
        for option, seconds in ages:
            words += [option, write_duration(seconds)] if seconds is not None else []
        for one in self.pids:
            words += ["--pid", str(one)]
        words += ["--blockers"] if self.blockers else []
        words += ["--application", self.application] if self.application is not None else []
        words += ["--terminate"] if self.terminate else []
        return (*words, *(("--max", str(self.most)) if self.most != KillQueries.most else ()))

    @asynccontextmanager
    async def work(self, scene: Scene) -> AsyncIterator["KillWork"]:
        """One query. Raises UsageFault for numbers that mean nothing, ConfigError where there is no Postgres."""
        self._check()
        if scene.session is None:
            raise ConfigError(
                f"kill-queries needs the Postgres of {scene.name}, which is not configured",
                hint="set postgres.dsn in the service file",
            )
        yield await _looked(self, scene, scene.session)

    def _check(self) -> None:
        if self.most < 1:
            raise UsageFault(f"--max {self.most}: expected at least 1")
        for option, seconds in (
            ("--older-than", self.older_than_s),
            ("--idle-in-transaction", self.idle_in_transaction_s),
        ):
            if seconds is not None and not 0 < seconds < math.inf:
                raise UsageFault(f"{option} {seconds}: expected a duration longer than nothing, such as 60s")
        if self.application is not None and not self.application.strip("* "):
            raise UsageFault("--application: expected a name", hint="such as bot-controller, or bot-*")


# --- the look ------------------------------------------------------------------------------------


async def _looked(action: KillQueries, scene: Scene, session: "Opened") -> "KillWork":
    facts = session.facts
    if isinstance(facts, Unavailable):
        return KillWork(action, scene, session, _nothing(action, (), kill_guards.unseen(facts)))
    place = _place(facts)
    if action.filters.empty:
        return KillWork(
            action, scene, session, _nothing(action, place, kill_guards.unfiltered(action.filters))
        )
    rows, said = await _rows(action, scene, session)
    if isinstance(rows, Unavailable):
        return KillWork(action, scene, session, _nothing(action, place, kill_guards.unseen(rows)))
    selection = select(rows, action.filters, action.most)
    found = _found(action, scene, facts, selection, said)
    return KillWork(action, scene, session, found, {v.id: v for v in selection.targets})


async def _rows(
    action: KillQueries, scene: Scene, session: "Opened"
) -> tuple[tuple[Victim, ...] | Unavailable, tuple[str, ...]]:
    """Every session that could be meant, and what is to be said of the server besides."""
    from oncall.clients.postgres import Question, load_sql

    variables: dict[str, str | float] = {
        "pids": ",".join(str(one.pid) for one in action.pids),
        # Where only pids are asked for, nobody else is looked at.
        "wide": int(action.blockers or not action.pids),
        "application": action.application or "",
    }
    question = Question(id="victims", sql=load_sql("victims"))
    answers = await session.ask([question], variables, scene.deadline_s)
    answer = answers.by_id["victims"].answer
    # That it is a replica, or a pooler, is what two guards say.
    said = tuple(note for note in answers.notes if not note.startswith(("a replica", "through a pooler")))
    return (answer if isinstance(answer, Unavailable) else victims(answer)), said


def _place(facts: "ServerFacts") -> tuple[tuple[str, str], ...]:
    database = ("database", f"{facts.host}:{facts.port}/{facts.database} as {facts.role}")
    return (database, ("replica", "yes")) if facts.in_recovery else (database,)


def _nothing(
    action: KillQueries, place: tuple[tuple[str, str], ...], guards: tuple[GuardReport, ...]
) -> Found:
    title = kill_words.title((), action.filters, terminate=action.terminate)
    return Found(title=title, place=place, targets=(), guards=guards)


def _found(
    action: KillQueries, scene: Scene, facts: "ServerFacts", selection: Selection, said: tuple[str, ...]
) -> Found:
    secrets = secrets_of(scene.service)
    at = scene.service.postgres
    app = at.application_name if at else None
    # To end a session is another plan than to cancel what it runs.
    ended = {"terminate": True} if action.terminate else {}
    notes = kill_words.notes(selection, facts, terminate=action.terminate, app=app)
    return Found(
        title=kill_words.title(selection.targets, action.filters, terminate=action.terminate),
        place=_place(facts),
        targets=tuple(Target(id=v.id, identity={**_identity(v), **ended}) for v in selection.targets),
        guards=kill_guards.reports(selection, action.most, facts),
        table=kill_words.table(selection.targets, lambda text: scrub(text, secrets)),
        does=tuple(signal(v, terminate=action.terminate) for v in selection.targets),
        losses=kill_words.losses(selection.targets, terminate=action.terminate),
        notes=(*notes, *kill_words.of_all(app, action.filters), *said),
        words=_pinned(action, selection.targets),
    )


def _pinned(action: KillQueries, targets: Sequence[Victim]) -> tuple[str, ...] | None:
    """Exactly these, each by pid and transaction: who comes meanwhile and fits the filter as well is not meant."""
    if not targets:
        return None
    named = replace(
        action,
        pids=tuple(_exactly(v) for v in targets),
        blockers=False,
        older_than_s=None,
        idle_in_transaction_s=None,
        application=None,
        most=max(len(targets), KillQueries.most),
    )
    return named.words


def _identity(v: Victim) -> Mapping[str, Scalar]:
    """What must still hold in the statement that signals."""
    return {
        "pid": v.pid,
        "backend_start": v.backend_start,
        "query_start": v.query_start,
        "xact_start": v.xact_start,
        "state": v.state,
    }


def signal(v: Victim, *, terminate: bool) -> str:
    """The statement that signals this session if it is still the one that was seen; no row means that it is not."""
    from oncall.clients.postgres import fill, load_sql

    variables = {name: "" if value is None else value for name, value in _identity(v).items()}
    text = fill(load_sql("signal_terminate" if terminate else "signal_cancel"), variables)
    assert isinstance(text, str), text
    return text


# --- the act and its proof -----------------------------------------------------------------------


@dataclass
class KillWork:
    """A plan at work."""

    action: KillQueries
    scene: Scene
    session: "Opened"
    found: Found
    victims: dict[str, Victim] = field(default_factory=dict)
    _there: set[str] = field(default_factory=set)
    """Those that the last look still saw."""
    _results: list[TargetResult] = field(default_factory=list)
    _on_its_way: str | None = None

    async def apply(self, tell: Tell) -> AsyncIterator[TargetResult]:
        """One statement for each target; stops after the first that fails, or of which it is not known."""
        verb = "terminating" if self.action.terminate else "canceling"
        for number, (target, statement) in enumerate(
            zip(self.found.targets, self.found.does, strict=True), start=1
        ):
            tell(f"{verb} {target.id}, {number} of {len(self.found.targets)}")
            self._on_its_way = target.id
            result = await self._signal(self.victims[target.id], statement)
            self._on_its_way = None
            self._results.append(result)
            yield result
            if result.state in ("failed", "unknown"):
                return

    def so_far(self) -> list[TargetResult]:
        """What has happened when somebody interrupts: of one that was on its way nobody waited for the answer."""
        if self._on_its_way is None:
            return self._results
        text = f"{self._on_its_way}: interrupted; it may have been signalled"
        return [*self._results, TargetResult(id=self._on_its_way, state="unknown", text=text)]

    async def _signal(self, v: Victim, statement: str) -> TargetResult:
        answer = (await self.session.act(statement, _ACT_S)).answer
        if isinstance(answer, Unavailable):
            lost = answer.kind in (Absence.TIMEOUT, Absence.DOWN)
            text = f"{v.id}: {answer.reason}" + ("; it may have been signalled" if lost else "")
            return TargetResult(id=v.id, state="unknown" if lost else "failed", text=text)
        if not answer.rows or answer.rows[0][1] is not True:
            return await self._missed(v)
        if self.action.terminate:
            return TargetResult(id=v.id, state="done", text=f"{v.id}: told to end")
        return TargetResult(id=v.id, state="done", text=f"{v.id}: its statement was canceled")

    async def _missed(self, v: Victim) -> TargetResult:
        """Nobody was signalled: it is gone, it has changed, or it runs nothing that could be canceled."""
        rows = await self._now([v])
        if isinstance(rows, Unavailable):
            text = f"{v.id}: no longer as planned, left alone ({rows.reason})"
            return TargetResult(id=v.id, state="changed", text=text)
        row = rows.get(v.pid)
        if row is None:
            return TargetResult(id=v.id, state="gone", text=f"{v.id}: gone by itself, nobody was signalled")
        if row.backend_start != v.backend_start:
            text = f"{v.id}: gone by itself; the pid is another session's now, which was left alone"
            return TargetResult(id=v.id, state="gone", text=text)
        if not (self.action.terminate or v.active) and self._same(v, row):
            # What a cancel might hit is only what it begins in this moment: an innocent statement.
            text = f"{v.id}: {v.state}, where a cancel changes nothing; it was not signalled"
            return TargetResult(id=v.id, state="unchanged", text=text)
        text = f"{v.id}: changed meanwhile ({row.state}), left alone"
        return TargetResult(id=v.id, state="changed", text=text)

    async def _now(self, of: Sequence[Victim]) -> dict[int, Victim] | Unavailable:
        """Who has these pids now."""
        from oncall.clients.postgres import Question, load_sql

        question = Question(id="signalled", sql=load_sql("signalled"))
        variables = {"pids": ",".join(str(v.pid) for v in of)}
        answer = (await self.session.ask([question], variables, _ACT_S)).by_id["signalled"].answer
        if isinstance(answer, Unavailable):
            return answer
        return {v.pid: v for v in victims(Table(columns=answer.columns, rows=answer.rows))}

    async def checks(self, results: Sequence[TargetResult], until: float, tell: Tell) -> tuple[Check, ...]:
        """The rows of those that were signalled are gone; looked at until they are, or until `until`."""
        sent = [self.victims[r.id] for r in results if r.state in _FOLLOWED]
        if not sent:
            return ()
        # A cancel that changes nothing is not waited for.
        hoped = {r.id for r in results if r.state in ("done", "unknown")}
        loop = asyncio.get_running_loop()
        began, (delay, longest) = loop.time(), _POLL_S
        while True:
            now = await self._now(sent)
            if not isinstance(now, Unavailable):
                self._there = {v.id for v in sent if self._same(v, now.get(v.pid))}
                waited_for = self._there & hoped
                if not waited_for:
                    break
                tell(f"waiting for {', '.join(sorted(waited_for))} to end")
            if loop.time() + delay >= until:
                break
            await asyncio.sleep(delay)
            delay = min(longest, delay * 1.5)
        waited_s = loop.time() - began
        return tuple(self._check(v, now, waited_s) for v in sent)

    def _same(self, v: Victim, row: Victim | None) -> bool:
        """Whether that is still there which was to end: the session, or what it ran."""
        if row is None or row.backend_start != v.backend_start:
            return False
        return self.action.terminate or (row.query_start, row.state) == (v.query_start, v.state)

    def _check(self, v: Victim, now: dict[int, Victim] | Unavailable, waited_s: float) -> Check:
        if isinstance(now, Unavailable):
            return Check(text=f"{v.id}: whether it has ended is not known: {now.reason}", holds=None)
        if v.id not in self._there:
            what = "the session is gone" if self.action.terminate else "its statement has ended"
            return Check(text=f"{v.id}: {what}", holds=True)
        if self.action.terminate:
            text = f"{v.id}: sent, still present after {duration(waited_s)}"
        elif v.active:
            text = f"{v.id}: sent, its statement still runs after {duration(waited_s)}"
        else:
            text = f"{v.id}: still {v.state}: a cancel does not end that"
        return Check(text=text, holds=False)

    def offers(self, results: Sequence[TargetResult]) -> tuple[Next, ...]:
        """After a cancel without effect: the command that ends those sessions, each by pid and transaction."""
        left = [self.victims[r.id] for r in results if r.state in _FOLLOWED and r.id in self._there]
        if not left:
            return ()
        if self.action.terminate:
            look = shlex.join(["oncall", "diagnose", "latency", *self.scene.address])
            return (
                Next(command=look, why=f"{kill_words.pids(left)} was told to end and has not: look again"),
            )
        words = [word for v in left for word in ("--pid", str(_exactly(v)))]
        most = ["--max", str(len(left))] if len(left) > KillQueries.most else []
        line = [
            "oncall",
            "remediate",
            self.action.name,
            *words,
            *most,
            *self.scene.address,
            *self.scene.about,
        ]
        why = f"{kill_words.pids(left)}: the cancel changed nothing; this ends the session"
        return (Next(command=shlex.join([*line, "--terminate", "--confirm"]), why=why),)


def _exactly(v: Victim) -> PidAt:
    return parse_pid(f"{v.pid}@{v.xact_start}" if v.xact_start else str(v.pid))
