"""Hosts as network namespaces: each with an address, a name, a home and a share of a core.

They share one bridge in a namespace of the controller's own, so nothing is created in the machine's
namespace. A namespace lives as long as its processes, all of which are ended when done. Needs root;
a share of a core also needs writable control groups.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from benchmarks.testbed import sshd
from benchmarks.testbed.processes import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS = ("ip", "nft", "nsenter", "unshare", "hostname")
_NETWORK = "10.77.0"
_CONTROLLER, _OUTSIDER = 254, 200  # last parts of their addresses; hosts count from 1
_CGROUPS = Path("/sys/fs/cgroup")
_TCP = {"congestion_control": "reno", "slow_start_after_idle": 0}
_LEGACY_QUOTA = "cpu.cfs_quota_us"
_PERIOD_US = 100_000  # the kernel's own default
_END_TIMEOUT_S = 5.0
_KINDS = ("net", "uts")
_END_SILENCE = "table inet silence\ndelete table inet silence\n"
_SILENCE = """
table inet silence {
  chain in { type filter hook input priority -300; iifname != "lo" drop; }
  chain out { type filter hook output priority -300; oifname != "lo" drop; }
}
"""
_HOLD = 'hostname "$0" && echo held && exec cat'  # until its input ends, as with the test


class NotPossibleError(RuntimeError):
    """This user, machine or container cannot create namespaces."""


class Namespace:
    """A machine as far as network and host name are concerned, held by a process."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"{_NETWORK}.{number}"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--uts", "sh", "-c", _HOLD, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self._holder.pid
        assert self._holder.stdout
        if not self._holder.stdout.readline():
            _, said = self._holder.communicate()
            raise NotPossibleError(f"no namespace can be made: {said.decode().strip()}")

    @property
    def within(self) -> tuple[str, ...]:
        """Return a prefix that runs the command after it in this namespace."""
        return ("nsenter", "--target", str(self.pid), "--net", "--uts", "--")

    def run(self, *command: str, given: str = "") -> str:
        """Run a command, which must succeed, and return its output."""
        done = subprocess.run(
            [*self.within, *command], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread into it, with all it starts; sockets created inside stay there."""
        with contextlib.ExitStack() as stack:
            for kind in _KINDS:
                own = stack.enter_context(Path("/proc/thread-self/ns", kind).open())
                there = stack.enter_context(Path(f"/proc/{self.pid}/ns", kind).open())
                _enter(there)
                stack.callback(_enter, own)
            yield

    def open_socket(self) -> socket.socket:
        """Create a TCP socket in this namespace, which any thread may use."""
        with self.entered():
            return socket.socket()

    def processes(self) -> list[int]:
        """Return the living processes in it."""
        here = Path(f"/proc/{self.pid}/ns/net").stat().st_ino
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended in the meantime
                if (path / "ns/net").stat().st_ino == here:
                    found.append(int(path.name))
        return found

    def end(self) -> None:
        """Kill everything in it, and last the holder, which removes it."""
        while found := [pid for pid in self.processes() if pid != self.pid]:
            with Witness(found) as witness:
                for pid in found:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                left = witness.alive_after(_END_TIMEOUT_S)
            assert not left
        self._holder.kill()
        self._holder.communicate()


def _enter(namespace: TextIO) -> None:
    """Move this thread there; Python has a function for it from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), 0):
        raise OSError(ctypes.get_errno(), "setns")


class Network(NamedTuple):
    """Hosts, a controller that reaches them, and an outsider on the same network.

    Attributes:
        nodes: the hosts as namespaces, by name.
        no_quota: why hosts have no share of the cores of their own; empty if they have.
        groups: name of a host -> its control group.
    """

    hosts: sshd.Hosts
    nodes: dict[str, Namespace]
    controller: Namespace
    outsider: Namespace
    no_quota: str
    groups: dict[str, Path]

    def plug(self, node: str) -> None:
        """Connect a host to the network."""
        self.controller.run("ip", "link", "set", node, "up")

    def unplug(self, node: str) -> None:
        """Cut a host's link, like its cable: everything that it sends or is sent is lost."""
        self.controller.run("ip", "link", "set", node, "down")

    def silence(self, node: str) -> None:
        """Drop every packet from and to a host: no reset, no network error, the link stays up."""
        self.nodes[node].run("nft", "-f", "-", given=_SILENCE)

    def limit(self, node: str, cores: float, period_us: int = _PERIOD_US) -> None:
        """Give a host another share of the cores, spent anew in every period."""
        _set_quota(self.groups[node], cores, period_us)

    def shape(self, node: str, bit_per_s: float) -> None:
        """Limit the rate of a host's link, in each direction. Idempotent.

        A bucket of a few frames, so that a message has no start at full speed; a queue that never
        drops what TCP has in flight. New connections are Reno's, without a slow start after a
        pause: BBR, and that start, leave up to a third of a shared link unused.
        """
        shaped = ("tbf", "rate", f"{bit_per_s:.0f}bit", "burst", "5kb", "limit", "8mb")
        for name, value in _TCP.items():
            self.nodes[node].run("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/tcp_{name}")
        for end, device in ((self.nodes[node], "eth0"), (self.controller, node)):
            end.run("tc", "qdisc", "replace", "dev", device, "root", *shaped)

    def end_silence(self, node: str) -> None:
        """Let packets pass again. Idempotent."""
        self.nodes[node].run("nft", "-f", "-", given=_END_SILENCE)


@contextlib.contextmanager
def network(count: int, directory: Path, *, cores: float | None = None) -> Iterator[Network]:
    """Create hosts with SSH servers, and end all of them when done.

    Args:
        count: number of hosts.
        directory: for keys, logs and home directories; created if it does not exist.
        cores: number of cores that each host may use; None for no limit.

    Raises:
        NotPossibleError: not root, a program is missing, or the kernel refuses.
    """
    refuse_without()
    names = [f"node{number}" for number in range(1, count + 1)]
    with contextlib.ExitStack() as stack:

        def make(name: str, number: int) -> Namespace:
            made = Namespace(name, number)
            stack.callback(made.end)
            return made

        controller = make("controller", _CONTROLLER)
        outsider = make("outsider", _OUTSIDER)
        nodes = {name: make(name, number) for number, name in enumerate(names, start=1)}
        _connect(controller, [outsider, *nodes.values()])
        groups: dict[str, Path] = {}
        no_quota = "" if cores else "no limit was asked for"
        try:
            if cores:
                groups = {name: stack.enter_context(_group(name, cores)) for name in names}
        except OSError as error:
            no_quota = f"no control group with a CPU quota can be made: {error}"
        sites = [
            sshd.Site(
                node.address,
                port=22,
                within=(*_within_group(groups.get(name)), *node.within),
                open_socket=controller.open_socket,
            )
            for name, node in nodes.items()
        ]
        hosts = stack.enter_context(sshd.hosts(count, directory, sites=sites))
        yield Network(hosts, nodes, controller, outsider, no_quota, groups)


def refuse_without() -> None:
    """Refuse what cannot be made here.

    Raises:
        NotPossibleError: not root, or a program is missing.
    """
    if os.geteuid() != 0:
        raise NotPossibleError("namespaces are made by root alone")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise NotPossibleError(f"{', '.join(missing)} not installed")
    try:
        sshd.find_program()
    except sshd.NotInstalledError as error:
        raise NotPossibleError(str(error)) from error


def _connect(hub: Namespace, others: Sequence[Namespace]) -> None:
    """Give the hub a bridge, and each of the others a link to it."""
    lines = [
        "link set lo up",
        "link add bridge type bridge",
        f"address add {hub.address}/24 dev bridge",
        "link set bridge up",
    ]
    for other in others:
        lines += [
            f"link add {other.name} type veth peer name eth0 netns {other.pid}",
            f"link set {other.name} master bridge up",
        ]
    hub.run("ip", "-batch", "-", given="\n".join(lines))
    for other in others:
        own = ["link set lo up", f"address add {other.address}/24 dev eth0", "link set eth0 up"]
        other.run("ip", "-batch", "-", given="\n".join(own))


@contextlib.contextmanager
def _group(name: str, cores: float) -> Iterator[Path]:
    """Create a control group, of version 1 or 2, whose processes get this number of cores.

    Raises:
        OSError: it cannot be made, or has no quota.
    """
    legacy = (_CGROUPS / "cpu" / _LEGACY_QUOTA).exists()
    base = _CGROUPS / "cpu" if legacy else _CGROUPS
    group = base / f"dnnbench-test-{uuid.uuid4().hex[:8]}-{name}"
    group.mkdir()
    try:
        if not legacy and not (group / "cpu.max").exists():  # not handed down yet
            (base / "cgroup.subtree_control").write_text("+cpu")
        _set_quota(group, cores, _PERIOD_US)
        yield group
    finally:
        _kill_group(group)
        group.rmdir()


def _set_quota(group: Path, cores: float, period_us: int) -> None:
    quota_us = str(round(cores * period_us))
    if (group / _LEGACY_QUOTA).exists():
        (group / "cpu.cfs_period_us").write_text(str(period_us))
        (group / _LEGACY_QUOTA).write_text(quota_us)
    else:
        (group / "cpu.max").write_text(f"{quota_us} {period_us}")


def _within_group(group: Path | None) -> tuple[str, ...]:
    if group is None:
        return ()
    return ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group))


def _kill_group(group: Path) -> None:
    """End what is still in a group; the kernel removes none with processes in it."""
    while found := [int(pid) for pid in (group / "cgroup.procs").read_text().split()]:
        with Witness(found) as witness:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert not witness.alive_after(_END_TIMEOUT_S)
