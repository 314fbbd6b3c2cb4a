"""ParameterServerStrategy with ClusterCoordinator as in TensorFlow's guide: one step per closure.

The model consists of plain ``tf.Variable``, not of Keras layers, which Keras 3 does not support
under this strategy (keras#18624) and which would keep the seed of dropout on the parameter server;
this favors the coordinator. Each worker reads its own data through ``tf.data``.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from setting import (
    LAYERS,
    Setting,
    Timed,
    answer,
    context,
    free_addresses,
    load,
    process_cpu_s,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Cluster = dict[str, list[str]]

SHUFFLE_BUFFER = 10_000


def serve(job: str, index: int, addresses: Cluster) -> None:
    """Run a worker's or a parameter server's TensorFlow server until it is killed."""
    import tensorflow as tf

    tf.distribute.Server(
        tf.train.ClusterSpec(addresses), job_name=job, task_index=index, protocol="grpc"
    ).join()


def build(setting: Setting) -> tuple[list[Any], Callable[..., Any]]:
    """Return the variables and a function images, training -> logits and penalty."""
    import tensorflow as tf

    glorot = tf.keras.initializers.GlorotUniform(setting.seed)
    shapes = list(pairwise(LAYERS))
    kernels = [tf.Variable(glorot(shape), name=f"kernel_{i}") for i, shape in enumerate(shapes)]
    biases = [tf.Variable(tf.zeros(units), name=f"bias_{i}") for i, (_, units) in enumerate(shapes)]

    def apply(hidden: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        penalty = 0.0
        for layer, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            penalty += setting.l2 * tf.reduce_sum(tf.square(kernel))
            hidden = tf.matmul(hidden, kernel) + bias
            if layer < len(kernels) - 1:
                hidden = tf.tanh(hidden)
                if training:
                    hidden = tf.nn.dropout(hidden, setting.dropout)
        return hidden, penalty

    return [*kernels, *biases], apply


def make_dataset_fn(setting: Setting) -> Callable[..., Any]:
    """Return the function that makes a worker's endless batches."""
    import tensorflow as tf

    def decode(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values = tf.ensure_shape(tf.io.decode_raw(records, tf.uint8), [None, LAYERS[0] + 1])
        return tf.cast(values[:, 1:], tf.float32) / 255.0, tf.cast(values[:, 0], tf.int64)

    def dataset_fn(_: Any) -> tf.data.Dataset:
        records = tf.data.FixedLengthRecordDataset(
            str(setting.data / "train.records"), LAYERS[0] + 1
        )
        shuffled = records.shuffle(SHUFFLE_BUFFER).repeat()
        return shuffled.batch(setting.batch_size, drop_remainder=True).map(decode).prefetch(2)

    return dataset_fn


def train(setting: Setting, addresses: Cluster, ps_pid: int) -> None:
    """Run the coordinator."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(addresses), rpc_layer="grpc"
    )
    strategy = tf.distribute.ParameterServerStrategy(resolver)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        variables, apply = build(setting)

    @tf.function
    def step(iterator: Any) -> Any:
        def replica(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                logits, penalty = apply(images, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses) + penalty
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(setting.learning_rate * gradient)
            return loss

        images, labels = next(iterator)
        losses = strategy.run(replica, args=(images, labels))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    dataset_fn = make_dataset_fn(setting)

    @tf.function
    def per_worker_dataset_fn() -> Any:
        return strategy.distribute_datasets_from_function(dataset_fn)

    iterator = iter(coordinator.create_per_worker_dataset(per_worker_dataset_fn))

    def run(steps: int) -> None:
        for _ in range(steps * setting.workers):
            coordinator.schedule(step, args=(iterator,))
        coordinator.join()

    run(max(setting.warmup_steps, 1))
    ps_at_start_s = process_cpu_s(ps_pid)
    start_s = time.perf_counter()
    run(setting.steps)
    epoch_s = time.perf_counter() - start_s
    ps_cpu_s = process_cpu_s(ps_pid) - ps_at_start_s
    data = load(setting.data)
    logits, _ = apply(tf.constant(data.test_images), training=False)
    accuracy = float((tf.argmax(logits, 1).numpy() == data.test_labels).mean())
    answer([Timed(epoch_s, accuracy)], setting.workers * setting.steps, ps_cpu_s=ps_cpu_s)


def main() -> None:
    """Start the servers, then be the coordinator."""
    setting = Setting.from_command_line()
    forks = context("tensorflow")
    ps, *workers = free_addresses(setting.workers + 1)
    addresses = {"ps": [ps], "worker": workers}
    tasks = [("ps", 0), *(("worker", index) for index in range(setting.workers))]
    servers = [
        forks.Process(target=serve, args=(job, index, addresses), daemon=True)
        for job, index in tasks
    ]
    for server in servers:
        server.start()
    try:
        train(setting, addresses, servers[0].pid)
    finally:
        for server in servers:
            server.kill()
            server.join()


if __name__ == "__main__":
    main()
