"""The parameter server's half of a step: a shard's variables, its lock, pull and push."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dnnbench.training.optimizers import RATE_FACTOR, make_optimizer
from dnnbench.training.protocols.base import Push, make_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras
    import tensorflow as tf

    from dnnbench.training.graph.setting import StepSetting
    from dnnbench.training.protocols.base import Rule

    Vector = np.ndarray[Any, np.dtype[np.float32]]


def shard_sizes(parameters: int, shards: int) -> list[int]:
    """Divide ``parameters`` elements among ``shards``, the first ones one larger where needed."""
    quotient, rest = divmod(parameters, shards)
    return [quotient + (shard < rest) for shard in range(shards)]


def initial_shards(model: keras.Model, shards: int) -> list[Vector]:
    """Return the model's weights as flat shards, each with its count of updates, 0, at the end."""
    flat = np.concatenate([np.asarray(v.numpy()).ravel() for v in model.trainable_variables])
    offsets = np.cumsum(shard_sizes(flat.size, shards))[:-1]
    zero = np.zeros(1, np.float32)
    return [np.concatenate([part, zero]) for part in np.split(flat.astype(np.float32), offsets)]


class ServerShard:
    """A shard's variables and lock on its parameter server; see `protocols.base.Shard`.

    Without parameter servers, the shard is the worker's own, and needs no lock.

    Args:
        index: of the shard, and of its parameter server.
        size: parameters, the counting element excluded.
        setting: with the optimizer.
        make_rule: called where its constants belong.
        state: name -> initial value of a further variable that the protocol keeps.
    """

    def __init__(
        self,
        index: int,
        size: int,
        setting: StepSetting,
        make_rule: Callable[[], Rule],
        *,
        state: Mapping[str, np.ndarray[Any, Any]] | None = None,
    ) -> None:
        import tensorflow as tf

        tf1 = tf.compat.v1
        is_shared = setting.parameter_servers > 0
        self.device = f"/job:ps/task:{index}" if is_shared else setting.worker_device
        name = f"shard_{index}"
        with tf1.device(self.device), tf1.name_scope(f"{name}/"):
            self.rule = make_rule()
            self.optimizer = make_optimizer(setting.protocol, size, self.rule.factor)
            slots = self.optimizer.slots | self.rule.slots
            given = tf1.placeholder(tf.float32, [size + 1], name="initial")
            self.parameters = tf1.get_variable(
                f"{name}/parameters", initializer=self.start_from(given), use_resource=True
            )
            self.slots = {
                slot: tf1.get_variable(
                    f"{name}/{slot}", initializer=tf.fill([size + 1], value), use_resource=True
                )
                for slot, value in slots.items()
            }
            self.state = {
                key: tf1.get_variable(
                    f"{name}/{key}", initializer=tf.constant(value), use_resource=True
                )
                for key, value in (state or {}).items()
            }
            variables = [self.parameters, *self.slots.values(), *self.state.values()]
            tf.group(*(variable.initializer for variable in variables), name="initialize")
            tf.identity(self.parameters.read_value(), name="value")
            self.lock: Any = shard_lock(index) if is_shared else None
            self._count_at = tf.constant([size]), tf.constant([1])
            if RATE_FACTOR in self.slots:
                self._add_rate_factor(size)

    def _add_rate_factor(self, size: int) -> None:
        """Add the operation that sets the factor of the learning rate."""
        import tensorflow as tf

        given = tf.compat.v1.placeholder(tf.float32, [], name="given_rate_factor")
        vector = tf.concat([tf.fill([size], given), [1.0]], 0)
        done = self.slots[RATE_FACTOR].assign(vector, read_value=False)
        tf.group(done, name="set_rate_factor")

    def start_from(self, initial: tf.Tensor) -> tf.Tensor:
        """Return what the parameters [size + 1] start from: the given ones."""
        return initial

    def pull(self) -> tf.Tensor:
        """Return the parameters [size + 1] as they are; the tensor stays here for the push."""
        import tensorflow as tf

        with tf.compat.v1.device(self.device):
            return self.parameters.read_value()

    def rate_factor(self) -> tf.Tensor | None:
        """Return the factor of the learning rate as it is, []; None without a schedule."""
        import tensorflow as tf

        if RATE_FACTOR not in self.slots:
            return None
        with tf.compat.v1.device(self.device):
            return self.slots[RATE_FACTOR].read_value()[0]

    def count(self, parameters: tf.Tensor) -> tf.Tensor:
        """Return the counting element, [1], of parameters that are here."""
        import tensorflow as tf

        return tf.slice(parameters, *self._count_at)

    def push(
        self, gradient: tf.Tensor, pulled: tf.Tensor, *, measure: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Apply a gradient [size + 1], whole.

        Returns:
            Updates applied before this one, float32 [1]; and, where ``measure``, the squared norms
            of compensation and gradient, float32 [2].
        """
        import tensorflow as tf

        factor = self.rule.factor if measure else None

        def update() -> tf.Tensor:
            now = self.parameters.read_value()
            applied = self.rule.apply(Push(gradient, now, pulled, self.slots))
            # A new tensor assigned, not an addition in place: a pulled tensor may share the
            # variable's buffer, and TensorFlow would then copy it first.
            new = tf.add_n([now, *self.optimizer.changes(*applied, self.slots)])
            with tf.control_dependencies([self.parameters.assign(new, read_value=False)]):
                applied_at = self.count(now)
                if factor is None:
                    return applied_at
                compensation = factor**2 * squared_norm(applied.body)
                return tf.concat([applied_at, [compensation, squared_norm(gradient)]], 0)

        with tf.compat.v1.device(self.device):
            # The message from the worker arrives before the lock is asked for, not under it.
            gradient = tf.identity(gradient)
            if self.lock:
                result = self.lock.execute(update)
            else:  # the gradient was computed from the update before
                with tf.control_dependencies([gradient]):
                    result = update()
            return (result, None) if factor is None else (result[:1], result[1:])

    def leave(self) -> tf.Operation | None:
        """Return nothing: no other worker waits for this one."""
        return None


def shard_lock(index: int) -> tf.CriticalSection:
    """Return the lock under which a shard's variables change, on the device in force."""
    import tensorflow as tf

    return tf.CriticalSection(name="lock", shared_name=f"shard_{index}/lock")


def shard_graph(index: int, size: int, setting: StepSetting) -> bytes:
    """Return a serialized GraphDef of a shard alone, for its parameter server to initialize."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        make_shard(index, size, setting)
        graph_def: bytes = graph.as_graph_def().SerializeToString()
        return graph_def


def squared_norm(vector: tf.Tensor) -> tf.Tensor:
    """Return the squared Euclidean norm of a shard's vector without its counting element."""
    import tensorflow as tf

    return tf.reduce_sum(tf.square(vector[:-1]))
