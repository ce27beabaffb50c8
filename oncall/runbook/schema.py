"""The JSON Schema of a runbook file, from the types that the loader itself decodes."""

from typing import Any

import msgspec

from oncall.runbook.model import RunbookFile
from oncall.units import Duration, Size

_WRITTEN: dict[type, dict[str, Any]] = {
    Duration: {"type": "string", "examples": ["90s", "5m", "1h30m"]},
    Size: {"type": "string", "examples": ["512MB", "2GiB"]},
}


def json_schema() -> dict[str, Any]:
    """What editors complete and check a runbook by: keys, types and words. The loader checks more."""
    found = msgspec.json.schema(RunbookFile, schema_hook=_WRITTEN.__getitem__)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "oncall runbook", **found}
