"""A stored sweep on fake agents, for tests of what runs it."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from dnnbench.data import catalog
from dnnbench.errors import HostError
from dnnbench.settings.load import load
from dnnbench.sweep import results, runner, store
from dnnbench.sweep.agents import Agents, combined
from dnnbench.sweep.inbox import Arrival, Inbox
from dnnbench.sweep.placement import Host, local_inventory
from dnnbench.sweep.plan import make_plan
from dnnbench.trial.machine import snapshot
from dnnbench.trial.messages import AgentReady, AnyEvent, Go, Order
from dnnbench.trial.spec import DataSpec
from support.factories import make_ready
from support.fake_agent import FakeAgent, train_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dnnbench.sweep.limits import Limit
    from dnnbench.sweep.plan import Plan
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

REFUSED = "connection refused"


class Watcher:
    """Notes what an observer is told, and how many outcomes are stored at that moment."""

    def __init__(self, sweep: store.SweepStore) -> None:
        self.told: list[tuple[str, int]] = []
        self.noticed: list[str] = []
        self.on_start: Callable[[], None] = lambda: None
        self.on_event: Callable[[AnyEvent], None] = lambda _event: None
        self._sweep = sweep

    def _note(self, what: str) -> None:
        self.told.append((what, len(self._sweep.outcomes())))

    def sweep_started(self, plan: Plan, pending: list[TrialSpec]) -> None:
        self._note(f"{len(pending)} of {len(plan.orders)}")

    def phase(self, text: str) -> None:
        if text == "importing TensorFlow":
            self._note(text)

    def notice(self, text: str) -> None:
        self.noticed.append(text)

    def trial_started(self, _order: TrialSpec) -> None:
        self._note("started")
        self.on_start()

    def event(self, _order: TrialSpec, event: AnyEvent) -> None:
        self.on_event(event)

    def trial_ended(self, outcome: TrialOutcome) -> None:
        self._note(outcome.status)


class Stage:
    """A stored sweep of 4 trials, and a source of agents whose training follows a script.

    Attributes:
        down: hosts that cannot be reached.
        late: hosts whose agent never gets ready.
        asked: the hosts of each start.
        boot_id: of the machine that all hosts are; None if each is one of its own.
        limits: of the run.
    """

    def __init__(self, path: Path, hosts: int = 1, **options: object) -> None:
        settings = {
            "sweep.nodes": "3",
            "sweep.repeats": 2,
            "sweep.results_dir": str(path),
            "run.on_worker_loss": "fail",
            "run.retries": 0,
            "run.void_after": 0,
        }
        resolved = load(None, {}, settings | options)
        data = DataSpec(catalog.SYNTHETIC, None, catalog.SYNTHETIC_DIGEST)
        inventory = [Host(f"node{n}", f"10.0.0.{n}", slots=1) for n in range(1, hosts + 1)]
        plan = make_plan(
            resolved.config, data, "sweep", hosts=inventory if hosts > 1 else local_inventory()
        )
        self.store = results.create(path, resolved, plan, snapshot())
        self.agents: list[FakeAgent] = []
        self.watcher = Watcher(self.store)
        self.down: set[str] = set()
        self.late: set[str] = set()
        self.asked: list[list[str]] = []
        self.boot_id: str | None = None
        self.limits: list[Limit] = []
        self._script: Any = iter(())

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,
        log_dir: Path,
        notify: Callable[[str], None],
    ) -> Agents:
        """Reach the first hosts that are up, as many as needed, as a source over SSH does."""
        assert log_dir == self.store.path
        notify("connecting")
        self.asked.append([host.name for host in hosts])
        inbox = Inbox()
        agents: dict[str, FakeAgent] = {}
        missing: dict[str, HostError] = {}
        for host in hosts:
            if host.name in self.down:
                error = HostError(REFUSED, where=host.name, remedy="start sshd")
                missing[host.name] = error.of_kind("ssh-unreachable")
            elif len(agents) < needed:
                agents[host.name] = FakeAgent(host.name, inbox, {Go: self._train})
                if host.name not in self.late:
                    inbox.put(Arrival(host.name, self._ready()))
        self.agents += agents.values()
        if not agents:
            raise combined(missing)

        def release() -> None:
            for agent in agents.values():
                agent.is_closed = True

        up = [host for host in hosts if host.name in agents]
        return Agents(agents.values(), up, inbox, release=release, missing=missing)

    def _ready(self) -> AgentReady:
        ready = make_ready()
        machine = msgspec.structs.replace(ready.machine, boot_id=self.boot_id)
        return msgspec.structs.replace(ready, machine=machine)

    def _train(self, agent: FakeAgent, order: Order) -> list[AnyEvent]:
        """Follow the script, a step a trial: where the parameter server is, it goes on."""
        if "ps:0" in agent.running:
            self._act = next(self._script)
        events: list[AnyEvent] = self._act(agent, order)
        return events

    def run(self, *script: Callable[[FakeAgent, Order], list[AnyEvent]]) -> list[TrialOutcome]:
        """Run what is pending; the trials train as the script says, then well."""
        self._script = chain(script, iter(lambda: train_all, None))
        return runner.run_sweep(self.store, self.watcher, self, self.limits)

    def stored(self) -> list[str]:
        return [outcome.status for outcome in self.store.outcomes()]

    def by_nodes(self) -> dict[int, set[str]]:
        """Return the statuses of the outcomes of each node count."""
        found: dict[int, set[str]] = {}
        for outcome in self.store.outcomes():
            found.setdefault(outcome.order.nodes, set()).add(outcome.status)
        return found
