"""Agents on this machine, over their standard input and output."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from dnnbench.errors import HostError
from dnnbench.hosts.onhost.log import last_line
from dnnbench.hosts.training_process import start_training
from dnnbench.kernel import killed_for_memory, oom_kills
from dnnbench.sweep.agents import Agents
from dnnbench.sweep.documents import writing
from dnnbench.sweep.event_checks import read_event
from dnnbench.sweep.failures import HARMLESS, kind_of_exit
from dnnbench.sweep.inbox import Arrival, Inbox
from dnnbench.text.safe import one_line
from dnnbench.trial.bounds import LINE_BYTES
from dnnbench.trial.messages import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dnnbench.sweep.placement import Host
    from dnnbench.trial.messages import Order

_CLOSE_TIMEOUT_S = 2.0
_LOOPBACK_TIMEOUT_S = 5.0


class LocalAgent:
    """A process of `dnnbench.training.agent` and its two pipes."""

    ports: list[int] | None = None

    def __init__(
        self, host: str, log_file: Path, inbox: Inbox, variables: Mapping[str, str]
    ) -> None:
        self.host = host
        self._log_file = log_file
        self._inbox = inbox
        self._oom_kills = oom_kills()  # before its end
        self._checkpoints = log_file.with_suffix(".checkpoints")
        self._remove_checkpoints()  # which a killed controller has left
        with writing(log_file), log_file.open("ab") as log:
            self._process = start_training("agent", log, variables, self._checkpoints)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, order: Order) -> None:
        """See :class:`dnnbench.sweep.agents.Agent`."""
        assert self._process.stdin
        try:
            self._process.stdin.write(encode(order))
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def close(self) -> None:
        """End the agent and everything it started; return once they are gone. Idempotent."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # Its roles are tied to it by the kernel and by their pipes, so they end too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(_CLOSE_TIMEOUT_S)
        self._remove_checkpoints()  # which a killed agent has left

    def _remove_checkpoints(self) -> None:
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            try:
                while line := lines.readline(LINE_BYTES + 1):
                    event = read_event(self.host, line)
                    self._inbox.put(Arrival(self.host, event), len(line))
            except HostError as error:  # all else is ignored; the closed pipe ends the agent
                self._inbox.put(Arrival(self.host, error))
                return
        self._inbox.put(Arrival(self.host, self._gone()))

    def _gone(self) -> HostError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        ended = "closed its pipe" if code is None else f"ended with {code}"
        kind, last = kind_of_exit(code or 0), one_line(last_line(str(self._log_file), HARMLESS))
        if killed_for_memory(code, self._oom_kills):
            ended, kind, last = "was killed by the kernel for lack of memory", "out-of-memory", ""
        error = HostError(
            f"the agent {ended}{': ' + last if last else ''}",
            where=self.host,
            remedy=f"see {self._log_file}",
        )
        return error.of_kind(kind)


class LocalAgents:
    """A source of agents on this machine; see `AgentSource`.

    Args:
        variables: that the user passes on.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables or {})

    def start(
        self,
        hosts: Sequence[Host],
        needed: int,  # noqa: ARG002 - one process serves any number of nodes
        log_dir: Path,
        notify: Callable[[str], None],  # noqa: ARG002 - a process starts at once
    ) -> Agents:
        """See :class:`dnnbench.sweep.agents.AgentSource`."""
        _check_loopback(hosts[0])
        inbox = Inbox()
        agents: list[LocalAgent] = []

        def release() -> None:
            for agent in agents:
                agent.close()

        try:
            for host in hosts:
                log_file = log_dir / f"agent-{host.name}.log"
                agents.append(LocalAgent(host.name, log_file, inbox, self._variables))
        except BaseException:
            release()
            raise
        return Agents(agents, hosts, inbox, release=release)


def _check_loopback(host: Host) -> None:
    """Refuse to start roles that could not reach each other.

    Raises:
        HostError: this machine does not reach itself.
    """
    with socket.socket() as listener, socket.socket() as client:
        client.settimeout(_LOOPBACK_TIMEOUT_S)
        try:
            listener.bind((host.address, 0))
            listener.listen()
            client.connect(listener.getsockname())
        except OSError as error:
            raise HostError(
                f"expected to reach itself at {host.address}, got: {error.strerror or error}",
                where=host.name,
                remedy="see `ip link show lo`; `ip link set lo up` starts the loopback interface",
            ) from None
