"""A lost parameter server goes on from its checkpoint, or ends the trial; none loses updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fake_agent import GOOD, FakeAgent, epoch_end, finish, train
from support.fake_cluster import FakeCluster

from dnnbench.sweep import trial_events
from dnnbench.trial.messages import (
    AnyEvent,
    Checkpointed,
    CheckpointFailed,
    Connect,
    Finish,
    Go,
    Order,
    PortClash,
    PortReserved,
    Restart,
    RoleExited,
    RoleFailed,
    Served,
    ServerReady,
    Stop,
    Trained,
    WarmedUp,
    WarmUp,
)
from dnnbench.trial.outcome import WarmupRecord
from dnnbench.trial.spec import ProtocolSpec
from dnnbench.trial.tasks import split_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnnbench.trial.outcome import TrialOutcome

    Answer = Callable[[FakeAgent, Any], list[AnyEvent]]

PATIENCE_S = 0.05
UPDATES = 80
"""Updates in the checkpoint; the fake trial of 3 nodes pushes 300 in all."""
KILLED = RoleExited(task="ps:0", code=-9)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_events, "_HINDSIGHT_S", PATIENCE_S)
    monkeypatch.setattr(trial_events, "RESPONSE_S", PATIENCE_S)


def warm_up(agent: FakeAgent, order: WarmUp) -> list[AnyEvent]:
    """Warm up as ever, with a first checkpoint of every server there."""
    first = [Checkpointed(task=t, updates=UPDATES, duration_s=0.1) for t in agent.servers()]
    return [*first, *GOOD[WarmUp](agent, order)]


def loses(*last: AnyEvent, first: tuple[AnyEvent, ...] = ()) -> Answer:
    """Train one epoch of each worker and no more, then lose a server."""

    def go(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        begun = [epoch_end(task, 1, 50) for task in agent.workers()]
        return [*begun, *first, *last] if "ps:0" in agent.running else [*begun]

    return go


def starts_again(updates: int | None = UPDATES, *, failing: tuple[AnyEvent, ...] = ()) -> Answer:
    def restart(agent: FakeAgent, order: Restart) -> list[AnyEvent]:
        task = order.task
        agent.running.append(task)
        begun: list[AnyEvent] = [PortReserved(task=task, pid=2, port=order.port)]
        if split_task(task)[0] == "ps":
            return [*begun, *(failing or [ServerReady(task=task, updates=updates)])]
        rest = range(order.first_epoch, 3)
        return [
            *begun,
            ServerReady(task=task),
            WarmedUp(task=task, record=WarmupRecord(task, 10, 0.1)),
            *(epoch_end(task, epoch, 50) for epoch in rest),
            Trained(task=task, updates_pushed=50),
        ]

    return restart


def cluster(go: Answer, *, restart: Answer | None = None, **limits: Any) -> FakeCluster:
    answers: dict[type[Order], Any] = {
        Go: go,
        WarmUp: warm_up,
        Restart: restart or starts_again(),
    }
    return FakeCluster(answers, **{"restart_servers": 1, "checkpoint_s": 3.0, **limits})


def served(updates: int) -> Answer:
    """Answer ``Finish`` with another count of updates."""

    def answer(agent: FakeAgent, order: Finish) -> list[AnyEvent]:
        return [
            Served(task=e.task, cpu_s=e.cpu_s, updates_applied=updates)
            if isinstance(e, Served)
            else e
            for e in finish(agent, order)
        ]

    return answer


def test_the_server_restores_its_checkpoint_before_the_workers_repeat_their_epochs() -> None:
    fakes = cluster(loses(KILLED))
    outcome = fakes.run()
    assert outcome.status == "degraded", outcome.failure
    assert outcome.lost_workers == []
    (lost,) = outcome.lost_servers
    assert (lost.task, lost.host, lost.kind) == ("ps:0", "host-0", "crashed")
    assert (lost.cause, lost.epoch, lost.updates_restored) == ("killed by signal 9", 2, UPDATES)
    assert lost.checkpoint_age_s >= 0.1  # as its writing took so long
    assert any(str(lost) in notice for notice in fakes.notices)
    sent = fakes.agent.sent
    (stop,) = [o for o in sent if isinstance(o, Stop) and o.tasks]
    assert stop.tasks == ["ps:0", "worker:0", "worker:1"]
    restarts = [order for order in sent if isinstance(order, Restart)]
    assert [(r.task, r.first_epoch) for r in restarts] == [
        ("ps:0", 1),
        ("worker:0", 2),
        ("worker:1", 2),
    ]
    (connect,) = [order for order in sent if isinstance(order, Connect)]
    assert connect.checkpoint_s == 3.0
    assert {r.checkpoint_s for r in restarts} == {3.0}
    assert all(r.cluster == connect.cluster for r in restarts)
    assert sorted((r.task, r.epoch) for r in outcome.epochs) == [
        (task, epoch) for task in ("worker:0", "worker:1") for epoch in (1, 2)
    ]
    assert sent[-1] == Stop()  # so that the agent deletes the checkpoints
    assert fakes.agent.running == []


def test_with_several_servers_the_others_keep_their_parameters() -> None:
    fakes = cluster(loses(RoleExited(task="ps:1", code=-9)))
    outcome = fakes.run(nodes=4, parameter_servers=2)
    assert outcome.status == "degraded", outcome.failure
    assert [lost.task for lost in outcome.lost_servers] == ["ps:1"]
    restarts = [order.task for order in fakes.agent.sent if isinstance(order, Restart)]
    assert restarts == ["ps:1", "worker:0", "worker:1"]


def test_two_servers_may_be_lost_one_after_the_other() -> None:
    def restart(agent: FakeAgent, order: Restart) -> list[AnyEvent]:
        if order.task == "ps:0":
            agent.running.append("ps:0")
            ready = ServerReady(task="ps:0", updates=UPDATES)
            return [RoleExited(task="ps:1", code=-9), ready]  # before any worker is there
        return starts_again()(agent, order)

    fakes = cluster(loses(KILLED), restart=restart, restart_servers=2)
    outcome = fakes.run(nodes=4, parameter_servers=2)
    assert outcome.status == "degraded", outcome.failure
    assert [lost.task for lost in outcome.lost_servers] == ["ps:0", "ps:1"]
    restarts = [order.task for order in fakes.agent.sent if isinstance(order, Restart)]
    assert restarts == ["ps:0", "ps:1", "worker:0", "worker:1"]


@pytest.mark.parametrize(
    ("limits", "changes", "last", "reason"),
    [
        ({"restart_servers": 0}, {}, KILLED, ""),
        ({}, {"protocol": ProtocolSpec("sync")}, KILLED, "workers of sync wait for each other"),
        ({}, {}, RoleExited(task="ps:0", code=1), "it would meet its own error again"),
        ({"restart_servers": 1}, {}, [KILLED, KILLED], "restart_servers is 1"),
    ],
    ids=["not wanted", "synchronous", "own error", "too often"],
)
def test_a_server_that_is_not_started_again_ends_the_trial_with_the_reason(
    limits: dict[str, Any], changes: dict[str, Any], last: Any, reason: str
) -> None:
    often = isinstance(last, list)
    again = starts_again(failing=(KILLED,)) if often else None
    outcome = cluster(loses(KILLED if often else last), restart=again, **limits).run(**changes)
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.task == "ps:0"
    cause = "exit 1" if not often and last.code == 1 else "killed by signal 9"
    assert outcome.failure.cause == (f"{cause}; not started again: {reason}" if reason else cause)


def test_without_a_checkpoint_there_is_nothing_to_go_on_from() -> None:
    answers: dict[type[Order], Any] = {Go: loses(KILLED), Restart: starts_again()}
    failure = FakeCluster(answers, restart_servers=1).run().failure
    assert failure
    assert failure.cause.endswith("not started again: it has no checkpoint yet")


def test_the_checkpoints_of_a_lost_host_are_lost_with_it() -> None:
    def dies(agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        agent.die()
        return []

    fakes = cluster(loses(KILLED), hosts=2)
    fakes.fakes["host-0"]._answers[Go] = dies
    outcome = fakes.run()
    assert outcome.status == "failed"
    assert outcome.failure
    assert outcome.failure.host == "host-0"
    assert outcome.failure.cause.endswith("its checkpoints are on the lost host")


def test_the_checkpoint_before_serves_where_the_newest_cannot_be_read() -> None:
    newer = Checkpointed(task="ps:0", updates=UPDATES + 50, duration_s=0.1)
    fakes = cluster(loses(KILLED, first=(newer,)))
    outcome = fakes.run()
    assert outcome.status == "degraded", outcome.failure
    (lost,) = outcome.lost_servers
    assert lost.updates_restored == UPDATES
    assert f"to {UPDATES + 50} updates" in fakes.notices[0]  # as it was expected then


@pytest.mark.parametrize("updates", [None, 0, UPDATES - 1])
def test_a_server_that_comes_back_without_its_parameters_ends_the_trial(
    updates: int | None,
) -> None:
    outcome = cluster(loses(KILLED), restart=starts_again(updates)).run()
    assert outcome.status == "failed"
    assert outcome.failure
    assert (outcome.failure.task, outcome.failure.host) == ("ps:0", "host-0")
    assert outcome.failure.cause == (
        f"expected {UPDATES} updates or more, as in its checkpoints, found {updates or 0}: "
        "its parameters were initialized afresh"
    )


def test_a_server_that_cannot_bind_its_port_again_ends_the_trial() -> None:
    failing = (
        PortClash(task="ps:0", port=1),
        RoleFailed(task="ps:0", cause="UnknownError: port taken"),
        RoleExited(task="ps:0", code=1),
    )
    failure = cluster(loses(KILLED), restart=starts_again(failing=failing)).run().failure
    assert failure
    assert failure.task == "ps:0"
    assert failure.cause.startswith("UnknownError: port taken")


def test_a_worker_that_had_trained_is_left_alone_and_another_one_evaluates() -> None:
    def go(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return [*train("worker:0", 100), epoch_end("worker:1", 1, 50), KILLED]

    fakes = cluster(go)
    outcome = fakes.run()
    assert outcome.status == "degraded", outcome.failure
    restarts = [order.task for order in fakes.agent.sent if isinstance(order, Restart)]
    assert restarts == ["ps:0", "worker:1"]
    assert Finish(evaluator="worker:1") in fakes.agent.sent
    assert len(outcome.epochs) == 4


def test_a_worker_that_trains_to_its_end_while_it_is_stopped_has_trained() -> None:
    def go(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        ends = [epoch_end("worker:1", 1, 50), epoch_end("worker:1", 2, 50)]
        return [
            epoch_end("worker:0", 1, 50),
            KILLED,
            *ends,
            Trained(task="worker:1", updates_pushed=9),
        ]

    fakes = cluster(go)
    outcome = fakes.run()
    assert outcome.status == "degraded", outcome.failure
    restarts = [order.task for order in fakes.agent.sent if isinstance(order, Restart)]
    assert restarts == ["ps:0", "worker:0"]
    assert Finish(evaluator="worker:0") in fakes.agent.sent


def test_a_server_that_is_lost_when_all_have_trained_leaves_nobody_to_evaluate() -> None:
    def go(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        both = [event for task in ("worker:0", "worker:1") for event in train(task, 50)]
        return [KILLED, *both]

    failure = cluster(go).run().failure
    assert failure
    assert (failure.task, failure.cause) == (
        "ps:0",
        "lost after every worker had trained, so that none could evaluate",
    )


def test_workers_that_noticed_it_first_are_no_loss_of_their_own() -> None:
    noticed = RoleFailed(task="worker:1", cause="UnavailableError: Socket closed")
    fakes = cluster(loses(RoleExited(task="worker:1", code=1), KILLED, first=(noticed,)))
    outcome = fakes.run()
    assert outcome.status == "degraded", outcome.failure
    assert outcome.lost_workers == []
    assert [lost.cause for lost in outcome.lost_servers] == ["killed by signal 9"]


def test_a_checkpoint_that_cannot_be_written_is_noted_once_and_training_goes_on() -> None:
    full = CheckpointFailed(task="ps:0", cause="OSError: no space left")

    def go(agent: FakeAgent, order: Order) -> list[AnyEvent]:
        return [full, full, *GOOD[Go](agent, order)]

    fakes = cluster(go)
    outcome = fakes.run()
    assert outcome.status == "ok"
    (notice,) = fakes.notices
    assert notice.endswith("no checkpoint of ps:0 on host-0: OSError: no space left")


def count_of(outcome: TrialOutcome) -> str | None:
    """Return what a failure says of the count of updates; None if the trial did not fail."""
    if outcome.failure is None:
        return None
    assert outcome.failure.task == "ps:0"
    assert "initialized afresh" in outcome.failure.cause
    return outcome.failure.cause.partition(":")[0]


@pytest.mark.parametrize(
    ("updates", "cause"),
    [
        (300, None),
        (299, "expected 300 updates, as many as were pushed, found 299"),
        (0, "expected 300 updates, as many as were pushed, found 0"),
        (301, "expected 300 updates, as many as were pushed, found 301"),
    ],
)
def test_a_shard_holds_every_update_that_was_pushed(updates: int, cause: str | None) -> None:
    assert count_of(FakeCluster({Finish: served(updates)}).run()) == cause


@pytest.mark.parametrize(
    ("updates", "cause"),
    [
        (UPDATES + 100, None),
        (UPDATES + 101, None),
        (UPDATES + 99, "expected at least 180 updates, as many as were pushed, found 179"),
    ],
)
def test_a_restored_shard_holds_its_checkpoint_and_all_that_was_pushed_since(
    updates: int, cause: str | None
) -> None:
    fakes = cluster(loses(KILLED))
    fakes.agent._answers[Finish] = served(updates)
    assert count_of(fakes.run()) == cause


@pytest.mark.parametrize(
    ("updates", "cause"),
    [(900, None), (199, "expected at least 200 updates, as many as were pushed, found 199")],
)
def test_after_the_loss_of_a_worker_a_shard_holds_what_is_known_at_least(
    updates: int, cause: str | None
) -> None:
    def killed(_agent: FakeAgent, _order: Order) -> list[AnyEvent]:
        return [RoleExited(task="worker:1", code=-9), *train("worker:0", 100)]

    assert count_of(FakeCluster({Go: killed, Finish: served(updates)}).run()) == cause
