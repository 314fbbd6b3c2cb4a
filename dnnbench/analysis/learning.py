"""Learning curves: test accuracy against the training time that it took."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from dnnbench.analysis.stats import Estimate, estimate
from dnnbench.analysis.target import FIRST_WORKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey


class Point(NamedTuple):
    """The mean over a cell's trials when ``worker:0`` finished an epoch.

    Attributes:
        seconds: training time up to it, without start-up, warm-up and evaluations.
        test_accuracy: 0 to 1.
    """

    epoch: int
    seconds: Estimate
    test_accuracy: Estimate


def learning_curves(outcomes: Iterable[TrialOutcome]) -> dict[CellKey, list[Point]]:
    """Return cell -> its learning curve, of the successful trials; cells without one are absent."""
    found: dict[CellKey, dict[int, list[tuple[float, float]]]] = {}
    for outcome in outcomes:
        if outcome.status == "ok":
            by_epoch = found.setdefault(outcome.order.cell, defaultdict(list))
            for epoch, elapsed_s, accuracy in _evaluated(outcome):
                by_epoch[epoch].append((elapsed_s, accuracy))
    return {key: list(_points(found[key])) for key in sorted(found) if found[key]}


def _evaluated(trial: TrialOutcome) -> Iterator[tuple[int, float, float]]:
    """Yield epoch, training time in seconds and test accuracy of each evaluation within a trial."""
    durations_s = {r.epoch: r.duration_s for r in trial.epochs if r.task == FIRST_WORKER}
    for record in trial.evaluations:
        if record.epoch is not None:
            elapsed_s = sum(s for epoch, s in durations_s.items() if epoch <= record.epoch)
            yield record.epoch, elapsed_s, record.test_accuracy


def _points(by_epoch: dict[int, list[tuple[float, float]]]) -> Iterator[Point]:
    for epoch, pairs in sorted(by_epoch.items()):
        seconds = estimate([elapsed_s for elapsed_s, _ in pairs])
        accuracy = estimate([share for _, share in pairs])
        assert seconds is not None, "an epoch is there because a trial has it"
        assert accuracy is not None, "likewise"
        yield Point(epoch, seconds, accuracy)
