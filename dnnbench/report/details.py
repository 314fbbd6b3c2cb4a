"""The tables of the full report: staleness, throughput, CPU time, trials, placement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnnbench.report import wording as w
from dnnbench.report.layout import cell_columns, cell_names, title
from dnnbench.text.tables import NONE, Column, Table
from dnnbench.text.words import count_text, seconds

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis


def staleness(analysis: Analysis) -> Table:
    """Return the staleness of updates, and the size of the compensation."""
    return Table(
        title(analysis, "Staleness in updates"),
        [
            *cell_columns(analysis),
            Column("mean"),
            Column("p95"),
            Column("max"),
            Column("distribution", is_text=True),
            Column("compensation / gradient"),
        ],
        [
            [
                *cell_names(analysis, cell),
                w.mean_text(cell.staleness, "{:.2f}".format),
                NONE if cell.staleness_p95 is None else str(cell.staleness_p95),
                str(len(cell.staleness_counts) - 1) if cell.staleness_counts else NONE,
                w.histogram_text(cell.staleness_counts),
                w.scientific_text(cell.compensation_ratio),
            ]
            for cell in analysis.cells
        ],
        [
            "Staleness: updates by other workers between a worker's pull and its push.",
            "Distribution: from 0 to the maximum.",
            "Compensation / gradient: norm of what makes up for staleness over the gradient's.",
        ],
    )


def throughput(analysis: Analysis) -> Table:
    """Return examples per second of all workers together, and the efficiency of one worker.

    Where one process without parameter server was measured, also the speedup over it.
    """
    has_speedup = any(cell.speedup for cell in analysis.cells)
    columns = [Column("x one process"), Column("95 % interval")] if has_speedup else []
    note = "x one process: examples/s of all workers over those of one process without messages."
    efficiency = "Efficiency: examples/s per worker, relative to the smallest node count."
    return Table(
        title(analysis, "Global throughput and scaling efficiency"),
        [
            *cell_columns(analysis),
            *([] if has_speedup else [Column("workers")]),  # leaves room for the speedup
            Column("examples/s"),
            Column("efficiency %"),
            Column("95 % interval"),
            *columns,
        ],
        [
            [
                *cell_names(analysis, cell),
                *([] if has_speedup else [str(cell.workers)]),
                w.mean_text(cell.examples_per_s, "{:,.0f}".format),
                f"{cell.efficiency.percent:.1f}" if cell.efficiency else NONE,
                w.interval_text(cell.efficiency, ".1f"),
                *(w.speedup_cells(cell.speedup) if has_speedup else []),
            ]
            for cell in analysis.cells
        ],
        [efficiency, note] if has_speedup else [efficiency],
    )


def cpu_time(analysis: Analysis) -> Table:
    """Return roles per core and CPU time per example."""
    micro, write = 1e6, "{:.1f}".format
    return Table(
        title(analysis, "Roles per core, and CPU time per example"),
        [
            *cell_columns(analysis),
            Column("roles per core"),
            Column("worker µs/example"),
            Column("parameter server µs/example"),
        ],
        [
            [
                *cell_names(analysis, cell),
                f"{cell.roles_per_core:.1f}",
                w.mean_text(cell.worker_cpu_s_per_example, write, micro),
                w.mean_text(cell.parameter_server_cpu_s_per_example, write, micro),
            ]
            for cell in analysis.cells
        ],
        [
            "CPU time of each process, all threads, during the measured epochs.",
            w.sharing_text(analysis),
            *w.cpu_change_texts(analysis),
        ],
    )


def busy(analysis: Analysis) -> Table:
    """Return how many cores the roles keep busy, and how far the slowest worker is behind."""
    write = "{:.2f}".format
    return Table(
        title(analysis, "Busy cores, and the slowest worker"),
        [
            *cell_columns(analysis),
            Column("each worker", "cores busy"),
            Column("parameter servers", "cores busy"),
            Column("slowest worker", "% behind the mean"),
        ],
        [
            [
                *cell_names(analysis, cell),
                w.mean_text(cell.worker_busy_cores, write),
                w.mean_text(cell.parameter_server_busy_cores, write),
                w.mean_text(cell.slowest_worker_percent, "{:.1f}".format),
            ]
            for cell in analysis.cells
        ],
        ["Cores busy: CPU seconds per second, of a worker and of all parameter servers together."],
    )


def trials(analysis: Analysis) -> Table:
    """Return the planned trials by status, the range of epoch times, warm-up and start-up."""
    steps = w.common_text(analysis, "warmup_steps", "step", "steps")
    return Table(
        title(analysis, "Trials"),
        [
            *cell_columns(analysis),
            Column("ok"),
            Column("others", is_text=True),
            Column("s/epoch, range"),
            Column("warm-up s"),
            Column("start-up s"),
        ],
        [
            [
                *cell_names(analysis, cell),
                f"{cell.n} of {cell.planned}",
                w.lost_text(cell),
                w.range_text(cell.epoch_s, seconds),
                NONE if cell.warmup_s is None else seconds(cell.warmup_s.mean),
                NONE if cell.start_up_s is None else f"{cell.start_up_s.mean:.1f}",
            ]
            for cell in analysis.cells
        ],
        [
            f"Warm-up: the first {steps} of every worker, not measured.",
            "Start-up: from the start of the trial to its first measured epoch, warm-up included.",
            *w.attempts_texts(analysis),
        ],
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
        title(analysis, "Tasks on each host"),
        columns,
        rows,
        ["Successful trials only."],
    )


def not_counted(analysis: Analysis) -> Table:
    """Return the trials that are excluded from the averages, with their causes."""
    return Table(
        title(analysis, "Excluded trials"),
        [
            Column(name, is_text=True)
            for name in ("Trial", "Status", "Where", "Cause", "Succeeded later")
        ],
        [
            [
                lost.id,
                f"{lost.status} ({lost.kind})" if lost.kind else lost.status,
                " on ".join(part for part in (lost.task, lost.host) if part) or NONE,
                lost.cause,
                "yes" if lost.repeated else "no",
            ]
            for lost in analysis.not_counted
        ],
        [],
    )
