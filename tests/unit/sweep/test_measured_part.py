"""A trial goes on without lost workers, and says so; what it cannot do without ends it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_agent import FakeAgent, epoch_end, train, train_all
from support.fake_cluster import FakeCluster

from dnnbench.sweep import trial_events
from dnnbench.sweep.inbox import Arrival
from dnnbench.trial.messages import (
    AgentFailed,
    AnyEvent,
    Connect,
    Finish,
    Go,
    Log,
    Order,
    PortClash,
    PortReserved,
    Progress,
    Respond,
    Responding,
    Restart,
    RoleExited,
    RoleFailed,
    ServerReady,
    Stop,
    Trained,
    WarmedUp,
)
from dnnbench.trial.outcome import WarmupRecord
from dnnbench.trial.spec import ProtocolSpec

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 0.05
CUT_OFF = RoleFailed(task="worker:1", cause="UnavailableError: Socket closed")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_events, "_HINDSIGHT_S", PATIENCE_S)
    monkeypatch.setattr(trial_events, "RESPONSE_S", PATIENCE_S)


def progress(task: str, epoch: int = 2) -> Progress:
    return Progress(
        task=task, epoch=epoch, step=1, steps_per_epoch=50, examples_per_s=1.0, loss=1.0
    )


def ending(*last: AnyEvent, trains: tuple[str, ...]) -> Callable[[FakeAgent, Any], list[AnyEvent]]:
    """Answer ``Go`` with the first epoch of ``worker:1``, its end, and the whole of others."""

    def go(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        own: list[AnyEvent] = [epoch_end("worker:1", 1, 50), progress("worker:1"), *last]
        others = [e for task in trains if task in agent.running for e in train(task, 50)]
        return [*own, *others]

    return go


@pytest.mark.parametrize(
    ("last", "cause", "kind"),
    [
        ([RoleExited(task="worker:1", code=-9)], "killed by signal 9", "crashed"),
        (
            [CUT_OFF, RoleExited(task="worker:1", code=1)],
            "UnavailableError: Socket closed",
            "disconnected",
        ),
        ([], "no other worker stands still", "stalled"),
    ],
    ids=["killed", "cut off", "hung"],
)
def test_the_others_go_on_and_the_loss_is_in_the_outcome(
    last: list[AnyEvent], cause: str, kind: str
) -> None:
    cluster = FakeCluster(
        {Go: ending(*last, trains=("worker:0", "worker:2"))}, stall_timeout_s=PATIENCE_S
    )
    outcome = cluster.run(nodes=4)
    assert outcome.status == "degraded"
    assert outcome.failure is None
    (lost,) = outcome.lost_workers
    assert (lost.task, lost.host, lost.epoch, lost.is_restarted) == ("worker:1", "host-0", 2, False)
    assert cause in lost.cause
    assert lost.kind == kind
    assert any(str(lost) in notice for notice in cluster.notices)
    assert [r.task for r in outcome.epochs].count("worker:1") == 1
    assert [r.task for r in outcome.epochs].count("worker:2") == 2
    assert len(outcome.evaluations) == 1
    assert Stop(tasks=["worker:1"]) in cluster.agent.sent  # one that hangs would wake up and push
    assert cluster.agent.running == []


def test_a_lost_host_takes_its_workers_with_it_and_nothing_else() -> None:
    def dies(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        agent.die()
        return []

    cluster = FakeCluster({}, hosts=3)
    cluster.fakes["host-2"]._answers[Go] = dies
    outcome = cluster.run(nodes=6)  # host-2 has worker:1 and worker:4
    assert outcome.status == "degraded"
    assert [lost.task for lost in outcome.lost_workers] == ["worker:1", "worker:4"]
    assert list(cluster.agents.lost) == ["host-2"]
    assert all(fake.running == [] for fake in cluster.fakes.values())


def test_without_worker_0_the_next_one_evaluates() -> None:
    def killed(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return [RoleExited(task="worker:0", code=-9), *train("worker:1", 50)]

    cluster = FakeCluster({Go: killed})
    outcome = cluster.run()
    assert outcome.status == "degraded"
    assert Finish(evaluator="worker:1") in cluster.agent.sent
    assert [record.test_accuracy for record in outcome.evaluations] == [0.91]


@pytest.mark.parametrize(
    ("changes", "nodes", "last"),
    [
        ({}, 3, RoleExited(task="ps:0", code=-9)),
        ({}, 3, RoleFailed(task="worker:1", cause="ValueError: of the model")),
        ({}, 3, RoleExited(task="worker:1", code=1)),
        ({}, 2, RoleExited(task="worker:0", code=-9)),
        ({"protocol": ProtocolSpec("sync")}, 3, RoleExited(task="worker:1", code=-9)),
        (
            {"protocol": ProtocolSpec("downpour", rate_decay_epochs=(2,))},
            3,
            RoleExited(task="worker:0", code=-9),
        ),
    ],
    ids=["server", "own error", "own exit", "last worker", "synchronous", "sets the rate"],
)
def test_what_a_trial_cannot_do_without_ends_it(
    changes: dict[str, Any], nodes: int, last: AnyEvent
) -> None:
    def fails(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return [last]

    outcome = FakeCluster({Go: fails}).run(nodes, **changes)
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.task == last.task
    assert outcome.lost_workers == []


def test_a_loss_can_be_set_to_end_the_trial() -> None:
    killed = ending(RoleExited(task="worker:1", code=-9), trains=("worker:0",))
    outcome = FakeCluster({Go: killed}, on_worker_loss="fail").run()
    assert outcome.status == "failed"


def restarted(task: str, order: Restart, epochs: int = 2) -> list[AnyEvent]:
    own = range(order.first_epoch, epochs + 1)
    return [
        PortReserved(task=task, pid=2, port=order.port),
        ServerReady(task=task),
        WarmedUp(task=task, record=WarmupRecord(task, 10, 0.1)),
        *(epoch_end(task, epoch, 50) for epoch in own),
        Trained(task=task, updates_pushed=50),
    ]


def test_a_worker_is_started_again_at_its_address_in_the_epoch_in_which_it_was_lost() -> None:
    def restart(agent: FakeAgent, order: Restart) -> list[AnyEvent]:
        agent.running.append(order.task)
        return restarted(order.task, order)

    killed = ending(RoleExited(task="worker:1", code=-9), trains=("worker:0",))
    cluster = FakeCluster({Go: killed, Restart: restart}, restart_workers=1)
    outcome = cluster.run()
    assert outcome.status == "degraded"
    (order,) = [order for order in cluster.agent.sent if isinstance(order, Restart)]
    (connect,) = [order for order in cluster.agent.sent if isinstance(order, Connect)]
    assert order.cluster == connect.cluster
    assert order.cluster.worker[1].endswith(f":{order.port}")
    assert order.first_epoch == 2
    assert [lost.is_restarted for lost in outcome.lost_workers] == [True]
    assert sorted(r.epoch for r in outcome.epochs if r.task == "worker:1") == [1, 2]
    assert cluster.agent.running == []


@pytest.mark.parametrize(
    ("last", "first_epoch"),
    [
        ([CUT_OFF, RoleExited(task="worker:1", code=1)], 2),
        ([epoch_end("worker:1", 2, 50), RoleExited(task="worker:1", code=-9)], 3),
    ],
    ids=["its exit was read ahead", "its last epoch had ended"],
)
def test_a_worker_that_is_started_again_is_lost_once_and_measures_each_epoch_once(
    last: list[AnyEvent], first_epoch: int
) -> None:
    def restart(agent: FakeAgent, order: Restart) -> list[AnyEvent]:
        agent.running.append(order.task)
        return restarted(order.task, order)

    killed = ending(*last, trains=("worker:0",))
    cluster = FakeCluster({Go: killed, Restart: restart}, restart_workers=2)
    outcome = cluster.run()
    assert outcome.status == "degraded", outcome.failure
    assert [lost.is_restarted for lost in outcome.lost_workers] == [True]
    (order,) = [order for order in cluster.agent.sent if isinstance(order, Restart)]
    assert order.first_epoch == first_epoch
    assert sorted(r.epoch for r in outcome.epochs if r.task == "worker:1") == [1, 2]


def test_a_worker_that_had_trained_is_not_started_again() -> None:
    killed = ending(
        epoch_end("worker:1", 2, 50),
        Trained(task="worker:1", updates_pushed=100),
        RoleExited(task="worker:1", code=-9),
        trains=("worker:0",),
    )
    cluster = FakeCluster({Go: killed}, restart_workers=1)
    outcome = cluster.run()
    assert outcome.status == "degraded", outcome.failure
    assert [lost.is_restarted for lost in outcome.lost_workers] == [False]


def test_whatever_a_restart_fails_with_the_others_still_go_on() -> None:
    def fail(_agent: FakeAgent, order: Restart) -> list[AnyEvent]:
        return [
            PortClash(task=order.task, port=order.port),
            RoleFailed(task=order.task, cause="UnknownError: port taken"),
            RoleExited(task=order.task, code=1),
        ]

    killed = ending(RoleExited(task="worker:1", code=-9), trains=("worker:0",))
    outcome = FakeCluster({Go: killed, Restart: fail}, restart_workers=1).run()
    assert outcome.status == "degraded"
    assert [lost.is_restarted for lost in outcome.lost_workers] == [True, False]


def test_a_worker_without_progress_is_named_long_before_it_is_given_up() -> None:
    def slow(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return train("worker:0", 50)

    def respond(agent: FakeAgent, _order: Respond) -> list[AnyEvent]:
        return [Responding(task=task, cores=0.0) for task in ("agent", *agent.running)]

    cluster = FakeCluster(
        {Go: slow, Respond: respond}, stall_warning_s=PATIENCE_S, stall_timeout_s=2 * PATIENCE_S
    )
    assert cluster.run().status == "degraded"
    first, second = cluster.notices
    assert f"no progress of worker:1 on host-0 for {PATIENCE_S:g} s" in first
    assert "lost worker:1 on host-0" in second


def test_a_paced_run_of_steps_is_no_stall() -> None:
    """A worker reports nothing while a run takes its time on purpose."""

    def paused(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        def arrive() -> None:
            for event in train_all(agent, order):
                agent.inbox.put(Arrival(agent.host, event))

        threading.Timer(2 * PATIENCE_S, arrive).start()
        return []

    cluster = FakeCluster({Go: paused}, stall_warning_s=PATIENCE_S / 2, stall_timeout_s=PATIENCE_S)
    assert cluster.run(steps_per_run=10, pace_ms=4000.0).status == "ok"
    assert cluster.notices == []


def test_an_agent_that_does_not_respond_is_named_and_its_host_lost() -> None:
    def silent(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return []

    cluster = FakeCluster({Go: silent, Respond: silent}, stall_timeout_s=PATIENCE_S)
    outcome = cluster.run()
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.host == "host-0"
    assert outcome.failure.cause.startswith("no response from the agent")
    assert list(cluster.agents.lost) == ["host-0"]


@pytest.mark.parametrize(
    ("last", "kind", "words"),
    [
        (RoleExited(task="ps:0", code=-9, lacked_memory=True), "out-of-memory", "lack of memory"),
        (RoleExited(task="ps:0", code=-9), "crashed", "killed by signal 9"),
        (RoleExited(task="ps:0", code=-4), "illegal-instruction", "killed by signal 4"),
        (RoleExited(task="ps:0", code=1), None, "exit 1"),
        (
            RoleFailed(task="ps:0", cause="OSError: [Errno 28] No space left on device"),
            "disk-full",
            "No space left",
        ),
        (RoleFailed(task="ps:0", cause="MemoryError: "), "out-of-memory", "MemoryError"),
        (RoleFailed(task="ps:0", cause="ValueError: shapes"), None, "shapes"),
        (AgentFailed(task="agent", cause="no file t10k", kind="data"), "data", "t10k"),
    ],
)
def test_a_failure_has_the_kind_of_its_cause(last: AnyEvent, kind: str | None, words: str) -> None:
    failure = FakeCluster({Go: lambda _agent, _order: [last]}).run().failure
    assert failure
    assert failure.kind == kind
    assert words in failure.cause


def test_lines_that_every_machine_without_a_gpu_logs_are_given_as_no_cause() -> None:
    lines = [
        "Fatal Python error: Bus error",
        "",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1795629214.1 2779 port.cc:153] oneDNN custom operations are on.",
        "E0000 00:00:1795629217.5 2779 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA",
    ]

    def crash(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        logs = [Log(task="ps:0", line=line) for line in lines]
        return [*logs, RoleExited(task="ps:0", code=-7)]

    failure = FakeCluster({Go: crash}).run().failure
    assert failure
    assert failure.log_tail == lines[:1]
