"""From what was read before and after a deploy to the verdict. Pure: the same readings give the same answer.

In the order keep < watch < unknown < roll back, the verdict is the worst of the lines that count. So unknown never
keeps, the order of the rules does not matter, and a reading that gets worse never improves the verdict."""

from collections.abc import Iterable, Mapping

from oncall.checks.deploy_rules import Rule
from oncall.diagnosis.shift import CLEAR_SHIFT, ENOUGH_SAMPLES
from oncall.model import Frozen
from oncall.model_deploy import Decision
from oncall.numbers import humane

RANK = (Decision.KEEP, Decision.WATCH, Decision.UNKNOWN, Decision.ROLL_BACK)
FEW_SAMPLES = 10
"""Scrapes since the deploy below which nothing is concluded, good or bad."""
FEW_EVENTS = 5
"""Failures since the deploy below which their share is chance: one of twenty requests is 5 %, and the one slow
request of twenty is their 95th percentile."""


class Reading(Frozen, frozen=True):
    """What is known of one rule, in the signal's unit. None is not known; `reason` says why there is no `after`."""

    after: float | None = None
    recent: float | None = None
    """None where nothing happened lately: then `after` stands for it."""
    before: float | None = None
    day_ago: float | None = None
    week_ago: float | None = None
    bound: float | None = None
    whole: float | None = None
    """What the bound is a share of."""
    spread: float = 0.0
    """The usual spread, at least what counts in this unit."""
    samples_before: int = 0
    samples_after: int = 0
    events: float | None = None
    """How many failures a share is made of, or requests lie beyond a quantile."""
    of_events: float | None = None
    """How many requests a quantile is of."""
    leaking: bool | None = None
    leaked: bool | None = None
    """Whether it grows without end after, and did before."""
    growth: str | None = None
    """How it grows, in words."""
    disturbed: bool = False
    """Something restarted in the time before, too: it may be the same deploy, or another."""
    gap: str | None = None
    """What of the time since the deploy is not known."""
    counts: bool = True
    text: str | None = None
    """What was found, in words, where the number alone does not tell."""
    reason: str | None = None
    hint: str | None = None

    @property
    def usual(self) -> tuple[float, ...]:
        """What it was without this deploy: just before, and at the same time of yesterday and of last week."""
        return tuple(v for v in (self.before, self.day_ago, self.week_ago) if v is not None)


class Judged(Frozen, frozen=True):
    """One rule, judged."""

    decision: Decision
    text: str
    shift: float | None = None
    weak: bool = False
    counts: bool = True
    telling: bool = False
    """Its text is worth reading though it is kept."""


class Judgement(Frozen, frozen=True):
    verdict: Decision
    lines: Mapping[str, Judged]


STEADY = "steady"
NOTHING = Reading(reason="it was not read")


def judge(readings: Mapping[str, Reading], rules: Iterable[Rule]) -> Judgement:
    """The verdict, and each rule's own by its id. Unknown where no rule counts."""
    lines = {rule.id: judged(rule, readings.get(rule.id, NOTHING)) for rule in rules}
    counted = [line.decision for line in lines.values() if line.counts]
    return Judgement(verdict=max(counted, key=RANK.index, default=Decision.UNKNOWN), lines=lines)


def judged(rule: Rule, r: Reading) -> Judged:
    """One rule against its reading."""
    if r.after is None or (rule.must_not is None and r.bound is None):
        return Judged(
            decision=Decision.UNKNOWN,
            text=r.reason or "not known",
            counts=r.counts and not rule.optional,
        )
    found = _found(rule, r)
    if r.gap is not None and found.decision is not Decision.ROLL_BACK:
        return Judged(decision=Decision.UNKNOWN, text=f"{r.gap}; {found.text}", shift=found.shift)
    return found


def _found(rule: Rule, r: Reading) -> Judged:
    if rule.probe is not None:
        return _counted(rule, r)
    if rule.must_not == "leak":
        return _leak(rule, r)
    return _steady(rule, r) if rule.must_not is not None else _target(rule, r)


def _worst(rule: Rule) -> Decision:
    return Decision.ROLL_BACK if rule.weight == "rolls back" else Decision.WATCH


# --- counts --------------------------------------------------------------------------------------


def _counted(rule: Rule, r: Reading) -> Judged:
    text = r.text or humane(r.after)
    if not _misses(rule, r, r.after):
        return Judged(decision=Decision.KEEP, text=text)
    if _misses(rule, r, r.before):
        return Judged(decision=Decision.WATCH, text=f"{text}; so it did before: the deploy is not to blame")
    return Judged(decision=_worst(rule), text=text)


def _misses(rule: Rule, r: Reading, value: float | None) -> bool:
    if value is None or r.bound is None:
        return False
    return value < r.bound if rule.at_least is not None else value >= r.bound


# --- targets ---------------------------------------------------------------------------------------


def _target(rule: Rule, r: Reading) -> Judged:
    """Missed over all of the time and now, and clearly worse than all that was usual: the deploy did it."""
    missed = _misses(rule, r, r.after)
    now = missed if r.recent is None else _misses(rule, r, r.recent)
    how = _shift(rule, r)
    weak = _few_after(r) or (missed and r.events is not None and r.events < FEW_EVENTS)

    def told(decision: Decision, text: str) -> Judged:
        return Judged(decision=decision, text=text, shift=how, weak=weak)

    value = humane(r.after, rule.unit)
    if not (missed or now):
        early = f"meets the target so far, over {r.samples_after} samples only"
        return told(Decision.WATCH, early) if weak else told(Decision.KEEP, "meets the target")
    if missed and not now:
        return told(Decision.WATCH, f"{value} since the deploy, but the target is met now")
    if not missed:
        return told(
            Decision.WATCH,
            f"the target is met since the deploy, but missed now: {humane(r.recent, rule.unit)}",
        )
    if weak:
        return told(Decision.WATCH, f"{value} misses the target, over {_how_few(r)}")
    if how is None:
        return told(Decision.UNKNOWN, f"{value} misses the target; not known what it was before the deploy")
    before = [v for v in r.usual if _misses(rule, r, v)]
    said = f"{value} misses the target, {_was(rule, r, before)}"
    if how < CLEAR_SHIFT:
        return told(Decision.WATCH, f"{said}: {_excuse(rule, r)}" if before else f"{said}, hardly less")
    if _few_before(r):
        return told(Decision.WATCH, f"{said}, over {r.samples_before} samples only")
    return told(_worst(rule), f"{said}, but by far less" if before else said)


def _was(rule: Rule, r: Reading, missed: list[float]) -> str:
    """How it was before the deploy; by yesterday or last week where that is what excuses it."""
    if r.before is not None and (not missed or _misses(rule, r, r.before)):
        word = "as it did before the deploy" if missed else "and before the deploy it met it"
        return f"{word} ({humane(r.before, rule.unit)})"
    day = r.day_ago is not None and r.day_ago in missed
    return f"as it did at this time {'yesterday' if day else 'last week'} ({humane(missed[0], rule.unit)})"


def _excuse(rule: Rule, r: Reading) -> str:
    """Only a quiet time before the deploy that was as bad acquits it; another day may have had a fault of its own."""
    if not _misses(rule, r, r.before):
        return "it may not be the deploy's doing"
    return "in that time there was another restart" if r.disturbed else "the deploy is not to blame"


def _few_after(r: Reading) -> bool:
    return r.samples_after < FEW_SAMPLES


def _few_before(r: Reading) -> bool:
    return r.samples_before < ENOUGH_SAMPLES


def _how_few(r: Reading) -> str:
    if _few_after(r):
        return f"{r.samples_after} samples only"
    if r.of_events is not None:
        return f"{humane(round(r.of_events))} requests only"
    return f"{humane(round(r.events or 0))} failures only"


# --- against what was usual ----------------------------------------------------------------------------


def _shift(rule: Rule, r: Reading) -> float | None:
    """How much worse it is than the worst of what was usual, over all of the time and now, in usual spreads.

    None without anything of before the deploy: another day alone is no witness. A daily rhythm is in yesterday and
    last week as well, and is no shift."""
    if r.before is None or r.after is None:
        return None
    return min(_least(rule, r, v) for v in (r.after, r.recent) if v is not None)


def _least(rule: Rule, r: Reading, value: float) -> float:
    return min(_beyond(rule, value, usual, r.spread) for usual in r.usual)


def _beyond(rule: Rule, value: float, usual: float, spread: float) -> float:
    """How much worse than one usual value, in spreads of at least a tenth of it."""
    # Of a share that should be whole, what lacks of it counts
    level = 1 - usual if rule.at_least is not None and rule.unit == "ratio" else usual
    shift = (value - usual) / max(spread, 0.1 * abs(level), 1e-12)
    if rule.must_not == "move":
        return abs(shift)
    return -shift if rule.lower_is_worse else shift


def _steady(rule: Rule, r: Reading) -> Judged:
    """Clearly worse over all of the time and now; a daily rhythm is judged by all of it, for others have no now."""
    how = _shift(rule, r)
    few = _few_after(r) or _few_before(r)
    if how is None or r.before is None or r.after is None:
        return Judged(decision=Decision.UNKNOWN, text="nothing is known of the time before the deploy")
    over_all = _least(rule, r, r.after)
    text = _moved(r.before, r.after, on_others=len(r.usual) > 1)
    if how >= CLEAR_SHIFT:
        return Judged(decision=Decision.WATCH if few else _worst(rule), text=text, shift=how, weak=few)
    if over_all >= CLEAR_SHIFT:
        return Judged(decision=Decision.WATCH, text=f"{text}, but not now", shift=how, weak=few)
    if _few_after(r):
        text = f"as before so far, over {r.samples_after} samples only"
        return Judged(decision=Decision.WATCH, text=text, shift=how, weak=True)
    same = _beyond(rule, r.after, r.before, r.spread) < CLEAR_SHIFT
    text = "as before the deploy" if same else "not as just before, but as at this time on other days"
    return Judged(decision=Decision.KEEP, text=text, shift=how, weak=few, telling=not same)


def _moved(before: float, after: float, *, on_others: bool) -> str:
    times = f": ×{after / before:.2g}" if before > 0 and after > 0 else "" if before else ": from 0"
    other = " and than on other days" if on_others else ""
    return f"{'higher' if after > before else 'lower'} than before the deploy{other}{times}"


# --- growth without end ----------------------------------------------------------------------------------


def _leak(rule: Rule, r: Reading) -> Judged:
    grown = r.growth or "it grows without end"
    if r.leaking is None:
        early = r.growth or f"too early to tell, over {r.samples_after} samples"
        return Judged(decision=Decision.WATCH, text=early, weak=True)
    if not r.leaking:
        text = r.growth or "it does not grow without end"
        return Judged(decision=Decision.KEEP, text=text, telling=text != STEADY)
    if r.leaked is None:
        return Judged(decision=Decision.UNKNOWN, text=f"{grown}; not known whether it did before the deploy")
    if r.leaked:
        return Judged(
            decision=Decision.WATCH, text=f"{grown}; it did before the deploy too, which is not to blame"
        )
    return Judged(decision=_worst(rule), text=f"{grown}; before the deploy it did not")
