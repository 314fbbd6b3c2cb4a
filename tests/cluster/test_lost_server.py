"""A parameter server that is killed: its shard goes on from its checkpoint, or the trial fails."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.real_cluster import HOST, LIMITS, Cluster, small_order
from support.tensorflow_child import in_child

from benchmarks.testbed.processes import of_session
from dnnbench.data.sets import ExampleShape
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.graph.shard import shard_graph
from dnnbench.training.roles.server import import_graph
from dnnbench.trial.messages import (
    AnyEvent,
    Checkpointed,
    EpochEnd,
    PortReserved,
    Progress,
    ServerReady,
    Trained,
    WarmStarted,
)
from dnnbench.trial.spec import ProtocolSpec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

RESTARTING = msgspec.structs.replace(LIMITS, restart_servers=1, checkpoint_s=0.2)
EPOCHS = 6
GONE_S = 5.0
MNIST_DNN_PARAMETERS = 784 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
INITIAL_LOSS = 2.3  # ln 10
LEARNED = 500
"""Updates after which a trial of `small_order` has left its initial parameters far behind."""


class Striker:
    """Sends a signal to a task once every server has a checkpoint of so many updates.

    Attributes:
        losses: the first loss that each worker reported after the signal.
        pids: of the roles.
    """

    def __init__(
        self, task: str, number: int = signal.SIGKILL, *, servers: int = 1, when: type = Progress
    ) -> None:
        self.losses: dict[str, float] = {}
        self.is_done = False
        self.pids: dict[str, int] = {}
        self._task, self._number, self._when = task, number, when
        self._lacking = {f"ps:{n}" for n in range(servers)}

    def __call__(self, event: AnyEvent) -> None:
        if isinstance(event, PortReserved):
            self.pids[event.task] = event.pid
        if isinstance(event, Checkpointed) and event.updates >= LEARNED:
            self._lacking.discard(event.task)
        if self.is_done and isinstance(event, Progress):
            self.losses.setdefault(event.task, event.loss)
        if not self._lacking and not self.is_done and isinstance(event, self._when):
            self.is_done = True
            os.kill(self.pids[self._task], self._number)


def are_gone(paths: Iterable[Path]) -> bool:
    """Wait until there are no such paths; return whether that was soon."""
    left = list(paths)
    deadline_s = time.monotonic() + GONE_S
    while any(path.exists() for path in left) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return not any(path.exists() for path in left)


def check_restored(
    outcome: TrialOutcome, cluster: Cluster, task: str, kind: str = "crashed"
) -> None:
    """Check that all of it was trained, from the parameters of the checkpoint."""
    assert outcome.status == "degraded", outcome.failure
    (lost,) = outcome.lost_servers
    assert (lost.task, lost.host, lost.kind) == (task, HOST, kind)
    assert lost.updates_restored >= LEARNED
    assert outcome.lost_workers == []
    epochs = {(record.task, record.epoch) for record in outcome.epochs}
    workers = {record.task for record in outcome.warmups}
    assert epochs == {(worker, n) for worker in workers for n in range(1, EPOCHS + 1)}
    ready = [event for event in cluster.events if isinstance(event, ServerReady)]
    assert [event.updates for event in ready if event.updates] == [lost.updates_restored]
    (final,) = [record for record in outcome.evaluations if record.epoch is None]
    assert final.test_accuracy > 0.5
    assert of_session(cluster.agent_pid) == [cluster.agent_pid]
    assert are_gone(cluster.directory.glob("*.checkpoints"))


@pytest.mark.parametrize(
    ("protocol", "servers", "number"),
    [
        ("downpour", 1, signal.SIGKILL),
        pytest.param("dc-sgd", 2, signal.SIGKILL, marks=pytest.mark.long),
        pytest.param("downpour", 1, signal.SIGSTOP, marks=pytest.mark.long),
    ],
    ids=["killed", "one of two, with slots", "hung"],
)
def test_a_trial_goes_on_from_the_checkpoint_of_a_lost_server(
    cluster: Cluster, protocol: str, servers: int, number: int
) -> None:
    spec = ProtocolSpec(protocol, optimizer="adagrad" if servers > 1 else "sgd")
    changes = {"parameter_servers": servers, "epochs": EPOCHS, "warm_start_epochs": 1}
    order = small_order(spec, 2 + servers, **changes)
    task = f"ps:{servers - 1}"
    strike = Striker(task, number, servers=servers)
    is_hung = number == signal.SIGSTOP
    limits = msgspec.structs.replace(RESTARTING, stall_timeout_s=5.0) if is_hung else RESTARTING
    outcome = cluster.run(order, strike, limits)
    kind = "stalled" if is_hung else "crashed"
    check_restored(outcome, cluster, task, kind)
    assert max(strike.losses.values()) < INITIAL_LOSS / 2
    # The one warm start is not made again, and only its first step began with initial parameters.
    assert [e.task for e in cluster.events if isinstance(e, WarmStarted)] == ["worker:0"]
    assert {r.task for r in outcome.epochs if r.initial_loss is not None} <= {"worker:0"}


@pytest.mark.long
def test_a_worker_that_had_trained_keeps_its_results(cluster: Cluster) -> None:
    order = small_order(ProtocolSpec("downpour"), 4, epochs=EPOCHS)
    strike = Striker("ps:0", when=Trained)
    outcome = cluster.run(order, strike, RESTARTING)
    check_restored(outcome, cluster, "ps:0")


@pytest.mark.parametrize("protocol", ["downpour", "sync"])
def test_without_a_restart_or_where_workers_wait_for_each_other_the_trial_fails(
    cluster: Cluster, protocol: str
) -> None:
    order = small_order(ProtocolSpec(protocol), 3, epochs=10_000)
    limits = RESTARTING if protocol == "sync" else LIMITS
    strike = Striker("ps:0", servers=0)
    outcome = cluster.run(order, strike, limits)
    assert outcome.status == "failed"
    assert outcome.failure
    assert (outcome.failure.task, outcome.failure.host) == ("ps:0", HOST)
    reason = "" if limits is LIMITS else "; not started again: workers of sync wait for each other"
    assert outcome.failure.cause == f"killed by signal 9{reason}"
    assert not [event for event in cluster.events if isinstance(event, Checkpointed)]


def test_nothing_is_left_of_checkpoints_whoever_was_killed(tmp_path: Path) -> None:
    checkpoints = tmp_path / "agent.checkpoints"
    stale = checkpoints / "ps-0" / "1"  # of a controller that was killed, and its agent with it
    stale.mkdir(parents=True)
    cluster = Cluster(tmp_path / "agent.log", RESTARTING)
    try:
        assert not stale.exists()
        strike = Striker("agent", when=Checkpointed)
        strike.pids["agent"] = cluster.agent_pid
        order = small_order(ProtocolSpec("downpour"), 3, epochs=10_000)
        assert cluster.run(order, strike).status == "failed"
        assert list(checkpoints.glob("ps-0/*/shard.index"))
    finally:
        cluster.close()
    assert not checkpoints.exists()


class Reinitializer:
    """Initializes the shard of ``ps:0`` at the first end of an epoch, as no task of a trial does.

    Args:
        graph: of the shard.
    """

    def __init__(self, graph: bytes) -> None:
        self._graph: bytes | None = graph
        self._port = 0

    def __call__(self, event: AnyEvent) -> None:
        if isinstance(event, PortReserved) and event.task == "ps:0":
            self._port = event.port
        elif isinstance(event, EpochEnd) and self._graph:
            graph, self._graph = self._graph, None
            in_child(initialize, self._port, graph)


def small_shard_graph(order: TrialSpec) -> bytes:
    shape = ExampleShape((28, 28, 1), classes=10)
    return shard_graph(0, MNIST_DNN_PARAMETERS, StepSetting.of(order, shape, own_core=False))


def initialize(port: int, serialized: bytes) -> None:
    import tensorflow as tf

    graph = import_graph(serialized)
    config = tf.compat.v1.ConfigProto(device_filters=["/job:ps"])
    with tf.compat.v1.Session(f"grpc://127.0.0.1:{port}", graph=graph, config=config) as session:
        fresh = 0.0 * session.run("shard_0/value:0")
        session.run("shard_0/initialize", {"shard_0/initial:0": fresh})


def test_parameters_that_are_silently_initialized_afresh_end_the_trial(cluster: Cluster) -> None:
    order = small_order(ProtocolSpec("downpour"), 3, epochs=1000)
    outcome = cluster.run(order, Reinitializer(in_child(small_shard_graph, order)))
    assert outcome.status == "failed"
    assert outcome.failure
    assert "ps:0" in outcome.failure.cause
    assert "its parameters were initialized afresh" in outcome.failure.cause
