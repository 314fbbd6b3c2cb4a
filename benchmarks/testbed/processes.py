"""Wait for processes to end, notified by the kernel and with a deadline; never by name."""

from __future__ import annotations

import os
import select
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self


class Witness:
    """Handles of processes, by which their end is seen even if they are not our children."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._stack = ExitStack()
        self._pids: dict[int, int] = {}
        for pid in pids:
            with suppress(ProcessLookupError):  # gone already
                self._pids[os.pidfd_open(pid)] = pid
        for fd in self._pids:
            self._stack.callback(os.close, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def alive_after(self, timeout_s: float) -> list[int]:
        """Return the processes that have not ended within the given time; at once if all have."""
        left = set(self._pids)
        deadline_s = time.monotonic() + timeout_s
        while left:
            remaining_s = deadline_s - time.monotonic()
            ended, _, _ = select.select(left, [], [], max(remaining_s, 0))
            if not ended:
                break
            left -= set(ended)
        return sorted(self._pids[fd] for fd in left)


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int


def of_session(session: int) -> list[int]:
    """Return the living processes of a session, to which all forks of its leader belong."""
    return [process.pid for process in _living() if process.session == session]


def children_of(parent: int) -> list[int]:
    """Return the living children of a process."""
    return [process.pid for process in _living() if process.parent == parent]


def descendants(pid: int) -> list[int]:
    """Return the living children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for process in _living():
        children.setdefault(process.parent, []).append(process.pid)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        waiting += (born := children.get(waiting.pop(), []))
        found += born
    return found


def state_of(pid: int) -> tuple[str, int, int]:
    """Return a process's state, parent and session.

    Raises:
        OSError: it has ended.
    """
    text = Path(f"/proc/{pid}/stat").read_text()
    state, parent, _, session, *_ = text.rpartition(")")[2].split()
    return state, int(parent), int(session)


def _living() -> Iterator[_Process]:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended in the meantime
            state, parent, session = state_of(int(path.name))
            if state not in "ZX":
                yield _Process(int(path.name), parent, session)
