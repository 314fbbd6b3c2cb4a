"""Sentences of docs/convergence.md: the conditions of the trials, and the findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.convergence.comparisons import (
    BASELINE,
    COMPENSATED,
    Cells,
    Comparison,
    at_best_rates,
    of_pair,
    over_all_rates,
    stable_up_to,
)
from benchmarks.convergence.experiment import SEQUENTIAL
from benchmarks.convergence.layout import estimate_text, p_text
from dnnbench.text.words import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.convergence.comparisons import Cell
    from benchmarks.convergence.trials import Figures


def conditions(figures: Figures, cells: Cells) -> str:
    """State how many trials there are, of what, and on which machine."""
    facts = figures.conditions
    counts = []
    for dataset in cells.datasets:
        of_nodes = (_trial_count(figures, dataset, nodes) for nodes in (1, *cells.nodes(dataset)))
        counts.append(f"{dataset} ({'; '.join(of_nodes)})")
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    low, high = facts.load_average
    failed = ""
    if facts.unfinished:
        failed = f" {count_text(facts.unfinished, 'execution')} ended without a result."
    return (
        f"{len(figures.trials)} trials, {facts.first_at} to {facts.last_at}: {', '.join(counts)}. "
        f"{facts.passes} passes over the training examples in batches of {facts.batch_size}."
        f"{failed}\n\n"
        f"{facts.cpu_model}, {facts.cores:g} cores, {facts.kernel}, {versions}, commit "
        f"{', '.join(facts.commits)}. Load average before and after the sweeps, which themselves "
        f"add to it: {low:.1f} to {high:.1f}.\n"
    )


def _trial_count(figures: Figures, dataset: str, nodes: int) -> str:
    seeds: dict[tuple[str, float], set[int]] = {}
    for trial in figures.trials:
        if (trial.dataset, trial.nodes) == (dataset, nodes):
            seeds.setdefault((trial.protocol, trial.rate), set()).add(trial.seed)
    sizes = sorted({len(found) for found in seeds.values()})
    few, many = (sizes[0], sizes[-1]) if sizes else (0, 0)
    text = f"{few}" if few == many else f"{few} to {many}"
    return f"{count_text(nodes, 'node')}: {text} seeds per cell"


def findings(cells: Cells, dataset: str) -> str:
    """Sum up the tables, one line per node count."""
    pooled = over_all_rates(cells, dataset)
    best = at_best_rates(cells, dataset)
    lines = []
    for nodes in cells.nodes(dataset):
        kept = [
            f"{'no rate' if rate is None else f'{rate:g}'} under `{protocol}`"
            for protocol in (BASELINE, *COMPENSATED)
            for rate in [stable_up_to(cells, dataset, nodes, protocol)]
        ]
        tested = [
            f"`{one.protocol}` {one.verdict} (p = {p_text(one.adjusted)})"
            for one in pooled
            if one.nodes == nodes and one.protocol in COMPENSATED
        ]
        base = cells.best(dataset, nodes, BASELINE)
        at_best = [
            f"`{protocol}` {estimate_text(cell.error)} %{_conclusion(best, cell, base)}"
            for protocol in (SEQUENTIAL, BASELINE, *COMPENSATED)
            if (cell := cells.best(dataset, nodes, protocol))
        ]
        lines.append(
            f"- **{nodes} nodes.** Every trial learned up to a rate of {', '.join(kept)}. Over all "
            f"rates, against `{BASELINE}`: {', '.join(tested) or 'no test'}. At its own best rate: "
            f"{', '.join(at_best) or 'none'}."
        )
    return "\n".join(lines)


def _conclusion(found: Sequence[Comparison], ours: Cell, base: Cell | None) -> str:
    comparison = of_pair(found, ours, base)
    return f" ({comparison.verdict})" if comparison else ""
