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
    from dnnbench.trial.spec import CellKey


class TrialFigures(msgspec.Struct, frozen=True):
    """Averages of one successful trial, each of them one value of an estimate of its cell.

    Attributes:
        epoch_s: of a whole pass: where epochs are cut short, it is scaled.
        epoch_durations_s: by epoch, of each worker; scaled likewise.
        worker_busy_cores: CPU seconds of a worker per second of its epochs.
        parameter_server_busy_cores: CPU seconds of all parameter servers per second of training.
        slowest_worker_percent: excess of the slowest worker's mean epoch time over that of all.
        not_learned: why the trial counts as one that did not learn; None if it learned.
    """

    id: str
    epoch_s: float
    epoch_durations_s: dict[int, list[float]]
    loss: float
    staleness: Staleness
    compensation_ratio: float | None
    examples_per_s: float
    worker_cpu_s_per_example: float
    parameter_server_cpu_s_per_example: float
    worker_busy_cores: float
    parameter_server_busy_cores: float
    slowest_worker_percent: float
    accuracy: dict[int | None, tuple[float, float]]
    warmup_s: float | None
    start_up_s: float
    warnings: list[str]
    not_learned: str | None = None


def counted_trials(
    outcomes: Iterable[TrialOutcome],
) -> defaultdict[CellKey, dict[int, TrialFigures]]:
    """Return the figures of the trials that averages are made of: cell -> repeat -> figures.

    A cell without any has an empty one.

    Raises:
        ResultsError: two successful outcomes of one trial, or one without a measurement.
    """
    found: defaultdict[CellKey, dict[int, TrialFigures]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.status != "ok":
            continue
        spec = outcome.order
        if spec.repeat in found[spec.cell]:
            raise ResultsError("succeeded twice, but a trial counts once", where=spec.id)
        found[spec.cell][spec.repeat] = measure(outcome)
    return found


def measure(outcome: TrialOutcome) -> TrialFigures:
    """Average one trial over its workers and epochs."""
    spec, records = outcome.order, outcome.epochs
    examples = sum(record.examples for record in records)
    if not examples or outcome.training_s <= 0.0:
        raise ResultsError("succeeded but has no measured epoch", where=spec.id)
    durations: dict[int, list[float]] = defaultdict(list)
    for record in records:
        durations[record.epoch].append(record.duration_s / spec.passes_per_epoch)
    last_epoch = max(durations)
    ratios = [r.compensation_ratio for r in records if r.compensation_ratio is not None]
    trial = TrialFigures(
        id=spec.id,
        epoch_s=mean([record.duration_s for record in records]) / spec.passes_per_epoch,
        epoch_durations_s=durations,
        loss=mean([record.loss for record in records if record.epoch == last_epoch]),
        staleness=Staleness(merge_counts(record.staleness.counts for record in records)),
        compensation_ratio=mean(ratios) if ratios else None,
        examples_per_s=examples / outcome.training_s,
        worker_cpu_s_per_example=sum(record.cpu_s for record in records) / examples,
        parameter_server_cpu_s_per_example=outcome.parameter_server_cpu_s / examples,
        worker_busy_cores=sum(record.cpu_s for record in records)
        / sum(record.duration_s for record in records),
        parameter_server_busy_cores=outcome.parameter_server_cpu_s / outcome.training_s,
        slowest_worker_percent=_slowest_worker_percent(records),
        accuracy={e.epoch: (e.validation_accuracy, e.test_accuracy) for e in outcome.evaluations},
        warmup_s=mean([w.duration_s for w in outcome.warmups]) if outcome.warmups else None,
        start_up_s=outcome.start_up_s,
        warnings=[],
        not_learned=_not_learned(outcome, last_epoch),
    )
    trial.warnings.extend(_trial_warnings(outcome, records, trial))
    return trial


def _slowest_worker_percent(records: Sequence[EpochRecord]) -> float:
    durations: dict[str, list[float]] = defaultdict(list)
    for record in records:
        durations[record.task].append(record.duration_s)
    means = [mean(seconds) for seconds in durations.values()]
    return 100.0 * (max(means) / mean(means) - 1.0)


def _not_learned(outcome: TrialOutcome, last_epoch: int) -> str | None:
    """Return why a trial that stayed finite counts as one that did not learn; None if it learned.

    The rule: its final test accuracy can be that of always giving one class
    (`EvaluationRecord.chance_accuracy`), or its loss at the end is above that of the first step of
    all, which was computed with the initial parameters. Not the mean of the last epoch: a loss may
    grow at first and the trial recover.
    """
    for record in outcome.evaluations:
        chance, accuracy = record.chance_accuracy, record.test_accuracy
        if record.epoch is None and chance is not None and accuracy <= chance:
            return f"test accuracy {accuracy:.2%}, chance gives up to {chance:.2%}"
    initial = [r.initial_loss for r in outcome.epochs if r.initial_loss is not None]
    final = [
        record.final_loss
        for record in outcome.epochs
        if record.epoch == last_epoch and record.final_loss is not None
    ]
    if initial and final and mean(final) > mean(initial):
        return f"loss {mean(final):.3g} at the end, {mean(initial):.3g} at the first step"
    return None


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
    # None is a missing value: an epoch may be too short for the step that is sampled.
    if compensates and trial.staleness.mean > 0.0 and trial.compensation_ratio == 0.0:
        yield f"{spec.id}: updates were stale, yet the compensation was zero"
    if outcome.differing_replicas:
        tasks = ", ".join(outcome.differing_replicas)
        yield f"{spec.id}: the final parameters of {tasks} differ from those of worker:0"
    if trial.not_learned:
        yield f"{spec.id}: did not learn: {trial.not_learned}"


def _steps_together(outcome: TrialOutcome) -> int:
    """Return the steps of the worker that took most: the others took part in some of them."""
    steps: Counter[str] = Counter()
    for record in outcome.epochs:
        steps[record.task] += record.steps
    warmup = max((record.steps for record in outcome.warmups), default=0)
    return warmup + max(steps.values(), default=0)
