"""Check the figures of a sweep from outside, by an arithmetic of their own.

Only the JSON of the results and of the report is read here, none of dnnbench's code.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from benchmarks.chaos.sweeps import BATCH, EPOCH_STEPS, EPOCHS, PACE_MS, WARMUP_STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.chaos.sweeps import Sweep

_RELATIVE: Final = 1e-9
_COUNTED: Final = "ok"
_PACE_SHARE: Final = 0.9
"""Of the pace, which a clock of another resolution may fall short of."""

Outcome = dict[str, Any]


def wrong_records(sweep: Sweep) -> list[str]:
    """Return what is not plausible in the stored outcomes, one line each."""
    found: list[str] = []
    for name, outcome in sweep.outcomes().items():
        workers = {task for task in sweep.tasks if task.startswith("worker")}
        lost = {lost["task"] for lost in outcome["lost_workers"]}
        if outcome["status"] not in ("ok", "degraded"):
            continue
        problems = [*_problems(outcome, workers - lost, sweep.age_s)]
        if outcome["status"] == _COUNTED:
            problems += _account(outcome, len(workers))
        found += [f"{name}: {problem}" for problem in problems]
    return found


def _problems(outcome: Outcome, whole: set[str], within_s: float) -> list[str]:
    """Return problems of the records of an outcome whose workers, but for lost ones, are whole."""
    found = []
    epochs: dict[str, list[int]] = defaultdict(list)
    for record in outcome["epochs"]:
        epochs[record["task"]].append(record["epoch"])
        place = f"{record['task']}, epoch {record['epoch']}"
        if (record["steps"], record["examples"]) != (EPOCH_STEPS, EPOCH_STEPS * BATCH):
            found.append(f"{place}: {record['steps']} steps, {record['examples']} examples")
        least_s = _PACE_SHARE * EPOCH_STEPS * PACE_MS / 1e3
        if not least_s <= record["duration_s"] <= outcome["training_s"]:
            found.append(f"{place}: {record['duration_s']} s")
        if sum(record["staleness"]["counts"]) != EPOCH_STEPS:
            found.append(f"{place}: staleness of {sum(record['staleness']['counts'])} updates")
    found += [
        f"{task}: epochs {sorted(epochs[task])}"
        for task in whole
        if sorted(epochs[task]) != list(range(1, EPOCHS + 1))
    ]
    if not outcome["training_s"] <= outcome["duration_s"] <= within_s:
        found.append(f"{outcome['duration_s']} s, of which training {outcome['training_s']} s")
    return found


def _account(outcome: Outcome, workers: int) -> list[str]:
    """Return whether updates were lost, or counted twice."""
    pushed = workers * (EPOCHS * EPOCH_STEPS + WARMUP_STEPS)
    applied = outcome["updates_applied"]
    if outcome["updates_pushed"] == pushed and applied == [pushed]:
        return []
    return [f"{outcome['updates_pushed']} updates pushed, {applied} applied, expected {pushed}"]


def wrong_report(outcomes: Mapping[str, Outcome], report: str) -> list[str]:
    """Return how a report differs from the means of the counted trials, one line each."""
    counted: dict[tuple[int, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes.values():
        if outcome["status"] == _COUNTED:
            order = outcome["order"]
            counted[order["nodes"], order["protocol"]["name"]].append(outcome)
    wrong = []
    shown = {(cell["nodes"], cell["protocol"]): cell for cell in json.loads(report)["cells"]}
    for key in counted.keys() | shown.keys():
        ours, cell = counted[key], shown.get(key, {"n": 0})
        if len(ours) != cell["n"]:
            wrong.append(f"report of {key}: {cell['n']} trials counted, {len(ours)} are ok")
            continue
        for name, value in (("epoch_s", _epoch_s), ("test_accuracy", _test_accuracy)):
            mean = math.fsum(map(value, ours)) / len(ours) if ours else None
            figure = (cell.get(name) or {"mean": None})["mean"]
            if not _equal(mean, figure):
                wrong.append(f"report of {key}: {name} {figure}, recomputed {mean}")
    return wrong


def _epoch_s(outcome: Outcome) -> float:
    """Return the mean seconds of a whole pass."""
    records = outcome["epochs"]
    passes: float = BATCH * EPOCH_STEPS / outcome["order"]["data"]["train_examples"]
    seconds: list[float] = [record["duration_s"] for record in records]
    return math.fsum(seconds) / len(seconds) / passes


def _test_accuracy(outcome: Outcome) -> float:
    """Return the accuracy of the final parameters."""
    (final,) = (e["test_accuracy"] for e in outcome["evaluations"] if e["epoch"] is None)
    return float(final)


def _equal(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=_RELATIVE)
