"""The report for other programs: CSV with one row per cell, and one versioned JSON document."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.analysis.published import SOURCE
from dnnbench.analysis.verdict import judge
from dnnbench.report.verdict import verdict_fields
from dnnbench.text.safe import csv_field, json_text
from dnnbench.trial.spec import EPOCH_DEFINITIONS

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.stats import Estimate

JSON_VERSION = 1

_ESTIMATES = {
    "epoch_s": "epoch_{}_s",
    "test_accuracy": "test_accuracy_{}",
    "validation_accuracy": "validation_accuracy_{}",
    "loss": "loss_{}",
    "staleness": "staleness_{}_updates",
    "compensation_ratio": "compensation_ratio_{}",
    "examples_per_s": "throughput_{}_examples_per_s",
    "worker_cpu_s_per_example": "worker_cpu_{}_s_per_example",
    "parameter_server_cpu_s_per_example": "parameter_server_cpu_{}_s_per_example",
    "warmup_s": "warmup_{}_s",
    "start_up_s": "start_up_{}_s",
}
"""Field of a cell -> the column names of its mean and the half width of its 95 % interval."""


def as_document(analysis: Analysis) -> dict[str, Any]:
    """Return everything in the report as plain values; names end with their units.

    Directories are left out: they are private to this machine, and the digest identifies the data.
    """
    figures = msgspec.to_builtins(analysis)
    del figures["settings"]["data"]["directory"]
    del figures["context"]["options"], figures["context"]["path"]
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


def as_csv(analysis: Analysis) -> str:
    """Return one row per protocol and node count; a field without a figure is empty."""
    rows = [_row(analysis, cell) for cell in analysis.cells]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: csv_field(value) for name, value in row.items()})
    return text.getvalue()


def _row(analysis: Analysis, cell: Cell) -> dict[str, object]:
    settings = analysis.settings
    efficiency, speedup = cell.efficiency, cell.speedup
    overhead = {over.key: over.measured for over in analysis.overhead}.get(cell.key)
    row: dict[str, object] = {
        "sweep": settings.sweep,
        "data": settings.data.title,
        "epoch_definition": settings.epoch_definition,
        "epoch_cut_short_after_steps": settings.epoch_steps or None,
        "pace_ms": settings.pace_ms or None,
        "protocol": cell.protocol,
        "nodes": cell.nodes,
        **{name: cell.variation.get(name) for name in analysis.varied},
        "workers": cell.workers,
        "roles_per_core": cell.roles_per_core,
        "trials_planned": cell.planned,
        "trials_ok": cell.n,
        "trials_degraded": cell.degraded,
        "trials_diverged": cell.diverged,
        "trials_not_learned": cell.not_learned,
        "trials_failed": cell.failed,
        "trials_interrupted": cell.interrupted,
        "trials_not_run": cell.not_run,
        "trials_missing": cell.missing,
        "epoch_published_s": cell.published_epoch_s,
        "not_comparable_with_published": "; ".join(analysis.unlike_report),
        "epoch_minimum_s": cell.epoch_s.minimum if cell.epoch_s else None,
        "epoch_maximum_s": cell.epoch_s.maximum if cell.epoch_s else None,
        "overhead_percent": overhead.percent if overhead else None,
        "overhead_low_percent": overhead.low_percent if overhead else None,
        "overhead_high_percent": overhead.high_percent if overhead else None,
        "efficiency_percent": efficiency.percent if efficiency else None,
        "efficiency_low_percent": efficiency.low_percent if efficiency else None,
        "efficiency_high_percent": efficiency.high_percent if efficiency else None,
        "speedup_ratio": speedup.ratio if speedup else None,
        "speedup_low_ratio": speedup.low if speedup else None,
        "speedup_high_ratio": speedup.high if speedup else None,
        "staleness_p95_updates": cell.staleness_p95,
        "staleness_max_updates": len(cell.staleness_counts) - 1 if cell.staleness_counts else None,
    }
    for field, column in _ESTIMATES.items():
        estimate: Estimate | None = getattr(cell, field)
        row[column.format("mean")] = estimate.mean if estimate else None
        row[column.format("ci95_half_width")] = estimate.half_width if estimate else None
    return row
