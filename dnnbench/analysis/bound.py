"""The part of a cluster that limits its throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.spec import CellKey
from dnnbench.trial.tasks import PARAMETER_SERVER, split_task

if TYPE_CHECKING:
    from dnnbench.analysis.analyse import Analysis
    from dnnbench.analysis.cell import Cell

BUSY: Final = 0.8
"""Share of its cores from which a role counts as limited by them."""
STRAGGLES_PERCENT: Final = 20.0
"""Excess over the mean from which the slowest worker counts as a straggler."""
Part = Literal["shared cores", "parameter server", "straggler", "workers", "waiting"]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part that limits the throughput, in the cell of the first protocol with most nodes.

    Attributes:
        part: ``workers``: their own computing; ``waiting``: neither side is busy, so it is the
            network, or messages queue.
        server_cores: cores of the parameter servers' hosts.
    """

    cell: CellKey
    part: Part
    server_cores: float


def find_bound(analysis: Analysis) -> Bound | None:
    """Return what limits the throughput; None if no trial with several nodes succeeded."""
    cells = [c for c in analysis.cells if c.n and not find_protocol(c.protocol).fixed_nodes]
    if not cells:
        return None
    most = max(cell.nodes for cell in cells)
    cell = next(cell for cell in cells if cell.nodes == most)
    cores = _server_cores(analysis, most)
    return Bound(cell.key, _part(cell, cores), cores)


def _part(cell: Cell, cores: float) -> Part:
    server, worker = cell.parameter_server_busy_cores, cell.worker_busy_cores
    slowest = cell.slowest_worker_percent
    assert server is not None  # figures of cells with trials
    assert worker is not None
    assert slowest is not None
    if cell.roles_per_core > 1.0:
        return "shared cores"
    if server.mean >= BUSY * cores:
        return "parameter server"
    if slowest.mean >= STRAGGLES_PERCENT:
        return "straggler"
    return "workers" if worker.mean >= BUSY else "waiting"


def _server_cores(analysis: Analysis, nodes: int) -> float:
    """Return the cores of the parameter servers' hosts, under the most frequent placement."""
    hosts = analysis.context.hosts
    for placement in analysis.placements:
        if placement.nodes == nodes:
            servers = {
                host
                for task, host in placement.tasks.items()
                if split_task(task)[0] == PARAMETER_SERVER
            }
            if servers:
                return sum(hosts[host].cores for host in servers)
    return float(analysis.context.host_cores)
