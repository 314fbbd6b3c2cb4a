"""The worker role: pull, compute, push, for the warm-up and the measured epochs; then evaluate."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.errors import ConfigError
from dnnbench.training.roles.process import release_unused_memory
from dnnbench.training.roles.server import (
    import_graph,
    initialise_shard,
    reserve_port,
    session_config,
    start_server,
    updates_applied,
)
from dnnbench.training.roles.steps import EpochTotals, Steps
from dnnbench.trial.messages import (
    Connect,
    EpochEnd,
    Evaluated,
    Finish,
    Go,
    Progress,
    Served,
    ServerReady,
    Trained,
    WarmedUp,
    WarmUp,
)
from dnnbench.trial.outcome import EvaluationRecord, WarmupRecord
from dnnbench.trial.seeds import task_seed
from dnnbench.trial.tasks import PARAMETER_SERVER, WORKER

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.prepare import PreparedTrial
    from dnnbench.training.roles.channel import Channel
    from dnnbench.trial.spec import TrialSpec

    Indices = np.ndarray[Any, np.dtype[np.int64]]

PROGRESS_INTERVAL_S = 0.5
EVALUATION_BATCH = 5000


def work(channel: Channel, index: int, prepared: PreparedTrial, threads: int, port: int) -> None:
    """Run a worker from its start to the end of the trial."""
    import tensorflow as tf

    reserved = reserve_port(channel, port)
    cluster = channel.expect(Connect).cluster
    filters = [f"/job:{PARAMETER_SERVER}", f"/job:{WORKER}/task:{index}"]
    config = session_config(filters, threads)
    target = ""  # a session of this process, which nobody else has to reach
    if prepared.spec.nodes > 1:
        server = start_server(channel, cluster, WORKER, index, config)
        target = server.target
    del reserved
    graph = import_graph(prepared.step.worker_graph, worker=index)
    channel.emit(ServerReady)
    channel.expect(WarmUp)
    with tf.compat.v1.Session(target, graph=graph, config=config) as session:
        _Worker(channel, index, prepared, session).run()


class _Worker:
    """One worker's part of a trial."""

    def __init__(
        self,
        channel: Channel,
        index: int,
        prepared: PreparedTrial,
        session: tf.compat.v1.Session,
    ) -> None:
        self._channel = channel
        self._index = index
        self._prepared = prepared
        self._spec = prepared.spec
        self._session = session
        self._reported_s = time.monotonic()  # kept across epochs, which may be shorter
        self._steps = Steps(prepared, session)
        self._rng = np.random.default_rng(task_seed(self._spec.seed, channel.task))
        self._examples = worker_examples(self._spec, index, len(prepared.data.train_labels))

    def run(self) -> None:
        """Warm up, train, evaluate."""
        self._initialise_shards()
        self._initialise_states()
        pushed = self._warm_up()
        self._channel.expect(Go)
        snapshots = []
        for epoch in range(1, self._spec.epochs + 1):
            pushed += self._epoch(epoch)
            if self._index == 0:
                snapshots.append(self._session.run(self._prepared.step.pull))
        self._leave()
        self._channel.emit(Trained, updates_pushed=pushed)
        self._channel.expect(Finish)
        self._account()
        if self._index == 0:
            # Only now: evaluating would take the cores from workers that still train.
            for epoch, parameters in enumerate(snapshots, start=1):
                self._evaluate(epoch, parameters)
            self._evaluate(None, self._session.run(self._prepared.step.pull))

    def _initialise_shards(self) -> None:
        """Initialise the parameters where no parameter server does."""
        if not self._spec.parameter_servers:
            for index in range(len(self._prepared.initial_shards)):
                initialise_shard(self._session, index, self._prepared)

    def _leave(self) -> None:
        """Let the others go on without this worker, where they wait for it."""
        if self._prepared.step.leave:
            self._session.run(self._session.graph.get_operation_by_name(self._prepared.step.leave))

    def _account(self) -> None:
        """Account for the updates where no parameter server does; their CPU is the worker's."""
        if not self._spec.parameter_servers and self._index == 0:
            updates = updates_applied(self._session, 0)
            self._channel.emit(Served, cpu_s=0.0, updates_applied=updates)

    def _initialise_states(self) -> None:
        feed = {}
        for spec in self._prepared.step.states:
            if spec.initial is None:
                value = self._rng.integers(0, 2**31, spec.shape)
            else:
                value = np.reshape(spec.initial, spec.shape)
            feed[f"{spec.name}_initial:0"] = value.astype(spec.dtype)
        if feed:
            self._session.run("initialize_states", feed)

    def _runs(self) -> list[Indices]:
        """Return the batches of a pass over this worker's data, as one ``session.run`` takes them.

        Batches are of example indices, in a new random order; an incomplete batch is left out.
        """
        size, per_run = self._spec.batch_size, self._spec.steps_per_run
        steps = len(self._examples) // size
        batches = self._rng.permutation(self._examples)[: steps * size].reshape(steps, size)
        return [batches[first : first + per_run] for first in range(0, steps, per_run)]

    def _warm_up(self) -> int:
        """Train the warm-up steps, rounded up to whole runs; return how many."""
        start_s = time.monotonic()
        runs = self._runs()
        count = -(-self._spec.warmup_steps // self._spec.steps_per_run)
        selected = [runs[i % len(runs)] for i in range(count)]
        if count and len(runs[-1]) < len(runs[0]):
            selected.append(
                runs[-1]
            )  # so that an epoch meets no form of the run for the first time
        for run in selected:
            self._steps.run(run)
        self._leave()  # before the others are told to go on
        release_unused_memory()  # before the measured part: it takes milliseconds
        steps = sum(map(len, selected))
        record = WarmupRecord(self._channel.task, steps, time.monotonic() - start_s)
        self._channel.emit(WarmedUp, record=record)
        return steps

    def _epoch(self, epoch: int) -> int:
        """Train one measured epoch; return its steps."""
        totals = EpochTotals()
        runs = self._runs()
        steps_per_epoch = sum(map(len, runs))
        cpu_at_start_s = time.process_time()
        start_s = time.monotonic()
        for run in runs:
            totals.add(*self._steps.run(run))
            now_s = time.monotonic()
            if now_s - self._reported_s >= PROGRESS_INTERVAL_S:
                self._reported_s = now_s
                self._channel.emit(
                    Progress,
                    epoch=epoch,
                    step=totals.steps,
                    steps_per_epoch=steps_per_epoch,
                    examples_per_s=totals.steps * self._spec.batch_size / (now_s - start_s),
                    loss=totals.last_loss,
                )
        duration_s = time.monotonic() - start_s
        cpu_s = time.process_time() - cpu_at_start_s
        examples = totals.steps * self._spec.batch_size
        record = totals.record(self._channel.task, epoch, examples, duration_s, cpu_s)
        self._channel.emit(EpochEnd, record=record)
        return totals.steps

    def _evaluate(self, epoch: int | None, parameters: Any) -> None:
        """Send the accuracy of these parameters, [all shards with their counts]."""
        data = self._prepared.data
        record = EvaluationRecord(
            epoch=epoch,
            global_step=round(float(parameters[self._prepared.step.shard_sizes[0]])),
            validation_accuracy=self._accuracy(
                parameters, data.validation_images, data.validation_labels
            ),
            test_accuracy=self._accuracy(parameters, data.test_images, data.test_labels),
            parameters_sha256=hashlib.sha256(parameters.tobytes()).hexdigest(),
        )
        self._channel.emit(Evaluated, record=record)

    def _accuracy(self, parameters: Any, images: Any, labels: Any) -> float:
        step = self._prepared.step
        correct = 0
        for first in range(0, len(labels), EVALUATION_BATCH):
            batch = slice(first, first + EVALUATION_BATCH)
            feed = {
                step.evaluation_parameters: parameters,
                step.evaluation_images: images[batch],
                step.evaluation_labels: labels[batch],
            }
            correct += int(self._session.run(step.correct, feed))
        return correct / len(labels)


def worker_examples(spec: TrialSpec, index: int, examples: int) -> Indices:
    """Return the indices of the training examples that a worker is given.

    Raises:
        ConfigError: they do not fill one batch.
    """
    own = np.arange(examples)
    if spec.epoch_definition == "sharded":
        own = own[index :: spec.workers]
    if len(own) < spec.batch_size:
        raise ConfigError(
            f"a worker has {len(own)} examples, a batch needs {spec.batch_size}",
            where="[train] batch_size",
            remedy="use a smaller batch or fewer nodes",
        )
    return own
