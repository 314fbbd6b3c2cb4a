"""The interface of a protocol, and vectors as shards need them.

A protocol is an entry in `dnnbench.trial.protocols` and a module here, of the same name with ``_``
for ``-``. The module has a function ``make_shard(index, size, setting)`` that returns a `Shard`:
part ``index`` of the flat parameters, ``size`` of them. No other code asks for the protocol's name.

- A protocol that changes a gradient where it is applied (compensation, a step that shrinks with
  staleness) is a `Rule` in a `dnnbench.training.graph.shard.ServerShard`.
- One that changes when gradients are applied (the mean of all workers' gradients) overrides
  ``push`` of that class; the next pull waits for what ``push`` returns. A synchronous one also has
  ``leave``, which a worker runs at the end of its warm-up and of its epochs.
- One without parameter server is a `Shard` on the worker's own device, which the worker
  initializes itself; `ServerShard` is one, without its lock. Where several workers each have all
  parameters, ``start_from`` makes them equal at first, and ``push`` must keep them so.

The last element of a shard counts the updates applied to it: a gradient carries -1 there, and the
hyper-parameters are vectors whose last element leaves that count alone (:func:`vector`). A pull
thus brings the parameters together with the number of updates that they hold.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from dnnbench.trial.protocols import find_protocol

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.graph.setting import StepSetting

    Slots = dict[str, Any]  # name → tf.Variable [n + 1]

WORKER_INDEX = "worker_index"
"""Name, in a shard's scope, of the constant int32 [] that each worker sets to its own index."""
COUNT_STEP = -1.0
"""What a gradient carries in the counting element."""


class Shard(Protocol):
    """A part of the parameters as a step uses it; every vector is [size + 1].

    Attributes:
        device: that has its variables.
    """

    device: str

    def pull(self) -> tf.Tensor:
        """Return the parameters as they are."""

    def rate_factor(self) -> tf.Tensor | None:
        """Return the factor of the learning rate as it is, []; None without a schedule."""

    def count(self, parameters: tf.Tensor) -> tf.Tensor:
        """Return the counting element, [1], of parameters that are on the shard's device."""

    def push(
        self, gradient: tf.Tensor, pulled: tf.Tensor, *, measure: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Apply a gradient, whole; the worker's next pull waits for the result.

        Returns:
            Updates applied before this one, float32 [1]; and, where ``measure`` and the protocol
            compensates, the squared norms of compensation and gradient, float32 [2].
        """

    def leave(self) -> tf.Operation | None:
        """Return what ends a worker's part; None where no other worker waits for it."""


class Push(NamedTuple):
    """A gradient on the parameter server, all vectors [size + 1].

    Attributes:
        gradient: as pushed.
        now: the parameters at this moment.
        pulled: the parameters that the worker pulled to compute the gradient.
        slots: the vectors that the rule keeps.
    """

    gradient: tf.Tensor
    now: tf.Tensor
    pulled: tf.Tensor
    slots: Slots

    def staleness(self) -> tf.Tensor:
        """Return the updates applied since the pull, float32 []."""
        return self.now[-1] - self.pulled[-1]


class Applied(NamedTuple):
    """The gradient to apply: ``gradient + factor * body``, with the factor of its rule.

    Attributes:
        gradient: [size + 1] with `COUNT_STEP` at the end.
        body: [size + 1], the last element of no use; None where the rule adds nothing.
    """

    gradient: tf.Tensor
    body: tf.Tensor | None = None


class Rule(Protocol):
    """How a pushed gradient becomes the one that is applied, inside its shard's lock.

    Attributes:
        slots: name -> initial value of each element of a vector that the rule keeps.
        factor: waits to be multiplied into other constants, since each pass over a shard counts;
            None for a rule that adds nothing.
    """

    slots: dict[str, float]
    factor: float | None

    def apply(self, push: Push) -> Applied:
        """Return the gradient to apply."""


def make_shard(index: int, size: int, setting: StepSetting) -> Shard:
    """Return a shard under the setting's protocol, in the graph in force.

    Raises:
        ConfigError: there is no such protocol.
    """
    name = find_protocol(setting.protocol.name).name
    module = importlib.import_module(f"dnnbench.training.protocols.{name.replace('-', '_')}")
    shard: Shard = module.make_shard(index, size, setting)
    return shard


def vector(size: int, value: float, *, count: float) -> tf.Tensor:
    """Return a hyper-parameter [size + 1] whose last element fits the count of updates."""
    import tensorflow as tf

    vector = np.full(size + 1, value, np.float32)
    vector[-1] = count
    return tf.constant(vector)


def minus_squared_times(gradient: tf.Tensor, difference: tf.Tensor) -> tf.Tensor:
    """Return -g⊙g⊙d in one pass over memory: the kernel of the derivative of 1/x computes it."""
    import tensorflow as tf

    return tf.raw_ops.InvGrad(y=gradient, dy=difference)
