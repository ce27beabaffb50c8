"""A runbook as text to read and paste, or as JSON. Imports no rich: nothing here is coloured."""

from collections.abc import Iterator, Sequence

import msgspec

from oncall.model_shown import ShownCause, ShownRunbook
from oncall.render.text import safe, safe_lines


def shown_json(shown: ShownRunbook) -> bytes:
    """The runbook as one document: schema `oncall/runbook/1`."""
    return msgspec.json.encode(shown)


def runbooks_json(rows: Sequence[tuple[str, str, Sequence[str], str]]) -> bytes:
    """Issue, title, causes and file of every runbook: schema `oncall/runbooks/1`."""
    found = [{"issue": i, "title": t, "causes": [f"{i}.{c}" for c in cs], "file": f} for i, t, cs, f in rows]
    return msgspec.json.encode({"schema": "oncall/runbooks/1", "runbooks": found})


def checked_json(paths: Sequence[str]) -> bytes:
    """The files that were checked and are right: schema `oncall/runbook-check/1`."""
    return msgspec.json.encode({"schema": "oncall/runbook-check/1", "ok": True, "files": list(paths)})


def shown_text(shown: ShownRunbook, *, markdown: bool) -> str:
    """Every step with its query on lines of its own, never wrapped."""
    return "\n".join(_lines(shown, markdown))


def _lines(shown: ShownRunbook, markdown: bool) -> Iterator[str]:
    def heading(text: str) -> str:
        return f"## {text}" if markdown else text.upper()

    yield f"{'# ' if markdown else ''}{safe(shown.title)} ({shown.issue})"
    yield f"from {safe(shown.path)}"
    yield f"\n{heading('Signals')}"
    for signal in shown.signals:
        yield f"\n- {safe(signal.title)} ({signal.id}){'  ' + signal.bounds if signal.bounds else ''}"
        yield from _code(signal.query or "", "promql", markdown)
    yield f"\n{heading('Steps')}"
    for step in shown.steps:
        yield f"\n- {safe(step.title)} ({step.id}, {step.probe}). {safe(step.why)}"
        yield from _code(step.query, "sql" if step.probe == "postgres" else "", markdown)
    yield f"\n{heading('Values')}"
    yield from _code("\n".join(f"{n}: {' '.join(v.split())}" for n, v in shown.values.items()), "", markdown)
    yield f"\n{heading('Causes')}"
    for cause in shown.causes:
        yield from _cause(cause)


def _cause(cause: ShownCause) -> Iterator[str]:
    yield f"\n- {safe(cause.title)} ({cause.id}). {safe(cause.why)}"
    for item in cause.evidence:
        yield f"    {item.role}: {safe(item.when)}"
        if item.why:
            yield f"      {safe(item.why)}"
    yield from (f"    next: {safe(command)}" for command in cause.next)
    yield from (f"    later: {safe(advice)}" for advice in cause.advice)


def _code(text: str, language: str, markdown: bool) -> Iterator[str]:
    lines = safe_lines(text.strip("\n"))
    yield from (f"```{language}", *lines, "```") if markdown else (f"    {line}" for line in lines)
