"""A host's agent that follows a script instead of running anything."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from dnnbench.errors import HostError
from dnnbench.sweep.inbox import Arrival, Inbox
from dnnbench.trial.messages import (
    AnyEvent,
    Connect,
    EpochEnd,
    Evaluated,
    Finish,
    Go,
    HostUsed,
    Leave,
    Order,
    PortReserved,
    Prepare,
    Prepared,
    Progress,
    Respond,
    Responding,
    RoleExited,
    Served,
    ServerReady,
    Start,
    Stop,
    Trained,
    WarmedUp,
    WarmStart,
    WarmStarted,
    WarmUp,
)
from dnnbench.trial.outcome import EpochRecord, EvaluationRecord, Staleness, WarmupRecord
from support.factories import make_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.errors import CauseKind

    Answer = Callable[["FakeAgent", Any], list[AnyEvent]]

FIRST_PORT = 4000
PS_CPU_S = 3.0
WARM_START_STEPS = 100
STEPS_OF_FIRST, STEPS_OF_OTHERS = 100, 50
DIED = "the agent ended with -9"


class FakeAgent:
    """A host's agent that answers every order at once, and correctly unless the script differs."""

    ports: list[int] | None = None

    def __init__(self, host: str, inbox: Inbox, answers: dict[type[Order], Answer]) -> None:
        self.host = host
        self.sent: list[Order] = []
        self.running: list[str] = []
        self.inbox = inbox
        self.is_closed = False  # set by the test's source of agents
        self.is_gone = False
        self._answers = GOOD | answers
        self._ports = count(FIRST_PORT)
        self.epochs = 2
        self.has_servers = True
        self.updates = 0

    def send(self, order: Order) -> None:
        self.sent.append(order)
        if isinstance(order, Prepare):
            self.epochs = order.trial.epochs
            self.has_servers = order.trial.parameter_servers > 0
        if isinstance(order, Connect):
            others = len(order.cluster.worker) - 1
            self.updates = 2 * (STEPS_OF_FIRST + others * STEPS_OF_OTHERS)
        if self.is_gone:
            raise HostError("the agent is gone", where=self.host)
        for event in self._answers[type(order)](self, order):
            if isinstance(event, RoleExited) and event.task in self.running:
                self.running.remove(event.task)
            self.inbox.put(Arrival(self.host, event))

    def die(self, kind: CauseKind | None = None) -> None:
        """End like a killed agent or a host that is switched off: its roles end, too."""
        self.is_gone = True
        self.running.clear()
        self.inbox.put(Arrival(self.host, HostError(DIED, where=self.host).of_kind(kind)))

    def start(self, order: Start) -> list[AnyEvent]:
        self.running += order.tasks
        return [PortReserved(task=task, pid=1, port=next(self._ports)) for task in order.tasks]

    def workers(self) -> list[str]:
        return [task for task in self.running if task.startswith("worker")]

    def servers(self) -> list[str]:
        return [task for task in self.running if task.startswith("ps")]

    def accountants(self) -> list[str]:
        if self.has_servers:
            return self.servers()
        return [task for task in self.workers() if task == "worker:0"]

    def exits(self, tasks: list[str], code: int = 0) -> list[AnyEvent]:
        return [RoleExited(task=task, code=code) for task in list(tasks)]


def epoch_end(task: str, epoch: int, steps: int) -> EpochEnd:
    record = EpochRecord(task, epoch, steps, steps * 100, 1.0, 0.5, 0.8, 0.0, Staleness([steps]))
    return EpochEnd(task=task, record=record)


def train(task: str, steps: int, epochs: int = 2) -> list[AnyEvent]:
    progress = Progress(
        task=task, epoch=1, step=1, steps_per_epoch=steps, examples_per_s=1.0, loss=1.0
    )
    trained = Trained(task=task, updates_pushed=2 * steps)
    ends = [epoch_end(task, epoch, steps) for epoch in range(1, epochs + 1)]
    return [progress, *ends, trained]


def warm_start(task: str, steps: int) -> list[AnyEvent]:
    progress = Progress(
        task=task, epoch=0, step=1, steps_per_epoch=steps, examples_per_s=1.0, loss=1.0
    )
    return [progress, WarmStarted(task=task, record=WarmupRecord(task, steps, 0.5))]


def train_all(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
    steps = {"worker:0": STEPS_OF_FIRST}
    return [
        event
        for task in agent.workers()
        for event in train(task, steps.get(task, STEPS_OF_OTHERS), agent.epochs)
    ]


def finish(agent: FakeAgent, order: Finish) -> list[AnyEvent]:
    served = [
        Served(task=task, cpu_s=PS_CPU_S, updates_applied=agent.updates)
        for task in agent.accountants()
    ]
    evaluated = EvaluationRecord(None, agent.updates, 0.9, 0.91)
    evaluator = order.evaluator
    return [
        HostUsed(task="agent", use=make_use()),
        *served,
        *([Evaluated(task=evaluator, record=evaluated)] if evaluator in agent.running else []),
        *agent.exits(agent.workers()),
    ]


GOOD: dict[type[Order], Answer] = {
    Prepare: lambda _agent, _order: [Prepared(task="agent", duration_s=0.1, parameters=10)],
    Start: lambda agent, order: agent.start(order),
    Connect: lambda agent, _order: [ServerReady(task=task) for task in agent.running],
    WarmStart: lambda agent, _order: [
        event
        for task in agent.workers()
        if task == "worker:0"
        for event in warm_start(task, WARM_START_STEPS)
    ],
    WarmUp: lambda agent, _order: [
        WarmedUp(task=task, record=WarmupRecord(task, 10, 0.1)) for task in agent.workers()
    ],
    Go: train_all,
    Finish: finish,
    Leave: lambda agent, _order: agent.exits(agent.servers()),
    Respond: lambda agent, _order: [
        Responding(task=task, cores=0.0) for task in ("agent", *agent.running)
    ],
    Stop: lambda agent, order: agent.exits(
        [task for task in order.tasks or agent.running if task in agent.running], -9
    ),
}
