"""Find and end a cluster's processes by the mark in their environment; never by name."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CLUSTER = "DNNBENCH_CLUSTER"
STATE = "DNNBENCH_STATE"
"""Names of the mark: the cluster's id, and the directory of its keeper. A fork keeps both."""

_PAUSE_S = 0.02


class Marked(NamedTuple):
    """A living process of a cluster."""

    pid: int
    cluster: str
    state: str


def environment(cluster: str, state: str) -> dict[str, str]:
    """Return the mark."""
    return {CLUSTER: cluster, STATE: state}


def marked() -> Iterator[Marked]:
    """Yield this user's processes that carry a mark, without zombies: they have no environment."""
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                pairs = (entry.partition(b"=") for entry in file.read().split(b"\0"))
        except OSError:
            continue  # it has ended in the meantime
        found = {name: value for name, _, value in pairs}
        if STATE.encode() in found:
            cluster = os.fsdecode(found.get(CLUSTER.encode(), b""))
            yield Marked(pid, cluster, os.fsdecode(found[STATE.encode()]))


def of_state(state: str, session: int | None = None) -> list[int]:
    """Return the processes of one keeper.

    Args:
        state: the keeper's directory.
        session: the agent's session, to include processes that cleared their environment. Only
            before the agent is waited for: until then, its number cannot be reused.
    """
    found = {process.pid for process in marked() if process.state == state}
    if session is not None:
        found.update(pid for pid in _pids() if _session(pid) == session)
    return sorted(found)


def end(state: str, session: int | None, timeout_s: float) -> tuple[int, list[int]]:
    """Kill the processes of one keeper, including those that they fork in the meantime.

    Returns:
        The number of processes that have ended, and those that have not in time.
    """
    seen: set[int] = set()
    deadline_s = time.monotonic() + timeout_s
    while True:
        left = of_state(state, session)
        seen.update(left)
        if not left or time.monotonic() > deadline_s:
            return len(seen) - len(left), left
        for pid in left:
            with contextlib.suppress(OSError):  # it has already ended
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_S)


def _pids() -> Iterator[int]:
    user = os.geteuid()
    return (int(name) for name in os.listdir("/proc") if name.isdigit() and _is_of(user, name))


def _is_of(user: int, name: str) -> bool:
    try:
        return os.stat(f"/proc/{name}").st_uid == user
    except OSError:  # it has ended in the meantime
        return False


def _session(pid: int) -> int | None:
    """Return the session of a living process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _, _, session, *_ = file.read().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in (b"Z", b"X") else int(session)
