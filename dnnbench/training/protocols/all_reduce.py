"""All-reduce SGD: every worker has all parameters, and applies the mean of all workers' gradients.

There is no parameter server. TensorFlow's own collective computes the mean: a ring in which each
worker sends to its right neighbor what it has got from its left one (Patarasuk and Yuan, Bandwidth
Optimal All-reduce Algorithms for Clusters of Workstations, 2009), over the gRPC of TensorFlow's
servers. `MultiWorkerMirroredStrategy` runs the same operation on machines without GPUs.

Each element of the mean is computed once, by one worker, and copied to the others. So the replicas
stay equal to the bit: all start from the parameters of ``worker:0``, and all apply the same mean
with the same optimizer. Nobody can go on without the others, so all workers take equally many
steps (`Protocol.equal_steps`).
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from dnnbench.training.graph.shard import ServerShard
from dnnbench.training.protocols.base import WORKER_INDEX
from dnnbench.training.protocols.downpour import AsPushed

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.graph.setting import StepSetting

_GROUP = 1
"""TensorFlow's name for the workers of a trial; a trial has no other group."""


def make_shard(index: int, size: int, setting: StepSetting) -> Replica:
    """Return a shard; see :mod:`dnnbench.training.protocols.base`."""
    return Replica(index, size, setting)


class Replica(ServerShard):
    """All parameters, on the worker's own device, in step with those of the other workers."""

    def __init__(self, index: int, size: int, setting: StepSetting) -> None:
        self._workers = setting.workers
        self._instances = count(1)  # each operation of a graph needs a number of its own
        super().__init__(index, size, setting, AsPushed)

    def start_from(self, initial: tf.Tensor) -> tf.Tensor:
        """Return the initial parameters [size + 1] of ``worker:0``, whatever the others have."""
        import tensorflow as tf

        worker = tf.constant(0, tf.int32, name=WORKER_INDEX)
        own = tf.where(tf.equal(worker, 0), initial, tf.zeros_like(initial))
        return self._reduced(own, "Id")

    def push(
        self, gradient: tf.Tensor, pulled: tf.Tensor, *, measure: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Apply the mean of all workers' gradients [size + 1], once all have theirs.

        Returns:
            Updates applied before this one, float32 [1]; nothing compensates.
        """
        return super().push(self._reduced(gradient, "Div"), pulled, measure=measure)

    def _reduced(self, vector: tf.Tensor, final: str) -> tf.Tensor:
        """Return the sum of all workers' vectors, or their mean if it ends with ``Div``."""
        import tensorflow as tf

        if self._workers == 1:
            return vector
        with tf.compat.v1.device(self.device):
            return tf.raw_ops.CollectiveReduce(
                input=vector,
                group_size=self._workers,
                group_key=_GROUP,
                instance_key=next(self._instances),
                merge_op="Add",
                final_op=final,
                subdiv_offsets=[],  # TensorFlow cuts large vectors
                communication_hint="ring",
            )
