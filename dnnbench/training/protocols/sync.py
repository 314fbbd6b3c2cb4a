"""Synchronous SGD: the mean of all workers' gradients is one update, and nobody goes on before it.

Source: Chen et al., Revisiting Distributed Synchronous SGD, 2016, arXiv 1604.00981, backup workers
included: with b of them, the first N - b gradients of a step are applied, and later ones dropped.

TensorFlow's `SyncReplicasOptimizer` has a thread that takes each mean from a
`ConditionalAccumulator` and applies it, and the accumulator does not tell what it dropped. Here the
last gradient of a step applies the update itself, inside the shard's lock, without a further thread
and message. Workers wait as they do there, for a token in a queue, which blocks no thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dnnbench.training.graph.shard import ServerShard
from dnnbench.training.protocols.base import WORKER_INDEX
from dnnbench.training.protocols.downpour import AsPushed

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.graph.setting import StepSetting


def make_shard(index: int, size: int, setting: StepSetting) -> MeanShard:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    return MeanShard(index, size, setting)


class MeanShard(ServerShard):
    """A shard that applies the mean of one gradient per worker.

    A gradient belongs to a step if it was computed from the parameters of that step, and is dropped
    if these have been replaced. Workers need not take equally many steps: one that has ended
    leaves, and the others' steps are complete without it. Once all have left, all are expected
    again: warm-up and epochs both begin with all workers.

    Variables beside the parameters: ``sum`` [size + 1] and number of the ``gradients`` of this
    step; workers that are ``gone``; per worker, the update that it was last ``told`` of.
    """

    def __init__(self, index: int, size: int, setting: StepSetting) -> None:
        import tensorflow as tf

        self._workers = setting.workers
        self._backups = setting.protocol.backup_workers
        state = {
            "sum": np.zeros(size + 1, np.float32),
            "gradients": np.zeros([], np.int32),
            "gone": np.zeros([], np.int32),
            "told": np.zeros(self._workers, np.float32),
        }
        super().__init__(index, size, setting, AsPushed, state=state)
        with tf.compat.v1.device(self.device), tf.compat.v1.name_scope(f"shard_{index}/"):
            self._queues = [
                tf.queue.FIFOQueue(
                    -1, [tf.float32], [[1]], shared_name=f"shard_{index}/updates_{w}"
                )
                for w in range(self._workers)
            ]
            self._worker = tf.constant(0, tf.int32, name=WORKER_INDEX)

    def push(
        self,
        gradient: tf.Tensor,
        pulled: tf.Tensor,
        *,
        measure: bool,  # noqa: ARG002 - nothing compensates
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Take a gradient [size + 1], and wait for the update of its step.

        Returns:
            Updates applied before this gradient, float32 [1]: more than the pulled parameters hold
            if it was dropped.
        """
        import tensorflow as tf

        def take() -> tuple[tf.Tensor, tf.Tensor]:
            now = self.parameters.read_value()
            before = self.count(now)
            if self._backups:
                is_late = tf.reduce_any(self.count(pulled) < before)
                # What is waited for: the update of this step, or the last one of those missed.
                awaited = tf.cond(is_late, lambda: before, lambda: self._add(gradient, now))
            else:
                awaited = self._add(gradient, now)
            told = self.state["told"].read_value()
            is_this = tf.equal(tf.range(self._workers), self._worker)
            untold = tf.reduce_sum(tf.where(is_this, awaited - told, tf.zeros_like(told)))
            told = self.state["told"].assign(tf.where(is_this, awaited, told), read_value=False)
            with tf.control_dependencies([told]):
                return tf.identity(before), tf.cast(untold, tf.int32)

        with tf.compat.v1.device(self.device):
            gradient = tf.identity(gradient)
            before, untold = self.lock.execute(take)
            handles = tf.stack([queue.queue_ref for queue in self._queues])
            told = tf.raw_ops.QueueDequeueManyV2(
                handle=tf.gather(handles, self._worker), n=untold, component_types=[tf.float32]
            )
            with tf.control_dependencies(told):
                return tf.identity(before), None

    def leave(self) -> tf.Operation:
        """End this worker's part: what is left of a step is complete without it."""
        import tensorflow as tf

        def depart() -> tf.Tensor:
            gone = self.state["gone"].read_value() + 1
            gradients = self.state["gradients"].read_value()
            total = self.state["sum"].read_value()
            now = self.parameters.read_value()
            is_complete = (gradients > 0) & (gradients >= self._required(gone))
            done = tf.cond(
                is_complete, lambda: self._apply(now, total, gradients), lambda: tf.constant([0.0])
            )
            left = self.state["gone"].assign(gone % self._workers, read_value=False)
            with tf.control_dependencies([done, left]):
                return tf.constant([0.0])

        with tf.compat.v1.device(self.device):
            return self.lock.execute(depart).op

    def _add(self, gradient: tf.Tensor, now: tf.Tensor) -> tf.Tensor:
        """Add a gradient to this step's, and apply them if it is the last one.

        Returns:
            The number of the update that they are, float32 [1].
        """
        import tensorflow as tf

        total = self.state["sum"].read_value() + gradient
        gradients = self.state["gradients"].read_value() + 1
        is_complete = gradients >= self._required(self.state["gone"].read_value())
        return tf.cond(
            is_complete,
            lambda: self._apply(now, total, gradients),
            lambda: self._keep(now, total, gradients),
        )

    def _required(self, gone: tf.Tensor) -> tf.Tensor:
        """Return the number of gradients that make an update without the workers that are gone."""
        import tensorflow as tf

        return tf.minimum(self._workers - self._backups, self._workers - gone)

    def _apply(self, now: tf.Tensor, total: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        """Apply the mean, and tell every worker; return the number of this update."""
        import tensorflow as tf

        mean = total / tf.cast(gradients, tf.float32)
        new = tf.add_n([now, *self.optimizer.changes(mean, None, self.slots)])
        with tf.control_dependencies([self.parameters.assign(new, read_value=False)]):
            number = self.count(new)
            tokens = [queue.enqueue(number) for queue in self._queues]
        # What is assigned in a branch is computed from what was read under the lock: TensorFlow
        # does not keep the assignment of a constant until the branch is taken.
        reset = self._set(tf.math.multiply_no_nan(total, 0.0), gradients * 0)
        with tf.control_dependencies([*tokens, *reset]):
            return tf.identity(number)

    def _keep(self, now: tf.Tensor, total: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        """Keep the gradients for a later one to apply; return the number of their update."""
        import tensorflow as tf

        with tf.control_dependencies(self._set(total, gradients)):
            return self.count(now) + 1.0

    def _set(self, total: tf.Tensor, gradients: tf.Tensor) -> list[tf.Operation]:
        return [
            self.state["sum"].assign(total, read_value=False),
            self.state["gradients"].assign(gradients, read_value=False),
        ]
