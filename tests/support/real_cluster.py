"""Small trials on a real agent on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnnbench.data import catalog
from dnnbench.hosts.local import LocalAgent
from dnnbench.settings.schema import RunConfig
from dnnbench.sweep.agents import Agents
from dnnbench.sweep.inbox import Inbox
from dnnbench.sweep.placement import local_inventory
from dnnbench.sweep.trial_run import run_trial
from dnnbench.trial.spec import DataSpec, ModelSpec, ProtocolSpec, TrialSpec
from dnnbench.trial.tasks import task_names
from support.factories import make_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.outcome import TrialOutcome

HOST = "localhost"
SYNTHETIC = DataSpec(catalog.SYNTHETIC, None, catalog.SYNTHETIC_DIGEST)
LIMITS = RunConfig(ready_timeout_s=60.0, stall_timeout_s=30.0, trial_timeout_s=120.0)


def small_order(protocol: ProtocolSpec, nodes: int, **changes: Any) -> TrialSpec:
    """Return a trial of 55 steps per epoch: 5 runs of 10 steps and one of 5."""
    settings: dict[str, Any] = {
        "data": SYNTHETIC,
        "model": ModelSpec(l2=1e-4, dropout=0.1),
        "batch_size": 1000,
        "steps_per_run": 10,
        "warmup_steps": 10,
        "epochs": 1,
    }
    return make_order(nodes, protocol, **(settings | changes))


class Cluster:
    """An agent on this machine that runs one trial after the other."""

    def __init__(self, log_file: Path, limits: RunConfig = LIMITS) -> None:
        inbox = Inbox()
        self.directory = log_file.parent
        self.agent = LocalAgent(HOST, log_file, inbox, {})
        self.agents = Agents([self.agent], local_inventory(), inbox, release=self.agent.close)
        self.limits = limits
        self.events: list[AnyEvent] = []
        self.notices: list[str] = []
        self._done: dict[TrialSpec, TrialOutcome] = {}
        try:
            self.agent_pid = self.agents.await_ready(limits.ready_timeout_s)[HOST].pid
        except BaseException:
            self.close()
            raise

    def run(
        self,
        order: TrialSpec,
        watch: Callable[[AnyEvent], None] = lambda _event: None,
        limits: RunConfig | None = None,
    ) -> TrialOutcome:
        """Run a trial; ``events`` then holds its events."""
        self.events = []

        def both(event: AnyEvent) -> None:
            self.events.append(event)
            watch(event)

        placement = dict.fromkeys(task_names(order.nodes, order.parameter_servers), HOST)
        return run_trial(
            order,
            placement,
            self.agents,
            cores={HOST: 2},
            limits=limits or self.limits,
            watch=both,
            phase=lambda _text: None,
            notice=self.notices.append,
        )

    def outcome(self, protocol: ProtocolSpec, nodes: int, **changes: Any) -> TrialOutcome:
        """Return the good outcome of a small trial, or that of an earlier identical one."""
        order = small_order(protocol, nodes, **changes)
        if order not in self._done:
            self._done[order] = outcome = self.run(order)
            assert outcome.status == "ok", outcome.failure
        return self._done[order]

    def close(self) -> None:
        self.agents.close()
