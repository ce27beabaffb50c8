"""What a look brought, fit to be kept: without secrets, and with what is needed to judge it again. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec.structs import replace

from oncall.diagnosis.plan import Plan
from oncall.diagnosis.readings import Gathered
from oncall.diagnosis.redact import retold
from oncall.model import Frozen, Scalar, StepReading, Unavailable
from oncall.model_service import SIGNAL_FORMS, HttpBackend, Service, SignalSpec
from oncall.scrub import masked, scrub, secrets_of

Form = Mapping[str, str | float | dict[str, str]]


class Saved(Frozen, frozen=True):
    """One look at a service: what was read, and what is needed to judge it again."""

    name: str
    service: Service
    gathered: Gathered
    issues: tuple[str, ...]
    alone: bool
    """One issue was asked for by its name."""
    forms: Mapping[str, Form]
    """What each signal was, by its key: one of another form is another question."""
    patterns: Mapping[str, str]
    took_ms: int
    version: str
    """Of the tool that asked."""
    saved: datetime
    redacted: bool = False

    def answers_to(self, asking: Plan) -> Gathered:
        """What was read, by the keys of another plan; what that asks besides is left out."""
        keys = {k: old for k, spec in asking.signals.items() if (old := self._key(k, spec))}
        found = self.gathered
        return replace(
            found,
            signals={k: found.signals[old] for k, old in keys.items() if old in found.signals},
            live={k: found.live[old] for k, old in keys.items() if old in found.live},
            answers={k: self._counted(k, a, asking.patterns) for k, a in found.answers.items()},
        )

    def _key(self, key: str, spec: SignalSpec) -> str | None:
        """Where a signal of this form was saved, under its own name first."""
        form, name = form_of(spec), key.partition("@")[0]
        same = [k for k, known in self.forms.items() if known == form]
        return next((k for k in same if k.partition("@")[0] == name), next(iter(same), None))

    def _counted(self, key: str, read: StepReading, patterns: Mapping[str, str]) -> StepReading:
        """Without the columns of patterns that meant something else then."""
        table = read.answer
        if not key.startswith("logs:") or isinstance(table, Unavailable):
            return read
        other = {n for n, text in patterns.items() if self.patterns.get(n, text) != text}
        gone = {f"{n}{end}" for n in other for end in ("", "_usual", "_example")}
        kept = [at for at, column in enumerate(table.columns) if column.name not in gone]
        rows = tuple(tuple(row[at] for at in kept) for row in table.rows)
        return replace(
            read, answer=replace(table, columns=tuple(table.columns[at] for at in kept), rows=rows)
        )


def kept(
    name: str,
    service: Service,
    asking: Plan,
    found: Gathered,
    *,
    took_ms: int,
    version: str,
    saved: datetime,
    alone: bool,
    secrets: Iterable[str] = (),
) -> Saved:
    """What a look brought, without the secrets of the service and those that are given besides."""
    return Saved(
        name=name,
        service=without_credentials(service),
        gathered=scrubbed(found, service, secrets),
        issues=tuple(r.issue for r in asking.runbooks),
        alone=alone,
        forms={k: form_of(s) for k, s in asking.signals.items()},
        patterns=asking.patterns,
        took_ms=took_ms,
        version=version,
        saved=saved,
    )


def form_of(spec: SignalSpec) -> Form:
    """What is asked, without the words and bounds that a runbook gives it."""
    given = {k: getattr(spec, k) for k in (*SIGNAL_FORMS, "of", "across")}
    return {k: msgspec.to_builtins(v) for k, v in given.items() if v is not None}


def without_credentials(service: Service) -> Service:
    """The service as it may be kept: where its backends are, and nothing that opens them."""
    shown = masked(service)
    changes: dict[str, object] = {"headers": {}, "tls": None}
    for name in ("prometheus", "alertmanager", "ollama"):
        at: HttpBackend | None = getattr(shown, name)
        changes[name] = at and replace(at, headers={}, basic=None, bearer=None, tls=None)
    return replace(shown, **changes)


def scrubbed(found: Gathered, service: Service, more: Iterable[str] = ()) -> Gathered:
    """What was read, with `***` for each secret of the service, and for those that are known besides.

    A password that is the name of the role or of the database as well stands there as that name, and stays."""
    at = found.database
    named = {"", *((at.host, at.database, at.role) if at else ())}
    named |= {service.environment, (service.postgres and service.postgres.application_name) or ""}
    given = {*secrets_of(service), *(s for s in more if len(s) > 2)} - named
    secrets = sorted(given, key=lambda s: (-len(s), s))

    def clean(text: str) -> str:
        return scrub(text, secrets)

    def cell(_key: str, _column: str, value: Scalar) -> Scalar:
        return clean(value) if isinstance(value, str) else value

    return retold(found, said=clean, cell=cell, asked=clean)
