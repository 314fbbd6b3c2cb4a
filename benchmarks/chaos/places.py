"""A place for sweeps: three hosts with SSH servers and a controller, each a network of its own.

Whatever a sweep starts stays in one of these networks, so that what it leaves behind is found
whatever it did to its name, session or environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.processes import BenchmarkError, environment
from benchmarks.testbed import namespaces
from benchmarks.testbed.farm import Farm
from benchmarks.testbed.processes import state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.testbed.namespaces import Namespace, Network

HOSTS: Final = ("node1", "node2", "node3")
LOCALHOST: Final = "localhost"
_HOME_SIZE: Final = "64m"
_CLEAR_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.05
_CLONE_NEWNS: Final = 0x00020000
_TRAINING: Final = b"dnnbench.training.agent"
_TOOLS: Final = b"# dnnbench: run the tools"
_SETTINGS: Final = "connect_timeout_s = 2\ntries = 1\n"
"""Of SSH: a user who does not wait long for a host that is down."""


class Process(NamedTuple):
    """A living process.

    Attributes:
        parent, session: as numbers.
        kind: ``agent``, ``role``, ``tools`` (a keeper, or one that talks to it), ``sshd session``,
            ``sshd`` or ``other``.
    """

    pid: int
    parent: int
    session: int
    kind: str


class Place:
    """Hosts, and commands on their controller.

    Attributes:
        directory: for the user's directories.
        network: the hosts.
    """

    def __init__(self, network: Network, farm: Farm, directory: Path) -> None:
        self.network = network
        self.directory = directory
        self._farm = farm
        self._own = {pid for node in self._namespaces for pid in node.processes()}

    @property
    def _namespaces(self) -> list[Namespace]:
        return [self.network.controller, *self.network.nodes.values()]

    def home(self, host: str) -> Path:
        """Return the home directory on a host, a small file system of its own."""
        return next(sshd.home for sshd in self.network.hosts.sshds if sshd.name == host)

    def seat(self, name: str, *, with_hosts: bool) -> Path:
        """Make a directory in which to run commands, with settings for the hosts or without."""
        if with_hosts:
            directory = self._farm.seat(name)
            settings = directory / "dnnbench.toml"
            settings.write_text(settings.read_text().replace("[ssh]\n", f"[ssh]\n{_SETTINGS}", 1))
        else:
            directory = self.directory / name
            directory.mkdir()
        return directory

    def command(self, *arguments: str, before: Iterable[str] = ()) -> list[str]:
        """Return a command of dnnbench on the controller; exec'd, so that its id is dnnbench's."""
        program = [sys.executable, "-m", "dnnbench", *arguments]
        return [*self.network.controller.within, *before, *program]

    # --- processes --------------------------------------------------------------------------------

    def on(self, host: str) -> list[Process]:
        """Return the processes that sweeps have on a host, or on the controller for localhost."""
        node = self.network.controller if host == LOCALHOST else self.network.nodes[host]
        found = (_process(pid) for pid in node.processes() if pid not in self._own)
        return [process for process in found if process]

    def left(self, timeout_s: float, but: Iterable[int] = ()) -> list[str]:
        """Wait until no process of a sweep is left; return those that still are, in words."""
        deadline_s = time.monotonic() + timeout_s
        spared = set(but)
        while True:
            left = [
                f"{process.kind} {process.pid} on {host}"
                for host in (LOCALHOST, *HOSTS)
                for process in self.on(host)
                if process.pid not in spared
            ]
            if not left or time.monotonic() > deadline_s:
                return left
            time.sleep(_POLL_S)

    def clear(self) -> None:
        """Kill what is left, and heal the network and the disks.

        Raises:
            BenchmarkError: something cannot be killed.
        """
        for name in HOSTS:
            self.network.end_silence(name)
            self.network.nodes[name].run("nft", "flush", "ruleset")
            (self.home(name) / FILLER).unlink(missing_ok=True)
        deadline_s = time.monotonic() + _CLEAR_TIMEOUT_S
        while left := [p.pid for host in (LOCALHOST, *HOSTS) for p in self.on(host)]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"processes {left} cannot be killed")
            time.sleep(_POLL_S)


FILLER: Final = "filler"
"""File that takes all space on a file system."""


def fill(directory: Path) -> None:
    """Fill the file system of a directory."""
    with contextlib.suppress(OSError), (directory / FILLER).open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def mount_memory(path: Path, size: str) -> None:
    """Mount a small file system in memory.

    Raises:
        BenchmarkError: it is not possible.
    """
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"no file system can be mounted: {done.stderr.strip()}")


def unmount(path: Path) -> None:
    """Unmount a file system, at the latest when nothing uses it any more."""
    subprocess.run(["umount", "--lazy", str(path)], check=False)


def hide_mounts() -> None:
    """Move this thread, and all that it starts, to a mount namespace, which ends with them.

    Raises:
        BenchmarkError: it is not possible.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        problem = os.strerror(ctypes.get_errno())
        raise BenchmarkError(f"no mount namespace can be made, which needs root: {problem}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@contextlib.contextmanager
def place(directory: Path) -> Iterator[Place]:
    """Make a place; end all that runs there when done.

    Raises:
        BenchmarkError: this user or machine cannot make one.
    """
    directory.mkdir(parents=True)
    net = directory / "network"
    with contextlib.ExitStack() as stack:
        for name in HOSTS:
            mount_memory(net / f"{name}_home", _HOME_SIZE)
            stack.callback(unmount, net / f"{name}_home")
        try:
            network = stack.enter_context(namespaces.network(len(HOSTS), net))
        except namespaces.NotPossibleError as error:
            raise BenchmarkError(str(error)) from None
        farm = Farm(network.hosts, directory, slots=1)
        farm.equip()
        made = Place(network, farm, directory)
        done = subprocess.run(
            made.command("provision", "--dataset", "synthetic-mnist"),
            cwd=farm.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300.0,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"the hosts cannot be provisioned: {done.stderr}")
        yield made


def _process(pid: int) -> Process | None:
    """Describe a process; None if it has ended."""
    try:
        state, parent, session = state_of(pid)
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    if state in "ZX":
        return None
    kind = "other"
    if _TRAINING in command:
        kind = "agent" if session == pid else "role"
    elif _TOOLS in command:
        kind = "tools"
    elif command.startswith(b"sshd: "):
        kind = "sshd" if b"[listener]" in command else "sshd session"
    return Process(pid, parent, session, kind)
