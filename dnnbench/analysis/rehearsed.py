"""Growth of a paced rehearsal as the model predicts it, beside the measured one.

A check of the model on the user's own machine: paced steps leave its cores idle, so that what grows
is the wait for the parameter server, as on hosts with cores of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dnnbench.analysis.prediction import CPU, VARIATION
from dnnbench.analysis.queueing import solve
from dnnbench.analysis.stats import RatioEstimate
from dnnbench.analysis.worthwhile import one_core
from dnnbench.trial.spec import ProtocolName

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.comparisons import Growth
    from dnnbench.analysis.rehearsal import Rehearsal


class RehearsedGrowth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The growth of a rehearsal's step from the fewest to the most nodes.

    Attributes:
        step_s: measured, with the fewest nodes.
        server_s: CPU time of a parameter server per update, measured there.
        utilization: of a parameter server with the most nodes, as predicted.
        longest_percent: the same with exponential times of updates; 0 is the least growth.
    """

    protocol: ProtocolName
    pace_ms: float
    from_nodes: int
    to_nodes: int
    step_s: float
    server_s: float
    utilization: float
    measured: RatioEstimate | None
    predicted_percent: float
    longest_percent: float


def rehearsed_growth(analysis: Analysis) -> list[RehearsedGrowth]:
    """Predict the growth of each protocol's rehearsal; nothing without a rehearsal."""
    if analysis.rehearsal is None:
        return []
    servers = analysis.settings.parameter_servers
    found = (_growth(analysis.rehearsal, growth, servers) for growth in analysis.rehearsal.growth)
    return [growth for growth in found if growth]


def _growth(rehearsal: Rehearsal, growth: Growth, servers: int) -> RehearsedGrowth | None:
    base = next(
        cell
        for cell in rehearsal.cells
        if (cell.protocol, cell.nodes) == (growth.protocol, growth.from_nodes)
    )
    if base.step_ms is None or base.server_busy_percent is None:
        return None
    few, many = growth.from_nodes - servers, growth.to_nodes - servers
    step_s = base.step_ms.mean / 1e3
    server_s = base.server_busy_percent.mean / 100 * step_s / few
    if not 0.0 < server_s < step_s / few:
        return None
    network = one_core(server_s, step_s, few)
    found = solve(network, [few, many], variation=VARIATION)
    varying = solve(network, [few, many])
    return RehearsedGrowth(
        protocol=growth.protocol,
        pace_ms=rehearsal.pace_ms,
        from_nodes=growth.from_nodes,
        to_nodes=growth.to_nodes,
        step_s=step_s,
        server_s=server_s,
        utilization=found[many].utilization[CPU],
        measured=growth.measured,
        predicted_percent=100 * (found[many].cycle_s / found[few].cycle_s - 1),
        longest_percent=100 * (varying[many].cycle_s / varying[few].cycle_s - 1),
    )
