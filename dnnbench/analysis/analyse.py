"""Trials to the figures of a report.

Trials that failed, were interrupted or never ran are counted and named, never averaged in. Trials
of different data or settings are refused, not mixed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.analysis.cell import Cell, make_cell, per_worker_throughput
from dnnbench.analysis.comparisons import Growth, Overhead, growth, overhead
from dnnbench.analysis.crowding import HostFacts, Placement, placements, roles_per_core
from dnnbench.analysis.trial_figures import TrialFigures, measure
from dnnbench.errors import ResultsError
from dnnbench.trial.outcome import Status
from dnnbench.trial.spec import (
    PROTOCOLS,
    DataSpec,
    EpochDefinition,
    ModelSpec,
    Protocol,
    ProtocolSpec,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a report has to say about a sweep and no trial knows.

    Attributes:
        host_cores: cores of all hosts together.
        hosts: those that trials ran on, in the inventory's order.
        planned_nodes: node counts of the sweep; cells that never ran are shown as missing.
        planned_repeats: trials planned for each cell.
        data_note: why this data set, if the user did not ask for it.
        versions: ``python``, ``tensorflow``, ``dnnbench`` and so on -> version.
    """

    profile: str
    host_cores: int
    cpu_model: str
    planned_nodes: list[int]
    planned_protocols: list[Protocol]
    planned_repeats: int
    data_note: str | None = None
    versions: dict[str, str] = {}
    hosts: dict[str, HostFacts] = {}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all trials of one report have in common."""

    sweep: str
    data: DataSpec
    model: ModelSpec
    protocols: dict[Protocol, ProtocolSpec]
    parameter_servers: int
    batch_size: int
    epochs: int
    epoch_definition: EpochDefinition
    warmup_steps: int
    steps_per_run: int


class NotCounted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An outcome that is in no average.

    Attributes:
        cause: in one line.
        repeated: a later execution of the same trial ended well and is counted.
    """

    id: str
    status: Status
    cause: str
    task: str | None
    host: str | None
    repeated: bool


class Analysis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All figures of a report; a cell for each protocol at each node count, by nodes.

    Attributes:
        placements: which task ran on which host; empty where there is only one.
    """

    context: Context
    settings: Settings
    cells: list[Cell]
    growth: list[Growth]
    overhead: list[Overhead]
    not_counted: list[NotCounted]
    warnings: list[str]
    placements: list[Placement] = []

    @property
    def nodes(self) -> list[int]:
        """Node counts, ascending."""
        return sorted({cell.nodes for cell in self.cells})

    @property
    def protocols(self) -> list[Protocol]:
        """Protocols in the order of a table's columns."""
        present = {cell.protocol for cell in self.cells}
        return [protocol for protocol in PROTOCOLS if protocol in present]

    def cell(self, nodes: int, protocol: Protocol) -> Cell:
        """Return the cell of one protocol at one node count; KeyError if there is none."""
        for cell in self.cells:
            if (cell.nodes, cell.protocol) == (nodes, protocol):
                return cell
        raise KeyError((nodes, protocol))


_Key = tuple[int, Protocol]


def analyse(outcomes: Sequence[TrialOutcome], context: Context) -> Analysis:
    """Turn the outcomes of one sweep into the figures of a report.

    Where a trial has several outcomes (it was repeated after a failure), the good one counts.

    Raises:
        ResultsError: no outcomes, different data or settings among them, a trial counted twice, or
            one that ended well without a measurement.
    """
    settings = _settings(outcomes)
    trials: dict[_Key, dict[int, TrialFigures]] = defaultdict(dict)
    lost: dict[_Key, dict[int, Status]] = defaultdict(dict)
    for outcome in outcomes:
        order = outcome.order
        key = order.nodes, order.protocol.name
        if outcome.status != "ok":
            lost[key][order.repeat] = outcome.status
        elif order.repeat in trials[key]:
            raise ResultsError("ended well twice; a trial counts once", where=order.id)
        else:
            trials[key][order.repeat] = measure(outcome)
    seen = trials.keys() | lost.keys()
    node_counts = sorted({*context.planned_nodes, *(nodes for nodes, _ in seen)})
    protocols = {*context.planned_protocols, *(protocol for _, protocol in seen)}
    keys = [(n, protocol) for n in node_counts for protocol in PROTOCOLS if protocol in protocols]
    placed = placements(outcomes) if len(context.hosts) > 1 else []
    times = {key: {i: t.epoch_s for i, t in trials[key].items()} for key in keys}
    return Analysis(
        context=context,
        settings=settings,
        cells=_cells(keys, trials, lost, settings, context, crowding=_crowding(placed, context)),
        growth=growth(times),
        overhead=overhead(times),
        not_counted=[_not_counted(o, trials) for o in outcomes if o.status != "ok"],
        warnings=_setting_warnings(settings)
        + [w for key in keys for _, t in sorted(trials[key].items()) for w in t.warnings],
        placements=placed,
    )


def _cells(
    keys: Sequence[_Key],
    trials: Mapping[_Key, Mapping[int, TrialFigures]],
    lost: Mapping[_Key, Mapping[int, Status]],
    settings: Settings,
    context: Context,
    *,
    crowding: Mapping[int, float],
) -> list[Cell]:
    smallest = min(nodes for nodes, _ in keys)
    base_workers = smallest - settings.parameter_servers
    cells = []
    for nodes, protocol in keys:
        base = None
        if nodes != smallest:
            base = per_worker_throughput(trials.get((smallest, protocol), {}), base_workers)
        good = trials[nodes, protocol]
        cell = make_cell(
            nodes,
            protocol,
            good,
            lost=[s for repeat, s in lost.get((nodes, protocol), {}).items() if repeat not in good],
            planned=context.planned_repeats,
            workers=nodes - settings.parameter_servers,
            roles_per_core=crowding.get(nodes, nodes / context.host_cores),
            base_throughput=base,
        )
        cells.append(cell)
    return cells


def _crowding(placed: Sequence[Placement], context: Context) -> dict[int, float]:
    """Return nodes -> roles per core, of the fullest host that any of its trials had."""
    crowding: dict[int, float] = {}
    for placement in placed:
        here = roles_per_core(placement.tasks, context.hosts)
        crowding[placement.nodes] = max(crowding.get(placement.nodes, 0.0), here)
    return crowding


def _settings(outcomes: Sequence[TrialOutcome]) -> Settings:
    """Return what the outcomes have in common, or name the first that differs."""
    if not outcomes:
        raise ResultsError("no trial has ended yet", remedy="run the sweep first")
    first = outcomes[0].order
    protocols: dict[Protocol, TrialSpec] = {}
    for order in (outcome.order for outcome in outcomes):
        for name, value in _COMMON.items():
            _check_same(name, value, order, first)
        same_protocol = protocols.setdefault(order.protocol.name, order)
        _check_same("protocol", lambda o: o.protocol, order, same_protocol)
    return Settings(
        sweep=first.sweep,
        data=first.data,
        model=first.model,
        protocols={p: protocols[p].protocol for p in PROTOCOLS if p in protocols},
        parameter_servers=first.parameter_servers,
        batch_size=first.batch_size,
        epochs=first.epochs,
        epoch_definition=first.epoch_definition,
        warmup_steps=first.warmup_steps,
        steps_per_run=first.steps_per_run,
    )


_COMMON: dict[str, Callable[[TrialSpec], Any]] = {
    "sweep": lambda order: order.sweep,
    # Not the directory: the same bytes elsewhere are the same data.
    "data": lambda order: f"{order.data.name} ({order.data.digest})",
    "model": lambda order: order.model,
    "parameter_servers": lambda order: order.parameter_servers,
    "batch_size": lambda order: order.batch_size,
    "epochs": lambda order: order.epochs,
    "epoch_definition": lambda order: order.epoch_definition,
    "warmup_steps": lambda order: order.warmup_steps,
    "steps_per_run": lambda order: order.steps_per_run,
}


def _check_same(
    name: str, value: Callable[[TrialSpec], Any], order: TrialSpec, reference: TrialSpec
) -> None:
    found, expected = value(order), value(reference)
    if found != expected:
        raise ResultsError(
            f"{name} is {found}, but {expected} in {reference.id}",
            where=order.id,
            remedy="trials of different data or settings are not mixed; report each sweep alone",
        )


def _setting_warnings(settings: Settings) -> list[str]:
    """Warn where the two protocols differ in more than the protocol."""
    orders = list(settings.protocols.values())
    return [
        f"{name} differs between the protocols: "
        + ", ".join(f"{order.name} {getattr(order, name)}" for order in orders)
        for name in ("optimizer", "learning_rate")
        if len({getattr(order, name) for order in orders}) > 1
    ]


def _not_counted(
    outcome: TrialOutcome, trials: Mapping[_Key, Mapping[int, TrialFigures]]
) -> NotCounted:
    order, failure = outcome.order, outcome.failure
    cause = " ".join(failure.cause.split()) if failure else ""
    return NotCounted(
        id=order.id,
        status=outcome.status,
        cause=cause or outcome.status,
        task=failure.task if failure else None,
        host=failure.host if failure else None,
        repeated=order.repeat in trials[order.nodes, order.protocol.name],
    )
