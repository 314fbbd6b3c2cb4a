"""The tables of a report as values, the same for every format.

The title of each table names the data set, and its first note defines the epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.analysis.published import SOURCE
from dnnbench.report import wording as w
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import count_text, seconds
from dnnbench.trial.spec import CellKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.text.tables import Fields

_NODES = Column("Nodes")
_PROTOCOL = Column("Protocol", is_text=True)


def report_tables(analysis: Analysis) -> list[Table]:
    """Return the tables of the report in order, without those that have no rows."""
    tables = [
        table_2(analysis),
        comparisons(analysis),
        accuracy(analysis),
        accuracy_by_epoch(analysis),
        staleness(analysis),
        throughput(analysis),
        cpu_time(analysis),
        trials(analysis),
        placement(analysis),
        not_counted(analysis),
    ]
    return [table for table in tables if table.rows]


def facts(analysis: Analysis) -> Fields:
    """Return the sweep, data, model, protocols, machines and versions, one line each."""
    settings, context = analysis.settings, analysis.context
    model = settings.model
    data = settings.data.title
    versions = ", ".join(f"{name} {version}" for name, version in context.versions.items())
    lines = [
        ("Sweep", f"{settings.sweep} (profile {context.profile})"),
        ("Data", f"{data}: {context.data_note}" if context.data_note else data),
        ("Model", f"{model.name}, L2 {model.l2:g}, dropout {model.dropout:g}"),
    ]
    lines += [(name, w.protocol_text(spec)) for name, spec in settings.protocols.items()]
    trial = [
        count_text(settings.epochs, "epoch"),
        f"batch size {settings.batch_size}",
        count_text(settings.parameter_servers, "parameter server"),
        f"{settings.steps_per_run} steps per run",
    ]
    lines += [
        ("Trial", ", ".join(trial)),
        ("Hosts" if len(context.hosts) > 1 else "Machine", w.machines_text(context)),
        ("Versions", versions or NONE),
    ]
    return lines


def table_2(analysis: Analysis) -> Table:
    """Return seconds per epoch, measured and published, with the growth below."""
    columns, totals = [_NODES], ["Growth %"]
    for protocol in analysis.protocols:
        columns += [Column(name, protocol) for name in ("measured", "n", "published")]
        growth = next((g for g in analysis.growth if g.protocol == protocol), None)
        measured = growth.measured.percent if growth and growth.measured else None
        published = growth.published_percent if growth else None
        totals += [w.excess_text(measured), "", w.excess_text(published)]
    rows = []
    for nodes in analysis.nodes:
        row = [str(nodes)]
        for cell in _row(analysis, nodes):
            if cell is None:
                row += [NONE, NONE, NONE]
                continue
            published = cell.published_epoch_s
            row += [w.mean_text(cell.epoch_s, seconds), w.n_text(cell)]
            row.append(NONE if published is None else f"{published:.2f}")
        rows.append(row)
    notes = [
        "Mean over n trials ± the half-width of its 95 % confidence interval (Student's t).",
        f"Published: {SOURCE}; MNIST, one machine with 4 virtual cores per node.",
        w.sharing_text(analysis),
    ]
    if analysis.growth:
        ends = analysis.growth[0]
        notes.append(f"Growth from {ends.from_nodes} to {ends.to_nodes} nodes.")
    return Table(
        _title(analysis, "Table 2: seconds per epoch"),
        columns,
        rows,
        _notes(analysis, *notes, *w.speedup_texts(analysis), *_too_few(analysis)),
        [totals] if analysis.growth else [],
    )


def comparisons(analysis: Analysis) -> Table:
    """Return growth and overhead in percent with their intervals."""
    rows = []
    for over in analysis.overhead:
        name = f"{over.protocol} over {over.baseline}, {over.nodes} nodes"
        rows.append((name, over.measured, over.published_percent))
    for growth in analysis.growth:
        name = f"{growth.protocol}, {growth.from_nodes} to {growth.to_nodes} nodes"
        rows.append((name, growth.measured, growth.published_percent))
    return Table(
        _title(analysis, "Overhead and growth of the epoch time in %"),
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
        _notes(
            analysis,
            "Ratio of geometric means minus 1. Trials of two protocols with the same nodes and "
            "repeat are paired (t interval of the log-ratios); all others get Welch's interval of "
            "the logarithms.",
        ),
    )


def accuracy(analysis: Analysis) -> Table:
    """Return the accuracy of the final parameters of a trial."""
    columns = [_NODES]
    for protocol in analysis.protocols:
        columns += [Column("test %", protocol), Column("validation %", protocol)]
    rows = []
    for nodes in analysis.nodes:
        row = [str(nodes)]
        for cell in _row(analysis, nodes):
            if cell is None:
                row += [NONE, NONE]
                continue
            row.append(w.accuracy_text(cell, cell.test_accuracy))
            row.append(w.accuracy_text(cell, cell.validation_accuracy))
        rows.append(row)
    epochs = count_text(analysis.settings.epochs, "epoch")
    return Table(
        _title(analysis, f"Accuracy after {epochs}"),
        columns,
        rows,
        _notes(
            analysis,
            "Accuracy of the parameters on the parameter servers after all workers had finished.",
            *w.survivors_text(analysis),
        ),
    )


def accuracy_by_epoch(analysis: Analysis) -> Table:
    """Return the mean test accuracy by epoch, with one column per cell."""
    cells = [cell for cell in analysis.cells if cell.accuracy_by_epoch]
    columns = [Column("Epoch")]
    columns += [Column(f"{cell.nodes} nodes", cell.protocol) for cell in cells]
    by_cell = [{a.epoch: a.test_accuracy.mean for a in cell.accuracy_by_epoch} for cell in cells]
    rows = [
        [str(epoch), *(f"{100 * of[epoch]:.2f}" if epoch in of else NONE for of in by_cell)]
        for epoch in sorted({epoch for of in by_cell for epoch in of})
    ]
    return Table(
        _title(analysis, "Mean test accuracy in % by epoch"),
        columns,
        rows,
        _notes(
            analysis,
            "Accuracy of the parameters on the parameter servers when worker:0 finished the epoch.",
            *w.survivors_text(analysis),
        ),
    )


def staleness(analysis: Analysis) -> Table:
    """Return the staleness of updates, and the size of the compensation."""
    return Table(
        _title(analysis, "Staleness in updates"),
        [
            _NODES,
            _PROTOCOL,
            Column("mean"),
            Column("p95"),
            Column("max"),
            Column("distribution", is_text=True),
            Column("compensation / gradient"),
        ],
        [
            [
                str(cell.nodes),
                cell.protocol,
                w.mean_text(cell.staleness, "{:.2f}".format),
                NONE if cell.staleness_p95 is None else str(cell.staleness_p95),
                str(len(cell.staleness_counts) - 1) if cell.staleness_counts else NONE,
                w.histogram_text(cell.staleness_counts),
                w.scientific_text(cell.compensation_ratio),
            ]
            for cell in analysis.cells
        ],
        _notes(
            analysis,
            "Updates by other workers between a worker's pull and its push; the distribution runs "
            "from 0 to the maximum. Last column: mean ratio of the norms.",
        ),
    )


def throughput(analysis: Analysis) -> Table:
    """Return examples per second of all workers together, and the efficiency of one worker.

    Where one process without parameter server was measured, also the speedup over it.
    """
    has_speedup = any(cell.speedup for cell in analysis.cells)
    columns = [Column("x one process"), Column("95 % interval")] if has_speedup else []
    note = "x one process: examples/s of all workers over those of one process without messages."
    return Table(
        _title(analysis, "Global throughput and scaling efficiency"),
        [
            _NODES,
            _PROTOCOL,
            Column("workers"),
            Column("examples/s"),
            Column("efficiency %"),
            Column("95 % interval"),
            *columns,
        ],
        [
            [
                str(cell.nodes),
                cell.protocol,
                str(cell.workers),
                w.mean_text(cell.examples_per_s, "{:,.0f}".format),
                f"{cell.efficiency.percent:.1f}" if cell.efficiency else NONE,
                "base" if _is_base(analysis, cell) else w.interval_text(cell.efficiency, ".1f"),
                *(w.speedup_cells(cell.speedup) if has_speedup else []),
            ]
            for cell in analysis.cells
        ],
        _notes(
            analysis,
            "Efficiency: examples/s per worker, relative to the smallest node count.",
            *([note] if has_speedup else []),
        ),
    )


def cpu_time(analysis: Analysis) -> Table:
    """Return roles per core and CPU time per example."""
    micro, write = 1e6, "{:.1f}".format
    return Table(
        _title(analysis, "Roles per core, and CPU time per example"),
        [
            _NODES,
            _PROTOCOL,
            Column("roles per core"),
            Column("worker µs/example"),
            Column("parameter server µs/example"),
        ],
        [
            [
                str(cell.nodes),
                cell.protocol,
                f"{cell.roles_per_core:.1f}",
                w.mean_text(cell.worker_cpu_s_per_example, write, micro),
                w.mean_text(cell.parameter_server_cpu_s_per_example, write, micro),
            ]
            for cell in analysis.cells
        ],
        _notes(
            analysis,
            "CPU time of each process, all threads, during the measured epochs.",
            w.sharing_text(analysis),
        ),
    )


def trials(analysis: Analysis) -> Table:
    """Return the planned trials by status, the range of epoch times, warm-up and start-up."""
    steps = analysis.settings.warmup_steps
    return Table(
        _title(analysis, "Trials"),
        [
            _NODES,
            _PROTOCOL,
            Column("ok"),
            Column("others", is_text=True),
            Column("s/epoch, range"),
            Column("warm-up s"),
            Column("start-up s"),
        ],
        [
            [
                str(cell.nodes),
                cell.protocol,
                f"{cell.n} of {cell.planned}",
                w.lost_text(cell),
                w.range_text(cell.epoch_s, seconds),
                NONE if cell.warmup_s is None else seconds(cell.warmup_s.mean),
                NONE if cell.start_up_s is None else f"{cell.start_up_s.mean:.1f}",
            ]
            for cell in analysis.cells
        ],
        _notes(
            analysis,
            f"Warm-up: the first {count_text(steps, 'step')} of every worker, applied but not "
            "measured. Start-up: from the start of the trial to its first measured epoch, warm-up "
            "included.",
        ),
    )


def placement(analysis: Analysis) -> Table:
    """Return which task ran on which host; no rows if there was only one host."""
    placed = analysis.placements
    used = {host for placement in placed for host in placement.tasks.values()}
    columns = [Column("Host", is_text=True)]
    columns += [
        Column(count_text(len(p.trials), "trial"), f"{p.nodes} nodes", is_text=True) for p in placed
    ]
    rows = [
        [host, *(", ".join(t for t, at in p.tasks.items() if at == host) or NONE for p in placed)]
        for host in analysis.context.hosts
        if host in used
    ]
    return Table(
        _title(analysis, "Tasks on each host"),
        columns,
        rows,
        _notes(analysis, "Successful trials only."),
    )


def not_counted(analysis: Analysis) -> Table:
    """Return the trials that are excluded from the averages, with their causes."""
    return Table(
        _title(analysis, "Excluded trials"),
        [
            Column(name, is_text=True)
            for name in ("Trial", "Status", "Where", "Cause", "Succeeded later")
        ],
        [
            [
                lost.id,
                lost.status,
                " on ".join(part for part in (lost.task, lost.host) if part) or NONE,
                lost.cause,
                "yes" if lost.repeated else "no",
            ]
            for lost in analysis.not_counted
        ],
        _notes(analysis),
    )


def _title(analysis: Analysis, text: str) -> str:
    return f"{text} ({analysis.settings.data.title})"


def _notes(analysis: Analysis, *notes: str) -> list[str]:
    return [w.epoch_definition_text(analysis), *notes]


def _row(analysis: Analysis, nodes: int) -> Iterable[Cell | None]:
    """Return a cell for each protocol, None for one that has none at this node count."""
    return (analysis.find_cell(CellKey(nodes, protocol)) for protocol in analysis.protocols)


def _is_base(analysis: Analysis, cell: Cell) -> bool:
    smallest = min(c.nodes for c in analysis.cells if c.protocol == cell.protocol)
    return cell.efficiency is not None and cell.nodes == smallest


def _too_few(analysis: Analysis) -> list[str]:
    """Return a note that lists the cells whose mean has no interval."""
    cells = [str(cell.key) for cell in analysis.cells if cell.n == 1]
    return [f"n = 1: no interval ({', '.join(cells)})."] if cells else []
