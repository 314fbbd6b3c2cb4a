"""The interface of a protocol's compensation, and vectors as shards need them.

The last element of a shard counts the updates applied to it: a gradient carries -1 there, and the
hyper-parameters are vectors whose last element leaves that count alone (:func:`vector`). A pull
thus brings the parameters together with the number of updates that they hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    Slots = dict[str, Any]  # name → tf.Variable [n + 1]

COUNT_STEP = -1.0
"""What a gradient carries in the counting element."""


class Compensation(Protocol):
    """What is added to the pushed gradient for the updates that it missed: ``factor * body``.

    Attributes:
        factor: waits to be multiplied into other constants, since each pass over a shard counts.
    """

    slots: dict[str, float]
    factor: float

    def body(
        self, gradient: tf.Tensor, now: tf.Tensor, pulled: tf.Tensor, slots: Slots
    ) -> tf.Tensor:
        """Return the term without its factor, all vectors [n + 1]; its last element is of no use.

        Args:
            gradient: as pushed.
            now: the parameters at this moment.
            pulled: the parameters that the worker pulled to compute the gradient.
            slots: the vectors that this compensation keeps.
        """


def vector(size: int, value: float, *, count: float) -> tf.Tensor:
    """Return a hyper-parameter [size + 1] whose last element fits the count of updates."""
    import tensorflow as tf

    vector = np.full(size + 1, value, np.float32)
    vector[-1] = count
    return tf.constant(vector)
