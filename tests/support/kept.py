"""Hosts with keepers on this machine, without SSH: commands and relays are plain processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from benchmarks.testbed.processes import Witness
from dnnbench.errors import HostError
from dnnbench.sweep.failures import HARMLESS
from support import PROJECT, SUPPORT, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Self

TIMEOUT_S = 20.0
PYTHON_PATH = [str(PROJECT), str(TESTS)]
TOOLS = [sys.executable, "-m", "dnnbench.hosts.onhost"]


class Relay:
    """A connection to a keeper, with the interface of an SSH connection's stream."""

    errors = ""

    def __init__(self, socket_path: str) -> None:
        self.process = subprocess.Popen(
            [*TOOLS, "relay", socket_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            bufsize=0,
        )
        self._arrived = b""

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(data)
        except OSError as error:
            raise HostError(str(error)) from error

    def read_line(self, timeout_s: float | None = TIMEOUT_S) -> bytes:
        assert self.process.stdout
        deadline_s = time.monotonic() + (timeout_s or TIMEOUT_S)
        while b"\n" not in self._arrived:
            left_s = max(deadline_s - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left_s)[0]:
                raise HostError(f"nothing for {timeout_s} s")
            chunk = self.process.stdout.read(1 << 16)
            if not chunk:
                break
            self._arrived += chunk
        line, end, self._arrived = self._arrived.partition(b"\n")
        return line + end

    def close(self) -> None:
        """End it; its pipes stay open, because another thread may be reading."""
        self.process.kill()
        self.process.wait()

    def dispose(self) -> None:
        self.close()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()

    def say(self, **message: Any) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        """Return the next message; empty at the end."""
        message: dict[str, Any] = json.loads(self.read_line() or b"{}")
        return message

    def hear_event(self, kind: str) -> dict[str, Any]:
        """Return the next event of a kind, skipping everything before it."""
        while message := self.hear():
            if message.get("event", {}).get("event") == kind:
                event: dict[str, Any] = message["event"]
                return event
        raise AssertionError(f"no {kind} any more")


class KeptHost:
    """A host, as far as a keeper can see; its keepers end with it.

    Args:
        directory: dnnbench's directory on that host.
        agent: file name of the agent's script in this folder.
        name: the host's name.

    Attributes:
        within: a prefix that runs the command after it under some limit.
    """

    def __init__(
        self, directory: Path, agent: str = "agent_without_tensorflow.py", name: str = "node1"
    ) -> None:
        self.directory = directory
        self.name = name
        self.scope = f"test-{uuid.uuid4().hex[:8]}"
        self.within: tuple[str, ...] = ()
        self.relays: list[Relay] = []
        self.keepers: list[int] = []
        self.python = directory / "env" / agent
        self.python.parent.mkdir(parents=True, exist_ok=True)
        # Called as `python -S -m dnnbench.training.start …`.
        self.python.write_text(
            f"#!/bin/sh\nPYTHONPATH={TESTS}:$PYTHONPATH exec {sys.executable} {SUPPORT / agent}\n"
        )
        self.python.chmod(0o700)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.keepers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for state in (self.directory / "clusters").glob(f"*/{self.name}"):
            self.call("stop", cluster=state.parent.name)
        for relay in self.relays:
            relay.dispose()

    def state(self, cluster: str = "c1") -> Path:
        return self.directory / "clusters" / cluster / self.name

    def call(self, command: str, **request: Any) -> dict[str, Any]:
        """Run a command and return its answer, good or bad."""
        asked = {"directory": str(self.directory), "host": self.name, **request}
        done = subprocess.run(
            [*self.within, *TOOLS, command],
            input=json.dumps({"scope": self.scope, **asked}).encode() + b"\n",
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            timeout=TIMEOUT_S,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == ("error" in answer)
        return answer

    def start(self, **changes: Any) -> dict[str, Any]:
        answer = self.call("start", **self.start_request(**changes))
        if "pid" in answer:
            self.keepers.append(answer["pid"])
        return answer

    def start_request(self, **changes: Any) -> dict[str, Any]:
        return {
            "directory": str(self.directory),
            "cluster": "c1",
            "host": self.name,
            "owner": "alice@laptop",
            "purpose": "sweep quick",
            "lease_s": 60.0,
            "grace_s": 30.0,
            "share": False,
            "port_range": [21000, 21999],
            "ports": 2,
            "python": f"env/{self.python.name}",
            "pythonpath": PYTHON_PATH,
            "inherited": ["PATH", "HOME", "LC_*"],
            "environment": {},
            "harmless": HARMLESS,
            "requires": ["env"],
            "firewall": None,
            **changes,
        }

    def relay(self, cluster: str = "c1") -> Relay:
        relay = Relay(str(self.state(cluster) / "agent.sock"))
        self.relays.append(relay)
        return relay

    def attach(self, controller: str = "me", read_on_from: int | None = None) -> Relay:
        """Connect and send ``hello``; the answer is not read yet."""
        relay = self.relay()
        hello = {"controller": controller, "purpose": "trial", "read_on_from": read_on_from}
        relay.say(hello=hello)
        return relay

    def attach_ready(self, controller: str = "me") -> Relay:
        """Connect and wait for the agent."""
        relay = self.attach(controller)
        if relay.hear()["welcome"]["ready"] is None:
            relay.hear_event("agent_ready")
        return relay


def end_of(pids: Iterable[int]) -> list[int]:
    """Wait for processes to end; return those that have not."""
    with Witness(pids) as witness:
        return witness.alive_after(TIMEOUT_S)
