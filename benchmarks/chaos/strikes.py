"""Strikes against the processes of a running sweep: signals, limits, and who was hit."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.chaos.places import HOSTS, LOCALHOST
from benchmarks.chaos.sweeps import MissedError, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from benchmarks.chaos.places import Process
    from benchmarks.chaos.sweeps import Moment, Sweep

_SPARE_BYTES: Final = 1 << 20
"""Of address space above what a process has when it is limited."""
_LONGEST_PAUSE_S: Final = 12.0
_EPOCH_S: Final = 1.5


class Strike(NamedTuple):
    """A fault that was injected.

    Attributes:
        at_s: seconds since 1970.
        target: in words.
        tasks, hosts: that may be blamed.
        is_task: whether a task was struck, which has to be named.
        heal: ends the fault.
    """

    at_s: float
    target: str
    tasks: frozenset[str]
    hosts: frozenset[str]
    is_task: bool = False
    heal: Callable[[], None] = lambda: None


Struck = tuple[str, str, int]
"""What it is, its host, and its process."""


def hosts_of(sweep: Sweep) -> tuple[str, ...]:
    """Return the hosts that a sweep uses."""
    return HOSTS if sweep.is_on_hosts else (LOCALHOST,)


def task_of(job: str) -> Callable[[Sweep, Moment, Random], Struck]:
    """Return how to find the role of a random task of a job."""

    def find(sweep: Sweep, moment: Moment, rng: Random) -> Struck:
        task = rng.choice(sorted(task for task in sweep.tasks if task.startswith(job)))
        pids = sweep.timeline(moment.trial).pids
        if task not in pids:
            raise MissedError(f"{task} has not started")
        pid = pids[task]
        for host in hosts_of(sweep):
            if any(process.pid == pid for process in sweep.place.on(host)):
                return task, host, pid
        raise MissedError(f"{task} has ended")

    return find


def agent(sweep: Sweep, _moment: Moment, rng: Random) -> Struck:
    """Find the agent of a random host."""
    return _of_kind(sweep, "agent", rng)


def session(sweep: Sweep, _moment: Moment, rng: Random) -> Struck:
    """Find an SSH session of a random host."""
    return _of_kind(sweep, "sshd session", rng)


def keeper(sweep: Sweep, _moment: Moment, rng: Random) -> Struck:
    """Find the keeper of a random host: the parent of its agent."""
    _, host, found = _of_kind(sweep, "agent", rng)
    parents = {process.pid: process.parent for process in sweep.place.on(host)}
    if found not in parents:
        raise MissedError("the agent has ended")
    return "keeper", host, parents[found]


def controller(sweep: Sweep, _moment: Moment, _rng: Random) -> Struck:
    """Find the controller."""
    return "controller", LOCALHOST, sweep.pid


def _of_kind(sweep: Sweep, kind: str, rng: Random) -> Struck:
    host = rng.choice(hosts_of(sweep))
    found: list[Process] = []

    def is_there() -> bool:
        found[:] = [process for process in sweep.place.on(host) if process.kind == kind]
        return bool(found)

    sweep.await_that(is_there, f"{kind} on {host}")
    return kind, host, rng.choice(sorted(found)).pid


def at(
    sweep: Sweep, moment: Moment, struck: Struck, what: str, **more: Callable[[], None]
) -> Strike:
    """Describe a strike of this moment."""
    name, host, pid = struck
    tasks = {name} & sweep.tasks or tasks_on(sweep, moment, host)
    is_task = name in sweep.tasks
    return Strike(
        time.time(),
        f"{what} {name} {pid} on {host}",
        frozenset(tasks),
        frozenset({host}),
        is_task,
        **more,
    )


def tasks_on(sweep: Sweep, moment: Moment, host: str) -> set[str]:
    """Return the tasks of a trial on a host."""
    here = {process.pid for process in sweep.place.on(host)}
    pids = sweep.timeline(moment.trial).pids
    return {task for task, pid in pids.items() if pid in here}


def by_signal(
    number: int, find: Callable[[Sweep, Moment, Random], Struck]
) -> Callable[[Sweep, Moment, Random], Strike]:
    """Return a strike by a signal; one that stops a process is lifted at the end of the case."""

    def strike(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
        struck = find(sweep, moment, rng)
        pid = struck[2]
        found = at(sweep, moment, struck, signal.Signals(number).name, heal=lambda: resume(pid))
        _send(pid, number)
        return found

    return strike


def paused(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Stop the controller for some seconds, longer than the trial's own limits may be."""
    found = at(sweep, moment, controller(sweep, moment, rng), "SIGSTOP")
    _send(sweep.pid, signal.SIGSTOP)
    seconds = rng.uniform(_EPOCH_S, _LONGEST_PAUSE_S)
    try:
        sweep.pause(seconds)
    finally:
        resume(sweep.pid)
    return found._replace(target=f"{found.target} for {seconds:.1f} s")


def memory_limit(sweep: Sweep, moment: Moment, rng: Random) -> Strike:
    """Leave a role no more memory than it has, or an agent, which forks its roles."""
    struck = rng.choice((task_of("worker"), task_of("ps")))(sweep, moment, rng)
    pid = struck[2]
    found = at(sweep, moment, struck, "memory limit on")
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + _SPARE_BYTES
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    except (OSError, ProcessLookupError) as error:
        raise MissedError("it has ended") from error
    return found


def resume(pid: int) -> None:
    """Let a stopped process run again, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _send(pid: int, number: int) -> None:
    """Send a signal.

    Raises:
        MissedError: the process has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        if text.rpartition(")")[2].split()[0] in "ZX" or not is_alive(pid):
            raise MissedError("it has ended")
        os.kill(pid, number)
    except OSError as error:
        raise MissedError("it has ended") from error
