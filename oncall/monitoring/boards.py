"""Reads the files of `runbooks/dashboards/`, the tool's own and a team's, and checks them."""

from pathlib import Path

from oncall.errors import RunbookError, UsageFault
from oncall.monitoring.board_model import BoardFile, BoardSpec, PanelSpec
from oncall.promql import matcher
from oncall.runbook.expression import Expression
from oncall.runbook.loader import Library, check_signal, fail
from oncall.signals import form_of
from oncall.yamltext import Document, decode, read

FOLDER = "dashboards"
NAMES = ("overview", "requests", "database", "operations")
"""The document's own, in its order; a team's others come after them."""
_ONE = frozenset({"gauge", "state", "counter", "bars"})


def board_files(books: Library) -> dict[str, Path]:
    """The file of each dashboard by its name; a later folder's wins. The name is the file's own: overview.yaml."""
    found = {path.stem: path for folder in books.folders for path in sorted((folder / FOLDER).glob("*.yaml"))}
    return {name: found[name] for name in sorted(found, key=_place)}


def _place(name: str) -> tuple[int, str]:
    return (NAMES.index(name) if name in NAMES else len(NAMES), name)


def board(name: str, books: Library) -> BoardSpec:
    """A dashboard by its name. Raises UsageFault where there is none, RunbookError (file:line) for a bad file."""
    files = board_files(books)
    if name not in files:
        raise UsageFault(f"there is no dashboard {name!r}", hint="There are: " + ", ".join(files) + ".")
    document = read(files[name], RunbookError)
    spec = decode(document, BoardFile, RunbookError)
    if spec.dashboard != name:
        raise fail(document, ("dashboard",), f"the file's name says {name!r}")
    for signal, given in spec.signals.items():
        check_signal(document, signal, given)
    found = BoardSpec(
        name=name, title=spec.title, panels=spec.panels, signals={**books.signals, **spec.signals}
    )
    for panel, written in spec.panels.items():
        _Checked(document, found, panel).check(written)
    return found


class _Checked:
    """One panel against the signals that there are."""

    def __init__(self, document: Document, board: BoardSpec, name: str) -> None:
        self.document, self.board, self.key = document, board, ("panels", name)

    def _fail(self, key: str, message: str) -> RunbookError:
        return fail(self.document, (*self.key, key) if key else self.key, message)

    def check(self, panel: PanelSpec) -> None:
        self._source(panel)
        for key in ("signals", "beside"):
            for name in getattr(panel, key):
                self._signal(key, name)
        if panel.names and len(panel.names) != len(panel.signals):
            raise self._fail("names", f"found {len(panel.names)}, expected one for each of `signals`")
        self._bars(panel)
        if panel.bands is not None and panel.bands.share_of is not None:
            self._share_of(panel.bands.share_of)
        if panel.sql is not None:
            self._sql(panel.sql)

    def _source(self, panel: PanelSpec) -> None:
        if panel.kind == "table" and (panel.signals or panel.sql is None):
            raise self._fail("", "a table needs `sql`, and no signals")
        if panel.kind in _ONE and len(panel.signals) != 1:
            raise self._fail("", f"a {panel.kind} needs exactly one of `signals`")
        if panel.kind == "series" and not panel.signals:
            raise self._fail("", "a series needs `signals`")
        if panel.kind in ("bars", "state", "counter") and panel.sql is not None:
            raise self._fail("sql", f"is not for the kind {panel.kind}")
        if panel.kind == "series" and panel.sql is not None and len(panel.signals) != 1:
            raise self._fail("sql", "gives one line: a series with `sql` has one signal")

    def _signal(self, key: str, name: str) -> None:
        if name not in self.board.signals:
            raise self._fail(key, f"{name!r} is no signal")
        spec = self.board.signals[name]
        if spec.up is not None or spec.value is not None or form_of(spec) == "step":
            raise self._fail(key, f"{name!r} is not read from metrics")

    def _bars(self, panel: PanelSpec) -> None:
        if (panel.by is not None) != (panel.kind == "bars"):
            raise self._fail("by", "is the label of `bars`, and they need it")
        if panel.by is None:
            return
        try:
            matcher(panel.by, "=", "")
        except ValueError as error:
            raise self._fail("by", str(error)) from None
        if self.board.signals[panel.signals[0]].promql is not None:
            raise self._fail("signals", "an expression in the form promql cannot be split by a label")

    def _share_of(self, text: str) -> None:
        try:
            Expression(text)
        except ValueError as error:
            raise self._fail("bands", f"share_of: {error}") from None

    def _sql(self, text: str) -> None:
        from oncall.clients.pg_text import check_sql

        if reason := check_sql(text):
            raise self._fail("sql", reason)
