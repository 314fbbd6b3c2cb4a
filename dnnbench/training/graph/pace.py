"""A minimum time per step: wait between pull and push, without using a core.

The wait is a data set of one element that sleeps. TensorFlow reads it in a thread of the
operation's own, so neither a core nor a thread of the executor is held. On an idle core it wakes
0.5 ms late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.graph.ahead import Gradient

_US_PER_MS = 1e3
_US_PER_S = 1e6


def paced(gradient: Gradient, shards: int, pace_ms: float) -> Gradient:
    """Return a function that returns what ``gradient`` does, ``pace_ms`` after the pull at least.

    The time counts from the arrival of the parameters, not from the request for them: a wait for
    the parameter server must stay visible, not disappear in that for the pace.

    Args:
        gradient: takes the pulled shards first.
        shards: number of these.
        pace_ms: above 0.
    """
    import tensorflow as tf

    def call(*arguments: tf.Tensor) -> list[tf.Tensor]:
        # The copies are on the worker: an order among its own operations costs no message.
        arrived = [tf.identity(pulled) for pulled in arguments[:shards]]
        with tf.control_dependencies(arrived):
            arrived_s = tf.timestamp()
        with tf.control_dependencies([arrived_s]):  # the clock is read before the work begins
            begun = [tf.identity(pulled) for pulled in arrived]
        outputs = gradient(*begun, *arguments[shards:])
        with tf.control_dependencies(outputs):
            spent_us = (tf.timestamp() - arrived_s) * _US_PER_S
        pace_us = pace_ms * _US_PER_MS
        # The clock of the machine may be set: never wait longer than the pace.
        left_us = tf.clip_by_value(pace_us - spent_us, 0.0, pace_us)
        with tf.control_dependencies([_asleep(tf.cast(left_us, tf.int64))]):
            return [tf.identity(output) for output in outputs]

    return call


def _asleep(duration_us: tf.Tensor) -> tf.Tensor:
    """Return a tensor that is computed after ``duration_us`` microseconds, an int64 scalar."""
    import tensorflow as tf

    ops, kinds = tf.raw_ops, {"output_types": [tf.int32], "output_shapes": [[]]}
    one = ops.TensorDataset(components=[tf.constant(0)], output_shapes=kinds["output_shapes"])
    late = ops.SleepDataset(input_dataset=one, sleep_microseconds=duration_us, **kinds)
    # Without the limit, the search for a second element would sleep again.
    single = ops.TakeDataset(input_dataset=late, count=tf.constant(1, tf.int64), **kinds)
    return ops.DatasetToSingleElement(dataset=single, **kinds)[0]
