"""The parameter-server role: hold one shard, let TensorFlow serve it, account for it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dnnbench.training.roles.checkpoints import Checkpointer
from dnnbench.training.roles.server import (
    import_graph,
    initialize_shard,
    reserve_port,
    session_config,
    start_server,
    updates_applied,
)
from dnnbench.trial.messages import (
    Connect,
    Finish,
    Go,
    Leave,
    Served,
    ServerReady,
    WarmStart,
    WarmUp,
)
from dnnbench.trial.tasks import PARAMETER_SERVER

if TYPE_CHECKING:
    from dnnbench.training.prepare import PreparedTrial
    from dnnbench.training.roles.channel import Channel


def serve(channel: Channel, index: int, prepared: PreparedTrial, threads: int, port: int) -> None:
    """Run a parameter server from its start to the end of the trial."""
    import tensorflow as tf

    reserved = reserve_port(channel, port)
    connect = channel.expect(Connect)
    config = session_config([f"/job:{PARAMETER_SERVER}/task:{index}"], threads)
    server = start_server(channel, connect.cluster, PARAMETER_SERVER, index, config)
    del reserved
    graph = import_graph(prepared.step.shard_graphs[index])
    checkpointer = (
        Checkpointer(channel, index, graph, connect.checkpoint_s) if connect.checkpoint_s else None
    )
    with tf.compat.v1.Session(server.target, graph=graph, config=config) as session:
        if checkpointer and connect.again:
            channel.emit(ServerReady, updates=checkpointer.restore(session))
        else:
            initialize_shard(session, index, prepared)
            channel.emit(ServerReady)
        if prepared.spec.warm_start_epochs and not connect.again:
            channel.expect(WarmStart)
        channel.expect(WarmUp)
        with ExitStack() as stack:
            # The first checkpoint, which takes longest, is written before the measured part.
            writing_cpu_s = (
                stack.enter_context(checkpointer.running(session)) if checkpointer else lambda: 0.0
            )
            channel.expect(Go)
            cpu_at_go_s = time.process_time() - writing_cpu_s()
            channel.expect(Finish)
            cpu_s = time.process_time() - writing_cpu_s() - cpu_at_go_s
        channel.emit(Served, cpu_s=cpu_s, updates_applied=updates_applied(session, index))
        channel.expect(Leave)
