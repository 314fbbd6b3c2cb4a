"""Between-graph replication as TensorFlow 1's tutorials teach it.

One variable per layer, ``replica_device_setter``, ``MonitoredTrainingSession``, ``feed_dict``, one
``session.run`` per step. Two changes favor this side: no checkpoint directory, and device filters,
without which every session would talk to every worker. Workers other than the chief start their
session once the chief has one, so the 30 s for which they would sleep do not count.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from setting import (
    LAYERS,
    PHASE_TIMEOUT_S,
    Setting,
    Timed,
    answer,
    batches,
    context,
    free_addresses,
    load,
    meet,
    process_cpu_s,
)

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier, Event

    Cluster = dict[str, list[str]]


def serve(addresses: Cluster) -> None:
    """Run the parameter server until it is killed."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    config = tf.ConfigProto(device_filters=["/job:ps"])
    server = tf.train.Server(
        tf.train.ClusterSpec(addresses), job_name="ps", task_index=0, config=config
    )
    server.join()


def build(setting: Setting) -> tuple[Any, Any, Any, Any, Any]:
    """Return placeholders for images, labels and dropout, the training operation, the accuracy."""
    import tensorflow.compat.v1 as tf

    images = tf.placeholder(tf.float32, [None, LAYERS[0]])
    labels = tf.placeholder(tf.int64, [None])
    dropout = tf.placeholder_with_default(0.0, [])
    tf.set_random_seed(setting.seed)
    hidden, penalty = images, 0.0
    for layer, (inputs, units) in enumerate(pairwise(LAYERS)):
        weights = tf.get_variable(
            f"weights_{layer}", [inputs, units], initializer=tf.glorot_uniform_initializer()
        )
        biases = tf.get_variable(f"biases_{layer}", [units], initializer=tf.zeros_initializer())
        penalty += setting.l2 * tf.reduce_sum(tf.square(weights))
        hidden = tf.matmul(hidden, weights) + biases
        if layer < len(LAYERS) - 2:
            hidden = tf.nn.dropout(tf.tanh(hidden), rate=dropout)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=hidden)
    global_step = tf.train.get_or_create_global_step()
    train = tf.train.GradientDescentOptimizer(setting.learning_rate).minimize(
        tf.reduce_mean(losses) + penalty, global_step=global_step
    )
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(hidden, 1), labels), tf.float32))
    return images, labels, dropout, train, accuracy


class Meeting(NamedTuple):
    """Means of the processes to wait for each other and to answer."""

    barrier: Barrier
    chief_ready: Event
    results: SimpleQueue[Timed]


def work(index: int, setting: Setting, addresses: Cluster, meeting: Meeting) -> None:
    """Run one worker: warm up, wait for the others, train, wait again; the chief evaluates."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    cluster = tf.train.ClusterSpec(addresses)
    config = tf.ConfigProto(device_filters=["/job:ps", f"/job:worker/task:{index}"])
    server = tf.train.Server(cluster, job_name="worker", task_index=index, config=config)
    data = load(setting.data)
    device = tf.train.replica_device_setter(
        worker_device=f"/job:worker/task:{index}", cluster=cluster
    )
    with tf.device(device):
        images, labels, dropout, train, accuracy = build(setting)
    if index != 0 and not meeting.chief_ready.wait(PHASE_TIMEOUT_S):
        raise TimeoutError("the chief's session")
    with tf.train.MonitoredTrainingSession(
        master=server.target, is_chief=index == 0, config=config
    ) as session:
        meeting.chief_ready.set()

        def run(steps: int, seed: int) -> None:
            for batch in batches(setting, len(data.train_labels), steps, seed):
                feed = {
                    images: data.train_images[batch],
                    labels: data.train_labels[batch],
                    dropout: setting.dropout,
                }
                session.run(train, feed)

        run(setting.warmup_steps, 2 * index)
        meet(meeting.barrier)
        start_s = time.perf_counter()
        run(setting.steps, 2 * index + 1)
        epoch_s = time.perf_counter() - start_s
        meet(meeting.barrier)
        reached = None
        if index == 0:
            feed = {images: data.test_images, labels: data.test_labels}
            reached = float(session.run(accuracy, feed))
        meeting.results.put(Timed(epoch_s, reached))


def main() -> None:
    """Run one parameter server and the workers, one process each."""
    setting = Setting.from_command_line()
    forks = context("tensorflow")
    ps, *workers = free_addresses(setting.workers + 1)
    addresses = {"ps": [ps], "worker": workers}
    meeting = Meeting(forks.Barrier(setting.workers + 1), forks.Event(), forks.SimpleQueue())
    server = forks.Process(target=serve, args=(addresses,), daemon=True)
    server.start()
    processes = [
        forks.Process(target=work, args=(index, setting, addresses, meeting), daemon=True)
        for index in range(setting.workers)
    ]
    for process in processes:
        process.start()
    meet(meeting.barrier)
    at_start_s = process_cpu_s(server.pid)
    meet(meeting.barrier)
    ps_cpu_s = process_cpu_s(server.pid) - at_start_s
    timed = [meeting.results.get() for _ in processes]
    answer(timed, setting.workers * setting.steps, ps_cpu_s=ps_cpu_s)
    for process in (*processes, server):
        process.kill()
        process.join()


if __name__ == "__main__":
    main()
