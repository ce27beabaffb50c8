"""Reads runbooks from folders and checks them, so that a mistake is told with file:line before 03:12."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from oncall.config_rules import signal_complaints
from oncall.errors import ConfigError, RunbookError, UsageFault
from oncall.model_service import Service, SignalSpec
from oncall.runbook.expression import Expression, bases
from oncall.runbook.model import PROBES, CauseSpec, Runbook, RunbookFile, StepSpec
from oncall.runbook.template import places
from oncall.yamltext import MAX_BYTES, Document, decode, read

SIGNAL_ATTRIBUTES = frozenset(
    {
        "usual",
        "mean",
        "ratio",
        "shift",
        "live",
        "last",
        "samples",
        "peak",
        "before",
        "leaking",
        "grown",
        "slope",
        "left",
    }
)
LIMITS = frozenset({"limits.pool", "limits.memory", "limits.cpu"})
RATES_OVER = "rates.over"
"""The seconds that rates were taken over."""
# Command lines that the engine makes from the service and the readings; see diagnosis/commands.py.
COMMANDS = frozenset(
    {
        "diagnose",
        "restart",
        "restart_database",
        "cancel_root",
        "terminate_root",
        "rollback_prepared",
        "cancel_slow",
        "flush_cache",
        "resize_pool",
    }
)
BACKENDS = ("postgres", "redis", "ollama")
_ISSUE = re.compile(r"[a-z][a-z0-9_]*")
_ISSUE_LINE = re.compile(rb"^issue:[ \t]+([a-z][a-z0-9_]*)[ \t]*(?:#.*)?\r?$", re.MULTILINE)


def packaged_folder() -> Path:
    """The runbooks that come with the tool: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parents[1] / "_runbooks"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "runbooks"


class Library:
    """Every runbook of the given folders by issue; a later folder's file replaces an earlier one's issue."""

    def __init__(self, folders: tuple[Path, ...], signals: Mapping[str, SignalSpec]) -> None:
        self.folders = folders
        self._files = [File(path) for folder in folders for path in sorted(folder.glob("*.yaml"))]
        self.signals: dict[str, SignalSpec] = {}
        self.signal_places: dict[str, str] = {}
        self.patterns: dict[str, str] = {}
        for file in self._files:
            if file.issue is None:
                self._take_signals(*file.decoded)
                self._take_patterns(*file.decoded)
        # A service's own new signals may be named by its runbooks; its overrides are applied when asking.
        self.signals = {**signals, **self.signals}

    def _take_signals(self, document: Document, spec: RunbookFile) -> None:
        for name, signal in spec.signals.items():
            self.signals[name] = signal
            self.signal_places[name] = document.where(("signals", name))

    def _take_patterns(self, document: Document, spec: RunbookFile) -> None:
        self.patterns |= spec.patterns

    def issues(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f.issue for f in self._files if f.issue))

    def runbook(self, issue: str) -> Runbook:
        """The runbook of an issue. Raises UsageFault where there is none, RunbookError for a bad one."""
        if not _ISSUE.fullmatch(issue):
            raise RunbookError(
                f"{issue!r} is no name of a runbook",
                hint="A name has lower-case letters, digits and _; `oncall runbook list` shows them.",
            )
        found = [f for f in self._files if f.issue == issue]
        if not found:
            raise UsageFault(
                f"no runbook for the issue {issue!r}", hint="There are: " + ", ".join(self.issues()) + "."
            )
        document, spec = found[-1].decoded
        return _checked(document, spec, self.signals, {**self.patterns, **spec.patterns})

    def for_alert(self, alert: str) -> str:
        """The issue whose runbook names an alert. Raises UsageFault with the names that are known."""
        for file in reversed(self._files):
            if file.issue and alert in file.decoded[1].alerts:
                return file.issue
        known = ", ".join(sorted(self.alerts()))
        raise UsageFault(f"no runbook names the alert {alert!r}", hint=f"Known: {known}.")

    def alerts(self) -> frozenset[str]:
        """The names of all alerts that a runbook answers."""
        return frozenset(alert for file in self._files for alert in file.decoded[1].alerts)

    def paths(self) -> tuple[Path, ...]:
        return tuple(f.path for f in self._files)


def library(*more: Path, signals: Mapping[str, SignalSpec] | None = None) -> Library:
    """The packaged runbooks and those of other folders, which may name the given signals.

    Raises ConfigError for a folder that is none, RunbookError (file:line) for a bad file."""
    for folder in more:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder of runbooks", hint="Give a folder of *.yaml files.")
    return Library((packaged_folder(), *more), signals or {})


def runbooks_of(service: Service, more: Path | None) -> Library:
    """The packaged runbooks, the service's own and those of --runbooks, later ones in front of earlier."""
    own = (Path(service.runbooks).expanduser(),) if service.runbooks else ()
    return library(*own, *((more,) if more else ()), signals=service.signals)


class File:
    """A YAML file of a folder, read in full when it is needed: a team's broken runbook stops its own issue only.

    `issue` is told from its line, which is found without reading the rest; None for signals and patterns of all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.issue = self._issue_line() or self.decoded[1].issue

    def _issue_line(self) -> str | None:
        try:
            with self.path.open("rb") as file:
                found = _ISSUE_LINE.search(file.read(MAX_BYTES))
        except OSError:
            return None
        return found[1].decode() if found else None

    @cached_property
    def decoded(self) -> tuple[Document, RunbookFile]:
        """Its text and its content. Raises RunbookError with file:line."""
        document = read(self.path, RunbookError)
        spec = decode(document, RunbookFile, RunbookError)
        if spec.issue is None and (spec.steps or spec.causes or spec.symptoms):
            raise RunbookError(f"{document.where(())}: steps or causes without `issue:`")
        for name, signal in spec.signals.items():
            check_signal(document, name, signal)
        for name, text in spec.patterns.items():
            _check_pattern(document, name, text)
        return document, spec


def _check_pattern(document: Document, name: str, text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise fail(document, ("patterns", name), f"no regular expression: {error}") from None


def fail(
    document: Document, key: tuple[str | int, ...], message: str, hint: str | None = None
) -> RunbookError:
    return RunbookError(f"{document.where(key)}: {'.'.join(map(str, key))}: {message}", hint=hint)


def check_signal(document: Document, name: str, spec: SignalSpec) -> None:
    for key, complaint in signal_complaints(spec):
        raise fail(document, ("signals", name, *key), complaint)
    if spec.up is not None and spec.up not in BACKENDS:
        raise fail(document, ("signals", name, "up"), f"{spec.up!r} is not one of {', '.join(BACKENDS)}")


class Checker:
    """Checks one runbook file against the signals that it may read, and parses its expressions."""

    def __init__(self, document: Document, spec: RunbookFile, shared: Mapping[str, SignalSpec]) -> None:
        self.document = document
        self.spec = spec
        self.signals = {**shared, **spec.signals}
        self.expressions: dict[str, Expression] = {}

    def expression(self, text: str, *key: str | int) -> Expression:
        known = self.expressions.get(text)
        if known is not None:
            return known
        try:
            parsed = self.expressions[text] = Expression(text)
        except ValueError as error:
            raise fail(self.document, key, str(error)) from None
        for name in sorted(parsed.names):
            self._known(name, key)
        return parsed

    def template(self, text: str, *key: str | int) -> None:
        for place in places(text):
            if place.expression not in COMMANDS:
                self.expression(place.expression, *key)

    def _known(self, name: str, key: tuple[str | int, ...]) -> None:
        function, _, argument = name.partition("(")
        base, _, attribute = name.partition(".")
        if argument:
            places = {"count": {*self.spec.steps}, "along": {*self.signals}}
            known = set(bases(name)) <= places.get(function, {*self.spec.steps, *self.signals})
        elif attribute:
            known = base in self.spec.steps or name in LIMITS or name == RATES_OVER
            known = known or (base in self.signals and attribute in SIGNAL_ATTRIBUTES)
        else:
            known = base in self.signals or base in self.spec.values
        if not known:
            raise fail(
                self.document,
                key,
                f"{name!r} is neither a signal, a value, nor a column of a step",
                self.suggest(base),
            )

    def suggest(self, base: str) -> str:
        from difflib import get_close_matches

        every = [*self.signals, *self.spec.values, *self.spec.steps]
        close = get_close_matches(base, every, 3)
        return f"Did you mean {' or '.join(close)}?" if close else "Known: " + ", ".join(every) + "."

    def step(self, name: str, step: StepSpec) -> None:
        given = [probe for probe in PROBES if getattr(step, probe) is not None]
        if len(given) != 1:
            raise fail(self.document, ("steps", name), f"give exactly one of {', '.join(PROBES)}")
        if step.health is not None and not step.health.startswith("/"):
            raise fail(self.document, ("steps", name, "health"), "a path begins with /")
        if step.postgres is not None or step.sql is not None:
            self._sql(name, step)

    def _sql(self, name: str, step: StepSpec) -> None:
        from oncall.clients.postgres import check_sql, load_sql

        if step.postgres is not None:
            try:
                load_sql(step.postgres)
            except OSError:
                raise fail(
                    self.document, ("steps", name, "postgres"), f"no SQL file {step.postgres!r}"
                ) from None
        elif (reason := check_sql(step.sql or "")) is not None:
            raise fail(self.document, ("steps", name, "sql"), reason)

    def cause(self, name: str, cause: CauseSpec) -> None:
        key = ("causes", name)
        if cause.explains:
            self.expression(cause.explains, *key, "explains")
        for at, item in enumerate(cause.evidence):
            place = (*key, "evidence", at)
            for text in (item.when, item.unless, item.value, item.baseline):
                if text:
                    self.expression(text, *place)
            for text in (item.text, item.otherwise):
                self.template(text or "", *place)
            if item.onset_of and item.onset_of not in self.signals:
                raise fail(self.document, place, f"onset_of: {item.onset_of!r} is no signal")
        for following in cause.next:
            for text in (following.command, following.why):
                self.template(text, *key, "next")
            if following.when:
                self.expression(following.when, *key, "next")
        for advice in cause.advice:
            self.template(advice, *key, "advice")
        self._supported(name, cause)

    def _supported(self, name: str, cause: CauseSpec) -> None:
        """A cause needs evidence for it that reads something; else no step can ever support it."""
        for item in cause.evidence:
            if not item.against and self._reads(item.when, set()):
                return
        raise fail(
            self.document,
            ("causes", name),
            "no step or signal can support this cause",
            "Give it evidence (not `against`) whose `when` reads a step or a signal.",
        )

    def _reads(self, text: str, seen: set[str]) -> bool:
        """Whether an expression reads a step or signal, through values. Raises on a value that needs itself."""
        for name in self.expressions[text].names:
            base = bases(name)[0]
            if base in self.spec.steps or base in self.signals:
                return True
            if (
                base in self.spec.values
                and base not in seen
                and self._reads(self.spec.values[base], seen | {base})
            ):
                return True
        return False

    def formulas(self) -> None:
        """Signals that are formulas: those of this runbook, and those that it reads."""
        read = {b for e in self.expressions.values() for n in e.names for b in bases(n)}
        read |= {*self.spec.symptoms, *self.spec.signals}
        for name, signal in self.signals.items():
            if signal.value is not None and name in read:
                self.expression(signal.value, "signals", name, "value")

    def cycles(self) -> None:
        done: set[str] = set()
        for start in (*self.spec.values, *self.signals):
            self._walk(start, (), done)

    def _walk(self, name: str, path: tuple[str, ...], done: set[str]) -> None:
        if name in path:
            key = ("values" if name in self.spec.values else "signals", name)
            raise fail(self.document, key, "needs itself: " + " → ".join((*path, name)))
        signal = self.signals.get(name)
        parsed = self.expressions.get(self.spec.values.get(name) or (signal.value if signal else None) or "")
        if parsed is None or name in done:
            return
        for other in sorted({b for n in parsed.names for b in bases(n)}):
            self._walk(other, (*path, name), done)
        done.add(name)


def _checked(
    document: Document, spec: RunbookFile, shared: Mapping[str, SignalSpec], patterns: Mapping[str, str]
) -> Runbook:
    checker = Checker(document, spec, shared)
    for key in ("title", "headlines"):
        if getattr(spec, key) is None:
            raise fail(document, (), f"an issue needs `{key}:`")
    if not spec.symptoms:
        raise fail(document, (), "an issue needs `symptoms:`, the signals that decide its severity")
    for name in spec.symptoms:
        if name not in checker.signals:
            raise fail(document, ("symptoms",), f"{name!r} is no signal", checker.suggest(name))
    for name, step in spec.steps.items():
        checker.step(name, step)
    for name, text in spec.values.items():
        if name in checker.signals or name in spec.steps:
            raise fail(document, ("values", name), "is also the name of a signal or step")
        checker.expression(text, "values", name)
    if spec.explain:
        checker.expression(spec.explain, "explain")
    for name, signal in checker.signals.items():
        if signal.step and signal.step.partition(".")[0] not in spec.steps and name in spec.signals:
            raise fail(document, ("signals", name, "step"), f"no step {signal.step.partition('.')[0]!r}")
    for special in spec.headlines.special if spec.headlines else ():
        checker.expression(special.when, "headlines", "special")
    for at, pointer in enumerate(spec.pointers):
        checker.expression(pointer.when, "pointers", at)
        for text in (pointer.text, pointer.command or ""):
            checker.template(text, "pointers", at)
    for name, cause in spec.causes.items():
        checker.cause(name, cause)
    for name, signal in spec.signals.items():
        if signal.goes_with is not None and signal.goes_with not in checker.signals:
            said = f"{signal.goes_with!r} is no signal"
            raise fail(document, ("signals", name, "goes_with"), said, checker.suggest(signal.goes_with))
    checker.formulas()
    checker.cycles()
    shown = _shown(spec, checker)
    return Runbook(
        issue=spec.issue or "",
        title=spec.title or "",
        path=document.path,
        spec=spec,
        signals=checker.signals,
        shown=shown,
        expressions=checker.expressions,
        patterns=patterns if any(s.logs for s in spec.steps.values()) else {},
    )


def _shown(spec: RunbookFile, checker: Checker) -> tuple[str, ...]:
    """Symptoms first, then every other signal that the runbook defines or reads, and what bounds any of these."""
    read_names = {b for e in checker.expressions.values() for n in e.names for b in bases(n)}
    shown = [*spec.symptoms, *(n for n in checker.signals if n in read_names or n in spec.signals)]
    for name in shown:
        share_of = checker.signals[name].share_of
        if share_of:
            wholes = checker.expression(share_of, "signals", name).names
            shown += [n for n in sorted(wholes) if n in checker.signals and n not in shown]
    return tuple(dict.fromkeys(shown))
