"""The rules of a deployment watch: `runbooks/deployments/{hour,day,week}.yaml`, the tool's own or a team's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from oncall.errors import RunbookError
from oncall.model import Frozen, Written
from oncall.model_deploy import Phase
from oncall.model_service import SignalSpec
from oncall.runbook.expression import Expression
from oncall.runbook.loader import LIMITS, Library, check_signal, fail
from oncall.runbook.model import Condition, Identifier
from oncall.yamltext import Document, decode, read

FOLDER = "deployments"
Weight = Literal["rolls back", "watches"]
Probe = Literal["backups", "crash_loop", "logs", "restarts"]
MustNot = Literal["rise", "fall", "move", "leak"]
_KINDS = ("below", "at_least", "must_not")


class RuleSpec(Written, frozen=True):
    """One rule as written. What is not given is taken from the rule that `like` names."""

    like: Annotated[
        Phase | None,
        Meta(description="As the rule of the same name in that phase, but for what is given here."),
    ] = None
    title: Annotated[str | None, Meta(description="That of the signal unless told.")] = None
    why: Annotated[str | None, Meta(description="Why it matters: said where it does not hold.")] = None
    signal: Annotated[str | None, Meta(description="A signal, of this file or of signals.yaml.")] = None
    probe: Annotated[Probe | None, Meta(description="One of the tool's own counts.")] = None
    by: Annotated[
        Literal["avg", "max", "min"],
        Meta(
            description="How the values over the time become one; of a rate max and min are of the worst minutes."
        ),
    ] = "avg"
    below: Annotated[float | None, Meta(description="The target: it must be less.")] = None
    at_least: Annotated[float | None, Meta(description="The target: it must not be less.")] = None
    share_of: Annotated[Condition | None, Meta(description="The target is a share of this.")] = None
    must_not: Annotated[
        MustNot | None, Meta(description="Against what was usual before the deploy, instead of a target.")
    ] = None
    weight: Annotated[Weight | None, Meta(description="What it brings about at most.")] = None
    optional: Annotated[
        bool | None, Meta(description="Where it cannot be read, the verdict does without.")
    ] = None
    issue: Annotated[str | None, Meta(description="The issue to diagnose where it does not hold.")] = None


class PhaseFile(Written, frozen=True):
    """A file of `runbooks/deployments/`."""

    phase: Phase
    title: str
    signals: dict[Identifier, SignalSpec] = {}
    rules: dict[Identifier, RuleSpec] = {}
    notes: tuple[str, ...] = ()
    """What a person has to look at, because no number tells it."""


class Rule(Frozen, frozen=True):
    """A checked rule. Exactly one of `below`, `at_least` and `must_not` says what must hold."""

    id: str
    title: str
    why: str
    weight: Weight
    unit: str | None = None
    signal: str | None = None
    spec: SignalSpec | None = None
    probe: Probe | None = None
    by: Literal["avg", "max", "min"] = "avg"
    below: float | None = None
    at_least: float | None = None
    share_of: str | None = None
    must_not: MustNot | None = None
    optional: bool = False
    issue: str | None = None

    @property
    def lower_is_worse(self) -> bool:
        return self.at_least is not None or self.must_not == "fall"


class Rules(Frozen, frozen=True):
    """The rules of one phase, in the order of the file, and every signal that bounds may be shares of."""

    phase: Phase
    title: str
    rules: tuple[Rule, ...]
    signals: Mapping[str, SignalSpec]
    notes: tuple[str, ...] = ()
    """What a person has to look at besides."""


def rules(phase: Phase, books: Library) -> Rules:
    """Those of a phase; a later folder's file wins. Raises RunbookError (file:line) for a bad file."""
    document, file = _files(phase, books)[-1]
    signals = {**books.signals, **file.signals}
    found = []
    for name, written in file.rules.items():
        spec, more = _whole(document, name, written, books)
        signals |= {n: s for n, s in more.items() if n not in signals}
        found.append(_rule(document, name, spec, signals))
    if not found:
        raise fail(document, ("rules",), "no rule: nothing could ever be kept")
    return Rules(phase=phase, title=file.title, rules=tuple(found), signals=signals, notes=file.notes)


def _files(phase: Phase, books: Library) -> list[tuple[Document, PhaseFile]]:
    """Those of all folders, the one that wins last."""
    name = f"{phase.value}.yaml"
    paths: list[Path] = [p for folder in books.folders if (p := folder / FOLDER / name).is_file()]
    if not paths:
        raise RunbookError(f"there is no {FOLDER}/{name} in {', '.join(map(str, books.folders))}")
    return [_file(path, phase) for path in paths]


def _file(path: Path, phase: Phase) -> tuple[Document, PhaseFile]:
    document = read(path, RunbookError)
    file = decode(document, PhaseFile, RunbookError)
    if file.phase is not phase:
        raise fail(document, ("phase",), f"the file's name says {phase.value!r}")
    for signal, spec in file.signals.items():
        check_signal(document, signal, spec)
    return document, file


def _whole(
    document: Document, name: str, written: RuleSpec, books: Library
) -> tuple[RuleSpec, Mapping[str, SignalSpec]]:
    """The rule with what it takes from another phase, and the signals of that file.

    A team's hour may leave out a rule that the tool's own day is like: then it is the tool's."""
    if written.like is None:
        return written, {}
    others = [file for _, file in reversed(_files(written.like, books)) if name in file.rules]
    if not others or others[0].rules[name].like is not None:
        raise fail(document, ("rules", name, "like"), f"{written.like.value}.yaml has no {name!r} of its own")
    given = {
        f.name: value
        for f in msgspec.structs.fields(RuleSpec)
        if f.name != "like" and (value := getattr(written, f.name)) != f.default
    }
    if given.keys() & set(_KINDS):
        given = {**dict.fromkeys((*_KINDS, "share_of")), **given}
    return msgspec.structs.replace(others[0].rules[name], **given), others[0].signals


def _rule(document: Document, name: str, spec: RuleSpec, signals: Mapping[str, SignalSpec]) -> Rule:
    key = ("rules", name)
    for of in (("signal", "probe"), _KINDS):
        if sum(getattr(spec, one) is not None for one in of) != 1:
            raise fail(document, key, f"give exactly one of {', '.join(of)}")
    if spec.why is None or spec.weight is None:
        raise fail(document, key, "a rule needs `why` and `weight`")
    signal = signals.get(spec.signal or "")
    if spec.signal is not None and signal is None:
        raise fail(document, (*key, "signal"), f"{spec.signal!r} is no signal")
    if signal is not None and (signal.step or signal.up or signal.value):
        raise fail(document, (*key, "signal"), f"{spec.signal!r} does not come from Prometheus")
    if spec.probe is not None and spec.below is None:
        raise fail(document, key, "a `probe` is counted: it needs `below`")
    if spec.share_of is not None:
        _share(document, (*key, "share_of"), spec.share_of, signals)
    return Rule(
        id=name,
        title=spec.title or (signal and signal.title) or name,
        why=spec.why,
        weight=spec.weight,
        unit=signal.unit if signal else None,
        signal=spec.signal,
        spec=signal,
        probe=spec.probe,
        by=spec.by,
        below=spec.below,
        at_least=spec.at_least,
        share_of=spec.share_of,
        must_not=spec.must_not,
        optional=bool(spec.optional),
        issue=spec.issue,
    )


def _share(
    document: Document, key: tuple[str | int, ...], text: str, signals: Mapping[str, SignalSpec]
) -> None:
    try:
        names = Expression(text).names
    except ValueError as error:
        raise fail(document, key, str(error)) from None
    unknown = sorted(n for n in names if n not in signals and n not in LIMITS)
    if unknown:
        raise fail(document, key, f"{unknown[0]!r} is neither a signal nor a limit")
