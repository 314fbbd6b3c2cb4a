"""Compare two sweeps, cell by cell: by how much the second differs from the first.

A difference is told by its 95 % interval: it is one if the interval excludes zero, which is the t
test at 5 % (Welch's, or the paired one where both sweeps ran the same repeats with the same seeds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from dnnbench.analysis.common_settings import flat_settings
from dnnbench.analysis.published import SOURCE, TABLE_2_EPOCH_S
from dnnbench.analysis.stats import (
    Difference,
    Estimate,
    RatioEstimate,
    difference,
    estimate,
    ratio_percent,
)
from dnnbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.trial_figures import TrialFigures
    from dnnbench.trial.spec import CellKey

PUBLISHED: Final = "published"
"""Names Table 2 of the report in place of a sweep."""

Change = Literal["better", "worse", "none", "unknown"]


class Metric(NamedTuple):
    """A figure of a trial that sweeps are compared by.

    Attributes:
        title: with its unit.
        value: of a trial; None if it has none.
        is_ratio: whether the difference is a ratio, in percent; else it is in the metric's unit.
        more_is_worse: whether a larger value is the worse one.
        unit: of the difference.
    """

    title: str
    value: Callable[[TrialFigures], float | None]
    is_ratio: bool = True
    more_is_worse: bool = True
    unit: str = "%"


def _test_accuracy(trial: TrialFigures) -> float | None:
    return 100.0 * trial.accuracy[None][1] if None in trial.accuracy else None


METRICS: Final = {
    "epoch-time": Metric("seconds per epoch", lambda trial: trial.epoch_s),
    "test-accuracy": Metric(
        "final test accuracy in %",
        _test_accuracy,
        is_ratio=False,
        more_is_worse=False,
        unit="points",
    ),
    "throughput": Metric(
        "examples/s of all workers", lambda trial: trial.examples_per_s, more_is_worse=False
    ),
    "worker-cpu": Metric(
        "CPU seconds of a worker per example", lambda trial: trial.worker_cpu_s_per_example
    ),
    "server-cpu": Metric(
        "CPU seconds of the parameter servers per example",
        lambda trial: trial.parameter_server_cpu_s_per_example or None,
    ),
}
"""Name -> metric."""


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell in both sweeps.

    Attributes:
        first: mean of the first sweep's trials; None if it has none.
        second: likewise.
        change: second minus first, in the metric's unit or percent; None if it has no interval.
    """

    cell: str
    metric: str
    first: Estimate | None
    second: Estimate | None
    change: Difference | None

    @property
    def told(self) -> Change:
        """The change as far as the interval tells it."""
        if self.change is None:
            return "unknown"
        if self.change.low <= 0.0 <= self.change.high:
            return "none"
        is_more = self.change.low > 0.0
        return "worse" if is_more == METRICS[self.metric].more_is_worse else "better"

    def is_worse_by(self, least: float) -> bool:
        """Return whether the whole interval is worse than this much, in the unit of the change."""
        if self.change is None:
            return False
        if METRICS[self.metric].more_is_worse:
            return self.change.low > least
        return self.change.high < -least


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two sweeps, compared.

    Attributes:
        differences: settings that differ, in words.
        notes: what else differs: machines, versions, cells that only one of them has.
    """

    first: str
    second: str
    differences: list[str]
    notes: list[str]
    rows: list[Compared]


class Side(NamedTuple):
    """A sweep to compare.

    Attributes:
        trials: cell -> repeat -> figures of the trials that are counted.
    """

    name: str
    analysis: Analysis
    trials: Mapping[CellKey, Mapping[int, TrialFigures]]
    seed: int


def compare(first: Side, second: Side, metrics: Iterable[str]) -> Comparison:
    """Compare two sweeps by these metrics, over the cells that both have."""
    paired = first.seed == second.seed
    shared = sorted(first.trials.keys() & second.trials.keys())
    rows = [
        _compared(key, metric, first.trials[key], second.trials[key], paired=paired)
        for metric in metrics
        for key in shared
    ]
    return Comparison(
        first=first.name,
        second=second.name,
        differences=_setting_differences(first.analysis, second.analysis),
        notes=[
            *_machine_notes(first, second),
            *_cell_notes(first, second),
            *_cell_notes(second, first),
            *_void_notes(first),
            *_void_notes(second),
        ],
        rows=rows,
    )


def compare_with_published(second: Side, metrics: Iterable[str]) -> Comparison:
    """Compare a sweep with Table 2 as published, whose means have no spread.

    Raises:
        ConfigError: a metric that the table does not have.
    """
    other = [name for name in metrics if name != "epoch-time"]
    if other:
        raise ConfigError(
            f"Table 2 has epoch times only, not {other[0]}", where="--metric", remedy="leave it out"
        )
    rows = []
    for key, trials in sorted(second.trials.items()):
        published_s = TABLE_2_EPOCH_S.get(key.protocol, {}).get(key.nodes)
        if published_s is not None:
            times = {repeat: trial.epoch_s for repeat, trial in trials.items()}
            # Paired with a constant, the t interval is that of one sample.
            change = ratio_percent(times, dict.fromkeys(times, published_s), paired=True)
            estimates = estimate([published_s]), estimate(list(times.values()))
            rows.append(Compared(str(key), "epoch-time", *estimates, _as_difference(change)))
    return Comparison(
        first=PUBLISHED,
        second=second.name,
        differences=second.analysis.unlike_report,
        notes=[
            f"Published: {SOURCE}; means without a spread, on other machines.",
            *_void_notes(second),
        ],
        rows=rows,
    )


def _compared(
    key: CellKey,
    metric: str,
    first: Mapping[int, TrialFigures],
    second: Mapping[int, TrialFigures],
    *,
    paired: bool,
) -> Compared:
    chosen = METRICS[metric]
    sides = [
        {repeat: value for repeat, t in side.items() if (value := chosen.value(t)) is not None}
        for side in (first, second)
    ]
    before, after = sides
    change = (
        _as_difference(ratio_percent(after, before, paired=paired))
        if chosen.is_ratio
        else difference(after, before, paired=paired)
    )
    first_mean, second_mean = (estimate(list(side.values())) for side in sides)
    return Compared(str(key), metric, first_mean, second_mean, change)


def _as_difference(ratio: RatioEstimate | None) -> Difference | None:
    if ratio is None:
        return None
    return Difference(ratio.percent, ratio.low_percent, ratio.high_percent, ratio.method, ratio.n)


def _setting_differences(first: Analysis, second: Analysis) -> list[str]:
    varied = {*first.varied, *second.varied}  # which each cell is named by
    before, after = (flat_settings(each.settings, varied) for each in (first, second))
    return [
        f"{name} {before[name]} and {after[name]}"
        for name in before
        if name in after and before[name] != after[name]
    ]


def _machine_notes(first: Side, second: Side) -> list[str]:
    before, after = first.analysis.context, second.analysis.context
    pairs = {
        "processor": (before.cpu_model, after.cpu_model),
        "cores of all hosts": (before.host_cores, after.host_cores),
        **{
            name: (before.versions[name], after.versions[name])
            for name in before.versions
            if name in after.versions
        },
        **{
            f"variable {name}": tuple(side.variables.get(name, "unset") for side in (before, after))
            for name in sorted(before.variables.keys() | after.variables.keys())
        },
    }
    return [f"Other {name}: {a} and {b}." for name, (a, b) in pairs.items() if a != b]


def _cell_notes(side: Side, other: Side) -> list[str]:
    void = {cell.key for cell in other.analysis.cells if cell.void}
    keys = side.trials.keys() - other.trials.keys() - void
    cells = ", ".join(str(key) for key in sorted(keys))
    return [f"Only {side.name} has {cells}."] if cells else []


def _void_notes(side: Side) -> list[str]:
    return [
        f"Not compared: {cell.key} of {side.name} is void, as {cell.void}."
        for cell in side.analysis.cells
        if cell.void
    ]
