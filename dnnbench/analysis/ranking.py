"""Rank the settings of a grid by final test accuracy, and by time to a target accuracy."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.stats import Estimate, estimate, mean, percentile
from dnnbench.analysis.target import reach
from dnnbench.trial.spec import CellKey, ProtocolName
from dnnbench.trial.variation import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dnnbench.trial.outcome import TrialOutcome


class Ranked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell with what it is ranked by.

    Attributes:
        trials: that ended well or diverged; ``diverged`` of them have no accuracy.
        test_accuracy: of the final parameters, 0 to 1; None if every trial diverged.
        behind: by how much less it is than the best cell's, over the repeats that both have; None
            for the best one, and without such repeats.
        reached: trials that reached the target; the next two are their means.
        rank_by_accuracy: None if a trial diverged: a mean over the others would be too good.
        rank_by_time: None if a trial did not reach the target, for the same reason.
    """

    nodes: int
    protocol: ProtocolName
    variation: dict[str, Value]
    trials: int
    diverged: int
    test_accuracy: Estimate | None
    behind: Estimate | None
    reached: int
    epochs_to_target: Estimate | None
    time_to_target_s: Estimate | None
    rank_by_accuracy: int | None = None
    rank_by_time: int | None = None


class Ranking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cells of a grid, best accuracy first.

    Attributes:
        target_accuracy: 0 to 1.
        is_given: whether the user gave the target; otherwise it is `default_target`.
    """

    target_accuracy: float
    is_given: bool
    cells: list[Ranked]

    def by_time(self) -> list[Ranked]:
        """Return the cells, shortest time to the target first."""
        return sorted(self.cells, key=_by_time)


def rank(outcomes: Iterable[TrialOutcome], target: float | None = None) -> Ranking | None:
    """Rank the cells of one sweep; None if no trial has an accuracy.

    Args:
        outcomes: of its trials; those that failed or did not run are left out.
        target: test accuracy to reach, 0 to 1; `default_target` if None.
    """
    trials: dict[CellKey, dict[int, TrialOutcome]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.status in ("ok", "diverged"):
            trials[outcome.order.cell][outcome.order.repeat] = outcome
    final = {key: _final_accuracies(of) for key, of in trials.items()}
    target_accuracy = default_target(final.values()) if target is None else target
    if target_accuracy is None:
        return None
    cells = [_cell(key, of, final[key], target_accuracy) for key, of in sorted(trials.items())]
    cells.sort(key=_by_accuracy)
    best = final[_key(cells[0])]
    cells = [
        msgspec.structs.replace(
            cell,
            behind=_behind(best, final[_key(cell)]) if number else None,
            rank_by_accuracy=None if cell.diverged else number + 1,
        )
        for number, cell in enumerate(cells)
    ]
    place = {_key(cell): n for n, cell in enumerate(sorted(cells, key=_by_time), start=1)}
    cells = [
        msgspec.structs.replace(
            cell, rank_by_time=place[_key(cell)] if cell.reached == cell.trials else None
        )
        for cell in cells
    ]
    return Ranking(target_accuracy, target is not None, cells)


def default_target(final: Iterable[Mapping[int, float]]) -> float | None:
    """Return the highest whole percent that at least half of the cells reach on average.

    Not what every cell reaches: one that hardly learned would make it worthless.

    Args:
        final: repeat -> final test accuracy, of each cell.
    """
    means = [mean(list(of.values())) if of else 0.0 for of in final]
    middle = percentile(means, 50) if means else 0.0
    percent = math.floor(100.0 * middle + 1e-9)  # 0.97 x 100 is 97, whatever its last bit
    return percent / 100.0 if percent else None


def _cell(
    key: CellKey,
    trials: Mapping[int, TrialOutcome],
    final: Mapping[int, float],
    target: float,
) -> Ranked:
    reached = [found for trial in trials.values() if (found := reach(trial, target))]
    return Ranked(
        nodes=key.nodes,
        protocol=key.protocol,
        variation=dict(key.variation),
        trials=len(trials),
        diverged=sum(trial.status == "diverged" for trial in trials.values()),
        test_accuracy=estimate(list(final.values())),
        behind=None,
        reached=len(reached),
        epochs_to_target=estimate([found.epochs for found in reached]),
        time_to_target_s=estimate([found.seconds for found in reached]),
    )


def _final_accuracies(trials: Mapping[int, TrialOutcome]) -> dict[int, float]:
    return {
        repeat: record.test_accuracy
        for repeat, trial in trials.items()
        if trial.status == "ok"
        for record in trial.evaluations
        if record.epoch is None
    }


def _behind(best: Mapping[int, float], own: Mapping[int, float]) -> Estimate | None:
    """Return the mean difference, paired: equal repeats share their seed."""
    shared: Sequence[int] = sorted(best.keys() & own.keys())
    return estimate([best[repeat] - own[repeat] for repeat in shared])


def _by_accuracy(cell: Ranked) -> tuple[bool, float, float]:
    accuracy = cell.test_accuracy.mean if cell.test_accuracy else 0.0
    time_s = cell.time_to_target_s.mean if cell.time_to_target_s else math.inf
    return bool(cell.diverged), -accuracy, time_s


def _by_time(cell: Ranked) -> tuple[bool, float, float]:
    _, accuracy, time_s = _by_accuracy(cell)
    return cell.reached < cell.trials, time_s, accuracy


def _key(cell: Ranked) -> CellKey:
    return CellKey(cell.nodes, cell.protocol, tuple(cell.variation.items()))
