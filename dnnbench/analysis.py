"""Trials to the figures of a report.

Trials that failed, were interrupted or never ran are counted and named, never averaged in. Trials
of different data or settings are refused, not mixed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.cells import Cell, TrialFigures, make_cell, measure, per_worker_throughput
from dnnbench.errors import ResultsError
from dnnbench.machines import HostFacts, Placement, placements, roles_per_core
from dnnbench.paper import TABLE_2_EPOCH_S, TABLE_2_GROWTH_PERCENT
from dnnbench.stats import RatioEstimate, ratio_percent
from dnnbench.trial import (
    PROTOCOLS,
    DataOrder,
    EpochDefinition,
    ModelOrder,
    Protocol,
    ProtocolOrder,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dnnbench.trial import TrialOrder, TrialOutcome


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
    data: DataOrder
    model: ModelOrder
    protocols: dict[Protocol, ProtocolOrder]
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


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Growth of the epoch time from the smallest to the largest node count."""

    protocol: Protocol
    from_nodes: int
    to_nodes: int
    measured: RatioEstimate | None
    published_percent: float | None


class Overhead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """By how much the epoch time of ``dc-sgd`` exceeds that of ``downpour``."""

    nodes: int
    measured: RatioEstimate | None
    published_percent: float | None


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
        growth=_growth(times),
        overhead=_overhead(times),
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
    protocols: dict[Protocol, TrialOrder] = {}
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


_COMMON: dict[str, Callable[[TrialOrder], Any]] = {
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
    name: str, value: Callable[[TrialOrder], Any], order: TrialOrder, reference: TrialOrder
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


def _growth(times: Mapping[_Key, Mapping[int, float]]) -> list[Growth]:
    """Compare the ends of the sweep; repeats of different node counts share nothing."""
    low, high = min(nodes for nodes, _ in times), max(nodes for nodes, _ in times)
    if low == high:
        return []
    return [
        Growth(
            protocol=protocol,
            from_nodes=low,
            to_nodes=high,
            measured=ratio_percent(
                times.get((high, protocol), {}), times.get((low, protocol), {}), paired=False
            ),
            published_percent=_published_growth(protocol, low, high),
        )
        for protocol in PROTOCOLS
        if any(p == protocol for _, p in times)
    ]


def _published_growth(protocol: Protocol, low: int, high: int) -> float | None:
    published = TABLE_2_EPOCH_S[protocol]
    if (low, high) == (min(published), max(published)):
        return TABLE_2_GROWTH_PERCENT[protocol]
    return _excess_percent(published.get(high), published.get(low))


def _overhead(times: Mapping[_Key, Mapping[int, float]]) -> list[Overhead]:
    """Compare the protocols, node count by node count; equal repeats share their seed."""
    downpour, compensated = PROTOCOLS
    return [
        Overhead(
            nodes=nodes,
            measured=ratio_percent(times[nodes, compensated], times[nodes, downpour], paired=True),
            published_percent=_excess_percent(
                TABLE_2_EPOCH_S[compensated].get(nodes), TABLE_2_EPOCH_S[downpour].get(nodes)
            ),
        )
        for nodes in sorted({nodes for nodes, _ in times})
        if {(nodes, downpour), (nodes, compensated)} <= times.keys()
    ]


def _excess_percent(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else 100.0 * (above / below - 1.0)
