"""The graph of a step, run by TensorFlow, against the same network written in NumPy."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from support.factories import make_order
from support.tensorflow_child import in_child

from dnnbench.data.catalogue import ExampleShape
from dnnbench.data.load import DataSet
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.graph.shard import initial_shards, shard_sizes
from dnnbench.training.graph.step import build_step_graph
from dnnbench.training.models.registry import build_model
from dnnbench.training.prepare import PreparedTrial
from dnnbench.training.roles.server import ReservedPort, import_graph, session_config
from dnnbench.training.roles.worker import _Worker
from dnnbench.trial.spec import ModelSpec, ProtocolSpec, TrialSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = np.ndarray[Any, np.dtype[np.float64]]

SHAPE = ExampleShape((28, 28, 1), classes=10)
PIXELS, CLASSES = SHAPE.values, SHAPE.classes
SHAPES = [(PIXELS, 64), (64,), (64, 64), (64,), (64, CLASSES), (CLASSES,)]
BATCH = 20
EXAMPLES = 100
L2 = 0.01
RATE = 0.5


class Trained(NamedTuple):
    """What a worker saw, and the parameters before and after."""

    initial: Any
    losses: list[float]
    staleness: list[list[int]]
    ratios: list[float | None]
    final: Any
    counts: list[float]


def some_data() -> DataSet:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (EXAMPLES, PIXELS), np.uint8)
    labels = rng.integers(0, CLASSES, EXAMPLES).astype(np.uint8)
    return DataSet(images, labels, images, labels, images, labels, SHAPE)


def order(protocol: ProtocolSpec, *, dropout: float = 0.0, parameter_servers: int = 1) -> TrialSpec:
    return make_order(
        parameter_servers + 1,
        protocol,
        parameter_servers=parameter_servers,
        model=ModelSpec(l2=L2, dropout=dropout),
        batch_size=BATCH,
        steps_per_run=3,
    )


def train(trial: TrialSpec, runs: list[list[list[int]]], *, own_core: bool = False) -> Trained:
    """Run batches, given as indices of examples, through a worker's session."""
    model = build_model(trial.model, trial.seed, SHAPE)
    step = build_step_graph(StepSetting.of(trial, SHAPE, own_core=own_core), model)
    prepared = PreparedTrial(
        trial, some_data(), step, initial_shards(model, trial.parameter_servers)
    )
    with cluster(prepared) as session:
        worker = _Worker(SimpleNamespace(task="worker:0"), 0, prepared, session)  # type: ignore[arg-type]
        worker._initialise_states()
        initial = session.run(step.pull)
        results = [worker._steps.run(np.array(batches)) for batches in runs]
        final = session.run(step.pull)
    counters = np.cumsum([size + 1 for size in step.shard_sizes]) - 1
    return Trained(
        initial=np.delete(initial, counters),
        losses=[float(loss) for losses, _, _ in results for loss in losses],
        staleness=[late for _, staleness, _ in results for late in staleness.tolist()],
        ratios=[ratio for _, _, ratio in results],
        final=np.delete(final, counters),
        counts=final[counters].tolist(),
    )


@contextlib.contextmanager
def cluster(prepared: PreparedTrial) -> Iterator[Any]:
    """Serve the shards and open a worker's session, all in this process."""
    import tensorflow as tf

    names = [("ps", n) for n in range(prepared.spec.parameter_servers)] + [("worker", 0)]
    jobs: dict[str, list[str]] = {"ps": [], "worker": []}
    reserved = [ReservedPort() for _ in names]
    for (job, _), port in zip(names, reserved, strict=True):
        jobs[job].append(f"127.0.0.1:{port.number}")
    config = session_config([], 1)
    servers = [tf.distribute.Server(jobs, job, n, config=config) for job, n in names]
    del reserved
    for n, server in enumerate(servers[:-1]):
        graph = import_graph(prepared.step.shard_graphs[n])
        with tf.compat.v1.Session(server.target, graph=graph) as session:
            feed = {f"shard_{n}/initial:0": prepared.initial_shards[n]}
            session.run(f"shard_{n}/initialize", feed)
    graph = import_graph(prepared.step.worker_graph)
    with tf.compat.v1.Session(servers[-1].target, graph=graph) as session:
        yield session


def numpy_training(parameters: Array, batches: list[list[int]]) -> tuple[list[float], Array]:
    """Train 784-64-64-10 with tanh, L2 on the kernels and plain SGD, in float64."""
    data = some_data()
    losses = []
    for batch in batches:
        x, y = data.train_images[batch] / 255.0, data.train_labels[batch]
        w1, b1, w2, b2, w3, b3 = unflatten(parameters)
        h1 = np.tanh(x @ w1 + b1)
        h2 = np.tanh(h1 @ w2 + b2)
        logits = h2 @ w3 + b3
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        penalty = L2 * sum(float((w**2).sum()) for w in (w1, w2, w3))
        losses.append(float(-log_p[np.arange(len(y)), y].mean()) + penalty)
        d3 = (np.exp(log_p) - np.eye(CLASSES)[y]) / len(y)
        d2 = d3 @ w3.T * (1 - h2**2)
        d1 = d2 @ w2.T * (1 - h1**2)
        gradient = [
            *(x.T @ d1 + 2 * L2 * w1, d1.sum(0)),
            *(h1.T @ d2 + 2 * L2 * w2, d2.sum(0)),
            *(h2.T @ d3 + 2 * L2 * w3, d3.sum(0)),
        ]
        parameters = parameters - RATE * np.concatenate([part.ravel() for part in gradient])
    return losses, parameters


def unflatten(parameters: Array) -> list[Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    return [p.reshape(s) for p, s in zip(np.split(parameters, ends), SHAPES, strict=True)]


def some_runs() -> list[list[list[int]]]:
    """Draw two whole runs of 3 steps and one of 2."""
    batches = np.random.default_rng(9).integers(0, EXAMPLES, (8, BATCH)).tolist()
    return [batches[:3], batches[3:6], batches[6:]]


@pytest.mark.tensorflow
@pytest.mark.parametrize("parameter_servers", [1, 2, 3])
@pytest.mark.parametrize("name", ["downpour", "dc-sgd"])
def test_steps_are_those_of_the_network_written_in_numpy(name: Any, parameter_servers: int) -> None:
    runs = some_runs()
    protocol = ProtocolSpec(name, learning_rate=RATE)
    found = in_child(train, order(protocol, parameter_servers=parameter_servers), runs)
    batches = [batch for run in runs for batch in run]
    losses, parameters = numpy_training(found.initial.astype(float), batches)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found.final, parameters, rtol=1e-4, atol=3e-5)
    assert found.counts == [8.0] * parameter_servers
    # Alone, a worker misses no update, so there is nothing to compensate.
    assert found.staleness == [[0] * parameter_servers] * 8
    nothing = 0.0 if name == "dc-sgd" else None
    assert found.ratios[:2] == [nothing, nothing]


@pytest.mark.tensorflow
def test_the_numpy_network_learns_so_that_the_comparison_means_something() -> None:
    found = in_child(train, order(ProtocolSpec(learning_rate=RATE)), some_runs())
    assert np.abs(found.final - found.initial).max() > 1e-2
    kernels = unflatten(found.initial)[::2]
    limits = [np.sqrt(6 / sum(kernel.shape)) for kernel in kernels]  # Keras' default, Glorot
    assert [np.abs(kernel).max() for kernel in kernels] == pytest.approx(limits, rel=0.05)
    assert not any(np.any(bias) for bias in unflatten(found.initial)[1::2])


@pytest.mark.tensorflow
def test_every_step_drops_out_other_units_and_a_repeat_the_same_ones() -> None:
    batch = list(range(BATCH))
    runs = [[batch] * 3, [batch] * 3]
    still = ProtocolSpec(learning_rate=1e-30)
    first = in_child(train, order(still, dropout=0.5), runs)
    assert len(set(first.losses)) == 6
    assert in_child(train, order(still, dropout=0.5), runs).losses == first.losses
    assert len(set(in_child(train, order(still), runs).losses)) == 1


@pytest.mark.tensorflow
@pytest.mark.parametrize("parameter_servers", [1, 2])
def test_what_is_computed_ahead_of_the_pull_changes_nothing(parameter_servers: int) -> None:
    trial = order(
        ProtocolSpec("dc-sgd", learning_rate=RATE),
        dropout=0.5,
        parameter_servers=parameter_servers,
    )
    ahead = in_child(train, trial, some_runs(), own_core=True)
    plain = in_child(train, trial, some_runs())
    assert ahead.losses == plain.losses
    np.testing.assert_array_equal(ahead.final, plain.final)
    assert (ahead.counts, ahead.staleness) == (plain.counts, plain.staleness)


@pytest.mark.parametrize(("parameters", "shards"), [(10, 1), (10, 3), (55_050, 4), (2, 3)])
def test_shards_differ_by_one_parameter_at_most(parameters: int, shards: int) -> None:
    sizes = shard_sizes(parameters, shards)
    assert sum(sizes) == parameters
    assert len(sizes) == shards
    assert max(sizes) - min(sizes) <= 1
