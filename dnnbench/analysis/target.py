"""Time and epochs that a trial needs to reach a test accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from dnnbench.trial.outcome import TrialOutcome

FIRST_WORKER: Final = "worker:0"
"""The worker whose epochs time the evaluations."""


class Reached(NamedTuple):
    """The first evaluation of a trial at or above an accuracy.

    Attributes:
        epochs: of ``worker:0`` up to it.
        seconds: training time up to it, without start-up, warm-up and evaluations.
    """

    epochs: int
    seconds: float


def reach(trial: TrialOutcome, accuracy: float) -> Reached | None:
    """Return when a trial first reached a test accuracy (0 to 1); None if it did not.

    A trial that reached it with its final parameters alone needed its whole training.
    """
    reached = [e.epoch for e in trial.evaluations if e.test_accuracy >= accuracy]
    epochs = [epoch for epoch in reached if epoch is not None]
    if epochs:
        first = min(epochs)
        durations_s = [
            record.duration_s
            for record in trial.epochs
            if record.task == FIRST_WORKER and record.epoch <= first
        ]
        return Reached(first, sum(durations_s))
    return Reached(trial.order.epochs, trial.training_s) if reached else None
