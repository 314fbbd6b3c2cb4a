"""The worker role: pull, compute, push, for the warm-up and the measured epochs; then evaluate."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from dnnbench.training.roles.continuity import Continuity
from dnnbench.training.roles.evaluation import evaluate
from dnnbench.training.roles.process import release_unused_memory
from dnnbench.training.roles.server import (
    admit_gpu,
    import_graph,
    initialize_shard,
    reserve_port,
    session_config,
    start_server,
    updates_applied,
)
from dnnbench.training.roles.shares import steps_per_epoch, worker_examples
from dnnbench.training.roles.steps import EpochTotals, Steps
from dnnbench.trial.messages import (
    Connect,
    Diverged,
    EpochEnd,
    Evaluated,
    Finish,
    Go,
    Progress,
    Served,
    ServerReady,
    Trained,
    WarmedUp,
    WarmStart,
    WarmStarted,
    WarmUp,
)
from dnnbench.trial.outcome import Divergence, WarmupRecord
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.seeds import task_seed
from dnnbench.trial.tasks import PARAMETER_SERVER, WORKER

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.prepare import PreparedTrial
    from dnnbench.training.roles.channel import Channel

    Indices = np.ndarray[Any, np.dtype[np.int64]]

PROGRESS_INTERVAL_S = 0.5


def work(channel: Channel, index: int, prepared: PreparedTrial, threads: int, port: int) -> None:
    """Run a worker from its start to the end of the trial."""
    import tensorflow as tf

    reserved = reserve_port(channel, port)
    connect = channel.expect(Connect)
    filters = [f"/job:{PARAMETER_SERVER}", f"/job:{WORKER}/task:{index}"]
    leader = "" if prepared.spec.parameter_servers else f"/job:{WORKER}/replica:0/task:0"
    config = session_config(filters, threads, group_leader=leader)
    if prepared.spec.device == "gpu":
        admit_gpu(config, index)
    target = ""  # a session of this process, which nobody else has to reach
    if prepared.spec.nodes > 1:
        server = start_server(channel, connect.cluster, WORKER, index, config)
        target = server.target
    del reserved
    graph = import_graph(prepared.step.worker_graph, worker=index)
    channel.emit(ServerReady)
    warm_starts = prepared.spec.warm_start_epochs > 0 and not connect.again
    channel.expect(WarmStart if warm_starts else WarmUp)
    with tf.compat.v1.Session(target, graph=graph, config=config) as session:
        try:
            worker = _Worker(channel, index, prepared, session, is_again=connect.again)
            worker.run(warm_starts=warm_starts)
        except _NotFinite as met:
            channel.emit(Diverged, record=met.divergence)


class _NotFinite(Exception):  # noqa: N818 - a way out of a trial, which has not failed
    """Ends a worker at the first value that is not finite."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(str(divergence))
        self.divergence = divergence


class _Worker:
    """One worker's part of a trial."""

    def __init__(
        self,
        channel: Channel,
        index: int,
        prepared: PreparedTrial,
        session: tf.compat.v1.Session,
        *,
        is_again: bool = False,
    ) -> None:
        self._channel = channel
        self._index = index
        self._prepared = prepared
        self._spec = prepared.spec
        self._session = session
        self._reported_s = time.monotonic()  # kept across epochs, which may be shorter
        self._steps = Steps(prepared, session)
        self._pushed = 0
        self._before = 0  # steps before the measured epochs, so far
        self._initial_loss: float | None = None
        # The first step of a worker that was started again, or comes after the warm start of
        # another one, is not from the initial parameters.
        self._is_first = not is_again and (index == 0 or not self._spec.warm_start_epochs)
        self._continuity = Continuity(
            prepared.step.shard_sizes,
            counts_pushes=not find_protocol(self._spec.protocol.name).synchronous,
        )
        self._rate_factor = self._spec.protocol.rate_factor(1, 0.0)  # as the servers start with
        self._rng = np.random.default_rng(task_seed(self._spec.seed, channel.task))
        examples = len(prepared.data.train_labels)
        self._examples = worker_examples(self._spec, index, examples)
        self._steps_per_epoch = steps_per_epoch(self._spec, len(self._examples), examples)

    def run(self, *, warm_starts: bool) -> None:
        """Warm start, warm up, train, evaluate.

        Raises:
            _NotFinite: a loss or a parameter is not finite.
        """
        self._initialize_shards()
        self._initialize_states()
        if warm_starts:
            self._warm_start()
            self._channel.expect(WarmUp)
        self._warm_up()
        go = self._channel.expect(Go)
        snapshots = []
        epochs = range(go.first_epoch, self._spec.epochs + 1)
        for epoch in epochs:
            self._epoch(epoch)
            if self._index == 0:
                snapshots.append(self._snapshot(epoch))
        self._leave()
        self._channel.emit(Trained, updates_pushed=self._pushed, replica_sha256=self._replica())
        finish = self._channel.expect(Finish)
        self._account()
        if self._channel.task == finish.evaluator:
            snapshots.append(self._snapshot(self._spec.epochs))
            evaluated: list[int | None] = [*(epochs if self._index == 0 else []), None]
            # Only now: evaluating would take the cores from workers that still train.
            for number, (parameters, states) in zip(evaluated, snapshots, strict=True):
                self._set_states(states)
                record = evaluate(self._session, self._prepared, number, parameters)
                self._channel.emit(Evaluated, record=record)

    def _initialize_shards(self) -> None:
        """Initialize the parameters where no parameter server does."""
        if not self._spec.parameter_servers:
            for index in range(len(self._prepared.initial_shards)):
                initialize_shard(self._session, index, self._prepared)

    def _leave(self) -> None:
        """Let the others go on without this worker, where they wait for it."""
        if self._prepared.step.leave:
            self._session.run(self._session.graph.get_operation_by_name(self._prepared.step.leave))

    def _replica(self) -> str:
        """Return the digest of this worker's parameters, if all workers have the same."""
        if not find_protocol(self._spec.protocol.name).connects_workers:
            return ""
        parameters = self._session.run(self._prepared.step.pull)
        return hashlib.sha256(parameters.tobytes()).hexdigest()

    def _account(self) -> None:
        """Account for the updates where no parameter server does; their CPU is the worker's."""
        if not self._spec.parameter_servers and self._index == 0:
            updates = updates_applied(self._session, 0)
            self._channel.emit(Served, cpu_s=0.0, updates_applied=updates)

    def _initialize_states(self) -> None:
        values = []
        for spec in self._prepared.step.states:
            if spec.initial is None:
                value = self._rng.integers(0, 2**31, spec.shape)
            else:
                value = np.reshape(spec.initial, spec.shape)
            values.append(value.astype(spec.dtype))
        self._set_states(values)

    def _snapshot(self, epoch: int) -> tuple[Any, list[Any]]:
        """Return the parameters as on the parameter servers, and this worker's states.

        Args:
            epoch: that has just ended.

        Raises:
            _NotFinite: a parameter is not finite.
            TrialError: a shard was initialized afresh in the meantime.
        """
        # The read that TensorFlow makes with each variable.
        names = [f"{spec.name}/Read/ReadVariableOp:0" for spec in self._prepared.step.states]
        parameters, states = self._session.run((self._prepared.step.pull, names))
        if not np.isfinite(parameters).all():
            end = Divergence(self._channel.task, epoch, self._steps_per_epoch, "parameters")
            raise _NotFinite(end)
        self._continuity.check(parameters, self._pushed)
        return parameters, states

    def _set_states(self, values: list[Any]) -> None:
        names = [f"{spec.name}_initial:0" for spec in self._prepared.step.states]
        feed = dict(zip(names, values, strict=True))
        if feed:
            self._session.run("initialize_states", feed)

    def _runs(self) -> list[Indices]:
        """Return the batches of an epoch of this worker, as one ``session.run`` takes them.

        Batches are of example indices, in a new random order; an incomplete batch is left out.
        """
        size, per_run = self._spec.batch_size, self._spec.run_steps
        steps = self._steps_per_epoch
        batches = self._rng.permutation(self._examples)[: steps * size].reshape(steps, size)
        return [batches[first : first + per_run] for first in range(0, steps, per_run)]

    def _train(
        self, batches: Indices, *, epoch: int, steps_before: int, flush: bool
    ) -> tuple[Any, Any, float | None]:
        """Train on batches; see `Steps.run`.

        Raises:
            _NotFinite: a loss is not finite.
        """
        losses, staleness, ratio = self._steps.run(batches, flush=flush)
        self._pushed += len(staleness)
        not_finite = np.flatnonzero(~np.isfinite(losses))
        if len(not_finite):
            step = steps_before + int(not_finite[0]) + 1
            raise _NotFinite(Divergence(self._channel.task, epoch, step))
        if self._initial_loss is None:
            self._initial_loss = float(losses[0])
        return losses, staleness, ratio

    def _set_rate(self, epoch: int, done: float) -> None:
        """Bring the learning rate to where the schedule has it.

        On parameter servers, ``worker:0`` does so for all: asynchronous workers have no epochs in
        common. Workers without parameter servers each have their own.
        """
        factor = self._spec.protocol.rate_factor(epoch, done)
        is_told = self._spec.parameter_servers > 0 and self._index != 0
        if is_told or factor == self._rate_factor:
            return
        shards = [f"shard_{n}" for n in range(len(self._prepared.step.shard_sizes))]
        feed = {f"{shard}/given_rate_factor:0": factor for shard in shards}
        self._session.run([f"{shard}/set_rate_factor" for shard in shards], feed)
        self._rate_factor = factor

    def _warm_start(self) -> None:
        """Train alone, if this is ``worker:0``: the others take no step before `WarmUp`."""
        if self._index != 0:
            return
        start_s = time.monotonic()
        for _ in range(self._spec.warm_start_epochs):
            self._before += self._pass(0).steps
        seconds = time.monotonic() - start_s
        record = WarmupRecord(self._channel.task, self._before, seconds)
        self._channel.emit(WarmStarted, record=record)

    def _warm_up(self) -> None:
        """Train the warm-up steps, rounded up to whole runs."""
        start_s = time.monotonic()
        runs = self._runs()
        count = -(-self._spec.warmup_steps // self._spec.run_steps)
        selected = [runs[i % len(runs)] for i in range(count)]
        if count and len(runs[-1]) < len(runs[0]):
            selected.append(
                runs[-1]
            )  # so that an epoch meets no form of the run for the first time
        self._set_rate(1, len(runs[0]) / sum(map(len, runs)))
        steps = 0
        for run in selected:
            ends = run is runs[-1] or run is selected[-1]
            self._train(run, epoch=0, steps_before=self._before + steps, flush=ends)
            steps += len(run)
        self._leave()  # before the others are told to go on
        release_unused_memory()  # before the measured part: it takes milliseconds
        record = WarmupRecord(self._channel.task, steps, time.monotonic() - start_s)
        self._channel.emit(WarmedUp, record=record)

    def _epoch(self, epoch: int) -> None:
        """Train one measured epoch."""
        cpu_at_start_s = time.process_time()
        start_s = time.monotonic()
        totals = self._pass(epoch)
        duration_s = time.monotonic() - start_s
        cpu_s = time.process_time() - cpu_at_start_s
        examples = totals.steps * self._spec.batch_size
        record = totals.record(self._channel.task, epoch, examples, duration_s, cpu_s)
        initial_loss = self._initial_loss if self._is_first else None
        record = msgspec.structs.replace(record, initial_loss=initial_loss)
        self._channel.emit(EpochEnd, record=record)

    def _pass(self, epoch: int) -> EpochTotals:
        """Train one pass over this worker's data, in a measured epoch or, as 0, before these."""
        totals = EpochTotals()
        runs = self._runs()
        steps_per_epoch = sum(map(len, runs))
        before = 0 if epoch else self._before
        start_s = time.monotonic()
        for run in runs:
            if epoch:
                self._set_rate(epoch, (totals.steps + len(run)) / steps_per_epoch)
            ends = run is runs[-1]
            steps = before + totals.steps
            totals.add(*self._train(run, epoch=epoch, steps_before=steps, flush=ends))
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
        return totals
