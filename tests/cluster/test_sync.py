"""Synchronous SGD: every worker at the same step, against the mean of their gradients in NumPy."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.tensorflow_child import in_child

from dnnbench.analysis.trial_figures import measure
from dnnbench.data.catalog import SYNTHETIC_EXAMPLES
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.protocols.base import COUNT_STEP, make_shard
from dnnbench.training.roles.server import ReservedPort, import_graph
from dnnbench.trial.spec import ModelSpec, ProtocolSpec

if TYPE_CHECKING:
    from support.real_cluster import Cluster

SIZE = 1000
RATE = 0.3
UNROLLED = 5
DEADLINE_S = 60.0


def push_together(protocol: ProtocolSpec, runs: list[int], initial: Any) -> dict[int, list[Any]]:
    """Let one worker per entry of ``runs`` take so many runs of `UNROLLED` steps, all at once.

    A worker's gradient is ``(index + 1) * parameters``, so a wrong pull shows in every later step.

    Returns:
        Worker -> its steps: parameters pulled with their count, and updates applied before it.
    """
    import tensorflow as tf

    tf1 = tf.compat.v1
    reserved = ReservedPort()
    jobs = {"ps": [f"127.0.0.1:{reserved.number}"]}
    server = tf.distribute.Server(jobs, job_name="ps", task_index=0)
    del reserved
    setting = StepSetting(
        model=ModelSpec(),
        protocol=protocol,
        examples=SYNTHETIC_EXAMPLES,
        parameter_servers=1,
        batch_size=1,
        steps_per_run=UNROLLED,
        workers=len(runs),
    )
    with tf.Graph().as_default() as graph:
        shard = make_shard(0, len(initial), setting)
        factor = tf1.placeholder(tf.float32, [], name="factor")
        pushed: list[Any] = []
        steps = []
        for _ in range(UNROLLED):
            with tf.control_dependencies(pushed):
                pulled = shard.pull()
            gradient = tf.concat([factor * pulled[:-1], [COUNT_STEP]], 0)
            before, _ = shard.push(gradient, pulled, measure=False)
            pushed = [before]
            steps.append(tf.concat([pulled, before], 0))
        tf.stack(steps, name="steps")
        leave = shard.leave()
        assert leave is not None
        tf.group(leave, name="leave")
        graph_def = graph.as_graph_def().SerializeToString()
    found: dict[int, list[Any]] = {worker: [] for worker in range(len(runs))}

    def work(worker: int) -> None:
        with tf1.Session(server.target, graph=import_graph(graph_def, worker=worker)) as session:
            for _ in range(runs[worker]):
                found[worker] += list(session.run("steps:0", {"factor:0": worker + 1.0}))
            session.run(tf1.get_default_graph().get_operation_by_name("leave"))

    with tf1.Session(server.target, graph=import_graph(graph_def)) as session:
        start = np.append(initial, 0).astype(np.float32)
        session.run("shard_0/initialize", {"shard_0/initial:0": start})
        threads = [threading.Thread(target=work, args=(w,), daemon=True) for w in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a worker waits for ever"
    return found


def some_initial() -> Any:
    return np.random.default_rng(4).normal(0, 0.1, SIZE).astype(np.float32)


@pytest.mark.parametrize("runs", [[4], [4, 4, 4], [2, 4, 1, 3]], ids=["alone", "even", "uneven"])
@pytest.mark.parametrize(
    "protocol",
    [
        ProtocolSpec("sync", learning_rate=RATE),
        ProtocolSpec("sync", learning_rate=RATE, optimizer="adagrad"),
        ProtocolSpec("sync", learning_rate=RATE, momentum=0.5),
    ],
    ids=["sgd", "adagrad", "momentum"],
)
def test_every_step_is_the_mean_of_the_gradients_at_the_same_parameters(
    protocol: ProtocolSpec, runs: list[int]
) -> None:
    initial = some_initial()
    found = in_child(push_together, protocol, runs, initial)
    assert [len(found[worker]) for worker in found] == [UNROLLED * count for count in runs]
    expected = initial.astype(float)
    total, velocity = np.zeros(SIZE), np.zeros(SIZE)
    for step in range(UNROLLED * max(runs)):
        taking = [worker for worker in found if step < len(found[worker])]
        for worker in taking:
            *pulled, count, before = found[worker][step]
            assert (count, before) == (step, step), "stale, or not at this step"
            np.testing.assert_allclose(pulled, expected, rtol=2e-5, atol=1e-6)
        # The next step from what was found, so that roundings do not add up.
        now = np.array(found[taking[0]][step][:-2]).astype(float)
        mean = np.mean([(worker + 1) * now for worker in taking], axis=0)
        total += mean**2
        is_adagrad = protocol.optimizer == "adagrad"
        velocity *= protocol.momentum
        velocity -= RATE * (mean / np.sqrt(total) if is_adagrad else mean)
        expected = now + velocity


@pytest.mark.parametrize(("workers", "backups"), [(3, 1), (4, 2)])
def test_late_gradients_are_dropped_and_nobody_waits_for_ever(workers: int, backups: int) -> None:
    protocol = ProtocolSpec("sync", learning_rate=0.01, backup_workers=backups)
    found = in_child(push_together, protocol, [8] * workers, some_initial())
    steps = [step for worker in found for step in found[worker]]
    in_time: dict[float, int] = {}
    for *_, count, before in steps:
        assert before >= count
        in_time[count] = in_time.get(count, 0) + (before == count)
    assert max(in_time.values()) == workers - backups
    assert min(in_time.values()) >= 1  # fewer only once others have left
    assert sorted(in_time) == list(range(len(in_time)))
    parameters = {count: bytes(np.array(p)) for *p, count, _ in steps}
    for *pulled, count, _ in steps:
        assert bytes(np.array(pulled)) == parameters[count]


@pytest.mark.parametrize(
    ("nodes", "servers", "changes"),
    [
        (4, 1, {}),
        (5, 2, {}),
        (4, 1, {"epoch_definition": "sharded", "batch_size": 103}),
    ],
    ids=["1 ps", "2 ps", "uneven shares"],
)
def test_a_trial_has_one_update_per_step_of_all_workers(
    cluster: Cluster, nodes: int, servers: int, changes: dict[str, Any]
) -> None:
    protocol = ProtocolSpec("sync", learning_rate=0.3)
    outcome = cluster.outcome(protocol, nodes, parameter_servers=servers, epochs=2, **changes)
    assert outcome.status == "ok"
    assert all(len(record.staleness.counts) == 1 for record in outcome.epochs)
    warmup = max(record.steps for record in outcome.warmups)
    steps: dict[str, int] = {}
    for record in outcome.epochs:
        steps[record.task] = steps.get(record.task, 0) + record.steps
    assert outcome.updates_applied == [warmup + max(steps.values())] * servers
    assert outcome.evaluations[-1].global_step == outcome.updates_applied[0]
    assert measure(outcome).warnings == []
    assert (len(set(steps.values())) > 1) == bool(changes)


def test_one_worker_takes_the_steps_of_downpour(cluster: Cluster) -> None:
    digests = {
        cluster.outcome(ProtocolSpec(name), 2).evaluations[-1].parameters_sha256
        for name in ("sync", "downpour")
    }
    assert len(digests) == 1
