"""A real Slurm on this machine, as the current user: munged, slurmctld and one slurmd per node.

Its nodes are ``node2``, ``node3`` and so on. A task's prolog gives each a loopback address of its
own in the environment, so that dnnbench takes each for another host. All of them share one home
directory, as the nodes of a Slurm cluster do.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.testbed.processes import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 10.0
_POLL_S = 0.1
_CONF = """\
ClusterName=test
SlurmctldHost={hostname}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool.%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={directory}/prolog
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_NODE = "NodeName={name} NodeHostname={hostname} NodeAddr=127.0.0.1 Port={port} CPUs=4\n"
_PROLOG = """\
#!/bin/sh
echo "export SSH_CONNECTION=127.0.0.1 1 {network}.${{SLURMD_NODENAME#node}} 22"
"""


class NotInstalledError(RuntimeError):
    """Slurm or munge is not installed on this machine."""


class Slurm(NamedTuple):
    """A running Slurm.

    Attributes:
        conf: its slurm.conf, for ``SLURM_CONF`` in the environment of its commands.
        addresses: node -> the loopback address that dnnbench takes for the node's.
    """

    conf: Path
    addresses: dict[str, str]

    def logs(self) -> str:
        """Return the ends of all logs, for a failed assertion."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.conf.parent.glob("*.log"))
        )


@contextlib.contextmanager
def slurm(count: int, directory: Path) -> Iterator[Slurm]:
    """Start a Slurm with this many nodes; end all of it when done.

    Raises:
        NotInstalledError: a program is missing.
        RuntimeError: it does not get ready; with its logs.
    """
    try:  # as slurmd does for the address on which it listens
        socket.getaddrinfo(None, 1, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG)
    except socket.gaierror:
        raise NotInstalledError("Slurm needs an address beside 127.0.0.1") from None
    programs = {name: shutil.which(name, path=_PATH) for name in PROGRAMS}
    if missing := [name for name, path in programs.items() if path is None]:
        raise NotInstalledError(f"Slurm is not installed: no {', '.join(missing)}")
    directory.mkdir(parents=True, mode=0o755)
    names = [f"node{number}" for number in range(2, 2 + count)]
    found = _written(directory, names)
    environment = {**os.environ, "SLURM_CONF": str(found.conf)}
    socket_path = directory / "munge.socket"
    commands = [
        [
            *("munged", "--foreground", f"--key-file={directory}/munge.key", "--force"),
            *(f"--socket={socket_path}", f"--pid-file={directory}/munge.pid"),
            *(f"--seed-file={directory}/munge.seed", f"--log-file={directory}/munge.log"),
        ],
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", name] for name in names),
    ]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for name, *arguments in commands:
            with (directory / f"{name}.{len(daemons)}.out.log").open("wb") as out:
                daemons.append(
                    subprocess.Popen(
                        [str(programs[name]), *arguments],
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
            if name == "munged":
                _await(found, daemons, socket_path.exists)
        _await(found, daemons, lambda: _idle(environment) == count)
        yield found
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(_END_TIMEOUT_S)
            daemon.kill()
            daemon.wait()


def _written(directory: Path, names: list[str]) -> Slurm:
    """Write the configuration, the key and the prolog."""
    hostname = socket.gethostname()
    network = f"127.{1 + os.getpid() % 254}.{os.getpid() // 254 % 256}"
    port, *ports = _free_ports(1 + len(names))
    nodes = "".join(
        _NODE.format(name=name, hostname=hostname, port=its)
        for name, its in zip(names, ports, strict=True)
    )
    (directory / "state").mkdir()
    key = directory / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))
    prolog = directory / "prolog"
    prolog.write_text(_PROLOG.format(network=network))
    prolog.chmod(0o755)
    conf = directory / "slurm.conf"
    conf.write_text(
        _CONF.format(
            directory=directory, hostname=hostname, nodes=nodes, port=port, user=getpass.getuser()
        )
    )
    addresses = {name: f"{network}.{name.removeprefix('node')}" for name in names}
    return Slurm(conf, addresses)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _idle(environment: dict[str, str]) -> int:
    """Return how many nodes are ready for a job."""
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%T"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_START_TIMEOUT_S,
    )
    return done.stdout.split().count("idle")


def _await(found: Slurm, daemons: list[subprocess.Popen[bytes]], ready: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not ready():
        ended = [daemon.args for daemon in daemons if daemon.poll() is not None]
        if ended or time.monotonic() > deadline_s:
            raise RuntimeError(f"Slurm does not start ({ended or 'too slow'}): {found.logs()}")
        with Witness([daemons[-1].pid]) as witness:
            witness.alive_after(_POLL_S)
