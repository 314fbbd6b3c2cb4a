"""The events of a running trial: each is recorded and shown as it arrives; a failure ends it.

Every wait has a deadline and names what it waits for.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from dnnbench.errors import HostError
from dnnbench.sweep.event_checks import EventCheck
from dnnbench.sweep.failures import (
    Failed,
    cause_in,
    explains,
    failure_of_host,
    is_external,
    kind_of,
    listed,
    only_noticed,
    stalled,
)
from dnnbench.sweep.inbox import Arrival
from dnnbench.sweep.outcome import OutcomeBuilder
from dnnbench.trial.messages import (
    EpochEnd,
    Event,
    PortClash,
    Progress,
    Respond,
    Responding,
    RoleExited,
    Trained,
)
from dnnbench.trial.outcome import Failure
from dnnbench.trial.protocols import find_protocol
from dnnbench.trial.tasks import AGENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from dnnbench.settings.schema import RunConfig
    from dnnbench.sweep.agents import Agents
    from dnnbench.trial.messages import AnyEvent
    from dnnbench.trial.spec import TrialSpec

_EventT = TypeVar("_EventT", bound=Event)

_HINDSIGHT_S: Final = 1.0
RESPONSE_S: Final = 5.0
"""Within so long, a role that runs at all responds, even from a busy host far away."""


class PortTakenError(Exception):
    """A reserved port was taken; the roles must be started again."""


class TrialEvents:
    """Waits for the events of one trial.

    Attributes:
        hosts: the trial's hosts, in the order of the placement, without those that it left.
        running: tasks that were started and have not exited.
        account: the outcome so far.
    """

    def __init__(
        self,
        spec: TrialSpec,
        placement: Mapping[str, str],
        agents: Agents,
        *,
        limits: RunConfig,
        watch: Callable[[AnyEvent], None],
    ) -> None:
        self.hosts = list(dict.fromkeys(placement.values()))
        self.running: set[str] = set()
        self.account = OutcomeBuilder()
        self._spec = spec
        self._check = EventCheck(spec, placement)
        self._placement = placement
        self._agents = agents
        self._limits = limits
        self._watch = watch
        self._may_end = False
        self._kept: deque[Arrival] = deque()  # read ahead
        self._dismissed: set[str] = set()
        self._deadline_s = agents.now_s() + limits.trial_timeout_s

    def start(self, tasks: Iterable[str]) -> None:
        """Expect these tasks to run until the trial ends."""
        self.running.update(tasks)

    def let_end(self) -> None:
        """Expect roles to exit from now on."""
        self._may_end = True

    def dismiss(self, tasks: Iterable[str]) -> None:
        """Ignore from now on what these tasks fail with, and what was read ahead of them."""
        self._dismissed.update(tasks)
        self._kept = deque(
            arrival
            for arrival in self._kept
            if isinstance(arrival.what, HostError) or arrival.what.task not in self._dismissed
        )

    def leave(self, host: str) -> None:
        """Go on without a lost host."""
        self.hosts.remove(host)
        self.running = {task for task in self.running if self._placement[task] != host}

    def expect_again(self, task: str) -> None:
        """Expect a dismissed task to run again."""
        self._dismissed.discard(task)
        self._check.forget_warm_up(task)
        self.start([task])

    def let_evaluate(self, worker: str) -> None:
        """Expect accuracies of this worker."""
        self._check.evaluator = worker

    def loss(self) -> Failure | None:
        """Return the failure for the loss of one of the trial's hosts; None if none is lost."""
        for host, error in self._agents.lost.items():
            if host in self.hosts:
                return failure_of_host(host, error)
        return None

    def from_agents(self, kind: type[Event]) -> None:
        """Wait for an event from every agent; a host whose agent sends none in time is lost."""
        missing = set(self.hosts)
        limit_s = self._limits.ready_timeout_s
        deadline_s = self._agents.now_s() + limit_s
        while missing:
            waiting_for = f"{kind.__name__} from the agent on {', '.join(sorted(missing))}"
            try:
                host, event = self._next(deadline_s, waiting_for, limit_s)
            except Failed as failed:
                if not failed.noticed:
                    raise
                for name in missing:  # a later answer would be taken for one of the next trial
                    self._agents.lose(name, HostError(failed.failure.cause, where=name))
                raise Failed(failed.failure) from None  # no other loss could explain it
            if isinstance(event, kind):
                missing.discard(host)

    def from_tasks(self, kind: type[_EventT], tasks: Iterable[str]) -> dict[str, _EventT]:
        """Wait for an event of this kind from all of these tasks."""
        found: dict[str, _EventT] = {}
        wanted = set(tasks)
        limit_s = self._limits.ready_timeout_s
        deadline_s = self._agents.now_s() + limit_s
        while missing := wanted - found.keys():
            waiting_for = f"{kind.__name__} from {listed(missing, self._placement)}"
            _, event = self._next(deadline_s, waiting_for, limit_s)
            if isinstance(event, kind):
                found[event.task] = event
        return found

    def training(self, workers: Iterable[str], *, until: type[Event] = Trained) -> None:
        """Wait until all of these have trained; fail if one shows no progress for too long."""
        limit_s = self._limits.stall_timeout_s
        seen_s = dict.fromkeys(workers, self._agents.now_s())
        while seen_s:
            slowest = min(seen_s, key=seen_s.__getitem__)
            waiting_for = f"progress of {listed([slowest], self._placement)}"
            _, event = self._next(seen_s[slowest] + limit_s, waiting_for, limit_s)
            if isinstance(event, until):
                seen_s.pop(event.task, None)
            elif isinstance(event, (Progress, EpochEnd)) and event.task in seen_s:
                seen_s[event.task] = self._agents.now_s()

    def accounts(self, accountants: Collection[str], workers: Collection[str]) -> None:
        """Wait until the updates are accounted for and the workers have exited."""
        limit_s = self._limits.ready_timeout_s
        deadline_s = self._agents.now_s() + limit_s
        while missing := (set(accountants) - self.account.served.keys()) | (
            self.running.intersection(workers)
        ):
            waiting_for = f"the accounts of {listed(missing, self._placement)}"
            self._next(deadline_s, waiting_for, limit_s)

    def complete(self, workers: Collection[str]) -> None:
        """Refuse a trial that lacks a result, or an update.

        Raises:
            Failed: a worker has not sent one, or a shard does not hold what was pushed to it.
        """
        if gap := self.account.gap(self._spec, workers, self._check.evaluator):
            task, cause = gap
            raise Failed(Failure(cause=cause, task=task, host=self._placement[task]))
        if not find_protocol(self._spec.protocol.name).synchronous and (
            odd := self.account.odd_count()
        ):
            task, cause = odd
            raise Failed(Failure(cause=cause, task=task, host=self._placement[task]))

    def exits(self, limit_s: float) -> set[str]:
        """Wait for the exits of all roles on hosts that are not lost; return the tasks left.

        Roles on a lost host count as gone: the agent there ends them, or they end with it.
        """
        deadline_s = self._agents.now_s() + limit_s
        while left := self._running_on_living_hosts():
            if self._take(deadline_s) is None:
                break
        return left

    def _running_on_living_hosts(self) -> set[str]:
        lost = self._agents.lost
        return {task for task in self.running if self._placement[task] not in lost}

    def _next(self, deadline_s: float, waiting_for: str, limit_s: float) -> tuple[str, AnyEvent]:
        """Return the next event.

        Raises:
            Failed: a role failed or ended early, a host is lost, or the deadline passed.
            PortTakenError: the roles must be started again.
        """
        found = self.next_event(deadline_s)
        if found is None:
            raise self.overdue(waiting_for, limit_s)
        return found

    def next_event(self, deadline_s: float) -> tuple[str, AnyEvent] | None:
        """Return the next event; None if there is none by the deadline.

        Raises:
            Failed: a role failed or ended early, a host is lost, or the trial takes too long.
            PortTakenError: the roles must be started again.
        """
        if self._kept:
            arrival: Arrival | None = self._kept.popleft()
        else:
            arrival = self._take(min(deadline_s, self._deadline_s))
        if arrival is None:
            if deadline_s >= self._deadline_s:
                raise self.overdue("the end of the trial", self._limits.trial_timeout_s)
            return None
        host, event = arrival
        if isinstance(event, HostError):
            raise Failed(failure_of_host(host, event), is_external=True)
        if event.task in self._dismissed:
            return host, event
        if isinstance(event, PortClash):
            raise PortTakenError
        cause = cause_in(event, may_end=self._may_end)
        if cause is not None:
            raise self._first_failure(event, self._failure(host, event, cause))
        return host, event

    def overdue(self, waiting_for: str, limit_s: float, *, still: Collection[str] = ()) -> Failed:
        """Return the failure for a wait that took too long, after asking all to respond.

        Args:
            waiting_for: what was awaited.
            limit_s: how long.
            still: tasks that stand still while the others go on.
        """
        asked = self.running - self._dismissed
        hosts = {self._placement[task] for task in asked}
        for host in hosts:
            with suppress(HostError):  # a host that is lost explains the wait
                self._agents.send(host, Respond())
        responses: dict[str, Responding] = {}
        agents: set[str] = set()
        deadline_s = self._agents.now_s() + RESPONSE_S
        while (asked - responses.keys() or hosts - agents) and (arrival := self._take(deadline_s)):
            host, event = arrival
            if isinstance(event, HostError):
                return Failed(failure_of_host(host, event), is_external=True)
            if not isinstance(event, Responding):
                self._kept.append(arrival)
            elif event.task == AGENT:
                agents.add(host)
            else:
                responses[event.task] = event
        waited = f"waited {limit_s:g} s for {waiting_for}"
        for host in sorted(hosts - agents - self._agents.lost.keys()):
            problem = f"no response from the agent: it is stopped, or its host hangs ({waited})"
            error = HostError(problem, where=host).of_kind("stalled")
            self._agents.lose(host, error)  # the kill of its roles would not be carried out
            return Failed(failure_of_host(host, error), is_external=True)
        return stalled(waited, asked, responses, self._placement, still)

    def _first_failure(self, event: AnyEvent, failure: Failure) -> Failed:
        """Return the failure; if a role only noticed another's end, wait a moment for the cause."""
        if not only_noticed(event):
            return Failed(failure, is_external=is_external(event))
        deadline_s = self._agents.now_s() + _HINDSIGHT_S
        while arrival := self._take(deadline_s):
            host, later = arrival
            if isinstance(later, HostError):
                return Failed(failure_of_host(host, later), is_external=True)
            self._kept.append(arrival)
            cause = cause_in(later, may_end=self._may_end)
            if cause is not None and explains(later):
                found = self._failure(host, later, cause)
                return Failed(found, is_external=is_external(later))
        return Failed(failure, noticed=True, is_external=True)

    def _take(self, deadline_s: float) -> Arrival | None:
        """Return and record what arrives next from a host of this trial; None after the deadline.

        If an event is one that no honest agent sends, its host is lost.
        """
        arrival = self._agents.next(deadline_s, self.hosts)
        if arrival is None or isinstance(arrival.what, HostError):
            return arrival
        try:
            self._check.refuse_odd(arrival.host, arrival.what)
        except HostError as error:
            self._agents.lose(arrival.host, error)
            return Arrival(arrival.host, error)
        self._note(arrival.host, arrival.what)
        return arrival

    def _note(self, host: str, event: AnyEvent) -> None:
        self._watch(event)
        self.account.note(event, host)
        if isinstance(event, RoleExited):
            self.running.discard(event.task)

    def _failure(self, host: str, event: AnyEvent, cause: str) -> Failure:
        log_tail = self.account.log_tail(event.task)
        kind = kind_of(event)
        return Failure(cause=cause, task=event.task, host=host, log_tail=log_tail, kind=kind)
