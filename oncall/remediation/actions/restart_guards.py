"""The guards of a unit's restart, judged from one look. Pure."""

from oncall.clients.unit_acting import Unit
from oncall.model import Absence, Unavailable
from oncall.model_acts import GuardReport
from oncall.numbers import duration
from oncall.remediation.guards import passed, refused, skipped, unknown

# Whether these bar for good is known; what was merely not answered in time is not
_DEFINITE = (Absence.DOWN, Absence.NOT_INSTALLED, Absence.NOT_APPLICABLE, Absence.DENIED)
# Both clocks are cut to whole seconds
_CUT_S = 2.0


def unreachable(why: Unavailable) -> tuple[GuardReport, ...]:
    """systemd was not reached: no systemd, no ssh, no answer in time."""
    judge = refused if why.kind in _DEFINITE else unknown
    return (judge("rights", why.reason, why.hint), unknown("identity", "the unit could not be looked at"))


def rights(unit: Unit, why_not: Unavailable | None) -> GuardReport:
    """`why_not`: why this login may not, of may_restart."""
    if unit.refuses_by_hand:
        hint = f"see systemctl cat {unit.name}: RefuseManualStart=, RefuseManualStop="
        return refused("rights", f"{unit.name} refuses to be started or stopped by hand", hint)
    if why_not is None:
        said = f"root on {unit.place}" if unit.root else f"systemd lets {unit.login} restart {unit.name}"
        return passed("rights", said)
    if why_not.kind is Absence.DENIED:
        return refused("rights", why_not.reason, _remedy(unit))
    return unknown(
        "rights", why_not.reason, why_not.hint or "as root it can be told: sudo oncall remediate ..."
    )


def _remedy(unit: Unit) -> str:
    rule = (
        "polkit.addRule(function(action, subject) {"
        ' if (action.id == "org.freedesktop.systemd1.manage-units"'
        f' && action.lookup("unit") == "{unit.name}" && action.lookup("verb") == "restart"'
        f' && subject.user == "{unit.login}") return polkit.Result.YES; }});'
    )
    file = f"/etc/polkit-1/rules.d/50-oncall.rules on {unit.place}"
    return f"run it by sudo, or put into {file}: {rule}"


def start_limit(unit: Unit, counted: int | Unavailable | None) -> GuardReport:
    """systemd does not tell its counter. It counts within a window that begins with a start and is at most the
    interval long: who was started less than `burst` times in the last interval is let through for sure.

    `counted`: the starts of the last interval; None where nobody had to count."""
    if not unit.burst or unit.limit_s == 0:
        return passed("start-limit", "it has no start limit")
    limit = f"limit {unit.burst} in {'all' if unit.limit_s is None else duration(unit.limit_s)}"
    if quiet(unit):
        since = "not started" if unit.started is None else f"last {_began(unit)}"
        return passed("start-limit", f"{since}: no start counts any more ({limit})")
    if unit.burst == 1:
        return refused("start-limit", f"{_began(unit)}, {limit}", _wait(unit))
    if isinstance(counted, int):
        said = f"{counted} start{'s' if counted != 1 else ''} counted in the journal, {limit}"
        return (
            passed("start-limit", said) if counted < unit.burst else refused("start-limit", said, _wait(unit))
        )
    if unit.restarts + 1 >= unit.burst:
        said = f"{_began(unit)}, after {unit.restarts} restarts by systemd, {limit}"
        return refused("start-limit", said, _wait(unit))
    why = counted.reason if counted else "nobody counted"
    return unknown("start-limit", f"{_began(unit)}, and how often before is not known: {why}", _wait(unit))


def quiet(unit: Unit) -> bool:
    """No start within the interval of its limit: by the unit's own times, which need no journal."""
    if unit.started is None:
        return not unit.runs and not unit.crashed
    return unit.limit_s is not None and unit.now - unit.started > unit.limit_s + _CUT_S


def _began(unit: Unit) -> str:
    if unit.started is None:
        return "started at a time that systemd does not tell"
    return f"started {duration(round(max(0.0, unit.now - unit.started)))} ago"


def _wait(unit: Unit) -> str:
    by_hand = f"systemctl reset-failed {unit.name} makes systemd forget its starts (then restart it by hand)"
    if unit.limit_s is None or unit.started is None:
        return by_hand
    return f"wait {duration(round(unit.started + unit.limit_s + 2 * _CUT_S - unit.now))}; or {by_hand}"


def cooldown(unit: Unit, cooldown_s: float) -> GuardReport:
    """From the unit's own start; what the audit log says of it is judged elsewhere."""
    if not unit.runs:
        return passed("cooldown", f"{unit.name} does not run ({unit.active})")
    if unit.started is None:
        return unknown("cooldown", _began(unit), "look at it: systemctl status " + unit.name)
    age = max(0.0, unit.now - unit.started)
    if age >= cooldown_s:
        return passed("cooldown", _began(unit))
    left = duration(max(1, round(cooldown_s - age)))
    hint = f"it had no time to show what it does: wait {left} (cooldown of the service file)"
    return refused("cooldown", _began(unit), hint)


def dependents(unit: Unit, along: tuple[str, ...] | Unavailable) -> GuardReport:
    """`along`: what runs, and restarts or stops with the unit."""
    if isinstance(along, Unavailable):
        return unknown("dependents", along.reason, along.hint)
    if not along:
        return passed("dependents", "nothing else that runs depends on it")
    if umbrella(unit, along):
        return passed("dependents", f"{unit.name} stands for {along[0]} and nothing else")
    hint = f"see them: systemctl list-dependencies --reverse {unit.name}"
    return refused("dependents", f"these restart or stop along with it: {', '.join(along)}", hint)


def umbrella(unit: Unit, along: tuple[str, ...]) -> bool:
    """Debian's postgresql.service runs nothing: the one instance behind it is what is meant."""
    stem = unit.name.rpartition(".")[0]
    return unit.type == "oneshot" and not unit.pid and len(along) == 1 and along[0].startswith(f"{stem}@")


def own(unit: Unit) -> tuple[GuardReport, ...]:
    """Those that hold for any unit that was found."""
    said = f"invocation {unit.invocation[:8]}" if unit.invocation else "not started"
    return (
        passed("identity", f"{unit.name}, {said}: looked at again before the restart"),
        skipped("empty-selection", "one unit, by its name"),
    )
