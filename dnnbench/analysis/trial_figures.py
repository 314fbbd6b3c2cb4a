"""Averages of one trial over its workers and epochs."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.stats import (
    mean,
    merge_counts,
)
from dnnbench.errors import ResultsError
from dnnbench.trial.outcome import Staleness
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dnnbench.trial.outcome import EpochRecord, TrialOutcome


class TrialFigures(msgspec.Struct, frozen=True):
    """Averages of one successful trial, each of them one value of an estimate of its cell."""

    id: str
    epoch_s: float
    epoch_durations_s: dict[int, list[float]]
    loss: float
    staleness: Staleness
    compensation_ratio: float | None
    examples_per_s: float
    worker_cpu_s_per_example: float
    parameter_server_cpu_s_per_example: float
    accuracy: dict[int | None, tuple[float, float]]
    warmup_s: float | None
    start_up_s: float
    warnings: list[str]


def measure(outcome: TrialOutcome) -> TrialFigures:
    """Average one trial over its workers and epochs."""
    spec, records = outcome.order, outcome.epochs
    examples = sum(record.examples for record in records)
    if not examples or outcome.training_s <= 0.0:
        raise ResultsError("succeeded but has no measured epoch", where=spec.id)
    durations: dict[int, list[float]] = defaultdict(list)
    for record in records:
        durations[record.epoch].append(record.duration_s)
    last_epoch = max(durations)
    ratios = [r.compensation_ratio for r in records if r.compensation_ratio is not None]
    trial = TrialFigures(
        id=spec.id,
        epoch_s=mean([record.duration_s for record in records]),
        epoch_durations_s=durations,
        loss=mean([record.loss for record in records if record.epoch == last_epoch]),
        staleness=Staleness(merge_counts(record.staleness.counts for record in records)),
        compensation_ratio=mean(ratios) if ratios else None,
        examples_per_s=examples / outcome.training_s,
        worker_cpu_s_per_example=sum(record.cpu_s for record in records) / examples,
        parameter_server_cpu_s_per_example=outcome.parameter_server_cpu_s / examples,
        accuracy={e.epoch: (e.validation_accuracy, e.test_accuracy) for e in outcome.evaluations},
        warmup_s=mean([w.duration_s for w in outcome.warmups]) if outcome.warmups else None,
        start_up_s=outcome.start_up_s,
        warnings=[],
    )
    trial.warnings.extend(_trial_warnings(outcome, records, trial))
    return trial


def _trial_warnings(
    outcome: TrialOutcome, records: Sequence[EpochRecord], trial: TrialFigures
) -> Iterable[str]:
    """Yield warnings about doubtful figures of a counted trial."""
    spec = outcome.order
    applied = ", ".join(str(updates) for updates in outcome.updates_applied) or "none counted"
    is_whole = len(outcome.updates_applied) == max(spec.parameter_servers, 1)
    if find_protocol(spec.protocol.name).synchronous:
        steps = _steps_together(outcome)
        most = outcome.updates_pushed if spec.protocol.backup_workers else steps
        if not is_whole or not all(steps <= n <= most for n in outcome.updates_applied):
            yield f"{spec.id}: {steps} steps taken together, but {applied} updates applied"
    elif not is_whole or set(outcome.updates_applied) != {outcome.updates_pushed}:
        yield f"{spec.id}: {outcome.updates_pushed} updates pushed, but {applied} applied"
    expected = spec.workers * spec.epochs
    if len(records) != expected:
        yield f"{spec.id}: {len(records)} worker epochs measured, {expected} expected"
    compensates = find_protocol(spec.protocol.name).compensates and spec.protocol.lambda0 > 0.0
    if compensates and trial.staleness.mean > 0.0 and not trial.compensation_ratio:
        yield f"{spec.id}: updates were stale, yet the compensation was zero"


def _steps_together(outcome: TrialOutcome) -> int:
    """Return the steps of the worker that took most: the others took part in some of them."""
    steps: Counter[str] = Counter()
    for record in outcome.epochs:
        steps[record.task] += record.steps
    warmup = max((record.steps for record in outcome.warmups), default=0)
    return warmup + max(steps.values(), default=0)
