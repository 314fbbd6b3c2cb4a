"""Inputs of a prediction: the costs of a step that a sweep measured, and assumptions for the rest.

Every figure carries its origin, so that nothing assumed passes for measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from dnnbench.errors import ResultsError
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.spec import EpochDefinition, ProtocolName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.protocols import Protocol

Origin = Literal["measured", "computed", "given", "assumed"]

DEFAULT_BANDWIDTH_BIT_PER_S: Final = 1e9
DEFAULT_ROUND_TRIP_S: Final = 0.2e-3
DEFAULT_PARAMETER_S: Final = 1.6e-9
"""CPU time of a server per parameter of its shard and update.

Measured with one, two and four shards of `mnist-dnn` under downpour; see docs/performance.md,
"Scale": 0.51, 0.47 and 0.45 ms per update.
"""

IDLE_ENOUGH: Final = 0.5
"""Share of the cores that paced roles may use and yet hardly wait for each other."""
_OF_A_STEP: Final = {"batch_size", "n_fetch", "n_push", "pace_ms", "steps_per_run"}
"""Settings that may vary in a sweep, and on which the times of a step depend."""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number with its origin.

    Attributes:
        source: in words, as a table shows it.
    """

    value: float
    origin: Origin
    source: str


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training task, whatever runs it.

    Attributes:
        pace_ms: shortest time of a step from pull to push; 0 for none.
        epoch_examples: in all steps of a worker's epoch; of all workers together if sharded.
        parameters: of the model.
        one_process_s: a step of one process without messages; None if that was not measured.
    """

    sweep: str
    data: str
    model: str
    batch_size: int
    pace_ms: float
    steps_per_run: int
    epoch_definition: EpochDefinition
    epoch_examples: int
    parameters: Figure
    one_process_s: Figure | None


class StepCosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Costs of a step under one protocol, from its cell with the fewest nodes.

    Attributes:
        workers: in that cell.
        servers: parameter servers in that cell.
        step_s: wall time of a step there if every role had a core of its own; else None.
        worker_cpu_s: CPU time of a worker per step.
        server_cpu_s: CPU time of one parameter server per step of a worker.
        server_cpu_excess_s: of that, what it takes more than the protocol's baseline; 0 if the
            sweep has no such cell.
        staleness_share: mean staleness in updates per other worker, in the cell with the fewest
            nodes that has others; None without one.
        n_fetch, n_push: steps from one pull, or push, to the next.
        on_network: whether the tasks were on several hosts.
        epoch_s_by_nodes: of the protocol's cells in which every role had a core of its own.
    """

    protocol: ProtocolName
    nodes: int
    workers: int
    servers: int
    trials: int
    step_s: Figure | None
    worker_cpu_s: Figure
    server_cpu_s: Figure
    server_cpu_excess_s: float
    staleness_share: Figure | None
    n_fetch: int
    n_push: int
    on_network: bool
    epoch_s_by_nodes: dict[int, float]


class Given(msgspec.Struct, frozen=True):
    """Figures that replace those of the sweep; None keeps them."""

    parameters: int | None = None
    worker_s: float | None = None
    server_s: float | None = None
    one_process_s: float | None = None


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a sweep contributes to a prediction.

    Attributes:
        not_predicted: protocol -> reason.
        is_disturbed: whether others used the machines of the sweep.
    """

    workload: Workload
    costs: list[StepCosts]
    not_predicted: dict[ProtocolName, str]
    is_disturbed: bool = False


def read_inputs(analysis: Analysis, outcomes: Sequence[TrialOutcome], given: Given) -> Inputs:
    """Return what a sweep says about the costs of a step.

    Args:
        analysis: of the sweep.
        outcomes: of the same sweep.
        given: figures of the user.

    Raises:
        ResultsError: no trial of a protocol that can be predicted succeeded, the number of
            parameters is neither stored nor given, or a setting varies on which a step depends.
    """
    if several := sorted(_OF_A_STEP & analysis.varied.keys()):
        raise ResultsError(
            f"has several values of {', '.join(several)}, of which a prediction needs one",
            where=analysis.settings.sweep,
            remedy="run a sweep with one value",
        )
    costs, refused = [], {}
    for name in analysis.protocols:
        if reason := reason_not_predicted(find_protocol(name)):
            refused[name] = reason
            continue
        cells = [c for c in analysis.cells if c.protocol == name and c.n]
        cells = [c for c in cells if c.variation == cells[0].variation]  # a step costs the same
        if not cells:
            void = [c for c in analysis.cells if c.protocol == name and c.void]
            void_text = ", ".join(f"{c.key} is void ({c.void})" for c in void)
            refused[name] = void_text or "none of its trials succeeded"
        elif reason := _unknown_own_time(analysis, cells, given):
            refused[name] = reason
        else:
            costs.append(_step_costs(analysis, cells, outcomes, given))
    if not costs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ResultsError(
            f"has no protocol to predict: {reasons}",
            where=analysis.settings.sweep,
            remedy="run a sweep with --protocols downpour",
        )
    workload = _workload(analysis, outcomes, given)
    return Inputs(workload, costs, refused, analysis.is_disturbed)


def reason_not_predicted(protocol: Protocol) -> str | None:
    """Return why the model does not cover a protocol; None if it does."""
    if not protocol.needs_parameter_server:
        return "it has no parameter server, for which the workers of the model queue"
    if protocol.synchronous:
        return "its workers wait for each other; those of the model wait for parameter servers only"
    return None


def _unknown_own_time(analysis: Analysis, cells: Sequence[Cell], given: Given) -> str | None:
    """Return why a worker's own time per step cannot be told; None if it can."""
    settings = analysis.settings
    if given.worker_s is not None or any(_has_own_cores(analysis, cell) for cell in cells):
        return None
    if settings.device != "cpu":
        device = settings.device.upper()
        return f"its workers shared cores, and their CPU time is not that of the {device}"
    if settings.pace_ms:
        return "its steps were paced, and yet its roles needed more than half of the cores"
    return None


def _step_costs(
    analysis: Analysis, cells: Sequence[Cell], outcomes: Sequence[TrialOutcome], given: Given
) -> StepCosts:
    cell = min(cells, key=lambda cell: (not _has_own_cores(analysis, cell), cell.nodes))
    trials = [o for o in outcomes if o.status == "ok" and o.order.cell == cell.key]
    servers = analysis.settings.parameter_servers
    worker_cpu, server_cpu = cell.worker_cpu_s_per_example, cell.parameter_server_cpu_s_per_example
    assert worker_cpu is not None, "a trial of the cell succeeded"
    assert server_cpu is not None, "likewise"
    place = f"{cell.nodes} nodes, n = {cell.n}"
    step = None
    if given.worker_s is None and _has_own_cores(analysis, cell):
        step = Figure(_step_s(trials), "measured", f"wall time at {place}")
    worker = Figure(worker_cpu.mean * _batch(analysis), "measured", f"CPU time at {place}")
    if given.worker_s is not None:
        worker = Figure(given.worker_s, "given", "--worker-ms")
    server = Figure(
        server_cpu.mean * _batch(analysis) / servers, "measured", f"CPU time at {place}"
    )
    if given.server_s is not None:
        server = Figure(given.server_s, "given", "--server-ms")
    share = next(
        (
            Figure(c.staleness.mean / (c.workers - 1), "measured", f"at {c.nodes} nodes, n = {c.n}")
            for c in cells
            if c.staleness and c.workers > 1
        ),
        None,
    )
    return StepCosts(
        protocol=cell.protocol,
        nodes=cell.nodes,
        workers=cell.workers,
        servers=servers,
        trials=cell.n,
        step_s=step,
        worker_cpu_s=worker,
        server_cpu_s=server,
        server_cpu_excess_s=0.0 if given.server_s else _excess_s(analysis, cell) / servers,
        staleness_share=share,
        n_fetch=analysis.settings.protocols[cell.protocol].n_fetch,
        n_push=analysis.settings.protocols[cell.protocol].n_push,
        on_network=any(len(set(trial.placement.values())) > 1 for trial in trials),
        epoch_s_by_nodes={
            c.nodes: c.epoch_s.mean for c in cells if c.epoch_s and _has_own_cores(analysis, c)
        },
    )


def _excess_s(analysis: Analysis, cell: Cell) -> float:
    """Return the servers' CPU time per update beyond that of the protocol's baseline."""
    key = cell.key.baseline()
    baseline = analysis.find_cell(key) if key else None
    own, others = cell.parameter_server_cpu_s_per_example, None
    if baseline:
        others = baseline.parameter_server_cpu_s_per_example
    if own is None or others is None:
        return 0.0
    return max(own.mean - others.mean, 0.0) * _batch(analysis)


def _has_own_cores(analysis: Analysis, cell: Cell) -> bool:
    """Return whether roles hardly waited for cores: each had one, or paced steps left them idle."""
    if cell.roles_per_core <= 1.0:
        return True
    worker, server = cell.worker_cpu_s_per_example, cell.parameter_server_cpu_s_per_example
    if not (analysis.settings.pace_ms and cell.examples_per_s and worker and server):
        return False
    busy = cell.examples_per_s.mean * (worker.mean + server.mean)
    return busy <= IDLE_ENOUGH * analysis.context.host_cores


def _workload(analysis: Analysis, outcomes: Sequence[TrialOutcome], given: Given) -> Workload:
    settings = analysis.settings
    asynchronous = [
        o
        for o in outcomes
        if o.status == "ok" and reason_not_predicted(find_protocol(o.order.protocol.name)) is None
    ]
    trial = asynchronous[0]
    workers = trial.order.workers if settings.epoch_definition == "sharded" else 1
    examples = sum(record.examples for record in trial.epochs)
    return Workload(
        sweep=settings.sweep,
        data=settings.data.title,
        model=settings.model.name,
        batch_size=settings.batch_size,
        pace_ms=settings.pace_ms,
        steps_per_run=settings.steps_per_run,
        epoch_definition=settings.epoch_definition,
        epoch_examples=round(examples / len(trial.epochs) * workers / trial.order.passes_per_epoch),
        parameters=_parameters(outcomes, given),
        one_process_s=_one_process(analysis, outcomes, given),
    )


def _parameters(outcomes: Sequence[TrialOutcome], given: Given) -> Figure:
    if given.parameters is not None:
        return Figure(given.parameters, "given", "--parameters")
    stored = next((o.parameters for o in outcomes if o.parameters), None)
    if not stored:
        raise ResultsError(
            "does not hold the number of the model's parameters, as sweeps of older versions",
            where=outcomes[0].order.sweep,
            remedy="give --parameters; mnist-dnn has 55050",
        )
    return Figure(stored, "measured", "from the sweep")


def _one_process(
    analysis: Analysis, outcomes: Sequence[TrialOutcome], given: Given
) -> Figure | None:
    if given.one_process_s is not None:
        return Figure(given.one_process_s, "given", "--one-process-ms")
    for cell in analysis.cells:
        if find_protocol(cell.protocol).fixed_nodes == 1 and cell.epoch_s:
            trials = [o for o in outcomes if o.status == "ok" and o.order.cell == cell.key]
            return Figure(_step_s(trials), "measured", f"{cell.protocol}, wall time, n = {cell.n}")
    return None


def _batch(analysis: Analysis) -> int:
    return analysis.settings.batch_size


def _step_s(trials: Sequence[TrialOutcome]) -> float:
    """Return the wall time of a step, the mean over the trials' workers and epochs."""
    records = [record for trial in trials for record in trial.epochs]
    return sum(r.duration_s for r in records) / sum(r.steps for r in records)
