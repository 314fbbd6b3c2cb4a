"""All-reduce SGD: replicas equal to the bit, against the mean of all gradients in NumPy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from support.real_cluster import small_order
from support.tensorflow_child import in_child

from dnnbench.analysis.trial_figures import measure
from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.protocols.base import COUNT_STEP, make_shard
from dnnbench.training.roles.server import ReservedPort, import_graph, session_config
from dnnbench.trial.messages import Trained
from dnnbench.trial.spec import ModelSpec, ProtocolSpec

if TYPE_CHECKING:
    from support.real_cluster import Cluster

SIZE = 1001
RATE = 0.3
STEPS = 4
RUNS = 3
DECAYED_IN_RUN = 2
DEADLINE_S = 60.0
ROUNDING = 2.0**-24
LEADER = "/job:worker/replica:0/task:0"


class Replicas(NamedTuple):
    """What every worker had.

    Attributes:
        pulled: float32 [workers, steps, SIZE + 1], with the count of updates.
        before: updates before each step, [workers, steps].
        final: float32 [workers, SIZE + 1].
    """

    pulled: Any
    before: Any
    final: Any


def train_together(protocol: ProtocolSpec, gradients: Any, initial: Any) -> Replicas:
    """Let every worker take its steps, all at once, each in a session of its own server.

    Args:
        protocol: with a schedule, the rate falls in run `DECAYED_IN_RUN`.
        gradients: to add to ``(worker + 1) * pulled``, so that a wrong pull shows in every later
            step; [workers, runs * steps, SIZE].
        initial: [workers, SIZE]; that of the first worker is to be used by all.
    """
    import tensorflow as tf

    tf1 = tf.compat.v1
    workers = len(initial)
    reserved = [ReservedPort() for _ in range(workers)]
    jobs = {"worker": [f"127.0.0.1:{port.number}" for port in reserved]}
    configs = [
        session_config([f"/job:worker/task:{n}"], 1, group_leader=LEADER) for n in range(workers)
    ]
    servers = [tf.distribute.Server(jobs, "worker", n, config=c) for n, c in enumerate(configs)]
    del reserved
    setting = StepSetting(
        model=ModelSpec(),
        protocol=protocol,
        examples=SYNTHETIC_EXAMPLES,
        parameter_servers=0,
        batch_size=1,
        steps_per_run=STEPS,
        workers=workers,
    )
    with tf.Graph().as_default() as graph:
        shard = make_shard(0, SIZE, setting)
        factor = tf1.placeholder(tf.float32, [], name="factor")
        given = tf1.placeholder(tf.float32, [STEPS, SIZE], name="gradients")
        pushed: list[Any] = []
        steps = []
        for step in range(STEPS):
            with tf.control_dependencies(pushed):
                pulled = shard.pull()
            gradient = tf.concat([factor * pulled[:-1] + given[step], [COUNT_STEP]], 0)
            before, _ = shard.push(gradient, pulled, measure=False)
            pushed = [before]
            steps.append(tf.concat([pulled, before], 0))
        tf.stack(steps, name="steps")
        assert shard.leave() is None
        graph_def = graph.as_graph_def().SerializeToString()
    found: list[list[Any]] = [[] for _ in range(workers)]
    final: list[Any] = [None] * workers

    def work(worker: int) -> None:
        graph = import_graph(graph_def, worker=worker)
        with tf1.Session(servers[worker].target, graph=graph, config=configs[worker]) as session:
            start = np.append(initial[worker], 0).astype(np.float32)
            session.run("shard_0/initialize", {"shard_0/initial:0": start})
            for run in range(RUNS):
                if protocol.is_scheduled and run == DECAYED_IN_RUN:
                    rate = {"shard_0/given_rate_factor:0": protocol.rate_decay}
                    session.run("shard_0/set_rate_factor", rate)
                part = gradients[worker][run * STEPS : (run + 1) * STEPS]
                feed = {"factor:0": worker + 1.0, "gradients:0": part}
                found[worker] += list(session.run("steps:0", feed))
            final[worker] = session.run("shard_0/value:0")

    threads = [threading.Thread(target=work, args=(w,), daemon=True) for w in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "a worker waits for ever"
    seen = np.array(found)
    return Replicas(seen[..., :-1], seen[..., -1], np.array(final))


def some_task(workers: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    gradients = rng.normal(0, 0.1, (workers, RUNS * STEPS, SIZE)).astype(np.float32)
    return gradients, rng.normal(0, 0.1, (workers, SIZE)).astype(np.float32)


def expected(protocol: ProtocolSpec, gradients: Any, initial: Any) -> Any:
    """Return the trajectory [steps + 1, SIZE] in float64: one optimizer, the mean of gradients."""
    w = initial[0].astype(float)
    total, velocity = np.zeros(SIZE), np.zeros(SIZE)
    trajectory = [w]
    for step in range(RUNS * STEPS):
        each = [(n + 1) * w + g[step].astype(float) for n, g in enumerate(gradients)]
        mean = sum(each) / len(each)
        total += mean**2
        is_adagrad = protocol.optimizer == "adagrad"
        velocity = protocol.momentum * velocity - protocol.learning_rate * (
            mean / np.sqrt(total) if is_adagrad else mean
        )
        decayed = protocol.is_scheduled and step >= DECAYED_IN_RUN * STEPS
        w = w + velocity * (protocol.rate_decay if decayed else 1.0)
        trajectory.append(w)
    return np.array(trajectory)


PROTOCOLS = {
    "sgd": ProtocolSpec("all-reduce", learning_rate=RATE),
    "momentum": ProtocolSpec("all-reduce", learning_rate=RATE / 3, momentum=0.5),
    "adagrad": ProtocolSpec("all-reduce", "adagrad", learning_rate=RATE / 10),
    "schedule": ProtocolSpec("all-reduce", learning_rate=RATE, rate_decay_epochs=(2,)),
}


def deviation(protocol: ProtocolSpec, found: Replicas, task: tuple[Any, Any]) -> float:
    """Return the largest error of a parameter, in units of what rounding explains.

    A step is a sum over the workers and an update: a dozen operations, each off by 2^-24 of its
    largest operand at most. No later step makes an error larger.
    """
    want = expected(protocol, *task)
    got = np.concatenate([found.pulled[0, :, :-1], found.final[0][None, :-1]])
    scale = max(1.0, float(np.abs(want).max()))
    return float(np.abs(got - want).max()) / (12 * ROUNDING * RUNS * STEPS * scale)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_step_applies_the_mean_of_all_gradients_and_replicas_stay_equal_to_the_bit(
    name: str, workers: int
) -> None:
    task = some_task(workers)
    found = in_child(train_together, PROTOCOLS[name], *task)
    for worker in range(workers):
        np.testing.assert_array_equal(found.pulled[worker], found.pulled[0])
        np.testing.assert_array_equal(found.final[worker], found.final[0])
        np.testing.assert_array_equal(found.before[worker], np.arange(RUNS * STEPS))
    assert found.final[0][-1] == RUNS * STEPS
    np.testing.assert_array_equal(found.pulled[0, 0, :-1], task[1][0])
    assert deviation(PROTOCOLS[name], found, task) < 1


def test_another_update_or_another_mean_would_be_noticed() -> None:
    task = gradients, initial = some_task(3)
    found = in_child(train_together, PROTOCOLS["sgd"], *task)
    assert deviation(PROTOCOLS["momentum"], found, task) > 1000
    assert deviation(PROTOCOLS["schedule"], found, task) > 1000
    assert deviation(PROTOCOLS["sgd"], found, (gradients[:2], initial)) > 1000  # not of two
    assert deviation(PROTOCOLS["sgd"], found, (gradients, initial[1:])) > 1000  # not from another's


@pytest.mark.parametrize(
    ("nodes", "changes"),
    [
        (3, {}),
        (4, {"epoch_definition": "sharded", "batch_size": 103}),
        (2, {"optimizer": "adagrad", "learning_rate": 0.02}),
        (2, {"momentum": 0.5, "clip_norm": 1.0, "rate_warmup_epochs": 1}),
    ],
    ids=["plain", "uneven shares", "adagrad", "momentum, clipped, scheduled"],
)
def test_a_trial_has_one_update_per_step_of_all_workers(
    cluster: Cluster, nodes: int, changes: dict[str, Any]
) -> None:
    of_protocol = {k: v for k, v in changes.items() if k in ProtocolSpec.__struct_fields__}
    others = {k: v for k, v in changes.items() if k not in of_protocol}
    protocol = ProtocolSpec("all-reduce", **({"learning_rate": 0.3} | of_protocol))
    outcome = cluster.outcome(protocol, nodes, parameter_servers=0, epochs=2, **others)
    assert {record.task for record in outcome.epochs} == {f"worker:{n}" for n in range(nodes)}
    (steps,) = {record.steps for record in outcome.epochs}
    (warmup,) = {record.steps for record in outcome.warmups}
    updates = warmup + 2 * steps
    assert outcome.updates_applied == [updates]
    assert outcome.updates_pushed == nodes * updates
    assert all(record.staleness.counts == [steps] for record in outcome.epochs)
    assert all(record.cpu_s > 0 for record in outcome.epochs)
    assert outcome.parameter_server_cpu_s == 0.0
    assert [e.epoch for e in outcome.evaluations] == [1, 2, None]
    assert outcome.evaluations[-1].global_step == updates
    assert outcome.evaluations[-1].test_accuracy > 0.5
    assert measure(outcome).warnings == []
    assert outcome.differing_replicas == []


def test_the_replicas_of_a_trial_are_the_same_at_its_end_and_that_is_what_is_evaluated(
    cluster: Cluster,
) -> None:
    order = small_order(ProtocolSpec("all-reduce"), 3, parameter_servers=0)
    outcome = cluster.run(order)
    trained = [event for event in cluster.events if isinstance(event, Trained)]
    assert [event.replica_sha256 for event in trained] == (
        [outcome.evaluations[-1].parameters_sha256] * 3
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adagrad"},
        {"momentum": 0.5, "clip_norm": 2.0},
        {"rate_warmup_epochs": 1, "rate_decay_epochs": (2,)},
    ],
    ids=["sgd", "adagrad", "momentum", "schedule"],
)
def test_one_worker_takes_the_steps_of_sequential_sgd(
    cluster: Cluster, changes: dict[str, Any]
) -> None:
    alone, whole = (
        cluster.outcome(
            ProtocolSpec(name, learning_rate=0.02, **changes), 1, parameter_servers=0, epochs=2
        )
        for name in ("sequential", "all-reduce")
    )
    assert whole.evaluations == alone.evaluations
    assert [r.loss for r in whole.epochs] == [r.loss for r in alone.epochs]
