"""The figures as the sections of docs/convergence.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.convergence.comparisons import (
    BASELINE,
    COMPENSATED,
    Cells,
    Comparison,
    at_best_rates,
    at_every_rate,
    kept_over_all_rates,
    of_pair,
    over_all_rates,
    stable_up_to,
)
from benchmarks.convergence.layout import NONE, difference_text, estimate_text, markdown, p_text
from benchmarks.convergence.significance import delay_factor, median_or_none
from benchmarks.convergence.summary import conditions, findings
from dnnbench.analysis.stats import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.convergence.comparisons import Cell
    from benchmarks.convergence.trials import Figures

TARGET_ERROR = {"mnist": 6.0, "fashion-mnist": 18.0}
"""Data set -> test error in percent that a trial is to reach; others have no such table."""

Row = dict[str, str]


def sections(figures: Figures) -> dict[str, str]:
    """Return the text of each section by its name."""
    cells = Cells(figures.trials)
    tables: dict[str, Callable[[Cells, str], str]] = {
        "findings": findings,
        "stable": _stable,
        "errors": _errors,
        "limit": _limit,
        "kept": _kept,
        "pooled": _pooled,
        "comparisons": _comparisons,
        "best": _best,
        "target": _target,
        "staleness": _staleness,
    }
    texts = {"conditions": conditions(figures, cells)}
    for name, write in tables.items():
        parts = (f"**{dataset}**\n\n{write(cells, dataset)}" for dataset in cells.datasets)
        texts[name] = "\n\n".join(parts) + "\n"
    return texts


def _stable(cells: Cells, dataset: str) -> str:
    """Return the largest rate of each protocol at which no trial was lost."""
    rows = []
    for protocol in cells.protocols:
        row = {"protocol": f"`{protocol}`"}
        for nodes in cells.nodes(dataset):
            rate = stable_up_to(cells, dataset, nodes, protocol)
            row[f"{nodes} nodes"] = NONE if rate is None else f"{rate:g}"
        rows.append(row)
    return markdown(rows)


def _limit(cells: Cells, dataset: str) -> str:
    """Set the measured limits of Downpour's rate beside those of a delayed quadratic."""
    rows = []
    for nodes in cells.nodes(dataset):
        tried = cells.rates(dataset, nodes)
        kept = stable_up_to(cells, dataset, nodes, BASELINE)
        lost = [rate for rate in tried if kept is None or rate > kept]
        late = [
            trial.staleness
            for rate in tried
            if (cell := cells.get(dataset, nodes, BASELINE, rate))
            for trial in cell.trials
        ]
        rows.append(
            {
                "nodes": str(nodes),
                "workers - 1": str(nodes - 2),
                "measured mean staleness": estimate_text(estimate(late), 1),
                "largest stable rate, quadratic, relative to no staleness": (
                    f"{delay_factor(nodes - 2):.3f}"
                ),
                f"`{BASELINE}`: all learned up to": NONE if kept is None else f"{kept:g}",
                "not all at": f"{lost[0]:g}" if lost else NONE,
            }
        )
    return markdown(rows)


def _errors(cells: Cells, dataset: str) -> str:
    rows = []
    for nodes in cells.nodes(dataset):
        for rate in cells.rates(dataset, nodes):
            row = {"nodes": str(nodes), "learning rate": f"{rate:g}"}
            for protocol in cells.protocols:
                cell = cells.get(dataset, nodes, protocol, rate)
                row[f"`{protocol}`"] = _error(cell) if cell else NONE
            rows.append(row)
    return markdown(rows)


def _error(cell: Cell) -> str:
    """Write a mean with its interval, and beside it the trials that it leaves out."""
    counts = cell.counts
    lost = [
        f"{counts[result]} {result}" for result in ("did not learn", "diverged") if counts[result]
    ]
    sizes = ", ".join([f"n = {len(cell.learned)}", *lost])
    return f"{estimate_text(cell.error)} ({sizes})" if cell.error else f"{NONE} ({sizes})"


def _comparisons(cells: Cells, dataset: str) -> str:
    found = at_every_rate(cells, dataset)
    found.sort(key=lambda c: (c.ours.key.nodes, c.ours.key.rate))
    rows = [
        {
            "nodes": str(comparison.ours.key.nodes),
            "learning rate": f"{comparison.ours.key.rate:g}",
            "protocol": f"`{comparison.ours.key.protocol}`",
        }
        | _test(comparison)
        for comparison in found
    ]
    return markdown(rows)


def _kept(cells: Cells, dataset: str) -> str:
    rows = [
        {
            "nodes": str(one.nodes),
            "protocol": f"`{one.protocol}`",
            "learned": f"{one.ours} of {one.trials}",
            f"`{BASELINE}` learned": f"{one.theirs} of {one.trials}",
            "p": p_text(one.p),
            "p, Holm": p_text(one.adjusted),
            "conclusion": one.verdict,
        }
        for one in kept_over_all_rates(cells, dataset)
    ]
    return markdown(rows)


def _pooled(cells: Cells, dataset: str) -> str:
    rows = [
        {
            "nodes": str(one.nodes),
            "protocol": f"`{one.protocol}`",
            "learning rates": ", ".join(f"{rate:g}" for rate in one.rates),
            "p": p_text(one.p),
            "p, Holm": p_text(one.adjusted),
            "conclusion": one.verdict,
        }
        for one in over_all_rates(cells, dataset)
    ]
    return markdown(rows)


def _test(comparison: Comparison) -> Row:
    """Return the columns of a test."""
    difference = NONE if comparison.difference is None else difference_text(comparison.difference)
    if comparison.low is not None and comparison.high is not None:
        difference += f" ({difference_text(comparison.low)} to {difference_text(comparison.high)})"
    ours, theirs = comparison.ours, comparison.theirs
    return {
        "learned": f"{len(ours.learned)} of {len(ours.trials)}",
        f"`{BASELINE}` learned": f"{len(theirs.learned)} of {len(theirs.trials)}",
        "difference, points": difference,
        "test": {"welch": "Welch", "ranks": "ranks", "none": NONE}[comparison.method],
        "p": NONE if comparison.method == "none" else p_text(comparison.p),
        "p, Holm": NONE if comparison.method == "none" else p_text(comparison.adjusted),
        "conclusion": comparison.verdict,
    }


def _best(cells: Cells, dataset: str) -> str:
    found = at_best_rates(cells, dataset)
    rows = []
    for nodes in cells.nodes(dataset):
        base = cells.best(dataset, nodes, BASELINE)
        for protocol in cells.protocols:
            cell = cells.best(dataset, nodes, protocol)
            row = {"nodes": str(nodes), "protocol": f"`{protocol}`"}
            if cell is None:
                rows.append(row | {"learning rate": NONE})
                continue
            largest = cells.rates_of(dataset, nodes, protocol)[-1]
            edge = ", the largest tried" if cell.key.rate == largest else ""
            row |= {"learning rate": f"{cell.key.rate:g}{edge}", "test error %": _error(cell)}
            comparison = of_pair(found, cell, base)
            rows.append(row | (_short(comparison) if comparison else {}))
    return markdown(rows)


def _short(comparison: Comparison) -> Row:
    columns = _test(comparison)
    shown = ("difference, points", "p, Holm", "conclusion")
    return {f"{name}": columns[name] for name in shown}


def _target(cells: Cells, dataset: str) -> str:
    target = TARGET_ERROR.get(dataset)
    if target is None:
        return "No target is set for this data set.\n"
    rows = []
    for nodes in cells.nodes(dataset):
        for protocol in cells.protocols:
            usable = [
                (passes, cell)
                for rate in cells.rates(dataset, nodes)
                if (cell := cells.get(dataset, nodes, protocol, rate))
                and (passes := median_or_none(cell.passes_to(target))) is not None
            ]
            row = {"nodes": str(nodes), "protocol": f"`{protocol}`"}
            if not usable:
                rows.append(row | {"learning rate": NONE})
                continue
            passes, cell = min(usable, key=lambda found: found[0])
            reached = cell.passes_to(target)
            rows.append(
                row
                | {
                    "learning rate": f"{cell.key.rate:g}",
                    "reached by": f"{sum(n is not None for n in reached)} of {len(reached)}",
                    "passes": f"{passes:g}",
                    "CPU s": _median_of(cell, reached, "cpu_s"),
                    "wall s": _median_of(cell, reached, "seconds"),
                }
            )
    head = f"Test error of {target:g} % or less, at the rate that reaches it in the fewest passes."
    return f"{head}\n\n{markdown(rows)}"


def _median_of(cell: Cell, reached: Sequence[int | None], name: str) -> str:
    values = [
        None if passes is None else getattr(trial, name)[passes - 1]
        for trial, passes in zip(cell.trials, reached, strict=True)
    ]
    median = median_or_none(values)
    return NONE if median is None else f"{median:.1f}"


def _staleness(cells: Cells, dataset: str) -> str:
    rows = []
    for nodes in cells.nodes(dataset):
        for rate in cells.rates(dataset, nodes):
            base = cells.get(dataset, nodes, BASELINE, rate)
            row = {"nodes": str(nodes), "learning rate": f"{rate:g}"}
            if base:
                mean = estimate([trial.staleness for trial in base.trials])
                row |= {
                    "mean staleness": estimate_text(mean, 1),
                    "p95": str(max(trial.staleness_p95 for trial in base.trials)),
                    "max": str(max(trial.staleness_max for trial in base.trials)),
                }
            for protocol in COMPENSATED:
                cell = cells.get(dataset, nodes, protocol, rate)
                row[f"`{protocol}`: compensation / gradient"] = _ratio(cell) if cell else NONE
            rows.append(row)
    return markdown(rows)


def _ratio(cell: Cell) -> str:
    """Write the mean ratio of the trials that learned; it says little of the others."""
    found = [t.compensation for t in cell.learned if t.compensation is not None]
    if not found:
        return NONE
    return f"{sum(found) / len(found):.2g} (n = {len(found)})"
