"""Check that the parts of a stored sweep belong together: settings, plan and outcomes.

The type of each value says its bounds; these checks are of values against each other. Whatever
passes them can be analyzed, priced and resumed.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from dnnbench.settings.grid import cells
from dnnbench.text.safe import one_line
from dnnbench.trial.tasks import WORKER, task_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dnnbench.settings.schema import Config
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

_MAY_DIFFER: Final = {"data.directory"}  # the same bytes in another directory are the same data
_SHOWN_CHARACTERS: Final = 100


def odd_in_plan(plan: Plan, config: Config) -> str | None:
    """Return what in a plan cannot come of its settings; None if nothing."""
    if not plan.orders:
        return "expected at least one trial, found none"
    ids = Counter(order.id for order in plan.orders)
    if again := next((name for name, count in ids.items() if count > 1), None):
        return f"expected each trial once, found {_quoted(again)} again"
    planned = set(cells(config))
    for order in plan.orders:
        name = _quoted(order.id)
        if order.sweep != plan.sweep:
            return f"expected trials of {_quoted(plan.sweep)}, found one of {_quoted(order.sweep)}"
        if order.workers < 1:
            return f"expected a worker in {name}, found {order.nodes} nodes, all parameter servers"
        if order.cell not in planned or order.repeat > config.sweep.repeats:
            return f"{name} is no trial of the settings in config.json"
    return None


def changed_settings(plan: Plan, planned_again: Mapping[str, TrialSpec]) -> dict[str, str]:
    """Return what differs between a plan and the one that its settings now give.

    Args:
        plan: as it is stored.
        planned_again: trial id -> the trial as it would be planned now.

    Returns:
        Setting -> how it differs, of the first trial in which any does.
    """
    for order in plan.orders:
        again = planned_again.get(order.id)
        if again and (differing := dict(_differences(order, again))):
            return differing
    return {}


def odd_in_outcome(outcome: TrialOutcome, plan: Plan, planned: TrialSpec | None) -> str | None:
    """Return what in an outcome cannot come of its trial; None if nothing.

    Args:
        outcome: as it is stored.
        plan: of its sweep.
        planned: the trial of this id in the plan; None if there is none.
    """
    spec = outcome.order
    if planned is None:
        return f"{_quoted(spec.id)} is no trial of plan.json"
    if differing := dict(_differences(planned, spec)):
        name, how = next(iter(differing.items()))
        return f"{name} of {spec.id} differs from plan.json: {how}"
    hosts = {host.name for host in plan.hosts}
    tasks = set(task_names(spec.nodes, spec.parameter_servers))
    for task, host in outcome.placement.items():
        if task not in tasks or host not in hosts:
            return f"{spec.id} has no task {_quoted(task)} on {_quoted(host)}"
    return next(_odd_records(outcome, tasks), None)


def _odd_records(outcome: TrialOutcome, tasks: set[str]) -> Iterator[str]:
    spec = outcome.order
    workers = {task for task in tasks if task.startswith(WORKER)}
    found = [*(r.task for r in outcome.epochs), *(r.task for r in outcome.warmups)]
    if other := next((task for task in found if task not in workers), None):
        yield f"{spec.id} has no worker {_quoted(other)}"
    measured: list[int] = [r.epoch for r in outcome.epochs]
    measured += [r.epoch for r in outcome.evaluations if r.epoch is not None]
    if max(measured, default=0) > spec.epochs:
        yield f"{spec.id} has {spec.epochs} epochs, found epoch {max(measured)}"
    keys: Counter[object] = Counter((r.task, r.epoch) for r in outcome.epochs)
    keys.update(("accuracy", r.epoch) for r in outcome.evaluations)
    if again := next((key for key, count in keys.items() if count > 1), None):
        yield f"{spec.id} has a result twice: {again}"
    if outcome.status == "void":
        yield f"{spec.id} is 'void', which follows from other trials and is never stored"
    if outcome.status == "ok" and not (outcome.epochs and outcome.training_s):
        yield f"{spec.id} succeeded but has no measured epoch"
    if (outcome.divergence is not None) != (outcome.status == "diverged"):
        yield f"{spec.id} is {outcome.status!r}, which does not go with its divergence"


def _differences(
    expected: msgspec.Struct, found: msgspec.Struct, place: str = ""
) -> Iterator[tuple[str, str]]:
    """Yield the fields that differ, ``protocol.learning_rate``, with both values."""
    for name in expected.__struct_fields__:
        ours, theirs = getattr(expected, name), getattr(found, name)
        if isinstance(ours, msgspec.Struct):
            yield from _differences(ours, theirs, f"{place}{name}.")
        elif ours != theirs and f"{place}{name}" not in _MAY_DIFFER:
            both = (one_line(str(value), _SHOWN_CHARACTERS) for value in (theirs, ours))
            yield f"{place}{name}", "{} instead of {}".format(*both)


def _quoted(text: str) -> str:
    return repr(one_line(text, _SHOWN_CHARACTERS))
