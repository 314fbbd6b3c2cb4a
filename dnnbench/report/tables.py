"""The tables of a report as values, the same for every format.

The title of each table names the data set, and its first note defines the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.analysis.published import SOURCE
from dnnbench.report import details, ranking
from dnnbench.report import wording as w
from dnnbench.report.layout import by_protocol, cell_columns, cell_names, notes, title
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import count_text, seconds

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.text.tables import Fields


_MOST_NAMED: Final = 12
"""Cells that a note names; of more, it gives the number."""


def report_tables(analysis: Analysis) -> list[Table]:
    """Return the tables of the report in order, without those that have no rows."""
    tables = [
        table_2(analysis),
        comparisons(analysis),
        accuracy(analysis),
        accuracy_by_epoch(analysis),
        *ranking.tables(analysis),
        details.staleness(analysis),
        details.throughput(analysis),
        details.cpu_time(analysis),
        details.trials(analysis),
        details.placement(analysis),
        details.not_counted(analysis),
    ]
    return [table for table in tables if table.rows]


def facts(analysis: Analysis) -> Fields:
    """Return the sweep, data, model, protocols, machines and versions, one line each."""
    settings, context = analysis.settings, analysis.context
    model = settings.model
    data = settings.data.title
    regularization = {"l2": f"L2 {model.l2:g}", "dropout": f"dropout {model.dropout:g}"}
    versions = ", ".join(f"{name} {version}" for name, version in context.versions.items())
    lines = [
        ("Sweep", f"{settings.sweep} (profile {context.profile})"),
        ("Data", f"{data}: {context.data_note}" if context.data_note else data),
        ("Model", ", ".join([model.name, *w.unvaried(analysis, **regularization)])),
    ]
    varied = analysis.varied
    lines += [(name, w.protocol_text(spec, varied)) for name, spec in settings.protocols.items()]
    if varied:
        lines.append(("Varied", w.varied_text(analysis)))
    trial = [
        *w.unvaried(
            analysis,
            epochs=count_text(settings.epochs, "epoch"),
            batch_size=f"batch size {settings.batch_size}",
        ),
        count_text(settings.parameter_servers, "parameter server"),
        *w.unvaried(analysis, steps_per_run=f"{settings.steps_per_run} steps per run"),
        f"workers on {settings.device.upper()}",
        *w.warm_start_texts(analysis),
    ]
    if context.parallel > 1:
        trial.append(f"up to {context.parallel} side by side on one network")
    lines += [
        ("Trial", ", ".join(trial)),
        ("Hosts" if len(context.hosts) > 1 else "Machine", w.machines_text(context)),
        ("Versions", versions or NONE),
    ]
    return lines


def table_2(analysis: Analysis) -> Table:
    """Return seconds per epoch, measured and published, with the growth below."""

    def figures(cell: Cell) -> list[str]:
        published = cell.published_epoch_s
        return [
            w.mean_text(cell.epoch_s, seconds),
            w.n_text(cell),
            NONE if published is None else f"{published:.2f}",
        ]

    growth = {
        g.protocol: [
            w.excess_text(g.measured.percent if g.measured else None),
            "",
            w.excess_text(g.published_percent),
        ]
        for g in analysis.growth
        if not analysis.varied  # each setting has its own, among the comparisons
    }
    table = by_protocol(analysis, ("measured", "n", "published"), figures, growth, "Growth %")
    remarks = [
        "Mean over n trials ± the half-width of its 95 % confidence interval (Student's t).",
        f"Published: {SOURCE}; MNIST, one machine with 4 virtual cores per node.",
        w.sharing_text(analysis),
    ]
    if growth:
        ends = analysis.growth[0]
        remarks.append(f"Growth from {ends.from_nodes} to {ends.to_nodes} nodes.")
    return Table(
        title(analysis, "Table 2: seconds per epoch"),
        table.columns,
        table.rows,
        notes(analysis, *remarks, *w.speedup_texts(analysis), *_too_few(analysis)),
        table.totals,
    )


def comparisons(analysis: Analysis) -> Table:
    """Return growth and overhead in percent with their intervals."""
    rows = []
    for over in analysis.overhead:
        name = f"{over.protocol} over {over.baseline}, {over.nodes} nodes"
        name = w.with_variation(name, over.variation)
        rows.append((name, over.measured, over.published_percent))
    for growth in analysis.growth:
        name = f"{growth.protocol}, {growth.from_nodes} to {growth.to_nodes} nodes"
        name = w.with_variation(name, growth.variation)
        rows.append((name, growth.measured, growth.published_percent))
    return Table(
        title(analysis, "Overhead and growth of the epoch time in %"),
        [
            Column("Comparison", is_text=True),
            Column("measured"),
            Column("95 % interval"),
            Column("trials"),
            Column("published"),
        ],
        [
            [
                name,
                w.excess_text(ratio.percent if ratio else None),
                w.interval_text(ratio),
                w.pairs_text(ratio),
                w.excess_text(published),
            ]
            for name, ratio, published in rows
        ],
        notes(
            analysis,
            "Ratio of geometric means minus 1. Trials of two protocols with the same nodes and "
            "repeat are paired (t interval of the log-ratios); all others get Welch's interval of "
            "the logarithms.",
        ),
    )


def accuracy(analysis: Analysis) -> Table:
    """Return the accuracy of the final parameters of a trial."""
    table = by_protocol(
        analysis,
        ("test %", "validation %"),
        lambda cell: [
            w.accuracy_text(cell, cell.test_accuracy),
            w.accuracy_text(cell, cell.validation_accuracy),
        ],
    )
    epochs = w.common_text(analysis, "epochs", "epoch", "all epochs")
    return Table(
        title(analysis, f"Accuracy after {epochs}"),
        table.columns,
        table.rows,
        notes(
            analysis,
            "Accuracy of the parameters on the parameter servers after all workers had finished.",
            *w.survivors_text(analysis),
        ),
    )


def accuracy_by_epoch(analysis: Analysis) -> Table:
    """Return the mean test accuracy by epoch; epochs and cells lie where they take less width."""
    cells = [cell for cell in analysis.cells if cell.accuracy_by_epoch]
    by_cell = [{a.epoch: a.test_accuracy.mean for a in cell.accuracy_by_epoch} for cell in cells]
    epochs = sorted({epoch for of in by_cell for epoch in of})
    texts = [[f"{100 * of[e]:.2f}" if e in of else NONE for e in epochs] for of in by_cell]
    if len(cells) > len(epochs) or analysis.varied:
        columns = [*cell_columns(analysis), *(Column(f"epoch {epoch}") for epoch in epochs)]
        rows = [[*cell_names(analysis, c), *row] for c, row in zip(cells, texts, strict=True)]
    else:
        columns = [Column("Epoch"), *(Column(f"{c.nodes} nodes", c.protocol) for c in cells)]
        rows = [[str(e), *of] for e, *of in zip(epochs, *texts, strict=True)]
    return Table(
        title(analysis, "Mean test accuracy in % by epoch"),
        columns,
        rows,
        notes(
            analysis,
            "Accuracy of the parameters on the parameter servers when worker:0 finished the epoch.",
            *w.survivors_text(analysis),
        ),
    )


def _too_few(analysis: Analysis) -> list[str]:
    """Return a note that lists the cells whose mean has no interval."""
    cells = [str(cell.key) for cell in analysis.cells if cell.n == 1]
    if len(cells) > _MOST_NAMED:
        return [f"n = 1: no interval ({len(cells)} of {len(analysis.cells)} cells)."]
    return [f"n = 1: no interval ({', '.join(cells)})."] if cells else []
