"""One cell of the table: all trials of a setting of a protocol at a node count.

The unit of replication is the trial: its workers and epochs are averaged first, so ``n`` of a cell
counts successful trials, and an interval describes the spread between trials.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.stats import (
    Estimate,
    estimate,
    mean,
    merge_counts,
    percentile,
    ratio_percent,
)
from dnnbench.sweep.void import is_void, void_reason
from dnnbench.trial.outcome import Staleness, Status
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dnnbench.analysis.trial_figures import TrialFigures


class EpochAccuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy (0 to 1) when ``worker:0`` finished this epoch."""

    epoch: int
    validation_accuracy: Estimate
    test_accuracy: Estimate


class TypicalTrial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The trial whose mean epoch time is the median of its cell; lists have one entry per epoch."""

    id: str
    epochs: list[int]
    mean_s: list[float]
    fastest_worker_s: list[float]
    slowest_worker_s: list[float]


class Efficiency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Throughput per worker in percent of that at the smallest node count (Welch's interval).

    The smallest node count has 100 % and no interval.
    """

    percent: float
    low_percent: float | None
    high_percent: float | None


class Speedup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Throughput of all workers as a multiple of one process's (Welch's interval)."""

    ratio: float
    low: float
    high: float


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One setting of one protocol at one node count. A figure is None if no trial provided it.

    Attributes:
        roles_per_core: on the host with the most roles per core.
        own_hosts: whether every role of every trial had a machine to itself.
        n: successful trials, the ones that are averaged.
        degraded: trials that lost workers or parameter servers and went on; they are in no average.
        diverged: trials whose loss or parameters were not finite; they are in no average.
        not_learned: of the ``n``, those that ended no better than they began.
        not_run: trials for which too few hosts were up.
        missing: trials without any outcome.
        void: why the cell has no average though trials of it succeeded or may; None if it is not
            void.
        voided: successful trials of a void cell; they are in no average.
        epoch_s: of each trial's mean over workers and epochs.
        published_epoch_s: None also where the setting is not the report's.
        loss: mean training loss of the last epoch.
        staleness: of each trial's mean; ``staleness_p95`` and ``staleness_counts`` are over all
            updates.
        examples_per_s: of all workers together, from the start of the first measured epoch to the
            end of the last one.
        worker_busy_cores: CPU seconds of a worker per second of its epochs.
        parameter_server_busy_cores: CPU seconds of all parameter servers per second of training.
        slowest_worker_percent: excess of the slowest worker's mean epoch time over that of all.
        speedup: over one process without parameter server; None where the sweep has no such trial.
        variation: the settings that the sweep varies, by name.
    """

    protocol: ProtocolName
    nodes: int
    workers: int
    roles_per_core: float
    own_hosts: bool
    planned: int
    n: int
    diverged: int
    not_learned: int
    failed: int
    interrupted: int
    not_run: int
    missing: int
    published_epoch_s: float | None
    epoch_s: Estimate | None
    test_accuracy: Estimate | None
    validation_accuracy: Estimate | None
    loss: Estimate | None
    accuracy_by_epoch: list[EpochAccuracy]
    staleness: Estimate | None
    staleness_p95: int | None
    staleness_counts: list[int]
    compensation_ratio: Estimate | None
    examples_per_s: Estimate | None
    efficiency: Efficiency | None
    speedup: Speedup | None
    worker_cpu_s_per_example: Estimate | None
    parameter_server_cpu_s_per_example: Estimate | None
    worker_busy_cores: Estimate | None
    parameter_server_busy_cores: Estimate | None
    slowest_worker_percent: Estimate | None
    warmup_s: Estimate | None
    start_up_s: Estimate | None
    typical: TypicalTrial | None
    variation: dict[str, Value] = {}
    degraded: int = 0
    void: str | None = None
    voided: int = 0

    @property
    def key(self) -> CellKey:
        """Node count, protocol and the settings that the sweep varies."""
        return CellKey(self.nodes, self.protocol, tuple(self.variation.items()))


def make_cell(
    key: CellKey,
    trials: Mapping[int, TrialFigures],
    *,
    lost: Sequence[Status],
    planned: int,
    void_after: int,
    workers: int,
    roles_per_core: float,
    own_hosts: bool,
    published_s: float | None,
    base_throughput: Mapping[int, float] | None,
    one_process: Mapping[int, TrialFigures],
) -> Cell:
    """Average the trials of one protocol at one node count.

    ``trials`` maps a repeat to its figures; ``lost`` is the status of each repeat that is not
    averaged; ``base_throughput`` is ``per_worker_throughput`` of the protocol at the smallest node
    count, None if this is the only one; ``one_process`` are the trials of the protocol that has a
    single node, empty if the sweep has none.
    """
    good = [trial for _, trial in sorted(trials.items())]
    planned = max(planned, len(good) + len(lost))
    failed = lost.count("failed")
    counts = merge_counts(trial.staleness.counts for trial in good)
    ratios = [t.compensation_ratio for t in good if t.compensation_ratio is not None]
    final = [t.accuracy[None] for t in good if None in t.accuracy]
    return Cell(
        protocol=key.protocol,
        nodes=key.nodes,
        workers=workers,
        roles_per_core=roles_per_core,
        own_hosts=own_hosts,
        planned=planned,
        n=len(good),
        degraded=lost.count("degraded"),
        diverged=lost.count("diverged"),
        not_learned=sum(t.not_learned is not None for t in good),
        failed=failed,
        interrupted=lost.count("interrupted"),
        not_run=lost.count("not run"),
        missing=planned - len(good) - len(lost),
        published_epoch_s=published_s,
        epoch_s=estimate([t.epoch_s for t in good]),
        test_accuracy=estimate([test for _, test in final]),
        validation_accuracy=estimate([validation for validation, _ in final]),
        loss=estimate([t.loss for t in good]),
        accuracy_by_epoch=_accuracy_by_epoch(good),
        staleness=estimate([t.staleness.mean for t in good]),
        staleness_p95=Staleness(counts).percentile(95) if counts else None,
        staleness_counts=counts,
        compensation_ratio=estimate(ratios),
        examples_per_s=estimate([t.examples_per_s for t in good]),
        efficiency=_efficiency(per_worker_throughput(trials, workers), base_throughput),
        speedup=_speedup(per_worker_throughput(trials, 1), per_worker_throughput(one_process, 1)),
        worker_cpu_s_per_example=estimate([t.worker_cpu_s_per_example for t in good]),
        parameter_server_cpu_s_per_example=estimate(
            [t.parameter_server_cpu_s_per_example for t in good]
        ),
        worker_busy_cores=estimate([t.worker_busy_cores for t in good]),
        parameter_server_busy_cores=estimate([t.parameter_server_busy_cores for t in good]),
        slowest_worker_percent=estimate([t.slowest_worker_percent for t in good]),
        warmup_s=estimate([t.warmup_s for t in good if t.warmup_s is not None]),
        start_up_s=estimate([t.start_up_s for t in good]),
        typical=_typical(good),
        variation=dict(key.variation),
        void=void_reason(failed, planned) if is_void(failed, void_after) else None,
        voided=lost.count("void"),
    )


def per_worker_throughput(trials: Mapping[int, TrialFigures], workers: int) -> dict[int, float]:
    """Return repeat -> examples/s of one worker."""
    return {repeat: trial.examples_per_s / workers for repeat, trial in trials.items()}


def _efficiency(here: Mapping[int, float], base: Mapping[int, float] | None) -> Efficiency | None:
    if base is None:
        return None
    if here == base:
        return Efficiency(100.0, None, None) if here else None
    ratio = ratio_percent(here, base, paired=False)
    if ratio is None:
        return None
    return Efficiency(100.0 + ratio.percent, 100.0 + ratio.low_percent, 100.0 + ratio.high_percent)


def _speedup(here: Mapping[int, float], one_process: Mapping[int, float]) -> Speedup | None:
    excess = ratio_percent(here, one_process, paired=False)
    if excess is None:
        return None
    percents = excess.percent, excess.low_percent, excess.high_percent
    return Speedup(*(1.0 + percent / 100.0 for percent in percents))


def _accuracy_by_epoch(trials: Iterable[TrialFigures]) -> list[EpochAccuracy]:
    values: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for trial in trials:
        for epoch, accuracy in trial.accuracy.items():
            if epoch is not None:
                values[epoch].append(accuracy)
    rows = []
    for epoch, pairs in sorted(values.items()):
        validation = estimate([validation for validation, _ in pairs])
        test = estimate([test for _, test in pairs])
        assert validation is not None  # an epoch is listed because it has values
        assert test is not None
        rows.append(EpochAccuracy(epoch, validation, test))
    return rows


def _typical(trials: Sequence[TrialFigures]) -> TypicalTrial | None:
    if not trials:
        return None
    median_s = percentile([trial.epoch_s for trial in trials], 50)
    trial = next(trial for trial in trials if trial.epoch_s == median_s)
    epochs = sorted(trial.epoch_durations_s)
    durations = [trial.epoch_durations_s[epoch] for epoch in epochs]
    return TypicalTrial(
        id=trial.id,
        epochs=epochs,
        mean_s=[mean(seconds) for seconds in durations],
        fastest_worker_s=[min(seconds) for seconds in durations],
        slowest_worker_s=[max(seconds) for seconds in durations],
    )
