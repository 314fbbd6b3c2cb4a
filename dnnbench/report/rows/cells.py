"""One row per cell: protocol, node count and setting."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.report.rows.table import Field, RowTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.analysis.stats import Estimate, RatioEstimate
    from dnnbench.report.figures.picture import Subject


class _Item(NamedTuple):
    analysis: Analysis
    cell: Cell
    overhead: RatioEstimate | None


def _items(subject: Subject) -> Iterator[_Item]:
    analysis = subject.analysis
    overheads = {over.key: over.measured for over in analysis.overhead}
    for cell in analysis.cells:
        yield _Item(analysis, cell, overheads.get(cell.key))


def _of_cell(name: str) -> Callable[[_Item], object]:
    return lambda item: getattr(item.cell, name)


def _of_part(part: str, name: str) -> Callable[[_Item], object]:
    return lambda item: getattr(getattr(item.cell, part), name, None)


def _of_overhead(name: str) -> Callable[[_Item], object]:
    return lambda item: getattr(item.overhead, name, None)


def _largest_staleness(item: _Item) -> int | None:
    counts = item.cell.staleness_counts
    return len(counts) - 1 if counts else None


def _estimate(part: str, column: str, unit: str, meaning: str) -> list[Field]:
    """Return the columns of a mean and of its interval."""

    def value(item: _Item, name: str) -> float | None:
        estimate: Estimate | None = getattr(item.cell, part)
        figure: float | None = getattr(estimate, name, None)
        return figure

    return [
        Field(
            column.format("mean"), unit, f"{meaning}, mean over trials", partial(value, name="mean")
        ),
        Field(
            column.format("ci95_half_width"),
            unit,
            "half-width of its 95 % interval; empty for one trial",
            partial(value, name="half_width"),
        ),
    ]


TABLE: Final = RowTable(
    _items,
    [
        Field("sweep", "", "name of the sweep", lambda i: i.analysis.settings.sweep),
        Field("data", "", "data set", lambda i: i.analysis.settings.data.title),
        Field(
            "epoch_definition",
            "",
            "`replicated` or `sharded`",
            lambda i: i.analysis.settings.epoch_definition,
        ),
        Field(
            "epoch_cut_short_after_steps",
            "",
            "steps after which an epoch was cut short; empty for whole epochs",
            lambda i: i.analysis.settings.epoch_steps or None,
        ),
        Field(
            "pace_ms",
            "ms",
            "shortest step of a paced sweep; empty without pace",
            lambda i: i.analysis.settings.pace_ms or None,
        ),
        Field("protocol", "", "protocol", _of_cell("protocol")),
        Field("nodes", "", "parameter servers and workers", _of_cell("nodes")),
        Field("workers", "", "workers", _of_cell("workers")),
        Field(
            "roles_per_core",
            "",
            "roles per core on the fullest host",
            _of_cell("roles_per_core"),
        ),
        Field("trials_planned", "", "planned trials", _of_cell("planned")),
        Field("trials_ok", "", "successful trials, which are averaged", _of_cell("n")),
        Field("trials_degraded", "", "trials that lost a role and went on", _of_cell("degraded")),
        Field(
            "trials_diverged", "", "trials with a value that was not finite", _of_cell("diverged")
        ),
        Field(
            "trials_not_learned",
            "",
            "of the successful ones, those that did not learn",
            _of_cell("not_learned"),
        ),
        Field("trials_failed", "", "failed trials", _of_cell("failed")),
        Field("trials_interrupted", "", "interrupted trials", _of_cell("interrupted")),
        Field(
            "trials_not_run",
            "",
            "trials that were not run: hosts were missing, or the cell was void",
            _of_cell("not_run"),
        ),
        Field("trials_missing", "", "trials without any outcome", _of_cell("missing")),
        Field(
            "trials_void",
            "",
            "successful trials of a void cell, which are not averaged",
            _of_cell("voided"),
        ),
        Field("void", "", "why the cell is void; empty if it is not", _of_cell("void")),
        Field(
            "epoch_published_s",
            "s",
            "published epoch time, where the setting is the report's",
            _of_cell("published_epoch_s"),
        ),
        Field(
            "not_comparable_with_published",
            "",
            "why it does not stand beside the measured one",
            lambda i: "; ".join(i.analysis.unlike_report),
        ),
        Field("epoch_minimum_s", "s", "shortest mean of a trial", _of_part("epoch_s", "minimum")),
        Field("epoch_maximum_s", "s", "longest mean of a trial", _of_part("epoch_s", "maximum")),
        Field(
            "overhead_percent",
            "%",
            "excess of the epoch time over the baseline's",
            _of_overhead("percent"),
        ),
        Field("overhead_low_percent", "%", "its 95 % interval, from", _of_overhead("low_percent")),
        Field("overhead_high_percent", "%", "its 95 % interval, to", _of_overhead("high_percent")),
        Field(
            "efficiency_percent",
            "%",
            "throughput per worker over that of the smallest node count",
            _of_part("efficiency", "percent"),
        ),
        Field(
            "efficiency_low_percent",
            "%",
            "its 95 % interval, from",
            _of_part("efficiency", "low_percent"),
        ),
        Field(
            "efficiency_high_percent",
            "%",
            "its 95 % interval, to",
            _of_part("efficiency", "high_percent"),
        ),
        Field(
            "speedup_ratio",
            "ratio",
            "throughput of all workers over that of one process",
            _of_part("speedup", "ratio"),
        ),
        Field("speedup_low_ratio", "ratio", "its 95 % interval, from", _of_part("speedup", "low")),
        Field("speedup_high_ratio", "ratio", "its 95 % interval, to", _of_part("speedup", "high")),
        Field(
            "staleness_p95_updates",
            "updates",
            "95th percentile over all updates",
            _of_cell("staleness_p95"),
        ),
        Field("staleness_max_updates", "updates", "largest of all updates", _largest_staleness),
        *_estimate("epoch_s", "epoch_{}_s", "s", "seconds per epoch of a worker"),
        *_estimate("test_accuracy", "test_accuracy_{}", "0 to 1", "final test accuracy"),
        *_estimate(
            "validation_accuracy", "validation_accuracy_{}", "0 to 1", "final validation accuracy"
        ),
        *_estimate("loss", "loss_{}", "nat", "training loss of the last epoch"),
        *_estimate("staleness", "staleness_{}_updates", "updates", "staleness"),
        *_estimate(
            "compensation_ratio",
            "compensation_ratio_{}",
            "ratio",
            "norm of the compensation over the gradient's",
        ),
        *_estimate(
            "examples_per_s",
            "throughput_{}_examples_per_s",
            "examples/s",
            "throughput of all workers",
        ),
        *_estimate(
            "worker_cpu_s_per_example",
            "worker_cpu_{}_s_per_example",
            "s/example",
            "CPU time of the workers",
        ),
        *_estimate(
            "parameter_server_cpu_s_per_example",
            "parameter_server_cpu_{}_s_per_example",
            "s/example",
            "CPU time of the parameter servers",
        ),
        *_estimate("warmup_s", "warmup_{}_s", "s", "warm-up of a worker"),
        *_estimate("start_up_s", "start_up_{}_s", "s", "start-up of a trial, warm-up included"),
    ],
    keys=7,
    variation=lambda item: item.cell.variation,
)
