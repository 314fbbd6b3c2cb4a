"""The tables of a report as values, the same for every format.

The title of each table names the data set. What concerns all tables is in the notes at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnnbench.report import details, ranking
from dnnbench.report import wording as w
from dnnbench.report.layout import by_protocol, cell_columns, cell_names, title
from dnnbench.report.rehearsal import rehearsal_table
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import count_text, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.comparisons import Overhead
    from dnnbench.analysis.stats import RatioEstimate
    from dnnbench.text.tables import Fields


_MOST_NAMED: Final = 12
"""Cells that a note names; of more, it gives the number."""


def short_tables(analysis: Analysis) -> list[Table]:
    """Return the tables of the short report: of a grid, the rankings; else Table 2 and overhead."""
    chosen = ranking.tables(analysis) or [
        table_2(analysis),
        rehearsal_table(analysis),
        overheads(analysis),
    ]
    return [table for table in chosen if table.rows]


def report_tables(analysis: Analysis) -> list[Table]:
    """Return the tables of the full report in order, without those that have no rows."""
    tables = [
        table_2(analysis),
        rehearsal_table(analysis),
        comparisons(analysis),
        accuracy(analysis),
        accuracy_gain(analysis),
        accuracy_by_epoch(analysis),
        *ranking.tables(analysis),
        details.staleness(analysis),
        details.throughput(analysis),
        details.cpu_time(analysis),
        details.busy(analysis),
        details.trials(analysis),
        details.placement(analysis),
        details.not_counted(analysis),
    ]
    return [table for table in tables if table.rows]


def closing_notes(analysis: Analysis) -> list[str]:
    """Return the notes that concern all tables; each is written once, at the end of a report."""
    few = [str(cell.key) for cell in analysis.cells if cell.n == 1]
    if len(few) > _MOST_NAMED:
        few = [f"{len(few)} of {len(analysis.cells)} cells"]
    return [
        w.epoch_definition_text(analysis),
        "±: half-width of the 95 % confidence interval over n trials (Student's t).",
        *([f"n = 1: no interval ({', '.join(few)})."] if few else []),
        *w.void_texts(analysis),
        *w.published_texts(analysis),
    ]


def summary(analysis: Analysis) -> Fields:
    """Return the sweep, what it varies, and why its data are not those that were asked for."""
    settings, context = analysis.settings, analysis.context
    trial = w.unvaried(
        analysis,
        epochs=count_text(settings.epochs, "epoch"),
        batch_size=f"batch {settings.batch_size}",
    )
    what = ", ".join([f"{settings.model.name} on {settings.data.title}", *trial])
    lines = [("Sweep", f"{settings.sweep}: {what}")]
    if analysis.varied:
        lines.append(("Varied", w.varied_text(analysis)))
    if context.data_note:
        lines.append(("Data", f"{settings.data.title}: {context.data_note}"))
    return lines


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
    if settings.pace_ms:
        trial.append(f"paced: {settings.pace_ms:g} ms per step or more")
    lines += [
        ("Trial", ", ".join(trial)),
        ("Hosts" if len(context.hosts) > 1 else "Machine", w.machines_text(context)),
        ("Versions", versions or NONE),
    ]
    return lines


def table_2(analysis: Analysis) -> Table:
    """Return seconds per epoch, with the growth below.

    The published figures, and the name of their table, are there only where the setting is theirs.
    """
    headings = ["measured", "n"]
    has_published = any(cell.published_epoch_s for cell in analysis.cells)
    if has_published:
        headings.append("published")

    def figures(cell: Cell) -> list[str]:
        published = cell.published_epoch_s
        return [
            "void" if cell.void else w.mean_text(cell.epoch_s, seconds),
            w.n_text(cell),
            NONE if published is None else f"{published:.2f}",
        ][: len(headings)]

    growth = {
        g.protocol: [
            w.excess_text(g.measured.percent if g.measured else None),
            "",
            w.excess_text(g.published_percent),
        ][: len(headings)]
        for g in analysis.growth
        if not analysis.varied  # each setting has its own, among the comparisons
    }
    table = by_protocol(analysis, headings, figures, growth, "Growth %")
    return Table(
        title(analysis, "Table 2: seconds per epoch" if has_published else "Seconds per epoch"),
        table.columns,
        table.rows,
        [],
        table.totals,
    )


def overheads(analysis: Analysis) -> Table:
    """Return the overhead of each protocol over its baseline in percent, with its interval."""
    return _compared(
        title(analysis, "Overhead of the epoch time in %"),
        [(_pair(over), over.measured, over.published_percent) for over in analysis.overhead],
        [],
    )


def comparisons(analysis: Analysis) -> Table:
    """Return overhead and growth in percent with their intervals."""
    rows = [(_pair(over), over.measured, over.published_percent) for over in analysis.overhead]
    rows += [
        (
            w.with_variation(f"{g.protocol}, {g.from_nodes} to {g.to_nodes} nodes", g.variation),
            g.measured,
            g.published_percent,
        )
        for g in analysis.growth
    ]
    return _compared(
        title(analysis, "Overhead and growth of the epoch time in %"),
        rows,
        [
            "Ratio of geometric means minus 1.",
            "Pairs: trials with the same nodes and repeat; t interval of the log-ratios.",
            "Others: Welch's interval of the logarithms.",
        ],
    )


def _pair(over: Overhead) -> str:
    name = f"{over.protocol} over {over.baseline}, {over.nodes} nodes"
    return w.with_variation(name, over.variation)


def _compared(
    heading: str, rows: Sequence[tuple[str, RatioEstimate | None, float | None]], notes: list[str]
) -> Table:
    columns = [
        Column("Comparison", is_text=True),
        *map(Column, ("measured", "95 % interval", "trials")),
    ]
    if any(published is not None for *_, published in rows):
        columns.append(Column("published"))
    cells = [
        [
            name,
            w.excess_text(ratio.percent if ratio else None),
            w.interval_text(ratio),
            w.pairs_text(ratio),
            w.excess_text(published),
        ][: len(columns)]
        for name, ratio, published in rows
    ]
    return Table(heading, columns, cells, notes)


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
        [
            "Accuracy of the parameters on the parameter servers after all workers had finished.",
            *w.survivors_text(analysis),
        ],
    )


def accuracy_gain(analysis: Analysis) -> Table:
    """Return the final test accuracy of each protocol minus its baseline's."""
    compared = [(_pair(over), over.accuracy_points) for over in analysis.overhead]
    return Table(
        title(analysis, "Gain in final test accuracy, in percentage points"),
        [
            Column("Comparison", is_text=True),
            *map(Column, ("measured", "95 % interval", "trials")),
        ],
        [
            [name, f"{points.mean:+.2f}", w.points_interval_text(points), w.pairs_text(points)]
            for name, points in compared
            if points
        ],
        [],
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
        columns = [
            Column("Epoch"),
            *(Column(count_text(c.nodes, "node"), c.protocol) for c in cells),
        ]
        rows = [[str(e), *of] for e, *of in zip(epochs, *texts, strict=True)]
    return Table(
        title(analysis, "Mean test accuracy in % by epoch"),
        columns,
        rows,
        ["Accuracy of the parameters on the parameter servers when worker:0 finished the epoch."],
    )
