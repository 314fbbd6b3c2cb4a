"""Fake hosts on which whole trials run without a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dnnbench.settings.schema import RunConfig
from dnnbench.sweep import trial_run
from dnnbench.sweep.agents import Agents
from dnnbench.sweep.inbox import Inbox
from dnnbench.sweep.placement import Host
from dnnbench.trial.tasks import task_names
from support.factories import make_order
from support.fake_agent import FakeAgent

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.trial.messages import AgentReady, AnyEvent, Order
    from dnnbench.trial.outcome import TrialOutcome
    from support.fake_agent import Answer


class FakeCluster:
    """Fake hosts with an agent each, for one trial after the other."""

    def __init__(self, answers: dict[type[Order], Answer], hosts: int = 1, **limits: Any) -> None:
        self.inbox = Inbox()
        self.hosts = [Host(f"host-{n}", f"10.0.0.{n}") for n in range(hosts)]
        self.fakes = {h.name: FakeAgent(h.name, self.inbox, answers) for h in self.hosts}
        self.agent = self.fakes["host-0"]
        self.agents = Agents(self.fakes.values(), self.hosts, self.inbox, release=lambda: None)
        self.limits = RunConfig(**limits)
        self.watched: list[AnyEvent] = []
        self.watch: Callable[[AnyEvent], None] = self.watched.append
        self.phases: list[str] = []
        self.notices: list[str] = []

    def run(
        self, nodes: int = 3, cores: int = 2, on: int | None = None, **changes: Any
    ) -> TrialOutcome:
        """Run a trial on the first hosts, so many of them as ``on`` says."""
        order = make_order(nodes, **changes)
        tasks = task_names(nodes, order.parameter_servers)
        names = [host.name for host in self.hosts[:on]]
        placement = {task: names[i % len(names)] for i, task in enumerate(tasks)}
        return trial_run.run_trial(
            order,
            placement,
            self.agents,
            cores=dict.fromkeys(names, cores),
            limits=self.limits,
            watch=self.watch,
            phase=self.phases.append,
            notice=self.notices.append,
        )

    def await_ready(self) -> dict[str, AgentReady]:
        return self.agents.await_ready(self.limits.ready_timeout_s)
