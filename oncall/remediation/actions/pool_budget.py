"""Whether the database server has room for a pool of another size: the guard connections-budget."""

from oncall.clients.postgres import Question, load_sql
from oncall.model import Frozen, Scalar, Table, Unavailable
from oncall.model_acts import GuardReport
from oncall.remediation.action import Scene
from oncall.remediation.guards import passed, refused, unknown

GUARD = "connections-budget"


class Limit(Frozen, frozen=True):
    """A limit of the role or the database that the service's sessions use, and what others hold of it now."""

    kind: str
    name: str
    most: int
    others: int


class Slots(Frozen, frozen=True):
    """The server's connection slots now. `app`: held by the service; `others`: by all else but this session.

    `guessed`: nobody says which sessions are the service's, so that all may count as others'."""

    most: int
    reserved: int
    app: int
    others: int
    guessed: str | None
    limits: tuple[Limit, ...] = ()

    @property
    def free_for_all(self) -> int:
        return self.most - self.reserved


async def read_slots(scene: Scene) -> Slots | Unavailable | str:
    """The slots of the server; or why they cannot be told."""
    session = scene.session
    if session is None or scene.service.postgres is None:
        return "postgres is not configured"
    facts = session.facts
    if isinstance(facts, Unavailable):
        return facts
    if facts.pooler:
        return "postgres.dsn goes through a pooler, which decides how many connections the server sees"
    if facts.in_recovery:
        return "postgres.dsn leads to a replica: what the primary has left is not seen from here"
    asked = [Question(id=name, sql=load_sql(name)) for name in ("slots", "app_limits")]
    answers = await session.ask(asked, {}, scene.deadline_s)
    slots, limits = (answers.by_id[q.id].answer for q in asked)
    if isinstance(slots, Unavailable):
        return slots
    if isinstance(limits, Unavailable):
        return limits
    return _slots(slots, limits, _guess(scene, facts.hidden))


def _guess(scene: Scene, hidden: int) -> str | None:
    """Why it is not known which sessions are the service's."""
    at = scene.service.postgres
    if at is None or not at.application_name:
        return "postgres.application_name does not say which sessions are the service's"
    return f"{hidden} sessions hide whose they are from this role" if hidden else None


def _slots(slots: Table, limits: Table, guessed: str | None) -> Slots:
    (row,) = _rows(slots)
    app, others = int(row["app"] or 0), int(row["others"] or 0)
    return Slots(
        most=int(row["max_connections"] or 0),
        reserved=int(row["superuser_reserved"] or 0) + int(row["reserved"] or 0),
        app=app,
        others=app + others if guessed else others,
        guessed=guessed,
        limits=tuple(
            Limit(
                kind=str(r["kind"]),
                name=str(r["name"]),
                most=int(r["most"] or 0),
                others=int(r["others"] or 0),
            )
            for r in _rows(limits)
        ),
    )


def _rows(table: Table) -> list[dict[str, Scalar]]:
    return [dict(zip((c.name for c in table.columns), row, strict=True)) for row in table.rows]


# --- the arithmetic, pure ------------------------------------------------------------------------


def judge(slots: Slots | Unavailable | str, now: int, to: int, instances: int) -> tuple[GuardReport, str]:
    """The guard's verdict, and the arithmetic in full."""
    total = _total(to, instances)
    if not isinstance(slots, Slots):
        reason = slots.reason if isinstance(slots, Unavailable) else slots
        hint = slots.hint if isinstance(slots, Unavailable) else None
        return unknown(GUARD, f"{total}; what the server has room for is unknown: {reason}", hint), total
    text = f"{total}, {_room(slots)}"
    if to > now and not slots.guessed and slots.app > now * instances:
        text = (
            f"{text}; but the service holds {slots.app} connections now, more than {_total(now, instances)}"
        )
        return more_instances(text), text
    tight = _tightest(slots, to * instances)
    if tight is None:
        return passed(GUARD, f"{text}: fits"), f"{text}: fits"
    text = f"{text}: {tight}"
    if to <= now:
        text = f"{text}; but it takes no more than it may now"
        return passed(GUARD, text), text
    if slots.guessed:
        hint = "name the service's sessions with postgres.application_name, and GRANT pg_monitor to the role"
        return unknown(GUARD, f"{text}; {slots.guessed}", hint), text
    return refused(GUARD, text, _most_hint(slots, instances)), text


def more_instances(text: str) -> GuardReport:
    """There are more of them than the service file says: what fits once may not fit so many times."""
    hint = "set pool.instances of the service file to the number of processes that read this size"
    return unknown(GUARD, text, hint)


def _total(to: int, instances: int) -> str:
    return f"{to} × {instances} instance{'s' if instances > 1 else ''} = {to * instances}"


def _room(slots: Slots) -> str:
    held = "all hold" if slots.guessed else "others hold"
    return f"{held} {slots.others}, {slots.free_for_all} free of {slots.most} - {slots.reserved} reserved"


def _tightest(slots: Slots, total: int) -> str | None:
    """What it does not fit into; None where it fits."""
    for limit in slots.limits:
        if total + limit.others > limit.most:
            others = f", of which others hold {limit.others}" if limit.others else ""
            return f"too many for {limit.kind} {limit.name}, which may have {limit.most}{others}"
    over = total + slots.others - slots.free_for_all
    return f"{over} too many" if over > 0 else None


def _most_hint(slots: Slots, instances: int) -> str:
    rooms = [slots.free_for_all - slots.others, *(limit.most - limit.others for limit in slots.limits)]
    most = min(rooms) // instances
    if most < 1:
        return "there is no room at all: look at who holds the connections, or raise max_connections"
    return f"at most --to {most} fits; or raise the limit first"
