"""One row per worker and measured epoch, of all trials that have any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.analysis.target import FIRST_WORKER
from dnnbench.report.rows.table import OF_ORDER, Field, RowTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dnnbench.report.figures.picture import Subject
    from dnnbench.trial.outcome import EpochRecord, EvaluationRecord, TrialOutcome


class _Item(NamedTuple):
    """An epoch of a worker, and the evaluation after it; only one worker's are evaluated."""

    outcome: TrialOutcome
    record: EpochRecord
    evaluation: EvaluationRecord | None


def _items(subject: Subject) -> Iterator[_Item]:
    for outcome in subject.outcomes:
        evaluations = {e.epoch: e for e in outcome.evaluations if e.epoch is not None}
        for record in outcome.epochs:
            found = evaluations.get(record.epoch) if record.task == FIRST_WORKER else None
            yield _Item(outcome, record, found)


def _of_record(name: str) -> Callable[[_Item], object]:
    return lambda item: getattr(item.record, name)


def _of_evaluation(name: str) -> Callable[[_Item], object]:
    return lambda item: getattr(item.evaluation, name, None)


TABLE: Final = RowTable(
    _items,
    [
        *OF_ORDER,
        Field("status", "", "of the trial", lambda i: i.outcome.status),
        Field("worker", "", "task, such as `worker:0`", _of_record("task")),
        Field("host", "", "host of the worker", lambda i: i.outcome.placement.get(i.record.task)),
        Field("epoch", "", "number of the epoch, from 1", _of_record("epoch")),
        Field("steps", "", "steps of the worker", _of_record("steps")),
        Field("examples", "", "examples in them", _of_record("examples")),
        Field(
            "duration_s",
            "s",
            "wall time of these steps, on the worker's monotonic clock",
            _of_record("duration_s"),
        ),
        Field(
            "throughput_examples_per_s",
            "examples/s",
            "throughput of the worker",
            lambda i: i.record.examples / i.record.duration_s,
        ),
        Field("loss", "nat", "training loss, mean over the steps", _of_record("loss")),
        Field("final_loss", "nat", "training loss of the last steps", _of_record("final_loss")),
        Field("cpu_s", "s", "CPU time of the worker's process", _of_record("cpu_s")),
        Field(
            "parameter_server_cpu_s",
            "s",
            "CPU time of the parameter servers for the worker's updates",
            _of_record("parameter_server_cpu_s"),
        ),
        Field(
            "staleness_mean_updates",
            "updates",
            "mean staleness",
            lambda i: i.record.staleness.mean if i.record.staleness.counts else None,
        ),
        Field(
            "staleness_max_updates",
            "updates",
            "largest staleness",
            lambda i: len(i.record.staleness.counts) - 1 if i.record.staleness.counts else None,
        ),
        Field(
            "compensation_ratio",
            "ratio",
            "norm of the compensation over the gradient's, mean over sampled steps",
            _of_record("compensation_ratio"),
        ),
        Field(
            "test_accuracy",
            "0 to 1",
            "when `worker:0` finished the epoch; empty for other workers",
            _of_evaluation("test_accuracy"),
        ),
        Field(
            "validation_accuracy",
            "0 to 1",
            "at the same time",
            _of_evaluation("validation_accuracy"),
        ),
    ],
    keys=4,
    variation=lambda item: dict(item.outcome.order.cell.variation),
)
