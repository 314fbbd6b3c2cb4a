"""The agent: one process per host that imports TensorFlow once and forks one role per task.

Started by `dnnbench.training.start`, it reads orders on standard input and writes events, its own
and those of its roles, where standard output was, one JSON line each. It ends, and its roles with
it, when standard input ends: that is the end of the controller. It has one thread and no TensorFlow
runtime, so a fork is safe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import selectors
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING

import msgspec

from dnnbench.errors import DataError, DnnbenchError
from dnnbench.kernel import killed_for_memory, oom_kills
from dnnbench.training.libraries import import_libraries
from dnnbench.training.lines import Lines, write_all
from dnnbench.training.prepare import Preparer
from dnnbench.training.roles import parameter_server, worker
from dnnbench.training.roles.channel import CAUSE_CHARACTERS, Channel, telling_line
from dnnbench.training.roles.checkpoints import remove_checkpoints
from dnnbench.training.roles.process import die_with_parent, redirect_standard_streams
from dnnbench.trial.machine import snapshot
from dnnbench.trial.messages import (
    AgentFailed,
    AgentReady,
    Connect,
    Event,
    Finish,
    Go,
    HostUsed,
    Log,
    Order,
    Prepare,
    Prepared,
    Respond,
    Responding,
    Restart,
    RoleExited,
    RoleFailed,
    Start,
    Stop,
    WarmUp,
    decode_order,
    encode,
)
from dnnbench.trial.tasks import AGENT, PARAMETER_SERVER, split_task
from dnnbench.trial.usage import read_use, use_between

if TYPE_CHECKING:
    from dnnbench.errors import CauseKind
    from dnnbench.training.prepare import PreparedTrial
    from dnnbench.trial.usage import Reading

_LOG_LINE_BYTES = 1 << 16
"""Longest line of a log in one event, which stays far below `LINE_BYTES` with all its escapes."""


class _Role:
    """A forked role, seen from the agent."""

    def __init__(self, task: str, pid: int, orders_fd: int, events_fd: int, log_fd: int) -> None:
        self.task = task
        self.pid = pid
        self.orders_fd = orders_fd
        self.events = Lines(events_fd)
        self.log = Lines(log_fd, _LOG_LINE_BYTES)
        self.open_fds = {events_fd, log_fd}
        self.oom_kills = oom_kills()  # before its end

    def send(self, line: bytes) -> None:
        """Pass on an order; nothing happens if the role is gone, as its exit code will tell."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.orders_fd, line)

    def kill(self) -> None:
        """End the role's process group; harmless where it is gone already."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Agent:
    """Carries out the orders of one controller.

    Args:
        preparer: prepares its trials.
        events_fd: file descriptor to write events to.
    """

    def __init__(self, preparer: Preparer, events_fd: int) -> None:
        self._events_fd = events_fd
        self._preparer = preparer
        self._prepared: PreparedTrial | None = None
        self._roles: dict[str, _Role] = {}
        self._before: Reading | None = None
        self._is_over = True  # the trial: its checkpoints go with its last role
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until standard input ends."""
        orders = Lines(sys.stdin.fileno())
        self._selector.register(orders.fd, selectors.EVENT_READ)
        try:
            while self._turn(orders):
                pass
        finally:
            for role in self._roles.values():
                role.kill()
            for role in self._roles.values():
                os.waitpid(role.pid, 0)
            remove_checkpoints()

    def send(self, event: Event) -> None:
        """Send an event of the agent itself."""
        self._write(encode(event))

    def _write(self, line: bytes) -> None:
        write_all(self._events_fd, line)

    def _turn(self, orders: Lines) -> bool:
        """Wait for something to arrive, and deal with it; False once the orders have ended."""
        # A role's log goes before its events, which it wrote later: a failure is reported with the
        # last lines of the log.
        for key, _ in sorted(self._selector.select(), key=_brings_events):
            if key.data is not None:
                self._pass_on(*key.data)
                continue
            lines = orders.read()
            if lines is None:
                return False
            for line in lines:
                self._carry_out(line)
        return True

    def _carry_out(self, line: bytes) -> None:
        """Carry out one order; what goes wrong is an event, not the end of the agent."""
        try:
            order = decode_order(line)
            if isinstance(order, Prepare):
                self._prepare(order)
            elif isinstance(order, Start):
                self._is_over = False
                for task in order.tasks:
                    self._start(task, order.threads, (order.ports or {}).get(task, 0))
            elif isinstance(order, Restart):
                self._restart(order)
            elif isinstance(order, Stop):
                self._stop(order.tasks)
            else:
                if isinstance(order, Respond):
                    self.send(Responding(task=AGENT, cores=0.0))
                self._watch_use(order)
                for role in self._roles.values():
                    role.send(line + b"\n")
        except (DnnbenchError, msgspec.DecodeError, OSError) as error:
            kind: CauseKind | None = "data" if isinstance(error, DataError) else None
            self.send(AgentFailed(task=AGENT, cause=str(error)[:CAUSE_CHARACTERS], kind=kind))

    def _stop(self, tasks: list[str] | None) -> None:
        """Kill the roles of these tasks, or all, which ends the trial."""
        for role in self._roles.values():
            if tasks is None or role.task in tasks:
                role.kill()
        self._is_over = self._is_over or tasks is None
        self._tidy()

    def _tidy(self) -> None:
        if self._is_over and not self._roles:
            remove_checkpoints()

    def _watch_use(self, order: Order) -> None:
        """Read the machine's use before the measured part, and send it after that part."""
        if not isinstance(order, (Go, Finish)):
            return
        reading = read_use(role.pid for role in self._roles.values())
        if isinstance(order, Go):
            self._before = reading
        elif self._before and reading:
            self.send(HostUsed(task=AGENT, use=use_between(self._before, reading)))

    def _prepare(self, order: Prepare) -> None:
        start_s = time.monotonic()
        self._prepared = self._preparer.prepare(order.trial, own_core=order.own_core)
        self.send(
            Prepared(
                task=AGENT,
                duration_s=time.monotonic() - start_s,
                parameters=sum(self._prepared.step.shard_sizes),
            )
        )

    def _restart(self, order: Restart) -> None:
        """Fork a lost role again, and take it through what the others have done already."""
        self._start(order.task, order.threads, order.port)
        role = self._roles.get(order.task)
        if role is None:
            return
        role.send(encode(Connect(order.cluster, order.checkpoint_s, again=True)))
        role.send(encode(WarmUp()))
        role.send(encode(Go(first_epoch=order.first_epoch)))

    def _start(self, task: str, threads: int, port: int) -> None:
        """Fork one role; one that cannot be forked has failed and exited like any other."""
        try:
            self._fork(task, threads, port)
        except OSError as error:
            self.send(RoleFailed(task=task, cause=f"cannot be forked: {error.strerror}"))
            self.send(RoleExited(task=task, code=1))

    def _fork(self, task: str, threads: int, port: int) -> None:
        """Fork one role, in a process group of its own; pipes carry its orders, events and log."""
        if self._prepared is None:
            raise DnnbenchError(f"expected the order prepare before start, found none for {task}")
        orders_read, orders_write = os.pipe()
        events_read, events_write = os.pipe()
        log_read, log_write = os.pipe()
        agent_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                die_with_parent(agent_pid)
                # Held open here, a sibling's pipe would outlive the agent.
                for fd in (orders_write, *(role.orders_fd for role in self._roles.values())):
                    os.close(fd)
                redirect_standard_streams(log_write)
                channel = Channel(task, orders_read, events_write)
                code = _run_role(channel, self._prepared, threads, port)
            finally:
                os._exit(code)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # here, too: a kill may come before the child has got to it
        for fd in (orders_read, events_write, log_write):
            os.close(fd)
        role = self._roles[task] = _Role(task, pid, orders_write, events_read, log_read)
        for lines in (role.events, role.log):
            self._selector.register(lines.fd, selectors.EVENT_READ, (role, lines))

    def _pass_on(self, role: _Role, lines: Lines) -> None:
        """Pass on what a role wrote; once both its pipes have ended, its exit code."""
        arrived = lines.read()
        if arrived is None and lines is role.log and lines.rest:
            self.send(Log(task=role.task, line=lines.rest.decode(errors="replace")))
        for line in arrived or []:
            if lines is role.log:
                self.send(Log(task=role.task, line=line.decode(errors="replace")))
            else:
                self._write(line + b"\n")
        if arrived is None:
            self._selector.unregister(lines.fd)
            os.close(lines.fd)
            role.open_fds.discard(lines.fd)
        if not role.open_fds:
            role.kill()
            _, status = os.waitpid(role.pid, 0)
            os.close(role.orders_fd)
            del self._roles[role.task]
            self._tidy()
            code = os.waitstatus_to_exitcode(status)
            lacked_memory = killed_for_memory(code, role.oom_kills)
            self.send(RoleExited(task=role.task, code=code, lacked_memory=lacked_memory))


def _brings_events(ready: tuple[selectors.SelectorKey, int]) -> bool:
    """Return whether a role's events can be read, not orders or a role's log."""
    key, _ = ready
    return key.data is not None and key.data[1] is key.data[0].events


def _run_role(channel: Channel, prepared: PreparedTrial, threads: int, port: int) -> int:
    """Run a role to its end; return its exit code."""
    job, index = split_task(channel.task)
    run = parameter_server.serve if job == PARAMETER_SERVER else worker.work
    try:
        run(channel, index, prepared, threads, port)
    except Exception as error:  # noqa: BLE001 - the controller learns what ended the role
        traceback.print_exc()
        sys.stderr.flush()
        channel.emit(RoleFailed, cause=telling_line(error))
        return 1
    return 0


def _is_hung_up(fd: int) -> bool:
    """Return whether the other end of a pipe is closed."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(state & select.POLLHUP for _, state in poll.poll(0))


def main(events_fd: int) -> None:
    """Import TensorFlow, send `AgentReady`, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the controller's to handle
    # While it imports or prepares, it does not read standard input.
    die_with_parent(os.getppid())
    if _is_hung_up(sys.stdin.fileno()):  # the controller ended before that
        return
    start_s = time.monotonic()
    try:
        import_libraries()  # preloaded for the roles and the building of graphs
    except ImportError as error:
        traceback.print_exc()
        cause = f"cannot import TensorFlow: {telling_line(error)}"
        write_all(events_fd, encode(AgentFailed(task=AGENT, cause=cause, kind="version")))
        sys.exit(1)
    preload_s = time.monotonic() - start_s
    gc.freeze()  # a collection in a role would write to, and so copy, every page of these objects
    agent = Agent(Preparer(), events_fd)
    agent.send(AgentReady(task=AGENT, pid=os.getpid(), preload_s=preload_s, machine=snapshot()))
    agent.run()
    sys.stderr.flush()
    os._exit(0)  # Python would take two seconds to unload TensorFlow, which somebody waits for
