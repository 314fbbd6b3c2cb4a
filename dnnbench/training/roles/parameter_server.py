"""The parameter-server role: hold one shard, let TensorFlow serve it, account for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dnnbench.training.roles.server import import_graph, reserve_port, session_config, start_server
from dnnbench.trial.messages import Connect, Finish, Go, Leave, Served, ServerReady, WarmUp
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
    shard = f"shard_{index}"
    graph = import_graph(prepared.step.shard_graphs[index])
    with tf.compat.v1.Session(server.target, graph=graph, config=config) as session:
        session.run(
            f"{shard}/initialize",
            {f"{shard}/initial:0": prepared.initial_shards[index]},
        )
        if prepared.spec.protocol.rate_warmup_epochs:  # before any worker pushes; worker:0 goes on
            session.run(f"{shard}/set_rate_factor", {f"{shard}/given_rate_factor:0": 0.0})
        channel.emit(ServerReady)
        channel.expect(WarmUp)
        channel.expect(Go)
        cpu_at_go_s = time.process_time()
        channel.expect(Finish)
        cpu_s = time.process_time() - cpu_at_go_s
        # The pull goes through Python's copy of the shard once a trial, outside the measured part.
        updates_applied = round(float(session.run(f"{shard}/value:0")[-1]))
        channel.emit(Served, cpu_s=cpu_s, updates_applied=updates_applied)
        channel.expect(Leave)
