"""The directory of one cluster on one host, and what its keeper wrote there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import time
from typing import TYPE_CHECKING, Any, Dict

from . import directory, process_table
from .wire import HostProblem, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = Dict[str, Any]

START_TIMEOUT_S = 30.0
"""A cluster's part has started within that, or is given up."""
_RECORD_BYTES = 1 << 20
_CLUSTERS = "clusters"
_SHOWN = (
    "cluster",
    "host",
    "owner",
    "purpose",
    "since",
    "pid",
    "ports",
    "package",
    "launcher",
    "socket",
    "firewall",
)


class State:
    """``<dir>/clusters/<cluster>/<host>``: per host, because hosts may share a home directory."""

    def __init__(self, home: str, cluster: str, host: str) -> None:
        for name in (cluster, host):
            if not name or "/" in name or name.startswith("."):
                raise HostProblem(f"expected a name, found {name!r}")
        self.cluster = cluster
        self.host = host
        self.name = f"{cluster}/{host}"
        self.directory = directory.expanded(home)
        self.path = os.path.join(self.directory, _CLUSTERS, cluster, host)
        self.agent_log = os.path.join(self.path, "agent.log")
        self.keeper_log = os.path.join(self.path, "keeper.log")
        self.models = os.path.join(self.path, "models")
        self.socket = os.path.join(self.path, "agent.sock")
        self._record = os.path.join(self.path, "agent.json")

    @property
    def age_s(self) -> float:
        """Return how long nothing has been put there or taken away; 0 if it is gone."""
        try:
            return time.time() - os.stat(self.path).st_mtime
        except OSError:
            return 0.0

    def make(self) -> None:
        """Make the directory; nobody else may look into it."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        directory.safe(self.directory, self.path)

    def write(self, record: Record) -> None:
        """Replace the record as a whole."""
        aside = self._record + ".new"
        with open(aside, "w") as file:
            json.dump(record, file)
        os.replace(aside, self._record)

    def read(self) -> Record | None:
        """Return the record; None if there is none that a keeper wrote."""
        try:
            with open(self._record, "rb") as file:
                record = decoded(file.read(_RECORD_BYTES))
        except (OSError, ValueError):
            return None
        is_ours = isinstance(record, dict) and all(
            isinstance(record.get(key), int) for key in ("pid", "started")
        )
        return record if is_ours else None

    def remove(self, *, but_logs: bool = False) -> None:
        """Take everything away, with the cluster's directory if it is empty then.

        Args:
            but_logs: leave them and the record, for people and for ``stop``.
        """
        if but_logs:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)
            shutil.rmtree(self.models, ignore_errors=True)
            return
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # another host is in it, or it is gone
            os.rmdir(os.path.dirname(self.path))


def scope(given: str | None = None) -> str:
    """Name what a cluster takes when it takes the host.

    Many SSH servers on one machine, on loopback addresses of their own, stand for as many hosts.
    """
    if given:
        return given
    server = os.environ.get("SSH_CONNECTION", "").split()[2:3]  # client, its port, server, port
    is_one_of_many = server and server[0].startswith("127.") and server[0] != "127.0.0.1"
    return server[0] if is_one_of_many else "host"


def place(scope_name: str) -> dict[str, str]:
    """Say which host this is, for records in a directory that several hosts share."""
    return {"hostname": socket.gethostname(), "boot_id": _boot_id(), "scope": scope_name}


def host_id() -> str:
    """Name this host so that two names of it can be told from two hosts.

    Containers share a kernel, and hosts may share a directory; what a cluster takes is one scope of
    one network namespace.
    """
    return f"{_boot_id()}/{os.readlink('/proc/self/ns/net')}/{scope()}"


def is_here(record: Record, scope_name: str) -> bool:
    """Tell whether a record was written on this host, be it before a restart."""
    here = place(scope_name)
    return all(record.get(key) == here[key] for key in ("hostname", "scope"))


def is_kept(record: Record | None) -> bool:
    """Tell whether the keeper lives that wrote this record on this machine."""
    if record is None or record.get("boot_id") != _boot_id():
        return False
    return process_table.is_alive(record["pid"], record["started"])


def all_states(home: str) -> Iterator[State]:
    """Yield every cluster's directory, of whichever host."""
    root = os.path.join(directory.expanded(home), _CLUSTERS)
    for cluster in _listed(root):
        for host in _listed(os.path.join(root, cluster)):
            yield State(home, cluster, host)


def card(record: Record) -> Record:
    """Return what others may know of a cluster."""
    return {key: record.get(key) for key in _SHOWN}


def problem_of(error: OSError, path: str) -> HostProblem:
    """Say in one line why something could not be written, and the cure."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space, or set [cluster] directory to another disk"
    else:
        remedy = "set [cluster] directory to one that you may write"
    return HostProblem(f"cannot write {error.filename or path}: {error.strerror}", remedy)


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _listed(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError:
        return []
