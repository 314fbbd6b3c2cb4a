"""The paced rehearsal of a sweep: its growth again, with steps so slow that the cores suffice.

Where roles share cores, the epoch time grows because they wait for a core, which hides what growth
means on machines of their own: the wait for the parameter server. The rehearsal repeats the
smallest and the largest node count with a pace at which all roles together need only a share of the
cores. The sweep's own trials are the calibration. It is a sweep of its own, in a directory of the
first one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dnnbench.settings.schema import Resolved
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.results import create
from dnnbench.sweep.store import SweepStore
from dnnbench.trial.machine import snapshot
from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.settings.schema import Config
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import CellKey, ProtocolName

NAME: Final = "rehearsal"
SETTING: Final = "sweep.rehearsal"
CORE_SHARE: Final = 0.3
"""Share of the cores that the roles of the largest trial may need together."""
REPEATS: Final = 3
BUDGET_S: Final = 75.0
"""Seconds that a rehearsal is made to fit into, by the number of its steps."""
LONGEST_S: Final = 150.0
"""Seconds above which it is left out, unless it was asked for."""
_LEAST_RUNS: Final = 2


class Rehearsal(NamedTuple):
    """What a rehearsal would run.

    Attributes:
        pace_ms: shortest time of a step.
        steps: measured, of each worker.
        duration_s: estimate of the whole.
    """

    pace_ms: float
    steps: int
    nodes: tuple[int, ...]
    duration_s: float


def open_rehearsal(store: SweepStore) -> SweepStore | None:
    """Return the rehearsal of a sweep; None if it has none."""
    path = store.path / NAME
    return SweepStore(path) if (path / "plan.json").is_file() else None


def refusal(config: Config, cores: float) -> str | None:
    """Return why a sweep needs or allows no rehearsal; None if it gets one."""
    nodes = _shared_nodes(config)
    if config.hosts:
        return "a rehearsal runs on this machine alone, and the sweep has hosts"
    if config.train.pace_ms:
        return "the sweep is paced itself"
    if config.varied:
        return "the sweep varies settings"
    if len(nodes) < 2:  # noqa: PLR2004 - growth is between two
        return "growth needs two node counts of a protocol with parameter servers"
    if max(nodes) <= cores:
        return f"each of {max(nodes)} roles has a core of its own"
    return None


def pace_ms(outcomes: Sequence[TrialOutcome], cores: float, share: float = CORE_SHARE) -> float:
    """Return the pace at which the workers of the largest trial need this share of the cores.

    In one pace, each worker takes a step and the parameter servers apply it. The CPU time of both
    is the mean over the trials of a cell, of the cell that needs most.

    Args:
        outcomes: successful trials with parameter servers, at least one.
        cores: of the machine.
        share: of these, 0 to 1.
    """
    demands_s: dict[CellKey, list[float]] = defaultdict(list)
    most = max(outcome.order.nodes for outcome in outcomes)
    for outcome in outcomes:
        if outcome.order.nodes == most:
            steps = sum(record.steps for record in outcome.epochs)
            cpu_s = sum(record.cpu_s for record in outcome.epochs) + outcome.parameter_server_cpu_s
            demands_s[outcome.order.cell].append(outcome.order.workers * cpu_s / steps)
    demand_s = max(sum(found) / len(found) for found in demands_s.values())
    return float(math.ceil(round(1e3 * demand_s / (cores * share), 6)))


def plan_rehearsal(
    config: Config, outcomes: Sequence[TrialOutcome], cores: float
) -> Rehearsal | None:
    """Find pace and length from a sweep's own trials; None if none of them tells."""
    nodes = _shared_nodes(config)
    good = [o for o in outcomes if o.status == "ok" and o.epochs and o.order.parameter_servers]
    if not good:
        return None
    pace = pace_ms(good, cores)
    # Start, warm-up and evaluation take as long as in the sweep.
    others_s = {n: [o.duration_s - o.training_s for o in good if o.order.nodes == n] for n in nodes}
    ends = min(nodes), max(nodes)
    known_s = [mean for n in ends if others_s[n] for mean in [sum(others_s[n]) / len(others_s[n])]]
    trials = len(ends) * len(_shared_protocols(config)) * REPEATS
    other_s = trials * sum(known_s) / len(known_s) if known_s else 0.0
    whole = good[0].order.pass_steps(good[0].order.data.train_examples)
    run = min(config.train.steps_per_run, whole)
    run_s = pace / 1e3 * run
    runs = int((BUDGET_S - other_s) / trials / run_s) - 1  # one warms up
    steps = min(max(runs, _LEAST_RUNS) * run, whole)
    duration_s = other_s + trials * (run + steps) * pace / 1e3
    return Rehearsal(pace, steps, ends, duration_s)


def is_short(
    rehearsal: Rehearsal, outcomes: Sequence[TrialOutcome], stall_timeout_s: float
) -> bool:
    """Return whether a rehearsal that nobody asked for takes little beside its sweep."""
    spent_s = sum(outcome.duration_s for outcome in outcomes)
    run_s = rehearsal.pace_ms / 1e3 * outcomes[0].order.steps_per_run
    return rehearsal.duration_s <= max(LONGEST_S, spent_s / 2) and run_s <= stall_timeout_s / 2


def create_rehearsal(store: SweepStore, rehearsal: Rehearsal) -> SweepStore:
    """Plan a rehearsal, and make its directory in that of its sweep."""
    given = store.resolved
    changes: dict[str, dict[str, object]] = {
        "sweep": {
            "nodes": rehearsal.nodes,
            "protocols": _shared_protocols(given.config),
            "repeats": REPEATS,
            "rehearsal": False,
        },
        "train": {
            "epochs": 1,
            "epoch_steps": rehearsal.steps,
            "warmup_steps": given.config.train.steps_per_run,
            "pace_ms": rehearsal.pace_ms,
            "rate_decay_epochs": (),
        },
    }
    config = given.config
    for table, values in changes.items():
        changed = msgspec.structs.replace(getattr(config, table), **values)
        config = msgspec.structs.replace(config, **{table: changed})
    origins = {f"{table}.{name}": NAME for table, values in changes.items() for name in values}
    first = store.plan.orders[0]
    plan = make_plan(config, first.data, NAME, hosts=store.plan.hosts)
    # Its agents are those of the sweep, which have TensorFlow in memory.
    plan = msgspec.structs.replace(plan, data_note=store.plan.data_note, import_s=0.0)
    return create(store.path, Resolved(config, {**given.origins, **origins}), plan, snapshot())


def _shared_protocols(config: Config) -> tuple[ProtocolName, ...]:
    """Return the protocols of a sweep that have a parameter server to wait for."""
    return tuple(p for p in config.sweep.protocols if find_protocol(p).needs_parameter_server)


def _shared_nodes(config: Config) -> list[int]:
    """Return the node counts of their cells."""
    shared = _shared_protocols(config)
    return sorted({cell.nodes for cell in config.sweep.cells if cell.protocol in shared})
