"""Several hosts, each an agent of its own on this machine, of which one goes down on the way."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from support.real_cluster import SYNTHETIC

from benchmarks.testbed.processes import Witness
from dnnbench.cli.views.sweep import QuietView
from dnnbench.errors import HostError
from dnnbench.hosts.local import LocalAgents
from dnnbench.settings.load import load
from dnnbench.sweep import results
from dnnbench.sweep.placement import Host
from dnnbench.sweep.plan import make_plan
from dnnbench.sweep.runner import run_sweep
from dnnbench.trial.machine import snapshot
from dnnbench.trial.messages import AnyEvent, PortReserved, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dnnbench.sweep.agents import Agents
    from dnnbench.trial.spec import TrialSpec

HOSTS = [Host(f"node{n}", "127.0.0.1", slots=1) for n in (1, 2, 3)]
GONE_S = 5.0


class Site(LocalAgents):
    """Hosts that can go down: an agent there is not started again."""

    def __init__(self) -> None:
        super().__init__()
        self.down: set[str] = set()
        self.started: list[Agents] = []

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        log_dir: Path,
        notify: Callable[[str], None],
    ) -> Agents:
        up = [host for host in hosts if host.name not in self.down]
        agents = super().start(up, needed, log_dir, notify)
        agents.missing |= {name: HostError("no route to host", where=name) for name in self.down}
        self.started.append(agents)
        return agents


class Accident(QuietView):
    """Takes node3 down at the first progress of its worker."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._roles: list[int] = []
        self.witness: Witness | None = None

    def event(self, order: TrialSpec, event: AnyEvent) -> None:
        super().event(order, event)
        if isinstance(event, PortReserved):
            self._roles.append(event.pid)
        elif isinstance(event, Progress) and event.task == "worker:1" and not self._site.down:
            self._site.down = {"node3"}
            agent = self._site.started[-1]._agents["node3"]
            self.witness = Witness(self._roles)
            os.kill(agent._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]


def test_a_host_that_goes_down_costs_a_trial_and_its_node_count(tmp_path: Path) -> None:
    options = {
        "sweep.nodes": "2,3",
        "sweep.protocols": "downpour",
        "sweep.repeats": 2,
        "sweep.seed": 6,
        "train.batch_size": 1000,
        "train.epochs": 1,
        "train.warmup_steps": 10,
    }
    resolved = load(None, {}, options)
    plan = make_plan(resolved.config, SYNTHETIC, "sweep", hosts=HOSTS)
    assert [order.nodes for order in plan.orders] == [2, 3, 2, 3]
    sweep = results.create(tmp_path, resolved, plan, snapshot())
    site = Site()
    accident = Accident(site)

    outcomes = run_sweep(sweep, accident, site)
    assert [outcome.status for outcome in outcomes] == ["ok", "degraded", "ok", "not run"]
    first, degraded, third, left = outcomes
    (lost,) = degraded.lost_workers
    assert (lost.task, lost.host) == ("worker:1", "node3")
    assert lost.cause.startswith("the agent ended with -9")
    assert {r.task for r in degraded.epochs} == {"worker:0"}
    assert str(left.failure) == "node3: no route to host"
    assert sweep.pending() == [degraded.order, left.order]
    assert [o.placement for o in (first, third)] == [{"ps:0": "node1", "worker:0": "node2"}] * 2
    assert accident.witness
    with accident.witness as witness:
        assert witness.alive_after(GONE_S) == []
