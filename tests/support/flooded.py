"""Read what hostile hosts send, with little memory to spare: each function is one such host."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dnnbench.errors import HostError
from dnnbench.hosts import local
from dnnbench.hosts.provision.tools import HostTools
from dnnbench.hosts.ssh.connection import connect
from dnnbench.hosts.ssh.settings import resolve
from dnnbench.settings.hostlists.host import HostConfig
from dnnbench.settings.schema import Config, ProvisionConfig, SshConfig
from dnnbench.sweep.placement import local_inventory
from dnnbench.trial.messages import Log, encode

if TYPE_CHECKING:
    from dnnbench.hosts.ssh.connection import Connection

SPARE_BYTES = 256 << 20
TIMEOUT_S = 30.0
STILL_S = 1.0
AGENT = """\
#!{python}
import sys
with open({written!r}, "w") as written:
    while True:
        sys.stdout.buffer.write({line!r})
        written.write(".")
        written.flush()
"""


def bound_memory() -> None:
    """Allow this process little more address space than it already has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def await_standstill(file: Path) -> None:
    """Wait until a file has not grown for a while."""
    deadline_s = time.monotonic() + TIMEOUT_S
    size, since_s = 0, time.monotonic()
    while not size or time.monotonic() - since_s < STILL_S:
        assert time.monotonic() < deadline_s, "the agent never has to wait"
        time.sleep(0.05)
        found = file.stat().st_size if file.exists() else 0
        if found != size:
            size, since_s = found, time.monotonic()


def agent_that_writes(line: bytes) -> None:
    """Start an agent that writes a line over and over; read nothing until it has to wait."""
    with tempfile.TemporaryDirectory() as directory:
        script, written = Path(directory) / "agent", Path(directory) / "written"
        script.write_text(AGENT.format(python=sys.executable, written=str(written), line=line))
        script.chmod(0o755)
        sys.executable = str(script)
        bound_memory()
        with local.LocalAgents().start(local_inventory(), 1, Path(directory), print) as agents:
            await_standstill(written)
            arrival = agents.next(agents.now_s() + 10.0, ["localhost"])
            assert arrival is not None
            print(arrival.what if isinstance(arrival.what, HostError) else "an event")  # noqa: T201


def endless_line() -> None:
    agent_that_writes(b"x" * 65_536)


def endless_events() -> None:
    agent_that_writes(encode(Log(task="worker:0", line="x" * 20_000)))


def connected() -> Connection:
    given = json.loads(sys.argv[2])
    host = HostConfig(**given["host"])
    settings = SshConfig(**given["settings"])
    return connect(resolve([host], settings)["node1"], settings)


def endless_answer() -> None:
    with closing(connected()) as connection:
        bound_memory()
        try:
            connection.run("cat /dev/zero", name="facts")
        except HostError as error:
            print(error)  # noqa: T201


def endless_errors() -> None:
    with closing(connected()) as connection:
        bound_memory()
        done = connection.run("head -c 300000000 /dev/zero >&2; echo end >&2", timeout_s=60.0)
        print(done.code, len(done.stderr) < 1 << 20, done.stderr.endswith(b"end\n"))  # noqa: T201


def endless_stream() -> None:
    with closing(connected()) as connection:
        bound_memory()
        with closing(connection.open("cat /dev/zero")) as stream:
            print(len(stream.read_line(10.0)))  # noqa: T201


def endless_facts() -> None:
    """Ask a host whose Python prints without end."""
    with closing(connected()) as connection:
        connection.push(b"#!/bin/sh\nexec cat /dev/zero\n", "~/python")
        connection.run("chmod +x ~/python")
        home = connection.run('printf %s "$HOME"').stdout.decode()
        provision = ProvisionConfig(python=f"{home}/python")
        tools = HostTools(connection, Config(provision=provision))
        bound_memory()
        try:
            tools.call("facts")
        except HostError as error:
            print(error)  # noqa: T201


if __name__ == "__main__":
    globals()[sys.argv[1]]()
