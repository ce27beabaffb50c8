"""The evidence of the moment before an act: the diagnosis as `oncall diagnose --replay` reads it."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from oncall import __version__
from oncall.config import state_folder
from oncall.errors import AuditError
from oncall.files import make_private, write_whole
from oncall.model_service import Service

if TYPE_CHECKING:
    from oncall.remediation.wanted import Before

KEPT = 200
"""Files; the oldest go when there are more."""


def folder(env: Mapping[str, str] = os.environ) -> Path:
    return state_folder(env) / "evidence"


def keep(name: str, service: Service, before: "Before", plan_id: str) -> Path:
    """Writes the look, without secrets, and says where. Raises AuditError: without evidence nothing is done."""
    from oncall.diagnosis.kept import kept
    from oncall.diagnosis.saved import dump

    now = datetime.now(UTC)
    saved = kept(
        name,
        service,
        before.asking,
        before.gathered,
        took_ms=before.took_ms,
        version=__version__,
        saved=now,
        alone=len(before.issues) == 1,
        secrets=(os.environ.get("PGPASSWORD", ""),),
    )
    place = folder() / f"{now:%Y%m%dT%H%M%SZ}-{name}-{plan_id}.json.gz"
    try:
        make_private(place.parent)
        write_whole(place, dump(saved, redact=False, packed=True))
        _tidy(place.parent)
    except OSError as error:
        said = f"the evidence cannot be kept in {place}: {(error.strerror or '').lower()}"
        raise AuditError(said, hint="Nothing was done. Free the disk, or set XDG_STATE_HOME.") from None
    return place


def _tidy(where: Path) -> None:
    for old in sorted(where.glob("*.json.gz"))[:-KEPT]:
        old.unlink(missing_ok=True)
