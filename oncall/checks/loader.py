"""Reads the files of `runbooks/checks/`, the tool's own and a team's, and checks them before they are needed."""

from collections.abc import Mapping
from pathlib import Path

from oncall.checks.model import Check, CheckFile, LineSpec
from oncall.errors import RunbookError, UsageFault
from oncall.model_service import SignalSpec
from oncall.runbook.expression import bases
from oncall.runbook.loader import Checker, Library, check_signal, fail
from oncall.runbook.model import Runbook, RunbookFile
from oncall.yamltext import Document, decode, read

FOLDER = "checks"
_SOURCES = ("signal", "value", "probe")


def check_files(books: Library) -> dict[str, Path]:
    """The file of each check by its name; a later folder's wins. The name is the file's own: daily.yaml."""
    return {path.stem: path for folder in books.folders for path in sorted((folder / FOLDER).glob("*.yaml"))}


def check(name: str, books: Library) -> Check:
    """A check by its name. Raises UsageFault where there is none, RunbookError (file:line) for a bad file."""
    files = check_files(books)
    if name not in files:
        raise UsageFault(f"there is no check {name!r}", hint="There are: " + ", ".join(files) + ".")
    document = read(files[name], RunbookError)
    spec = decode(document, CheckFile, RunbookError)
    if spec.check != name:
        raise fail(document, ("check",), f"the file's name says {name!r}")
    return _checked(document, spec, books.signals)


def _checked(document: Document, spec: CheckFile, shared: Mapping[str, SignalSpec]) -> Check:
    for name, signal in spec.signals.items():
        check_signal(document, name, signal)
    inner = RunbookFile(
        issue=spec.check, title=spec.title, signals=spec.signals, steps=spec.steps, values=spec.values
    )
    checker = Checker(document, inner, shared)
    for name, step in spec.steps.items():
        checker.step(name, step)
    for name, text in spec.values.items():
        checker.expression(text, "values", name)
    for name, line in spec.lines.items():
        _line(checker, name, line)
    checker.formulas()
    checker.cycles()
    return Check(
        name=spec.check, title=spec.title, lines=spec.lines, signals=checker.signals, book=_book(checker)
    )


def _line(checker: Checker, name: str, line: LineSpec) -> None:
    key = ("lines", name)
    given = [source for source in _SOURCES if getattr(line, source) is not None]
    if len(given) != 1:
        raise fail(checker.document, key, f"give exactly one of {', '.join(_SOURCES)}")
    if line.signal is not None and line.signal not in checker.signals:
        raise fail(checker.document, (*key, "signal"), f"{line.signal!r} is no signal")
    for at, signal in enumerate(line.of):
        if signal not in checker.signals:
            raise fail(checker.document, (*key, "of", at), f"{signal!r} is no signal")
    if line.value is not None:
        checker.expression(line.value, *key, "value")
        if line.title is None:
            raise fail(checker.document, key, "a `value` needs a `title`")
    if line.text is not None:
        checker.template(line.text, *key, "text")
    if line.detail is not None and line.detail not in checker.spec.steps:
        raise fail(checker.document, (*key, "detail"), f"{line.detail!r} is no step")


def _book(checker: Checker) -> Runbook:
    """What the formulas read, as a runbook: signals that no formula names are asked over their own time."""
    named = {base for parsed in checker.expressions.values() for n in parsed.names for base in bases(n)}
    spec = checker.spec
    return Runbook(
        issue=spec.issue or "",
        title=spec.title or "",
        path=checker.document.path,
        spec=spec,
        signals=checker.signals,
        shown=tuple(n for n in checker.signals if n in named),
        expressions=checker.expressions,
    )
