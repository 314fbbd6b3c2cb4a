"""The table of a suite, and its sections of docs/reliability.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from benchmarks.chaos.damage import KINDS
from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.records import CONTROL, rows

if TYPE_CHECKING:
    from benchmarks.chaos.records import Figures


def sections(figures: Figures) -> dict[str, str]:
    """Return the text of each section by its name."""
    return {"faults": f"{_conditions(figures)}\n\n{table(figures)}\n"}


def table(figures: Figures) -> str:
    """Return a row per kind of fault, their sum, and what went wrong."""
    order = [fault.name for fault in FAULTS] + [kind.name for kind in KINDS]
    cells = [row.cells for row in rows(figures.injected, order)]
    parts = [tabulate(cells, headers="keys", tablefmt="github")]
    problems = [
        f"- {record.fault}, {record.place}, {record.moment}, {record.target}: "
        + "; ".join(record.problems)
        for record in figures.records
        if not record.is_survived
    ]
    if problems:
        parts.append("Promises that were not kept:\n\n" + "\n".join(problems))
    return "\n\n".join(parts)


def _conditions(figures: Figures) -> str:
    before = figures.before
    controls = [record for record in figures.records if record.fault == CONTROL]
    sound = sum(record.is_survived for record in controls)
    return (
        f"{before.taken_at}, seed {figures.seed}: {before.cpu_model}, {before.cores_usable:g} "
        f"cores, {before.memory_bytes / 2**30:.0f} GiB, {before.kernel}, Python {before.python}, "
        f"commit {before.git_commit}; load average {before.load_average[0]:.1f} before, "
        f"{figures.load_after[0]:.1f} after; {figures.duration_s / 60:.0f} minutes, "
        f"{figures.jobs} sweeps side by side. {figures.missed} more faults found their target "
        f"already gone, and were drawn again. {sound} of {len(controls)} sweeps without a fault "
        "passed the same checks."
    )
