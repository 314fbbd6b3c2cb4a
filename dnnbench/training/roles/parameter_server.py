"""The parameter-server role: hold one shard, let TensorFlow serve it, account for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dnnbench.training.roles.server import (
    import_graph,
    initialise_shard,
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
    cluster = channel.expect(Connect).cluster
    config = session_config([f"/job:{PARAMETER_SERVER}/task:{index}"], threads)
    server = start_server(channel, cluster, PARAMETER_SERVER, index, config)
    del reserved
    graph = import_graph(prepared.step.shard_graphs[index])
    with tf.compat.v1.Session(server.target, graph=graph, config=config) as session:
        initialise_shard(session, index, prepared)
        channel.emit(ServerReady)
        if prepared.spec.warm_start_epochs:
            channel.expect(WarmStart)
        channel.expect(WarmUp)
        channel.expect(Go)
        cpu_at_go_s = time.process_time()
        channel.expect(Finish)
        cpu_s = time.process_time() - cpu_at_go_s
        channel.emit(Served, cpu_s=cpu_s, updates_applied=updates_applied(session, index))
        channel.expect(Leave)
