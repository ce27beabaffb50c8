"""The signals of a deployment watch, before and after the deploy, in a handful of questions to Prometheus."""

import asyncio
import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from oncall.checks.deploy_growth import grown
from oncall.checks.deploy_judge import Reading
from oncall.checks.deploy_mark import Mark
from oncall.checks.deploy_rules import Rule, Rules
from oncall.checks.measured import Asked, expression
from oncall.checks.model import DAY_S, WEEK_S
from oncall.clients.many import instants, ranges
from oncall.clients.prometheus import Matrix, Prometheus, Vector, several
from oncall.diagnosis.bounds import bounds, in_force
from oncall.diagnosis.lines import Line, finite
from oncall.diagnosis.metrics import stale_after
from oncall.diagnosis.shift import ENOUGH_SAMPLES, floor_of, iqr, median
from oncall.model import Absence, Frozen, Unavailable
from oncall.model_service import Service, SignalSpec
from oncall.numbers import duration
from oncall.runbook.expression import Expression
from oncall.signals import ages_promql, of_service, share, to_promql
from oncall.units import promql_duration

POINTS, BARS = 240, 60
_LEAST_STEP_S, _RATE_S = 15.0, 300.0
_LEAST_OTHER_S = 3600.0
"""Of another day an hour at least is looked at, around the same time."""
_KNOWN = 0.8
"""The share of its samples that another day must have to be compared with."""
_RECENT, _COUNT, _EVENTS, _MEDIAN, _WHOLE, _LOAD = "~", "#", "!", "/2", "=", "load"
_FLOORS = {"cores": 0.05}
Answers = Mapping[str, Vector | Unavailable]


class Span(Frozen, frozen=True):
    """What is compared with what, in Unix seconds: [begin, end] after the deploy, [before, before_end] before it."""

    before: float
    before_end: float
    begin: float
    end: float
    recent_s: float
    interval_s: float | None

    @property
    def after_s(self) -> float:
        return max(1.0, self.end - self.begin)

    @property
    def before_s(self) -> float:
        return self.before_end - self.before

    @property
    def other_s(self) -> float:
        return max(self.after_s, _LEAST_OTHER_S)

    def other(self, ago: float) -> float | None:
        """The end of the same time on another day; None where that day knew the deploy already."""
        end = self.end - ago + (self.other_s - self.after_s) / 2
        return end if end <= self.begin else None

    @property
    def step_s(self) -> float:
        return max(_LEAST_STEP_S, (self.end - self.before) / POINTS)

    @property
    def window_s(self) -> float:
        return max(_RATE_S, self.step_s, 4 * (self.interval_s or 0.0))


class Seen(Frozen, frozen=True):
    """One signal: the reading that is judged, and what is shown besides."""

    reading: Reading
    query: str | None = None
    age_s: float | None = None
    history: tuple[float | None, ...] = ()
    history_before: int = 0


def span_of(mark: Mark, end: float, service: Service, interval_s: float | None) -> Span:
    """As long before as after, but at least the usual baseline and enough samples to rely on.

    It ends a little before the mark: an old process that is being stopped is not how it was."""
    scrape = interval_s or 0.0
    after = max(1.0, end - mark.begin)
    before_end = mark.first - max(60.0, 2 * scrape)
    length = max(after, float(service.windows.baseline), (ENOUGH_SAMPLES + 5) * scrape)
    recent = min(after, max(float(service.windows.rate), 4 * scrape))
    return Span(
        before=before_end - length,
        before_end=before_end,
        begin=mark.begin,
        end=end,
        recent_s=recent,
        interval_s=interval_s,
    )


async def measure(
    server: Prometheus, rules: Rules, service: Service, span: Span, deadline_s: float
) -> dict[str, Seen]:
    """The signals of the rules by their id; one that cannot be read has its reason."""
    return await _Round(server, rules, service, span, deadline_s).run()


class _Round:
    """One round of questions, all at once."""

    def __init__(
        self, server: Prometheus, rules: Rules, service: Service, span: Span, deadline_s: float
    ) -> None:
        assert service.prometheus is not None
        self.server, self.service, self.span, self.deadline_s = server, service, span, deadline_s
        self.selector = service.prometheus.selector
        self.signals = {n: in_force(s, service.signals.get(n)) for n, s in rules.signals.items()}
        self.rules = {r.id: r for r in rules.rules if r.signal is not None}
        self.specs = {key: self._spec(r) for key, r in self.rules.items()}
        self.queries = {k: to_promql(s, self.selector, 60.0) for k, s in self.specs.items()}
        self.metrics = {k: q.metrics for k, q in self.queries.items()}

    def _spec(self, rule: Rule) -> SignalSpec:
        assert rule.spec is not None
        return in_force(rule.spec, self.service.signals.get(rule.signal or ""), ours=True)

    async def run(self) -> dict[str, Seen]:
        if not self.rules:
            return {}
        span = self.span
        now, before, day, week, courses, ages = await asyncio.gather(
            self._instants(self._now(), span.end),
            self._instants(self._over(span.before_s), span.before_end),
            self._day(DAY_S),
            self._day(WEEK_S),
            self._courses(),
            self.server.query(ages_promql(self.metrics, 600.0, 0.0), span.end, self.deadline_s),
        )
        load = _line(courses.get(_LOAD))
        return {
            key: self._seen(rule, now, before, (day, week), courses[key], load, ages)
            for key, rule in self.rules.items()
        }

    # --- the questions ------------------------------------------------------------------------------

    async def _instants(self, texts: Mapping[str, str], at: float) -> Answers:
        return await instants(self.server, texts, at, self.deadline_s)

    async def _day(self, ago: float) -> Answers:
        at = self.span.other(ago)
        return {} if at is None else await self._instants(self._over(self.span.other_s), at)

    def _text(self, key: str, over_s: float) -> str:
        by = self.rules[key].by
        within = None if by == "avg" else self.span.recent_s
        return expression(Asked(spec=self.specs[key], over_s=over_s, by=by, within_s=within), self.selector)

    def _over(self, over_s: float) -> dict[str, str]:
        """Each signal over that time, and how many samples it has in it."""
        found = {key: self._text(key, over_s) for key in self.rules}
        for key, metrics in self.metrics.items():
            if metrics:
                found[key + _COUNT] = f"max(count_over_time({metrics[0]}[{promql_duration(over_s)}]))"
        return found

    def _now(self) -> dict[str, str]:
        """What is asked of the time after the deploy: besides, the last minutes, failures, and wholes of bounds."""
        span = self.span
        found = self._over(span.after_s)
        window = promql_duration(span.after_s)
        for key, spec in self.specs.items():
            found[key + _RECENT] = self._text(key, span.recent_s)
            if spec.ratio is not None:
                part = share(spec.ratio, of_service(self.selector)).part
                found[key + _EVENTS] = f"sum(increase({part}[{window}]))"
            if spec.quantile is not None:
                found[key + _EVENTS] = f"sum(increase({self.metrics[key][0]}[{window}]))"
                found[key + _MEDIAN] = to_promql(
                    replace(spec, quantile=0.5), self.selector, span.after_s
                ).text
        for name in self._wholes():
            found[_WHOLE + name] = to_promql(self.signals[name], self.selector, _RATE_S).text
        return found

    def _wholes(self) -> set[str]:
        texts = [r.share_of for r in self.rules.values() if r.share_of]
        return {n for text in texts for n in Expression(text).names if n in self.signals}

    async def _courses(self) -> dict[str, Matrix | Unavailable]:
        span = self.span
        texts = {k: to_promql(s, self.selector, span.window_s).text for k, s in self.specs.items()}
        if "request_rate" in self.signals:
            texts[_LOAD] = to_promql(self.signals["request_rate"], self.selector, span.window_s).text
        return await ranges(self.server, texts, span.before, span.end, span.step_s, self.deadline_s)

    # --- the answers ----------------------------------------------------------------------------------

    def _seen(
        self,
        rule: Rule,
        now: Answers,
        before: Answers,
        others: Sequence[Answers],
        course: Matrix | Unavailable,
        load: Line,
        ages: Vector | Unavailable,
    ) -> Seen:
        key, span = rule.id, self.span
        line, age = _line(course), _age(ages, key)
        after = self._value(key, now[key], age)
        base = Reading(
            samples_after=_count(now, key) or sum(t >= span.begin for t in line.x),
            samples_before=_count(before, key) or sum(t <= span.before_end for t in line.x),
            day_ago=self._other(key, others[0]),
            week_ago=self._other(key, others[1]),
            before=_number(before[key]),
        )
        base = self._bounded(rule, base, now)
        if isinstance(after, Unavailable):
            reading = replace(base, reason=after.reason, hint=after.hint)
        else:
            part = _part(line, span.before, span.before_end)
            reading = replace(
                base,
                after=after,
                recent=_number(now[key + _RECENT]),
                spread=_spread(rule, base, part),
                events=_events(now, key, self.specs[key], base.bound),
                of_events=_number(now[key + _EVENTS]) if self.specs[key].quantile is not None else None,
                gap=_gap(course, span),
            )
            if rule.must_not == "leak":
                reading = self._grown(rule, reading, line, load)
        return Seen(
            reading=reading,
            query=self._text(key, span.after_s),
            age_s=age,
            history=_bars(line, span.before, span.end),
            history_before=round(BARS * (span.before_end - span.before) / (span.end - span.before)),
        )

    def _value(self, key: str, answer: Vector | Unavailable, age: float | None) -> float | Unavailable:
        if isinstance(answer, Unavailable):
            return answer
        if answer.warnings:
            return Unavailable(kind=Absence.PARTIAL, reason=f"partial answer: {answer.warnings[0]}")
        if not answer.samples:
            none = self.queries[key].no_data()
            return replace(none, reason=f"{none.reason} since the deploy")
        if len(answer.samples) > 1:
            return several(len(answer.samples))
        if self.metrics[key] and (age is None or age > stale_after(self.span.interval_s)):
            old = f"its newest sample is {duration(age)} old" if age is not None else "it has ended"
            return Unavailable(
                kind=Absence.STALE, reason=f"stale: {old}", hint="is the service still scraped?"
            )
        value = answer.samples[0].value
        if not math.isfinite(value):
            reason = "undefined: nothing happened since the deploy that it could be a share or a mean of"
            return Unavailable(kind=Absence.UNDEFINED, reason=reason)
        return value

    def _grown(self, rule: Rule, reading: Reading, line: Line, load: Line) -> Reading:
        span = self.span
        after, before = (
            (_part(line, *times), _part(load, *times))
            for times in ((span.begin, span.end), (span.before, span.before_end))
        )
        memory, floor = self.service.limits.memory, _floor(rule.unit)
        return grown(rule, reading, after, before, floor=floor, memory=memory)

    def _other(self, key: str, answers: Answers) -> float | None:
        """The value of another day, where history has that time as a whole."""
        count, scrape = _count(answers, key), self.span.interval_s
        if scrape is None or count < _KNOWN * self.span.other_s / scrape:
            return None
        return _number(answers[key])

    def _bounded(self, rule: Rule, reading: Reading, now: Answers) -> Reading:
        bound = rule.below if rule.below is not None else rule.at_least
        if rule.share_of is None or bound is None:
            return replace(reading, bound=bound)
        values = {n: v for n in self._wholes() if (v := _number(now[_WHOLE + n])) is not None}
        # By the rule's own id: the service's thresholds are those of alerts
        spec = replace(self.specs[rule.id], warning=bound, critical=None, share_of=rule.share_of)
        found = bounds(f"deploy.{rule.id}", spec, self.service, values)
        hint = f"say it in the service file, under limits: {rule.share_of}" if found.missing else reading.hint
        return replace(reading, bound=found.warning, whole=found.whole, reason=found.missing, hint=hint)


def _number(answer: Vector | Unavailable) -> float | None:
    if isinstance(answer, Unavailable) or len(answer.samples) != 1 or answer.warnings:
        return None
    value = answer.samples[0].value
    return value if math.isfinite(value) else None


def _count(answers: Answers, key: str) -> int:
    answer = answers.get(key + _COUNT)
    return int(_number(answer) or 0) if answer is not None else 0


def _events(answers: Answers, key: str, spec: SignalSpec, bound: float | None) -> float | None:
    """How many failures a share is made of, or how many requests lie beyond a quantile: of those that are slower
    than the target it is half at least where the median is, too."""
    if spec.ratio is None and spec.quantile is None:
        return None
    happened = _number(answers[key + _EVENTS]) or 0.0
    if spec.quantile is None:
        return happened
    middle = _number(answers[key + _MEDIAN])
    slow = bound is not None and middle is not None and middle >= bound
    return happened * max(0.5 if slow else 0.0, 1 - spec.quantile)


def _age(answer: Vector | Unavailable, key: str) -> float | None:
    for sample in answer.samples if isinstance(answer, Vector) else ():
        if sample.labels.get("signal") == key and sample.labels.get("what") == "age":
            return max(0.0, sample.value)
    return None


# --- courses ------------------------------------------------------------------------------------------------


def _line(course: Matrix | Unavailable | None) -> Line:
    if course is None or isinstance(course, Unavailable) or not course.series:
        return Line((), ())
    return finite(course.series[0].times, course.series[0].values)


def _part(line: Line, begin: float, end: float) -> Line:
    kept = [i for i, x in enumerate(line.x) if begin <= x <= end]
    return Line(tuple(line.x[i] for i in kept), tuple(line.y[i] for i in kept))


def _spread(rule: Rule, r: Reading, before: Line) -> float:
    """The usual spread before the deploy, at least a tenth of the target or the least that counts in this unit."""
    floor = 0.1 * r.bound if rule.below is not None and r.bound else _floor(rule.unit)
    return max(iqr(before.y) if before.y else 0.0, floor)


def _floor(unit: str | None) -> float:
    return _FLOORS.get(unit or "", floor_of(unit))


def _gap(course: Matrix | Unavailable, span: Span) -> str | None:
    """What is not known of the time after the deploy; undefined points are known, they are there."""
    if isinstance(course, Unavailable) or not course.series:
        return None
    slack = max(0.1 * span.after_s, 3 * max(60.0, span.interval_s or 0.0))
    times = [t for t in course.series[0].times if t >= span.begin - span.step_s]
    known = len(times) * span.step_s
    if not times or span.after_s - known <= slack:
        return None
    if times[0] - span.begin > slack:
        return f"the history begins {duration(times[0] - span.begin)} after the deploy"
    return f"only {duration(known)} of {duration(span.after_s)} are known"


def _bars(line: Line, begin: float, end: float) -> tuple[float | None, ...]:
    slots: list[list[float]] = [[] for _ in range(BARS)]
    for x, y in zip(line.x, line.y, strict=True):
        slots[min(BARS - 1, max(0, int((x - begin) / (end - begin) * BARS)))].append(y)
    return tuple(median(slot) if slot else None for slot in slots)
