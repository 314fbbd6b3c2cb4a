"""The directory of a cluster on one host, with the record that its keeper writes there."""

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
from .wire import HostProblem, decoded, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Record = Dict[str, Any]

START_TIMEOUT_S = 30.0
"""A cluster's part either starts within this time or is given up."""
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
        self.checkpoints = os.path.join(self.path, "checkpoints")
        self.models = os.path.join(self.path, "models")
        self.socket = os.path.join(self.path, "agent.sock")
        self._record = os.path.join(self.path, "agent.json")

    @property
    def age_s(self) -> float:
        """The time since an entry was added or removed there; 0 if the directory is gone."""
        try:
            return time.time() - os.stat(self.path).st_mtime
        except OSError:
            return 0.0

    def make(self) -> None:
        """Create the directory, accessible to this user alone."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        directory.safe(self.directory, self.path)

    def write(self, record: Record) -> None:
        """Replace the record atomically."""
        aside = self._record + ".new"
        with open(aside, "w") as file:
            json.dump(record, file)
        os.replace(aside, self._record)

    def read(self) -> Record | None:
        """Return the record; None if it is missing or was not written by a keeper."""
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
        """Delete everything, and the cluster's directory if it is then empty.

        Args:
            but_logs: keep the logs and the record, for the user and for ``stop``.
        """
        if but_logs:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)
            for folder in (self.checkpoints, self.models):
                shutil.rmtree(folder, ignore_errors=True)
            return
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # another host uses it, or it is gone
            os.rmdir(os.path.dirname(self.path))


def scope(given: str | None = None) -> str:
    """Return the name under which a cluster takes the host.

    Several SSH servers on one machine, each on its own loopback address, count as several hosts.
    """
    if given:
        return given
    server = os.environ.get("SSH_CONNECTION", "").split()[2:3]  # client, its port, server, port
    is_one_of_many = server and server[0].startswith("127.") and server[0] != "127.0.0.1"
    return server[0] if is_one_of_many else "host"


def place(scope_name: str) -> dict[str, str]:
    """Return what identifies this host in records, whose directory several hosts may share."""
    return {"hostname": socket.gethostname(), "boot_id": _boot_id(), "scope": scope_name}


def host_id() -> str:
    """Return an id by which two names of this host can be told from two hosts.

    Containers share a kernel, and hosts may share a directory, so the id names what a cluster
    takes: one scope of one network namespace.
    """
    return f"{_boot_id()}/{os.readlink('/proc/self/ns/net')}/{scope()}"


def is_here(record: Record, scope_name: str) -> bool:
    """Return whether a record was written on this host, possibly before a restart."""
    here = place(scope_name)
    return all(record.get(key) == here[key] for key in ("hostname", "scope"))


def is_kept(record: Record | None) -> bool:
    """Return whether a record's keeper is alive on this machine."""
    if record is None or record.get("boot_id") != _boot_id():
        return False
    return process_table.is_alive(record["pid"], record["started"])


def all_states(home: str) -> Iterator[State]:
    """Yield the directories of all clusters and hosts."""
    root = os.path.join(directory.expanded(home), _CLUSTERS)
    for cluster in _listed(root):
        for host in _listed(os.path.join(root, cluster)):
            yield State(home, cluster, host)


def card(record: Record) -> Record:
    """Return a cluster's description for other users."""
    return {key: record.get(key) for key in _SHOWN}


def problem_of(error: OSError, path: str) -> HostProblem:
    """Return why something could not be written, with a remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space, or set [cluster] directory to another disk"
    else:
        remedy = "set [cluster] directory to one that you may write"
    problem = f"cannot write {error.filename or path}: {error.strerror}"
    return HostProblem(problem, remedy, kind_of(error))


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _listed(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError:
        return []
