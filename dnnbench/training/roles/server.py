"""A role's port, TensorFlow server, session configuration and graph."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from dnnbench.errors import HostError
from dnnbench.kernel import gpus
from dnnbench.training.protocols.base import WORKER_INDEX
from dnnbench.trial.messages import PortClash, PortReserved

if TYPE_CHECKING:
    import tensorflow as tf

    from dnnbench.training.prepare import PreparedTrial
    from dnnbench.training.roles.channel import Channel
    from dnnbench.trial.tasks import ClusterSpec


class ReservedPort:
    """A TCP port on all addresses that nobody else is given while this object lives.

    The socket is bound but never listens, so connections go to the TensorFlow server, which binds
    the same port because both ask for SO_REUSEPORT. Port 0 is one that the kernel chooses.
    """

    def __init__(self, port: int = 0) -> None:
        os.environ["TF_GRPC_REUSE_PORT"] = "true"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("", port))
        self.number: int = self._socket.getsockname()[1]


def reserve_port(channel: Channel, number: int) -> ReservedPort:
    """Reserve this port, or any if 0, and report it to the controller."""
    port = ReservedPort(number)
    channel.emit(PortReserved, pid=os.getpid(), port=port.number)
    return port


def session_config(
    device_filters: list[str], threads: int, *, group_leader: str = ""
) -> tf.compat.v1.ConfigProto:
    """Return a configuration for a server and its sessions that see only these devices.

    Collective operations have a leader among their tasks, which tells each who the others are.

    Without the filters a session waits for every task of the cluster. More threads than the cores
    that this role has to itself only wake each other up: on 2 cores with 12 roles, one thread each
    took a fifth off a step. Grappler costs a worker 0.35 s of CPU at its first run and did not make
    a step measurably faster.
    """
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto(
        device_filters=device_filters,
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=threads,
    )
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.experimental.collective_group_leader = group_leader
    return config


def admit_gpu(config: tf.compat.v1.ConfigProto, index: int) -> None:
    """Let this role compute on one of the host's GPUs, before TensorFlow has looked for any.

    Roles on one host share its GPUs, worker by worker, and each takes memory only as it needs it.

    Raises:
        HostError: TensorFlow finds none.
    """
    import tensorflow as tf

    os.environ["CUDA_VISIBLE_DEVICES"] = str(index % max(gpus(), 1))
    config.gpu_options.allow_growth = True
    if not tf.config.list_physical_devices("GPU"):
        raise HostError(
            "TensorFlow finds no GPU that it can use",
            remedy="the role's log names the library or driver that is missing",
        )


def start_server(
    channel: Channel, cluster: ClusterSpec, job: str, index: int, config: tf.compat.v1.ConfigProto
) -> tf.distribute.Server:
    """Start this task's TensorFlow server on the port reserved for it.

    Raises:
        tf.errors.UnknownError: the port is taken after all; ``PortClash`` has been sent.
    """
    import tensorflow as tf

    # TensorFlow would make 64 queues for gRPC's answers, each with a thread, and a thread for every
    # core of the machine to read them: too many where it is shared.
    threads = str(config.inter_op_parallelism_threads)
    os.environ["TF_GRPC_WORKER_CACHE_QUEUES"] = threads
    os.environ["TF_GRPC_WORKER_CACHE_THREADS"] = threads
    try:
        return tf.distribute.Server(
            tf.train.ClusterSpec(cluster.as_dict()), job_name=job, task_index=index, config=config
        )
    except tf.errors.UnknownError:
        port = int(cluster.as_dict()[job][index].rpartition(":")[2])
        channel.emit(PortClash, port=port)
        raise


def import_graph(serialized: bytes, *, worker: int = 0) -> tf.Graph:
    """Turn a serialized GraphDef into a graph, for the worker of this index.

    Only in a role, never before its fork: the first graph of a process seeds TensorFlow's generator
    of step identifiers, and forked workers that share its state mix up their steps on the parameter
    server ("AbortedError: Cleanup").
    """
    import tensorflow as tf

    graph = tf.Graph()
    graph_def = tf.compat.v1.GraphDef.FromString(serialized)
    for node in graph_def.node:
        if node.name.endswith(f"/{WORKER_INDEX}"):
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(worker))
    with graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")
    return graph


def initialize_shard(session: tf.compat.v1.Session, index: int, prepared: PreparedTrial) -> None:
    """Give a shard its initial values, in a session on the device that holds it."""
    shard = f"shard_{index}"
    feed = {f"{shard}/initial:0": prepared.initial_shards[index]}
    session.run(f"{shard}/initialize", feed)
    if prepared.spec.protocol.rate_warmup_epochs:  # before any worker pushes; worker:0 goes on
        session.run(f"{shard}/set_rate_factor", {f"{shard}/given_rate_factor:0": 0.0})


def updates_applied(session: tf.compat.v1.Session, index: int) -> int:
    """Return the count of updates in a shard; all of it passes through Python."""
    return round(float(session.run(f"shard_{index}/value:0")[-1]))
