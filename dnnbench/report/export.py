"""The report for other programs as one versioned JSON document."""

from __future__ import annotations

from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dnnbench.analysis.published import SOURCE
from dnnbench.analysis.verdict import judge
from dnnbench.report.verdict import verdict_fields
from dnnbench.text.safe import json_text
from dnnbench.trial.spec import EPOCH_DEFINITIONS

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis

JSON_VERSION: Final = 1
PRIVATE: Final = (
    ("DataSpec", ("settings", "data"), "directory"),
    ("Context", ("context",), "options"),
    ("Context", ("context",), "path"),
)
"""Struct, its place and its field, of what is private to this machine and not in the document."""


def as_document(analysis: Analysis) -> dict[str, Any]:
    """Return everything in the report as plain values; names end with their units.

    Directories are left out: they are private to this machine, and the digest identifies the data.
    """
    figures = msgspec.to_builtins(analysis)
    for _, place, field in PRIVATE:
        del reduce(getitem, place, figures)[field]
    verdict = msgspec.to_builtins(judge(analysis))
    verdict["text"] = dict(verdict_fields(analysis, is_private=False))
    return {
        "dnnbench_report": JSON_VERSION,
        "verdict": verdict,
        "published_source": SOURCE,
        "epoch": EPOCH_DEFINITIONS[analysis.settings.epoch_definition],
        **figures,
    }


def as_json(analysis: Analysis) -> str:
    """Return ``as_document`` as indented JSON text."""
    return json_text(as_document(analysis))
