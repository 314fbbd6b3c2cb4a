"""Figures of a sweep's paced rehearsal: growth where the cores suffice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.comparability import differences
from dnnbench.analysis.comparisons import Growth, published_growth
from dnnbench.analysis.published import published_epoch_s
from dnnbench.analysis.stats import Estimate, estimate
from dnnbench.trial.protocols import parameter_servers_of
from dnnbench.trial.spec import CellKey, ProtocolName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnnbench.analysis.analyse import Analysis
    from dnnbench.trial.outcome import TrialOutcome


class RehearsalCell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One protocol at one node count, paced. A figure is None if no trial provided it.

    Attributes:
        n: successful trials, the ones that are averaged.
        step_ms: mean over steps and workers, the wait included.
        server_busy_percent: CPU time of a parameter server per second of training, of one core.
        cores_busy_percent: CPU time of all roles per second of training, of all cores.
    """

    protocol: ProtocolName
    nodes: int
    planned: int
    n: int
    step_ms: Estimate | None
    server_busy_percent: Estimate | None
    cores_busy_percent: Estimate | None


class Rehearsal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sweep again, its steps paced; nothing in it is the speed of a machine.

    Attributes:
        pace_ms: shortest time from a worker's pull to its push.
        steps: measured, of each worker in a trial.
        pass_steps: steps of a whole pass.
        growth: of the time of a step, from the smallest to the largest node count.
    """

    pace_ms: float
    cores: int
    steps: int
    pass_steps: int
    cells: list[RehearsalCell]
    growth: list[Growth]


def rehearsal_figures(analysis: Analysis, outcomes: Sequence[TrialOutcome]) -> Rehearsal:
    """Return the figures of a rehearsal.

    Args:
        analysis: of the rehearsal, as of any sweep.
        outcomes: of its trials.
    """
    spec = next(outcome.order for outcome in outcomes if outcome.order.parameter_servers)
    examples = spec.data.train_examples
    cores = analysis.context.host_cores
    cells = []
    for cell in analysis.cells:
        servers = parameter_servers_of(cell.protocol, analysis.settings.parameter_servers)
        good = [o for o in outcomes if o.order.cell == cell.key and o.status == "ok"]
        cells.append(
            RehearsalCell(
                protocol=cell.protocol,
                nodes=cell.nodes,
                planned=cell.planned,
                n=cell.n,
                step_ms=estimate([_step_ms(outcome) for outcome in good]),
                server_busy_percent=estimate(
                    [100 * o.parameter_server_cpu_s / o.training_s / servers for o in good]
                ),
                cores_busy_percent=estimate([_busy_percent(o) / cores for o in good]),
            )
        )
    return Rehearsal(
        pace_ms=analysis.settings.pace_ms,
        cores=cores,
        steps=spec.measured_steps(examples),
        pass_steps=spec.pass_steps(examples),
        cells=cells,
        growth=[_beside_published(growth, analysis) for growth in analysis.growth],
    )


def _beside_published(growth: Growth, analysis: Analysis) -> Growth:
    """Put the published growth beside that of steps whose pace stands in for hosts of their own."""
    if differences(msgspec.structs.replace(analysis.settings, pace_ms=0.0)):
        return growth
    low, high = (CellKey(n, growth.protocol) for n in (growth.from_nodes, growth.to_nodes))
    percent = published_growth(low, high, published_epoch_s)
    return msgspec.structs.replace(growth, published_percent=percent)


def _step_ms(outcome: TrialOutcome) -> float:
    steps = sum(record.steps for record in outcome.epochs)
    return 1e3 * sum(record.duration_s for record in outcome.epochs) / steps


def _busy_percent(outcome: TrialOutcome) -> float:
    """Return the CPU time of all roles per second of training, in percent of one core."""
    cpu_s = sum(record.cpu_s for record in outcome.epochs) + outcome.parameter_server_cpu_s
    return 100 * cpu_s / outcome.training_s
