"""The arithmetic alone: the same training in one process, on one thread, without messages.

The loop over the steps is in the graph, and the data are in memory as float32.
"""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf
from coordinator import build
from setting import Setting, Timed, answer, batches, load


def main() -> None:
    """Train on one thread; measure one call."""
    setting = Setting.from_command_line()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data = load(setting.data)
    images, labels = tf.constant(data.train_images), tf.constant(data.train_labels)
    variables, apply = build(setting)

    @tf.function(input_signature=[tf.TensorSpec([None, setting.batch_size], tf.int64)])
    def train(order: tf.Tensor) -> None:
        for batch in order:
            with tf.GradientTape() as tape:
                logits, penalty = apply(tf.gather(images, batch), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.gather(labels, batch), logits
                )
                loss = tf.reduce_mean(losses) + penalty
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(setting.learning_rate * gradient)

    def order(steps: int, seed: int) -> tf.Tensor:
        return tf.constant(np.stack(list(batches(setting, len(labels), steps, seed))))

    train(order(max(setting.warmup_steps, 1), 0))
    epoch = order(setting.steps, 1)
    start_s = time.perf_counter()
    train(epoch)
    epoch_s = time.perf_counter() - start_s
    logits, _ = apply(tf.constant(data.test_images), training=False)
    accuracy = float((tf.argmax(logits, 1).numpy() == data.test_labels).mean())
    answer([Timed(epoch_s, accuracy)], setting.steps)


if __name__ == "__main__":
    main()
