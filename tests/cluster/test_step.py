"""The graph of a step, run by TensorFlow, against the same network written in NumPy."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pytest
from support.factories import make_order
from support.tensorflow_child import in_child

from dnnbench.data.load import DataSet
from dnnbench.data.sets import ExampleShape
from dnnbench.training.graph.setting import StepSetting
from dnnbench.training.graph.shard import initial_shards
from dnnbench.training.graph.step import build_step_graph
from dnnbench.training.models.registry import build_model
from dnnbench.training.prepare import PreparedTrial
from dnnbench.training.roles.server import ReservedPort, import_graph, session_config
from dnnbench.training.roles.worker import _Worker
from dnnbench.trial.spec import ModelSpec, ProtocolSpec, TrialSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Array = np.ndarray[Any, np.dtype[np.float64]]

SHAPE = ExampleShape((28, 28, 1), classes=10)
PIXELS, CLASSES = SHAPE.values, SHAPE.classes
SHAPES = [(PIXELS, 64), (64,), (64, 64), (64,), (64, CLASSES), (CLASSES,)]
BATCH = 20
EXAMPLES = 100
L2 = 0.01
RATE = 0.5
TOLERANCE = 1e-4
"""Of a step's loss and changes. The longest dot product, of 784 terms, is off by 784 * 2^-24 = 5e-5
of the sum of its absolute terms at most, in whatever order the kernels of a processor add them."""


class Trained(NamedTuple):
    """What a worker saw.

    Attributes:
        parameters: before the first run and after each, float32.
        losses, staleness: by step.
        ratios: by run.
    """

    parameters: list[Any]
    losses: list[float]
    staleness: list[list[int]]
    ratios: list[float | None]
    counts: list[float]

    @property
    def initial(self) -> Any:
        return self.parameters[0]

    @property
    def final(self) -> Any:
        return self.parameters[-1]


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


def train(trial: TrialSpec, *ways: list[list[list[int]]], own_core: bool = False) -> list[Trained]:
    """Run batches, given as indices of examples, through a worker's session.

    Returns:
        What came of each way to divide the batches into runs; all start from the same parameters.
    """
    model = build_model(trial.model, trial.seed, SHAPE)
    step = build_step_graph(StepSetting.of(trial, SHAPE, own_core=own_core), model)
    prepared = PreparedTrial(
        trial, some_data(), step, initial_shards(model, trial.parameter_servers)
    )
    return [train_one_way(prepared, runs) for runs in ways]


def train_one_way(prepared: PreparedTrial, runs: list[list[list[int]]]) -> Trained:
    step = prepared.step
    with cluster(prepared) as session:
        worker = _Worker(SimpleNamespace(task="worker:0"), 0, prepared, session)  # type: ignore[arg-type]
        worker._initialize_states()
        pulled = [session.run(step.pull)]
        results = []
        for batches in runs:
            results.append(worker._steps.run(np.array(batches), flush=True))
            pulled.append(session.run(step.pull))
    counters = np.cumsum([size + 1 for size in step.shard_sizes]) - 1
    return Trained(
        parameters=[np.delete(parameters, counters) for parameters in pulled],
        losses=[float(loss) for losses, _, _ in results for loss in losses],
        staleness=[late for _, staleness, _ in results for late in staleness.tolist()],
        ratios=[ratio for _, _, ratio in results],
        counts=pulled[-1][counters].tolist(),
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


class Rule(NamedTuple):
    """A step of SGD on 784-64-64-10 with tanh and L2 on the kernels, in float64.

    Attributes:
        slope: of the activation, by its value.
    """

    rate: float = RATE
    l2: float = L2
    pixel: float = 1 / 255
    slope: Callable[[Array], Array] = lambda h: 1 - h**2

    def step(self, parameters: Array, batch: list[int]) -> tuple[float, list[Array]]:
        """Return the loss, and the change of each variable."""
        data = some_data()
        x, y = data.train_images[batch] * self.pixel, data.train_labels[batch]
        w1, b1, w2, b2, w3, b3 = unflatten(parameters)
        h1 = np.tanh(x @ w1 + b1)
        h2 = np.tanh(h1 @ w2 + b2)
        logits = h2 @ w3 + b3
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        penalty = self.l2 * sum(float((w**2).sum()) for w in (w1, w2, w3))
        loss = float(-log_p[np.arange(len(y)), y].mean()) + penalty
        d3 = (np.exp(log_p) - np.eye(CLASSES)[y]) / len(y)
        d2 = d3 @ w3.T * self.slope(h2)
        d1 = d2 @ w2.T * self.slope(h1)
        gradients = [
            *(x.T @ d1 + 2 * self.l2 * w1, d1.sum(0)),
            *(h1.T @ d2 + 2 * self.l2 * w2, d2.sum(0)),
            *(h2.T @ d3 + 2 * self.l2 * w3, d3.sum(0)),
        ]
        return loss, [-self.rate * gradient for gradient in gradients]


def deviation(found: Trained, rule: Rule) -> float:
    """Return the largest relative deviation of a loss, or of the change of a variable, in one step.

    Each step of the rule starts from the parameters that the step found started from: over several
    steps the network multiplies any difference, and so what a processor rounds differently.
    """
    worst = 0.0
    for step, batch in enumerate(some_batches()):
        before, after = (found.parameters[i].astype(float) for i in (step, step + 1))
        loss, changes = rule.step(before, batch)
        worst = max(worst, abs(found.losses[step] - loss) / loss)
        for got, want in zip(unflatten(after - before), changes, strict=True):
            worst = max(worst, float(np.linalg.norm(got - want) / np.linalg.norm(want)))
    return worst


def unflatten(parameters: Array) -> list[Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    return [p.reshape(s) for p, s in zip(np.split(parameters, ends), SHAPES, strict=True)]


def some_batches() -> list[list[int]]:
    batches: list[list[int]] = np.random.default_rng(9).integers(0, EXAMPLES, (8, BATCH)).tolist()
    return batches


def some_runs() -> list[list[list[int]]]:
    """Return two whole runs of 3 steps and one of 2."""
    batches = some_batches()
    return [batches[:3], batches[3:6], batches[6:]]


@cache
def trained(name: Any, parameter_servers: int) -> list[Trained]:
    """Train step by step, and in runs of several steps."""
    trial = order(ProtocolSpec(name, learning_rate=RATE), parameter_servers=parameter_servers)
    return in_child(train, trial, [[batch] for batch in some_batches()], some_runs())


@pytest.mark.parametrize("parameter_servers", [1, 2, 3])
@pytest.mark.parametrize("name", ["downpour", "dc-sgd"])
def test_a_step_is_that_of_the_network_written_in_numpy(name: str, parameter_servers: int) -> None:
    found, _ = trained(name, parameter_servers)
    assert deviation(found, Rule()) < TOLERANCE
    assert found.counts == [8.0] * parameter_servers


@pytest.mark.parametrize("parameter_servers", [1, 2, 3])
@pytest.mark.parametrize("name", ["downpour", "dc-sgd"])
def test_steps_unrolled_together_are_the_steps_one_by_one(
    name: str, parameter_servers: int
) -> None:
    alone, together = trained(name, parameter_servers)
    assert together.losses == alone.losses
    np.testing.assert_array_equal(together.final, alone.final)
    assert together.counts == alone.counts
    # Alone, a worker misses no update, so there is nothing to compensate.
    assert together.staleness == [[0] * parameter_servers] * 8
    nothing = 0.0 if name == "dc-sgd" else None
    assert together.ratios[:2] == [nothing, nothing]


@pytest.mark.parametrize(
    "wrong",
    [
        Rule(rate=1.001 * RATE),
        Rule(rate=-RATE),
        Rule(l2=0.0),
        Rule(l2=L2 / 2),
        Rule(pixel=1 / 256),
        Rule(slope=np.ones_like),
        Rule(slope=lambda h: h * (1 - h)),
    ],
    ids=["rate", "uphill", "no L2", "half of L2", "pixels", "no slope", "slope of a sigmoid"],
)
def test_a_wrong_step_would_be_noticed(wrong: Rule) -> None:
    found, _ = trained("downpour", 1)
    assert deviation(found, wrong) > 5 * TOLERANCE


def test_the_network_starts_as_keras_would_have_it_and_learns() -> None:
    found, _ = trained("downpour", 1)
    assert np.abs(found.final - found.initial).max() > 1e-2
    kernels = unflatten(found.initial)[::2]
    limits = [np.sqrt(6 / sum(kernel.shape)) for kernel in kernels]  # Keras' default, Glorot
    assert [np.abs(kernel).max() for kernel in kernels] == pytest.approx(limits, rel=0.05)
    assert not any(np.any(bias) for bias in unflatten(found.initial)[1::2])


def test_a_gradient_is_clipped_to_its_norm_and_a_short_one_stays_as_it_is() -> None:
    batches = [[batch] for batch in some_batches()]
    plain = trained("downpour", 2)[0]
    changes = np.diff(np.array(plain.parameters, np.float64), axis=0) / -RATE
    norms = np.linalg.norm(changes, axis=1)
    limit = float(np.median(norms))
    for parameter_servers in (1, 2):
        spec = ProtocolSpec("downpour", learning_rate=RATE, clip_norm=limit)
        (found,) = in_child(train, order(spec, parameter_servers=parameter_servers), batches)
        pushed = np.diff(np.array(found.parameters, np.float64), axis=0) / -RATE
        assert np.linalg.norm(pushed, axis=1).max() < limit * (1 + TOLERANCE)
        first = changes[0] * min(1.0, limit / norms[0])
        np.testing.assert_allclose(pushed[0], first, atol=TOLERANCE * np.abs(first).max())
    roomy = ProtocolSpec("downpour", learning_rate=RATE, clip_norm=100.0)
    (found,) = in_child(train, order(roomy, parameter_servers=2), batches)
    np.testing.assert_array_equal(found.final, plain.final)
    assert norms.min() < limit < norms.max()


def test_every_step_drops_out_other_units_and_a_repeat_the_same_ones() -> None:
    batch = list(range(BATCH))
    runs = [[batch] * 3, [batch] * 3]
    still = ProtocolSpec(learning_rate=1e-30)
    first, again = in_child(train, order(still, dropout=0.5), runs, runs)
    assert len(set(first.losses)) == 6
    assert again.losses == first.losses
    (without,) = in_child(train, order(still), runs)
    assert len(set(without.losses)) == 1


@pytest.mark.parametrize("parameter_servers", [1, 2])
def test_what_is_computed_ahead_of_the_pull_changes_nothing(parameter_servers: int) -> None:
    trial = order(
        ProtocolSpec("dc-sgd", learning_rate=RATE),
        dropout=0.5,
        parameter_servers=parameter_servers,
    )
    (ahead,) = in_child(train, trial, some_runs(), own_core=True)
    (plain,) = in_child(train, trial, some_runs())
    assert ahead.losses == plain.losses
    np.testing.assert_array_equal(ahead.final, plain.final)
    assert (ahead.counts, ahead.staleness) == (plain.counts, plain.staleness)


def train_in_step(trial: TrialSpec, batches: list[list[list[int]]]) -> list[Trained]:
    """Run every worker of a trial without parameter server, all at once, step by step.

    Args:
        trial: under all-reduce.
        batches: by worker and step, as indices of examples.
    """
    import tensorflow as tf

    model = build_model(trial.model, trial.seed, SHAPE)
    step = build_step_graph(StepSetting.of(trial, SHAPE, own_core=True), model)
    prepared = PreparedTrial(trial, some_data(), step, initial_shards(model, 1))
    reserved = [ReservedPort() for _ in batches]
    jobs = {"worker": [f"127.0.0.1:{port.number}" for port in reserved]}
    leader = "/job:worker/replica:0/task:0"
    configs = [
        session_config([f"/job:worker/task:{n}"], 1, group_leader=leader)
        for n in range(len(batches))
    ]
    servers = [tf.distribute.Server(jobs, "worker", n, config=c) for n, c in enumerate(configs)]
    del reserved

    def work(index: int) -> Trained:
        graph = import_graph(step.worker_graph, worker=index)
        target = servers[index].target
        with tf.compat.v1.Session(target, graph=graph, config=configs[index]) as session:
            channel: Any = SimpleNamespace(task=f"worker:{index}")
            worker = _Worker(channel, index, prepared, session)
            worker._initialize_shards()
            worker._initialize_states()
            pulled = [session.run(step.pull)]
            losses = []
            for batch in batches[index]:
                losses.append(float(worker._steps.run(np.array([batch]), flush=True)[0][0]))
                pulled.append(session.run(step.pull))
        parameters = [vector[:-1] for vector in pulled]
        return Trained(parameters, losses, [], [], [float(pulled[-1][-1])])

    with ThreadPoolExecutor(len(batches)) as pool:
        return list(pool.map(work, range(len(batches))))


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_a_step_of_all_workers_applies_the_mean_of_their_gradients_in_numpy(
    clip_norm: float | None,
) -> None:
    spec = ProtocolSpec("all-reduce", learning_rate=RATE, clip_norm=clip_norm)
    trial = msgspec.structs.replace(order(spec), nodes=3, parameter_servers=0)
    rng = np.random.default_rng(3)
    batches = rng.integers(0, EXAMPLES, (3, 5, BATCH)).tolist()
    found = in_child(train_in_step, trial, batches)
    for step in range(5):
        before, after = (found[0].parameters[i].astype(float) for i in (step, step + 1))
        changes = []
        for worker, its in zip(found, batches, strict=True):
            np.testing.assert_array_equal(
                worker.parameters[step + 1], found[0].parameters[step + 1]
            )
            loss, change = Rule().step(before, its[step])
            assert abs(worker.losses[step] - loss) < TOLERANCE * loss
            flat = np.concatenate([part.ravel() for part in change])
            norm = float(np.linalg.norm(flat)) / RATE
            changes.append(flat * min(1.0, (clip_norm or norm) / norm))
            assert clip_norm is None or norm > clip_norm  # or nothing would be clipped
        for got, want in zip(
            unflatten(after - before), unflatten(np.mean(changes, axis=0)), strict=True
        ):
            assert np.linalg.norm(got - want) < TOLERANCE * np.linalg.norm(want)
    assert [worker.counts for worker in found] == [[5.0]] * 3
