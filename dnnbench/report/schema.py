"""The JSON Schema of the JSON report, made from the structs that it is written from."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from dnnbench.analysis.analyse import Analysis
from dnnbench.analysis.published import SOURCE
from dnnbench.analysis.verdict import Verdict
from dnnbench.report.export import JSON_VERSION, PRIVATE
from dnnbench.text.safe import json_text
from dnnbench.trial.spec import EPOCH_DEFINITIONS

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Final = {"type": "string"}


def report_schema() -> dict[str, Any]:
    """Return the schema of `dnnbench.report.export.as_document`."""
    _, parts = msgspec.json.schema_components((Analysis, Verdict), ref_template="#/$defs/{name}")
    for name, _, field in PRIVATE:
        _forget(parts[name], field)
    verdict = parts["Verdict"]
    verdict["properties"]["text"] = {"type": "object", "additionalProperties": _TEXT}
    verdict["required"].append("text")
    report = parts.pop("Analysis")
    own = {
        "dnnbench_report": {"const": JSON_VERSION},
        "verdict": {"$ref": "#/$defs/Verdict"},
        "published_source": {"const": SOURCE},
        "epoch": {"enum": list(EPOCH_DEFINITIONS.values())},
    }
    return {
        "$schema": _DIALECT,
        **report,
        "title": "dnnbench report",
        "properties": own | report["properties"],
        "required": [*own, *report["required"]],
        "$defs": parts,
    }


def as_json() -> str:
    """Return the schema as indented JSON text."""
    return json_text(report_schema())


def _forget(schema: dict[str, Any], field: str) -> None:
    del schema["properties"][field]
    schema["required"] = [name for name in schema["required"] if name != field]
