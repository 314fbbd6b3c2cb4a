"""One trial's life: prepare, start, connect, warm up, train, account; and always tear down.

Every wait has a deadline and says what it waits for. The first failure is the headline.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dnnbench.cluster import PARAMETER_SERVER, WORKER, ClusterSpec, split_task
from dnnbench.errors import HostError
from dnnbench.events import (
    AgentFailed,
    AgentReady,
    Connect,
    EpochEnd,
    Evaluated,
    Event,
    Finish,
    Go,
    Leave,
    Log,
    PortClash,
    PortReserved,
    Prepare,
    Prepared,
    Progress,
    RoleExited,
    RoleFailed,
    Served,
    ServerReady,
    Start,
    Stop,
    Trained,
    WarmedUp,
    WarmUp,
)
from dnnbench.seeds import task_seed
from dnnbench.trial import Failure, TrialOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dnnbench.config import RunConfig
    from dnnbench.events import AnyEvent, Order
    from dnnbench.inventory import Host
    from dnnbench.transport.base import AgentHandle, Inbox
    from dnnbench.trial import EpochRecord, Status, TrialOrder

_EventT = TypeVar("_EventT", bound=Event)

TEAR_DOWN_TIMEOUT_S = 15.0
PORT_ATTEMPTS = 3
_HINDSIGHT_S = 1.0
_LOG_TAIL_LINES = 12
_FOLLOW_UP = ("UnavailableError", "AbortedError", "CancelledError")
"""How a role fails when the one it talks to has failed before it."""


class _Failed(Exception):  # noqa: N818 - a way out of a trial, not an error of its own
    """Ends a trial."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.cause)
        self.failure = failure


class _PortTakenError(Exception):
    """A reserved port was taken; the roles must be started again."""


class Launcher:
    """Runs trials on the agents of a cluster, one at a time."""

    def __init__(
        self,
        agents: Mapping[str, AgentHandle],
        hosts: Iterable[Host],
        inbox: Inbox,
        limits: RunConfig,
    ) -> None:
        self._agents = agents
        self._hosts = {host.name: host for host in hosts}
        self._inbox = inbox
        self._limits = limits

    def await_agents(self) -> dict[str, AgentReady]:
        """Wait until every agent has imported TensorFlow; return what each said.

        Raises:
            HostError: one is gone, or not ready in time.
        """
        ready: dict[str, AgentReady] = {}
        deadline_s = time.monotonic() + self._limits.ready_timeout_s
        while missing := self._agents.keys() - ready.keys():
            try:
                host, event = self._inbox.get(timeout=max(deadline_s - time.monotonic(), 0.01))
            except queue.Empty:
                raise HostError(
                    f"expected the agent within {self._limits.ready_timeout_s:.0f} s",
                    where=", ".join(sorted(missing)),
                    remedy="raise [run] ready_timeout_s if the host is slow",
                ) from None
            if isinstance(event, HostError):
                raise event
            if isinstance(event, AgentReady):
                ready[host] = event
        return ready

    def run(
        self,
        order: TrialOrder,
        placement: Mapping[str, str],
        cores: Mapping[str, int],
        watch: Callable[[AnyEvent], None],
        phase: Callable[[str], None],
    ) -> TrialOutcome:
        """Run one trial to its outcome, good or bad; no process of it is left.

        Args:
            order: what to run.
            placement: task → host.
            cores: host → cores that its roles share.
            watch: is called with every event.
            phase: is called with what is waited for.

        Raises:
            HostError: an agent is gone; the outcome could not be had.
            KeyboardInterrupt: after the tear-down.
        """
        trial = _Trial(
            order,
            placement,
            self._agents,
            self._inbox,
            limits=self._limits,
            watch=watch,
            phase=phase,
        )
        try:
            trial.run(self._hosts, cores)
        except _Failed as failed:
            trial.failure = failed.failure
        except BaseException:
            with contextlib.suppress(HostError):  # what came first is the headline
                trial.tear_down()
            raise
        trial.tear_down()
        return trial.outcome()


class _Trial:
    """The state of one trial while it runs."""

    def __init__(
        self,
        order: TrialOrder,
        placement: Mapping[str, str],
        agents: Mapping[str, AgentHandle],
        inbox: Inbox,
        *,
        limits: RunConfig,
        watch: Callable[[AnyEvent], None],
        phase: Callable[[str], None],
    ) -> None:
        self.failure: Failure | None = None
        self._order = order
        self._placement = placement
        self._agents = {host: agents[host] for host in sorted(set(placement.values()))}
        self._inbox = inbox
        self._limits = limits
        self._watch = watch
        self._phase = phase
        self._tasks = list(placement)
        self._workers = {task for task in placement if split_task(task)[0] == WORKER}
        self._servers = {task for task in placement if split_task(task)[0] == PARAMETER_SERVER}
        self._running: set[str] = set()
        self._finishing = False
        self._logs: dict[str, deque[str]] = {}
        self._warmups: list[WarmedUp] = []
        self._epochs: list[EpochRecord] = []
        self._evaluations: list[Evaluated] = []
        self._served: dict[str, Served] = {}
        self._pushed: dict[str, int] = {}
        self._started_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._start_s = time.monotonic()
        self._deadline_s = self._start_s + limits.trial_timeout_s
        self._start_up_s = 0.0
        self._training_s = 0.0

    def run(self, hosts: Mapping[str, Host], cores: Mapping[str, int]) -> None:
        """Take the trial through its phases."""
        self._phase("preparing data and graph")
        self._send(Prepare(trial=self._order))
        self._await_agents(Prepared)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start(hosts, cores)
                break
            except _PortTakenError:
                self.tear_down()
                if attempt == PORT_ATTEMPTS:
                    cause = f"no free port for every role in {PORT_ATTEMPTS} attempts"
                    raise _Failed(Failure(cause=cause)) from None
        self._phase("warming up")
        self._send(WarmUp())
        self._await(WarmedUp, self._workers)
        self._phase("training")
        self._send(Go())
        go_s = time.monotonic()
        self._start_up_s = go_s - self._start_s
        self._await_training()
        self._training_s = time.monotonic() - go_s
        self._phase("evaluating")
        self._finishing = True
        self._send(Finish())
        self._await_accounts()
        self._send(Leave())
        self._await(RoleExited, self._servers)

    def _start(self, hosts: Mapping[str, Host], cores: Mapping[str, int]) -> None:
        """Fork the roles, tell them of each other, and wait for their TensorFlow servers."""
        self._phase("starting the roles")
        for host, agent in self._agents.items():
            tasks = [task for task, place in self._placement.items() if place == host]
            threads = max(1, cores[host] // len(tasks))
            self._running.update(tasks)
            agent.send(Start(tasks=tasks, threads=threads))
        ports = self._await(PortReserved, self._tasks)
        addresses = {
            task: f"{hosts[self._placement[task]].address}:{event.port}"
            for task, event in ports.items()
        }
        self._phase("starting TensorFlow's servers")
        self._send(Connect(cluster=ClusterSpec.from_tasks(addresses)))
        self._await(ServerReady, self._tasks)

    def _send(self, order: Order) -> None:
        for agent in self._agents.values():
            agent.send(order)

    def _await_agents(self, kind: type[Event]) -> None:
        """Wait for an event from every agent."""
        missing = set(self._agents)
        deadline_s = time.monotonic() + self._limits.ready_timeout_s
        while missing:
            waiting_for = f"{kind.__name__} from the agent on {', '.join(sorted(missing))}"
            host, event = self._next(deadline_s, waiting_for, self._limits.ready_timeout_s)
            if isinstance(event, kind):
                missing.discard(host)

    def _await(self, kind: type[_EventT], tasks: Iterable[str]) -> dict[str, _EventT]:
        """Wait for an event of this kind from all of these tasks."""
        found: dict[str, _EventT] = {}
        wanted = set(tasks)
        limit_s = self._limits.ready_timeout_s
        deadline_s = time.monotonic() + limit_s
        while missing := wanted - found.keys():
            waiting_for = f"{kind.__name__} from {_listed(missing)}"
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
            waiting_for = f"progress of {slowest}"
            _, event = self._next(seen_s[slowest] + limit_s, waiting_for, limit_s)
            if isinstance(event, Trained):
                seen_s.pop(event.task, None)
            elif isinstance(event, (Progress, EpochEnd)) and event.task in seen_s:
                seen_s[event.task] = time.monotonic()

    def _await_accounts(self) -> None:
        """Wait until the parameter servers have accounted and the workers are gone."""
        limit_s = self._limits.ready_timeout_s
        deadline_s = time.monotonic() + limit_s
        while missing := (self._servers - self._served.keys()) | (self._running & self._workers):
            self._next(deadline_s, f"the accounts of {_listed(missing)}", limit_s)

    def _next(self, deadline_s: float, waiting_for: str, limit_s: float) -> tuple[str, AnyEvent]:
        """Return the next event, noted and shown.

        Raises:
            _Failed: a role failed or ended early, or the deadline passed.
        """
        deadline_s = min(deadline_s, self._deadline_s)
        try:
            host, event = self._inbox.get(timeout=max(deadline_s - time.monotonic(), 0.001))
        except queue.Empty:
            if deadline_s == self._deadline_s:
                waiting_for, limit_s = "the end of the trial", self._limits.trial_timeout_s
            raise _Failed(Failure(cause=f"waited {limit_s:g} s for {waiting_for}")) from None
        if isinstance(event, HostError):
            raise event
        self._note(event)
        if isinstance(event, PortClash):
            raise _PortTakenError
        if failure := self._failure(event):
            raise _Failed(self._first_failure(event, failure))
        return host, event

    def _note(self, event: AnyEvent) -> None:
        """Keep what an event says."""
        self._watch(event)
        if isinstance(event, Log):
            self._logs.setdefault(event.task, deque(maxlen=_LOG_TAIL_LINES)).append(event.line)
        elif isinstance(event, WarmedUp):
            self._warmups.append(event)
        elif isinstance(event, EpochEnd):
            self._epochs.append(event.record)
        elif isinstance(event, Evaluated):
            self._evaluations.append(event)
        elif isinstance(event, Served):
            self._served[event.task] = event
        elif isinstance(event, Trained):
            self._pushed[event.task] = event.updates_pushed
        elif isinstance(event, RoleExited):
            self._running.discard(event.task)

    def _failure(self, event: AnyEvent) -> Failure | None:
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
            host=self._placement.get(event.task),
            log_tail=list(self._logs.get(event.task, [])),
        )

    def _first_failure(self, event: AnyEvent, failure: Failure) -> Failure:
        """Look a moment longer where a role only noticed that another one was gone."""
        deadline_s = time.monotonic() + _HINDSIGHT_S
        while isinstance(event, RoleFailed) and event.cause.startswith(_FOLLOW_UP):
            try:
                _, later = self._inbox.get(timeout=max(deadline_s - time.monotonic(), 0.001))
            except queue.Empty:
                return failure
            if isinstance(later, HostError):
                raise later
            self._note(later)
            is_cause = isinstance(later, RoleExited) and later.code < 0
            if is_cause and (found := self._failure(later)):
                return found
        return failure

    def tear_down(self) -> None:
        """Kill what still runs and wait until it is gone. Safe to do twice.

        Raises:
            HostError: an agent is gone, or a role outlives its own killing.
        """
        if not self._running:
            return
        for agent in self._agents.values():
            agent.send(Stop())
        deadline_s = time.monotonic() + TEAR_DOWN_TIMEOUT_S
        while self._running:
            try:
                _, event = self._inbox.get(timeout=max(deadline_s - time.monotonic(), 0.001))
            except queue.Empty:
                problem = f"still there {TEAR_DOWN_TIMEOUT_S:.0f} s after the kill"
                raise HostError(
                    f"{_listed(self._running)}: {problem}",
                    where=", ".join(self._agents),
                ) from None
            if isinstance(event, HostError):
                raise event
            self._note(event)

    def outcome(self) -> TrialOutcome:
        """Return what came of the trial."""
        steps = sum(record.steps for record in self._epochs)
        cpu_s = sum(served.cpu_s for served in self._served.values())
        epochs = [
            msgspec.structs.replace(
                record, parameter_server_cpu_s=cpu_s * record.steps / max(steps, 1)
            )
            for record in self._epochs
        ]
        return TrialOutcome(
            order=self._order,
            status="failed" if self.failure else "ok",
            started_at=self._started_at,
            duration_s=time.monotonic() - self._start_s,
            start_up_s=self._start_up_s,
            training_s=self._training_s,
            parameter_server_cpu_s=cpu_s,
            updates_pushed=sum(self._pushed.values()),
            updates_applied=[
                self._served[task].updates_applied for task in sorted(self._served, key=split_task)
            ],
            placement=dict(self._placement),
            seeds={
                task: task_seed(self._order.seed, task)
                for task in sorted(self._workers, key=split_task)
            },
            warmups=[event.record for event in self._warmups],
            epochs=epochs,
            evaluations=[event.record for event in self._evaluations],
            failure=self.failure,
        )


def without_result(
    order: TrialOrder,
    placement: Mapping[str, str],
    status: Status,
    cause: str,
    duration_s: float,
) -> TrialOutcome:
    """Return the outcome of a trial that was cut short."""
    started = datetime.now(timezone.utc) - timedelta(seconds=duration_s)
    return TrialOutcome(
        order=order,
        status=status,
        started_at=started.isoformat(timespec="seconds"),
        duration_s=duration_s,
        placement=dict(placement),
        failure=Failure(cause=cause),
    )


def _listed(names: Iterable[str]) -> str:
    """List a few names, and how many more there are."""
    ordered = sorted(names, key=split_task)
    shown = ", ".join(ordered[:3])
    return f"{shown} and {len(ordered) - 3} more" if len(ordered) > 3 else shown  # noqa: PLR2004 - fits a line
