"""One row per trial, whatever came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dnnbench.analysis.trial_figures import measure
from dnnbench.report.rows.table import OF_ORDER, Field, RowTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dnnbench.analysis.trial_figures import TrialFigures
    from dnnbench.report.figures.picture import Subject
    from dnnbench.trial.outcome import TrialOutcome


class _Item(NamedTuple):
    """A trial with its averages, which are None unless it succeeded, and its attempts."""

    outcome: TrialOutcome
    figures: TrialFigures | None
    attempts: int


def _items(subject: Subject) -> Iterator[_Item]:
    for outcome in subject.outcomes:
        begun = int(outcome.status != "not run")
        yield _Item(
            outcome,
            measure(outcome) if outcome.status in ("ok", "void") else None,
            subject.analysis.attempts.get(outcome.order.id, begun),
        )


def _measured(name: str) -> Callable[[_Item], object]:
    return lambda item: getattr(item.figures, name, None)


def _if_ok(name: str) -> Callable[[_Item], object]:
    """Return what reads a field of the outcome that only a successful trial fills."""
    return lambda item: getattr(item.outcome, name) if item.figures else None


def _final(number: int) -> Callable[[_Item], object]:
    def value(item: _Item) -> float | None:
        accuracies = item.figures.accuracy.get(None) if item.figures else None
        return accuracies[number] if accuracies else None

    return value


def _cause(item: _Item) -> str | None:
    failure, divergence = item.outcome.failure, item.outcome.divergence
    return str(failure or divergence) if failure or divergence else None


TABLE: Final = RowTable(
    _items,
    [
        *OF_ORDER,
        Field("seed", "", "seed of the trial", lambda i: i.outcome.order.seed),
        Field("workers", "", "workers", lambda i: i.outcome.order.workers),
        Field(
            "status",
            "",
            "`ok`, `degraded`, `diverged`, `failed`, `interrupted`, `not run`, or `void`: "
            "successful in a void cell",
            lambda i: i.outcome.status,
        ),
        Field("attempts", "", "times that the trial was begun", lambda i: i.attempts),
        Field("cause", "", "first failure or divergence, with its place", _cause),
        Field("started_at", "", "start, UTC, ISO 8601", lambda i: i.outcome.started_at),
        Field("duration_s", "s", "from start to end of the trial", lambda i: i.outcome.duration_s),
        Field("start_up_s", "s", "up to the measured epochs", _if_ok("start_up_s")),
        Field("training_s", "s", "measured epochs of all workers", _if_ok("training_s")),
        Field("warmup_s", "s", "warm-up, mean over workers", _measured("warmup_s")),
        Field("epoch_s", "s", "a whole epoch, mean over workers and epochs", _measured("epoch_s")),
        Field(
            "throughput_examples_per_s",
            "examples/s",
            "throughput of all workers",
            _measured("examples_per_s"),
        ),
        Field(
            "slowest_worker_percent",
            "%",
            "excess of the slowest worker's epoch time over the mean",
            _measured("slowest_worker_percent"),
        ),
        Field("test_accuracy", "0 to 1", "of the final parameters", _final(1)),
        Field("validation_accuracy", "0 to 1", "of the final parameters", _final(0)),
        Field("loss", "nat", "training loss of the last epoch", _measured("loss")),
        Field(
            "staleness_mean_updates",
            "updates",
            "mean staleness",
            lambda i: i.figures.staleness.mean if i.figures else None,
        ),
        Field(
            "compensation_ratio",
            "ratio",
            "norm of the compensation over the gradient's",
            _measured("compensation_ratio"),
        ),
        Field(
            "worker_cpu_s_per_example",
            "s/example",
            "CPU time of the workers",
            _measured("worker_cpu_s_per_example"),
        ),
        Field(
            "parameter_server_cpu_s_per_example",
            "s/example",
            "CPU time of the parameter servers",
            _measured("parameter_server_cpu_s_per_example"),
        ),
        Field(
            "updates_pushed",
            "updates",
            "by all workers, warm-up included",
            _if_ok("updates_pushed"),
        ),
        Field(
            "updates_applied",
            "updates",
            "by the parameter servers, per shard, separated by blanks",
            lambda i: " ".join(map(str, i.outcome.updates_applied)) or None,
        ),
    ],
    keys=4,
    variation=lambda item: dict(item.outcome.order.cell.variation),
)
