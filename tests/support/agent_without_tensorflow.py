"""An agent whose roles are plain functions: for tests of its processes without TensorFlow.

The id of a trial names the function that its roles run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dnnbench.training import agent
from dnnbench.training.roles import parameter_server, worker
from dnnbench.training.roles.process import die_with_parent
from dnnbench.trial.messages import Connect, PortReserved, Progress
from support.factories import make_ready

if TYPE_CHECKING:
    from dnnbench.training.roles.channel import Channel
    from dnnbench.trial.spec import TrialSpec


def play(channel: Channel, index: int, prepared: Any, threads: int, port: int) -> None:
    del index, threads
    channel.emit(PortReserved, pid=os.getpid(), port=port or 1)
    channel.expect(Connect)
    ROLES[prepared.spec.id](channel)


def talk(_channel: Channel) -> None:
    os.write(1, b"on standard output\n")
    os.write(2, b"on standard error\nand a last line that nothing ends")


def stumble(_channel: Channel) -> None:
    raise ValueError("Graph execution error:\n\nDetected at node x\nshapes [2] and [3] differ\n")


def hang(channel: Channel) -> None:
    """Hang like a role whose peer is gone: deaf to orders, and with a child of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    progress = {"epoch": child.pid, "step": os.getpgid(0), "steps_per_epoch": 1}
    channel.emit(Progress, examples_per_s=0.0, loss=0.0, **progress)
    child.wait()


ROLES = {"talk": talk, "stumble": stumble, "hang": hang}


class Preparer:
    def prepare(self, spec: TrialSpec, *, own_core: bool) -> Any:
        del own_core
        return SimpleNamespace(spec=spec, step=SimpleNamespace(shard_sizes=[7, 8]))


if __name__ == "__main__":
    # Always slow, as forks are on a busy machine, so that orders may overtake them.
    os.register_at_fork(after_in_child=lambda: time.sleep(0.1))
    parameter_server.serve = play
    worker.work = play
    die_with_parent(os.getppid())
    this = agent.Agent(Preparer(), 1)  # type: ignore[arg-type]
    this.send(make_ready(os.getpid()))
    this.run()
