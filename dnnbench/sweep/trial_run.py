"""One trial while it runs: prepare, start, connect, warm up, train, account; and always tear down.

Every wait has a deadline and says what it waits for. The first failure is the headline.
"""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dnnbench.errors import HostError
from dnnbench.sweep.outcome import OutcomeBuilder
from dnnbench.trial.messages import (
    AgentFailed,
    Connect,
    EpochEnd,
    Event,
    Finish,
    Go,
    Leave,
    PortClash,
    PortReserved,
    Prepare,
    Prepared,
    Progress,
    RoleExited,
    RoleFailed,
    ServerReady,
    Start,
    Stop,
    Trained,
    WarmedUp,
    WarmUp,
)
from dnnbench.trial.outcome import Failure
from dnnbench.trial.tasks import PARAMETER_SERVER, WORKER, ClusterSpec, split_task

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import AgentHandle, Arrival, Inbox
    from dnnbench.sweep.placement import Host
    from dnnbench.trial.messages import AnyEvent, Order
    from dnnbench.trial.outcome import TrialOutcome
    from dnnbench.trial.spec import TrialSpec

_EventT = TypeVar("_EventT", bound=Event)

TEAR_DOWN_TIMEOUT_S = 15.0
PORT_ATTEMPTS = 3
_HINDSIGHT_S = 1.0
_NAMED = 3  # tasks in one line
_FOLLOW_UP = ("UnavailableError", "AbortedError", "CancelledError")
"""How a role fails when the one it talks to has failed before it."""


class Failed(Exception):  # noqa: N818 - a way out of a trial, not an error of its own
    """Ends a trial.

    Attributes:
        noticed: somebody only noticed that another one was gone, or silent; a host that turns out
            to be lost then explains it.
    """

    def __init__(self, failure: Failure, *, noticed: bool = False) -> None:
        super().__init__(failure.cause)
        self.failure = failure
        self.noticed = noticed


def _with_data_in(directory: str | None, order: TrialSpec) -> TrialSpec:
    """Return the order as hosts carry it out, which may have the data elsewhere."""
    if directory is None:
        return order
    data = msgspec.structs.replace(order.data, directory=directory)
    return msgspec.structs.replace(order, data=data)


class _PortTakenError(Exception):
    """A reserved port was taken; the roles must be started again."""


class TrialRun:
    """The state of one trial while it runs.

    Attributes:
        failed: why it is not good, if so.
    """

    def __init__(
        self,
        order: TrialSpec,
        placement: Mapping[str, str],
        agents: Mapping[str, AgentHandle],
        inbox: Inbox,
        lost: dict[str, HostError],
        *,
        limits: RunConfig,
        data_directory: str | None,
        watch: Callable[[AnyEvent], None],
        phase: Callable[[str], None],
    ) -> None:
        self.failed: Failed | None = None
        self._order = order
        self._placement = placement
        self._agents = {host: agents[host] for host in dict.fromkeys(placement.values())}
        self._inbox = inbox
        self._lost = lost
        self._limits = limits
        self._data_directory = data_directory
        self._watch = watch
        self._phase = phase
        self._tasks = list(placement)
        self._workers = {task for task in placement if split_task(task)[0] == WORKER}
        self._servers = {task for task in placement if split_task(task)[0] == PARAMETER_SERVER}
        self._running: set[str] = set()
        self._finishing = False
        self._account = OutcomeBuilder()
        self._deadline_s = self._account.start_s + limits.trial_timeout_s

    def run(self, hosts: Mapping[str, Host], cores: Mapping[str, int]) -> None:
        """Take the trial through its phases."""
        self._phase("preparing data and graph")
        trial = _with_data_in(self._data_directory, self._order)
        for host in self._agents:
            own_core = cores[host] >= len(self._tasks_on(host))
            self._send_to(host, Prepare(trial=trial, own_core=own_core))
        self._await_agents(Prepared)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start(hosts, cores)
                break
            except _PortTakenError:
                self.tear_down()
                if failure := self._loss():
                    raise Failed(failure) from None
                if attempt == PORT_ATTEMPTS:
                    cause = f"no free port for every role in {PORT_ATTEMPTS} attempts"
                    raise Failed(Failure(cause=cause)) from None
        self._phase("warming up")
        self._send(WarmUp())
        self._await(WarmedUp, self._workers)
        self._phase("training")
        self._send(Go())
        go_s = time.monotonic()
        self._account.start_up_s = go_s - self._account.start_s
        self._await_training()
        self._account.training_s = time.monotonic() - go_s
        self._phase("evaluating")
        self._finishing = True
        self._send(Finish())
        self._await_accounts()
        self._send(Leave())
        self._await(RoleExited, self._servers)

    def _start(self, hosts: Mapping[str, Host], cores: Mapping[str, int]) -> None:
        """Fork the roles, tell them of each other, and wait for their TensorFlow servers."""
        self._phase("starting the roles")
        for host in self._agents:
            tasks = self._tasks_on(host)
            threads = max(1, cores[host] // len(tasks))
            start = Start(tasks=tasks, threads=threads, ports=self._held_ports(host, tasks))
            self._running.update(tasks)
            self._send_to(host, start)
        ports = self._await(PortReserved, self._tasks)
        addresses = {
            task: f"{hosts[self._placement[task]].address}:{event.port}"
            for task, event in ports.items()
        }
        self._phase("starting TensorFlow's servers")
        self._send(Connect(cluster=ClusterSpec.from_tasks(addresses)))
        self._await(ServerReady, self._tasks)

    def _tasks_on(self, host: str) -> list[str]:
        return [task for task, place in self._placement.items() if place == host]

    def _held_ports(self, host: str, tasks: list[str]) -> dict[str, int] | None:
        """Give each task one of the ports that are held for them; None where none need be."""
        ports = self._agents[host].ports
        if ports is None:
            return None
        if len(ports) < len(tasks):  # any other port might be somebody else's, or closed to us
            cause = f"{len(tasks)} tasks need a port each, {len(ports)} are held here"
            raise Failed(Failure(cause=cause, host=host))
        return dict(zip(tasks, ports, strict=False))

    def _send(self, order: Order) -> None:
        for host in self._agents:
            self._send_to(host, order)

    def _send_to(self, host: str, order: Order) -> None:
        try:
            self._agents[host].send(order)
        except HostError as error:
            raise self._gone(host, error) from None

    def _await_agents(self, kind: type[Event]) -> None:
        """Wait for an event from every agent."""
        missing = set(self._agents)
        deadline_s = time.monotonic() + self._limits.ready_timeout_s
        while missing:
            waiting_for = f"{kind.__name__} from the agent on {', '.join(sorted(missing))}"
            try:
                host, event = self._next(deadline_s, waiting_for, self._limits.ready_timeout_s)
            except Failed as failed:
                if failed.noticed:  # an answer that comes later belongs to no trial
                    for name in missing:
                        self._lost.setdefault(name, HostError(failed.failure.cause, where=name))
                    failed.noticed = False  # that is all there is to say
                raise
            if isinstance(event, kind):
                missing.discard(host)

    def _await(self, kind: type[_EventT], tasks: Iterable[str]) -> dict[str, _EventT]:
        """Wait for an event of this kind from all of these tasks."""
        found: dict[str, _EventT] = {}
        wanted = set(tasks)
        limit_s = self._limits.ready_timeout_s
        deadline_s = time.monotonic() + limit_s
        while missing := wanted - found.keys():
            waiting_for = f"{kind.__name__} from {self._listed(missing)}"
            _, event = self._next(deadline_s, waiting_for, limit_s)
            if isinstance(event, kind):
                found[event.task] = event
        return found

    def _await_training(self) -> None:
        """Wait until every worker has trained, as long as each shows progress."""
        limit_s = self._limits.stall_timeout_s
        seen_s = dict.fromkeys(self._workers, time.monotonic())
        while seen_s:
            slowest = min(seen_s, key=seen_s.__getitem__)
            waiting_for = f"progress of {self._listed([slowest])}"
            _, event = self._next(seen_s[slowest] + limit_s, waiting_for, limit_s)
            if isinstance(event, Trained):
                seen_s.pop(event.task, None)
            elif isinstance(event, (Progress, EpochEnd)) and event.task in seen_s:
                seen_s[event.task] = time.monotonic()

    def _await_accounts(self) -> None:
        """Wait until the parameter servers have accounted and the workers are gone."""
        limit_s = self._limits.ready_timeout_s
        deadline_s = time.monotonic() + limit_s
        served = self._account.served
        while missing := (self._servers - served.keys()) | (self._running & self._workers):
            self._next(deadline_s, f"the accounts of {self._listed(missing)}", limit_s)

    def _next(self, deadline_s: float, waiting_for: str, limit_s: float) -> tuple[str, AnyEvent]:
        """Return the next event, noted and shown.

        Raises:
            Failed: a role failed or ended early, a host is lost, or the deadline passed.
        """
        deadline_s = min(deadline_s, self._deadline_s)
        try:
            host, event = self._take(deadline_s)
        except queue.Empty:
            if deadline_s == self._deadline_s:
                waiting_for, limit_s = "the end of the trial", self._limits.trial_timeout_s
            cause = f"waited {limit_s:g} s for {waiting_for}"
            raise Failed(Failure(cause=cause), noticed=True) from None
        if isinstance(event, HostError):
            raise self._gone(host, event)
        self._note(event)
        if isinstance(event, PortClash):
            raise _PortTakenError
        if failure := self._failure(host, event):
            raise self._first_failure(event, failure)
        return host, event

    def _take(self, deadline_s: float) -> Arrival:
        """Return what arrives next from a host of this trial.

        The loss of another host does not concern it, and is only kept for the next one.

        Raises:
            queue.Empty: nothing arrived in time.
        """
        while True:
            arrival = self._inbox.get(timeout=max(deadline_s - time.monotonic(), 0.001))
            if arrival.host in self._agents:
                return arrival
            if isinstance(arrival.what, HostError):
                self._lost.setdefault(arrival.host, arrival.what)

    def _gone(self, host: str, error: HostError) -> Failed:
        """Note that a host is lost; return the way out."""
        self._lost.setdefault(host, error)
        return Failed(_failure_of(host, error))

    def _loss(self) -> Failure | None:
        """Say which host of this trial is lost, if one is."""
        for host, error in self._lost.items():
            if host in self._agents:
                return _failure_of(host, error)
        return None

    def _note(self, event: AnyEvent) -> None:
        self._watch(event)
        self._account.note(event)
        if isinstance(event, RoleExited):
            self._running.discard(event.task)

    def _failure(self, host: str, event: AnyEvent) -> Failure | None:
        """Say why this event ends the trial, if it does."""
        if isinstance(event, (RoleFailed, AgentFailed)):
            cause = event.cause
        elif isinstance(event, RoleExited) and event.code != 0:
            cause = f"killed by signal {-event.code}" if event.code < 0 else f"exit {event.code}"
        elif isinstance(event, RoleExited) and not self._finishing:
            cause = "ended before the trial did"
        else:
            return None
        return Failure(
            cause=cause,
            task=event.task,
            host=host,
            log_tail=self._account.log_tail(event.task),
        )

    def _first_failure(self, event: AnyEvent, failure: Failure) -> Failed:
        """Look a moment longer where a role only noticed that another one was gone."""
        noticed = isinstance(event, RoleFailed) and event.cause.startswith(_FOLLOW_UP)
        deadline_s = time.monotonic() + _HINDSIGHT_S
        while isinstance(event, RoleFailed) and event.cause.startswith(_FOLLOW_UP):
            try:
                host, later = self._take(deadline_s)
            except queue.Empty:
                break
            if isinstance(later, HostError):
                return self._gone(host, later)
            self._note(later)
            is_cause = isinstance(later, RoleExited) and later.code < 0
            if is_cause and (found := self._failure(host, later)):
                return Failed(found)
        return Failed(failure, noticed=noticed)

    def tear_down(self) -> None:
        """Kill what still runs and wait until it is gone. Safe to do twice.

        What runs on a lost host counts as gone: the agent there ends it, or its end does. A host on
        which a role outlives its killing is lost.
        """
        if not self._running:
            return
        for host in self._agents:
            with contextlib.suppress(Failed):  # the others have to be told, too
                self._send_to(host, Stop())
        deadline_s = time.monotonic() + TEAR_DOWN_TIMEOUT_S
        while left := self._running_on_living_hosts():
            try:
                host, event = self._take(deadline_s)
            except queue.Empty:
                for host in {self._placement[task] for task in left}:
                    tasks = self._listed(left & set(self._tasks_on(host)))
                    problem = f"{tasks} still there {TEAR_DOWN_TIMEOUT_S:g} s after the kill"
                    self._lost.setdefault(host, HostError(problem, where=host))
                return
            if isinstance(event, HostError):
                self._lost.setdefault(host, event)
            else:
                self._note(event)

    def _running_on_living_hosts(self) -> set[str]:
        return {task for task in self._running if self._placement[task] not in self._lost}

    def _headline(self) -> Failure | None:
        """Return why the trial failed: the first failure, or what explains it."""
        if self.failed is None:
            return None
        first, loss = self.failed.failure, self._loss()
        if loss is None or not self.failed.noticed:
            return first
        place = f"{first.task} on {first.host}: " if first.task else ""
        return msgspec.structs.replace(loss, cause=f"{loss.cause} ({place}{first.cause})")

    def _listed(self, tasks: Collection[str]) -> str:
        """List a few tasks with their hosts, and how many more there are."""
        ordered = sorted(tasks, key=split_task)
        shown, hosts = ordered[:_NAMED], {self._placement[task] for task in ordered}
        if len(hosts) == 1:
            text, place = ", ".join(shown), f" on {hosts.pop()}"
        else:
            text, place = ", ".join(f"{task} on {self._placement[task]}" for task in shown), ""
        more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
        return text + more + place

    def outcome(self) -> TrialOutcome:
        """Return what came of the trial."""
        return self._account.outcome(self._order, self._placement, self._workers, self._headline())


def _failure_of(host: str, error: HostError) -> Failure:
    cause = f"{error.problem}; {error.remedy}" if error.remedy else error.problem
    return Failure(cause=cause, host=host)
